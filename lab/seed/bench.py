# SPDX-License-Identifier: GPL-2.0-or-later
"""What every row of the experiment works with beyond the common: the seed's program, and its rule by either backend."""
import contextlib
import re

from lib import experiment
from lib.interceptor import Interceptor
from lib.sandbox import LabError

NFT_FAMILY = {4: "ip", 6: "ip6"}


class Bench(experiment.Bench):
    """Handed to each row."""

    def __init__(self, a, b, binary, report, directory, options):
        super().__init__(a, b, binary, report, directory, options)
        self.file_size = options.file_size or (128 << 20 if options.quick else 1 << 30)

    def interceptor(self, fail_open, **options):
        """The seed's program on b: length 16, 50 ms a packet, GSO off."""
        return Interceptor(self.b, self.binary, fail_open, **options)

    def match(self, protocol="tcp"):
        """What the seed's rule queues: iptables words that begin with the hook."""
        return f"INPUT -p {protocol} -m mac --mac-source {self.a.mac}"

    def queued(self, *protocols, number=0, table="filter", family=4):
        """The seed's rule, word for word but for the protocol, the queue and the table; under nft the same with nft's own
        queue statement. Where nobody is bound, nothing passes."""
        if not self.nft:
            return self.rules(*(f"-A {self.match(protocol)} -j NFQUEUE --queue-num {number}" for protocol in protocols),
                              table=table, family=family)
        return self._nft(table, family, *(f"ether saddr {self.a.mac} meta l4proto {protocol} counter queue num {number}"
                                          for protocol in protocols))

    def judged(self, protocol, target):
        """A rule of the filter table that says ACCEPT or DROP and queues nothing."""
        if not self.nft:
            return self.rules(f"-A INPUT -p {protocol} -j {target}")
        return self._nft("filter", 4, f"meta l4proto {protocol} counter {target.lower()}")

    def counted(self, target, family=4):
        """How many packets the one rule of the filter table with this target has counted: NFQUEUE, ACCEPT or DROP."""
        if not self.nft:
            return self.b.packets("filter", f"-j {target}", family)
        text = self.b.run(["nft", f"list chain {NFT_FAMILY[family]} seed filter"]).stdout
        word = "queue" if target == "NFQUEUE" else target.lower()
        found = re.findall(rf"counter packets (\d+) bytes \d+ {word}\b", text)
        if len(found) != 1:
            raise LabError(f"{len(found)} nft rules with '{word}'; one was expected")
        return int(found[0])

    @contextlib.contextmanager
    def _nft(self, chain, family, *rules):
        """Rules in a base chain at input, of the priority that iptables' table of that name has. They go at the end, the
        chain stays: deleting it would drop what is held."""
        where = f"{NFT_FAMILY[family]} seed"
        self.b.run(["nft", f"add table {where}; add chain {where} {chain} "
                           f"{{ type filter hook input priority {chain}; }}"])
        added = []
        try:
            for rule in rules:
                told = self.b.run(["nft", "--echo", "--handle", f"add rule {where} {chain} {rule}"]).stdout
                added.append(re.search(r"# handle (\d+)", told).group(1))
            yield
        finally:
            for handle in added:
                self.b.run(["nft", f"delete rule {where} {chain} handle {handle}"])
