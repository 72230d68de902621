# SPDX-License-Identifier: GPL-2.0-or-later
"""TCP connections from a to b (or another host) that live long, exchange data and check every byte. With statement; finish() tells."""
from . import tools


class Connections:
    """`each`: exchanges after which a connection ends in order and connects anew; 0: it is held to the end."""

    def __init__(self, bench, count=16, seconds=60, size=4096, pause_ms=20, each=0, port=9500, to=None):
        self.bench, self.each = bench, each
        self.to = to or bench.b
        program = bench.tool("conns")
        self.serve = [program, "serve", self.to.v4, port, int(seconds) + 20]
        self.hold = [program, "hold", self.to.v4, port, count, int(seconds), size, pause_ms, each]
        self.count = count
        self.server = self.client = None
        self.told = {}

    def __enter__(self):
        self.server = tools.Tool(self.to, self.serve)
        self.client = tools.Tool(self.bench.a, self.hold)
        return self

    def finish(self):
        self.client.stop()
        self.told = self.client.result()
        return self

    def __exit__(self, *_):
        for tool in (self.client, self.server):
            if tool:
                tool.kill()

    def check(self, name):
        """The facts: each connection came about, none was reset or ended early, every byte was right."""
        told, check = self.told, self.bench.report.check
        check(name + "_none_reset", not (told["reset"] or told["refused"] or told["ended_early"] or told["unfinished"]),
              "{connected} connected, {exchanges} exchanges; {reset} reset, {refused} refused, {ended_early} ended "
              "early, {unfinished} not ended in order".format(**told))
        check(name + "_bytes_right", told["wrong_bytes"] == 0 and told["exchanges"] > 0,
              f"{told['wrong_bytes']} wrong bytes")
        if not self.each:
            check(name + "_all_held", told["connected"] == self.count, f"{told['connected']} of {self.count}")
