"""Cameras that compress: a v4l2loopback device fed with recordings."""

import pytest
import recordings
from guest_perch import is_slate
from page_pictures import wait_for_recording
from perch_process import wait_until

pytestmark = pytest.mark.timeout(120)

NODE = "/dev/video20"


@pytest.fixture
def loopback(load):
    load("v4l2loopback", "video_nr=20", "exclusive_caps=1", "card_label=Loopback")


def feed(start, fourcc: str, recording: str):
    return start(f"/share/feed {NODE} {fourcc} 640 480 30 /tmp/recordings/{recording}", f"feed-{recording}")


def wait_for_producer(guest):
    wait_until(lambda: "Video Capture" in guest.run(f"v4l2-ctl -d {NODE} -D"), 5, "the loopback device is fed")


@pytest.mark.parametrize("fourcc, recording", [("YUYV", "yuyv"), ("MJPG", "mjpeg"), ("H264", "h264")])
def test_picture_reaches_the_snapshot(guest, loopback, start, launch, fourcc, recording):
    feed(start, fourcc, recording)
    wait_for_producer(guest)
    perch = launch(NODE)
    wait_until(lambda: perch.shows(recordings.is_of), 30, "the snapshot shows what is fed", every=0.2)
    camera = perch.camera()
    assert camera["state"] == "live" and (camera["width"], camera["height"]) == recordings.SIZE


def test_h264_reaches_the_browser_as_it_is(guest, loopback, start, launch, watch):
    feed(start, "H264", "h264")
    wait_for_producer(guest)
    perch = launch(NODE)
    view = watch(perch.url)
    view.wait_until_live(30)
    wait_for_recording(view, 20)
    assert perch.camera()["encoder"] == "passed through"
    assert view.received()["framesDecoded"] > 0


def test_a_producer_that_stops_shows_the_slate_until_it_is_back(guest, loopback, start, launch, look):
    producer = feed(start, "MJPG", "mjpeg")
    wait_for_producer(guest)
    perch = launch(NODE)
    viewer = look(perch)
    viewer.wait_for(recordings.is_of, 15, "the first picture")
    producer.stop()
    viewer.wait_for(is_slate, 8, "the slate, after the stall timeout")
    feed(start, "MJPG", "mjpeg")
    wait_for_producer(guest)
    viewer.wait_for(recordings.is_of, 2, "the picture again")
