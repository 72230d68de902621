# SPDX-License-Identifier: GPL-2.0-or-later
"""One `spillway run` on a host: start, wait until it answers, switch, status, stop.

It knows the command only by what its contract promises: options, status --json, exit codes.
"""
import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import time

from .hosts import PATIENCE
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
    out, True is an option without a value, a list repeats it). Use it in a with statement: it is stopped at the end, and
    its log shown if it did not end well."""

    def __init__(self, host, binary, fail_open, **options):
        self.host = host
        self.binary = binary
        number = next(_number)
        self.control = f"{RUN}/control-{number}"
        self.switch_file = f"{RUN}/switch-{number}"
        self.log = f"{RUN}/log-{number}"
        self.process = None
        self.known = set()  # pids that status named
        self._write_switch(fail_open)
        given = {"queue": "0", "length": "16", "fail": "open" if fail_open else "closed", "inspect": "delay=50ms",
                 "switch": self.switch_file, "gso": "off", "deadline": "off", "breaker": "off", "hung": "off",
                 "control": self.control}
        given.update({name.replace("_", "-"): value for name, value in options.items()})
        self.arguments = [binary, "run"]
        for name, value in given.items():
            self.arguments += _words(name, value)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, _value, _trace):
        status = self.stop()
        if status != 0:
            self._end_orphans()
        if kind is None and status != 0:
            raise LabError(f"spillway run: exit {status} after SIGTERM: {self.last_log()}")

    def start(self, timeout=20.0, ready=True):
        """Starts it and waits until it answers and (ready) inspects. A second time: a new run takes over from a dead
        one."""
        with open(self.log, "ab") as log:
            self.process = self.host.start(self.arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + timeout * PATIENCE
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise LabError(f"spillway run: exit {self.process.returncode}: {self.last_log()}")
            if self.inspects() if ready else self._try_status():
                return
            time.sleep(0.01)
        self.process.kill()
        self.process.wait()
        raise LabError(f"spillway run: no answer on its control socket in {timeout} s: {self.last_log()}")

    def inspects(self):
        """It answers, and every inspector is running and no class open for the lack of one."""
        status = self._try_status()
        return status is not None and all(map(_inspects, status["lanes"]))

    def log_lines(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return [line.strip() for line in f]

    def last_log(self):
        return " | ".join(self.log_lines()[-5:])

    def _try_status(self):
        if not os.path.exists(self.control):
            return None
        done = self.command("status", "--json", check=False)
        if done.returncode != 0:
            return None
        return json.loads(done.stdout)

    def command(self, verb, *arguments, check=True):
        """spillway VERB --control … to its end."""
        return self.host.run([self.binary, verb, "--control", self.control] + list(arguments), timeout=20, check=check)

    def status(self):
        """The whole document of status --json."""
        return json.loads(self.command("status", "--json").stdout)

    def lane(self):
        return self.status()["lanes"][0]

    def queue(self, number=0):
        """One queue's part of the status."""
        for lane in self.status()["lanes"]:
            for queue in lane["queues"]:
                if queue["queue"] == number:
                    return queue
        raise LabError(f"status shows no queue {number}")

    def look(self, timeout=2.0):
        """The same by the control socket itself: cheap enough for every 20 ms. None: nobody answers just now."""
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(timeout)
                s.connect(self.control)
                s.sendall(b'{"version":1,"request":"status"}\n')
                text = b"".join(iter(lambda: s.recv(65536), b""))
            status = json.loads(text)
            if "lanes" not in status:
                return None
            self.known |= {lane[who]["pid"] for lane in status["lanes"] for who in ("engine", "inspector")}
            return status
        except (OSError, ValueError):
            return None

    def try_queue(self, number=0):
        """queue(), or None where nobody answers just now."""
        status = self.look()
        found = [q for lane in status["lanes"] for q in lane["queues"] if q["queue"] == number] if status else []
        return found[0] if found else None

    def pids(self, lane=0):
        """keeper, engine and inspector of a lane; None where there is none just now."""
        status = self.look() or self.status()
        row = status["lanes"][lane]
        return {"keeper": status["keeper"]["pid"], "engine": row["engine"]["pid"], "inspector": row["inspector"]["pid"]}

    def pid(self, who, timeout=5.0):
        """The pid of one of the first lane's processes; waits where it is just being replaced."""
        end = time.monotonic() + timeout * PATIENCE
        while time.monotonic() < end:
            status = self.look()
            pid = status and self._of(status, who)["pid"]
            if pid:
                return pid
            time.sleep(0.002)
        raise LabError(f"status shows no {who} in {timeout:.0f} s: {self.last_log()}")

    def ready_pid(self, who):
        """Its pid, or None where it is not yet at work (or nobody answers)."""
        status = self.look()
        if not status or who == "inspector" and self._of(status, who)["state"] != "running":
            return None
        return self._of(status, who)["pid"]

    @staticmethod
    def _of(status, who):
        return status["keeper"] if who == "keeper" else status["lanes"][0][who]

    def restarts(self):
        """How often engine and inspector of the first lane were replaced."""
        lane = self.lane()
        return {who: lane[who]["restarts"] for who in ("engine", "inspector")}

    def upgrade(self):
        """spillway upgrade: keeper, engine and inspector become new ones. While another one is under way, it is asked
        again, for ten seconds."""
        end = time.monotonic() + 10 * PATIENCE
        while True:
            done = self.command("upgrade", check=False)
            if done.returncode == 0:
                return
            if "under way" not in done.stderr or time.monotonic() > end:
                raise LabError(f"spillway upgrade: exit {done.returncode}: {done.stderr.strip()}")
            time.sleep(0.02)

    def set(self, *words, queue=0):
        """spillway set --queue N words..."""
        return self.command("set", "--queue", str(queue), *words)

    def _write_switch(self, on):
        new = self.switch_file + ".new"
        with open(new, "w", encoding="ascii") as f:
            f.write("1\n" if on else "0\n")
        os.rename(new, self.switch_file)

    def switch(self, on, timeout=2.0):
        """Turns fail-open by the switch file; returns when status shows it."""
        self._write_switch(on)
        end = time.monotonic() + timeout * PATIENCE
        while self.queue()["fail_open"] != on:
            if time.monotonic() > end:
                raise LabError(f"the switch file was turned to {int(on)}, but status shows no change in {timeout} s")
            time.sleep(0.005)

    def held(self):
        return self.host.queues()[0]["held"]

    def wait_held(self, number, timeout):
        """Waits until so many packets are held by the kernel; returns the last number seen."""
        end = time.monotonic() + timeout * PATIENCE
        while True:
            held = self.held()
            if held == number or time.monotonic() > end:
                return held
            time.sleep(0.01)

    def inspector_stopped(self):
        """With statement: the inspector stands still (SIGSTOP) inside it."""
        return _Stopped(self.pid("inspector"))

    def _end_orphans(self):
        """Engine and inspector outlive a keeper that did not stop in order, and would keep the queue from others."""
        for pid in self.known - {None}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

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


def _inspects(lane):
    return lane["inspector"]["state"] == "running" and all(queue["reason"] != "down" for queue in lane["queues"])


def _words(name, value):
    if value is None:
        return []
    if value is True:
        return ["--" + name]
    values = value if isinstance(value, list) else [value]
    return [word for one in values for word in ("--" + name, str(one))]


class _Stopped:
    def __init__(self, pid):
        self.pid = pid

    def __enter__(self):
        os.kill(self.pid, signal.SIGSTOP)
        end = time.monotonic() + 2 * PATIENCE
        while time.monotonic() < end:
            with open(f"/proc/{self.pid}/stat", encoding="ascii", errors="replace") as f:
                if f.read().rsplit(")", 1)[1].split()[0] == "T":
                    return
        raise LabError("the inspector does not stop on SIGSTOP")

    def __exit__(self, *_):
        os.kill(self.pid, signal.SIGCONT)
