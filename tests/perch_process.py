"""One perch process for a test or the bench: started, watched from outside, and ended by its own pid."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import requests

ROOT = Path(__file__).resolve().parent.parent
TICKS = os.sysconf("SC_CLK_TCK")


def perch_binary() -> str:
    """The binary under test: `PERCH_BIN`, else the newest that cargo built here."""
    if "PERCH_BIN" in os.environ:
        return os.environ["PERCH_BIN"]
    built = [ROOT / "target" / profile / "perch" for profile in ("release", "debug")]
    found = [path for path in built if path.exists()]
    if not found:
        raise FileNotFoundError("no perch binary: build it with `cargo build`, or set PERCH_BIN")
    return str(max(found, key=lambda path: path.stat().st_mtime))


def example_binary(name: str) -> str:
    """A program of examples/, which is built beside perch."""
    path = Path(perch_binary()).parent / "examples" / name
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there: build it with `cargo build --example {name}`")
    return str(path)


def free_port(kind=socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(what, timeout: float, why: str, every: float = 0.05):
    """Polls `what` until it gives something true, which is returned; fails with `why` and the last value."""
    end = time.monotonic() + timeout
    while True:
        value = what()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout} s: {why} (last: {value!r})")
        time.sleep(every)


def camera_metric(name: str, camera: str = "main") -> str:
    """What `/metrics` calls a number that one camera counts."""
    return f'{name}{{camera="{camera}"}}'


class Perch:
    """A running perch. `config` is the text of a perch.toml; `args` are flags (`--listen` is added).

    `port` is a free one unless given; `example`, or the path `program`, runs that program, which takes perch's flags, instead."""

    def __init__(
        self,
        *args: str,
        config: str | None = None,
        source: str | None = "test",
        ready: bool = True,
        port: int | None = None,
        example: str | None = None,
        program: str | None = None,
    ):
        self.folder = tempfile.TemporaryDirectory(prefix="perch-test-")
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [program or (example_binary(example) if example else perch_binary())]
        if config is not None:
            path = Path(self.folder.name) / "perch.toml"
            path.write_text(config)
            command += ["--config", str(path)]
        if "--listen" not in args:
            command += ["--listen", f"127.0.0.1:{self.port}"]
        if source is not None and "--source" not in args:
            command += ["--source", source]
        self.command = command + list(args)
        self._log = open(Path(self.folder.name) / "log", "wb+")
        # What one test leaves behind is nothing for the next, unless they name a folder that they share.
        environment = {"STATE_DIRECTORY": self.folder.name, **os.environ}
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT, cwd=self.folder.name, env=environment
        )
        self.pid = self.process.pid
        if ready:
            try:
                wait_until(self.answers, 10, f"{' '.join(self.command)} answers /healthz")
            except AssertionError as error:
                self.stop()
                raise AssertionError(f"{error}\n{self.log()}") from None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def answers(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"perch ended with {self.process.returncode}:\n{self.log()}")
        try:
            return requests.get(self.url + "/healthz", timeout=2).status_code < 600
        except requests.RequestException:
            return False

    def log(self) -> str:
        self._log.flush()
        return Path(self._log.name).read_text(errors="replace") if not self._log.closed else ""

    def stop(self, by: int = signal.SIGTERM, within: float = 5.0) -> int:
        """Ends the process and tells its exit code. It is killed, and that is an error, when it does not end."""
        try:
            if self.process.poll() is None:
                self.process.send_signal(by)
                try:
                    self.process.wait(within)
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    self.process.wait(5)
                    raise AssertionError(f"perch did not stop within {within} s of signal {by}:\n{self.log()}") from None
            return self.process.returncode
        finally:
            if not self._log.closed:
                self.last_log = self.log()
                self._log.close()
                self.folder.cleanup()

    # ---- what can be seen from outside

    def metrics(self) -> dict[str, float]:
        """`/metrics` as name (with labels as printed) to value."""
        text = requests.get(self.url + "/metrics", timeout=5).text
        found = re.findall(r"^([a-zA-Z_:][\w:]*(?:\{[^}]*\})?) ([-+0-9.eE]+|NaN|\+Inf)$", text, re.M)
        return {name: float(value) for name, value in found}

    def status(self) -> dict:
        return requests.get(self.url + "/api/status", timeout=5).json()

    def viewers(self) -> int:
        return self.status()["viewers"]

    def fds(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def udp_sockets(self) -> int:
        """Open UDP sockets: what sessions hold. (HTTP keeps a few connections of its own, more or less.)"""
        open_now = set()
        for fd in os.listdir(f"/proc/{self.pid}/fd"):
            with contextlib.suppress(OSError):
                open_now.add(os.readlink(f"/proc/{self.pid}/fd/{fd}"))
        lines = [line for kind in ("udp", "udp6") for line in Path(f"/proc/{self.pid}/net/{kind}").read_text().splitlines()[1:]]
        return sum(f"socket:[{line.split()[9]}]" in open_now for line in lines)

    def threads(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/task"))

    def private_kb(self) -> int:
        return int(re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text())[1])

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS
