# SPDX-License-Identifier: GPL-2.0-or-later
"""Row 'gate': the same inspector of 50 ms and queue of 16, with the gate before the queue, beside the kernel's flag."""
from lib import books, gate
from lib.traffic import Stream

GOAL = 0.95  # of no queue
REMEDIES = {"deadline": None, "breaker": "on", "hung": None}  # as `spillway run` has them
CASES = {"": {**REMEDIES, "gate": "on"}, "_breaker_off": {**REMEDIES, "breaker": "off", "gate": "on"},
         "_no_deadline": {"gate": "on"}}


def row(bench):
    """No queue, the flag alone, the gate with run's defaults, without breaker, and with nothing else, GSO on and off: in
    turn, round by round."""
    seconds, rounds = (1, 1) if bench.quick else (10, 3)
    cases = {"": CASES[""]} if bench.quick else CASES
    rates, inspected = {"no_queue": []}, {}
    for number in range(1, rounds + 1):
        rates["no_queue"].append(Stream(bench.a, bench.b, seconds).run().mbits())
        for gso in ("on", "off"):
            rates.setdefault(f"flag_gso_{gso}", []).append(_flag(bench, seconds, gso))
            for case, options in cases.items():
                name = f"gso_{gso}{case}"
                rate, share = _gate(bench, f"gate_{name}_{number}", seconds, gso, options)
                rates.setdefault(name, []).append(rate)
                inspected.setdefault(name, []).append(share)
        bench.tell(", ".join(f"{name} {values[-1]:.0f}" for name, values in rates.items()) + " Mbit/s")
    _tell(bench, rates, inspected)


def _flag(bench, seconds, gso):
    with bench.interceptor(True, gso=gso), bench.rules(bench.queue_rule()):
        return Stream(bench.a, bench.b, seconds).run().mbits()


def _gate(bench, name, seconds, gso, options):
    """Mbit/s, and the share that was inspected all the same."""
    whole = gso == "on"
    with bench.interceptor(True, gso=gso, **options) as interceptor, \
            gate.rules(bench, f"INPUT -p tcp -m mac --mac-source {bench.a.mac}"):
        rate = Stream(bench.a, bench.b, seconds).run().mbits()
        interceptor.wait_held(0, timeout=3)
        queue, counts = gate.settled(bench, interceptor, whole=whole)
    gate.check(bench, name, queue, counts, whole=whole)
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
        if name in ("gso_on", "gso_off"):
            bench.goal(f"gate_{name}_at_least_{GOAL}", share >= GOAL, f"median {share:.3f} of no queue")
