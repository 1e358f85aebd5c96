"""A USB webcam that is pulled out and plugged in again while somebody watches.

The camera is guest/usbcam.c on the kernel's virtual host controller; the driver is the one of real webcams, uvcvideo.
"""

import time

import pytest
import recordings
from guest_perch import is_slate
from page_pictures import wait_for_recording
from perch_process import wait_until

pytestmark = pytest.mark.timeout(240)

BACK_WITHIN = 2.0


@pytest.mark.parametrize("kind", [0, 1], ids=["MJPG", "YUYV"])
def test_webcam_is_seen(plug, launch, kind):
    plug(0, kind)
    perch = launch("auto")
    wait_until(lambda: perch.shows(recordings.is_of), 30, "the snapshot shows the webcam", every=0.2)
    assert "Simulated USB camera" in perch.camera()["source"]


def test_ten_times_out_and_in_under_one_viewer(plug, launch, watch):
    camera = plug(0, 0)
    perch = launch("auto")
    view = watch(perch.url)
    view.wait_until_live(30)
    wait_for_recording(view, 20)
    session = view.session()
    took = []
    for turn in range(1, 11):
        camera.stop()
        view.wait_for_state("no-input", 10)
        # Each time in the other port, and in the other format every second time.
        camera = plug(turn % 2, turn // 2 % 2)
        began = time.monotonic()
        wait_for_recording(view, 10)
        took.append(time.monotonic() - began)
        # The page's words are asked for less often than pictures come.
        view.wait_until_live(10)
        assert view.session() == session
    print("picture again after", ", ".join(f"{seconds:.2f}" for seconds in took), "s")
    assert max(took) <= BACK_WITHIN, took


def test_webcam_whose_number_changed_is_found_again(guest, load, plug, launch, look):
    camera = plug(0, 1)
    perch = launch("/dev/video0")
    viewer = look(perch)
    viewer.wait_for(recordings.is_of, 15, "the first picture")
    camera.stop()
    viewer.wait_for(is_slate, 5, "the slate")
    # Somebody else takes the number.
    load("vicodec")
    plug(1, 1)
    guest.run("i=0; until grep -l Simulated /sys/class/video4linux/*/name; do i=$((i + 1)); [ $i -gt 500 ] && exit 1; usleep 20000; done")
    viewer.wait_for(recordings.is_of, BACK_WITHIN, "the picture of the same webcam under another number")
