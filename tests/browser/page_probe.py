"""What tests and the bench put into perch's page to see what a viewer sees."""

from __future__ import annotations

import os
import shutil
import time

from barcode import JAVASCRIPT as BARCODE

# For every picture: when it was shown, and how old it was by its barcode.
PROBE = (
    BARCODE
    + """
(() => {
  const probe = window.perchProbe = {first: null, shown: 0, unread: 0, samples: [], peers: [], every: 1};
  const Native = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Native {
    constructor(...args) { super(...args); probe.peers.push(this); }
  };
  const watch = video => {
    const onFrame = async () => {
      const now = Date.now();
      probe.first ??= performance.now();
      video.requestVideoFrameCallback(onFrame);
      if (probe.shown++ % probe.every) return;
      try {
        const stamp = await perchBarcode(video);
        if (stamp === null) probe.unread++;
        else probe.samples.push([now, ((now % 4294967296) - stamp + 4294967296 + 2147483648) % 4294967296 - 2147483648]);
      } catch (error) {
        probe.unread++;
        probe.error = String(error);
      }
    };
    video.requestVideoFrameCallback(onFrame);
  };
  const find = () => {
    const video = document.querySelector('video');
    if (video) watch(video);
    return video;
  };
  if (!find()) {
    const observer = new MutationObserver(() => find() && observer.disconnect());
    observer.observe(document, {childList: true, subtree: true});
  }
  probe.take = async () => {
    const taken = {first: probe.first, shown: probe.shown, unread: probe.unread, error: probe.error,
                   now: Date.now(), samples: probe.samples.splice(0), video: {framesDecoded: 0, freezeCount: 0}};
    const live = probe.peers.filter(pc => pc.connectionState !== 'closed').pop();
    taken.peers = probe.peers.length;
    taken.state = live?.connectionState;
    if (live) {
      for (const report of (await live.getStats()).values()) {
        if (report.type === 'inbound-rtp' && report.kind === 'video') taken.video = report;
      }
    }
    return taken;
  };
})();
"""
)

ARGUMENTS = [
    "--no-sandbox",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--disable-component-update",
    "--disable-background-networking",
]


def chromium() -> str:
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not path:
        raise FileNotFoundError("no chromium: install Debian's package, or set CHROMIUM")
    return path


def launch(browser_type):
    return browser_type.launch(executable_path=chromium(), args=ARGUMENTS, headless=True)


def open_page(browser, url: str):
    """A page of its own (no cache, no other page's process) that watches `url`, with the probe in it."""
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    page = context.new_page()
    page.add_init_script(PROBE)
    page.goto(url)
    return page


def wait_for(page, expression: str, timeout: float):
    """Waits until `expression` is true in the page. (Playwright's own way evaluates strings, which perch's CSP forbids.)"""
    end = time.monotonic() + timeout
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"not within {timeout} s: {expression}; the page says {page.inner_text('body')!r}"
        page.wait_for_timeout(50)


def wait_for_picture(page, timeout: float = 15):
    wait_for(page, "window.perchProbe.first !== null", timeout)


def take(page) -> dict:
    """Everything since the last call: shown pictures, their ages, and the receiver's statistics."""
    return page.evaluate("window.perchProbe.take()")


def percentile(values, share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")
