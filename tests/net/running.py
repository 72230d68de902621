# SPDX-License-Identifier: GPL-2.0-or-later
"""For the tests of `spillway run`: two hosts in a sandbox, a list of cases, facts that hold or don't."""
import contextlib
import os
import sys
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lab"))

from lib import hosts, sandbox  # noqa: E402
from lib.interceptor import Interceptor, find_spillway  # noqa: E402
from lib.sandbox import LabError  # noqa: E402,F401
from lib.traffic import Datagrams  # noqa: E402,F401

RULE = "-A INPUT -p udp -j NFQUEUE --queue-bypass --queue-num"


class World:
    """What a case works with: hosts a and b, a directory, the command under test."""

    def __init__(self, directory):
        self.directory = directory
        self.spillway = find_spillway()
        self.a, self.b = hosts.pair()

    def run(self, fail_open=True, **options):
        """An Interceptor on b that takes the defaults of the command, and the options given; but for the deadline: a busy
        machine does not keep that of 20 ms."""
        given = {"length": None, "inspect": "accept", "gso": None, "deadline": "2s", "breaker": None, "hung": None}
        given.update(options)
        return Interceptor(self.b, self.spillway, fail_open, **given)

    def command(self, *words):
        """Runs spillway with these words on b, to its end."""
        return self.b.run([self.spillway, *words], check=False, timeout=20)

    @contextlib.contextmanager
    def queued(self, number="0", family=4):
        """b's incoming datagrams go to this queue."""
        self.b.iptables(f"{RULE} {number}", family=family)
        try:
            yield
        finally:
            self.b.iptables(f"{RULE} {number}".replace("-A", "-D", 1), family=family)


def equal(what, got, expected):
    if got != expected:
        raise AssertionError(f"{what}: {got!r}, expected {expected!r}")


def holds(what, fact):
    if not fact:
        raise AssertionError(what)


def until(what, fact, seconds=20, step=0.01, show=None):
    """Waits until fact() holds: for things that happen in another process, on a machine that may be busy. step: the pause
    between two looks, longer where a look is dear. show(): what is there, where it does not come to hold."""
    end = time.monotonic() + seconds * hosts.PATIENCE
    while not fact():
        if time.monotonic() >= end:
            raise AssertionError(f"{what}: not within {seconds} s" + (f": {show()}" if show else ""))
        time.sleep(step)


def alive(pid):
    """False for a zombie, too: its parent is dead and nobody has to reap it here."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def main(*cases):
    """Runs every case in the same sandbox; exits 1 where one does not hold."""

    def all_cases(directory):
        world = World(directory)
        failed = 0
        for case in cases:
            try:
                case(world)
                print("holds", case.__name__, flush=True)
            except Exception:  # noqa: BLE001 whatever it is, the next case is to be run
                failed += 1
                print("FAILS", case.__name__, flush=True)
                traceback.print_exc()
        return 1 if failed else 0

    sandbox.main(all_cases)
