"""The machine, as its owner sees it from afar."""

import subprocess

import pytest
import requests
from locked import REQUIRED, claim, post, token
from perch_process import Perch, free_port, perch_binary

WIFI, CREDENTIAL, CAMERA = "correct horse battery", "well hidden here", "heron-at-dusk"
SECRETS = f"""
[device]
hostname = "garden"
[[device.wifi]]
ssid = "home"
password = "{WIFI}"
[[webrtc.ice_servers]]
urls = ["turn:127.0.0.1:1"]
username = "me"
credential = "{CREDENTIAL}"
"""


@pytest.fixture(scope="module")
def perch():
    with Perch() as perch:
        yield perch


def test_the_machine_tells_how_it_is(perch):
    requests.get(perch.url + "/snapshot.jpg", timeout=15)
    system = requests.get(perch.url + "/api/system", timeout=5).json()
    assert system["version"] and system["kernel"] and system["uptime_s"] > 0
    for space in (system["memory"], system["disk"]):
        assert 0 < space["available_bytes"] <= space["total_bytes"]
    assert {"board", "temperature_c", "throttled", "load", "hostname", "system", "network", "addresses"} <= set(system)
    camera = system["cameras"][0]
    assert (camera["name"], camera["state"]) == ("main", "live") and "test" in camera["source"]
    assert requests.get(perch.url + "/system", timeout=5).headers["Content-Type"].startswith("text/html")


@pytest.mark.parametrize("wish", ["reboot", "factory-reset"])
def test_elsewhere_than_on_the_appliance_nothing_is_started_again(perch, wish):
    refused = requests.post(f"{perch.url}/api/system/{wish}", timeout=5)
    assert refused.status_code == 409 and "by its own means" in refused.json()["error"]
    assert requests.get(perch.url + "/api/system", timeout=5).json()["can_restart"] is False


@pytest.mark.parametrize("wish", ["reboot", "factory-reset"])
def test_on_the_appliance_a_wish_is_a_file(tmp_path, wish):
    with Perch("--wishes", str(tmp_path)) as perch:
        assert requests.get(perch.url + "/api/system", timeout=5).json()["can_restart"] is True
        assert requests.post(f"{perch.url}/api/system/{wish}", timeout=5).status_code == 202
        assert [file.name for file in tmp_path.iterdir()] == [wish]
        # Nobody looks there any more.
        (tmp_path / wish).unlink()
        tmp_path.rmdir()
        failed = requests.post(f"{perch.url}/api/system/{wish}", timeout=5)
        assert failed.status_code == 500 and str(tmp_path) not in failed.text
        assert "NotFound" not in failed.text and "No such file" in perch.log()


def test_only_the_owner_may_and_no_other_sites_page(tmp_path):
    wishes = tmp_path / "wishes"
    wishes.mkdir()
    with Perch("--wishes", str(wishes), config=REQUIRED) as perch:
        owner = claim(perch.url)
        for path in ("/api/system/reboot", "/api/system/factory-reset"):
            for headers in ({}, token(perch.url, owner, "control"), {"Origin": "http://evil.example"}):
                session = owner if "Origin" in headers else requests
                assert session.post(perch.url + path, headers=headers, timeout=5).status_code in (401, 403), (path, headers)
        assert not list(wishes.iterdir())
        assert post(perch.url, "/api/system/reboot", {}, owner).status_code == 202


def test_no_secret_is_in_the_support_bundle(tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    port = free_port()
    tls = f'tls.listen = "127.0.0.1:{port}"\ntls.redirect = false\n'
    source = f"http://me:{CAMERA}@127.0.0.1:{free_port()}/"
    with Perch("--log", "debug", config=REQUIRED + tls + SECRETS, source=source) as perch:
        owner = claim(perch.url)
        program = token(perch.url, owner, "view")["Authorization"].removeprefix("Bearer ")
        answer = owner.get(perch.url + "/api/support-bundle", timeout=30)
        assert answer.status_code == 200 and "attachment" in answer.headers["Content-Disposition"]
        config = tmp_path / "perch.toml"
        config.write_text(SECRETS)
        printed = subprocess.run(
            [perch_binary(), "support-bundle", "--config", config, "--source", source], capture_output=True, text=True, timeout=60
        )
        assert printed.returncode == 0, printed.stderr
        key = (tmp_path / "state/tls.json").read_text()
        kept = [value for value in key.replace("\\n", "\n").split('"') if len(value) > 40]
        assert kept
        for text in (answer.text, printed.stdout):
            for title in ("machine", "settings", "cameras", "state, without content", "log of perch", "log of the kernel"):
                assert f"\n== {title}\n" in text, title
            assert "auth.json" in text and "tls.json" in text and 'hostname = "garden"' in text
            for secret in (WIFI, CREDENTIAL, CAMERA, program, owner.cookies["perch_session"], "$argon2id$", "PRIVATE KEY", *kept):
                assert secret not in text, secret
