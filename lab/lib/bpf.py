# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel says about BPF programs and maps that are pinned: how long a run takes, how much memory a table has.

By the system call itself; nothing is switched on for the machine beyond the life of the descriptor that asks for it.
"""
import contextlib
import ctypes
import os
import platform
import re
import struct

from .sandbox import LabError

OBJ_GET, ENABLE_STATS = 7, 32
NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
_libc = ctypes.CDLL(None, use_errno=True)


def _call(command, attributes, what):
    number = NUMBERS.get(platform.machine())
    if number is None:
        raise LabError(f"bpf: its number is not known for {platform.machine()}")
    buffer = ctypes.create_string_buffer(attributes, 128)
    fd = _libc.syscall(number, command, buffer, 128)
    if fd < 0:
        raise LabError(f"bpf: {what}: {os.strerror(ctypes.get_errno())}; it needs root and Linux 5.8")
    os.set_inheritable(fd, False)
    return fd


@contextlib.contextmanager
def statistics():
    """Inside it the kernel measures runs of programs: some 20 ns more for each. It ends with the descriptor."""
    fd = _call(ENABLE_STATS, struct.pack("=I", 0), "the statistics of programs")
    try:
        yield
    finally:
        os.close(fd)


def info(path):
    """What the kernel tells of the object pinned there: run_cnt and run_time_ns of a program, memlock of both."""
    name = ctypes.create_string_buffer(os.fsencode(path))
    fd = _call(OBJ_GET, struct.pack("=QII", ctypes.addressof(name), 0, 0), path)
    try:
        with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as f:
            return {key: int(value) for key, value in re.findall(r"^(\w+):\s+(\d+)$", f.read(), re.M)}
    finally:
        os.close(fd)
