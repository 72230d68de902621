# SPDX-License-Identifier: GPL-2.0-or-later
"""Very many flows with a heavy tail of sizes from a to b (lab/tools/pareto.c; TCP: crowd.c), a flood of spoofed ones (spoof.c), and how
many flows an inspector saw whole. Inspected packets carry mark 1: `run --mark 1/1`."""
import array
import contextlib
import socket

from . import tools

SOURCES = "198.18.0.0/15"  # nobody's: RFC 2544
BYTES = 228  # behind the UDP header of each packet
LENGTH = BYTES + 28  # as the gate counts it


def allow(bench):
    """b takes packets from sources that are nobody's, and would answer by the cable."""
    for name in ("all", "eth0"):
        bench.b.run(["sysctl", "-qw", f"net.ipv4.conf.{name}.rp_filter=0"])
    bench.b.run(["ip", "route", "replace", SOURCES, "via", bench.a.v4])


class Pareto:
    """With statement; finish() waits for the end. Then the sums of both ends, and rows of the flows."""

    def __init__(self, bench, per_second, warm, seconds, after, port=9100):
        self.bench, self.seconds = bench, seconds
        allow(bench)
        whole = warm + seconds + after
        self.limit = whole + 30
        self.file = f"{bench.directory}/flows"
        most = int(per_second * whole * 1.2) + 1000
        program = bench.tool("pareto")
        self.receive = [program, "receive", port, most, self.limit, self.file]
        self.send = [program, "send", bench.b.v4, port, per_second, warm, seconds, after, bench.seed, BYTES]
        self.sender = self.receiver = None
        self.told, self.seen = {}, {}
        self.rows = []

    def __enter__(self):
        self.receiver = tools.Tool(self.bench.b, self.receive)
        self.sender = tools.Tool(self.bench.a, self.send, ready=False)
        return self

    def finish(self):
        self.told = self.sender.result(self.limit)
        self.receiver.stop()
        self.seen = self.receiver.result(self.limit)
        with open(self.file, "rb") as f:
            words = array.array("I", f.read())
        # size, received, inspected, prefix, highest number + 1, gap
        self.rows = [words[i * 6:i * 6 + 4] for i in range(self.told["flows"])]
        return self

    def lost(self):
        return self.told["sent"] - self.seen["received"] - self.seen["own_drops"]

    def window(self):
        """The flows that began in the measured time and of which anything came."""
        return [row for row in self.rows[self.told["first"]:self.told["last"]] if row[0]]

    def mean_to(self, cutoff):
        """Mean of min(packets, cut-off)."""
        rows = self.window()
        return sum(min(row[0], cutoff) for row in rows) / max(len(rows), 1)

    def whole(self, cutoff):
        """Flows inspected from their first packet to their end or the cut-off, without a gap."""
        return sum(row[3] >= min(row[0], cutoff) for row in self.window())

    def finished(self):
        """Flows all of whose packets came."""
        return sum(row[0] == row[1] for row in self.window())

    def mbits(self):
        return self.seen["bytes"] * 8e-3 / max(self.seen["ms"], 1)

    def __exit__(self, *_):
        for tool in (self.sender, self.receiver):
            if tool:
                tool.kill()


class Crowd:
    """TCP connections with the same tail of sizes, as fast as TCP lets each (lab/tools/crowd.c). With statement; finish()
    tells of the client: begun, finished, reset, refused, unfinished, median_us, p99_us."""

    def __init__(self, bench, per_second, seconds, patience, unit=10000, port=9300):
        self.bench = bench
        self.limit = seconds + patience + 10
        program = bench.tool("crowd")
        self.serve = [program, "serve", port, self.limit]
        self.connect = [program, "connect", bench.b.v4, port, per_second, seconds, patience, bench.seed, unit]
        self.server = self.client = None
        self.told, self.served = {}, {}

    def __enter__(self):
        self.bench.a.run(["sysctl", "-qw", "net.ipv4.ip_local_port_range=1024 65000"])
        self.server = tools.Tool(self.bench.b, self.serve)
        self.client = tools.Tool(self.bench.a, self.connect, ready=False)
        return self

    def finish(self):
        self.told = self.client.result(self.limit)
        self.server.stop()
        self.served = self.server.result(self.limit)
        return self

    def mbits(self):
        return self.served["bytes"] * 8e-3 / max(self.served["ms"], 1)

    def __exit__(self, *_):
        for tool in (self.client, self.server):
            if tool:
                tool.kill()


class Flood:
    """Datagrams of `flows` sources that are nobody's, each in turn, to a port of b where they go no further. With
    statement; finish() tells: sent, refused, ms."""

    def __init__(self, bench, flows, count, per_second=0, first=0, port=9200):
        allow(bench)
        self.bench, self.port = bench, port
        self.words = [bench.tool("spoof"), bench.b.v4, port, first, flows, count, per_second, 32]
        self.sender = self.sink = None

    def __enter__(self):
        with self.bench.b.inside():
            self.sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)  # never read: the rest is dropped there
        self.sink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        self.sink.bind((self.bench.b.v4, self.port))
        self.sender = tools.Tool(self.bench.a, self.words, ready=False)
        return self

    def finish(self, timeout=120):
        return self.sender.result(timeout)

    def stop(self):
        self.sender.stop()
        return self.finish()

    def __exit__(self, *_):
        if self.sender:
            self.sender.kill()
        with contextlib.suppress(OSError):
            self.sink.close()
