"""A camera that fails under perch shows the slate, and its picture again within two seconds of its return.

The driver is vivid, which fails on demand. The viewer reads JPEG pictures, on one connection throughout.
"""

import pytest
from guest_perch import is_picture, is_slate
from perch_process import wait_until

pytestmark = pytest.mark.timeout(120)

NODE = "/dev/video0"
BACK_WITHIN = 2.0


@pytest.fixture
def camera(load):
    load("vivid", "n_devs=1", "node_types=0x1", "multiplanar=1")


def control(guest, name: str, value: int):
    guest.run(f"v4l2-ctl -d {NODE} -c {name}={value}")


@pytest.mark.parametrize("failure", ["disconnect", "inject_fatal_streaming_error"])
def test_a_failure_that_passes_at_once(guest, camera, launch, look, failure):
    perch = launch(NODE)
    viewer = look(perch)
    viewer.wait_for(is_picture, 10, "the first picture")
    for _ in range(3):
        failures, opens = perch.failures(), perch.opens()
        control(guest, failure, 1)
        # It may pass so quickly that the slate is seen by nobody.
        wait_until(lambda: perch.failures() > failures, 5, f"perch notices {failure}", every=0.02)
        wait_until(lambda: perch.opens() > opens and perch.state() == "live", BACK_WITHIN, f"it is live after {failure}", every=0.02)
        viewer.look_away()
        viewer.wait_for(is_picture, BACK_WITHIN, f"the picture again after {failure}")
    assert perch.state() == "live"


def test_a_camera_that_falls_silent(guest, camera, launch, look):
    perch = launch(NODE)
    viewer = look(perch)
    viewer.wait_for(is_picture, 10, "the first picture")
    control(guest, "percentage_of_dropped_buffers", 100)
    viewer.wait_for(is_slate, 6, "the slate of a camera that is silent")
    assert "no picture for 2000 ms" in perch.reason()
    control(guest, "percentage_of_dropped_buffers", 0)
    viewer.wait_for(is_picture, BACK_WITHIN, "the picture of a camera that speaks again")


@pytest.mark.parametrize("refused", ["reqbufs", "streamon"])
def test_a_driver_that_refuses_to_start_once(guest, camera, launch, look, refused):
    perch = launch(NODE)
    viewer = look(perch)
    viewer.wait_for(is_picture, 10, "the first picture")
    control(guest, f"inject_vidioc_{refused}_error", 1)
    control(guest, "inject_fatal_streaming_error", 1)
    wait_until(lambda: perch.failures() == 2, 5, "the failure, and that of the first try", every=0.02)
    wait_until(lambda: perch.opens() == 3 and perch.state() == "live", BACK_WITHIN, "the second try", every=0.02)
    viewer.look_away()
    viewer.wait_for(is_picture, BACK_WITHIN, "the picture, at the second try")
    assert perch.failures() == 2


def test_buffers_that_the_driver_does_not_take_back(guest, camera, launch, look):
    perch = launch(NODE)
    viewer = look(perch)
    viewer.wait_for(is_picture, 10, "the first picture")
    # One more than there are: the last has nothing to refuse, or refuses the start that follows.
    for _ in range(5):
        control(guest, "inject_vidioc_qbuf_error", 1)
    viewer.look_away()
    viewer.wait_for(is_picture, 6, "a picture, at the latest when the silence is noticed")


def test_a_signal_that_changes_is_read_anew(guest, load, launch, look):
    # A converter of HDMI, which is told that nothing is plugged into it, then that something is.
    load("vivid", "n_devs=1", "node_types=0x1", "multiplanar=1", "num_inputs=1", "input_types=0x3")
    perch = launch(NODE)
    viewer = look(perch)
    viewer.wait_for(is_picture, 10, "the first picture")
    for signal in (1, 0):
        opens = perch.opens()
        control(guest, "dv_timings_signal_mode", signal)
        wait_until(lambda: perch.opens() > opens and perch.state() == "live", BACK_WITHIN, "it is opened anew", every=0.02)
    assert "its signal has changed" in perch.log()
    viewer.look_away()
    viewer.wait_for(is_picture, BACK_WITHIN, "the picture of the new signal")


def test_timestamps_that_wrap_stop_nothing(guest, camera, launch, look):
    control(guest, "wrap_timestamp", 1)
    perch = launch(NODE)
    viewer = look(perch)
    viewer.wait_for(is_picture, 10, "the first picture")
    with pytest.raises(AssertionError, match="not within"):
        viewer.wait_for(is_slate, 4, "a slate")
    assert perch.state() == "live"


def test_a_driver_that_is_unbound_and_bound_again(guest, camera, launch, look):
    perch = launch(NODE)
    viewer = look(perch)
    viewer.wait_for(is_picture, 10, "the first picture")
    for _ in range(3):
        guest.run("echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind")
        viewer.wait_for(is_slate, 5, "the slate of a camera that is gone")
        guest.run("echo vivid.0 >/sys/bus/platform/drivers/vivid/bind")
        viewer.wait_for(is_picture, BACK_WITHIN, "the picture of the camera that is back")


def test_auto_takes_the_first_camera_that_appears_and_waits_for_it_once_it_has_gone(guest, load, launch, look):
    perch = launch("auto")
    viewer = look(perch)
    wait_until(lambda: perch.state() == "live", 10, "the test picture is shown")
    assert "test pattern" in perch.camera()["source"]
    load("vivid", "n_devs=1", "node_types=0x1", "multiplanar=1")
    wait_until(lambda: "vivid" in perch.camera()["source"], BACK_WITHIN, "the camera is taken")
    guest.run("echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind")
    viewer.wait_for(is_slate, 5, "the slate, not the test picture")
    wait_until(lambda: "vivid is not there any more" in perch.reason(), 5, "the camera is missed, by name")
    guest.run("echo vivid.0 >/sys/bus/platform/drivers/vivid/bind")
    viewer.wait_for(is_picture, BACK_WITHIN, "the picture of the camera that is back")
