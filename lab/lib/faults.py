# SPDX-License-Identifier: GPL-2.0-or-later
"""Things that go wrong at random moments, repeatable by their seed: killing, stopping, replacing Spillway's processes.

Signals go to processes that status names as this run's own, and to no others.
"""
import os
import random
import signal
import time

from . import hosts
from .sandbox import LabError

PATIENCE = 10.0 * hosts.PATIENCE  # seconds until a replacement must be there


class Faults:
    """Faults of one Interceptor. Each notes what it did in `done`: (monotonic seconds, what)."""

    def __init__(self, interceptor, seed):
        self.interceptor = interceptor
        self.random = random.Random(seed)
        self.done = []

    def pause(self, least, most):
        time.sleep(self.random.uniform(least, most))

    def note(self, what):
        self.done.append((time.monotonic(), what))

    def count(self, what):
        return sum(1 for _, done in self.done if done == what)

    def kill(self, who):
        """kill -9; returns the pid that is gone."""
        pid = self._signal(who, signal.SIGKILL)
        self.note("kill " + who)
        return pid

    def _signal(self, who, number):
        """To the process that status names; if that has just ended, to the next one."""
        end = time.monotonic() + PATIENCE
        while True:
            pid = self.interceptor.pid(who)
            try:
                os.kill(pid, number)
                return pid
            except ProcessLookupError:
                if time.monotonic() > end:
                    raise LabError(f"status names {who} {pid}, which is no process") from None
            time.sleep(0.002)

    def kill_and_wait(self, who):
        """kill -9, and waits until another one is at work."""
        self.replaced(who, self.kill(who))

    def replaced(self, who, old):
        end = time.monotonic() + PATIENCE
        while True:
            pid = self.interceptor.ready_pid(who)
            if pid not in (None, old):
                return pid
            if self.interceptor.process.poll() is not None:
                raise LabError(f"the {who} was killed and the run ended: {self.interceptor.last_log()}")
            if time.monotonic() > end:
                raise LabError(f"no new {who} {PATIENCE:.0f} s after the old one was killed")
            time.sleep(0.002)

    def stop(self, who, seconds):
        """SIGSTOP, so long, SIGCONT; a process that was replaced meanwhile is left alone."""
        pid = self._signal(who, signal.SIGSTOP)
        self.note("stop " + who)
        try:
            time.sleep(seconds)
        finally:
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                pass

    def take_over(self):
        """Kills the keeper; a new `spillway run` takes over from it."""
        old = self.interceptor.pids()
        os.kill(old["keeper"], signal.SIGKILL)
        self.note("kill keeper")
        self.interceptor.process.wait(PATIENCE)
        self.interceptor.start(PATIENCE)
        return old

    def upgrade(self):
        """`spillway upgrade`; waits until engine and inspector are others."""
        old = self.interceptor.pids()
        self.interceptor.upgrade()
        self.note("upgrade")
        for who in ("engine", "inspector"):
            self.replaced(who, old[who])


class SlowFile:
    """What the plug-in lab/tools/slow.c takes over each packet; set(seconds) at any time."""

    PATH = "/run/spillway-lab/delay"

    def __init__(self, seconds=0.0):
        self.file = os.open(self.PATH, os.O_RDWR | os.O_CREAT, 0o644)
        os.fchmod(self.file, 0o644)
        self.set(seconds)

    def set(self, seconds):
        os.pwrite(self.file, int(seconds * 1e9).to_bytes(8, "little"), 0)
