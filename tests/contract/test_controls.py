"""Camera controls over HTTP: on the test picture in a worker process, which has a control of each kind."""

from __future__ import annotations

import io
import json
import os
import re
import signal

import numpy as np
import pytest
import requests
from perch_process import Perch, camera_metric, wait_until
from PIL import Image


@pytest.fixture
def camera(launch, monkeypatch, tmp_path):
    """Starts perch with such a camera; all that a test starts share one state folder."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))

    def start() -> Perch:
        perch = launch("--resolution", "320x240", example="worker_camera")
        wait_until(lambda: get(perch).status_code == 200, 10, "the camera is open")
        return perch

    return start


def address(perch, name: str = "main") -> str:
    return f"{perch.url}/api/cameras/{name}/controls"


def get(perch, **headers):
    return requests.get(address(perch), timeout=5, headers=headers)


def patch(perch, body, **headers):
    data = body if isinstance(body, str) else json.dumps(body)
    return requests.patch(address(perch), data=data, timeout=5, headers=headers)


def values(answer) -> dict:
    assert answer.status_code == 200, answer.text
    return {control["key"]: control["value"] for control in answer.json()["controls"]}


def brightness(perch) -> float:
    """Of the picture that comes next."""
    picture = requests.get(perch.url + "/snapshot.jpg", timeout=10).content
    return float(np.asarray(Image.open(io.BytesIO(picture)).convert("L")).mean())


def worker_of(perch) -> int:
    with open(f"/proc/{perch.pid}/task/{perch.pid}/children") as children:
        found = children.read().split()
    if not found:  # the thread that runs the camera started it
        for task in os.listdir(f"/proc/{perch.pid}/task"):
            with open(f"/proc/{perch.pid}/task/{task}/children") as children:
                found += children.read().split()
    return int(found[-1])


def test_controls_are_listed_with_ranges_values_and_menus(camera):
    perch = camera()
    page = get(perch).json()
    assert page["camera"] == "main" and "test pattern 320×240" in page["source"]
    controls = {control["key"]: control for control in page["controls"]}
    assert controls["brightness"].items() >= {"type": "number", "minimum": -1, "maximum": 1, "value": 0, "default": 0, "changeable": True}.items()
    assert controls["sharpness"].items() >= {"type": "integer", "minimum": 0, "maximum": 16, "step": 2}.items()
    assert controls["colour"]["type"] == "boolean" and controls["focus"]["type"] == "button"
    assert {"value": "cloudy", "name": "Cloudy"} in controls["awb"]["items"]
    assert controls["lens"].items() >= {"read_only": True, "changeable": False}.items()


def test_a_change_shows_in_the_picture_and_null_takes_it_back(camera):
    perch = camera()
    before = brightness(perch)
    assert values(patch(perch, {"brightness": 0.5, "awb": "cloudy"})).items() >= {"brightness": 0.5, "awb": "cloudy"}.items()
    wait_until(lambda: brightness(perch) > before + 30, 5, "the picture is brighter")
    assert values(patch(perch, {"brightness": None}))["brightness"] == 0
    wait_until(lambda: abs(brightness(perch) - before) < 10, 5, "the picture is as it was")
    assert values(get(perch))["awb"] == "cloudy"


@pytest.mark.parametrize(
    "body, words",
    [
        ({"brightness": 2}, r"`brightness`: 2 is out of range: -1 to 1\. .*test pattern"),
        ({"sharpness": 3}, "not a multiple of 2 from 0"),
        ({"sharpness": "4"}, "`sharpness`: `4` is no whole number"),
        ({"colour": 1}, "neither `true` nor `false`"),
        ({"awb": "moonlight"}, r"not one of auto \(Auto\), daylight"),
        ({"lens": 3}, "`lens`: it is read-only"),
        ({"lens": None}, "`lens`: it is read-only"),
        ({"focus": None}, "button"),
        ({"hue": 1}, "`hue`: there is no such control"),
        ({"brightness": {"a": 1}}, "`brightness`: a value is"),
    ],
)
def test_what_the_camera_cannot_do_is_refused_in_words_and_nothing_is_done(camera, body, words):
    perch = camera()
    before = values(get(perch))
    answer = patch(perch, {"colour": False, **body} if "colour" not in body else {"awb": "cloudy", **body})
    assert answer.status_code == 422
    assert re.search(words, answer.json()["error"]), answer.text
    assert values(get(perch)) == before


@pytest.mark.parametrize("body", ["", "[]", "1", "null", "{", '"brightness"', "{'brightness': 1}"])
def test_what_is_no_json_object_is_malformed(camera, body):
    answer = patch(camera(), body)
    assert answer.status_code == 400 and "JSON object" in answer.json()["error"]


def test_an_empty_patch_changes_nothing(camera):
    perch = camera()
    assert values(patch(perch, {})) == values(get(perch))


def test_values_outlive_a_restart_and_a_new_worker(camera):
    perch = camera()
    patch(perch, {"brightness": 0.25, "sharpness": 8, "focus": True})
    patch(perch, {"sharpness": None})
    os.kill(worker_of(perch), signal.SIGKILL)
    # A camera that nobody watches is asked, which shows that it is gone; then it is opened again.
    wait_until(lambda: get(perch).status_code == 200 and values(get(perch))["brightness"] == 0.25, 10, "the new worker has the value")
    perch.stop()
    again = camera()
    assert values(get(again)).items() >= {"brightness": 0.25, "sharpness": 2}.items()


def test_a_kept_value_that_does_not_fit_is_said_once_and_left_out(camera, tmp_path):
    (tmp_path / "controls-main.json").write_text('{"awb": "cloudy", "brightness": 7, "zoom": 3}')
    perch = camera()
    assert values(get(perch)).items() >= {"brightness": 0, "awb": "cloudy"}.items()
    os.kill(worker_of(perch), signal.SIGKILL)
    wait_until(lambda: get(perch).status_code == 200 and perch.metrics()[camera_metric("perch_source_opens_total")] >= 2, 10, "another worker answers")
    assert perch.log().count("`brightness`: 7 is out of range") == 1
    assert perch.log().count("`zoom`: there is no such control") == 1


def test_a_picture_is_turned_while_it_is_watched_and_stays_so(camera):
    perch = camera()

    def size():
        return Image.open(io.BytesIO(requests.get(perch.url + "/snapshot.jpg", timeout=10).content)).size

    assert size() == (320, 240)
    assert values(patch(perch, {"rotation": 90, "brightness": 0.25})).items() >= {"rotation": 90, "brightness": 0.25}.items()
    wait_until(lambda: size() == (240, 320), 5, "the picture stands upright")
    assert patch(perch, {"rotation": 45}).status_code == 422
    assert values(patch(perch, {"frame_size_reduction": 50}))["frame_size_reduction"] == 50
    wait_until(lambda: size() == (120, 160), 5, "the picture is smaller")
    os.kill(worker_of(perch), signal.SIGKILL)
    wait_until(lambda: get(perch).status_code == 200 and values(get(perch))["rotation"] == 90, 10, "the new worker's is turned as well")
    perch.stop()
    again = camera()
    assert values(get(again)).items() >= {"rotation": 90, "frame_size_reduction": 50}.items()
    assert values(patch(again, {"rotation": None, "frame_size_reduction": None}))["rotation"] == 0


def test_an_unknown_camera_is_404_for_programs(camera):
    perch = camera()
    for name in ("front", "", "..", "main%2F"):
        for method in ("GET", "PATCH"):
            answer = requests.request(method, address(perch, name), data="{}", timeout=5)
            assert answer.status_code == 404 and answer.json()["error"], (method, name)


def test_pages_of_other_sites_change_nothing(camera):
    perch = camera()
    assert patch(perch, {"brightness": 1}, Origin="http://evil.example").status_code == 403
    assert get(perch, Origin="http://evil.example").status_code == 403
    assert values(patch(perch, {"awb": "cloudy"}, Origin=perch.url))["awb"] == "cloudy"
    assert values(get(perch))["brightness"] == 0


def test_a_camera_that_is_switched_off_is_a_conflict(camera):
    perch = camera()
    os.kill(perch.pid, signal.SIGUSR1)
    wait_until(lambda: perch.status()["camera"]["state"] == "private", 5, "the camera is off")
    answer = patch(perch, {"brightness": 1})
    assert (answer.status_code, answer.json()["error"]) == (409, "the camera was switched off")


def test_a_camera_that_is_not_there_is_unavailable_with_the_reason(launch, monkeypatch, tmp_path):
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    perch = launch(source="/dev/video-none")
    wait_until(lambda: perch.status()["camera"]["state"] == "no_input", 5, "there is no camera")
    answer = get(perch)
    assert answer.status_code == 503 and answer.headers["Retry-After"]
    assert "/dev/video-none: there is no such device" in answer.json()["error"]


def test_every_source_s_pictures_can_be_turned_and_made_smaller(shared):
    assert {"hflip", "vflip", "rotation", "frame_size_reduction", "stabilize", "colorspace"} <= set(values(get(shared)))
    answer = patch(shared, {"brightness": 1})
    assert answer.status_code == 422 and "no such control" in answer.json()["error"]


def test_a_worker_that_hangs_keeps_nobody_waiting_for_long(camera):
    perch = camera()
    worker = worker_of(perch)
    os.kill(worker, signal.SIGSTOP)
    answer = get(perch)
    assert answer.status_code == 503, answer.text
    wait_until(lambda: get(perch).status_code == 200, 10, "another worker answers")
