# SPDX-License-Identifier: GPL-2.0-or-later
"""Row 'gate': the same inspector of 50 ms and queue of 16, with the gate before the queue, beside the kernel's flag."""
from lib import books, gate
from lib.traffic import Stream

GOAL = 0.95  # of no queue


def row(bench):
    """No queue, the flag alone, the gate, GSO on and off: in turn, round by round."""
    seconds, rounds = (1, 1) if bench.quick else (3, 5)
    rates, inspected, count = {"no_queue": []}, {}, 0
    for _ in range(rounds):
        count += 1
        rates["no_queue"].append(Stream(bench.a, bench.b, seconds).run().mbits())
        for gso in ("on", "off"):
            rates.setdefault(f"flag_gso_{gso}", []).append(_flag(bench, seconds, gso))
            name = f"gso_{gso}"
            rate, share = _gate(bench, f"gate_{name}_{count}", seconds, gso)
            rates.setdefault(name, []).append(rate)
            inspected.setdefault(name, []).append(share)
        bench.tell(", ".join(f"{name} {values[-1]:.0f}" for name, values in rates.items()) + " Mbit/s")
    _tell(bench, rates, inspected)


def _flag(bench, seconds, gso):
    with bench.interceptor(True, gso=gso), bench.rules(bench.queue_rule()):
        return Stream(bench.a, bench.b, seconds).run().mbits()


def _gate(bench, name, seconds, gso):
    """Mbit/s, and the share that was inspected all the same."""
    with bench.interceptor(True, gso=gso, gate="on") as interceptor, \
            gate.rules(bench, f"INPUT -p tcp -m mac --mac-source {bench.a.mac}"):
        rate = Stream(bench.a, bench.b, seconds).run().mbits()
        interceptor.wait_held(0, timeout=3)
        queue, counts = gate.settled(bench, interceptor, whole=gso == "on")
    gate.check(bench, name, queue, counts, whole=gso == "on")
    return rate, books.inspected(queue) / max(queue["seen"], 1)


def _tell(bench, rates, inspected):
    report = bench.report
    report.figure("gate_no_queue", "Mbit/s", rates["no_queue"], "no rule, no inspector")
    for name in list(rates)[1:]:
        report.figure("gate_" + name, "Mbit/s", rates[name], "length 16, 50 ms a packet")
        ratios = [one / none for one, none in zip(rates[name], rates["no_queue"])]
        share = report.figure(f"gate_{name}_of_no_queue", "ratio", ratios, f"gate_{name} / gate_no_queue, round by round")
        if name in inspected:
            report.figure(f"gate_{name}_inspected", "share", inspected[name], "of what came")
            bench.goal(f"gate_{name}_at_least_{GOAL}", share >= GOAL, f"median {share:.3f} of no queue")
