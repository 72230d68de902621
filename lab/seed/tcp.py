# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows 'tcp' and 'gso': one TCP stream without a queue, with fail-open off, with fail-open on, and switched."""
import time

from lib.chart import Series
from lib.traffic import Stream

ATTEMPTS = 4  # the first and three more
RISEN = 10  # "out again" means: so many times the crawl's rate


def stream(bench):
    """The seed's row, and one run with the switch turned in mid-stream."""
    _alternate(bench, "tcp", "off")
    report = bench.report
    off, on = report.get("tcp_fail_open_off")["median"], report.get("tcp_fail_open_on")["median"]
    if not bench.quick:
        report.check("tcp_fail_open_lifts_stream", on > RISEN * off, f"on {on:.0f}, off {off:.2f} Mbit/s")
    _switched(bench)


def gso(bench):
    """The honest row: whole GSO packets wait, TCP stops sending before 16 of them do, and the flag hardly ever acts."""
    shares = _alternate(bench, "gso", "on")
    report = bench.report
    report.figure("gso_share_inspected", "1", shares, "of the packets that came to the rule, fail-open on")
    none, on = report.get("gso_no_queue")["median"], report.get("gso_fail_open_on")["median"]
    if not bench.quick:
        report.check("gso_stream_crawls_all_the_same", on < none / 100,
                     f"fail-open on {on:.2f} of {none:.0f} Mbit/s without a queue; if this fails, the flag helped")


def _alternate(bench, name, gso_option):
    """No queue, off, on, in turn; three times. Returns the inspected shares of the runs with fail-open on."""
    seconds = {"none": 1, "off": 2, "on": 1} if bench.quick else {"none": 2, "off": 4, "on": 3}
    rates = {"none": [], False: [], True: []}
    shares = []
    for _ in range(1 if bench.quick else 3):
        rates["none"].append(Stream(bench.a, bench.b, seconds["none"]).run().mbits())
        for fail_open in (False, True):
            rate, share = _queued(bench, fail_open, seconds["on" if fail_open else "off"], gso_option)
            rates[fail_open].append(rate)
            if fail_open:
                shares.append(share)
        bench.tell(f"no queue {rates['none'][-1]:.0f}, off {rates[False][-1]:.2f}, on {rates[True][-1]:.2f} Mbit/s")
    conditions = f"length 16, 50 ms a packet, GSO {gso_option}"
    bench.report.figure(name + "_no_queue", "Mbit/s", rates["none"], "no rule, no inspector")
    bench.report.figure(name + "_fail_open_off", "Mbit/s", rates[False], conditions)
    bench.report.figure(name + "_fail_open_on", "Mbit/s", rates[True], conditions)
    return shares


def _queued(bench, fail_open, seconds, gso_option):
    """One stream through the queue; (Mbit/s, share of the rule's packets that were inspected)."""
    with bench.interceptor(fail_open, gso=gso_option) as interceptor, bench.rules(bench.queue_rule()):
        rate = Stream(bench.a, bench.b, seconds).run().mbits()
        interceptor.wait_held(0, timeout=2)
        came = bench.b.packets("filter", "NFQUEUE")
        inspected = sum(interceptor.queue()["inspected"].values())
    return rate, min(inspected / came, 1.0) if came else 1.0


def _switched(bench):
    """On, off, on by the switch file during one stream. The flag alone does not always get TCP out again: a run
    in which it did not is told and repeated."""
    phases = [(True, 1), (False, 2), (True, 2)] if bench.quick else [(True, 3), (False, 4), (True, 4)]
    for attempt in range(1, ATTEMPTS + 1):
        points, switches = _switched_once(bench, phases)
        crawl, risen = _rate(points, switches[1][0], switches[2][0]), _rate(points, switches[2][0], points[-1][0])
        out_again = risen > max(RISEN * crawl, 1)
        bench.tell(f"switched in mid-stream: off {crawl:.2f}, on again {risen:.0f} Mbit/s"
                   + ("" if out_again else ": the flag did not get the stream out again"))
        if out_again or bench.quick:
            break
    bench.panels.append(Series("TCP stream, 50 ms a packet, queue of 16, fail-open switched", points, switches))
    report = bench.report
    report.figure("tcp_switch_attempts", "runs", [attempt], "until switching on got the stream out again, at most 4")
    report.figure("tcp_switch_off", "Mbit/s", [crawl], "last half of the phase, fail-open off")
    report.figure("tcp_switch_on_again", "Mbit/s", [risen], "last half of the phase, switched on in mid-stream")
    if not bench.quick:
        report.check("tcp_switch_gets_stream_out", out_again, f"{crawl:.2f} to {risen:.0f} Mbit/s in run {attempt}")


def _switched_once(bench, phases):
    with bench.interceptor(True) as interceptor, bench.rules(bench.queue_rule()):
        run = Stream(bench.a, bench.b, sum(seconds for _, seconds in phases)).start().running()
        switches, due = [], run.begun
        for on, seconds in phases:
            interceptor.switch(on)
            switches.append((max(time.monotonic() - run.begun, 0), on))
            due += seconds
            time.sleep(max(due - time.monotonic(), 0))
        return run.finish().points, switches


def _rate(points, begin, end):
    """Mean of the last half of a phase."""
    rates = [rate for t, rate in points if (begin + end) / 2 < t <= end]
    return sum(rates) / len(rates) if rates else 0.0
