"""What perch says of the devices that are there, and of those that it cannot use."""

import re

import pytest
from guest_perch import is_picture, is_slate
from perch_process import wait_until

pytestmark = pytest.mark.timeout(90)


def probe(guest, prefix: str = "") -> str:
    return guest.run(f"{prefix}/share/perch probe")


def test_probe_says_that_there_is_no_camera(guest):
    assert "cameras: none; perch shows the test picture" in probe(guest)


def test_probe_lists_a_camera_with_its_formats_and_rates(guest, load):
    load("vivid", "n_devs=1", "node_types=0x1", "multiplanar=1")
    report = probe(guest)
    assert "/dev/video0: vivid (driver vivid)" in report
    for fourcc in ("NV12", "YU12", "YUYV"):
        assert re.search(rf"^    {fourcc} \(.*\): .*\b640x480 at up to \d+ fps", report, re.M), report


def test_probe_says_what_is_no_camera(guest, load):
    load("vicodec")
    assert "/dev/video0: it does not capture video" in probe(guest)


def test_no_permission_is_said_with_what_to_do(guest, load):
    load("vivid", "n_devs=1", "node_types=0x1", "multiplanar=1")
    report = guest.run("su -s /bin/sh nobody -c '/share/perch probe'")
    assert "/dev/video0: no permission: add the user to the group video" in report


def test_busy_camera_is_said_on_the_status_with_what_to_do(load, start, launch, look):
    load("vivid", "n_devs=1", "node_types=0x1", "multiplanar=1")
    other = start("v4l2-ctl -d /dev/video0 --stream-mmap --stream-count=0", "other")
    perch = launch("/dev/video0")
    viewer = look(perch)
    viewer.wait_for(is_slate, 10, "the slate, while another program has the camera")
    wait_until(lambda: "another program is using it" in perch.reason(), 5, "the reason is said")
    assert perch.reason().startswith("/dev/video0: ")
    other.stop()
    viewer.wait_for(is_picture, 5, "the picture, once the camera is free")
