"""The panel for the camera's controls: on the test picture in a worker process, which has a control of each kind."""

import pytest
import requests
from page_view import PHONE
from perch_process import wait_until

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def camera(launch, monkeypatch, tmp_path):
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    return launch("--resolution", "320x240", example="worker_camera")


def open_panel(watch, perch, **options):
    view = watch(perch.url, **options)
    view.wait_until_live()
    view.wait("!document.getElementById('toggle-controls').hidden", 10)
    view.page.get_by_role("button", name="Camera controls").click()
    view.wait("!controls.hidden", 5)
    return view


def address(perch) -> str:
    return f"{perch.url}/api/cameras/main/controls"


def values(perch) -> dict:
    return {control["key"]: control["value"] for control in requests.get(address(perch), timeout=5).json()["controls"]}


def test_each_kind_of_control_sets_its_own_value(camera, watch):
    view = open_panel(watch, camera)
    view.page.get_by_label("Sharpness", exact=True).press("ArrowRight")
    view.page.get_by_role("switch", name="Colour").click()
    view.page.get_by_label("White Balance", exact=True).select_option("Cloudy")
    view.page.get_by_role("button", name="Focus Once").click()
    wanted = {"sharpness": 4, "colour": False, "awb": "cloudy"}
    wait_until(lambda: wanted.items() <= values(camera).items(), 5, "the camera has all values")
    assert view.page.get_by_label("Lens Number", exact=True).is_disabled()
    assert view.errors == []


def test_a_slider_sets_the_camera_while_it_is_dragged(camera, watch):
    view = open_panel(watch, camera)
    box = view.page.get_by_label("Brightness", exact=True).bounding_box()
    middle = box["y"] + box["height"] / 2
    asked = []
    view.page.on("request", lambda request: request.method == "PATCH" and asked.append(request.post_data))
    view.page.mouse.move(box["x"] + box["width"] / 2, middle)
    view.page.mouse.down()
    for step in range(50, 100):
        view.page.mouse.move(box["x"] + box["width"] * step / 100, middle)
    wait_until(lambda: values(camera)["brightness"] > 0.9, 5, "the camera follows before the button is let go")
    view.page.mouse.up()
    assert 1 < len(asked) <= 50


def test_the_way_back_to_the_defaults(camera, watch):
    requests.patch(address(camera), json={"brightness": 0.5, "awb": "cloudy"}, timeout=5).raise_for_status()
    view = open_panel(watch, camera)
    reset = view.page.get_by_role("button", name="Brightness back to default")
    reset.click()
    wait_until(lambda: values(camera)["brightness"] == 0, 5, "one is back")
    view.wait("document.getElementById('control-brightness').value === '0'", 5)
    assert reset.is_disabled() and values(camera)["awb"] == "cloudy"
    view.page.get_by_role("button", name="All back to default").click()
    wait_until(lambda: values(camera)["awb"] == "auto", 5, "all are back")
    view.wait("document.getElementById('reset-controls').disabled", 5)


def test_a_refusal_is_shown_in_words_and_the_panel_shows_what_is(camera, watch):
    view = open_panel(watch, camera)
    # As if the camera had another range by now.
    view.page.evaluate("document.getElementById('control-brightness').max = 5")
    view.page.get_by_label("Brightness", exact=True).press("End")
    view.wait("/brightness.*5 is out of range: -1 to 1/.test(document.getElementById('controls-problem').innerText)", 5)
    view.wait("document.getElementById('control-brightness').value === '0'", 5)
    view.page.get_by_label("White Balance", exact=True).select_option("Cloudy")
    view.wait("document.getElementById('controls-problem').innerText === ''", 5)


def test_key_c_opens_and_closes_and_escape_closes(camera, watch):
    view = open_panel(watch, camera)
    view.page.keyboard.press("i")
    view.wait("controls.hidden && !statistics.hidden", 5)
    view.page.keyboard.press("c")
    view.wait("!controls.hidden && statistics.hidden", 5)
    view.page.get_by_label("Brightness", exact=True).press("Escape")
    view.wait("controls.hidden && document.activeElement.id === 'toggle-controls'", 5)


def test_typing_in_a_menu_is_no_shortcut(camera, watch):
    view = open_panel(watch, camera)
    view.page.get_by_label("White Balance", exact=True).press("c")
    wait_until(lambda: values(camera)["awb"] == "cloudy", 5, "the menu's entry is chosen by its letter")
    assert view.page.evaluate("!controls.hidden")


def test_a_camera_that_is_not_there_has_no_button(launch, watch):
    view = watch(launch(source="/dev/video-none").url)
    view.wait_for_state("no-input", 15)
    view.page.keyboard.press("c")
    view.wait("toast.innerText === 'There is nothing to set on this camera now.'", 5)
    assert view.page.evaluate("document.getElementById('toggle-controls').hidden && controls.hidden")


def test_any_picture_can_be_turned_on_the_page(launch, watch):
    perch = launch("--resolution", "320x240")
    view = open_panel(watch, perch)
    view.page.get_by_label("Turn clockwise", exact=True).select_option("90°")
    view.wait("document.querySelector('video').videoWidth === 240 && document.querySelector('video').videoHeight === 320", 15)
    view.page.get_by_role("switch", name="Mirror left to right").click()
    wait_until(lambda: values(perch)["hflip"] is True, 5, "the picture is mirrored")


def test_on_a_phone_the_panel_leaves_room_for_the_picture_and_fits(camera, watch):
    view = open_panel(watch, camera, viewport=PHONE)
    inside = view.page.evaluate(
        """() => {
          const {left, top, right, bottom} = controls.getBoundingClientRect();
          const bar = document.getElementById('bar').getBoundingClientRect();
          return left >= 0 && right <= innerWidth && bottom <= bar.top && top >= innerHeight * 0.3;
        }"""
    )
    assert inside
    assert view.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    # Everything in it can be reached, and is large enough for a finger.
    small = view.page.evaluate(
        """[...document.querySelectorAll('#controls :is(input:not([role]), select, button)')].filter(element => {
          element.scrollIntoView();
          const {width, height} = element.getBoundingClientRect();
          return !element.hidden && (width < 40 || height < 40);
        }).map(element => element.outerHTML)"""
    )
    assert small == []
