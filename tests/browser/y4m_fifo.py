"""A camera made of a FIFO: grey pictures in YUV4MPEG2, which pause and go on as told."""

from __future__ import annotations

import errno
import os
import select
import threading
import time
from pathlib import Path

WIDTH, HEIGHT, RATE = 320, 240, 15


class FifoCamera:
    def __init__(self, path: Path):
        self.path = path
        os.mkfifo(path)
        self._stop = threading.Event()
        self._running = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self):
        self._running.set()
        self._thread = threading.Thread(target=self._write, name="fifo-camera", daemon=True)
        self._thread.start()

    def pause(self):
        """Delivers nothing more, as a camera does whose cable is loose. The FIFO stays open: its end would be a file's end."""
        self._running.clear()

    def resume(self):
        self._running.set()

    def stop(self):
        self._stop.set()
        if self._thread:
            self._thread.join(5)

    def _write(self):
        while not self._stop.is_set():
            fd = self._open()
            if fd is None:
                return
            try:
                self._send(fd, f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F{RATE}:1 Ip A1:1 C420jpeg\n".encode())
                number = 0
                while not self._stop.is_set():
                    if not self._running.wait(0.1):
                        continue
                    self._send(fd, b"FRAME\n" + bytes([40 + 4 * number % 160]) * (WIDTH * HEIGHT) + b"\x80" * (WIDTH * HEIGHT // 2))
                    number += 1
                    time.sleep(1 / RATE)
            except BrokenPipeError:
                pass  # perch closed its end and will open it again
            finally:
                os.close(fd)

    def _open(self) -> int | None:
        """The writing end, once somebody reads; never blocks for good, unlike a plain `open`."""
        while not self._stop.is_set():
            try:
                return os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                time.sleep(0.02)
        return None

    def _send(self, fd: int, data: bytes):
        view = memoryview(data)
        while view and not self._stop.is_set():
            if select.select([], [fd], [], 0.1)[1]:
                view = view[os.write(fd, view) :]
