# SPDX-License-Identifier: GPL-2.0-or-later
"""Silences compared in pairs: windows without and with a fault, in turn, in one run, so that what else the machine does
strikes both alike. A silence: how long nothing arrived, less what the sender itself paused."""
import statistics
import time

LEAST = 0.001  # shorter ones are not kept, and a window without any counts as this long


class Pairs:
    def __init__(self, seconds):
        self.seconds = seconds  # of each window
        self.windows = []  # (begin without, begin with)

    def pair(self, fault):
        """One quiet window, then one at whose beginning fault() is called. Returns when both are over."""
        quiet = time.monotonic()
        time.sleep(self.seconds)
        begin = time.monotonic()
        fault()
        self.windows.append((quiet, begin))
        time.sleep(max(begin + self.seconds - time.monotonic(), 0))

    def longest(self, silences, begin):
        """The longest silence that began in a window, or in which the window began."""
        inside = [length - own for at, length, own in silences if at < begin + self.seconds and at + length > begin]
        return max(inside + [LEAST])

    def differences(self, silences):
        return [(self.longest(silences, quiet), self.longest(silences, fault)) for quiet, fault in self.windows]

    def report(self, bench, name, silences, limit):
        """Figures: both kinds of windows, and the difference, pair by pair. The limit (seconds) is a goal."""
        pairs = self.differences(silences)
        more = sorted((fault - quiet) * 1000 for quiet, fault in pairs)
        report = bench.report
        note = f"longest silence of a window of {self.seconds * 1000:.0f} ms"
        report.figure(name + "_silence_without", "ms", [quiet * 1000 for quiet, _ in pairs], note + " without the fault")
        report.figure(name + "_silence_with", "ms", [fault * 1000 for _, fault in pairs], note + " with it")
        above = [f"{value:.1f}" for value in more if value > limit * 1000]
        median = report.figure(name + "_silence_more", "ms", more,
                               f"with less without, pair by pair; above {limit * 1000:.0f} ms: {', '.join(above) or 'none'}")
        p95 = report.figure(name + "_silence_more_p95", "ms", [percentile(more, 0.95)], "95th percentile of that")
        bench.goal(f"{name}_silence_under_{limit * 1000:.0f}_ms_more", median < limit * 1000 and p95 < limit * 1000,
                   f"median {median:.2f}, 95th percentile {p95:.2f} ms more, {len(above)} of {len(more)} above")


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else statistics.nan
