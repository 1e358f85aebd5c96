"""The camera switched off and on, as its button does."""

from __future__ import annotations

import asyncio
import os
import signal

import requests
from perch_process import camera_metric, wait_until
from viewer import watching


def state(perch) -> str:
    return requests.get(perch.url + "/api/status", timeout=5).json()["camera"]["state"]


def toggle(perch):
    os.kill(perch.pid, signal.SIGUSR1)


def captured(perch) -> float:
    return perch.metrics()[camera_metric("perch_frames_captured_total")]


def test_privacy_stops_capture_and_outlives_a_restart(launch, monkeypatch, tmp_path):
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    perch = launch()
    toggle(perch)
    wait_until(lambda: state(perch) == "private", 5, "the camera is off")
    perch.stop()
    again = launch()
    wait_until(lambda: state(again) == "private", 5, "it is still off after a restart")
    assert requests.get(again.url + "/snapshot.jpg", timeout=5).status_code == 200, "a card, not an error"
    assert captured(again) == 0
    toggle(again)
    wait_until(lambda: state(again) == "live", 5, "it is on again")


def test_a_viewer_stays_and_sees_no_picture_while_the_camera_is_off(launch, monkeypatch, tmp_path):
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    perch = launch()

    async def run():
        async with watching(perch.url) as viewer:
            await viewer.stamp()
            toggle(perch)
            await asyncio.to_thread(wait_until, lambda: state(perch) == "private", 5, "the camera is off")
            before = captured(perch)
            await asyncio.sleep(1)  # The card comes five times a second; no picture may be among them.
            assert captured(perch) == before
            toggle(perch)
            await viewer.stamp()
            assert perch.viewers() == 1

    asyncio.run(run())
