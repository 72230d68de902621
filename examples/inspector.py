#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""An inspector without libspillway, from docs/protocol.md alone: drops UDP to port 9999, accepts everything else.

    spillway run --queue 0 --inspect exec:./inspector.py

Python's standard library, nothing else. It shows the protocol, not speed.
"""
import mmap
import os
import select
import socket
import struct
import sys
import time

VERSION = 4
RING, ANSWER, ANSWERS_BYTES = 8192, 88, 4931584
STATE_BYTES = 872
READY, COPY_RANGE, FIRST_ANSWER = 8, 12, 64  # offsets on the answers page
HAND = 16
CONSUMED, ACTIVE, WHEN_TO_RING, CLASSES = 8, 16, 20, 40  # offsets on the state page
CLASS_BYTES = 40
DROP, ACCEPT, STALE = 0, 1, 16
NETFILTER = 12  # netlink protocol
PACKET = 3 << 8  # netlink message type: NFNL_SUBSYS_QUEUE, NFQNL_MSG_PACKET
HEADER, MARK, PAYLOAD, CAP_LEN = 1, 3, 10, 13  # NFQA_*


class Lane:
    """The pages and descriptors that SPILLWAY_INSPECTOR names."""

    def __init__(self, words):
        named = dict(word.split("=", 1) for word in words.split())
        number = {name: int(value) for name, value in named.items()}
        if number["version"] != VERSION:
            sys.exit(f"inspector.py: the lane speaks version {number['version']} of the protocol")
        self.me = number["inspector"]
        descriptors = [number["socket"] + i for i in range(number["classes"])]
        self.sockets = [socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETFILTER, fileno=d) for d in descriptors]
        self.bell, self.wake, self.lease = number["bell"], number["wake"], number["lease"]
        self.answers = mmap.mmap(number["answers"], ANSWERS_BYTES)
        self.state = mmap.mmap(number["state"], STATE_BYTES, prot=mmap.PROT_READ)
        # One item of such a view is one load or store of eight bytes.
        self.produced_cell = memoryview(self.answers)[:8].cast("Q")
        self.state_cells = memoryview(self.state).cast("Q")
        self.produced = self.produced_cell[0]

    def active(self):
        return struct.unpack_from("=I", self.state, ACTIVE)[0] == self.me

    def settled(self, index):
        return self.state_cells[(CLASSES + index * CLASS_BYTES) // 8]

    def has_mark(self, index):
        return struct.unpack_from("=I", self.state, CLASSES + index * CLASS_BYTES + 24)[0]

    def priority(self, index):
        return struct.unpack_from("=i", self.state, CLASSES + index * CLASS_BYTES + 20)[0]

    def wait_for_room(self):
        while self.produced - self.state_cells[CONSUMED // 8] >= RING:
            self.publish()
            select.select([self.lease], [], [], 0.001)
            if not self.active():
                sys.exit(0)

    def put(self, index, first, last, verdict, mark, size):
        """One answer, for ids first to last of a class."""
        self.wait_for_room()
        at = FIRST_ANSWER + self.produced % RING * ANSWER
        struct.pack_into("=IIIIIIIIQHBBI", self.answers, at, first, last, verdict, 0, mark, 0, 0, 0, size, 0, index, 0, 0)
        self.produced += 1

    def publish(self):
        """Answers first, then their number, then the bell: always, since Python has no fence to ask whether the engine
        sleeps. The system call between orders what came before it on every machine that Linux runs on."""
        self.produced_cell[0] = self.produced
        self.ring()

    def ring(self):
        try:
            os.write(self.bell, struct.pack("=Q", 1))
        except BlockingIOError:
            pass  # it is ringing already

    def arrived(self):
        """Something is to be received: an engine that has not looked for a while wants to know before."""
        if struct.unpack_from("=I", self.state, WHEN_TO_RING)[0] & 2:
            self.ring()

    def ready(self):
        struct.pack_into("=I", self.answers, COPY_RANGE, 128)
        struct.pack_into("=I", self.answers, READY, 1)
        self.publish()


def parse(message):
    """(id, EtherType, mark, length, bytes captured) of a netlink message; None where it is no packet."""
    if len(message) < 20 or struct.unpack_from("=H", message, 4)[0] != PACKET:
        return None
    number = ethertype = length = None
    mark, payload, at = 0, b"", 20
    while at + 4 <= len(message):
        size, kind = struct.unpack_from("=HH", message, at)
        data = message[at + 4:at + size]
        if kind == HEADER:
            number, ethertype = struct.unpack_from("!IH", data)
        elif kind == MARK:
            mark = struct.unpack("!I", data)[0]
        elif kind == CAP_LEN:
            length = struct.unpack("!I", data)[0]
        elif kind == PAYLOAD:
            payload = data
        at += max(size + 3 & ~3, 4)
    return None if number is None else (number, ethertype, mark, length or len(payload), payload)


def judge(ethertype, ip):
    """IPv4 and plain IPv6 headers only: the C library knows the others."""
    if ethertype == 0x0800 and len(ip) >= 20:
        protocol, udp = ip[9], (ip[0] & 15) * 4
    elif ethertype == 0x86dd and len(ip) >= 40:
        protocol, udp = ip[6], 40
    else:
        return ACCEPT
    if protocol == 17 and len(ip) >= udp + 4 and struct.unpack_from("!H", ip, udp + 2)[0] == 9999:
        return DROP
    return ACCEPT


def is_settled(settled, number):
    """Serial arithmetic: the kernel's ids wrap at 2^32."""
    return (settled - number) & 0xffffffff < 1 << 31


def show(lane, index, packet):
    """Looks at a packet, in the hand while it does so; returns the verdict."""
    number, ethertype, _, _, payload = packet
    if is_settled(lane.settled(index), number):
        return STALE
    struct.pack_into("=QIHH", lane.answers, HAND, 0, number, index, 1)
    verdict = judge(ethertype, payload)
    struct.pack_into("=H", lane.answers, HAND + 14, 0)
    return verdict


def take_batch(lane, index):
    """Reads what a class has, 64 packets at most, and answers it: neighbours with the same verdict together."""
    lane.arrived()
    run = None  # first, last, verdict, mark, bytes
    for _ in range(64):
        try:
            packet = parse(lane.sockets[index].recv(70000, socket.MSG_DONTWAIT))
        except BlockingIOError:
            break
        if not packet:
            continue
        number, mark, length = packet[0], packet[2], packet[3]
        verdict = show(lane, index, packet)
        if run and verdict == run[2] and (number - run[1]) & 0xffffffff == 1 and not lane.has_mark(index):
            run[1], run[4] = number, run[4] + length
            continue
        if run:
            lane.put(index, *run)
        run = [number, number, verdict, mark if lane.has_mark(index) else 0, length]
    if run:
        lane.put(index, *run)
    lane.publish()


def hear(lane):
    """The bell is that of all inspectors of the lane: only the active one silences it."""
    if not lane.active():
        time.sleep(0.001)
        return
    try:
        os.read(lane.wake, 8)
    except BlockingIOError:
        pass


def main():
    lane = Lane(os.environ.get("SPILLWAY_INSPECTOR") or sys.exit("inspector.py: start it by spillway run --inspect exec:"))
    lane.ready()
    was_active = False
    while True:
        active = lane.active()
        if was_active and not active:
            return  # another has taken over
        was_active = active
        poll = select.poll()
        for descriptor in [lane.lease, lane.wake] + (lane.sockets if active else []):
            poll.register(descriptor, select.POLLIN)
        found = {descriptor for descriptor, _ in poll.poll(None if active else 100)}
        if lane.lease in found:
            return  # keeper and engine are gone
        if lane.wake in found:
            hear(lane)
        ready = [i for i, s in enumerate(lane.sockets) if s.fileno() in found]
        if ready and lane.active():
            take_batch(lane, max(ready, key=lane.priority))


if __name__ == "__main__":
    main()
