"""Cameras that another machine serves: RTSP by GStreamer's server, JPEG by one with the faults of real cameras."""

import asyncio
import contextlib
import io
import os
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
        ("page", "it sends text/html, and perch reads JPEG and MP4: pipe it in with `ffmpeg -i http://127.0.0.1"),
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


@pytest.mark.parametrize("scheme", ["rtmp", "rtp", "srt"])
def test_other_protocols_are_refused_with_the_pipe_to_use(launch, scheme):
    perch = launch(source=f"{scheme}://cam.example/live", ready=False)
    assert perch.process.wait(10) == 2
    assert f"ffmpeg -i {scheme}://… -f yuv4mpegpipe -pix_fmt yuv420p - | perch --source file:-" in perch.log()


# ---- videos by HTTP


@pytest.mark.parametrize("path", ["main.mp4", "fragmented.mp4"])
def test_a_video_plays_at_its_own_speed_while_it_arrives_and_begins_again(launch, camera, path):
    perch = launch(source=f"{camera.url}/{path}")

    async def run():
        async with watching(perch.url) as viewer:
            times = [(await viewer.frame(20)).time for _ in range(25)]
            # Two seconds of ten pictures each, and then again.
            assert abs(np.median(np.diff(times)) - 0.1) < 0.02, times

    asyncio.run(run())
    assert "passed through" in perch.status()["camera"]["encoder"]
    assert camera.asked["/" + path] >= 2 and "no input" not in perch.log()


@pytest.mark.parametrize(
    "path, words",
    [
        ("bframes.mp4", "its index (`moov`) comes behind its pictures: pipe it in with `ffmpeg -i http://127.0.0.1"),
        ("live.m3u8", "it sends application/vnd.apple.mpegurl, and perch reads JPEG and MP4: pipe it in with `ffmpeg -i "),
        ("live.ts", "it sends video/mp2t, and perch reads JPEG and MP4: pipe it in with `ffmpeg -i "),
    ],
)
def test_what_cannot_be_played_as_it_arrives_is_refused_with_the_pipe_to_use(launch, camera, path, words):
    perch = launch(source=f"{camera.url}/{path}")
    wait_until(lambda: words in reason(perch), 15, words)


# ---- over TLS


@pytest.fixture
def secure_camera(tmp_path):
    """A server over TLS, and the file with the certificate that it shows."""

    def openssl(*args: str):
        subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=tmp_path, timeout=60)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    (tmp_path / "names").write_text("subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    openssl("req", "-x509", *key, "-days", "2", "-subj", "/CN=root", "-keyout", "root.key", "-out", "root.pem")
    openssl("req", "-new", *key, "-subj", "/CN=camera", "-keyout", "server.key", "-out", "request")
    openssl("x509", "-req", "-in", "request", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial", "-days", "2", "-extfile", "names", "-out", "leaf.pem")
    made = tmp_path / "server.pem"
    made.write_text((tmp_path / "server.key").read_text() + (tmp_path / "leaf.pem").read_text())
    server = CameraServer(certificate=str(made))
    yield server, str(tmp_path / "root.pem")
    server.close()


@pytest.mark.parametrize("path", ["stream", "one.jpg"])
def test_a_camera_over_tls_is_watched_if_its_certificate_is_trusted(launch, secure_camera, monkeypatch, path):
    camera, root = secure_camera
    monkeypatch.setenv("SSL_CERT_FILE", root)
    perch = launch(source=f"{camera.url}/{path}")
    wait_until(lambda: picture(perch).mean() > 180, 20, "the picture is there")
    monkeypatch.delenv("SSL_CERT_FILE")
    stranger = launch(source=f"{camera.url}/{path}")
    wait_until(lambda: "no TLS connection: invalid peer certificate: UnknownIssuer" in reason(stranger), 20, "it is not trusted")
    assert picture(stranger).mean() < 60, "the slate is shown"


# ---- pages with videos


@pytest.fixture
def yt_dlp(monkeypatch, tmp_path):
    """Puts a stand-in for `yt-dlp` on the PATH, which notes its arguments and does what it is told; gives those."""
    folder, noted = tmp_path / "bin", tmp_path / "arguments"
    folder.mkdir()

    def install(does: str):
        program = folder / "yt-dlp"
        program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >"{noted}"\n{does}\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
        return lambda: noted.read_text().splitlines()

    return install


PAGE = "https://video.example/watch?v=1&list=2;$(touch%20x)"


def test_a_page_s_video_is_found_by_yt_dlp_which_no_shell_starts(launch, camera, yt_dlp):
    arguments = yt_dlp(f"echo {camera.url}/main.mp4")
    config = "[camera]\nstream_mode = true\nstream_resolution = '480p'\nstream_params = ['--cookies', 'my file; $(id)']"
    perch = launch(source=PAGE, config=config)

    async def run():
        async with watching(perch.url) as viewer:
            async with asyncio.timeout(20):
                while (await viewer.frame()).to_ndarray(format="gray").shape != (120, 160):
                    pass

    asyncio.run(run())
    told = arguments()
    assert told[-4:] == ["--cookies", "my file; $(id)", "--", PAGE]
    assert "bv*[height<=480][ext=mp4][vcodec^=avc1][protocol~='^https?$']/b[height<=480]" in told


@pytest.mark.parametrize(
    "does, words",
    [
        ("echo 'ERROR: this video is private' >&2; exit 1", "yt-dlp finds no video: ERROR: this video is private"),
        ("echo https://video.example/live.m3u8", "the video comes in pieces (HLS), which perch does not read itself: pipe it in with `yt-dlp -o - ADDRESS | ffmpeg -i -"),
        ("echo file:///etc/passwd", "yt-dlp found what cannot be opened"),
        ("exec sleep 60", "yt-dlp is still looking for the video"),
    ],
)
def test_what_yt_dlp_does_not_find_is_told(launch, yt_dlp, does, words):
    yt_dlp(does)
    perch = launch(source=PAGE, config="[camera]\nstream_mode = true")
    wait_until(lambda: words in reason(perch), 20, words)
    assert requests.get(perch.url + "/healthz", timeout=5).status_code == 200


def test_without_yt_dlp_the_way_to_get_it_is_told(launch, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    perch = launch(source=PAGE, config="[camera]\nstream_mode = true")
    wait_until(lambda: "need yt-dlp, which is not installed: https://" in reason(perch), 10, "it is told")


def test_stream_mode_is_for_pages_alone(launch):
    perch = launch(source="test", config="[camera]\nstream_mode = true")
    assert "stream_mode has no effect: this is no page with a video" in perch.log()
    perch = launch(source="rtsp://127.0.0.1:1/x", config="[camera]\nstream_mode = true")
    wait_until(lambda: "`stream_mode` is for pages with a video" in reason(perch), 10, "it is told")
    perch = launch(source=PAGE, config="[camera]\nstream_mode = true\nstream_resolution = '721p'", ready=False)
    assert perch.process.wait(10) == 78 and "`721p` is no resolution of a stream: best, worst, 144p" in perch.log()
