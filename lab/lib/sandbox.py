# SPDX-License-Identifier: GPL-2.0-or-later
"""Starts a script again inside private namespaces, and sees to it that nothing of it survives.

Touches nothing of the machine's own network: all mounts, names and processes made inside vanish with the namespaces.

Two processes: the outer one, which the user started, only waits. It holds the write end of a pipe, the lease; when the
outer one ends, however it ends, the inner one reads end-of-file, cleans up and leaves. The inner one is process 1 of
its namespace, so the kernel kills with it whatever it started.
"""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

LEASE = "SPILLWAY_SANDBOX_LEASE"
RUN = "/run/spillway-lab"
BPF = "/sys/fs/bpf"
GRACE = 10  # seconds that a clean-up may take before it is cut short


def enter():
    """Returns inside the namespaces; in the process that the user started it does not return but exits with the
    inner one's exit status. Call it first thing in a script: the script starts anew inside."""
    lease = os.environ.pop(LEASE, None)
    if lease is None:
        sys.exit(_outside())
    _watch(int(lease))
    _private_run()
    _private_users()
    _private_bpf()


def main(function):
    """Runs function(directory) inside; directory is a temporary one on disk, removed at the end. Exits with what the
    function returns, 1 after an error, 77 where something is missing, 130 when interrupted."""
    enter()
    directory = tempfile.mkdtemp(prefix="spillway-lab-")
    status = 1
    try:
        status = function(directory)
    except KeyboardInterrupt:
        print("spillway lab: interrupted; everything it made is gone", file=sys.stderr)
        status = 130
    except Missing as error:
        print(f"SKIP: {error}")
        status = 77
    except LabError as error:
        print(f"spillway: lab: {error}", file=sys.stderr)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        shutil.rmtree(directory, ignore_errors=True)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # process 1 of the namespace: the kernel ends all others with it


class LabError(Exception):
    """Something that the lab needs is missing or did not answer; the text says what and what to do."""


class Missing(LabError):
    """The machine has not what the whole experiment is about; the text names it. Exit status 77."""


def _outside():
    for tool in ("unshare", "nsenter", "ip", "iptables", "mount"):
        if not shutil.which(tool, path=_path()):
            print(f"spillway: lab: {tool} not found; run 'make deps' as root, or install it", file=sys.stderr)
            return 1
    reader, writer = os.pipe()
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0:
        command += ["--user", "--map-root-user"]
    command += [sys.executable, os.path.abspath(sys.argv[0])] + sys.argv[1:]
    environment = dict(os.environ, PATH=_path(), **{LEASE: str(reader)})
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    # A session of its own: Ctrl-C reaches the outer process alone, and there is one way to stop.
    child = subprocess.Popen(command, env=environment, pass_fds=[reader], start_new_session=True)
    os.close(reader)
    try:
        return child.wait()
    except KeyboardInterrupt:
        os.close(writer)
        return _wait_or_kill(child)


def _wait_or_kill(child):
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        child.wait(GRACE + 2)
    except subprocess.TimeoutExpired:
        child.kill()  # unshare --kill-child takes the inner process with it, and that one all the rest
        child.wait()
    return 130


def _path():
    path = os.environ.get("PATH", "/usr/bin:/bin")
    return path + ":/usr/sbin:/sbin"  # an ordinary user's path lacks where ip and iptables are


def _interrupt(_number, _frame):
    raise KeyboardInterrupt


def _watch(lease):
    """End-of-file on the lease interrupts the main thread; GRACE seconds later the process ends in any case."""
    os.set_inheritable(lease, False)
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    main_thread = threading.main_thread().ident

    def wait():
        os.read(lease, 1)
        signal.pthread_kill(main_thread, signal.SIGINT)
        threading.Event().wait(GRACE)
        os._exit(130)

    threading.Thread(target=wait, daemon=True).start()


def _private_run():
    """A /run of its own: names of namespaces, lock files and pid files cannot meet the machine's."""
    if not os.path.isdir("/proc/self/ns") or os.getpid() != 1:
        raise SystemExit("spillway: lab: not process 1 of its namespace; start it without " + LEASE)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"], check=True)
    for name in ("/run/netns", "/run/lock", "/run/sshd", RUN):
        os.mkdir(name, 0o755)
    os.environ["XTABLES_LOCKFILE"] = RUN + "/xtables.lock"


USER = "lab"
USER_ID = 1000


def _private_users():
    """A user list of its own, for sshd: it must find the user that it serves whatever machine this is."""
    with open("/etc/passwd", encoding="utf-8", errors="replace") as f:
        lines = [line for line in f if line.split(":")[0] != USER and line.split(":")[2:3] != [str(USER_ID)]]
    if not any(line.startswith("root:") for line in lines):
        lines.append("root:x:0:0:root:/root:/bin/sh\n")
    lines.append(f"{USER}:x:{USER_ID}:{USER_ID}:lab:{RUN}:/bin/sh\n")
    with open(RUN + "/passwd", "w", encoding="utf-8") as f:
        f.writelines(lines)
    subprocess.run(["mount", "--bind", RUN + "/passwd", "/etc/passwd"], check=True)


def _private_bpf():
    """A BPF file system of its own: what is pinned there goes with the sandbox. Without one there is no gate."""
    if os.path.isdir(BPF):
        subprocess.run(["mount", "-t", "bpf", "-o", "mode=700", "bpf", BPF], check=False, stderr=subprocess.DEVNULL)
