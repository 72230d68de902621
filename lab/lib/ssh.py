# SPDX-License-Identifier: GPL-2.0-or-later
"""An ssh server on a host with throw-away keys and a port of its own, and scp to it.

It runs as an ordinary user inside one more user namespace, whoever started the lab: sshd changes its user when it finds
itself root, and in a namespace with one user it cannot.
"""
import os
import subprocess
import time

from .hosts import PATIENCE
from .sandbox import RUN, USER, USER_ID, LabError

PORT = 2222
CONFIG = """Port {port}
ListenAddress {address}
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/user_key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
UseDNS no
LoginGraceTime {grace}
Subsystem sftp internal-sftp
"""


class Server:
    """sshd on host b. A with statement starts and stops it."""

    def __init__(self, a, b):
        self.a, self.b = a, b
        self.directory = RUN + "/ssh"
        self.process = None

    def __enter__(self):
        os.makedirs(self.directory, exist_ok=True)
        for key in ("host_key", "user_key"):
            path = f"{self.directory}/{key}"
            if not os.path.exists(path):
                self.b.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "spillway-lab", "-f", path])
        self._write("config", CONFIG.format(port=PORT, address=self.b.v4, directory=self.directory,
                                              grace=round(30 * PATIENCE)))
        with open(f"{self.directory}/host_key.pub", encoding="ascii") as f:
            self._write("known_hosts", f"[{self.b.v4}]:{PORT} {f.read()}")
        with open(f"{self.directory}/log", "wb") as log:
            self.process = self.b.start(
                ["unshare", "--user", f"--map-user={USER_ID}", f"--map-group={USER_ID}",
                 "/usr/sbin/sshd", "-D", "-e", "-f", f"{self.directory}/config"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._wait()
        return self

    def _write(self, name, text):
        with open(f"{self.directory}/{name}", "w", encoding="ascii") as f:
            f.write(text)

    def log(self):
        with open(f"{self.directory}/log", encoding="utf-8", errors="replace") as f:
            return " | ".join(line.strip() for line in f.readlines()[-5:])

    def _wait(self):
        end = time.monotonic() + 5 * PATIENCE
        while "Server listening" not in self.log():
            if self.process.poll() is not None or time.monotonic() > end:
                self.__exit__()
                raise LabError(f"sshd does not start: {self.log()}")
            time.sleep(0.02)

    def copy(self, source, target):
        """Starts an scp from a to b; returns its Popen, standard error piped."""
        return self.a.start(
            ["scp", "-q", "-F", "none", "-P", PORT, "-i", f"{self.directory}/user_key", "-o", "BatchMode=yes",
             "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=yes", "-o", f"ConnectTimeout={round(20 * PATIENCE)}",
             "-o", f"UserKnownHostsFile={self.directory}/known_hosts", source, f"{USER}@{self.b.v4}:{target}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(3)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
