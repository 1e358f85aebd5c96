"""Every kind of file reaches the browser: passed through when it can play it, encoded when not."""

from pathlib import Path

import pytest
import requests

DATA = Path(__file__).resolve().parent.parent / "data"

pytestmark = pytest.mark.timeout(90)

# file, its size, and who encodes it
FILES = {
    "baseline.h264": ([160, 120], "passed through"),
    "main.mp4": ([160, 120], "passed through"),
    "fragmented.mp4": ([160, 120], "passed through"),
    "bframes.mp4": ([160, 120], "OpenH264"),
    "stream.mjpeg": ([160, 120], "OpenH264"),
    "small.y4m": ([64, 48], "OpenH264"),
}


@pytest.mark.parametrize("name", FILES)
def test_file_plays_in_the_browser(launch, watch, name):
    size, encoder = FILES[name]
    perch = launch(source=f"file:{DATA / name}")
    view = watch(perch.url)
    view.wait_until_live()
    assert view.page.evaluate("[video.videoWidth, video.videoHeight]") == size
    view.wait("document.querySelector('video').getVideoPlaybackQuality().totalVideoFrames > 5")
    assert requests.get(f"{perch.url}/api/status", timeout=5).json()["camera"]["encoder"] == encoder


def test_a_format_that_perch_does_not_read_names_the_way_round(launch):
    perch = launch(source=f"file:{DATA / 'hevc.mp4'}")
    status = requests.get(f"{perch.url}/api/status", timeout=5).json()["camera"]
    assert status["state"] == "no_input"
    assert "ffmpeg" in status["reason"] and "yuv4mpegpipe" in status["reason"]
