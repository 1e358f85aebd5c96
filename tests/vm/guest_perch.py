"""perch in the guest, and someone who watches its JPEG pictures from outside."""

from __future__ import annotations

import io
import re
import threading
import time
from collections import deque

import numpy as np
import requests
from machine import UDP_PORTS, Guest
from perch_process import wait_until
from PIL import Image


class GuestPerch:
    """A perch in the guest whose HTTP and UDP ports lead out of it. `state` is where it keeps what outlives it."""

    count = 0

    def __init__(
        self, guest: Guest, source: str, *args: str, program: str = "/share/perch", state: str = "/tmp/perch-state"
    ):
        GuestPerch.count += 1
        name = f"perch-{GuestPerch.count}"
        self.url = f"http://127.0.0.1:{guest.http_port}"
        (guest.share / f"{name}.toml").write_text(
            f"""
            [camera]
            source = '{source}'
            resolution = "640x480"

            [http]
            listen = "0.0.0.0:{guest.http_port}"
            auth = "none"

            [webrtc]
            advertise = ["127.0.0.1"]
            udp_ports = "{guest.udp_first}-{guest.udp_first + UDP_PORTS - 1}"
            """
        )
        environment = f"env STATE_DIRECTORY={state}"
        self.task = guest.start(f"{environment} {program} --config /share/{name}.toml {' '.join(args)}", name)
        try:
            wait_until(self.answers, 20, "perch in the guest answers")
        except AssertionError as error:
            self.task.stop()
            raise AssertionError(f"{error}\n{self.log()}") from None

    def answers(self) -> bool:
        try:
            return requests.get(self.url + "/healthz", timeout=2).status_code < 600
        except requests.RequestException:
            return False

    def log(self) -> str:
        return self.task.log()

    def stop(self):
        self.task.stop()

    def camera(self) -> dict:
        return requests.get(self.url + "/api/status", timeout=5).json()["camera"]

    def state(self) -> str:
        return self.camera()["state"]

    def reason(self) -> str:
        return self.camera()["reason"]

    def _counted(self, name: str) -> int:
        text = requests.get(self.url + "/metrics", timeout=5).text
        return int(re.search(rf"^{name}(?:\{{[^}}]*\}})? (\d+)", text, re.M)[1])

    def failures(self) -> int:
        """How often the source could not be opened or was lost."""
        return self._counted("perch_source_failures_total")

    def opens(self) -> int:
        """How often it was opened, or tried."""
        return self._counted("perch_source_opens_total")

    def snapshot(self) -> bytes:
        response = requests.get(self.url + "/snapshot.jpg", timeout=10)
        response.raise_for_status()
        return response.content

    def shows(self, test) -> bool:
        """Whether `test` is true of a snapshot. On a busy machine there may be none in time: a keyframe is long in coming."""
        try:
            return test(self.snapshot())
        except requests.HTTPError:
            return False


class JpegViewer(threading.Thread):
    """Reads `/stream.mjpg` until closed; perch works as long as somebody does.

    It keeps what arrives, so that a slate shown for a moment is seen even by a test that was busy then.
    """

    KEPT = 600  # pictures: twenty seconds at 30 a second

    def __init__(self, url: str):
        super().__init__(daemon=True)
        self._response = requests.get(url + "/stream.mjpg", stream=True, timeout=15)
        self._response.raise_for_status()
        self._arrived = threading.Condition()
        self._pictures: deque[tuple[float, bytes]] = deque(maxlen=self.KEPT)
        self._last_seen = time.monotonic()
        self._open = True
        self.start()

    def run(self):
        pending = b""
        try:
            for chunk in self._response.iter_content(chunk_size=None):
                pending += chunk
                start, end = pending.find(b"\xff\xd8"), pending.find(b"\xff\xd9")
                while 0 <= start and end >= 0:
                    with self._arrived:
                        self._pictures.append((time.monotonic(), pending[start : end + 2]))
                        self._arrived.notify_all()
                    pending = pending[end + 2 :]
                    start, end = pending.find(b"\xff\xd8"), pending.find(b"\xff\xd9")
        except (requests.RequestException, AttributeError, ValueError):
            pass  # closed under the reader
        with self._arrived:
            self._open = False
            self._arrived.notify_all()

    def close(self):
        self._response.close()

    def look_away(self):
        """Forgets what arrived until now: the next `wait_for` begins here."""
        with self._arrived:
            self._pictures.clear()
            self._last_seen = time.monotonic()

    def wait_for(self, shows, timeout: float, why: str) -> float:
        """Waits for a picture of which `shows` is true, after the one that the last call found.

        Returns the seconds between the two. The timeout counts from now.
        """
        deadline = time.monotonic() + timeout
        while True:
            with self._arrived:
                while not self._pictures:
                    left = deadline - time.monotonic()
                    assert left > 0, f"not within {timeout} s: {why}"
                    assert self._open, f"the stream ended while waiting: {why}"
                    self._arrived.wait(left)
                arrived, picture = self._pictures.popleft()
            assert arrived < deadline, f"not within {timeout} s: {why}"
            if shows(picture):
                took = arrived - self._last_seen
                self._last_seen = arrived
                return took


def is_slate(jpeg: bytes) -> bool:
    """Whether a JPEG is perch's slate: dark nearly everywhere, as no camera's picture here is."""
    return float(np.asarray(Image.open(io.BytesIO(jpeg)).convert("L")).mean()) < 60


def is_picture(jpeg: bytes) -> bool:
    return not is_slate(jpeg)
