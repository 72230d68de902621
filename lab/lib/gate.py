# SPDX-License-Identifier: GPL-2.0-or-later
"""The gate in front of a queue on a host: its rules, what they have counted, and that against the gate's own books.

The run loads and pins the gate; so it is started first (`bench.run(gate="on")`), then come the rules.
"""
import contextlib
import os
import re
import shutil
import signal
import time

from . import bpf, books

ROOT = "/sys/fs/bpf/spillway"  # in the sandbox a BPF file system of its own
TABLE = "mangle"
MAPS = ("page", "cpus", "oneway", "twoway")


def pinned(number, what):
    return f"{ROOT}/queue-{number}/{what}"


def chain_of(number):
    return f"SPILLWAY-GATE-{number}"


@contextlib.contextmanager
def rules(bench, *matches, number=0):
    """What matches (iptables words that begin with the hook: "INPUT -i eth0 -p udp") goes through the gate: a chain of
    mangle lets pass what the gate lets pass, drops what it shuts, and queues the rest. The chain is whole
    before anything is sent there. At the end the pins go, too: the next run begins with no flows."""
    host, chain = bench.b, chain_of(number)
    host.iptables(f"-t {TABLE} -N {chain}")
    try:
        for step in steps(bench, number):
            host.iptables(f"-t {TABLE} -A {chain} {step}")
        with bench.rules(*(f"-A {match} -j {chain}" for match in matches), table=TABLE):
            yield
    finally:
        host.iptables(f"-t {TABLE} -F {chain}")
        host.iptables(f"-t {TABLE} -X {chain}")
        shutil.rmtree(f"{ROOT}/queue-{number}", ignore_errors=True)


def steps(bench, number=0):
    """The chain's rules, as iptables takes them."""
    return (f"-m bpf --object-pinned {pinned(number, 'pass')} -j ACCEPT",
            f"-m bpf --object-pinned {pinned(number, 'shut')} -j DROP", f"-j NFQUEUE --queue-num {number} --queue-bypass")


def replace(bench, *rules_of_it, number=0):
    """Other rules in the chain, in one step."""
    chain = chain_of(number)
    lines = [f"*{TABLE}", f":{chain} - [0:0]", *(f"-A {chain} {rule}" for rule in rules_of_it), "COMMIT", ""]
    bench.b.run(["iptables-restore", "-w", "--noflush"], input="\n".join(lines))


def with_gate(bench, number=0):
    """A state (see phases) of the chain."""
    @contextlib.contextmanager
    def state():
        """the rules with the gate"""
        replace(bench, *steps(bench, number), number=number)
        yield

    return state


def beside(bench, interceptor, match, number=0):
    """States, by name, of what `match` sends to the chain: with the gate, and without it. Beside the latter all of
    Spillway's processes are stopped: so what they do meanwhile is the gate's."""
    pids = interceptor.pids()
    stopped = [pids["keeper"], pids["engine"], pids["inspector"]]

    @contextlib.contextmanager
    def without_others(*chain):
        replace(bench, *chain, number=number)
        with contextlib.ExitStack() as stack:
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)
                stack.callback(os.kill, pid, signal.SIGCONT)
            yield

    def rules_alike():
        """the same rules without the gate: they accept"""
        return without_others("-m mark --mark 0 -j ACCEPT", "-m mark --mark 0x7fffffff -j DROP",
                              f"-j NFQUEUE --queue-num {number} --queue-bypass")

    @contextlib.contextmanager
    def nothing():
        """no rules"""
        jump = f"{match} -j {chain_of(number)}"
        with without_others("-j ACCEPT"):
            bench.b.iptables(f"-t {TABLE} -D {jump}")
            try:
                yield
            finally:
                bench.b.iptables(f"-t {TABLE} -A {jump}")

    def alone():
        """the rules with the gate, and nobody behind it: the program's own cost"""
        return without_others(*steps(bench, number))

    return {"nothing": nothing, "rules": rules_alike, "alone": alone, "gate": with_gate(bench, number)}


def counted(bench, number=0):
    """What the chain's rules have counted: came, queued, dropped, passed."""
    text = bench.b.run(["iptables-save", "-c", "-t", TABLE]).stdout
    found = re.findall(rf"^\[(\d+):\d+\] -A {chain_of(number)}(?: |$)", text, re.M)
    counts = dict(zip(("passed", "dropped", "queued"), map(int, found)))
    return counts | {"came": sum(counts.values())}


def came(bench, number=0):
    return counted(bench, number)["came"]


def settled(bench, interceptor, number=0, seconds=15.0, whole=True, base=None):
    """The queue's books once nothing is held and all that the rules have counted is booked, and those counts: since
    `base`, a former counted(). Not `whole`: the kernel cuts aggregates behind the gate (GSO off), and the ledger has more
    packets than the rules."""

    def counts():
        now = counted(bench, number)
        return {name: now[name] - (base or {}).get(name, 0) for name in now}

    queue = {}

    def all_booked():
        queue.update(books.settled(interceptor, number, seconds, came=(lambda: counts()["came"]) if whole else None))
        return queue["gate"]["admitted"] + queue["gate"]["passed"] == counts()["came"]

    wait(all_booked, seconds)  # the gate's counts are shown every second
    return queue, counts()


def check(bench, name, queue, counts, whole=True):
    """The facts: ledger, gate and rules agree to the packet. `whole` as above."""
    report, gate = bench.report, queue["gate"]
    books.check(bench, name, queue)
    report.check(name + "_admitted_equals_queue_rule", gate["admitted"] == counts["queued"],
                 f"the queue rule matched {counts['queued']:,}, the gate admitted {gate['admitted']:,}")
    report.check(name + "_passed_equals_rules", gate["passed"] == counts["dropped"] + counts["passed"],
                 f"the rules {counts['dropped']:,} dropped, {counts['passed']:,} passed; the gate {gate['passed']:,}")
    if whole:
        report.check(name + "_ledger_equals_rules", queue["seen"] == counts["came"],
                     f"the ledger has seen {queue['seen']:,}, the rules {counts['came']:,}")


def memory(number=0):
    """Bytes of each of its maps, as the kernel says."""
    return {name: bpf.info(pinned(number, name))["memlock"] for name in MAPS}


class Cost:
    """With statement: the program's runs and nanoseconds inside it."""

    def __init__(self, number=0, program="pass"):
        self.path = pinned(number, program)
        self.runs = self.ns = 0

    def __enter__(self):
        self.before = bpf.info(self.path)
        return self

    def __exit__(self, *_):
        after = bpf.info(self.path)
        self.runs = after["run_cnt"] - self.before["run_cnt"]
        self.ns = after["run_time_ns"] - self.before["run_time_ns"]

    def each(self):
        return self.ns / max(self.runs, 1)


def wait(condition, seconds):
    """Until condition() holds; False: not within so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True
