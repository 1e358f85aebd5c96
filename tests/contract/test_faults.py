"""What the world may do to perch: no descriptors left, no room for state, standing still, a camera that dies again and
again. Afterwards it goes on."""

import asyncio
import contextlib
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import offers
import pytest
import requests
from camera_server import CameraServer
from locked import OWNER, claim, log_in, post
from perch_process import Perch, camera_metric, wait_until
from viewer import watching

HERE = Path(__file__).resolve().parent


def test_without_descriptors_who_is_there_watches_on_and_others_come_later(launch):
    perch = launch()

    async def run():
        async with watching(perch.url) as viewer:
            await viewer.stamp(30)
            before = resource.prlimit(perch.pid, resource.RLIMIT_NOFILE)
            held = []
            try:
                resource.prlimit(perch.pid, resource.RLIMIT_NOFILE, (perch.fds() + 3, before[1]))
                for _ in range(40):
                    held.append(socket.create_connection(("127.0.0.1", perch.port), timeout=10))
                with contextlib.suppress(requests.RequestException):
                    refused = await asyncio.to_thread(requests.post, perch.url + "/offer", json={"sdp": offers.good(), "type": "offer"}, timeout=3)
                    assert refused.status_code >= 500, refused.text
                # Not only what was on its way already.
                begun = await viewer.stamp(30)
                while await viewer.stamp(30) < begun + 1000:
                    pass
            finally:
                for client in held:
                    client.close()
                resource.prlimit(perch.pid, resource.RLIMIT_NOFILE, before)
            await asyncio.to_thread(wait_until, perch.answers, 30, "perch answers again")
            async with watching(perch.url) as other:
                await other.stamp(30)

    asyncio.run(run())
    assert "panicked" not in perch.log()


def test_who_watches_goes_on_watching_when_the_machine_stood_still(launch):
    perch = launch()

    async def run():
        async with watching(perch.url) as viewer:
            last = await viewer.stamp(30)
            for _ in range(3):
                perch.process.send_signal(signal.SIGSTOP)
                try:
                    await asyncio.sleep(2)
                finally:
                    perch.process.send_signal(signal.SIGCONT)
                # A picture that was made after it went on.
                went_on = last + 1000
                async with asyncio.timeout(30):
                    while (last := await viewer.stamp(30)) < went_on:
                        pass
            assert perch.viewers() == 1

    asyncio.run(run())
    assert perch.metrics()["perch_sessions_opened_total"] == 1, "it never had to connect anew"


@pytest.mark.parametrize("what", ["in_a_full_folder", "in_a_folder_that_becomes_read_only"])
def test_where_nothing_can_be_kept_nothing_is_promised_and_nothing_is_lost(tmp_path, monkeypatch, what):
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", f"{HERE}:{HERE.parent}")
    inside = [sys.executable, "-c", f"import test_faults; test_faults.{what}({str(tmp_path)!r})"]
    script = f'mount -t tmpfs -o size=64k,mode=700 none {tmp_path}; exec "$@"'
    done = subprocess.run(["unshare", "--mount", "--map-root-user", "sh", "-ec", script, "sh", *inside], capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr


def in_a_full_folder(folder: str):
    filler = Path(folder) / "filler"
    with Perch(config='[http]\nauth = "required"\n') as perch:
        owner = claim(perch.url)
        kept = (Path(folder) / "auth.json").read_bytes()
        with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
            while True:
                file.write(bytes(512))
        answer = owner.put(perch.url + "/api/accounts/owner", json={"password": "another heron at dawn"}, timeout=30)
        assert answer.status_code in (500, 503, 507), answer.text
        assert (Path(folder) / "auth.json").read_bytes() == kept, "what was there is there"
        assert requests.get(perch.url + "/healthz", timeout=10).text == "ok"
        # Nobody is logged in by a session that could not be kept, or it is forgotten with the restart; the page says which.
        answer = post(perch.url, "/api/login", {"password": OWNER})
        assert answer.status_code in (200, 500, 503, 507), answer.text
        filler.unlink()
        log_in(perch.url, OWNER)
        assert "panicked" not in perch.log()
    with Perch(config='[http]\nauth = "required"\n') as perch:
        log_in(perch.url, OWNER)


def in_a_folder_that_becomes_read_only(folder: str):
    with Perch(config='[http]\nauth = "required"\n') as perch:
        owner = claim(perch.url)
        kept = (Path(folder) / "auth.json").read_bytes()
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        answer = owner.put(perch.url + "/api/accounts/owner", json={"password": "another heron at dawn"}, timeout=30)
        assert answer.status_code == 500 and "could not be saved" in answer.json()["error"], answer.text
        assert (Path(folder) / "auth.json").read_bytes() == kept
        assert owner.get(perch.url + "/snapshot.jpg", timeout=30).status_code == 200, "who was in stays in"
        assert "panicked" not in perch.log()
    with Perch(config='[http]\nauth = "required"\n') as perch:
        # The door is as it was kept, and not open to be claimed by whoever comes first.
        assert post(perch.url, "/api/claim", {"password": "a third heron at dawn"}).status_code == 409
        post(perch.url, "/api/login", {"password": OWNER})
        assert requests.get(perch.url + "/healthz", timeout=10).text == "ok"
        subprocess.run(["mount", "-o", "remount,rw", folder], check=True)
        log_in(perch.url, OWNER)
        assert "panicked" not in perch.log()


@pytest.mark.timeout(180)
def test_a_camera_that_dies_a_hundred_times_leaves_nothing_behind(launch):
    camera = CameraServer()
    try:
        perch = launch(source=camera.url + "/mortal")

        def deaths() -> float:
            return perch.metrics()[camera_metric("perch_source_failures_total")]

        async def run():
            async with watching(perch.url) as viewer:
                await viewer.frame(30)
                await asyncio.to_thread(wait_until, lambda: deaths() >= 10, 60, "it has died ten times")
                fds, threads, private = perch.fds(), perch.threads(), perch.private_kb()
                await asyncio.to_thread(wait_until, lambda: deaths() >= 110, 120, "it has died a hundred times more", every=0.2)
                assert perch.fds() <= fds + 4 and perch.threads() <= threads + 2, perch.log()
                assert perch.private_kb() <= private + 4096
                camera.is_mortal = False
                await asyncio.to_thread(wait_until, lambda: perch.status()["camera"]["state"] == "live", 30, "the camera lives")
                lived = deaths()
                for _ in range(30):
                    await viewer.frame(10)
                assert deaths() == lived

        asyncio.run(run())
        assert perch.metrics()["perch_sessions_opened_total"] == 1, "the viewer never had to connect anew"
    finally:
        camera.close()
