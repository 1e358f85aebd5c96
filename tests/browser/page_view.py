"""One browser window on perch's page, and what can be seen in it.

Conditions are polled from here with `evaluate`: the page's content security policy forbids what
`wait_for_function` does inside a page.
"""

from __future__ import annotations

import os
import shutil
import time

from barcode import decode
from playwright.sync_api import Error

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
]

DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}

# Generous, because the machine may be busy with other things; what is typical is printed, not asserted.
LIVE_WITHIN = 20


def launch_chromium(chromium, *arguments: str, **options):
    """A browser of Playwright's type `chromium`."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not path:
        raise FileNotFoundError("no chromium: install Debian's package, or set CHROMIUM")
    return chromium.launch(executable_path=path, args=[*ARGUMENTS, *arguments], headless=True, **options)


class PageView:
    def __init__(self, browser, url: str, viewport=DESKTOP, script: str = "", **options):
        """`script` runs in the page before its own."""
        self.context = browser.new_context(viewport=viewport, **options)
        self.page = self.context.new_page()
        if script:
            self.page.add_init_script(f"(() => {{{script}}})();")
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(url, wait_until="commit")

    def close(self):
        """Closes the window, as its owner would: the page gets to say goodbye. Does nothing the second time."""
        if not self.page.is_closed():
            self.page.close(run_before_unload=False)
        self.context.close()

    def wait(self, what: str, timeout: float = LIVE_WITHIN):
        """Waits until the JavaScript expression `what` is true, and gives its value."""
        end = time.monotonic() + timeout
        while True:
            try:
                value = self.page.evaluate(what)
            except Error as error:
                # The page leads to another one just now.
                if "context was destroyed" not in str(error):
                    raise
                value = None
            if value:
                return value
            if time.monotonic() > end:
                raise AssertionError(f"not within {timeout} s: {what}\n{self.describe()}")
            self.page.wait_for_timeout(50)

    def wait_for_state(self, state: str, timeout: float = LIVE_WITHIN):
        self.wait(f"window.perch?.state === {state!r}", timeout)

    def wait_until_live(self, timeout: float = LIVE_WITHIN):
        """Live in name, and with a picture that can be drawn."""
        self.wait("window.perch?.state === 'live' && document.querySelector('video').readyState >= 2", timeout)

    def describe(self) -> str:
        return f"state {self.page.evaluate('window.perch?.state')!r}, words {self.words()!r}, errors {self.errors}"

    def words(self) -> str:
        return " ".join(self.page.evaluate("document.getElementById('status')?.innerText ?? ''").split())

    def session(self) -> str:
        return self.page.evaluate("window.perch.session")

    def received(self) -> dict:
        """The video's statistics, with its codec's under `codec`."""
        return self.page.evaluate(
            """async () => {
              const entries = await window.perch.pc.getStats();
              const video = [...entries.values()].find(entry => entry.type === 'inbound-rtp' && entry.kind === 'video');
              return {...video, codec: entries.get(video.codecId)};
            }"""
        )

    def clock(self) -> int | None:
        """The time in the picture's barcode, read from a canvas."""
        row, width, height = self.page.evaluate(
            """() => {
              const video = document.querySelector('video');
              const canvas = document.createElement('canvas');
              [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
              const context = canvas.getContext('2d');
              context.drawImage(video, 0, 0);
              const {data} = context.getImageData(0, Math.floor(canvas.height / 40), canvas.width, 1);
              return [Array.from({length: canvas.width}, (_, x) => data[4 * x + 1]), canvas.width, canvas.height];
            }"""
        )
        return decode(row, 0, width, height)
