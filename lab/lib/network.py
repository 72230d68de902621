# SPDX-License-Identifier: GPL-2.0-or-later
"""A bad network (netem) on the way from a and from c to b, and what b made of it, packet by packet (lab/tools/wire.c)."""
import shutil

from . import tools
from .sandbox import Missing

# Each way. The jitter disorders, too; what is reordered overtakes all that is being delayed.
BAD = ("limit 10000 delay 20ms 5ms loss 1% duplicate 1% corrupt 1% reorder 25% rate 100mbit").split()


def spoil(*hosts):
    """What these hosts send goes over a bad network."""
    for tool in ("tc", "ethtool"):
        if not shutil.which(tool):
            raise Missing(f"{tool}: not found; run 'make deps' as root")
    for host in hosts:
        done = host.run(["tc", "qdisc", "add", "dev", "eth0", "root", "netem", *BAD], check=False)
        if done.returncode:
            raise Missing(f"netem: {done.stderr.strip()}; it takes a kernel with CONFIG_NET_SCH_NETEM")


class Wire:
    """With statement: everything that comes to b and leaves it. After finish(): before, behind, missing (came and did
    not leave), strange (left and never came), reordered (within its flow), twice, damaged, unseen (by the capture)."""

    def __init__(self, bench, seconds):
        self.bench, self.words = bench, [bench.tool("wire"), int(seconds)]
        self.tool = None
        self.seen = {}

    def __enter__(self):
        self.tool = tools.Tool(self.bench.b, self.words)
        return self

    def finish(self):
        self.tool.stop()
        self.seen = self.tool.result()
        return self

    def __exit__(self, *_):
        self.tool.kill()

    def check(self, name, came, dropped, overtaken):
        """The facts: the capture and the rules have the same packets; what is missing is what was dropped; no more came
        out of order than `overtaken`, which may be 0."""
        seen, check = self.seen, self.bench.report.check
        check(name + "_captured", seen["unseen"] == 0 and seen["before"] == came,
              f"{seen['before']:,} came by the capture ({seen['unseen']} unseen), {came:,} by the rules")
        check(name + "_as_they_came", seen["strange"] == 0, f"of {seen['behind']:,} that left {seen['strange']} never came")
        check(name + "_missing_dropped", seen["missing"] == dropped,
              f"{seen['missing']:,} did not leave, {dropped:,} were dropped by the books")
        check(name + "_order", seen["reordered"] <= overtaken,
              f"{seen['reordered']} of {seen['behind']:,} left after a later one of their flow; by status at most {overtaken}")
