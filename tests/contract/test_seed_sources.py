"""What the seed's own tests assert, from every kind of source: a client of the seed sees no difference."""

import asyncio
import contextlib
import subprocess
import sys

import pytest
import requests
from camera_server import DATA, CameraServer
from perch_process import free_port
from test_network_sources import PYTHON, SERVER
from viewer import watching

SINGLE = '[webrtc]\nmode = "single"\n'


@contextlib.contextmanager
def opened(kind: str):
    """What `launch` takes for a source of this kind."""
    if kind == "custom":
        yield {"example": "custom_source"}
    elif kind.startswith("http "):
        server = CameraServer()
        try:
            yield {"source": f"{server.url}/{kind.split()[1]}"}
        finally:
            server.close()
    elif kind == "rtsp":
        port = free_port()
        server = subprocess.Popen([PYTHON, str(SERVER), str(port)], stdout=subprocess.PIPE, stderr=sys.stderr, text=True)
        try:
            assert server.stdout.readline().strip() == "ready"
            yield {"source": f"rtsp://127.0.0.1:{port}/h264"}
        finally:
            server.kill()
            server.wait(5)
    else:
        yield {"source": f"file:{DATA / kind}"}


@pytest.mark.parametrize(
    "kind", ["small.y4m", "stream.mjpeg", "still%02d.jpg", "baseline.h264", "bframes.mp4", "http stream", "http one.jpg", "http main.mp4", "rtsp", "custom"]
)
def test_the_seed_s_own_tests_hold_for_every_kind_of_source(launch, kind):
    with opened(kind) as source:
        perch = launch(config=SINGLE, **source)
        assert requests.get(perch.url + "/", timeout=5).status_code == 200
        assert requests.get(perch.url + "/test", timeout=5).status_code == 404

        async def run():
            async with watching(perch.url) as viewer:
                await viewer.frame(20)
                # The second offer is answered too, and takes over.
                async with watching(perch.url) as other:
                    await other.frame(20)
                    answer = await asyncio.to_thread(requests.post, perch.url + "/close_connection", json=0, timeout=5)
                    assert (answer.status_code, answer.text) == (200, "OK")
            async with watching(perch.url) as viewer:
                await viewer.frame(20)

        asyncio.run(run())
