# SPDX-License-Identifier: GPL-2.0-or-later
"""For the tests of faults in a running spillway: what must hold after each of them. Injects nothing itself."""
import contextlib
import itertools
import os
import signal
import subprocess
import time

from running import Datagrams, equal, find_spillway, holds, until


class Scene:
    """A run on b, a rule that brings it datagrams, and their sender."""

    def __init__(self, world, interceptor, datagrams):
        self.world, self.interceptor, self.datagrams = world, interceptor, datagrams
        # On a busy machine the first inspector may take so long to start that the class was open meanwhile.
        queue = interceptor.try_queue()
        self.unknown = queue is not None and queue["uncounted"] is None
        self.behind = 0  # datagrams that came behind a later one

    def send(self, count=50, bursts=1):
        for _ in range(bursts):
            self.datagrams.send(count)
            time.sleep(0.005)

    def delivered(self, what, expected=None, timeout=10.0):
        """All that was sent, or the first `expected` of it, has arrived: none lost, none twice, and in order. Where the
        class was opened, some may have been overtaken: no more of them than status says."""
        expected = self.datagrams.next if expected is None else expected
        self.datagrams.receive(expected, timeout=timeout, quiet=timeout)
        arrived, in_order = self.datagrams.arrived, sorted(self.datagrams.arrived)
        equal(f"{what}: every datagram once", describe(in_order), f"0 to {expected - 1}")
        if arrived != in_order:
            self.behind += sum(n < newest for n, newest in zip(arrived[1:], itertools.accumulate(arrived, max)))
            bound = self.interceptor.queue()["overtaken"]
            holds(f"{what}: in order: {self.behind} came behind a later one, status says at most {bound}: {describe(arrived)}",
                  self.behind <= bound)
            arrived.sort()

    def books(self, what, outside=False):
        """Every datagram is in exactly one column, and the firewall has counted as many. outside=True: some may have
        passed an open class, where nobody but the firewall counts: then the books must say that they don't know."""
        sent = self.datagrams.next
        until(f"{what}: nothing held or unexplained", lambda: quiet(self.interceptor), 10)
        until(f"{what}: seen is what was sent, or unknown", lambda: counted(self.interceptor, sent), 10)
        q = self.interceptor.queue()
        equal(f"{what}: seen is the sum of the columns", q["seen"], columns(q))
        equal(f"{what}: lost", q["lost"], 0)
        equal(f"{what}: the rule has counted what was sent", self.world.b.packets("filter", "NFQUEUE"), sent)
        if (outside or self.unknown) and q["uncounted"] is None:
            holds(f"{what}: seen {q['seen']} is not more than was sent", q["seen"] <= sent)
        else:
            equal(f"{what}: seen is what was sent: {self.interceptor.log_lines()}", (q["seen"], q["uncounted"]), (sent, 0))
        return q

    def inspects(self, what):
        """Status answers, and traffic is inspected (again)."""
        until(f"{what}: an inspector", lambda: self.interceptor.ready_pid("inspector"), 20)
        until(f"{what}: inspecting", lambda: self.interceptor.queue()["state"] == "inspecting", 20)
        before = accepted(self.interceptor)

        def some():
            self.datagrams.send(5)
            return accepted(self.interceptor) > before

        until(f"{what}: packets are inspected", some, 20)
        self.delivered(what)

    def processes(self, role=None):
        """The run's processes, pid -> role; or the pids of one role."""
        found = processes(self.world)
        return found if role is None else sorted(pid for pid, its in found.items() if its == role)


def accepted(interceptor):
    return interceptor.queue()["inspected"]["accepted"]


def columns(q):
    return sum(q["inspected"].values()) + sum(q["spilled"].values()) + sum(q["shut"].values()) + q["trusted"] + \
        q["lost"] + q["held"] + q["unreconciled"]


def counted(interceptor, sent):
    q = interceptor.try_queue()
    return q is not None and (q["uncounted"] is None or q["seen"] == sent)


def quiet(interceptor):
    q = interceptor.try_queue()
    return q is not None and q["held"] == 0 and q["unreconciled"] == 0


def describe(numbers):
    """Numbers as a text that shows what is wrong with them."""
    if numbers == list(range(len(numbers))):
        return f"0 to {len(numbers) - 1}"
    wrong = next(i for i, n in enumerate(numbers) if n != i)
    missing = sorted(set(range(max(numbers) + 1)) - set(numbers))
    return f"{len(numbers)} of them, {len(numbers) - len(set(numbers))} twice, missing {missing[:9]}, from {wrong} on " \
           f"{numbers[wrong:wrong + 9]}"


@contextlib.contextmanager
def scene(world, start=None, **options):
    """With statement: a Scene; at its end the run is stopped and must leave nothing behind. start(interceptor): starts
    it in another way than usual."""
    with world.queued(), Datagrams(world.a, world.b) as datagrams:
        interceptor = world.run(**options)
        (start or type(interceptor).start)(interceptor)
        try:
            yield Scene(world, interceptor, datagrams)
        except BaseException:
            interceptor.stop()
            raise
        equal("exit status", interceptor.stop(), 0)
        nothing_left(world, interceptor.control)


def nothing_left(world, control):
    """No queue, no socket's name, no process."""
    directory, name = os.path.split(control)
    equal("queues left", world.b.queues(), {})
    equal("names left", [n for n in os.listdir(directory) if n.startswith(name)], [])
    until(f"no process is left: {processes(world)}", lambda: not processes(world))


def processes(world):
    """pid -> second word of the command line, of all of this run that are alive; "pid1" for the helper in an inspector's
    process namespace."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                words = f.read().split(b"\0")
            if os.path.realpath(f"/proc/{pid}/exe") == os.path.realpath(world.spillway) and len(words) > 2:
                with open(f"/proc/{pid}/comm", encoding="ascii") as f:
                    helper = f.read().strip() == "spillway-pid1"
                found[int(pid)] = "pid1" if helper else words[1].decode()
    return found


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def no_spin(what, *pids):
    """These processes use less than half of the time that passes: a bound that only a loop without a pause breaks."""
    begun, before = time.monotonic(), [cpu_seconds(pid) for pid in pids]
    yield
    passed = time.monotonic() - begun
    for pid, used in zip(pids, before):
        used = cpu_seconds(pid) - used
        holds(f"{what}: {used:.2f} s of CPU in {passed:.2f} s", used < passed / 2)


def replaced(interceptor, who, number=signal.SIGKILL):
    """Kills one of its processes; returns when another is at work."""
    old = interceptor.pid(who)
    os.kill(old, number)
    until(f"another {who}", lambda: interceptor.ready_pid(who) not in (None, old), 20)


def sanitized():
    """True for a build with AddressSanitizer: it has an allocator of its own, and reserves more memory than there is."""
    with open(find_spillway(), "rb") as program:
        return b"__asan_init" in program.read()


def logged(interceptor, text):
    """The run has told this."""
    until(f"the log says {text!r}: {interceptor.log_lines()}", lambda: any(text in line for line in interceptor.log_lines()))


def background(world, arguments, **options):
    options.setdefault("stdin", subprocess.DEVNULL)
    return world.b.start(arguments, **options)
