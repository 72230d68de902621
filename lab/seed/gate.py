# SPDX-License-Identifier: GPL-2.0-or-later
"""Row 'gate': the same inspector of 50 ms and queue of 16, with the gate before the queue, beside the kernel's flag."""
from lib import books, gate
from lib.traffic import Stream
from seed.beside import Beside

GOAL = 0.95  # of no queue
REMEDIES = {"deadline": None, "breaker": "on", "hung": None}  # as `spillway run` has them
CASES = {"": {**REMEDIES, "gate": "on"}, "_breaker_off": {**REMEDIES, "breaker": "off", "gate": "on"},
         "_no_deadline": {"gate": "on"}}


def row(bench):
    """The flag alone, the gate with run's defaults, without breaker, and with nothing else, GSO on and off: in turn,
    round by round, each beside no queue."""
    seconds, rounds = (1, 1) if bench.quick else (5, 4)
    cases = {"": CASES[""]} if bench.quick else CASES
    beside, inspected = Beside(bench, seconds), {}
    for number in range(1, rounds + 1):
        for gso in ("on", "off"):
            beside.add(f"flag_gso_{gso}", _flag(bench, seconds, gso))
            for case, options in cases.items():
                name = f"gso_{gso}{case}"
                rate, share = _gate(bench, f"gate_{name}_{number}", seconds, gso, options)
                beside.add(name, rate)
                inspected.setdefault(name, []).append(share)
        beside.tell()
    _tell(bench, beside, inspected)


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


def _tell(bench, beside, inspected):
    for name, share in beside.report("gate", "length 16, 50 ms a packet").items():
        if name in inspected:
            bench.report.figure(f"gate_{name}_inspected", "share", inspected[name], "of what came")
        if name in ("gso_on", "gso_off"):
            bench.goal(f"gate_{name}_at_least_{GOAL}", share >= GOAL, f"median {share:.3f} of no queue")
