"""Controls of a V4L2 camera, changed over HTTP and read back with v4l2-ctl. The driver is vivid, which has every kind."""

import re

import pytest
import requests
from guest_perch import is_picture, is_slate
from perch_process import wait_until

pytestmark = pytest.mark.timeout(120)

# What is done to every picture, whatever the camera.
PICTURE = {"hflip", "vflip", "rotation", "frame_size_reduction", "stabilize", "colorspace"}
NODE = "/dev/video0"
STATE = "/tmp/controls-state"


@pytest.fixture
def camera(guest, load):
    load("vivid", "n_devs=1", "node_types=0x1", "multiplanar=1")
    yield
    guest.run(f"rm -rf {STATE}")


@pytest.fixture
def perch(camera, launch):
    perch = launch(NODE, state=STATE)
    wait_until(lambda: get(perch).status_code == 200, 10, "the camera is open")
    return perch


def driver(guest, name: str) -> int:
    """What the driver has."""
    return int(re.search(r": (-?\d+)", guest.run(f"v4l2-ctl -d {NODE} -C {name}"))[1])


def get(perch):
    return requests.get(f"{perch.url}/api/cameras/main/controls", timeout=10)


def patch(perch, **controls):
    return requests.patch(f"{perch.url}/api/cameras/main/controls", json=controls, timeout=10)


def controls(perch) -> dict:
    answer = get(perch)
    assert answer.status_code == 200, answer.text
    return {control["key"]: control for control in answer.json()["controls"]}


def test_controls_are_called_as_v4l2_ctl_calls_them(guest, perch):
    listed = re.findall(r"^ *(\w+) 0x\w+ \((\w+)\) *:(.*)", guest.run(f"v4l2-ctl -d {NODE} -L"), re.M)
    # One of the driver's own is meant where both have it.
    ours = PICTURE - {name for name, _, _ in listed}
    known = {key: control for key, control in controls(perch).items() if key not in ours}
    kinds = {"int": "integer", "bool": "boolean", "menu": "menu", "intmenu": "menu", "button": "button"}
    # What perch does not set (arrays, structures, texts) may be left out; everything else may not.
    is_array = re.compile("elems=|dims=")
    listed = [entry for entry in listed if entry[0] in known or (entry[1] in kinds and not is_array.search(entry[2]))]
    assert {name for name, _, _ in listed} == set(known)
    for name, kind, rest in listed:
        assert known[name]["type"] == kinds.get(kind, "other"), name
        assert known[name]["read_only"] == ("read-only" in rest), name
        if kind == "int":
            ranges = {key: int(value) for key, value in re.findall(r"(min|max|step|default|value)=(-?\d+)", rest)}
            control = known[name]
            assert ranges["min"] == control["minimum"] and ranges["max"] == control["maximum"], name
            assert ranges["default"] == control["default"], name
    assert [item["name"] for item in known["test_pattern"]["items"]][:2] == ["75% Colorbar", "100% Colorbar"]


@pytest.mark.parametrize("watched", [False, True], ids=["nobody watches", "somebody watches"])
def test_a_change_reaches_the_driver_at_once(guest, perch, look, watched):
    if watched:
        look(perch).wait_for(is_picture, 10, "the first picture")
    answer = patch(perch, brightness=200, horizontal_flip=True, test_pattern=1)
    assert answer.status_code == 200, answer.text
    assert (driver(guest, "brightness"), driver(guest, "horizontal_flip"), driver(guest, "test_pattern")) == (200, 1, 1)
    default = controls(perch)["brightness"]["default"]
    assert patch(perch, brightness=None).status_code == 200
    assert driver(guest, "brightness") == default != 200


def test_what_the_driver_would_not_take_is_refused_with_the_device_and_the_range(guest, perch):
    before = driver(guest, "contrast")
    read_only = next(key for key, control in controls(perch).items() if control["read_only"] and control["type"] == "integer")
    for change, words in [
        ({"brightness": 256}, r"`brightness`: 256 is out of range: 0 to 255\. .*/dev/video0 \(vivid\)"),
        ({read_only: 1}, f"`{read_only}`: it is read-only"),
        ({"test_pattern": 999}, r"not one of 0 \(75% Colorbar\)"),
        ({"horizontal_flip": 1}, "neither `true` nor `false`"),
        ({"nonsense": 1}, "`nonsense`: there is no such control"),
    ]:
        answer = patch(perch, contrast=before + 1, **change)
        assert answer.status_code == 422 and re.search(words, answer.json()["error"]), answer.text
    assert driver(guest, "contrast") == before


def test_values_outlive_a_driver_that_is_unbound_and_bound_again(guest, perch, look):
    viewer = look(perch)
    viewer.wait_for(is_picture, 10, "the first picture")
    patch(perch, brightness=200).raise_for_status()
    guest.run("echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind")
    viewer.wait_for(is_slate, 5, "the slate of a camera that is gone")
    answer = patch(perch, brightness=10)
    assert answer.status_code == 503 and answer.json()["error"].startswith("the camera is not there now: "), answer.text
    guest.run("echo vivid.0 >/sys/bus/platform/drivers/vivid/bind")
    viewer.wait_for(is_picture, 5, "the picture of the camera that is back")
    assert driver(guest, "brightness") == 200


def test_values_outlive_a_restart(guest, perch, launch):
    patch(perch, brightness=200, contrast=77).raise_for_status()
    patch(perch, contrast=None).raise_for_status()
    perch.stop()
    guest.run(f"v4l2-ctl -d {NODE} -c brightness=5,contrast=6")
    again = launch(NODE, state=STATE)
    wait_until(lambda: get(again).status_code == 200, 10, "the camera is open")
    assert driver(guest, "brightness") == 200
    assert driver(guest, "contrast") == 6, "what was put back to its default is not kept"


def test_the_panel_sets_what_the_driver_has(guest, perch, watch):
    view = watch(perch.url)
    view.wait_until_live(30)
    view.wait("!document.getElementById('toggle-controls').hidden", 15)
    view.page.keyboard.press("c")
    slider = view.page.get_by_label("Brightness", exact=True)
    before = int(slider.input_value())
    slider.press("ArrowRight")
    slider.press("ArrowRight")
    wait_until(lambda: driver(guest, "brightness") == before + 2, 10, "the driver has what the slider says")
    view.page.get_by_role("button", name="Brightness back to default").click()
    wait_until(lambda: driver(guest, "brightness") == before, 10, "the driver has its default again")
    assert view.errors == []
