"""The appliance's Wi-Fi: `perch network` with a stand-in for the radio, and the routes by which it is asked."""

import json
import os
import re
import shutil
import socket
import stat
import struct
import threading

import pytest
import requests
from locked import OWNER, REQUIRED, ask, claim, post, token
from perch_process import Perch, wait_until
from supplicant import Machine

AIR = {"home": "correct horse", "café": "", "other": "battery staple"}
HOME = '[[wifi]]\nssid = "home"\npassword = "correct horse"\n'


def wish(ssid: str, password: str) -> str:
    return json.dumps({"ssid": ssid, "password": password})


# ---- perch network


def test_without_a_network_the_access_point_opens_and_the_screen_tells_its_password():
    with Machine(AIR) as machine:
        status = machine.wait_for("access_point")
        own = status["access_point"]
        assert own["ssid"] == "perch-3456" and re.fullmatch(r"[a-z2-9]{4}-[a-z2-9]{4}-[a-z2-9]{4}", own["password"])
        assert [network["ssid"] for network in status["networks"]] == ["home", "café", "other"]
        radio = machine.supplicant
        assert radio.mode() == "ap" and radio.offered() == [("perch-3456", own["password"])]
        settings = radio.networks[0]
        assert (settings["key_mgmt"], settings["proto"], settings["pairwise"]) == ("WPA-PSK", "RSN", "CCMP")
        wait_until(lambda: own["password"] in machine.screen() and "perch-3456" in machine.screen(), 20, "the screen tells")
        assert own["password"] not in machine.log()
        # It is the same after the next start, and nobody else reads where it is kept.
        assert stat.S_IMODE(os.stat(machine.base / "kept/wifi.json").st_mode) == 0o600
        machine.stop()
        machine.status_file.unlink()
        machine.start()
        assert machine.wait_for("access_point")["access_point"]["password"] == own["password"]


def test_a_password_from_the_card_is_the_access_points():
    with Machine(AIR, 'setup_password = "at the old mill"\ncountry = "DE"\n') as machine:
        machine.wait_for("access_point")
        assert machine.supplicant.offered() == [("perch-3456", "at the old mill")]
        assert "SET country DE" in machine.supplicant.asked


def test_a_network_that_is_asked_for_is_tried_and_kept():
    with Machine(AIR) as machine:
        machine.wait_for("access_point")
        machine.wish(wish("home", "wrong horse"))
        status = machine.wait_until(lambda status: status["result"], 30, "it was tried")
        assert status["result"] == {"ssid": "home", "problem": "wrong_password"}
        machine.wait_for("access_point")
        assert "home" not in machine.kept()

        machine.wish(wish("home", 'correct horse"'))
        asked = 'SET_NETWORK 0 psk "correct horse""'
        wait_until(lambda: asked in machine.supplicant.asked, 30, "it is tried with the password as it is")
        machine.wait_for("access_point")

        machine.wish(wish("home", AIR["home"]))
        status = machine.wait_for("online")
        assert status["ssid"] == "home" and status["result"] == {"ssid": "home", "problem": None}
        wait_until(lambda: "http://perch.local/" in machine.screen(), 20, "the screen tells where it is")
        assert not list(machine.wishes.iterdir()) and AIR["home"] not in machine.log()

        # At the next start it is known.
        machine.stop()
        machine.status_file.unlink()
        machine.start()
        assert machine.wait_for("online")["ssid"] == "home"


def test_a_known_network_is_joined_and_looked_for_again_when_it_is_lost():
    with Machine(AIR, HOME) as machine:
        assert machine.wait_for("online")["ssid"] == "home"
        machine.supplicant.joined = None
        del machine.supplicant.air["home"]
        machine.wait_for("searching")
        machine.wait_for("access_point", 60)
        # Nobody is in it, and the network is back.
        machine.supplicant.air["home"] = AIR["home"]
        assert machine.wait_for("online", 60)["ssid"] == "home"


def test_a_cable_closes_the_access_point_and_a_radio_that_is_gone_is_found_again():
    with Machine(AIR) as machine:
        machine.wait_for("access_point")
        machine.cable(True)
        machine.wait_for("online")
        wait_until(lambda: machine.supplicant.mode() == "station", 20, "the radio is a station")
        machine.cable(False)
        machine.wait_for("access_point", 60)
        # wpa_supplicant begins anew, and knows nothing.
        air, path = machine.supplicant, machine.base / "control/wlan0"
        air.close()
        machine.wait_until(lambda status: status["access_point"] is None, 30, "the radio is gone")
        machine.supplicant = type(air)(path, AIR)
        machine.wait_for("access_point")
        wait_until(lambda: machine.supplicant.mode() == "ap", 30, "the access point is there again")


def test_an_ipv6_address_is_one_too():
    with Machine(AIR, HOME) as machine:
        machine.supplicant.gives_address = False
        line = "{:0>32} 03 40 {} 80 {:>8}\n"
        (machine.base / "proc/net/if_inet6").write_text(line.format("fe80", "20", "wlan0") + line.format("2001", "00", "eth0"))
        machine.wait_for("access_point")
    with Machine(AIR, HOME) as machine:
        machine.supplicant.gives_address = False
        (machine.base / "proc/net/if_inet6").write_text(line.format("20010db8", "00", "wlan0"))
        machine.wait_for("online")


def test_a_wish_that_is_none_is_dropped():
    with Machine(AIR) as machine:
        machine.wait_for("access_point")
        secret = machine.base / "secret"
        secret.write_text(wish("home", AIR["home"]))
        for text in ["", "{}", wish("home", "short"), wish("", ""), wish("x" * 33, ""), wish("home", "new\nline here")]:
            machine.wish(text)
            wait_until(lambda: not (machine.wishes / "wifi").exists(), 20, f"{text!r} is taken away")
        (machine.wishes / "wifi").symlink_to(secret)
        # A link is left alone, and one that is right takes its place.
        machine.wish(wish("café", ""))
        machine.wait_for("online")
        assert not any(b"home".hex() in command for command in machine.supplicant.asked)


def test_the_access_point_keeps_its_name_though_the_adapter_is_pulled_out_that_has_its_digits():
    with Machine(AIR) as machine:
        assert machine.wait_for("access_point")["access_point"]["ssid"] == "perch-3456"
        shutil.rmtree(machine.base / "sys/class/net/eth0")
        machine.wish(wish("home", "wrong horse"))
        machine.wait_until(lambda status: status["result"], 30, "it was tried")
        assert machine.wait_for("access_point")["access_point"]["ssid"] == "perch-3456"
        assert machine.supplicant.networks[0]["ssid"] == "perch-3456".encode().hex()


def test_another_network_is_joined_without_leaving_it_again_and_the_first_one_stays_known():
    with Machine(AIR, HOME) as machine:
        assert machine.wait_for("online")["ssid"] == "home"
        machine.wish(wish("other", AIR["other"]))
        machine.wait_until(lambda status: status["result"] == {"ssid": "other", "problem": None}, 30, "it was joined")
        radio = machine.supplicant
        assert radio.offered() == [("other", AIR["other"]), ("home", AIR["home"])]
        tried = radio.asked.index(f'SET_NETWORK 0 psk "{AIR["other"]}"')
        assert "REMOVE_NETWORK all" not in radio.asked[tried:]


def test_a_wish_that_would_be_waited_for_is_left_alone():
    with Machine(AIR) as machine:
        machine.wait_for("access_point")
        os.mkfifo(machine.wishes / "wifi")
        machine.cable(True)
        machine.wait_for("online")


def test_without_a_radio_that_is_said_once_and_the_rest_goes_on():
    other = Other("perch.local", "203.0.113.9")
    try:
        with Machine(AIR, mdns=other.port, has_radio=False) as machine:
            assert machine.wait_for("searching")["access_point"] is None
            machine.cable(True)
            machine.wait_for("online")
            wait_until(lambda: machine.hostname_file.read_text().strip() == "perch-3456", 30, "the name is looked after")
            wait_until(lambda: "there is no Wi-Fi" in machine.log(), 30, "it is said")
            machine.cable(False)
            machine.wait_for("searching")
            assert machine.log().count("Wi-Fi") == 1, machine.log()
    finally:
        other.close()


def query(name: str, kind: int = 1) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">6H", 0x1234, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", kind, 1)


def test_in_the_access_point_every_name_leads_to_the_camera_and_elsewhere_none_does():
    with Machine(AIR) as machine, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        machine.wait_for("access_point")
        client.settimeout(0.5)

        def answer() -> bytes | None:
            client.sendto(query("connectivitycheck.example"), ("127.0.0.1", machine.dns_port))
            try:
                return client.recv(512)
            except OSError:
                return None

        assert wait_until(answer, 20, "the name is answered")[-4:] == bytes([127, 0, 0, 1])
        machine.cable(True)
        machine.wait_for("online")
        wait_until(lambda: answer() is None, 20, "nothing is answered any more")


# ---- the machine's name


class Other:
    """Another machine that has this name, at these addresses, asked on loopback instead of the group."""

    def __init__(self, name: str, address: str):
        self.name, self.address = name, address
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.asked = 0
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while True:
            try:
                data, who = self.socket.recvfrom(1500)
            except OSError:
                return
            if not data:
                return
            self.asked += 1
            record = query(self.name)[12:] + struct.pack(">IH", 120, 4) + socket.inet_aton(self.address)
            self.socket.sendto(struct.pack(">6H", 0, 0x8400, 0, 1, 0, 0) + record, who)

    def close(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", self.port))
        self.thread.join(20)
        self.socket.close()


@pytest.mark.parametrize(("name", "address", "expected"), [
    ("Perch.local", "203.0.113.9", "perch-3456"),
    ("perch.local", "127.0.0.1", "perch"),  # our own answer
    ("garden.local", "203.0.113.9", "perch"),
])  # fmt: skip
def test_the_machine_has_its_other_name_where_somebody_has_the_first(name, address, expected):
    other = Other(name, address)
    try:
        with Machine(AIR, mdns=other.port) as machine:
            machine.cable(True)
            wait_until(lambda: other.asked >= (1 if expected != "perch" else 2), 30, "the name was asked for")
            wait_until(lambda: machine.hostname_file.read_text().strip() == expected, 20, f"it is {expected}")
            if expected != "perch":
                assert "another machine is perch.local already" in machine.log()
                wait_until(lambda: "http://perch-3456.local/" in machine.screen(), 20, "the screen tells the other name")
    finally:
        other.close()


def test_a_name_that_nobody_answers_for_is_told_to_the_system_anew():
    silent = Other("garden.local", "203.0.113.9")
    try:
        with Machine(AIR, mdns=silent.port) as machine:
            # resolved looks again when the name is written, whatever it is.
            os.utime(machine.hostname_file, (0, 0))
            machine.cable(True)
            wait_until(lambda: machine.hostname_file.stat().st_mtime > 0, 30, "it is told anew")
            assert machine.hostname_file.read_text().strip() == "perch"
    finally:
        silent.close()


# ---- the routes


def said(phase: str, network=("127.0.0.1", 24), page: str = "http://10.83.0.1/", **more) -> str:
    own = {"ssid": "perch-3456", "password": "abcd-efgh-jkmn", "url": page, "network": network}
    networks = [{"ssid": "home", "signal_dbm": -40, "is_protected": True}]
    return json.dumps({"phase": phase, "ssid": None, "networks": networks, "result": None, "access_point": own} | more)


class Spot:
    """A locked perch on an appliance whose Wi-Fi is as `say` tells."""

    def __init__(self, launch, tmp_path, monkeypatch, config: str = REQUIRED):
        monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
        self.wishes, self.file = tmp_path / "wishes", tmp_path / "wifi.json"
        self.wishes.mkdir()
        self.say(said("access_point"))
        self.perch = launch("--wishes", str(self.wishes), "--wifi", str(self.file), config=config)
        self.url = self.perch.url

    def say(self, text: str):
        self.file.write_text(text)

    def get(self, path: str, session=requests, **headers: str) -> requests.Response:
        return session.get(self.url + path, headers=headers, timeout=10, allow_redirects=False)

    def wait_for(self, status: int, session=requests):
        wait_until(lambda: self.get("/api/wifi", session).status_code == status, 20, f"/api/wifi answers {status}")


@pytest.fixture
def spot(launch, tmp_path, monkeypatch):
    return Spot(launch, tmp_path, monkeypatch)


def test_in_the_access_point_of_a_camera_without_an_owner_a_network_is_chosen(spot):
    assert spot.get("/", Accept="text/html").headers["Location"] == "/wifi"
    page = spot.get("/wifi")
    assert page.status_code == 200 and "Choose a Wi-Fi" in page.text
    for path in re.findall(r'(?:href|src)="(static/[^"]+)"', page.text):
        assert spot.get(f"/{path}").status_code == 200, path
    seen = spot.get("/api/wifi").json()
    assert seen["phase"] == "access_point" and seen["networks"][0]["ssid"] == "home"
    assert seen["access_point"] == {"ssid": "perch-3456"}, "its password is for the owner"
    assert post(spot.url, "/api/wifi", {"ssid": "home", "password": "short"}).status_code == 422
    assert post(spot.url, "/api/wifi", {"ssid": "home", "password": "***"}).status_code == 422
    assert requests.post(spot.url + "/api/wifi", data="ssid=home", timeout=10).status_code == 415
    assert post(spot.url, "/api/wifi", {"name": "home"}).status_code == 400
    assert ask(spot.url, "POST", "/api/wifi", Origin="http://evil.example") == 403
    assert not list(spot.wishes.iterdir())
    assert post(spot.url, "/api/wifi", {"ssid": "home", "password": "correct horse"}).status_code == 202
    left = spot.wishes / "wifi"
    assert json.loads(left.read_text()) == {"ssid": "home", "password": "correct horse"}
    assert stat.S_IMODE(left.stat().st_mode) == 0o640
    spot.say(said("trying"))
    # From now on nobody is in it.
    spot.wait_for(403)
    assert ask(spot.url, "POST", "/api/wifi") == 403
    assert "correct horse" not in spot.perch.log()


def test_nothing_else_is_open_there_and_nobody_else_is_let_in(spot):
    for path in ("/api/status", "/snapshot.jpg", "/api/system", "/static/player.js"):
        assert spot.get(path).status_code == 403, path
    spot.say(said("access_point", network=("10.83.0.1", 24)))
    spot.wait_for(403)
    assert spot.get("/", Accept="text/html").headers["Location"] == "/claim"
    for nonsense in ("", "{", "[]", '{"phase": "open"}'):
        spot.say(nonsense)
        spot.wait_for(403)
    spot.say(said("access_point"))
    spot.wait_for(200)


def test_with_an_owner_it_takes_the_owner(spot):
    owner = claim(spot.url)
    assert spot.get("/api/wifi").status_code == 401
    assert post(spot.url, "/api/wifi", {"ssid": "home"}).status_code == 401
    program = requests.Session()
    program.headers.update(token(spot.url, owner, "control"))
    assert spot.get("/api/wifi", program).status_code == 403
    seen = spot.get("/api/wifi", owner).json()
    assert seen["access_point"]["password"] == "abcd-efgh-jkmn"
    assert spot.get("/api/system", owner).json()["has_wifi"] is True
    # From elsewhere too, while one is not tried already.
    spot.say(said("trying", network=("10.83.0.1", 24)))
    wait_until(lambda: spot.get("/api/wifi", owner).json()["phase"] == "trying", 20, "another is tried")
    assert post(spot.url, "/api/wifi", {"ssid": "home", "password": "correct horse"}, owner).status_code == 409
    spot.say(said("online", network=("10.83.0.1", 24)))
    wait_until(lambda: spot.get("/api/wifi", owner).json()["phase"] == "online", 20, "it is online")
    assert post(spot.url, "/api/wifi", {"ssid": "open"}, owner).status_code == 202
    spot.say("{}")
    wait_until(lambda: spot.get("/api/system", owner).json()["has_wifi"] is False, 20, "there is no Wi-Fi")
    assert post(spot.url, "/api/wifi", {"ssid": "open"}, owner).status_code == 503


PROBES = [
    ("connectivitycheck.gstatic.com", "/generate_204"),
    ("captive.apple.com", "/hotspot-detect.html"),
    ("www.msftconnecttest.com", "/connecttest.txt"),
    ("www.msftncsi.com", "/ncsi.txt"),
    ("detectportal.firefox.com", "/canonical.html"),
]


def test_phones_that_look_for_the_internet_are_led_to_the_page(spot):
    for host, path in PROBES:
        led = spot.get(path, Host=host)
        assert (led.status_code, led.headers["Location"]) == (302, "http://10.83.0.1/wifi"), host
    assert requests.post(spot.url + "/", headers={"Host": "evil.example"}, timeout=10).status_code == 421
    spot.say(said("online"))
    spot.wait_for(403)
    for host, path in PROBES:
        assert spot.get(path, Host=host).status_code == 421, "elsewhere that is rebinding"


def test_choosing_a_network_gives_time_to_claim(launch, tmp_path, monkeypatch):
    spot = Spot(launch, tmp_path, monkeypatch, REQUIRED + "claim_window_s = 1\n")
    wait_until(lambda: post(spot.url, "/api/claim", {"password": "weak"}).status_code == 403, 20, "the time is over")

    def choose_and_claim() -> bool:
        assert post(spot.url, "/api/wifi", {"ssid": "home", "password": "correct horse"}).status_code == 202
        return post(spot.url, "/api/claim", {"password": OWNER}).status_code == 200

    wait_until(choose_and_claim, 30, "there is time again")


def test_over_http_in_the_access_point_and_over_https_elsewhere(launch, tmp_path, monkeypatch):
    spot = Spot(launch, tmp_path, monkeypatch, REQUIRED + 'tls.listen = "127.0.0.1:0"\n')
    assert spot.get("/wifi").status_code == 200
    spot.say(said("online"))
    wait_until(lambda: spot.get("/wifi").status_code == 307, 20, "HTTP leads to HTTPS")


def test_elsewhere_than_on_the_appliance_there_is_no_wifi_to_choose():
    with Perch() as perch:
        assert requests.get(perch.url + "/wifi", timeout=10).status_code == 404
        assert requests.get(perch.url + "/api/wifi", timeout=10).status_code == 404
        assert post(perch.url, "/api/wifi", {"ssid": "home"}).status_code == 404
        assert requests.get(perch.url + "/api/system", timeout=10).json()["has_wifi"] is False
