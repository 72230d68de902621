# SPDX-License-Identifier: GPL-2.0-or-later
"""Traffic between two hosts, and what of it arrived: TCP streams by iperf3, a transfer, counted datagrams, ping.

Every run has an end in time; what is late is ended by its process id.
"""
import contextlib
import hashlib
import random
import re
import socket
import struct
import subprocess
import threading
import time

from .hosts import PATIENCE
from .sandbox import LabError

PORT = 5201


class Stream:
    """TCP from a to b by iperf3, for `seconds`, measured where it arrives, every `interval` seconds; both ends on
    processor `cpu` where one is given. run() does it all; start(), running() and finish() one by one, for whoever wants to do something in mid-stream."""

    def __init__(self, a, b, seconds, parallel=1, interval=0.1, port=PORT, cpu=None):
        self.a, self.b, self.seconds, self.parallel = a, b, seconds, parallel
        self.affinity = [] if cpu is None else ["-A", f"{cpu},{cpu}"]
        self.interval, self.port = interval, port
        self.server = self.client = self.reader = None
        self.begun = None  # time.monotonic() at second 0 of the stream, once it runs
        self.points = []  # (seconds, Mbit/s)
        self.first = threading.Event()
        self.ended = False  # both ends said goodbye in time

    def start(self):
        """Starts both ends; connecting may take seconds where every packet waits."""
        self.server = self.b.start(["iperf3", "-s", "-1", "--forceflush", "-f", "k", "-B", self.b.v4,
                                    "-p", self.port, "-i", self.interval],
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self._wait_listening()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.client = self.a.start(["iperf3", "-c", self.b.v4, "-p", self.port, "-t", self.seconds,
                                    "-P", self.parallel, "-i", 0, *self.affinity],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return self

    def _wait_listening(self):
        end = time.monotonic() + 5 * PATIENCE
        want = f":{self.port:04X}"
        while time.monotonic() < end:
            with self.b.inside(), open("/proc/thread-self/net/tcp", encoding="ascii") as f:
                rows = [line.split() for line in f.readlines()[1:]]
            if any(row[1].endswith(want) and row[3] == "0A" for row in rows):
                return
            time.sleep(0.01)
        self.stop()
        raise LabError("iperf3 does not listen")

    def _read(self):
        """Takes the intervals as they come; of several streams the sums."""
        who = "SUM" if self.parallel > 1 else r" *\d+"
        line_of = re.compile(rf"\[{who}\] +([\d.]+)-([\d.]+) +sec .* ([\d.]+) Kbits/sec *$")
        for line in self.server.stdout:
            found = line_of.match(line)
            if found:
                _, end, rate = map(float, found.groups())
                if self.begun is None:
                    self.begun = time.monotonic() - end
                    self.first.set()
                self.points.append((end, rate / 1000))

    def running(self, timeout=20):
        """Waits until the stream has begun."""
        if not self.first.wait(timeout * PATIENCE):
            self.stop()
            raise LabError(f"iperf3's stream did not begin in {timeout} s")
        return self

    def finish(self, patience=1.0):
        """Waits for the end and returns self. Ends that cannot say goodbye through a crawling queue are stopped
        `patience` seconds later: what arrived until then counts all the same."""
        end = self.running().begun + self.seconds + patience * PATIENCE
        for process in (self.client, self.server):
            try:
                process.wait(max(end - time.monotonic(), 0.05))
            except subprocess.TimeoutExpired:
                break
        self.ended = self.client.returncode == self.server.returncode == 0
        self.stop()
        return self

    def stop(self):
        for process in (self.client, self.server):
            if process and process.poll() is None:
                process.kill()
                process.wait()
        if self.reader:
            self.reader.join(5)
        self.server.stdout.close()

    def run(self, patience=1.0):
        return self.start().finish(patience)

    def mbits(self):
        """Mean over the whole time asked for: silence counts as nothing received."""
        return sum(rate for end, rate in self.points if end <= self.seconds + 0.05) * self.interval / self.seconds

    def bytes(self):
        """All that has arrived, as the receiving end tells it: to a hundredth."""
        return sum(rate for _, rate in self.points) * self.interval * 125000


class Transfer:
    """So many random bytes by one TCP connection, while other things are done. With statement; finish() waits and says
    whether the same bytes have arrived."""

    def __init__(self, a, b, size, seed, port=9600):
        with b.inside():
            self.listener = socket.create_server((b.v4, port))
        with a.inside():
            self.sender = socket.socket()
        self.data = random.Random(seed).randbytes(size)
        self.sums = {"sent": hashlib.sha256(self.data).hexdigest(), "received": None}
        self.target = (b.v4, port)
        self.threads = [threading.Thread(target=work, daemon=True) for work in (self._receive, self._send)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def _send(self):
        with contextlib.suppress(OSError):
            self.sender.connect(self.target)
            self.sender.sendall(self.data)
        self.sender.close()

    def _receive(self):
        received = hashlib.sha256()
        with contextlib.suppress(OSError):
            connection, _ = self.listener.accept()
            with connection:
                while data := connection.recv(65536):
                    received.update(data)
            self.sums["received"] = received.hexdigest()

    def finish(self, timeout=60):
        end = time.monotonic() + timeout * PATIENCE
        for thread in self.threads:
            thread.join(max(end - time.monotonic(), 0))
        return self.sums["sent"] == self.sums["received"]

    def __exit__(self, *_):
        for one in (self.sender, self.listener):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


class Datagrams:
    """Counted datagrams from a to b, numbered, so that order and gaps show. Close it, or use a with statement."""

    def __init__(self, a, b, port=9000, family=4, size=64):
        self.size = size
        kind = socket.AF_INET if family == 4 else socket.AF_INET6
        self.target = (b.v4 if family == 4 else b.v6, port)
        with b.inside():
            self.receiver = socket.socket(kind, socket.SOCK_DGRAM)
        with a.inside():
            self.sender = socket.socket(kind, socket.SOCK_DGRAM)
        _big_buffer(self.receiver)
        self.receiver.bind(self.target)
        self.receiver.setblocking(False)
        self.next = 0
        self.arrived = []  # numbers, in order of arrival

    def send(self, count):
        """Sends so many, as fast as possible; returns their numbers."""
        numbers = range(self.next, self.next + count)
        for number in numbers:
            self.sender.sendto(struct.pack("!Q", number).ljust(self.size, b"\0"), self.target)
        self.next += count
        return numbers

    def send_segments(self, segments, size=100):
        """One datagram of `segments` times `size` bytes that the kernel cuts late (UDP GSO): one GSO packet."""
        udp_segment = 103
        payload = struct.pack("!Q", self.next).ljust(size, b"\0") * segments
        self.sender.sendmsg([payload], [(socket.IPPROTO_UDP, udp_segment, struct.pack("=H", size))], 0, self.target)

    def receive(self, expected=None, timeout=1.0, quiet=0.2):
        """Reads what arrives: until `expected` have arrived in all, or `quiet` seconds pass without any, or
        `timeout`. Returns how many have arrived in all."""
        end = time.monotonic() + timeout * PATIENCE
        last = time.monotonic()
        while time.monotonic() < end and time.monotonic() - last < quiet * PATIENCE:
            if self._read():
                last = time.monotonic()
            if expected is not None and len(self.arrived) >= expected:
                break
            time.sleep(0.001)
        return len(self.arrived)

    def _read(self):
        count = 0
        while True:
            try:
                self.arrived.append(struct.unpack("!Q", self.receiver.recv(65536)[:8])[0])
                count += 1
            except BlockingIOError:
                return count

    def own_drops(self):
        """What arrived and did not fit into this receiver's own buffer, ever."""
        so_meminfo, drops = 55, 8
        return struct.unpack("=9I", self.receiver.getsockopt(socket.SOL_SOCKET, so_meminfo, 36))[drops]

    def forget(self):
        """Throws away what has arrived so far."""
        self._read()
        self.arrived.clear()

    def close(self):
        self.sender.close()
        self.receiver.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _big_buffer(receiver):
    """64 MiB where that is allowed: what a queue held comes all at once."""
    so_rcvbufforce = 33
    try:
        receiver.setsockopt(socket.SOL_SOCKET, so_rcvbufforce, 64 << 20)
    except PermissionError:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)


def ping(a, b, count, interval=0.2, wait=2):
    """Pings b from a; returns (sent, received, [round-trip milliseconds]). Where some were answered, ping leaves at once
    after its last, whatever a queue still holds: so it goes on for two seconds more, and those don't count."""
    more = round(2 / interval)
    done = a.run(["ping", "-n", "-c", count + more, "-i", interval, "-W", wait, b.v4],
                 timeout=(count + more) * interval + wait + 5, check=False)
    if "packets transmitted" not in done.stdout:
        raise LabError(f"ping: {done.stderr.strip() or done.stdout.strip()}")
    times = [float(t) for n, t in re.findall(r"icmp_seq=(\d+) .*time=([\d.]+) ms", done.stdout) if int(n) <= count]
    return count, len(times), times
