"""Cameras that another machine serves: RTSP by GStreamer's server, JPEG by one with the faults of real cameras."""

import asyncio
import contextlib
import io
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import requests
from camera_server import CameraServer
from perch_process import camera_metric, free_port, wait_until
from PIL import Image
from viewer import watching

pytestmark = pytest.mark.timeout(120)
SERVER = Path(__file__).resolve().parent / "rtsp_server.py"
# GStreamer's bindings belong to the system's Python.
PYTHON = "/usr/bin/python3"


@pytest.fixture
def camera():
    server = CameraServer()
    yield server
    if server.open:
        server.close()


@pytest.fixture
def rtsp():
    """Starts RTSP servers as asked, on a port that is told, and ends them after the test."""
    servers = []

    def start(port: int, *credentials: str) -> subprocess.Popen:
        server = subprocess.Popen([PYTHON, str(SERVER), str(port), *credentials], stdout=subprocess.PIPE, stderr=sys.stderr, text=True)
        servers.append(server)
        assert server.stdout.readline().strip() == "ready"
        return server

    yield start
    for server in servers:
        server.kill()
        server.wait(5)


def picture(perch) -> np.ndarray:
    response = requests.get(perch.url + "/snapshot.jpg", timeout=15)
    response.raise_for_status()
    return np.asarray(Image.open(io.BytesIO(response.content)).convert("L")).astype(int)


def is_of_the_server(luma: np.ndarray) -> bool:
    """SMPTE's bars: from bright on the left to dark on the right, which the slate is not."""
    bars = luma[20:100]
    return luma.shape == (240, 320) and bars[:, 10:30].mean() > 150 and bars[:, 290:310].mean() < 80


def state(perch) -> str:
    return perch.status()["camera"]["state"]


def reason(perch) -> str:
    return perch.status()["camera"]["reason"]


@pytest.mark.parametrize("stream, transport", [("h264", "tcp"), ("h264", "udp"), ("jpeg", "tcp")])
def test_an_rtsp_camera_is_watched(launch, rtsp, stream, transport):
    port = free_port()
    rtsp(port)
    config = f"[camera]\nrtsp_transport = '{transport}'"
    perch = launch(source=f"rtsp://127.0.0.1:{port}/{stream}", config=config)

    async def run():
        async with watching(perch.url) as viewer:
            times = []
            for _ in range(20):
                frame = await viewer.frame(20)
                times.append(frame.time)
            assert is_of_the_server(frame.to_ndarray(format="gray").astype(int))
            # Even, as the sender's clock is: 15 a second.
            gaps = np.diff(times)
            assert abs(np.median(gaps) - 1 / 15) < 0.01, gaps

    asyncio.run(run())
    encoder = perch.status()["camera"]["encoder"]
    assert ("passed through" in encoder) == (stream == "h264"), encoder
    assert is_of_the_server(picture(perch))


def test_an_rtsp_server_that_is_killed_and_started_again_comes_back_to_the_same_viewer(launch, rtsp):
    port = free_port()
    server = rtsp(port)
    perch = launch(source=f"rtsp://127.0.0.1:{port}/h264")

    async def run():
        async with watching(perch.url) as viewer:
            await viewer.frame(20)
            server.kill()
            await asyncio.to_thread(wait_until, lambda: state(perch) == "no_input", 15, "the slate is shown")
            await asyncio.to_thread(rtsp, port)
            await asyncio.to_thread(wait_until, lambda: state(perch) == "live", 15, "the picture is back")
            async with asyncio.timeout(15):
                while not is_of_the_server((await viewer.frame()).to_ndarray(format="gray").astype(int)):
                    pass
            assert perch.viewers() == 1

    asyncio.run(run())


def test_a_password_opens_and_is_never_shown(launch, rtsp):
    port = free_port()
    rtsp(port, "me", "s3cret")
    perch = launch(source=f"rtsp://me:s3cret@127.0.0.1:{port}/jpeg")
    wait_until(lambda: state(perch) == "live" and is_of_the_server(picture(perch)), 20, "the picture is there")
    wrong = launch(source=f"rtsp://me:wr0ng@127.0.0.1:{port}/jpeg")
    wait_until(lambda: "401" in reason(wrong), 20, "the reason is told")
    for watched, password in ((perch, "s3cret"), (wrong, "wr0ng")):
        shown = watched.log() + requests.get(watched.url + "/api/status", timeout=5).text + str(watched.metrics())
        assert password not in shown and f"rtsp://me:***@127.0.0.1:{port}/jpeg" in shown
    command = [*perch.command[:1], "config", "show", "--source", f"rtsp://me:s3cret@127.0.0.1:{port}/jpeg"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "me:***@" in shown and "s3cret" not in shown


@pytest.mark.parametrize(
    "path, words",
    [("sound", "it offers audio/pcma, and perch reads H.264 and JPEG"), ("vp8", "ffmpeg -i rtsp://127.0.0.1"), ("none", "404")],
)
def test_what_an_rtsp_server_does_not_have_is_told(launch, rtsp, path, words):
    port = free_port()
    rtsp(port)
    perch = launch(source=f"rtsp://127.0.0.1:{port}/{path}")
    wait_until(lambda: words in reason(perch), 20, words)


def test_a_server_that_is_not_there_is_told_and_asked_for_again(launch, rtsp):
    port = free_port()
    perch = launch(source=f"rtsp://127.0.0.1:{port}/h264")
    wait_until(lambda: "refused" in reason(perch), 10, "nobody listens")
    assert picture(perch).mean() < 60, "the slate is shown"
    rtsp(port)
    wait_until(lambda: is_of_the_server(picture(perch)), 30, "the picture is there")


@pytest.mark.parametrize("path", ["stream", "sloppy", "moved", "one.jpg"])
def test_an_http_camera_is_watched_and_its_picture_is_of_now(launch, camera, path):
    perch = launch(source=f"{camera.url}/{path}", config="[camera]\nframerate = 20")
    wait_until(lambda: picture(perch).mean() > 180, 20, "the picture is there")
    camera.grey = 90
    wait_until(lambda: abs(picture(perch).mean() - 90) < 12, 10, "the picture is the new one")

    async def run():
        async with watching(perch.url) as viewer:
            async with asyncio.timeout(20):
                while abs((await viewer.frame()).to_ndarray(format="gray").mean() - 90) > 20:
                    pass

    asyncio.run(run())
    assert state(perch) == "live"


def test_nobody_watches_and_a_camera_of_single_pictures_is_left_alone(launch, camera):
    perch = launch(source=f"{camera.url}/one.jpg")
    wait_until(lambda: picture(perch).mean() > 180, 20, "the picture is there")
    wait_until(lambda: perch.metrics()['perch_viewers{kind="mjpeg"}'] == 0, 10, "nobody watches")
    asked = camera.asked["/one.jpg"]
    still = threading.Event()
    still.wait(1.5)  # nothing tells that nothing happens
    assert camera.asked["/one.jpg"] <= asked + 3
    camera.grey = 60
    wait_until(lambda: abs(picture(perch).mean() - 60) < 12, 10, "the next one is of now")


@pytest.mark.parametrize(
    "path, words",
    [
        ("page", "it sends text/html, and perch reads JPEG: pipe it in with `ffmpeg -i http://127.0.0.1"),
        ("round", "it redirects more than 5 times"),
        ("elsewhere", "it redirects from http to file, which is not followed"),
        ("nothing", "it answers 404"),
        ("head", "no HTTP answer"),
        ("locked.jpg", "it wants a password"),
        ("late", "no answer within 5 s"),
    ],
)
def test_what_an_http_server_does_wrong_is_told_and_takes_no_memory(launch, camera, path, words):
    perch = launch(source=f"{camera.url}/{path}")
    before = perch.private_kb()
    wait_until(lambda: words in reason(perch), 15, words)
    assert picture(perch).mean() < 60, "the slate is shown"
    assert perch.private_kb() < before + 40_000


def test_a_picture_that_does_not_end_is_given_up(launch, camera):
    perch = launch(source=f"{camera.url}/body")

    def tried():
        with contextlib.suppress(requests.RequestException):
            requests.get(perch.url + "/snapshot.jpg", timeout=2)
        return "length limit exceeded" in reason(perch) + perch.log()

    wait_until(tried, 30, "the limit is told")
    assert perch.private_kb() < 120_000


@pytest.mark.parametrize("path, words", [("breaks", "the server has ended the stream"), ("silent", "no picture for 2000 ms")])
def test_a_stream_that_ends_or_stalls_shows_the_slate_and_is_opened_again(launch, camera, path, words):
    perch = launch(source=f"{camera.url}/{path}")

    async def run():
        async with watching(perch.url) as viewer:
            await viewer.frame(20)
            await asyncio.to_thread(wait_until, lambda: words in perch.log(), 20, words)
            await asyncio.to_thread(wait_until, lambda: camera.asked["/" + path] >= 3, 20, "it is opened again")
            await viewer.frame(20)

    asyncio.run(run())
    assert perch.metrics()[camera_metric("perch_source_failures_total")] >= 1


def test_an_http_camera_that_goes_away_and_comes_back_keeps_its_viewer(launch, camera):
    perch = launch(source=f"{camera.url}/stream")

    async def run():
        async with watching(perch.url) as viewer:
            await viewer.frame(20)
            await asyncio.to_thread(camera.close)
            await asyncio.to_thread(wait_until, lambda: state(perch) == "no_input", 20, "the slate is shown")
            again = CameraServer(camera.port)
            try:
                await asyncio.to_thread(wait_until, lambda: state(perch) == "live", 20, "the picture is back")
                async with asyncio.timeout(15):
                    while (await viewer.frame()).to_ndarray(format="gray").mean() < 180:
                        pass
            finally:
                again.close()

    asyncio.run(run())


def test_a_password_is_told_only_to_the_host_that_it_is_for(launch, camera):
    address = camera.url.replace("http://", "http://me:s%3Acret%40@")
    perch = launch(source=f"{address}/locked.jpg")
    wait_until(lambda: picture(perch).mean() > 180, 20, "the picture is there")
    other = launch(source=f"{address}/to_locked")
    wait_until(lambda: "password" in reason(other), 20, "the other host gets none")
    assert "cret" not in perch.log() + other.log()


def test_a_source_of_a_kind_that_is_not_read_is_refused_at_once(launch):
    perch = launch(source="rtmp://me:s3cret@cam.example/live", ready=False)
    assert perch.process.wait(10) == 2
    assert "ffmpeg -i rtmp://" in perch.log() and "s3cret" not in perch.log().split("'rtmp://")[0]
