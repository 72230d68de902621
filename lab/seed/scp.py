# SPDX-License-Identifier: GPL-2.0-or-later
"""Row 'scp': one file copied while fail-open is switched off, on, off, on; the rate in each phase, the sums equal."""
import hashlib
import os
import time

from lib.chart import Series
from lib.sandbox import LabError
from lib.ssh import Server

RESTARTS = 3
RISEN = 10
LAST = 60  # seconds that the last phase may take
STEP = 0.02  # seconds between two looks at the file


def row(bench):
    source, target = bench.directory + "/source", bench.directory + "/target"
    want = _make(source, bench.file_size)
    with bench.interceptor(False) as interceptor, bench.rules(bench.queue_rule()), \
            Server(bench.a, bench.b) as server:
        copy = Copy(bench, server, interceptor, source, target)
        try:
            copy.run()
        finally:
            copy.end()
    got = _sum(target)
    os.unlink(source)
    os.unlink(target)
    _tell(bench, copy, want, got)


def _tell(bench, copy, want, got):
    report = bench.report
    for number, (on, rates) in enumerate(copy.phases, 1):
        report.figure(f"scp_phase_{number}_{'on' if on else 'off'}", "Mbit/s", rates,
                      "a sample a second of the phase")
    report.figure("scp_restarts", "times", [copy.restarts], "transfers started again because switching on did not help")
    report.check("scp_exit_status", copy.status == 0, f"scp ended with {copy.status} {copy.error}")
    report.check("scp_sha256_equal", want == got, f"{bench.file_size:,} bytes, {want[:16]}… and {got[:16]}…")
    report.check("scp_switched_in_mid_transfer", copy.switched == 4,
                 f"{copy.switched} of 4 phases were entered before the file was complete")
    if not bench.quick:
        report.check("scp_restarts_within_limit", copy.restarts <= RESTARTS, f"{copy.restarts} of at most {RESTARTS}")
    bench.panels.append(Series("scp, 50 ms a packet, queue of 16, fail-open switched", copy.points, copy.switches))


def _make(path, length):
    """Random bytes, made once; returns their SHA-256."""
    digest = hashlib.sha256()
    with open(path, "wb") as f:
        for start in range(0, length, 1 << 22):
            block = os.urandom(min(1 << 22, length - start))
            digest.update(block)
            f.write(block)
    return digest.hexdigest()


def _sum(path):
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while block := f.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


class Copy:
    """One transfer in four phases, started again where switching on did not get it out of the crawl."""

    def __init__(self, bench, server, interceptor, source, target):
        self.bench, self.server, self.interceptor = bench, server, interceptor
        self.source, self.target = source, target
        self.seconds = {False: 2, True: 3} if bench.quick else {False: 4, True: 5}
        self.restarts = 0
        self.switched = 0
        self.phases = []  # (on, [Mbit/s, one a second])
        self.points = []  # (seconds, Mbit/s), for the chart
        self.switches = []  # (seconds, on)
        self.status = None
        self.error = ""
        self.process = None
        self.begun = time.monotonic()

    def run(self):
        self._start()
        self._wait_for_data()
        crawl = self._phase(False, self.seconds[False])
        self._on_phase(crawl, share=0.5)
        crawl = self._phase(False, self.seconds[False])
        self._on_phase(crawl, share=1)
        self._finish()

    def _start(self):
        if os.path.exists(self.target):
            os.unlink(self.target)
        self.process = self.server.copy(self.source, self.target)

    def _size(self):
        try:
            return os.stat(self.target).st_size
        except FileNotFoundError:
            return 0

    def _wait_for_data(self, timeout=20):
        """The handshake crawls too; the first phase begins with the first byte of the file."""
        end = time.monotonic() + timeout
        while self._size() == 0 and self.process.poll() is None:
            if time.monotonic() > end:
                raise LabError(f"scp sent nothing in {timeout} s: {self.server.log()}")
            time.sleep(STEP)
        self.begun = time.monotonic()

    def _on_phase(self, crawl, share):
        """Fail-open on: five seconds, or until `share` of the file is there. Started again if the rate stays low."""
        while True:
            rate = self._phase(True, self.seconds[True], share)
            if rate > RISEN * max(crawl, 0.1) or self.process.poll() is not None or self.restarts == RESTARTS:
                return
            self.restarts += 1
            self.bench.tell(f"scp: fail-open is on and the transfer stays at {rate:.2f} Mbit/s; started again")
            self.end()
            self._start()

    def _phase(self, on, seconds, share=1.0):
        """Switches, watches; returns the best second's Mbit/s. A phase ends early once share of the file is there."""
        self.interceptor.switch(on)
        begin = time.monotonic()
        self.switches.append((begin - self.begun, on))
        if self.process.poll() is None and self._size() < self.bench.file_size:
            self.switched += 1
        watch = Watch(self._size, self.begun)
        while time.monotonic() < begin + seconds and self._size() < share * self.bench.file_size:
            time.sleep(STEP)
            watch.look()
            if self.process.poll() is not None:
                break
        self.points += watch.points
        rates = watch.rates()
        self.phases.append((on, rates))
        self.bench.tell(f"scp, fail-open {'on' if on else 'off'}: {rates[-1]:.2f} Mbit/s in the last second")
        return max(rates)

    def _finish(self):
        """Fail-open stays on until the file is there."""
        watch = Watch(self._size, self.begun)
        end = time.monotonic() + LAST
        while self.process.poll() is None and time.monotonic() < end:
            time.sleep(STEP)
            watch.look()
        self.points += watch.points
        self.status = self.process.poll()
        self.error = self.process.stderr.read().strip() if self.status is not None else f"not within {LAST} s more"

    def end(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process:
            self.process.stderr.close()


class Watch:
    """A growing file's rate: points every tenth of a second, means of whole seconds."""

    def __init__(self, size, origin):
        self.size, self.origin = size, origin
        self.looks = [(time.monotonic(), size())]
        self.points = []

    def look(self):
        now, length = time.monotonic(), self.size()
        before = self.looks[-1]
        if now - before[0] >= 0.1:
            self.points.append((now - self.origin, max(length - before[1], 0) * 8e-6 / (now - before[0])))
            self.looks.append((now, length))

    def rates(self):
        self.looks.append((time.monotonic(), self.size()))
        result, (since, length) = [], self.looks[0]
        for now, grown in self.looks[1:]:
            if now - since >= 1 or (now, grown) == self.looks[-1] and (now - since > 0.3 or not result):
                result.append(max(grown - length, 0) * 8e-6 / max(now - since, 1e-3))
                since, length = now, grown
        return result
