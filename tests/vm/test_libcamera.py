"""libcamera's virtual cameras, through perch's worker: only with `scripts/vm-test --libcamera`, whose perch has libcamera."""

import os
import re
import time

import pytest
import recordings
from guest_perch import is_picture, is_slate
from page_pictures import wait_for_recording

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


def test_a_webcam_through_libcamera_ten_times_out_and_in_under_one_viewer(guest, programs, load, plug, launch, watch):
    load("firmware_node")
    camera = plug(0, 0)
    names = re.findall(r"libcamera:\d+: .* \((.+)\)", guest.run("/tmp/perch probe"))
    webcam = [name for name in names if not name.startswith("Virtual")]
    assert len(webcam) == 1, names
    perch = launch(f"libcamera:{webcam[0]}", program="/tmp/perch")
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


def test_probe_names_the_cameras(guest, programs):
    report = guest.run("/tmp/perch probe")
    assert "irtual" in report and "NV12" in report, report
