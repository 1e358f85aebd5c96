"""Privacy masks and words that are set while perch runs."""

from __future__ import annotations

import asyncio
import io
import json

import numpy as np
import pytest
import requests
from perch_process import ROOT, wait_until
from PIL import Image
from viewer import watching

QUARTER = {"points": [[0.5, 0.5], [1, 0.5], [1, 1], [0.5, 1]], "cover": "black"}


@pytest.fixture
def state(monkeypatch, tmp_path):
    """All that a test starts share one state folder."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    return tmp_path


def address(perch, what: str, name: str = "main") -> str:
    return f"{perch.url}/api/cameras/{name}/{what}"


def put(perch, what: str, body, **headers):
    data = body if isinstance(body, (str, bytes)) else json.dumps(body)
    return requests.put(address(perch, what), data=data, timeout=10, headers=headers)


def get(perch, what: str) -> dict:
    answer = requests.get(address(perch, what), timeout=10)
    assert answer.status_code == 200, answer.text
    return answer.json()


def luma(picture: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(picture)).convert("L")).astype(int)


def snapshot(perch) -> np.ndarray:
    answer = requests.get(perch.url + "/snapshot.jpg", timeout=15)
    assert answer.status_code == 200, answer.text
    return luma(answer.content)


def hidden(picture: np.ndarray, corner: str = "lower right") -> bool:
    """Whether that quarter is black, but for what coding does to it."""
    height, width = picture.shape
    rows = slice(height // 2 + 4, None) if "lower" in corner else slice(None, height // 2 - 4)
    columns = slice(width // 2 + 4, None) if "right" in corner else slice(None, width // 2 - 4)
    return int(picture[rows, columns].max()) < 32


@pytest.mark.parametrize("media", ["", "baseline.h264", "stream.mjpeg"], ids=["test", "h264", "mjpeg"])
def test_from_the_answer_on_no_snapshot_shows_what_is_hidden(launch, state, media):
    source = f"file:{ROOT / 'tests' / 'data' / media}" if media else "test"
    perch = launch("--resolution", "320x240", "--framerate", "60", source=source)

    async def run():
        # Somebody watches, so that pictures of all kinds are on their way.
        async with watching(perch.url) as viewer:
            assert not hidden((await viewer.frame(20)).to_ndarray(format="gray").astype(int))
            assert (await asyncio.to_thread(put, perch, "masks", {"masks": [QUARTER]})).status_code == 200
            assert hidden(await asyncio.to_thread(snapshot, perch))
            # What the viewer had received by then comes first; then nothing of it any more.
            async with asyncio.timeout(20):
                while not hidden((await viewer.frame()).to_ndarray(format="gray").astype(int)):
                    pass
            for _ in range(20):
                assert hidden((await viewer.frame(10)).to_ndarray(format="gray").astype(int))
            for _ in range(2):
                assert (await asyncio.to_thread(put, perch, "masks", {"masks": []})).status_code == 200
                assert not hidden(await asyncio.to_thread(snapshot, perch))
                assert (await asyncio.to_thread(put, perch, "masks", {"masks": [QUARTER]})).status_code == 200
                assert hidden(await asyncio.to_thread(snapshot, perch))
        # Who joins is shown the last picture once more, if it may still be shown.
        async with watching(perch.url) as viewer:
            assert hidden((await viewer.frame(20)).to_ndarray(format="gray").astype(int))

    asyncio.run(run())


def test_masks_outlive_a_restart_and_turn_with_the_picture(launch, state):
    perch = launch("--resolution", "320x240")
    assert get(perch, "masks") == {"camera": "main", "masks": []}
    assert put(perch, "masks", {"masks": [QUARTER]}).json() == {"camera": "main", "masks": [QUARTER]}
    perch.stop()
    again = launch("--resolution", "320x240")
    assert get(again, "masks")["masks"] == [QUARTER] and hidden(snapshot(again))
    controls = address(again, "controls")
    requests.patch(controls, json={"rotation": 180}, timeout=10).raise_for_status()
    wait_until(lambda: hidden(snapshot(again), "upper left"), 10, "the mask is where its part is now")
    assert not hidden(snapshot(again))
    assert sorted(get(again, "masks")["masks"][0]["points"]) == [[0, 0], [0, 0.5], [0.5, 0], [0.5, 0.5]]
    again.stop()
    third = launch("--resolution", "320x240")
    # The camera's controls are set again once it is opened.
    wait_until(lambda: hidden(snapshot(third), "upper left"), 10, "it is still there")


def test_masks_of_the_settings_are_replaced_and_put_back(launch, state):
    config = "[camera]\n[[camera.privacy_mask]]\npoints = [[0, 0], [0.5, 0], [0.5, 0.5], [0, 0.5]]"
    perch = launch("--resolution", "320x240", config=config)
    assert hidden(snapshot(perch), "upper left")
    put(perch, "masks", {"masks": [QUARTER]}).raise_for_status()
    assert hidden(snapshot(perch)) and not hidden(snapshot(perch), "upper left")
    answer = requests.delete(address(perch, "masks"), timeout=10)
    assert answer.status_code == 200 and len(answer.json()["masks"]) == 1
    assert hidden(snapshot(perch), "upper left") and not hidden(snapshot(perch))


def test_masks_that_cannot_be_read_hide_everything_until_others_are_set(launch, state):
    (state / "picture-main.json").write_text('{"masks": ')
    perch = launch("--resolution", "320x240")
    assert snapshot(perch).max() < 32
    assert "is all hidden until its masks are set" in perch.log()
    put(perch, "masks", {"masks": []}).raise_for_status()
    assert snapshot(perch).max() > 100


def test_masks_that_cannot_be_kept_are_on_and_that_is_told(launch, state):
    perch = launch("--resolution", "320x240")
    (state / ".picture-main.json.new").mkdir()
    answer = put(perch, "masks", {"masks": [QUARTER]})
    assert answer.status_code == 500 and "will not outlive a restart" in answer.json()["error"]
    assert hidden(snapshot(perch))


@pytest.mark.parametrize(
    "what, body, status, words",
    [
        ("masks", "", 400, "JSON object such as"),
        ("masks", "{", 400, "JSON object such as"),
        ("masks", [], 400, "JSON object such as"),
        ("masks", {}, 400, "missing field `masks`"),
        ("masks", {"masks": [], "more": 1}, 400, "unknown field `more`"),
        ("masks", {"masks": [{"points": [[0, 0, 0]]}]}, 400, "JSON object such as"),
        ("masks", {"masks": [{"points": "all"}]}, 400, "expected a sequence"),
        ("masks", {"masks": [{"points": [], "colour": "red"}]}, 400, "unknown field `colour`"),
        ("masks", {"masks": [{**QUARTER, "cover": "red"}]}, 400, "expected `black` or `pixelated`"),
        ("masks", {"masks": [{}]}, 422, "mask 1: 0 corners make no mask: 3 to 64"),
        ("masks", {"masks": [QUARTER, {"points": [[0, 0], [1, 1.5], [0, 1]]}]}, 422, "mask 2: 1.5 is outside the picture"),
        ("masks", {"masks": [{"points": [[0, 0]] * 65}]}, 422, "65 corners make no mask"),
        ("masks", {"masks": [QUARTER] * 33}, 422, "there are 33 masks: 32 is the most"),
        ("overlay", "null", 400, "JSON object such as"),
        ("overlay", {"text": 1}, 400, "expected a string"),
        ("overlay", {"words": "x"}, 400, "unknown field `words`"),
        ("overlay", {"position": "left"}, 400, "unknown variant `left`"),
        ("overlay", {"text": "100%"}, 422, "`text`: `100%` cannot be shown"),
        ("overlay", {"text": "x" * 201}, 422, "`text`: it has 201 letters: 200 is the most"),
        ("overlay", {"size_percent": 21}, 422, "`size_percent`: 21 is out of range: 2 to 20"),
        ("overlay", {"time_zone": "../../etc/passwd"}, 422, "`time_zone`: this machine knows no time zone"),
    ],
)
def test_what_cannot_be_is_refused_in_words_and_nothing_is_changed(shared, what, body, status, words):
    before = get(shared, what)
    answer = put(shared, what, body)
    assert answer.status_code == status and words in answer.json()["error"], answer.text
    assert get(shared, what) == before


def test_a_body_that_is_too_long_is_413_and_an_unknown_camera_404(shared):
    assert put(shared, "masks", b" " * (64 * 1024 + 1)).status_code == 413
    for method in ("GET", "PUT", "DELETE"):
        for what in ("masks", "overlay"):
            answer = requests.request(method, address(shared, what, "front"), data="{}", timeout=5)
            assert answer.status_code == 404 and answer.json()["error"]


def test_pages_of_other_sites_change_nothing(shared):
    assert put(shared, "masks", {"masks": []}, Origin="http://evil.example").status_code == 403
    assert requests.delete(address(shared, "masks"), headers={"Origin": "http://evil.example"}, timeout=5).status_code == 403


def test_words_are_written_while_somebody_watches_and_stay(launch, state):
    perch = launch("--resolution", "640x480")

    def letters(perch) -> float:
        """How much of the lower part is bright."""
        lower = snapshot(perch)[330:470]
        return float((lower > 215).mean())

    before = letters(perch)
    wish = {"text": "{camera} 88:88", "position": "bottom", "size_percent": 20}
    answer = put(perch, "overlay", wish)
    assert answer.json() == {"camera": "main", "time_zone": "", "outline": True, **wish}
    wait_until(lambda: letters(perch) > before + 0.02, 10, "the words are there")
    perch.stop()
    again = launch("--resolution", "640x480")
    assert get(again, "overlay")["text"] == wish["text"]
    wait_until(lambda: letters(again) > before + 0.02, 10, "they are there again")
    assert requests.delete(address(again, "overlay"), timeout=10).json()["text"] == ""
    wait_until(lambda: letters(again) < before + 0.01, 10, "they are gone")
