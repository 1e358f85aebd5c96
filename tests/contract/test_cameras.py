"""Several cameras: each under its own name, the first one when none is named, and none bothered by another."""

import asyncio
import io
import time

import pytest
import requests
from offers import good
from PIL import Image
from perch_process import Perch, camera_metric, wait_until
from viewer import Viewer

THREE = """
[[camera]]
name = "door"
source = "test"
resolution = "640x360"

[[camera]]
name = "garden"
source = "test"
resolution = "320x240"
framerate = 10

[[camera]]
name = "attic"
source = "/dev/video97"
"""


@pytest.fixture(scope="module")
def cameras():
    with Perch(config=THREE, source=None) as perch:
        yield perch


def size_of(jpeg: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(jpeg)).size


def test_pictures_are_of_the_camera_that_is_named_and_of_the_first_when_none_is(cameras):
    for query, size in [("", (640, 360)), ("?camera=door", (640, 360)), ("?camera=garden", (320, 240)), ("?x=1&camera=g%61rden", (320, 240))]:
        answer = requests.get(cameras.url + "/snapshot.jpg" + query, timeout=10)
        assert (answer.status_code, size_of(answer.content)) == (200, size), query
    with requests.get(cameras.url + "/stream.mjpg?camera=garden", stream=True, timeout=10) as stream:
        head = stream.raw.read(20_000)
    assert size_of(head[head.index(b"\xff\xd8") :]) == (320, 240)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/offer?camera=cellar"),
        ("POST", "/whep/cellar"),
        ("GET", "/snapshot.jpg?camera=cellar"),
        ("GET", "/stream.mjpg?camera=cellar"),
        ("GET", "/api/status?camera=cellar"),
    ],
)
def test_an_unknown_camera_is_refused_with_the_names_of_those_there_are(cameras, method, path):
    body = {"json": {"sdp": good(), "type": "offer"}} if method == "POST" else {}
    answer = requests.request(method, cameras.url + path, timeout=10, **body)
    assert answer.status_code == 404
    assert answer.json() == {"error": "there is no camera of this name", "cameras": ["door", "garden", "attic"]}


def test_status_and_metrics_tell_them_apart(cameras):
    wait_until(lambda: cameras.status()["cameras"][2]["state"] == "no_input", 10, "the missing camera is known to be missing")
    status = requests.get(cameras.url + "/api/status?camera=garden", timeout=5).json()
    assert status["name"] == "garden" and status["camera"]["width"] in (0, 320)
    assert [camera["name"] for camera in status["cameras"]] == ["door", "garden", "attic"]
    assert "/dev/video97" in status["cameras"][2]["reason"]
    metrics = cameras.metrics()
    assert metrics[camera_metric("perch_source_failures_total", "door")] == 0
    assert metrics[camera_metric("perch_source_failures_total", "attic")] > 0


def test_viewers_see_the_camera_they_asked_for_at_its_own_rate_beside_one_that_is_missing(cameras):
    async def look() -> dict[str, int]:
        door = await Viewer.watch(cameras.url)
        garden = await Viewer.watch(cameras.url, "/offer?camera=garden")
        attic = await Viewer.watch(cameras.url, "/offer?camera=attic")
        sizes = {}
        for name, viewer in {"door": door, "garden": garden, "attic": attic}.items():
            frame = await viewer.frame()
            sizes[name] = (frame.width, frame.height)
        assert sizes["door"] == (640, 360) and sizes["garden"] == (320, 240) and sizes["attic"][0] > 0
        viewers = {camera["name"]: camera["viewers"] for camera in cameras.status()["cameras"]}
        assert viewers == {"door": 1, "garden": 1, "attic": 1}
        before, began = cameras.metrics(), time.monotonic()
        await asyncio.sleep(2)  # the time over which is counted
        after, seconds = cameras.metrics(), time.monotonic() - began
        for viewer in (door, garden, attic):
            await viewer.close()
        name = "perch_frames_captured_total"
        return {camera: (after[camera_metric(name, camera)] - before[camera_metric(name, camera)]) / seconds for camera in ("door", "garden")}

    rates = asyncio.run(look())
    assert 20 < rates["door"] < 36 and 8 < rates["garden"] < 12, rates


def test_whep_takes_the_camera_in_its_path(cameras):
    wait_until(lambda: cameras.viewers() == 0, 10, "the viewers of other tests are forgotten")
    answer = requests.post(cameras.url + "/whep/garden", data=good(), headers={"Content-Type": "application/sdp"}, timeout=10)
    assert answer.status_code == 201
    assert [camera["viewers"] for camera in cameras.status()["cameras"]] == [0, 1, 0]
    assert requests.delete(cameras.url + answer.headers["Location"], timeout=5).status_code == 200
    options = requests.options(cameras.url + "/whep/garden", timeout=5)
    assert options.headers["Accept-Post"] == "application/sdp"


def test_a_newer_viewer_takes_over_its_own_camera_only():
    async def look():
        first = await Viewer.watch(perch.url, "/offer?camera=door")
        other = await Viewer.watch(perch.url, "/offer?camera=garden")
        await first.frame()
        await other.frame()
        second = await Viewer.watch(perch.url, "/offer?camera=door")
        await asyncio.wait_for(first.ended.wait(), 10)
        assert not other.ended.is_set()
        for viewer in (first, other, second):
            await viewer.close()

    with Perch(config=THREE + '[webrtc]\nmode = "single"\n', source=None) as perch:
        asyncio.run(look())
