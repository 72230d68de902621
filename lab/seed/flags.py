# SPDX-License-Identifier: GPL-2.0-or-later
"""Row 'flags': every pair of mask and flags over all defined bits and the first undefined one.

For each pair, from two starting states (quick: from one): the kernel's answer, and by packets which flags are then in
force. The rules it is held against:
- a flag word with an undefined bit is refused, whatever the mask: EOPNOTSUPP, from about 7.1 on EINVAL;
- a flag that this kernel lacks is refused with EOPNOTSUPP, but only where the mask names it;
- anything refused changes nothing; else exactly the masked bits change; undefined bits of the mask do nothing.
"""
import collections
import errno
import time

from lib import nfqueue
from lib.traffic import Datagrams

QUEUE = 7
BITS = 64
SEGMENTS = 4


def row(bench):
    with bench.queued("udp", number=QUEUE), nfqueue.Queue(bench.b, QUEUE) as queue, \
            Datagrams(bench.a, bench.b) as datagrams:
        bench.report.check("flags_unbound_refused", queue.flags(1, 1) == errno.ENODEV, "no such queue yet: ENODEV")
        _expect_ok(queue.bind(), queue.params())
        table = Table(bench, queue, datagrams)
        table.probe()
        table.all_pairs()
        table.tell()
        bench.report.check("flags_without_mask_refused", queue.flags(None, 1) == errno.EINVAL, "EINVAL")
        before = table.in_force()
        answer = queue.flags(1, None)
        bench.report.check("flags_mask_alone_ignored", (answer, table.in_force()) == (0, before), nfqueue.name(answer))


def _expect_ok(*answers):
    if any(answers):
        raise OSError(max(answers), "configuring a queue")


class Table:
    """Expected against found, pair by pair."""

    def __init__(self, bench, queue, datagrams):
        self.bench, self.queue, self.datagrams = bench, queue, datagrams
        self.lacking = 0  # defined flags that this kernel cannot do
        self.undefined_errno = None
        self.wrong_answers, self.wrong_states = [], []
        self.answers = collections.Counter()
        self.pairs = 0

    def probe(self):
        """Asks once for each flag alone whether this kernel has it."""
        for bit in range(5):
            if self.queue.flags(1 << bit, 1 << bit) != 0:
                self.lacking |= 1 << bit
            _expect_ok(self.queue.flags(1 << bit, 0))
        self.undefined_errno = self.queue.flags(0, nfqueue.UNDEFINED)
        self.bench.report.check("flags_undefined_refused", self.undefined_errno in (errno.EOPNOTSUPP, errno.EINVAL),
                                nfqueue.name(self.undefined_errno))

    def all_pairs(self):
        both = nfqueue.FAIL_OPEN | nfqueue.GSO
        for start in (0,) if self.bench.quick else (0, both):
            for mask in range(BITS):
                for flags in range(BITS):
                    _expect_ok(self.queue.flags(0x1f & ~self.lacking, start))
                    self._pair(start, mask, flags)

    def _expected(self, start, mask, flags):
        if flags & nfqueue.UNDEFINED:
            return self.undefined_errno, start
        if flags & mask & self.lacking:
            return errno.EOPNOTSUPP, start
        return 0, (start & ~mask) | (flags & mask)

    def _pair(self, start, mask, flags):
        answer = self.queue.flags(mask, flags)
        expected, state = self._expected(start, mask, flags)
        self.pairs += 1
        self.answers[nfqueue.name(answer)] += 1
        if answer != expected:
            self.wrong_answers.append((mask, flags, nfqueue.name(answer)))
        found = self.in_force()
        if found != (bool(state & nfqueue.FAIL_OPEN), bool(state & nfqueue.GSO)):
            self.wrong_states.append((start, mask, flags, found))

    def in_force(self):
        """(fail-open, GSO), found by packets: one datagram to a queue of length 0, one GSO packet to a long one."""
        return self._passes(), self._kept_whole()

    def _passes(self):
        _expect_ok(self.queue.length(0))
        dropped = self._row()["queue_dropped"]
        had = len(self.datagrams.arrived)
        self.datagrams.send(1)
        end = time.monotonic() + 2
        while time.monotonic() < end:
            # First, for it shows at once: waiting for what was dropped took more than half of the row's time.
            if self._row()["queue_dropped"] > dropped:
                return False
            if self.datagrams.receive(expected=had + 1, timeout=0.0005) > had:
                return True
        raise TimeoutError("a datagram to a queue of length 0 was neither delivered nor dropped")

    def _kept_whole(self):
        _expect_ok(self.queue.length(1000))
        self.datagrams.send_segments(SEGMENTS)
        end = time.monotonic() + 2
        while (held := self._row()["held"]) not in (1, SEGMENTS) and time.monotonic() < end:
            pass
        _expect_ok(self.queue.batch(nfqueue.DROP, self._row()["sequence"]))
        return held == 1

    def _row(self):
        return self.bench.b.queues()[QUEUE]

    def tell(self):
        check = self.bench.report.check
        told = ", ".join(f"{name} {count}" for name, count in sorted(self.answers.items()))
        lacking = [name for name in ("FAIL_OPEN", "CONNTRACK", "GSO", "UID_GID", "SECCTX")
                   if self.lacking & getattr(nfqueue, name)]
        check("flags_answers", not self.wrong_answers,
              f"{self.pairs:,} messages: {told}; not in this kernel: {', '.join(lacking) or 'none'}"
              + (f"; first wrong (mask, flags, answer): {self.wrong_answers[0]}" if self.wrong_answers else ""))
        check("flags_behaviour", not self.wrong_states,
              "fail-open and GSO after each, found by packets"
              + (f"; first wrong (start, mask, flags, found): {self.wrong_states[0]}" if self.wrong_states else ""))
