# SPDX-License-Identifier: GPL-2.0-or-later
"""Row 'gate': the same inspector of 50 ms and queue of 16, with the gate before the queue, beside the kernel's flag."""
import time

from lib import books, gate, phases
from lib.beside import Beside
from lib.traffic import Stream

GOAL = 0.95  # of no queue
REMEDIES = {"deadline": None, "breaker": "on", "hung": None}  # as `spillway run` has them
CASES = {"": {**REMEDIES, "gate": "on"}, "_breaker_off": {**REMEDIES, "breaker": "off", "gate": "on"},
         "_no_deadline": {"gate": "on"}}


def row(bench):
    """The flag alone, the gate with run's defaults, without breaker, and with nothing else, GSO on and off: in turn,
    round by round, each beside no queue."""
    if bench.nft:  # there the gate has all that comes to a device, and is another experiment
        bench.tell("a gate at the seed's own rule, which is iptables' alone: left out")
        return
    seconds, rounds = (1, 1) if bench.quick else (5, 3)
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
    for gso in ("on", "off"):
        _in_one_stream(bench, gso)


def _in_one_stream(bench, gso):
    """The goal's comparison: once the flow has been let go, the rules with the gate and no rules in turn. Whole streams
    have the time until then too, but differ among themselves by more than the goal allows."""
    with bench.interceptor(True, gso=gso, **CASES[""]) as interceptor, gate.rules(bench, bench.match()):
        states = gate.beside(bench, interceptor, bench.match())
        phases.compare(bench, interceptor, f"gate_gso_{gso}_stream", {name: states[name] for name in ("nothing", "gate")}, "nothing",
                       GOAL, lambda: time.sleep(1))


def _flag(bench, seconds, gso):
    with bench.interceptor(True, gso=gso), bench.queued("tcp"):
        return Stream(bench.a, bench.b, seconds).run().mbits()


def _gate(bench, name, seconds, gso, options):
    """Mbit/s, and the share that was inspected all the same."""
    whole = gso == "on"
    with bench.interceptor(True, gso=gso, **options) as interceptor, \
            gate.rules(bench, bench.match()):
        rate = Stream(bench.a, bench.b, seconds).run().mbits()
        interceptor.wait_held(0, timeout=3)
        queue, counts = gate.settled(bench, interceptor, whole=whole)
    gate.check(bench, name, queue, counts, whole=whole)
    return rate, books.inspected(queue) / max(queue["seen"], 1)


def _tell(bench, beside, inspected):
    beside.report("gate", "length 16, 50 ms a packet")
    for name, values in inspected.items():
        bench.report.figure(f"gate_{name}_inspected", "share", values, "of what came")
