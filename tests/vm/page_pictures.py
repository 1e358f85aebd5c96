"""What a browser's picture shows."""

import time

from recordings import COLOUR

_MIDDLE = """() => {
  const video = document.querySelector('video');
  if (!video.videoWidth) return null;
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  const context = canvas.getContext('2d');
  context.drawImage(video, 0, 0);
  return [...context.getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data.slice(0, 3)];
}"""


def shows_recording(view) -> bool:
    colour = view.page.evaluate(_MIDDLE)
    return colour is not None and all(abs(is_ - wanted) < 40 for is_, wanted in zip(colour, COLOUR))


def wait_for_recording(view, timeout: float):
    end = time.monotonic() + timeout
    while not shows_recording(view):
        assert time.monotonic() < end, f"not within {timeout} s: the recording in the browser ({view.page.evaluate(_MIDDLE)}); {view.describe()}"
        view.page.wait_for_timeout(50)
