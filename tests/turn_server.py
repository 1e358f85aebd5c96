"""coturn, the TURN server of Debian, on loopback.

On an address of its own there, so that its permissions, which are by address, tell a relay from what is not one."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from perch_process import wait_until

ADDRESS = "127.0.0.2"
USER, PASSWORD = "viewer", "s3cret"


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((ADDRESS, 0))
        return probe.getsockname()[1]


class TurnServer:
    """A running server. `url` is for ICE servers; it takes UDP, as user `USER` with `PASSWORD`."""

    def __enter__(self):
        path = shutil.which("turnserver")
        if not path:
            raise FileNotFoundError("no turnserver: install Debian's package coturn")
        self.folder = tempfile.TemporaryDirectory(prefix="perch-turn-")
        self.port = free_udp_port()
        self.url = f"turn:{ADDRESS}:{self.port}?transport=udp"
        self._log = Path(self.folder.name) / "log"
        command = [
            path, "-n", f"--listening-ip={ADDRESS}", f"--listening-port={self.port}", f"--relay-ip={ADDRESS}",
            "--allow-loopback-peers", "--lt-cred-mech", f"--user={USER}:{PASSWORD}", "--realm=test", "--no-tls",
            "--no-dtls", "--no-cli", "--no-tcp", "--relay-threads=1", "--verbose", f"--log-file={self._log}", "--simple-log",
            f"--pidfile={self.folder.name}/pid", f"--userdb={self.folder.name}/db",
        ]  # fmt: skip
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self._answers, 10, "the TURN server answers")
        return self

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"turnserver ended with {self.process.returncode}:\n{self.log()}")
        request = b"\x00\x01\x00\x00\x21\x12\xa4\x42" + time.monotonic_ns().to_bytes(12, "big")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(0.3)
            client.connect((ADDRESS, self.port))
            try:
                client.send(request)
                return client.recv(1500)[:2] == b"\x01\x01"
            except OSError:
                return False

    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(5)
        self.folder.cleanup()
