# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbered datagrams of many flows from a to b (or another host) at a fixed rate, and what became of each of them.

Started and ended by a with statement; finish() brings what the receiver saw.
"""
from . import tools


class Flows:
    """At most rate * seconds datagrams. After finish(): sent, received, lost, twice, reordered (within a flow),
    overtaken (any flow), damaged, own_drops (the receiver's), holes, and silences [(begin, length, the sender's
    own)]: monotonic seconds, seconds, seconds."""

    def __init__(self, bench, rate=20000, seconds=30, flows=100, size=100, port=9000, silence_us=1000, to=None):
        self.bench, self.rate, self.port = bench, rate, port
        self.to = to or bench.b
        count = int(rate * seconds) if rate else int(seconds)
        self.limit = seconds + 20
        program = bench.tool("flows")
        self.receive = [program, "receive", port, flows, count, int(self.limit), silence_us]
        self.send = [program, "send", self.to.v4, port, flows, count, rate, size]
        self.receiver = self.sender = None
        self.sent = self.lost = 0
        self.seen = {}
        self.silences = []

    def __enter__(self):
        self.receiver = tools.Tool(self.to, self.receive)
        self.sender = tools.Tool(self.bench.a, self.send, ready=False)
        return self

    def __getattr__(self, name):
        try:
            return self.__dict__["seen"][name]
        except KeyError:
            raise AttributeError(name) from None

    def stop_sending(self):
        self.sender.stop()
        return self

    def wait_sent(self):
        """Waits until everything is sent; returns how much that is."""
        told = self.sender.result(self.limit)
        self.sent = told["sent"] - told["refused"]
        return self.sent

    def finish(self):
        """Waits for the sender's end and for what is still on its way."""
        self.wait_sent()
        self.receiver.stop()
        self.seen = self.receiver.result(self.limit)
        self.silences = [(begin / 1e9, us / 1e6, own / 1e6) for begin, us, own in self.seen["silences"]]
        self.lost = self.sent - self.seen["received"] - self.seen["own_drops"]
        return self

    def __exit__(self, *_):
        for tool in (self.sender, self.receiver):
            if tool:
                tool.kill()

    def check(self, name, lost=True, reordered=True):
        """The facts: nothing lost, nothing twice, nothing damaged, nothing overtaken within its flow."""
        check = self.bench.report.check
        if lost:
            check(name + "_none_lost", self.lost == 0,
                  f"{self.sent:,} datagrams sent, {self.received:,} received, {self.own_drops} dropped by the "
                  f"receiver, {self.lost} lost" + (f"; first gaps (serial, count): {self.holes[:4]}" if self.lost else ""))
        if reordered:
            check(name + "_none_reordered", self.reordered == 0,
                  f"{self.reordered} of {self.received:,} came after a later one of their flow")
        check(name + "_none_twice_or_damaged", self.twice == 0 and self.damaged == 0,
              f"{self.twice} twice, {self.damaged} damaged")
