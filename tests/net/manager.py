# SPDX-License-Identifier: GPL-2.0-or-later
"""A service manager's side, as far as `spillway run` sees it: a notify socket whose messages are recorded and whose
descriptors are kept, and a start that passes them on. It keeps descriptors as systemd does: one of a kind, whatever its
name; those stored without FDPOLL=0 it would drop at the first error, so here that is a failure."""
import array
import ctypes
import os
import select
import socket
import struct
import subprocess
import sys
import threading

from running import Interceptor

SO_PASSCRED, SCM_CREDENTIALS = 16, 2
KCMP_FILE = 0
_libc = ctypes.CDLL(None, use_errno=True)

# Descriptors to 3 and up, LISTEN_PID, then the command: the pid stays.
LAUNCH = """
import fcntl, os, sys
fds = [int(n) for n in sys.argv[1].split(",") if n]
high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 500) for fd in fds]
for place, fd in enumerate(high, 3):
    os.dup2(fd, place)
os.closerange(3 + len(fds), 4096)
if fds:
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES=sys.argv[2])
os.environ["WATCHDOG_PID"] = str(os.getpid())
os.execvp(sys.argv[3], sys.argv[3:])
"""


def _same(a, b):
    """True where both numbers mean one open file."""
    x86_64, aarch64 = 312, 272
    number = aarch64 if os.uname().machine == "aarch64" else x86_64
    return _libc.syscall(number, os.getpid(), os.getpid(), KCMP_FILE, a, b) == 0


class Manager:
    """One service at its manager; the host is the one that its commands run on. Use it in a with statement."""

    def __init__(self, host, path, watchdog=None):
        self.host = host
        self.path = path
        self.watchdog = watchdog
        self.messages = []  # dicts of assignments, in order
        self.store = []     # [name, descriptor], in order
        self.wrong = []     # what no service may do
        self.reading = True
        self.process = None
        self._end = os.eventfd(0)
        with host.inside():  # an abstract name is the network's
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_PASSCRED, 1)
        self.socket.bind("\0" + path[1:] if path[0] == "@" else path)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    # what Interceptor wants of a host

    def start(self, arguments, **options):
        fds = [fd for _, fd in self.store]
        environment = dict(os.environ, NOTIFY_SOCKET=self.path)
        if self.watchdog:
            environment["WATCHDOG_USEC"] = str(self.watchdog)
        launch = [sys.executable, "-c", LAUNCH, ",".join(map(str, fds)), ":".join(name for name, _ in self.store)]
        self.process = subprocess.Popen(launch + self.host.command(arguments), pass_fds=fds, env=environment, **options)
        return self.process

    def __getattr__(self, name):
        return getattr(self.host, name)

    # the manager

    def _read(self):
        while True:
            ready, _, _ = select.select([self._end] + ([self.socket] if self.reading else []), [], [], 0.05)
            if self._end in ready:
                return
            if self.socket in ready:
                self._take()

    def _take(self):
        text, ancillary, _, _ = self.socket.recvmsg(4096, 4096, socket.MSG_CMSG_CLOEXEC)
        message = dict(line.split("=", 1) for line in text.decode().splitlines())
        fds, sender = array.array("i"), None
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(data[:len(data) - len(data) % fds.itemsize])
            elif level == socket.SOL_SOCKET and kind == SCM_CREDENTIALS:
                sender = struct.unpack("=iII", data)[0]
        if sender == os.getpid():  # the test's own
            return
        if self.process and sender != self.process.pid:
            self.wrong.append(f"{message} of {sender}, not of the main process")
        if "FDSTORE" in message:
            self._keep(message, list(fds))
        elif fds:
            self.wrong.append(f"descriptors with {message}")
        if "FDSTOREREMOVE" in message:
            self.give_up(message["FDNAME"])
        self.messages.append(message)

    def _keep(self, message, fds):
        if message.get("FDPOLL") != "0" or len(fds) != 1:
            self.wrong.append(f"{message} with {len(fds)} descriptors")
        for fd in fds:
            if any(_same(fd, kept) for _, kept in self.store):
                os.close(fd)
            else:
                self.store.append([message["FDNAME"], fd])

    def give_up(self, name):
        for item in [i for i in self.store if i[0] == name]:
            self.store.remove(item)
            os.close(item[1])

    def names(self):
        return sorted(name for name, _ in self.store)

    def told(self, key, value=None):
        """How many messages so far have the assignment."""
        return sum(value in (None, m[key]) for m in list(self.messages) if key in m)

    def forget(self):
        """A manager that stops the unit keeps nothing."""
        while self.store:
            os.close(self.store.pop()[1])

    def vanish(self):
        """Nobody listens any more, and the name is gone."""
        if self.socket.fileno() < 0:
            return
        os.eventfd_write(self._end, 1)
        self._thread.join()
        self.socket.close()
        if self.path[0] != "@":
            os.unlink(self.path)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.vanish()
        self.forget()
        os.close(self._end)
        if kind is None and self.wrong:
            raise AssertionError(f"the manager was told wrongly: {self.wrong[:3]}")


def service(world, manager, fail_open=True, **options):
    """An Interceptor that the manager starts, as often as it likes."""
    given = {"length": None, "inspect": "accept", "gso": None, "deadline": "off", "breaker": None, "hung": "off"}
    given.update(options)
    return Interceptor(manager, world.spillway, fail_open, **given)
