# SPDX-License-Identifier: GPL-2.0-or-later
"""Rates beside no queue. A machine's own rate wanders by a factor of two within a minute, so each stream is compared with
the two without a queue that stand next to it."""
from .traffic import Stream


class Beside:
    """Rates in Mbit/s: `no_queue` a list, `rates` lists by name; `ratios`, by name, are shares of no queue."""

    def __init__(self, bench, seconds):
        self.bench, self.seconds = bench, seconds
        self.no_queue, self.rates, self.ratios = [self._no_queue()], {}, {}

    def _no_queue(self):
        return Stream(self.bench.a, self.bench.b, self.seconds).run().mbits()

    def add(self, name, rate):
        """The rate of what has just been measured; in the short form, where rates are no facts, there is one
        stream without a queue for all."""
        self.no_queue.append(self.no_queue[-1] if self.bench.quick else self._no_queue())
        self.rates.setdefault(name, []).append(rate)
        self.ratios.setdefault(name, []).append(rate / (sum(self.no_queue[-2:]) / 2))

    def tell(self):
        """One line: the last of each."""
        self.bench.tell(", ".join(f"{name} {values[-1]:.0f} ({self.ratios[name][-1]:.3f})"
                                  for name, values in self.rates.items()) + " Mbit/s (of no queue)")

    def report(self, row, detail):
        """The figures; the median share of each name."""
        report = self.bench.report
        report.figure(f"{row}_no_queue", "Mbit/s", self.no_queue, "no rule, no inspector")
        shares = {}
        for name, values in self.rates.items():
            report.figure(f"{row}_{name}", "Mbit/s", values, detail)
            shares[name] = report.figure(f"{row}_{name}_of_no_queue", "ratio", self.ratios[name],
                                         f"{row}_{name} / the {row}_no_queue before and after it")
        return shares
