# SPDX-License-Identifier: GPL-2.0-or-later
"""What every row of the experiment works with: the two hosts, the command under test, the report, rules."""
import contextlib

from lib.interceptor import Interceptor


class Bench:
    """Handed to each row."""

    def __init__(self, a, b, binary, report, directory, options):
        self.a, self.b = a, b
        self.binary = binary
        self.report = report
        self.directory = directory  # temporary, on disk
        self.quick = options.quick
        self.file_size = options.file_size
        self.panels = []  # what the chart will show

    def interceptor(self, fail_open, **options):
        """The seed's program on b: length 16, 50 ms a packet, GSO off."""
        return Interceptor(self.b, self.binary, fail_open, **options)

    def queue_rule(self, protocol="tcp"):
        """The seed's rule, word for word but for the protocol."""
        return f"-A INPUT -p {protocol} -m mac --mac-source {self.a.mac} -j NFQUEUE --queue-num 0"

    @contextlib.contextmanager
    def rules(self, *rules, table="filter", family=4):
        """Rules (iptables words with -A) on b, deleted at the end. Deleting a rule drops nothing that is held."""
        added = []
        try:
            for rule in rules:
                self.b.iptables(f"-t {table} {rule}", family=family)
                added.append(rule)
            yield
        finally:
            for rule in added:
                self.b.iptables(f"-t {table} {rule.replace('-A', '-D', 1)}", family=family)

    def tell(self, text):
        print("  " + text, flush=True)
