"""What `--mode` and `--time-delay` change for a client."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest
import requests
from camera_server import DATA, CameraServer
from perch_process import camera_metric, wait_until
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


# ---- what comes to an end


def has_ended(perch) -> bool:
    return perch.status()["camera"]["state"] == "ended"


def test_a_file_s_end_is_shown_and_it_begins_again_for_the_next_viewer_while_the_first_goes_on_watching(launch):
    perch = launch(source=f"file:{DATA / 'baseline.h264'}", config="[camera]\nloop = false")
    clip = (120, 160)

    async def run():
        async with watching(perch.url) as viewer:
            assert (await viewer.frame(20)).to_ndarray(format="gray").shape == clip
            await asyncio.to_thread(wait_until, lambda: has_ended(perch), 20, "the clip is over")
            # A card instead: bright letters on dark ground, in picture after picture.
            async with asyncio.timeout(20):
                while np.median((await viewer.frame()).to_ndarray(format="gray")) > 60:
                    pass
            for _ in range(3):
                card = (await viewer.frame(10)).to_ndarray(format="gray")
                assert np.median(card) < 60 and card.max() > 150
            opened = perch.metrics()[camera_metric("perch_source_opens_total")]
            async with watching(perch.url) as other:
                await other.frame(20)
                await asyncio.to_thread(wait_until, lambda: not has_ended(perch), 10, "it plays again")
                async with asyncio.timeout(20):
                    while np.median((await viewer.frame()).to_ndarray(format="gray")) < 60:
                        pass
            assert perch.metrics()[camera_metric("perch_source_opens_total")] == opened + 1

    asyncio.run(run())


@pytest.mark.parametrize("is_infinite", [True, False])
def test_a_source_that_is_lost_is_opened_again_or_for_the_next_viewer_as_is_set(launch, is_infinite):
    server = CameraServer()
    try:
        config = f"[camera]\nenable_infinite_frames = {str(is_infinite).lower()}"
        perch = launch(source=f"{server.url}/breaks", config=config)

        async def run():
            async with watching(perch.url) as viewer:
                await viewer.frame(20)
                if is_infinite:
                    await asyncio.to_thread(wait_until, lambda: server.asked["/breaks"] >= 3, 20, "it is opened again")
                    assert not has_ended(perch)
                else:
                    await asyncio.to_thread(wait_until, lambda: has_ended(perch), 20, "it is over")
                    await viewer.frame(10)
                    asked = server.asked["/breaks"]
                    assert "the source is lost: " in perch.log()
                    async with watching(perch.url) as other:
                        await other.frame(20)
                        await asyncio.to_thread(wait_until, lambda: server.asked["/breaks"] > asked, 10, "the next viewer")
                # Who watched at first still does.
                await viewer.frame(10)

        asyncio.run(run())
    finally:
        server.close()
