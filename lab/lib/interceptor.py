# SPDX-License-Identifier: GPL-2.0-or-later
"""One `spillway run` on a host: start, wait until it answers, switch, status, stop.

It knows the command only by what its contract promises: options, status --json, exit codes.
"""
import itertools
import json
import os
import shutil
import signal
import subprocess
import time

from .sandbox import RUN, LabError

_number = itertools.count(1)


def find_spillway():
    """The command under test: $SPILLWAY, else the build beside this tree, else the path."""
    here = os.path.dirname(os.path.abspath(__file__))
    built = os.path.join(here, "..", "..", "build", "spillway")
    for path in (os.environ.get("SPILLWAY"), built, shutil.which("spillway")):
        if path and os.access(path, os.X_OK):
            return os.path.abspath(path)
    raise LabError("the command 'spillway' is not here; build it with make, or name it in SPILLWAY=PATH")


def version(binary):
    """The command's version as text, or None if it doesn't tell."""
    done = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=5, check=False)
    words = done.stdout.split()
    return words[-1] if done.returncode == 0 and words else None


class Interceptor:
    """The seed's interceptor: queue 0, length 16, 50 ms a packet; keywords change or add options (None leaves one
    out). Use it in a with statement: it is stopped at the end, and its log shown if it did not end well."""

    def __init__(self, host, binary, fail_open, **options):
        self.host = host
        self.binary = binary
        number = next(_number)
        self.control = f"{RUN}/control-{number}"
        self.switch_file = f"{RUN}/switch-{number}"
        self.log = f"{RUN}/log-{number}"
        self.process = None
        self._write_switch(fail_open)
        given = {"queue": "0", "length": "16", "fail": "open" if fail_open else "closed", "inspect": "delay=50ms",
                 "switch": self.switch_file, "gso": "off", "deadline": "off", "breaker": "off", "hung": "off",
                 "control": self.control}
        given.update({name.replace("_", "-"): value for name, value in options.items()})
        self.arguments = [binary, "run"]
        for name, value in given.items():
            if value is not None:
                self.arguments += ["--" + name, str(value)]

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, _value, _trace):
        status = self.stop()
        if kind is None and status != 0:
            raise LabError(f"spillway run: exit {status} after SIGTERM: {self.last_log()}")

    def start(self, timeout=5.0):
        with open(self.log, "wb") as log:
            self.process = self.host.start(self.arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise LabError(f"spillway run: exit {self.process.returncode}: {self.last_log()}")
            status = self._try_status()
            if status and all(lane["inspector"]["state"] == "running" for lane in status["lanes"]):
                return
            time.sleep(0.01)
        self.process.kill()
        self.process.wait()
        raise LabError(f"spillway run: no answer on its control socket in {timeout} s: {self.last_log()}")

    def last_log(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return " | ".join(line.strip() for line in f.readlines()[-5:])

    def _try_status(self):
        if not os.path.exists(self.control):
            return None
        done = self._command("status", "--json", check=False)
        if done.returncode != 0:
            return None
        return json.loads(done.stdout)

    def _command(self, verb, *arguments, check=True):
        return self.host.run([self.binary, verb, "--control", self.control] + list(arguments), timeout=5, check=check)

    def status(self):
        """The whole document of status --json."""
        return json.loads(self._command("status", "--json").stdout)

    def lane(self):
        return self.status()["lanes"][0]

    def queue(self, number=0):
        """One queue's part of the status."""
        for lane in self.status()["lanes"]:
            for queue in lane["queues"]:
                if queue["queue"] == number:
                    return queue
        raise LabError(f"status shows no queue {number}")

    def pids(self):
        """keeper, engine and inspector of the first lane."""
        status = self.status()
        lane = status["lanes"][0]
        return {"keeper": status["keeper"]["pid"], "engine": lane["engine"]["pid"],
                "inspector": lane["inspector"]["pid"]}

    def set(self, *words, queue=0):
        """spillway set --queue N words..."""
        return self._command("set", "--queue", str(queue), *words)

    def _write_switch(self, on):
        new = self.switch_file + ".new"
        with open(new, "w", encoding="ascii") as f:
            f.write("1\n" if on else "0\n")
        os.rename(new, self.switch_file)

    def switch(self, on, timeout=2.0):
        """Turns fail-open by the switch file; returns when status shows it."""
        self._write_switch(on)
        end = time.monotonic() + timeout
        while self.queue()["fail_open"] != on:
            if time.monotonic() > end:
                raise LabError(f"the switch file was turned to {int(on)}, but status shows no change in {timeout} s")
            time.sleep(0.005)

    def held(self):
        return self.host.queues()[0]["held"]

    def wait_held(self, number, timeout):
        """Waits until so many packets are held by the kernel; returns the last number seen."""
        end = time.monotonic() + timeout
        while True:
            held = self.held()
            if held == number or time.monotonic() > end:
                return held
            time.sleep(0.01)

    def inspector_stopped(self):
        """With statement: the inspector stands still (SIGSTOP) inside it."""
        return _Stopped(self.pids()["inspector"])

    def stop(self, timeout=10.0):
        """SIGTERM, then SIGKILL after timeout seconds; returns the exit status."""
        if self.process is None or self.process.poll() is not None:
            return self.process.returncode if self.process else None
        self.process.terminate()
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return -signal.SIGKILL


class _Stopped:
    def __init__(self, pid):
        self.pid = pid

    def __enter__(self):
        os.kill(self.pid, signal.SIGSTOP)
        end = time.monotonic() + 2
        while time.monotonic() < end:
            with open(f"/proc/{self.pid}/stat", encoding="ascii", errors="replace") as f:
                if f.read().rsplit(")", 1)[1].split()[0] == "T":
                    return
        raise LabError("the inspector does not stop on SIGSTOP")

    def __exit__(self, *_):
        os.kill(self.pid, signal.SIGCONT)
