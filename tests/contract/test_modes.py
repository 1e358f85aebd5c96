"""What `--mode` and `--time-delay` change for a client."""

from __future__ import annotations

import asyncio
import time

import requests
from viewer import Viewer, post_offer, watching


async def an_offer() -> str:
    viewer = Viewer()
    try:
        return await viewer.offer()
    finally:
        await viewer.close()


def test_mjpeg_mode_serves_single_pictures_and_no_webrtc(launch):
    perch = launch("--mode", "mjpeg")
    sdp = asyncio.run(an_offer())
    whep = requests.post(perch.url + "/whep", data=sdp, headers={"Content-Type": "application/sdp"}, timeout=5)
    for refused in (post_offer(perch.url, sdp), whep):
        assert refused.status_code == 404
        assert "/stream.mjpg" in refused.json()["error"]
    assert perch.viewers() == 0
    picture = requests.get(perch.url + "/snapshot.jpg", timeout=5)
    assert picture.status_code == 200 and picture.content.startswith(b"\xff\xd8")
    with requests.get(perch.url + "/stream.mjpg", stream=True, timeout=5) as stream:
        assert b"image/jpeg" in stream.raw.read(200)


def test_time_delay_shows_a_card_and_blocks_nothing(launch):
    delay = 3
    started = time.monotonic()
    perch = launch("--time-delay", str(delay))
    assert requests.get(perch.url + "/", timeout=1).status_code == 200

    async def run():
        async with watching(perch.url) as viewer:
            await viewer.frame(delay)
            assert time.monotonic() - started < delay, "a card is shown meanwhile"
            await viewer.stamp(delay + 5)
            assert time.monotonic() - started >= delay, "the camera's picture comes after the delay"

    asyncio.run(run())
