"""The picture itself: it comes, it moves, and it is what the camera sees now."""

import time

import pytest
from perch_process import wait_until

pytestmark = pytest.mark.timeout(90)


def test_first_frame_arrives(perch, watch):
    view = watch(perch.url)
    view.wait_until_live()
    timings = view.page.evaluate("window.perch.timings")
    print(f"first frame {timings['frame']:.0f} ms after opening, {timings['frame'] - timings['offer']:.0f} ms after the offer")
    assert timings["offer"] < timings["answer"] < timings["frame"] < 1000 * 20


def test_picture_moves(perch, watch):
    view = watch(perch.url)
    view.wait_until_live()
    clocks = []
    for _ in range(5):
        clocks.append(wait_until(view.clock, 5, "the barcode can be read"))
        view.page.wait_for_timeout(200)
    assert clocks == sorted(set(clocks)), "every reading is later than the one before"


def test_picture_is_of_now(perch, watch):
    view = watch(perch.url)
    view.wait_until_live()
    view.page.wait_for_timeout(2000)
    ages = []
    for _ in range(10):
        stamp = wait_until(view.clock, 5, "the barcode can be read")
        ages.append(int(time.time() * 1000) - stamp & 0xFFFFFFFF)
        view.page.wait_for_timeout(100)
    print(f"age of the picture, with the time to read it: {sorted(ages)} ms")
    assert sorted(ages)[len(ages) // 2] < 1000


def test_codec_is_h264(perch, watch):
    view = watch(perch.url)
    view.wait_until_live()
    assert view.wait("window.perch.pc && true") and view.received()["codec"]["mimeType"] == "video/H264"


def test_picture_has_the_size_that_was_asked_for(launch, watch):
    view = watch(launch("--resolution", "640x480").url)
    view.wait_until_live()
    assert view.page.evaluate("[video.videoWidth, video.videoHeight]") == [640, 480]
