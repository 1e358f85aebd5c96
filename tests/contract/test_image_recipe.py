"""The image's recipe, as far as it can be looked at without making an image."""

import base64
import configparser
import functools
import hashlib
import http.server
import io
import json
import os
import re
import subprocess
import tarfile
import threading
from pathlib import Path

import pytest
from perch_process import ROOT, free_port

IMAGE = ROOT / "image"
OVERLAY = IMAGE / "overlay"
BOARDS = sorted(folder.name for folder in (IMAGE / "boards").iterdir())
# Of Raspberry Pi Imager's own schema and notes: what an entry must have, and what Imager's list of machines calls them.
REQUIRED = {"name", "description", "icon", "url", "extract_size", "extract_sha256", "image_download_size", "release_date", "devices"}
DEVICES = {"pi3-64bit", "pi4-64bit", "pi5-64bit"}


def unit(path: str) -> configparser.ConfigParser:
    """systemd's files, of which a key may stand several times: the last one counts here."""
    parser = configparser.ConfigParser(strict=False, delimiters=("=",), comment_prefixes=("#",), interpolation=None)
    parser.optionxform = str
    parser.read(OVERLAY / path)
    return parser


@pytest.mark.parametrize("board", BOARDS)
def test_imager_is_told_what_is_in_the_file(board, tmp_path):
    image, compressed = tmp_path / "perch.img", tmp_path / "perch.img.zst"
    image.write_bytes(b"image" * 1000)
    compressed.write_bytes(b"compressed")
    command = [IMAGE / "imager", IMAGE / "boards" / board, image, compressed, "https://example.org/perch.img.zst"]
    environment = os.environ | {"SOURCE_DATE_EPOCH": "1764115200"}
    told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)
    assert list(told) == ["os_list"]
    [entry] = told["os_list"]
    assert REQUIRED <= set(entry) and set(entry["devices"]) <= DEVICES and entry["devices"]
    assert (entry["extract_size"], entry["image_download_size"]) == (5000, 10)
    assert entry["extract_sha256"] == hashlib.sha256(image.read_bytes()).hexdigest()
    assert entry["image_download_sha256"] == hashlib.sha256(b"compressed").hexdigest()
    assert (entry["url"], entry["release_date"]) == ("https://example.org/perch.img.zst", "2025-11-26")
    assert (entry["init_format"], entry["architecture"]) == ("none", "armv8")
    kind, _, icon = entry["icon"].partition(";base64,")
    assert kind == "data:image/svg+xml" and base64.b64decode(icon) == (ROOT / "web/static/icon.svg").read_bytes()


def test_the_radio_is_told_apart_by_what_it_is():
    """networkd takes the first file that fits: the access point's before the station's, which says nothing of its kind."""
    files = sorted(path.name for path in (OVERLAY / "etc/systemd/network").iterdir())
    own, station = "15-access-point.network", "20-wlan.network"
    assert files.index(own) < files.index(station)
    match = unit(f"etc/systemd/network/{own}")
    assert dict(match["Match"]) == {"Type": "wlan", "WLANInterfaceType": "ap"} and match["Network"]["DHCPServer"] == "yes"
    # networkd's DHCP server waits for its storage otherwise, and that is never made ready here.
    assert "systemd-networkd-persistent-storage.service" in (IMAGE / "masked").read_text().split()
    assert match["DHCPServer"]["PersistLeases"] == "no"
    for kind in ("ether", "wlan"):
        network = unit(f"etc/systemd/network/20-{kind}.network")["Network"]
        assert (network["DHCP"], network["MulticastDNS"]) == ("yes", "yes")


def test_the_camera_is_found_by_name_and_by_kind():
    assert (OVERLAY / "etc/hostname").read_text().strip() == "perch"
    assert unit("etc/systemd/resolved.conf.d/perch.conf")["Resolve"]["MulticastDNS"] == "yes"
    services = {}
    for path in (OVERLAY / "etc/systemd/dnssd").iterdir():
        service = unit(f"etc/systemd/dnssd/{path.name}")["Service"]
        # resolved puts its own name of the machine in the place of %H, also when that has changed.
        assert "%H" in service["Name"]
        services[service["Type"]] = service["Port"]
    assert services == {"_http._tcp": "80", "_https._tcp": "443", "_perch._tcp": "80"}


def test_what_looks_after_the_network_and_perch_mean_the_same_files():
    perch = unit("etc/systemd/system/perch.service")["Service"]
    network = unit("etc/systemd/system/perch-network.service")
    service = network["Service"]
    flags = dict(re.findall(r"--(\w+) (\S+)", perch["ExecStart"]))
    assert flags["wifi"] == f"/run/{service['RuntimeDirectory']}/wifi.json"
    assert flags["wishes"] == f"/run/{perch['RuntimeDirectory']}"
    help_text = (ROOT / "src/network/mod.rs").read_text()
    for path in (flags["wishes"], f"/run/{service['RuntimeDirectory']}", "/run/perch/device.toml", "/data/settings"):
        assert f'default_value = "{path}"' in help_text, path
    # Each is in the other's group, and leaves to it what it is to read.
    assert (perch["RuntimeDirectoryMode"], perch["Group"], service["Group"]) == ("0770", "perch", "perch")
    # What it may write is there before it, and stays the same folder.
    assert service["ReadWritePaths"] == "-/run/perch-wishes -/data/settings" and perch["RuntimeDirectoryPreserve"] == "yes"
    assert service["UMask"] == "0027" and service["CapabilityBoundingSet"] == "CAP_NET_BIND_SERVICE"
    # The page comes first, and nothing waits for this.
    assert "perch.service" in network["Unit"]["After"] and "Before" not in network["Unit"]
    radio = unit("etc/systemd/system/perch-wifi.service")["Service"]
    config = (OVERLAY / "usr/share/perch/wpa_supplicant.conf").read_text()
    assert f"ctrl_interface=/run/{radio['RuntimeDirectory']}\n" in config
    assert "-c/usr/share/perch/wpa_supplicant.conf -iwlan0" in radio["ExecStart"]
    script = (ROOT / "scripts/image").read_text()
    for name in ("perch-network.service", "perch-wifi.service"):
        assert re.search(rf"systemctl --root.* enable [^&|]*{re.escape(name)}", script, re.S), name


def test_every_board_is_whole():
    for board in BOARDS:
        folder = IMAGE / "boards" / board
        for name in ("packages", "modules", "firmware", "config.txt", "imager.json"):
            assert (folder / name).is_file(), f"{board}/{name}"
        config = (folder / "config.txt").read_text()
        assert "kernel=kernel\n" in config and "initramfs initrd followkernel\n" in config
    words = (IMAGE / "cmdline.txt").read_text()
    assert "\n" not in words.strip() and "cma=128M" in words and "perch.slot=2" in words and "quiet" in words
    assert Path(IMAGE / "imager").stat().st_mode & 0o111


# ---- the key of a board's own archive


def openpgp(tag: int, body: bytes) -> bytes:
    """A packet with the old head that GnuPG writes."""
    return bytes([0x80 | tag << 2 | 1]) + len(body).to_bytes(2) + body


def public_key(words: bytes) -> tuple[bytes, str]:
    body = b"\4" + words
    return openpgp(6, body) + openpgp(13, b"name") + openpgp(2, b"signature"), hashlib.sha1(b"\x99" + len(body).to_bytes(2) + body).hexdigest()


def debian_package(ring: bytes) -> bytes:
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w:xz") as files:
        about = tarfile.TarInfo("./usr/share/keyrings/own.pgp")
        about.size = len(ring)
        files.addfile(about, io.BytesIO(ring))
    package = b"!<arch>\n"
    for name, content in (("debian-binary", b"2.0\n"), ("data.tar.xz", tar.getvalue())):
        package += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode() + content + b"\n" * (len(content) % 2)
    return package


@pytest.fixture
def archive(tmp_path):
    """An archive on loopback, as a folder."""
    folder = tmp_path / "archive"
    folder.mkdir()
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def keyring(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run([IMAGE / "keyring", *arguments], capture_output=True, text=True, timeout=120)


def test_of_an_archives_keys_the_known_one_is_taken_alone(archive, tmp_path):
    folder, url = archive
    (one, _), (two, fingerprint), (three, _) = (public_key(words) for words in (b"one", b"two", b"three"))
    (folder / "own.deb").write_bytes(debian_package(one + two + three))
    done = keyring(url, "own.deb", fingerprint.upper(), tmp_path / "key")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "key").read_bytes() == two


def test_an_archive_that_is_not_who_it_was_gives_nothing(archive, tmp_path):
    folder, url = archive
    (folder / "own.deb").write_bytes(debian_package(public_key(b"another")[0]))
    (folder / "broken.deb").write_bytes(b"<html>")
    fingerprint = public_key(b"own")[1]
    for package, words in (("own.deb", "nothing is taken from it"), ("broken.deb", "no Debian package"), ("none.deb", "cannot be reached")):
        done = keyring(url, package, fingerprint, tmp_path / "key")
        assert done.returncode == 1 and words in done.stderr, done.stderr
        assert not (tmp_path / "key").exists()


def test_an_archive_that_cannot_be_reached_is_told_with_what_to_do(tmp_path):
    settings = (IMAGE / "boards/raspberrypi/archive").read_text()
    name = re.search(r"archive=\$\{(\w+):-", settings)[1]
    script = f'. {IMAGE}/boards/raspberrypi/archive; exec {IMAGE}/keyring "$archive" "$archive_keyring" "$archive_key" "$1"'
    environment = os.environ | {name: f"http://127.0.0.1:{free_port()}"}
    command = ["sh", "-c", script, "sh", tmp_path / "key"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "cannot be reached" in done.stderr and f"name a mirror ({name})" in done.stderr
    assert not (tmp_path / "key").exists()
