"""The image's list of parts names the crates that are in perch, and no others."""

import json
import os
import shutil
import subprocess
import zlib
from pathlib import Path

import pytest

SBOM = Path(__file__).parents[2] / "image/sbom"
LOCK = """
[[package]]
name = "perch"
version = "0.1.0"

[[package]]
name = "tokio"
version = "1.2.3"
checksum = "abc"

[[package]]
name = "only-on-windows"
version = "9.0.0"
checksum = "def"
"""
INSIDE = [
    {"name": "perch", "version": "0.1.0", "source": "local", "root": True, "dependencies": [1]},
    {"name": "tokio", "version": "1.2.3", "source": "crates.io"},
    {"name": "cc", "version": "1.0.0", "source": "crates.io", "kind": "build"},
]
PACKAGES = """
Package: libc6
Version: 2.41-1
Architecture: arm64
SHA256: 0123
Description: a line
 and another: line
"""


@pytest.fixture
def program(tmp_path) -> Path:
    """A real program; what it says of itself is added by `add_section`."""
    return Path(shutil.copy("/bin/true", tmp_path / "perch"))


def sbom(tmp_path: Path, program: Path):
    (tmp_path / "Cargo.lock").write_text(LOCK)
    (tmp_path / "packages").write_text(PACKAGES)
    command = [SBOM, program, tmp_path / "Cargo.lock", tmp_path / "packages"]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, env=os.environ | {"SOURCE_DATE_EPOCH": "86400"})


def test_what_the_binary_names_and_debian_unpacked_is_listed(tmp_path, program):
    (tmp_path / "dep").write_bytes(zlib.compress(json.dumps({"packages": INSIDE}).encode()))
    subprocess.run(["objcopy", "--add-section", f".dep-v0={tmp_path}/dep", program], check=True, timeout=30)
    done = sbom(tmp_path, program)
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert made["metadata"]["timestamp"] == "1970-01-02T00:00:00Z"
    parts = {part["purl"]: part.get("hashes") for part in made["components"]}
    assert parts == {
        "pkg:cargo/perch@0.1.0": None,
        "pkg:cargo/tokio@1.2.3": [{"alg": "SHA-256", "content": "abc"}],
        "pkg:deb/debian/libc6@2.41-1?arch=arm64": [{"alg": "SHA-256", "content": "0123"}],
    }


def test_a_binary_that_does_not_say_is_refused_with_what_to_do(tmp_path, program):
    done = sbom(tmp_path, program)
    assert done.returncode == 1
    assert "scripts/cross-build" in done.stderr and "Traceback" not in done.stderr
