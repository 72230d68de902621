# SPDX-License-Identifier: GPL-2.0-or-later
"""One TCP stream in which states take turns of a quarter of a second: their rates, side by side.

Streams that follow each other differ by a third of their rate, for which processor gets which end, and for what else the
machine does. Within one stream much of that is the same for both; what is left shows where a state is compared with
itself, and many turns make it small.
"""
import time

from .traffic import Stream

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


def turns(bench, states, rounds, warm=None):
    """states: name -> function that returns a context manager which holds the state. Each once a round, in this order
    and then in the reverse one. `warm` is called once the stream runs. Returns name -> rates, one of each round."""
    rates = {name: [] for name in states}
    stream = Stream(bench.a, bench.b, rounds * len(states) * (TURN + CHANGE) + 30).start()
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
