# SPDX-License-Identifier: GPL-2.0-or-later
"""One TCP stream in which states take turns of a quarter of a second: their rates, side by side.

Streams that follow each other differ by a third of their rate, for which processor gets which end, and for what else the
machine does. Within one stream much of that is the same for both. Both ends, and Spillway's processes, are on one
processor: no second one takes part of the work, so that it shows wholly, and the rate of a turn varies half as much. What
is left shows where a state is compared with itself, and many turns make it small.
"""
import os
import time

from .traffic import Stream

CPU = 0  # the processor
TURN = 0.25  # seconds of each state
SETTLE = 0.05  # of these, not counted: what was on its way
CHANGE = 0.25  # that a change of state may take


def _received(host):
    """Bytes that have come to the host's device."""
    with host.inside(), open("/proc/thread-self/net/dev", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.strip().startswith("eth0:"))


def _rate(host, seconds):
    """Mbit/s."""
    begun, before = time.monotonic(), _received(host)
    time.sleep(seconds)
    return (_received(host) - before) * 8e-6 / (time.monotonic() - begun)


def turns(bench, interceptor, states, rounds, warm=None):
    """states: name -> function that returns a context manager which holds the state. Each once a round, in this order
    and then in the reverse one. `warm` is called once the stream runs. Returns name -> rates, one of each round."""
    rates = {name: [] for name in states}
    for pid in filter(None, interceptor.pids().values()):
        os.sched_setaffinity(pid, {CPU})
    stream = Stream(bench.a, bench.b, rounds * len(states) * (TURN + CHANGE) + 30, cpu=CPU).start()
    try:
        stream.running()
        if warm:
            warm()
        for number in range(rounds):
            for name in list(states)[::1 if number % 2 else -1]:
                with states[name]():
                    time.sleep(SETTLE)
                    rates[name].append(_rate(bench.b, TURN - SETTLE))
    finally:
        stream.stop()
    return rates


def compare(bench, interceptor, name, states, base, goal, warm=None):
    """The states in turn, in one stream; the shares, round by round, of the base are the goal's."""
    rates = turns(bench, interceptor, states, bench.many(70, 2), warm)
    report, rounds = bench.report, rates[base]
    for state, values in rates.items():
        report.figure(f"{name}_{state}", "Mbit/s", values, states[state].__doc__)
    report.figure(f"{name}_{base}_of_itself", "ratio", shares(rounds[1:], rounds), "a round by the one before: what chance does")
    for state, values in rates.items():
        if state not in (base, "gate"):
            report.figure(f"{name}_gate_of_{state}", "ratio", shares(rates["gate"], values), "round by round")
    median = report.figure(f"{name}_of_{base}", "ratio", shares(rates["gate"], rounds), f"{name}_gate / {name}_{base}, round by round")
    bench.goal(f"{name}_at_least_{goal}_of_{base}", median >= goal, f"median {median:.3f} of {len(rounds)} rounds")


def shares(ones, others):
    """One by the other; without the rounds in which nothing came, as where the machine stood still."""
    return [one / other for one, other in zip(ones, others) if one and other] or [0.0]
