# SPDX-License-Identifier: GPL-2.0-or-later
"""What the full queue drops while fail-open is switched to and fro: facts beside the rates."""
import contextlib


class Drops:
    """By the kernel's own count, of one `spillway run`."""

    def __init__(self, host):
        self.host = host
        self.all = self.on = 0

    def _now(self):
        return self.host.queues()[0]["queue_dropped"]

    @contextlib.contextmanager
    def phase(self, on):
        """Inside it the switch stands. What is dropped while it is being turned counts as dropped off."""
        before = self._now()
        yield
        self.all = self._now()
        self.on += self.all - before if on else 0

    def check(self, bench, name):
        bench.report.check(name + "_on_drops_nothing", self.on == 0, f"{self.on} dropped while fail-open was on")
        bench.report.check(name + "_off_drops", self.all > self.on, f"{self.all - self.on} dropped while it was off")
