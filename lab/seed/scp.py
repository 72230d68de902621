# SPDX-License-Identifier: GPL-2.0-or-later
"""Row 'scp': one file copied while fail-open is switched off, on, off, on; the rate in each phase, the sums equal."""
import hashlib
import os
import re
import time

from lib.chart import Series
from lib.hosts import PATIENCE
from lib.sandbox import LabError
from lib.ssh import PORT, Server
from seed.drops import Drops

RESTARTS = 3
RISEN = 10
LAST = 60 * PATIENCE  # seconds that the last phase may take
CONNECT = 25 * PATIENCE  # seconds until the file must be there
STEP = 0.02  # seconds between two looks at the file


def row(bench):
    source, target = bench.directory + "/source", bench.directory + "/target"
    want = _make(source, bench.file_size)
    with bench.interceptor(False) as interceptor, bench.queued("tcp"), \
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
    if copy.stuck:
        report.figure("scp_stuck_though_on", "Mbit/s", copy.stuck, "best second of the transfers started again")
    report.figure("scp_restarts", "times", [copy.restarts], "transfers started again because switching on did not help")
    report.check("scp_exit_status", copy.status == 0, f"scp ended with {copy.status} {copy.error}")
    report.check("scp_sha256_equal", want == got, f"{bench.file_size:,} bytes, {want[:16]}… and {got[:16]}…")
    report.check("scp_switched_in_mid_transfer", copy.switched == 4,
                 f"{copy.switched} of 4 phases were entered before the file was complete")
    copy.drops.check(bench, "scp")
    if not bench.quick:
        off = max(rates[-1] for on, rates in copy.phases if not on)
        best = min(max(rates) for on, rates in copy.phases if on)
        report.check("scp_on_lifts_transfer", best > RISEN * off,
                     f"off {off:.2f}, on {best:.0f} Mbit/s, {copy.restarts} of at most {RESTARTS} restarts")
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
        self.seconds = {False: 1.5, True: 2} if bench.quick else {False: 4, True: 5}
        self.restarts = 0
        self.switched = 0  # phases entered while the file was not complete
        self.phases = []  # (on, [Mbit/s, one a second]) of the attempt that counted
        self.stuck = []  # best second of each "on" that changed nothing
        self.points = []  # (seconds, Mbit/s), for the chart
        self.switches = []  # (seconds, on)
        self.status = None
        self.error = ""
        self.process = None
        self.begun = time.monotonic()
        self.received = Received(bench.b)
        self.drops = Drops(bench.b)

    def run(self):
        self._start()
        self.begun = time.monotonic()
        for on, share in ((False, 1), (True, 0.5), (False, 1), (True, 1)):
            self.switched += self.process.poll() is None and self._size() < self.bench.file_size
            self.phases.append((on, self._out_again(share) if on else self._phase(False, 1)))
        self._finish()

    def _start(self):
        """Starts scp and waits until the file is being written; connecting crawls too."""
        if os.path.exists(self.target):
            os.unlink(self.target)
        self.process = self.server.copy(self.source, self.target)
        end = time.monotonic() + CONNECT
        while not os.path.exists(self.target):
            if self.process.poll() is not None or time.monotonic() > end:
                raise LabError(f"scp sent nothing in {CONNECT} s: {self.server.log()}")
            time.sleep(STEP)

    def _size(self):
        return os.stat(self.target).st_size

    def _out_again(self, share):
        """Fail-open on: five seconds, or until `share` of the file is there. Started again if the rate stays low."""
        crawl = self.phases[-1][1][-1]
        while True:
            rates = self._phase(True, share)
            if max(rates) > RISEN * max(crawl, 0.1) or self.process.poll() is not None or self.restarts == RESTARTS:
                return rates
            self.restarts += 1
            self.switches.append((time.monotonic() - self.begun, None))
            self.stuck.append(max(rates))
            self.bench.tell(f"fail-open is on and the transfer stays at {max(rates):.2f} Mbit/s; started again")
            self.end()
            self._start()

    def _phase(self, on, share):
        """Switches and watches; returns the rate of each second. Ends early once share of the file is there."""
        self.interceptor.switch(on)
        begin = time.monotonic()
        if not self.switches or self.switches[-1][1] not in (on, None):
            self.switches.append((begin - self.begun, on))
        with self.drops.phase(on):
            rates = self._watch(begin + self.seconds[on], share).rates()
        self.bench.tell(f"fail-open {'on' if on else 'off'}: {max(rates):.2f} Mbit/s in the best second")
        return rates

    def _watch(self, end, share):
        watch = Watch(self.received)
        while time.monotonic() < end and self.process.poll() is None:
            if self._size() >= share * self.bench.file_size and share < 1:
                break
            time.sleep(STEP)
            watch.look()
        watch.look(last=True)
        self.points += [(t - self.begun, rate) for t, rate in watch.points]
        return watch

    def _finish(self):
        """Fail-open stays on until the file is there."""
        self._watch(time.monotonic() + LAST, 1)
        self.status = self.process.poll()
        self.error = self.process.stderr.read().strip() if self.status is not None else f"not within {LAST} s more"

    def end(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process:
            self.process.stderr.close()


class Received:
    """Bytes that the server's sockets have handed on, over all connections. The file itself grows in steps of a
    quarter of a megabyte, which at a crawl are ten seconds apart."""

    def __init__(self, host):
        self.host = host
        self.each = {}
        self.total = 0

    def __call__(self):
        text = self.host.run(["ss", "-tinH", "sport", "=", f":{PORT}"]).stdout
        now = {port: int(count) for port, count in re.findall(r":(\d+) *\n.*?bytes_received:(\d+)", text)}
        self.total += sum(max(count - self.each.get(port, 0), 0) for port, count in now.items())
        self.each.update(now)
        return self.total


class Watch:
    """A growing count's rate: points every tenth of a second, means of whole seconds."""

    def __init__(self, count):
        self.count = count
        self.looks = [(time.monotonic(), count())]
        self.points = []

    def look(self, last=False):
        now, before = time.monotonic(), self.looks[-1]
        if now - before[0] >= 0.1 or last and now - before[0] > 0.02:
            count = self.count()
            self.points.append((now, (count - before[1]) * 8e-6 / (now - before[0])))
            self.looks.append((now, count))

    def rates(self):
        """Mbit/s of each second; a rest of less than half a second is left out, unless there is nothing else."""
        result, (since, base) = [], self.looks[0]
        for number, (now, count) in enumerate(self.looks[1:], 1):
            rest = number == len(self.looks) - 1 and (now - since >= 0.5 or not result)
            if now - since >= 1 or rest:
                result.append((count - base) * 8e-6 / (now - since))
                since, base = now, count
        return result or [0.0]
