# SPDX-License-Identifier: GPL-2.0-or-later
"""What every row of the experiment works with beyond the common: the seed's program and its rule."""
from lib import experiment
from lib.interceptor import Interceptor


class Bench(experiment.Bench):
    """Handed to each row."""

    def __init__(self, a, b, binary, report, directory, options):
        super().__init__(a, b, binary, report, directory, options)
        self.file_size = options.file_size or (128 << 20 if options.quick else 1 << 30)

    def interceptor(self, fail_open, **options):
        """The seed's program on b: length 16, 50 ms a packet, GSO off."""
        return Interceptor(self.b, self.binary, fail_open, **options)

    def queue_rule(self, protocol="tcp"):
        """The seed's rule, word for word but for the protocol."""
        return f"-A {self.match(protocol)} -j NFQUEUE --queue-num 0"

    def match(self, protocol="tcp"):
        """What that rule queues: iptables words that begin with the hook."""
        return f"INPUT -p {protocol} -m mac --mac-source {self.a.mac}"
