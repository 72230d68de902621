# SPDX-License-Identifier: GPL-2.0-or-later
"""A raw nfnetlink_queue socket: configuration messages exactly as asked for, and the kernel's errno for each.

For questions to the kernel that no library would ask, such as undefined flags. Not an inspector.
"""
import errno
import os
import socket
import struct

FAIL_OPEN, CONNTRACK, GSO, UID_GID, SECCTX = (1 << bit for bit in range(5))
UNDEFINED = 1 << 5
COPY_META = 1
DROP, ACCEPT = 0, 1

_NFNL_SUBSYS_QUEUE = 3
_MSG_PACKET, _MSG_CONFIG, _MSG_BATCH = 0, 2, 3
_CFG_CMD, _CFG_PARAMS, _CFG_MAXLEN, _CFG_MASK, _CFG_FLAGS = 1, 2, 3, 4, 5
_NLM_REQUEST, _NLM_ACK = 1, 4
_NLMSG_ERROR = 2


def _attribute(kind, value):
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


class Queue:
    """One queue of one host. Calls return 0 or the kernel's (positive) errno. Packets are not read."""

    def __init__(self, host, number):
        self.number = number
        with host.inside():
            self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
        self.socket.bind((0, 0))
        self.socket.settimeout(2.0)
        self.serial = 0

    def bind(self):
        return self._config(_attribute(_CFG_CMD, struct.pack("!BBH", 1, 0, 0)))

    def params(self, mode=COPY_META, copy_range=0):
        return self._config(_attribute(_CFG_PARAMS, struct.pack("!IB", copy_range, mode)))

    def length(self, packets):
        return self._config(_attribute(_CFG_MAXLEN, struct.pack("!I", packets)))

    def flags(self, mask, flags):
        """mask or flags may be None: then the message has no such attribute."""
        text = b""
        if flags is not None:
            text += _attribute(_CFG_FLAGS, struct.pack("!I", flags))
        if mask is not None:
            text += _attribute(_CFG_MASK, struct.pack("!I", mask))
        return self._config(text)

    def batch(self, verdict, up_to):
        """One verdict for all that is held up to an id."""
        head = _attribute(2, struct.pack("!II", verdict, up_to & 0xffffffff))
        return self._send(_MSG_BATCH, head)

    def _config(self, attributes):
        return self._send(_MSG_CONFIG, attributes)

    def _send(self, message, attributes):
        self.serial += 1
        body = struct.pack("!BBH", 0, 0, self.number) + attributes
        head = struct.pack("=IHHII", 16 + len(body), _NFNL_SUBSYS_QUEUE << 8 | message, _NLM_REQUEST | _NLM_ACK,
                           self.serial, 0)
        self.socket.send(head + body)
        return self._answer()

    def _answer(self):
        while True:
            try:
                data = self.socket.recv(65536)
            except OSError as error:
                if error.errno == errno.ENOBUFS:  # packets overran the socket; the answer may still come
                    continue
                raise
            kind, _, serial = struct.unpack_from("=HHI", data, 4)
            if kind == _NLMSG_ERROR and serial == self.serial:
                return -struct.unpack_from("=i", data, 16)[0]

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def name(number):
    """An errno's name; 0 is 'ok'."""
    if number == errno.EOPNOTSUPP:  # on Linux the same number as ENOTSUP
        return "EOPNOTSUPP"
    return "ok" if number == 0 else errno.errorcode.get(number, os.strerror(number))
