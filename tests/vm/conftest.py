import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "browser")]

import recordings  # noqa: E402
from fixtures import browser, watch  # noqa: E402, F401
from guest_perch import GuestPerch, JpegViewer  # noqa: E402
from machine import Guest  # noqa: E402


# What the webcam of the lab can make, and the recording that it shows.
WEBCAM_KINDS = [("MJPG", "mjpeg"), ("YUYV", "yuyv")]


def pytest_generate_tests(metafunc):
    """Each test of the Rust programs, tests/*_devices.rs, is one here."""
    if "device_test" in metafunc.fixturenames:
        tests = []
        for program in sorted(Path(os.environ["PERCH_VM_SHARE"]).glob("*_devices")):
            listed = subprocess.run([program, "--list", "--format", "terse"], check=True, capture_output=True, text=True).stdout
            tests += [(program.name, line.removesuffix(": test")) for line in listed.splitlines() if line.endswith(": test")]
        metafunc.parametrize(("program", "device_test"), tests)


@pytest.fixture(scope="session")
def guest():
    """The one guest of all tests. They leave it as they found it: no driver loaded, nothing running."""
    initrd = "initrd-libcamera" if "PERCH_VM_LIBCAMERA" in os.environ else "initrd"
    guest = Guest(Path(os.environ["PERCH_VM_BUNDLE"]), Path(os.environ["PERCH_VM_SHARE"]), initrd)
    try:
        for make in (recordings.mjpeg, recordings.yuyv, recordings.h264):
            make(guest.share)
        # Into the guest's memory: they are read again and again.
        guest.run("mkdir /tmp/recordings && mv /share/mjpeg /share/yuyv /share/h264 /tmp/recordings/")
        yield guest
    finally:
        guest.stop()
        if "PERCH_VM_KEEP" in os.environ:
            shutil.copytree(guest.share, os.environ["PERCH_VM_KEEP"], dirs_exist_ok=True)


@pytest.fixture(autouse=True)
def guest_lives(request, guest):
    """After each test: the guest must be there still; the end of its console is shown with a failure."""
    yield
    request.node.add_report_section("teardown", "the guest's console", guest.log(30))
    guest.check()


@pytest.fixture
def load(guest):
    """Loads kernel modules as asked, and unloads them after the test."""
    loaded = []

    def modprobe(module: str, *options: str):
        guest.run(f"modprobe {module} {' '.join(options)} && udevadm settle")
        loaded.append(module)

    yield modprobe
    for module in reversed(loaded):
        guest.run(f"modprobe -r --wait 5000 {module}")


@pytest.fixture
def start(guest, load):
    """Starts programs in the guest as asked, and ends them after the test (before drivers are unloaded)."""
    tasks = []

    def start(command: str, name: str):
        tasks.append(guest.start(command, name))
        return tasks[-1]

    yield start
    for task in tasks:
        task.stop()


@pytest.fixture
def launch(request, guest, start):
    """Starts perch in the guest as asked, ends it after the test, and shows its log when it failed."""
    launched = []

    def launch(source: str, *args: str, **kinds) -> GuestPerch:
        launched.append(GuestPerch(guest, source, *args, **kinds))
        return launched[-1]

    yield launch
    for perch in launched:
        perch.stop()
        request.node.add_report_section("teardown", "log of perch", perch.log()[-6000:])


@pytest.fixture
def look(launch):
    """Opens streams of JPEG pictures, and closes them after the test."""
    viewers = []

    def look(perch: GuestPerch) -> JpegViewer:
        viewers.append(JpegViewer(perch.url))
        return viewers[-1]

    yield look
    for viewer in viewers:
        viewer.close()


@pytest.fixture
def plug(guest, load, start):
    """Plugs a camera into a port, and waits until the system has a node for it; stopping it pulls it out."""
    load("vhci_hcd")
    load("uvcvideo")
    count = 0

    def plug(port: int, kind: int):
        nonlocal count
        count += 1
        fourcc, recording = WEBCAM_KINDS[kind]
        camera = start(f"/share/usbcam {port} {fourcc} /tmp/recordings/{recording}", f"usbcam-{count}")
        guest.run("i=0; until ls /dev/video* >/dev/null 2>&1; do i=$((i + 1)); [ $i -gt 500 ] && exit 1; usleep 20000; done")
        return camera

    return plug
