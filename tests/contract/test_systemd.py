"""What systemd hears of perch, over a real notify socket (sd_notify(3))."""

import os
import signal
import socket
import time

import pytest
from perch_process import Perch


class Systemd:
    """The socket of whoever started perch."""

    def __init__(self, path):
        self.path = str(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)

    def wait_for(self, word: str, within: float) -> list[str]:
        """What came until `word` did."""
        heard = []
        end = time.monotonic() + within
        while word not in heard:
            self.socket.settimeout(max(end - time.monotonic(), 0.01))
            try:
                heard += self.socket.recv(4096).decode().splitlines()
            except TimeoutError:
                raise AssertionError(f"no {word} within {within} s, but {heard}") from None
        return heard

    def drain(self):
        self.socket.setblocking(False)
        try:
            while self.socket.recv(4096):
                pass
        except BlockingIOError:
            pass


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    systemd = Systemd(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", systemd.path)
    yield systemd
    systemd.socket.close()


def test_systemd_hears_that_perch_is_ready_and_that_it_stops(systemd):
    with Perch(ready=False) as perch:
        systemd.wait_for("READY=1", 20)
        assert perch.answers(), "ready before the page is served"
        systemd.wait_for("STATUS=main: live", 20)
        perch.stop()
        assert "WATCHDOG=1" not in systemd.wait_for("STOPPING=1", 5), "nobody asked for signs of life"


def test_signs_of_life_come_while_perch_is_well_and_end_when_it_is_not(systemd, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    with Perch() as perch:
        for _ in range(3):
            systemd.wait_for("WATCHDOG=1", 10)
        os.kill(perch.pid, signal.SIGSTOP)
        systemd.drain()
        with pytest.raises(AssertionError, match="no WATCHDOG=1"):
            systemd.wait_for("WATCHDOG=1", 4)
        os.kill(perch.pid, signal.SIGCONT)
        systemd.wait_for("WATCHDOG=1", 15)
