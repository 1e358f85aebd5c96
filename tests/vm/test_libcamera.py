"""libcamera's virtual cameras, through perch's worker: only with `scripts/vm-test --libcamera`, whose perch has libcamera."""

import os
import re
import time

import pytest
import requests
from guest_perch import is_picture, is_slate
from page_pictures import wait_for_recording
from perch_process import wait_until

pytestmark = [
    pytest.mark.timeout(420),
    pytest.mark.skipif("PERCH_VM_LIBCAMERA" not in os.environ, reason="run by scripts/vm-test --libcamera"),
]


@pytest.fixture(scope="module")
def programs(guest):
    """In the guest's memory: from the share a worker takes seconds to start."""
    guest.run("cp /share/perch /share/libcamera_virtual /share/camera_worker /tmp/")


@pytest.mark.parametrize("program", ["libcamera_virtual", "camera_worker"])
def test_workers(guest, programs, program):
    code, output = guest.ask(f"PERCH_BIN=/tmp/perch /tmp/{program} --test-threads=1", 400)
    print(output)
    assert code == 0, output
    assert "test result: ok" in output and " 0 passed" not in output, output


def test_a_browser_watches_a_camera_of_libcamera(programs, launch, watch):
    perch = launch("libcamera", program="/tmp/perch")
    view = watch(perch.url)
    view.wait_until_live(60)
    assert "irtual" in perch.camera()["source"]
    assert is_picture(perch.snapshot())
    before = view.received()["framesDecoded"]
    view.wait(f"(async () => [...(await window.perch.pc.getStats()).values()].some(entry => entry.framesDecoded > {before} + 20))()", 60)


@pytest.mark.parametrize("signal", ["KILL", "ABRT", "STOP"])
def test_a_worker_that_dies_or_hangs_shows_the_slate_and_ends_no_session(guest, programs, launch, watch, look, signal):
    perch = launch("libcamera", program="/tmp/perch")
    view = watch(perch.url)
    view.wait_until_live(60)
    session = view.session()
    viewer = look(perch)
    viewer.wait_for(is_picture, 10, "the first picture")
    # In brackets, so that the shell that looks does not find itself.
    guest.run(f"for dir in /proc/[0-9]*; do grep -q '[c]amera-worker' $dir/cmdline && kill -{signal} ${{dir#/proc/}}; done; true")
    viewer.wait_for(is_slate, 15, "the slate")
    viewer.wait_for(is_picture, 15, "the picture of the next worker")
    view.wait_until_live(15)
    assert view.session() == session


@pytest.fixture
def webcam(guest, programs, load, plug):
    """A webcam that libcamera takes, and what it calls it."""
    load("firmware_node")
    camera = plug(0, 0)
    names = re.findall(r"libcamera:\d+: .* \((.+)\)", guest.run("/tmp/perch probe"))
    found = [name for name in names if not name.startswith("Virtual")]
    assert len(found) == 1, names
    return camera, found[0]


def test_a_webcam_through_libcamera_ten_times_out_and_in_under_one_viewer(webcam, plug, launch, watch):
    camera, name = webcam
    perch = launch(f"libcamera:{name}", program="/tmp/perch")
    view = watch(perch.url)
    view.wait_until_live(60)
    wait_for_recording(view, 20)
    session, took = view.session(), []
    for turn in range(1, 11):
        camera.stop()
        view.wait_for_state("no-input", 15)
        # In the same port: libcamera names a camera by it.
        camera = plug(0, turn % 2)
        began = time.monotonic()
        wait_for_recording(view, 20)
        took.append(time.monotonic() - began)
        view.wait_until_live(10)
        assert view.session() == session
    print("picture again after", ", ".join(f"{seconds:.2f}" for seconds in took), "s")


def test_controls_through_libcamera_reach_the_webcam_and_the_one_plugged_in_after_it(guest, webcam, plug, launch, look):
    camera, name = webcam
    state = "/tmp/libcamera-controls"
    perch = launch(f"libcamera:{name}", program="/tmp/perch", state=state)
    viewer = look(perch)
    viewer.wait_for(is_picture, 20, "the first picture")
    page = requests.get(f"{perch.url}/api/cameras/main/controls", timeout=10).json()
    known = {control["key"]: control for control in page["controls"]}
    assert {"brightness", "contrast", "saturation"} <= set(known), page
    assert known["brightness"].items() >= {"minimum": -1, "maximum": 1, "default": 0}.items(), page

    refused = requests.patch(f"{perch.url}/api/cameras/main/controls", json={"brightness": 1.5}, timeout=10)
    assert refused.status_code == 422 and "out of range: -1 to 1" in refused.json()["error"], refused.text
    assert "usbcam: brightness is" not in camera.log()

    changed = requests.patch(f"{perch.url}/api/cameras/main/controls", json={"brightness": 0.5}, timeout=10)
    assert changed.status_code == 200, changed.text
    wait_until(lambda: "usbcam: brightness is 32" in camera.log(), 10, "the webcam was told: half of its 64")

    camera.stop()
    viewer.wait_for(is_slate, 15, "the slate")
    camera = plug(0, 1)
    wait_until(lambda: "usbcam: brightness is 32" in camera.log(), 20, "the next webcam was told as well")
    guest.run(f"rm -rf {state}")


def test_probe_names_the_cameras(guest, programs):
    report = guest.run("/tmp/perch probe")
    assert "irtual" in report and "NV12" in report, report
