# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the lab's own programs are (lab/tools, bench): beside the command under test, or where `make install` put them.

Here too: starting one on a host, and the JSON that it prints at its end.
"""
import json
import os
import signal
import subprocess

from .sandbox import LabError


def find(binary, name):
    """The program or plug-in of this name that was built with the command `binary`."""
    here = os.path.dirname(os.path.realpath(binary))
    places = [os.path.join(here, "lab", name), os.path.join(here, "bench", name),
              os.path.join(here, "..", "libexec", "spillway", name)]
    for path in places:
        if os.access(path, os.R_OK):
            return os.path.abspath(path)
    raise LabError(f"{name}: not beside {binary}; build it with 'make build bench-programs'")


class Tool:
    """One program on a host that says "ready" (where it does) and prints one JSON object at its end."""

    def __init__(self, host, words, ready=True):
        self.words = words
        self.process = host.start(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        if ready:
            self.wait_ready()

    def wait_ready(self):
        if self.process.stdout.readline() != "ready\n":
            self.kill()
            raise LabError(f"{' '.join(map(str, self.words))}: it does not start")

    def running(self):
        return self.process.poll() is None

    def stop(self):
        """Asks it to end in order."""
        if self.running():
            self.process.send_signal(signal.SIGTERM)

    def result(self, timeout=20):
        """What it printed; waits for its end, at most so long."""
        try:
            text, _ = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise LabError(f"{' '.join(map(str, self.words))}: not at its end after {timeout} s") from None
        lines = text.splitlines()
        if not lines:
            raise LabError(f"{' '.join(map(str, self.words))}: exit {self.process.returncode}, told nothing")
        try:
            return json.loads(lines[-1])
        except ValueError as error:
            raise LabError(f"{' '.join(map(str, self.words))}: told no JSON: {error}") from None

    def kill(self):
        if self.running():
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
