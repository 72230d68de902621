# SPDX-License-Identifier: GPL-2.0-or-later
"""Two hosts, a and b, as network namespaces joined by a cable (veth), and a third behind b; commands, rules and counters
in them.

To be used inside the sandbox only. b is where the interceptor stands, a is the other side. Documentation addresses.
"""
import contextlib
import ctypes
import os
import re
import subprocess

from .sandbox import LabError

# On a slow machine, such as an emulated one, everything may take so many times as long.
PATIENCE = float(os.environ.get("PATIENCE", "1"))

_libc = ctypes.CDLL(None, use_errno=True)


class Host:
    """One host. Commands run in its network namespace; nothing else is separate."""

    def __init__(self, name, number, net="192.0.2"):
        self.name = name
        self.path = "/run/netns/" + name
        self.v4 = f"{net}.{number}"
        self.v6 = f"2001:db8::{number}"
        self.mac = f"02:00:00:00:00:{number:02x}"
        self._counters = {}

    def command(self, arguments):
        return ["nsenter", "--net=" + self.path, "--"] + [str(a) for a in arguments]

    def start(self, arguments, **options):
        """A Popen whose pid is the command's own: nsenter replaces itself by it."""
        return subprocess.Popen(self.command(arguments), **options)

    def run(self, arguments, timeout=20, check=True, **options):
        """Runs to the end, at most timeout seconds times PATIENCE; text output in .stdout and .stderr."""
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        done = subprocess.run(self.command(arguments), timeout=timeout * PATIENCE, text=True, check=False, **options)
        if check and done.returncode != 0:
            words = " ".join(str(a) for a in arguments)
            raise LabError(f"{words}: exit {done.returncode}: {(done.stderr or '').strip()}")
        return done

    @contextlib.contextmanager
    def inside(self):
        """The calling (main) thread is in this host: a socket or /proc file opened here stays in it."""
        with open("/proc/self/ns/net", "rb") as home, open(self.path, "rb") as there:
            _setns(there.fileno())
            try:
                yield self
            finally:
                _setns(home.fileno())

    def iptables(self, *arguments, family=4):
        """One rule, given as words or as one string."""
        words = arguments[0].split() if len(arguments) == 1 else list(arguments)
        self.run(["iptables" if family == 4 else "ip6tables", "-w"] + words)

    def counter(self, queue):
        """The words of a match that counts what comes to this queue, whether it is queued or passes: the ledger reads
        that counter. To be called before `spillway run` starts, for what passes before it is seen is unknown. No words
        where the kernel or the machine has no such counters."""
        if queue not in self._counters:
            self._counters[queue] = self._make_counter(f"spillway-{queue}")
        return self._counters[queue]

    def _make_counter(self, name):
        words = f"-m nfacct --nfacct-name {name}"
        rule = f"INPUT -p 254 {words} -j ACCEPT".split()  # nothing comes by this protocol
        steps = (["nfacct", "add", name], ["iptables", "-w", "-A"] + rule, ["iptables", "-w", "-D"] + rule)
        if any(self.run(step, check=False).returncode for step in steps):
            self.run(["nfacct", "del", name], check=False)
            return ""
        return words

    def packets(self, table, needle, family=4, rules=1):
        """How many packets the one rule of a table whose text contains needle has counted; rules=None: all such."""
        save = "iptables-save" if family == 4 else "ip6tables-save"
        text = self.run([save, "-c", "-t", table]).stdout
        found = [line for line in text.splitlines() if needle in line and line.startswith("[")]
        if rules is not None and len(found) != rules:
            raise LabError(f"{len(found)} rules of table {table} contain '{needle}'; {rules} was expected")
        return sum(int(re.match(r"\[(\d+):", line).group(1)) for line in found)

    def queues(self):
        """The kernel's own book: queue number -> dict, from /proc/net/netfilter/nfnetlink_queue."""
        with self.inside(), open("/proc/thread-self/net/netfilter/nfnetlink_queue", encoding="ascii") as f:
            lines = f.readlines()
        names = ("queue", "portid", "held", "mode", "range", "queue_dropped", "user_dropped", "sequence")
        rows = [dict(zip(names, map(int, line.split()))) for line in lines]
        return {row["queue"]: row for row in rows}


def _setns(descriptor):
    clone_newnet = 0x40000000
    if _libc.setns(descriptor, clone_newnet) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def pair():
    """Makes both hosts and the cable; returns (a, b). They go away with the sandbox."""
    a, b = Host("a", 1), Host("b", 2)
    for host in (a, b):
        _ip("netns add " + host.name)
    join(a, b)
    return a, b


def join(a, b):
    """The cable between two hosts that are there, and their addresses."""
    _ip(f"link add name eth0 netns {a.path} address {a.mac} type veth peer name eth0 netns {b.path} address {b.mac}")
    for host, other in ((a, b), (b, a)):
        host.run("ip link set lo up".split())
        host.run(f"ip addr add {host.v4}/24 dev eth0".split())
        host.run(f"ip addr add {host.v6}/64 dev eth0 nodad".split())
        host.run("ip link set eth0 up".split())
        # Neighbours are known from the start: no first packet waits for its address.
        for address in (other.v4, other.v6):
            host.run(f"ip neigh replace {address} lladdr {other.mac} dev eth0 nud permanent".split())


def behind(a, b):
    """A third host, c, behind b, who passes packets on between a and c (IPv4). Packets are as from a wire: one by one,
    each with its checksum."""
    c = Host("c", 3, "198.51.100")
    gate = "198.51.100.2"
    _ip("netns add c")
    _ip(f"link add name eth1 netns b address 02:00:00:00:01:02 type veth peer name eth0 netns c address {c.mac}")
    for host, words in ((b, f"addr add {gate}/24 dev eth1"), (b, "link set eth1 up"), (c, f"addr add {c.v4}/24 dev eth0"),
                        (c, "link set lo up"), (c, "link set eth0 up"), (c, f"route add default via {gate}"),
                        (a, f"route add 198.51.100.0/24 via {b.v4}"),
                        (b, f"neigh replace {c.v4} lladdr {c.mac} dev eth1 nud permanent"),
                        (c, f"neigh replace {gate} lladdr 02:00:00:00:01:02 dev eth0 nud permanent")):
        host.run(["ip", *words.split()])
    b.run(["sysctl", "-qw", "net.ipv4.ip_forward=1"])
    for host in (a, c):
        host.run("ethtool -K eth0 tx off tso off gso off gro off".split())
    return c


def _ip(words):
    done = subprocess.run(["ip"] + words.split(), capture_output=True, text=True, timeout=10, check=False)
    if done.returncode != 0:
        raise LabError(f"ip {words}: {done.stderr.strip()}")


