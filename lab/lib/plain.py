# SPDX-License-Identifier: GPL-2.0-or-later
"""What Spillway is measured beside: the plain libnetfilter_queue loop of bench/plain.c. Here too: what both are measured
by, the draining of held packets and the TCP data that came to a rule."""
import os
import signal
import subprocess
import time

from .sandbox import LabError

BUFFER = 32 << 20
HELD = 20000


class Plain:
    """The plain loop on a host, in the shape of an Interceptor. With statement."""

    def __init__(self, host, program, fail_open=False, gso=False, length=1024, buffer=0):
        self.host = host
        self.command = [program, "0", str(length), str(int(fail_open)), str(int(gso)), str(buffer)]

    def __enter__(self):
        self.process = self.host.start(self.command, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "ready\n":
            raise LabError("plain: it does not start")
        return self

    def worker(self):
        return self.process.pid

    def workers(self):
        return {"plain": self.process.pid}

    def counted(self):
        """(packets, bytes of TCP data) that it inspected. Stops it: only then it tells."""
        self.process.terminate()
        packets, data = (self.process.stdout.readline() or "0 0").split()
        return int(packets), int(data)

    def inspected(self):
        return self.counted()[0]

    def share(self):
        """Of the TCP data that came to the rule: without GSO a packet is cut behind the rule's counter."""
        came = tcp_data(self.host)
        return min(self.counted()[1] / came, 1.0) if came > 0 else 0

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def tcp_data(host):
    """Bytes of TCP data that came to the rule: what it counted, without a header of 52 bytes (20 IPv4, 32 TCP with
    timestamps) a packet. What a packet without timestamps has less is beneath what is printed."""
    text = host.run(["iptables-save", "-c", "-t", "filter"]).stdout
    line = next(line for line in text.splitlines() if "NFQUEUE" in line)
    packets, size = (int(n) for n in line[1:line.index("]")].split(":"))
    return size - 52 * packets


def drain(a, b, program, who):
    """Inspector stopped, 20,000 datagrams held, continued: (thousands a second, share of them that was inspected).
    `program` finds a program of bench by its name; the rule must stand."""
    os.kill(who.worker(), signal.SIGSTOP)
    a.run([program("udp"), "send", b.v4, "7", HELD, 100000])
    time.sleep(0.05)
    held, ns = b.run([program("drain"), who.worker()]).stdout.split()
    inspected = who.inspected()
    if int(held) < 0.95 * HELD:
        raise LabError(f"drain: only {held} of {HELD} datagrams were held; is the socket buffer limited here?")
    return int(held) * 1e6 / int(ns), min(inspected / int(held), 1.0)
