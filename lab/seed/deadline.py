# SPDX-License-Identifier: GPL-2.0-or-later
"""Row 'deadline': the same inspector of 50 ms, with what Spillway has beyond the flag: deadline and breaker."""
from lib.beside import Beside
from lib.traffic import Stream

BREAKER, ALONE = 0.8, 0.3  # goals: shares of no queue


def row(bench):
    """The flag alone, deadlines with and without the breaker, GSO on and off: in turn, round by round, each beside no
    queue."""
    seconds, rounds = (1, 1) if bench.quick else (3, 5)
    cases = _cases(bench.quick)
    beside = Beside(bench, seconds)
    uninspected, lost = {name: [] for name in cases}, {}
    for _ in range(rounds):
        for name, options in cases.items():
            rate, share, gone = _one(bench, seconds, options)
            beside.add(name, rate)
            lost[name] = lost.get(name, 0) + gone
            uninspected[name] += [share] if share is not None else []
        beside.tell()
    bench.report.check("deadline_none_lost", not any(lost.values()), ", ".join(f"{n}: {c}" for n, c in lost.items()))
    _tell(bench, beside, uninspected)


def _cases(quick):
    cases = {}
    for gso in ("on", "off"):
        cases[f"flag_gso_{gso}"] = {"gso": gso}
        for deadline in ("20ms",) if quick else ("5ms", "20ms"):
            for breaker in ("on", "off"):
                cases[f"{deadline}_breaker_{breaker}_gso_{gso}"] = {
                    "gso": gso, "deadline": deadline, "breaker": breaker, "length": None, "hung": None}
    return cases


def _one(bench, seconds, options):
    """Mbit/s, the share that the ledger counted as uninspected (None where it can't know), and what it counted lost."""
    with bench.interceptor(True, **options) as interceptor, bench.queued("tcp"):
        rate = Stream(bench.a, bench.b, seconds).run().mbits()
        queue = interceptor.queue()
    seen = max(queue["seen"], 1)
    known = queue["uncounted"] is not None
    return rate, sum(queue["spilled"].values()) / seen if known else None, queue["lost"]


def _tell(bench, beside, uninspected):
    shares = beside.report("deadline", "50 ms a packet")
    for name, values in uninspected.items():
        if values:
            bench.report.figure(f"deadline_{name}_uninspected", "share", values, "spilled, of what was seen")
    for name, share in shares.items():
        if "breaker_on" in name:
            bench.goal(f"deadline_{name}_at_least_{BREAKER}", share >= BREAKER, f"median {share:.3f} of no queue")
        elif "breaker_off_gso_on" in name:
            bench.goal(f"deadline_{name}_at_least_{ALONE}", share >= ALONE, f"median {share:.3f} of no queue")
        elif "breaker_off_gso_off" in name:
            bench.goal(f"deadline_{name}_no_worse_than_flag", share >= shares["flag_gso_off"],
                       f"median {share:.3f}, the flag alone {shares['flag_gso_off']:.3f} of no queue")
