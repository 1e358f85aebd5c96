"""The cable between the camera and who watches is pulled out and plugged in again.

Each end is a network namespace of the test's own: perch in one, Chromium in the other.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from page_probe import launch, open_page, wait_for_picture  # noqa: E402
from perch_process import Perch, free_port  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402

CAMERA, VIEWER = "10.112.101.1", "10.112.101.2"
BACK_WITHIN = 2.0
OUT_FOR = 3.0


def test_who_watches_sees_the_picture_again_when_the_cable_is_back():
    command = ["unshare", "--net", "--map-root-user", sys.executable, __file__, "camera"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip() == "it watched on, twice"


def ip(*arguments: str, through: list[str] | None = None):
    subprocess.run([*(through or []), "ip", *arguments], check=True, timeout=10)


def at_the_cameras_end():
    ip("link", "set", "lo", "up")
    # Sleeps until its standard input ends, so that it does not outlive this.
    elsewhere = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo there; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert elsewhere.stdout.readline() == b"there\n"
    enter = ["nsenter", f"--net=/proc/{elsewhere.pid}/ns/net"]
    ip("link", "add", "cable", "type", "veth", "peer", "name", "far")
    ip("link", "set", "far", "netns", str(elsewhere.pid))
    ip("addr", "add", f"{CAMERA}/24", "dev", "cable")
    ip("link", "set", "cable", "up")
    ip("addr", "add", f"{VIEWER}/24", "dev", "far", through=enter)
    for device in ("lo", "far"):
        ip("link", "set", device, "up", through=enter)
    port = free_port()
    with Perch("--listen", f"0.0.0.0:{port}", port=port, config='[http]\nauth = "none"\n') as perch:
        viewer = subprocess.Popen([*enter, sys.executable, __file__, f"http://{CAMERA}:{port}/"], stdout=subprocess.PIPE, text=True)
        try:
            pictures = Pictures(viewer.stdout)
            pictures.wait_for_new(30)
            for _ in range(2):
                ip("link", "set", "cable", "down")
                pictures.wait_for_none()
                assert perch.answers(), perch.log()
                ip("link", "set", "cable", "up")
                pictures.wait_for_new(BACK_WITHIN)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{perch.log()}") from None
        finally:
            viewer.terminate()
            viewer.wait(20)
        assert len(perch.log().splitlines()) < 40, f"a line for each packet that could not be sent:\n{perch.log()}"
    elsewhere.stdin.close()
    elsewhere.wait(10)
    print("it watched on, twice")


class Pictures(threading.Thread):
    """What the viewer in the other namespace says: each line is that the picture has moved on."""

    def __init__(self, lines):
        super().__init__(daemon=True)
        self.lines, self.seen, self.news = lines, 0, threading.Condition()
        self.start()

    def run(self):
        for _ in self.lines:
            with self.news:
                self.seen += 1
                self.news.notify_all()

    def wait_for_new(self, timeout: float):
        with self.news:
            seen = self.seen
            assert self.news.wait_for(lambda: self.seen > seen, timeout), f"not within {timeout} s: a picture"

    def wait_for_none(self):
        """Waits until nothing has come for as long as the cable is to be out."""
        end = time.monotonic() + 30
        while time.monotonic() < end:
            with self.news:
                if not self.news.wait(OUT_FOR):
                    return
        raise AssertionError("pictures came through a cable that is not there")


def look_on(url: str):
    with sync_playwright() as playwright:
        browser = launch(playwright.chromium)
        page = open_page(browser, url)
        wait_for_picture(page, 30)
        shown = 0
        while True:
            # Two, so that what was on its way already counts for nothing.
            if (now := page.evaluate("window.perchProbe.shown")) > shown + 2:
                shown = now
                print("a picture", flush=True)
            page.wait_for_timeout(50)


if __name__ == "__main__":
    at_the_cameras_end() if sys.argv[1] == "camera" else look_on(sys.argv[1])
