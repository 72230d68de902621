# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows 'tcp' and 'gso': one TCP stream without a queue, with fail-open off, with fail-open on, and switched."""
import time

from lib import books
from lib.chart import Series
from lib.traffic import Stream
from seed.drops import Drops

ATTEMPTS = 4  # the first and three more
MTU = 1500
RISEN = 10  # "out again" means: so many times the crawl's rate


def stream(bench):
    """The seed's row, and one run with the switch turned in mid-stream."""
    off, on = _alternate(bench, "tcp", "off")
    check = bench.report.check
    check("tcp_off_drops", all(run.dropped for run in off), f"dropped by the full queue: {[run.dropped for run in off]}")
    check("tcp_off_passes_nothing", not any(run.passed() for run in off), "; ".join(map(str, off)))
    check("tcp_on_passes_full_queue", all(run.passed() for run in on), "; ".join(map(str, on)))
    _none_dropped(bench, "tcp", on)
    report = bench.report
    off, on = report.get("tcp_fail_open_off")["median"], report.get("tcp_fail_open_on")["median"]
    if not bench.quick:
        report.check("tcp_fail_open_lifts_stream", on > RISEN * off, f"on {on:.0f}, off {off:.2f} Mbit/s")
    _switched(bench)


def gso(bench):
    """The honest row: whole GSO packets wait, TCP stops sending before 16 of them do, and the flag hardly ever acts."""
    _, runs = _alternate(bench, "gso", "on")
    _none_dropped(bench, "gso", runs)
    report = bench.report
    report.figure("gso_share_inspected", "1", [run.share() for run in runs], "of the packets that came to the rule, fail-open on")
    none, on = report.get("gso_no_queue")["median"], report.get("gso_fail_open_on")["median"]
    if not bench.quick:
        report.check("gso_stream_crawls_all_the_same", on < none / 100,
                     f"fail-open on {on:.2f} of {none:.0f} Mbit/s without a queue; if this fails, the flag helped")


class Queued:
    """One stream through the queue: what arrived, and the books of it."""

    def __init__(self, stream, came, inspected, dropped):
        self.mbits, self.bytes = stream.mbits(), stream.bytes()
        self.came, self.inspected, self.dropped = came, inspected, dropped

    def passed(self):
        """More arrived than the inspected packets can have carried, each of at most MTU bytes (GSO off)."""
        return self.bytes > self.inspected * MTU

    def share(self):
        """Of the packets that came to the rule."""
        return min(self.inspected / self.came, 1.0) if self.came else 1.0

    def __str__(self):
        return f"{self.bytes:,.0f} bytes arrived, {self.inspected:,} packets were inspected, {self.dropped:,} dropped"


def _none_dropped(bench, name, runs):
    bench.report.check(name + "_on_drops_nothing", not any(run.dropped for run in runs), "; ".join(map(str, runs)))


def _alternate(bench, name, gso_option):
    """No queue, off, on, in turn; three times. Returns the runs with fail-open off, and those with it on."""
    seconds = {"none": 1, "off": 2, "on": 1} if bench.quick else {"none": 2, "off": 4, "on": 3}
    rates, runs = [], {False: [], True: []}
    for _ in range(1 if bench.quick else 3):
        rates.append(Stream(bench.a, bench.b, seconds["none"]).run().mbits())
        for fail_open in (False, True):
            runs[fail_open].append(_queued(bench, fail_open, seconds["on" if fail_open else "off"], gso_option))
        bench.tell(f"no queue {rates[-1]:.0f}, off {runs[False][-1].mbits:.2f}, on {runs[True][-1].mbits:.2f} Mbit/s")
    conditions = f"length 16, 50 ms a packet, GSO {gso_option}"
    bench.report.figure(name + "_no_queue", "Mbit/s", rates, "no rule, no inspector")
    bench.report.figure(name + "_fail_open_off", "Mbit/s", [run.mbits for run in runs[False]], conditions)
    bench.report.figure(name + "_fail_open_on", "Mbit/s", [run.mbits for run in runs[True]], conditions)
    return runs[False], runs[True]


def _queued(bench, fail_open, seconds, gso_option):
    with bench.interceptor(fail_open, gso=gso_option) as interceptor, bench.queued("tcp"):
        stream = Stream(bench.a, bench.b, seconds).run()
        interceptor.wait_held(0, timeout=2)
        came = bench.counted("NFQUEUE")
        return Queued(stream, came, books.inspected(interceptor.queue()), bench.b.queues()[0]["queue_dropped"])


def _switched(bench):
    """On, off, on by the switch file during one stream. The flag alone does not always get TCP out again: a run
    in which it did not is told and repeated."""
    phases = [(True, 1), (False, 2), (True, 2)] if bench.quick else [(True, 3), (False, 4), (True, 4)]
    for attempt in range(1, ATTEMPTS + 1):
        points, switches, drops = _switched_once(bench, phases)
        crawl, risen = _rate(points, switches[1][0], switches[2][0]), _rate(points, switches[2][0], points[-1][0])
        out_again = risen > max(RISEN * crawl, 1)
        bench.tell(f"switched in mid-stream: off {crawl:.2f}, on again {risen:.0f} Mbit/s"
                   + ("" if out_again else ": the flag did not get the stream out again"))
        if out_again or bench.quick:
            break
    bench.panels.append(Series("TCP stream, 50 ms a packet, queue of 16, fail-open switched", points, switches))
    drops.check(bench, "tcp_switch")
    report = bench.report
    report.figure("tcp_switch_attempts", "runs", [attempt], "until switching on got the stream out again, at most 4")
    report.figure("tcp_switch_off", "Mbit/s", [crawl], "last half of the phase, fail-open off")
    report.figure("tcp_switch_on_again", "Mbit/s", [risen], "last half of the phase, switched on in mid-stream")
    if not bench.quick:
        report.check("tcp_switch_gets_stream_out", out_again, f"{crawl:.2f} to {risen:.0f} Mbit/s in run {attempt}")


def _switched_once(bench, phases):
    with bench.interceptor(True) as interceptor, bench.queued("tcp"):
        run = Stream(bench.a, bench.b, sum(seconds for _, seconds in phases)).start().running()
        switches, drops, due = [], Drops(bench.b), run.begun
        for on, seconds in phases:
            interceptor.switch(on)
            switches.append((max(time.monotonic() - run.begun, 0), on))
            due += seconds
            with drops.phase(on):
                time.sleep(max(due - time.monotonic(), 0))
        return run.finish().points, switches, drops


def _rate(points, begin, end):
    """Mean of the last half of a phase."""
    rates = [rate for t, rate in points if (begin + end) / 2 < t <= end]
    return sum(rates) / len(rates) if rates else 0.0
