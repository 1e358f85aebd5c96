"""`scripts/flash` on a loop device that stands for a card: what it refuses, and what it writes."""

import os
import shutil
import subprocess

import pytest
from perch_process import ROOT

MIB = 1 << 20


class Slot:
    """A block device, and what the kernel says about it: a copy, in which a test may change words."""

    def __init__(self, folder, size: int):
        self.backing = folder / "card"
        self.backing.write_bytes(b"\xff" * size)
        made = subprocess.run(["losetup", "--find", "--show", self.backing], capture_output=True, text=True)
        if made.returncode != 0:
            pytest.skip(f"no loop device: {made.stderr.strip()}")
        self.device = made.stdout.strip()
        self.sys = folder / "sys"
        self.about = self.sys / "class/block" / self.device.rpartition("/")[2]
        self.about.mkdir(parents=True)
        number = os.stat(self.device).st_rdev
        words = {"removable": 1, "ro": 0, "size": size // 512, "dev": f"{os.major(number)}:{os.minor(number)}"}
        for name, word in words.items():
            (self.about / name).write_text(f"{word}\n")

    def close(self):
        subprocess.run(["losetup", "--detach", self.device], check=True)

    def flash(self, image, *, device=None, options=("--yes",), path=None) -> subprocess.CompletedProcess:
        environment = os.environ | {"PERCH_SYS": str(self.sys)} | ({"PATH": path} if path else {})
        command = [ROOT / "scripts/flash", *options, image, device or self.device]
        return subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)


@pytest.fixture
def slot(tmp_path):
    if os.geteuid() != 0 or not shutil.which("losetup"):
        pytest.skip("loop devices are for root")
    slot = Slot(tmp_path, 8 * MIB)
    yield slot
    slot.close()


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "perch-debian.img"
    path.write_bytes(os.urandom(5 * MIB + 512))
    return path


def test_the_image_is_on_the_card_and_nothing_else_changes(slot, image):
    done = slot.flash(image)
    assert done.returncode == 0, done.stderr
    written = slot.backing.read_bytes()
    assert written[: 5 * MIB + 512] == image.read_bytes() and set(written[5 * MIB + 512 :]) == {255}


def test_a_packed_image_is_unpacked(slot, image):
    if not shutil.which("zstd"):
        pytest.skip("no zstd")
    subprocess.run(["zstd", "-q", image], check=True)
    done = slot.flash(f"{image}.zst")
    assert done.returncode == 0, done.stderr
    assert slot.backing.read_bytes()[: 5 * MIB + 512] == image.read_bytes()


@pytest.mark.parametrize(
    ("name", "word", "problem"),
    [
        ("removable", "0", "cannot be taken out"),
        ("ro", "1", "write-protected"),
        ("size", "8192", "has 4 MB, and the image needs 5 MB"),
        ("partition", "1", "part of a disk"),
        ("dev", "ROOT", "is mounted on"),
    ],
)
def test_what_is_no_card_is_refused(slot, image, name, word, problem):
    if word == "ROOT":
        # As if it were something that is mounted here.
        word = next(line.split()[2] for line in open("/proc/self/mountinfo"))
    (slot.about / name).write_text(word + "\n")
    done = slot.flash(image)
    assert done.returncode == 1 and problem in done.stderr, done
    assert set(slot.backing.read_bytes()) == {255}, "nothing was written"


def test_nothing_is_written_without_a_yes(slot, image):
    assert "nobody is there to be asked" in slot.flash(image, options=()).stderr
    assert "no disk" in slot.flash(image, device=str(image)).stderr
    assert set(slot.backing.read_bytes()) == {255}


def test_a_card_that_does_not_keep_what_was_written_is_told(slot, image, tmp_path):
    """`cmp` sees another byte."""
    bad = tmp_path / "bin"
    bad.mkdir()
    (bad / "dd").write_text("#!/bin/sh\nexec /usr/bin/env -i PATH=/usr/bin:/bin dd \"$@\" skip=1 2>/dev/null\n")
    (bad / "dd").chmod(0o755)
    done = slot.flash(image, path=f"{bad}:{os.environ['PATH']}")
    assert done.returncode == 1 and "use another card" in done.stderr, done
