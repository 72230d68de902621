# SPDX-License-Identifier: GPL-2.0-or-later
"""Spillway's ledger as status shows it: sums, and the comparison with what the kernel's own rules counted."""
import time

from .hosts import PATIENCE
from .sandbox import LabError


def inspected(queue):
    return sum(queue["inspected"].values())


def by_policy(queue):
    """Packets that went uninspected, and were counted."""
    return sum(queue["spilled"].values()) + sum(queue["shut"].values())


def columns(queue):
    return queue["held"] + inspected(queue) + queue["trusted"] + by_policy(queue) + queue["lost"] + queue["unreconciled"]


def reasons(queue):
    """Spilled and shut, the columns that are not 0, for people."""
    told = [f"{column} {reason} {number:,}" for column in ("spilled", "shut")
            for reason, number in queue[column].items() if number]
    return ", ".join(told) or "none by policy"


def settled(interceptor, number=0, seconds=5.0, came=None):
    """The queue's books once nothing is held and nothing unexplained; with came(), which says what the rule has counted,
    once they have that many, too (the counter in front is read every second). Or as they are after so many seconds."""
    end = time.monotonic() + seconds * PATIENCE
    while True:
        try:
            queue = interceptor.queue(number)
        except (OSError, LabError):  # it is just being replaced
            queue = None
        if queue and _closed(queue, came) or time.monotonic() > end:
            if queue is None:
                raise LabError(f"no status of queue {number} in {seconds} s")
            return queue
        time.sleep(0.02)


def _closed(queue, came):
    if queue["held"] or queue["unreconciled"]:
        return False
    return came is None or queue["uncounted"] is None or queue["seen"] == came()


def check(bench, name, queue, came=None, all_inspected=False):
    """The facts of a settled queue: the columns are the sum, nothing lost, nothing unexplained, nothing still held;
    with `came`, what the rule in front counted: equal to the packet, or the ledger says that it can't know."""
    report = bench.report
    text = f"seen {queue['seen']:,}: inspected {inspected(queue):,}, {reasons(queue)}, lost {queue['lost']}"
    report.check(name + "_books_sum", queue["seen"] == columns(queue), f"{text}; the columns make {columns(queue):,}")
    report.check(name + "_books_none_lost", queue["lost"] == 0, f"lost {queue['lost']}")
    report.check(name + "_books_explained", queue["held"] == 0 and queue["unreconciled"] == 0,
                 f"held {queue['held']}, unreconciled {queue['unreconciled']}")
    if came is not None:
        against_rule(report, name, queue, came)
    if all_inspected:
        report.check(name + "_all_inspected", inspected(queue) == queue["seen"] and by_policy(queue) == 0,
                     f"{inspected(queue):,} of {queue['seen']:,}, {reasons(queue)}")


def against_rule(report, name, queue, came):
    if queue["uncounted"] is None:
        report.check(name + "_books_not_above_rule", queue["seen"] <= came,
                     f"the rule counted {came:,}, seen {queue['seen']:,}; the ledger says that the rest is unknown")
        return
    report.check(name + "_books_equal_rule", queue["seen"] == came,
                 f"the rule counted {came:,}, the ledger {queue['seen']:,}")
