"""The appliance with a radio and no cable: its access point, a phone that chooses a network in it, and what happens to that.

One story on one card. The radios are the kernel's own stand-ins (see air.py); wpa_supplicant, networkd, `perch network` in
its unit, and the page are those of the image.
"""

import json
import os
import re
from pathlib import Path

import air
import pytest
from appliance import Card
from page_view import PHONE
from perch_process import wait_until

pytestmark = pytest.mark.timeout(3600)

HOME, PASSWORD = "home", "correct horse"
# In the browser: an emulated processor serves the page, by an emulated radio.
SLOW = 300


def status(machine) -> dict:
    """What `perch network` says."""
    code, text = machine.ask("cat /run/perch-network/wifi.json")
    return json.loads(text) if code == 0 and text else {}


def wait_for(machine, phase: str, within: float = SLOW) -> dict:
    return wait_until(lambda: (said := status(machine)).get("phase") == phase and said, within, f"the network is {phase}; console:\n{machine.log()}", every=1)


def address(machine) -> str:
    found = re.search(r"inet ([\d.]+)", machine.run("ip address show dev wlan0"))
    return found[1] if found else ""


@pytest.fixture(scope="module")
def card(image, folder):
    return Card(image, folder / "wifi.img")


@pytest.fixture
def appliance(card, switch_on, progress):
    """The machine with its radio, and those around it. Nobody but them is in the air."""
    machine = switch_on(card, has_cable=False, parts=air.disk(Path(os.environ["PERCH_RADIOS"])))
    router, phone = air.radios(machine)
    progress("started without a cable; the radios are there")
    return machine, router, phone


def test_a_phone_in_the_access_point_chooses_the_network(appliance, watch, progress):
    machine, router, phone = appliance
    router.open(HOME, PASSWORD)
    said = wait_for(machine, "access_point")
    own = said["access_point"]
    assert re.fullmatch(r"perch-[0-9a-f]{4}", own["ssid"])
    wait_until(lambda: address(machine) == air.PAGE, SLOW, "the access point has its address", every=1)
    progress(f"the access point {own['ssid']} is open")

    phone.enter(own["ssid"], own["password"])
    assert phone.address().startswith("10.83.0."), "networkd gave it"
    assert air.PAGE in phone.run(f"busybox nslookup captive.apple.com {air.PAGE}"), "every name leads to the camera"
    wait_until(lambda: phone.ask(f"busybox wget -q -O /dev/null http://{air.PAGE}/healthz")[0] == 0, SLOW, "the page is served", every=1)
    progress("the phone is in it: WPA2, DHCP, DNS, HTTP")

    phone.lead_out()
    machine.plug("on")
    view = watch(machine.http + "/", viewport=PHONE)
    view.wait("location.pathname === '/wifi' && document.getElementById('form')?.hidden === false", SLOW)
    view.page.get_by_label(HOME).check()
    view.page.get_by_label("Its password").fill("wrong horse")
    view.page.get_by_role("button", name="Connect").click()
    wait_for(machine, "trying")
    said = wait_for(machine, "access_point")
    assert said["result"] == {"ssid": HOME, "problem": "wrong_password"}
    phone.enter(own["ssid"], own["password"])
    view.wait(f"document.getElementById('result')?.textContent.includes('{HOME} was not joined: the password is wrong')", SLOW)
    progress("a wrong password: it is told so on the page, in the access point that is open again")

    view.page.get_by_label("Its password").fill(PASSWORD)
    view.page.get_by_role("button", name="Connect").click()
    said = wait_for(machine, "online")
    assert said["ssid"] == HOME and said["result"] == {"ssid": HOME, "problem": None}
    at = address(machine)
    assert at.startswith("192.168.77."), "the router gave it"
    router.run(f"busybox wget -q -O /dev/null http://{at}/healthz")
    progress("the right one: it has joined the network, and serves its page there")


def test_the_network_is_known_after_the_next_start_and_its_loss_opens_the_access_point(appliance, progress):
    machine, router, _ = appliance
    router.open(HOME, PASSWORD)
    said = wait_for(machine, "online")
    assert said["ssid"] == HOME and said["result"] is None
    progress("the next start: the network is joined")

    router.leave()
    wait_for(machine, "searching")
    wait_for(machine, "access_point", 300 + SLOW)
    progress("the router is gone, and after five minutes the access point is open")
    router.open(HOME, PASSWORD)
    wait_for(machine, "online", 300 + SLOW)
    progress("the router is back: nobody was in the access point, and the network is joined again")
