"""The page on which Wi-Fi is chosen, on a phone in the access point of a new camera; the radio is a stand-in."""

import json

import pytest
import requests
from page_view import PHONE
from perch_process import free_port, wait_until
from supplicant import Machine

pytestmark = pytest.mark.timeout(120)

OWNER = "a heron at dusk"
AIR = {"home": "correct horse", "café": ""}


@pytest.fixture
def appliance(launch, tmp_path, monkeypatch):
    """A camera without an owner, and what looks after its network; loopback is the access point's network."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    port = free_port()
    with Machine(AIR, page=f"http://127.0.0.1:{port}/") as machine:
        machine.wait_for("access_point")
        flags = ("--wishes", str(machine.wishes), "--wifi", str(machine.status_file))
        yield machine, launch(*flags, config='[http]\nauth = "required"\n', port=port)


def result(words: str) -> str:
    return f"document.getElementById('result')?.textContent.includes({json.dumps(words)})"


def test_on_a_phone_a_network_is_chosen_and_what_came_of_it_is_told(appliance, watch):
    machine, perch = appliance
    view = watch(perch.url + "/", viewport=PHONE)
    view.wait("location.pathname === '/wifi' && document.getElementById('form')?.hidden === false")
    assert view.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than the phone"
    for name in AIR:
        assert view.page.get_by_text(name).is_visible()

    # An open one needs no password; one that is not to be seen needs its name.
    view.page.get_by_label("café").check()
    assert view.page.get_by_label("Its password").is_hidden()
    view.page.get_by_label("Another one").check()
    assert view.page.get_by_label("Its name").is_visible() and view.page.get_by_label("Its password").is_visible()

    view.page.get_by_label("home").check()
    assert view.page.get_by_label("Its name").is_hidden()
    view.page.get_by_label("Its password").fill("short")
    view.page.get_by_role("button", name="Connect").click()
    view.wait("document.getElementById('problem').textContent.includes('8 to 63')")

    view.page.get_by_label("Its password").fill("wrong horse")
    view.page.get_by_role("button", name="Connect").click()
    view.wait(result("home was not joined: the password is wrong"))
    # What was chosen is still chosen.
    assert view.page.get_by_label("home").is_checked()

    view.page.get_by_label("Its password").fill(AIR["home"])
    view.page.get_by_label("Show it").check()
    assert view.page.get_by_label("Its password").get_attribute("type") == "text"
    view.page.get_by_role("button", name="Connect").click()
    view.wait(result(".local/. If not"))
    assert machine.wait_for("online")["ssid"] == "home"
    view.wait(result("find it there at http://"))


def test_the_owner_chooses_one_from_elsewhere(appliance, watch):
    machine, perch = appliance
    assert requests.post(perch.url + "/api/claim", json={"password": OWNER}, timeout=30).status_code == 200
    machine.cable(True)
    own = machine.wait_for("online")["access_point"]
    view = watch(perch.url + "/wifi", viewport=PHONE)
    view.wait("location.pathname === '/login'")
    view.wait("document.title.startsWith('Log in')")
    view.page.get_by_label("Password").fill(OWNER)
    view.page.get_by_role("button", name="Log in").click()
    view.wait("location.pathname === '/wifi' && document.getElementById('form')?.hidden === false")
    view.wait(result("connected by a cable"))
    view.wait(f"document.getElementById('note').textContent.includes({json.dumps(own['password'])})")
    view.page.get_by_label("home").check()
    view.page.get_by_label("Its password").fill(AIR["home"])
    view.page.get_by_role("button", name="Connect").click()
    view.wait(result("The camera is in home: find it there at http://"))
    wait_until(lambda: "home" in machine.kept(), 20, "it is kept")
    # The way there from the page about the machine.
    view.page.goto(perch.url + "/system")
    view.page.get_by_role("link", name="Choose a Wi-Fi").click()
    view.wait("document.title.startsWith('Wi-Fi')")
