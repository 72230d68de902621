# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows 'counts' and 'hooks': what a full queue does to 100 datagrams, to the packet, and what stands behind it."""
from lib import books
from lib.traffic import Datagrams

SENT, LENGTH = 100, 16
OVER = SENT - LENGTH


def exact(bench):
    """Inspector stopped, length 16, 100 datagrams: what is held, dropped, delivered; then in which order."""
    for family in (4, 6):
        for fail_open in (False, True):
            with bench.interceptor(fail_open) as interceptor, bench.queued("udp", family=family), \
                    Datagrams(bench.a, bench.b, family=family) as datagrams:
                _exact(bench, interceptor, datagrams, family, fail_open)


def _exact(bench, interceptor, datagrams, family, fail_open):
    state = "on" if fail_open else "off"
    with interceptor.inspector_stopped():
        datagrams.send(SENT)
        at_once = datagrams.receive()
        kernel = bench.b.queues()[0]
    after = datagrams.receive(expected=at_once + LENGTH, timeout=LENGTH * 0.05 + 20, quiet=10)
    book = books.settled(interceptor)
    name = f"counts_v{family}_{state}"
    check = bench.report.check
    passed, dropped = (OVER, 0) if fail_open else (0, OVER)
    check(name + "_held_and_dropped", (kernel["held"], kernel["queue_dropped"]) == (LENGTH, dropped),
          f"kernel: {kernel['held']} held, {kernel['queue_dropped']} dropped; expected {LENGTH} and {dropped}")
    check(name + "_delivered_at_once", at_once == passed, f"{at_once} of {SENT}, expected {passed}")
    order = list(range(LENGTH, SENT)) + list(range(LENGTH)) if fail_open else list(range(LENGTH))
    check(name + "_delivered_after", datagrams.arrived == order,
          f"{after} delivered in all, " + ("those held come last" if fail_open else "in order, none missing before 16"))
    columns = (book["inspected"]["accepted"], book["shut"]["full"], book["kernel"]["queue_dropped"], book["held"])
    check(name + "_books", columns == (LENGTH, dropped, dropped, 0),
          "status: inspected {}, shut full {}, kernel's drops {}, held {}".format(*columns))
    came = bench.counted("NFQUEUE", family)
    check(name + "_rule_counted", came == SENT, f"{came} packets came to the rule")


def later_hooks(bench):
    """The queue in mangle INPUT: a fail-opened packet still meets filter INPUT, and a DROP there still drops it."""
    for target, delivered in (("ACCEPT", OVER), ("DROP", 0)):
        with bench.interceptor(True) as interceptor, bench.judged("udp", target), \
                bench.queued("udp", table="mangle"), Datagrams(bench.a, bench.b) as datagrams:
            with interceptor.inspector_stopped():
                datagrams.send(SENT)
                arrived = datagrams.receive()
                counted = bench.counted(target)
                held = interceptor.held()
            left = interceptor.wait_held(0, timeout=LENGTH * 0.05 + 3)
            after = bench.counted(target)
        name = "hooks_later_" + target.lower()
        bench.report.check(name, (held, counted, arrived) == (LENGTH, OVER, delivered),
                           f"{held} held; {counted} fail-opened ones came to the later table, {arrived} were delivered")
        bench.report.check(name + "_held_too", (left, after) == (0, SENT), f"{after} in the end, {left} held")
