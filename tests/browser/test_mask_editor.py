"""Privacy masks drawn on the live picture, and words in it, by mouse and by finger."""

import io

import numpy as np
import pytest
import requests
from page_view import PHONE
from perch_process import wait_until
from PIL import Image

pytestmark = pytest.mark.timeout(150)


@pytest.fixture
def camera(launch, monkeypatch, tmp_path):
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    return launch("--resolution", "640x360")


def open_editor(watch, perch, **options):
    view = open_panel(watch, perch, **options)
    view.page.get_by_role("button", name="Draw on the picture").click()
    view.wait("!document.getElementById('mask-editor').hidden", 20)
    return view


def open_panel(watch, perch, **options):
    view = watch(perch.url, **options)
    view.wait_until_live()
    view.wait("!document.getElementById('toggle-controls').hidden", 20)
    view.page.get_by_role("button", name="Camera controls").click()
    view.wait("!controls.hidden", 20)
    return view


def pixel(view, x: float, y: float) -> tuple[float, float]:
    """Where the window shows this place of the picture, in shares of it."""
    return tuple(
        view.page.evaluate(
            """([x, y]) => {
              const video = document.querySelector('video');
              const {left, top, width, height} = video.getBoundingClientRect();
              const scale = Math.min(width / video.videoWidth, height / video.videoHeight);
              const [shownWidth, shownHeight] = [video.videoWidth * scale, video.videoHeight * scale];
              return [left + (width - shownWidth) / 2 + x * shownWidth, top + (height - shownHeight) / 2 + y * shownHeight];
            }""",
            [x, y],
        )
    )


def drag(view, start, end):
    mouse = view.page.mouse
    mouse.move(*pixel(view, *start))
    mouse.down()
    mouse.move(*pixel(view, (start[0] + end[0]) / 2, (start[1] + end[1]) / 2))
    mouse.move(*pixel(view, *end))
    mouse.up()


def masks(perch) -> list:
    return requests.get(f"{perch.url}/api/cameras/main/masks", timeout=5).json()["masks"]


def brightest(picture: np.ndarray, box) -> int:
    """In the part of the picture that `box` names in shares of it, its edges left out."""
    height, width = picture.shape
    left, top, right, bottom = box
    return int(picture[int(top * height) + 6 : int(bottom * height) - 6, int(left * width) + 6 : int(right * width) - 6].max())


def jpeg(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("L")).astype(int)


def snapshot(perch) -> np.ndarray:
    return jpeg(requests.get(perch.url + "/snapshot.jpg", timeout=15).content)


def streamed(perch) -> np.ndarray:
    with requests.get(perch.url + "/stream.mjpg", timeout=15, stream=True) as response:
        data = b""
        for chunk in response.iter_content(None):
            data += chunk
            start, end = data.find(b"\xff\xd8"), data.find(b"\xff\xd9")
            if 0 <= start < end:
                return jpeg(data[start : end + 2])
    raise AssertionError("the stream ended without a picture")


def shown(view) -> np.ndarray:
    """What the video element shows."""
    green, width = view.page.evaluate(
        """() => {
          const video = document.querySelector('video');
          const canvas = document.createElement('canvas');
          [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
          const context = canvas.getContext('2d');
          context.drawImage(video, 0, 0);
          const {data} = context.getImageData(0, 0, canvas.width, canvas.height);
          return [Array.from({length: data.length / 4}, (_, pixel) => data[4 * pixel + 1]), canvas.width];
        }"""
    )
    return np.array(green).reshape(-1, width)


BOX = (0.1, 0.2, 0.4, 0.6)


def test_a_box_that_is_drawn_is_black_everywhere_and_still_after_a_reload(camera, watch):
    view = open_editor(watch, camera)
    assert brightest(shown(view), BOX) > 100
    drag(view, BOX[:2], BOX[2:])
    assert masks(camera) == [], "nothing is hidden before it is saved"
    view.page.get_by_role("button", name="Save").click()
    view.wait("document.getElementById('mask-editor').hidden", 20)
    assert np.allclose(masks(camera)[0]["points"], [[0.1, 0.2], [0.4, 0.2], [0.4, 0.6], [0.1, 0.6]], atol=0.01)
    wait_until(lambda: brightest(shown(view), BOX) < 40, 20, "it is black in the video")
    for look in (snapshot, streamed):
        picture = look(camera)
        assert brightest(picture, BOX) < 40 and brightest(picture, (0.5, 0.2, 0.9, 0.6)) > 100, look
    view.page.reload()
    view.wait_until_live()
    assert brightest(shown(view), BOX) < 40
    view.wait("!document.getElementById('toggle-controls').hidden", 20)
    view.page.keyboard.press("c")
    view.page.get_by_text("Mask 1: black, 4 corners").wait_for(timeout=20_000)
    view.page.get_by_role("button", name="Remove mask 1").click()
    wait_until(lambda: masks(camera) == [] and brightest(shown(view), BOX) > 100, 20, "it is seen again")
    assert view.errors == []


def test_corners_make_any_shape_and_masks_are_chosen_changed_and_removed(camera, watch):
    view = open_editor(watch, camera)
    for corner in [(0.2, 0.2), (0.5, 0.2), (0.5, 0.5)]:
        view.page.mouse.click(*pixel(view, *corner))
    view.page.mouse.click(*pixel(view, 0.2, 0.2))
    drag(view, (0.9, 0.6), (0.7, 0.3))
    # The shape is chosen by a tap on it, and becomes another kind of mask.
    view.page.mouse.click(*pixel(view, 0.45, 0.25))
    view.page.get_by_label("What is shown instead").select_option("Pixelated")
    view.page.get_by_role("button", name="Save").click()
    wait_until(lambda: len(masks(camera)) == 2, 20, "both are hidden")
    triangle, box = masks(camera)
    assert triangle["cover"] == "pixelated" and np.allclose(triangle["points"], [[0.2, 0.2], [0.5, 0.2], [0.5, 0.5]], atol=0.01)
    assert box["cover"] == "black" and np.allclose(box["points"][0], [0.7, 0.3], atol=0.01)
    view.page.get_by_role("button", name="Draw on the picture").click()
    view.wait("!document.getElementById('mask-editor').hidden", 20)
    view.page.mouse.click(*pixel(view, 0.8, 0.4))
    view.page.get_by_role("button", name="Remove", exact=True).click()
    view.page.get_by_role("button", name="Save").click()
    wait_until(lambda: masks(camera) == [triangle], 20, "one is left")
    # What is cancelled was never there, and the page's keys rest meanwhile.
    view.page.get_by_role("button", name="Draw on the picture").click()
    view.wait("!document.getElementById('mask-editor').hidden", 20)
    drag(view, (0.1, 0.7), (0.3, 0.9))
    view.page.get_by_role("button", name="Cancel").press("i")
    view.page.keyboard.press("Escape")
    view.wait("document.getElementById('mask-editor').hidden && statistics.hidden", 20)
    assert masks(camera) == [triangle] and view.errors == []


def test_with_a_finger_on_a_phone(camera, watch):
    view = open_editor(watch, camera, viewport=PHONE, has_touch=True, is_mobile=True)
    small = view.page.evaluate(
        """[...document.querySelectorAll('#mask-tools :is(select, button)')].filter(element => {
          const {width, height, left, right, bottom} = element.getBoundingClientRect();
          return !element.hidden && (width < 40 || height < 40 || left < 0 || right > innerWidth || bottom > innerHeight);
        }).map(element => element.outerHTML)"""
    )
    assert small == []
    finger = view.context.new_cdp_session(view.page)

    def touch(kind, *points):
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y} for x, y in points]})

    touch("touchStart", pixel(view, 0.1, 0.2))
    for step in range(1, 6):
        touch("touchMove", pixel(view, 0.1 + 0.06 * step, 0.2 + 0.08 * step))
    touch("touchEnd")
    for corner in [(0.6, 0.3), (0.9, 0.3), (0.75, 0.8)]:
        touch("touchStart", pixel(view, *corner))
        touch("touchEnd")
    view.page.get_by_role("button", name="Close the shape").click()
    view.page.get_by_role("button", name="Save").click()
    wait_until(lambda: [len(mask["points"]) for mask in masks(camera)] == [4, 3], 20, "both are hidden")
    assert np.allclose(masks(camera)[0]["points"][2], [0.4, 0.6], atol=0.02)
    assert view.page.evaluate("document.documentElement.scrollWidth <= innerWidth") and view.errors == []


def test_words_are_set_on_the_page(camera, watch):
    view = open_panel(watch, camera)
    overlay = lambda: requests.get(f"{camera.url}/api/cameras/main/overlay", timeout=5).json()  # noqa: E731
    view.page.get_by_label("Text").fill("88:88")
    view.page.get_by_label("Position").select_option("Bottom right")
    view.page.get_by_label("Size (%)").press("End")
    view.page.get_by_role("switch", name="Dark edge").click()
    wish = {"text": "88:88", "position": "bottom_right", "size_percent": 20, "outline": False}
    wait_until(lambda: wish.items() <= overlay().items(), 20, "they are written")
    view.page.get_by_label("Text").fill("100%")
    view.page.get_by_label("Text").press("Tab")
    view.wait("/100%.*cannot be shown/.test(document.getElementById('controls-problem').innerText)", 20)
    assert overlay()["text"] == "88:88"
    view.wait("document.getElementById('overlay-text').value === '88:88'", 20)


def test_a_refusal_to_save_is_told_where_it_was_asked_for(camera, watch):
    view = open_editor(watch, camera)
    drag(view, BOX[:2], BOX[2:])
    camera.stop()
    view.page.get_by_role("button", name="Save").click()
    view.wait("document.getElementById('mask-hint').innerText === 'The server does not answer.'", 20)
    assert view.page.evaluate("!document.getElementById('mask-editor').hidden")
