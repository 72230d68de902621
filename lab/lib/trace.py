# SPDX-License-Identifier: GPL-2.0-or-later
"""A queue's states over time: status asked for every 20 ms in a thread of its own, for checks and for the chart."""
import threading
import time

from . import books
from .chart import Series

STEP = 0.02


class Trace:
    """With statement. points: (monotonic seconds, state, reason, packets inspected, packets by policy)."""

    def __init__(self, interceptor, number=0):
        self.interceptor, self.number = interceptor, number
        self.points = []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join(5)

    def _watch(self):
        while not self.ended.wait(STEP):
            queue = self.interceptor.try_queue(self.number)
            if queue:
                self.points.append((time.monotonic(), queue["state"], queue["reason"], books.inspected(queue),
                                    books.by_policy(queue)))

    def changes(self):
        """(seconds, state) of each change, the first state among them."""
        found = []
        for at, state, *_ in list(self.points):
            if not found or found[-1][1] != state:
                found.append((at, state))
        return found

    def times_in(self, state):
        """How often this state was entered."""
        return sum(1 for _, name in self.changes() if name == state)

    def first(self, wanted, after):
        """Seconds from `after` until the first point that wanted(state, reason) accepts; None: never."""
        return next((at - after for at, state, reason, *_ in list(self.points) if at >= after and wanted(state, reason)),
                    None)

    def wait(self, wanted, seconds):
        """Until the last point's state is one that wanted(state) accepts. False: not within so many seconds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.points and wanted(self.points[-1][1]):
                return True
            time.sleep(STEP / 2)
        return False

    def panel(self, title, events=(), step=0.1):
        """Packets inspected a second, with the states' changes and other events (seconds, name) as marks."""
        if not self.points:
            return Series(title, [], [], "packets/s inspected", (0.5, 100000))
        begin, last, rates = self.points[0][0], self.points[0], []
        for point in self.points[1:]:
            if point[0] - last[0] >= step:
                rates.append((point[0] - begin, (point[3] - last[3]) / (point[0] - last[0])))
                last = point
        marks = sorted([(at - begin, name) for at, name in self.changes()] + [(at - begin, name) for at, name in events])
        return Series(title, rates, marks, "packets/s inspected", (0.5, 100000))
