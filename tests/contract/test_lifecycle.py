"""How perch starts, what it survives, and how it stops."""

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import offers
import pytest
import requests
from perch_process import camera_metric, free_port, perch_binary, wait_until
from viewer import Viewer, post_offer, sections, watching

CONFIG_ERROR = 78  # sysexits' EX_CONFIG


@contextlib.contextmanager
def remote_viewer(url: str):
    """A viewer in a process of its own, which can then be killed without a goodbye."""
    script = Path(__file__).with_name("viewer.py")
    environment = {"PYTHONPATH": str(script.parent.parent), "PATH": ""}
    process = subprocess.Popen(
        [sys.executable, str(script), url], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, env=environment
    )
    try:
        assert process.stdout.readline().strip() == "watching"
        yield process
    finally:
        process.kill()
        process.wait(5)
        process.stdout.close()


def run_to_end(*args: str, timeout: float = 10) -> subprocess.CompletedProcess:
    return subprocess.run([perch_binary(), *args], capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)


# ---- stopping


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_signal_stops_within_3_s_with_viewers_connected(launch, by):
    perch = launch()

    async def run():
        async with watching(perch.url) as one, watching(perch.url) as two:
            await one.stamp()
            await two.stamp()
            start = time.monotonic()
            code = await asyncio.to_thread(perch.stop, by)
            assert time.monotonic() - start < 3
            assert code == 0, perch.last_log

    # Readers of the fallback and half-open connections must not hold it up either.
    with socket.create_connection(("127.0.0.1", perch.port)) as idle, socket.create_connection(("127.0.0.1", perch.port)) as mjpeg:
        idle.sendall(b"POST /offer HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{")
        mjpeg.sendall(b"GET /stream.mjpg HTTP/1.1\r\nhost: localhost\r\n\r\n")
        mjpeg.settimeout(5)
        assert mjpeg.recv(12) == b"HTTP/1.1 200"
        asyncio.run(run())


def test_stop_right_after_start_is_clean(launch):
    perch = launch(ready=False)
    wait_until(perch.answers, 10, "it answers", every=0.005)
    assert perch.stop() == 0


def test_the_address_is_free_again_after_a_stop(launch):
    perch = launch()
    address = f"127.0.0.1:{perch.port}"
    requests.get(perch.url, timeout=5)
    assert perch.stop() == 0
    again = launch("--listen", address, ready=False)
    again.url = perch.url
    wait_until(again.answers, 5, "a new perch serves on the old address")


# ---- starting


def test_port_in_use_is_a_clear_exit(launch):
    perch = launch()
    address = f"127.0.0.1:{perch.port}"
    result = run_to_end("--source", "test", "--listen", address)
    assert result.returncode not in (0, CONFIG_ERROR) and result.returncode > 0
    assert address in result.stderr + result.stdout
    assert "panicked" not in result.stderr


@pytest.mark.parametrize(
    "text, names",
    [
        ("[webrtc]\nmax_viewrs = 3\n", ["perch.toml", "2", "max_viewrs", "max_viewers"]),
        ("[webrtc]\nmax_viewers = 'many'\n", ["perch.toml", "2", "max_viewers"]),
        ("[webrtc]\nmax_viewers = 0\n", ["perch.toml", "2", "max_viewers"]),
        ("[camera]\nresolution = '1281x720'\n", ["perch.toml", "2", "resolution"]),
        ("[webrtc]\n\nmode = 'duo'\n", ["perch.toml", "3", "mode", "single"]),
        ("[wbrtc]\n", ["perch.toml", "wbrtc", "webrtc"]),
        ("[webrtc\n", ["perch.toml", "1"]),
        ("[webrtc]\nudp_ports = '9-1'\n", ["perch.toml", "2", "udp_ports"]),
    ],
)
def test_config_errors_exit_78_and_name_the_place(tmp_path, text, names):
    path = tmp_path / "perch.toml"
    path.write_text(text)
    for args in (["--config", str(path)], ["config", "check", "--config", str(path)]):
        result = run_to_end(*args)
        said = result.stderr + result.stdout
        assert result.returncode == CONFIG_ERROR, (args, said)
        for name in names:
            assert name in said, f"{args}: {name!r} is not in {said!r}"


def test_config_file_that_is_not_there_exits_78(tmp_path):
    result = run_to_end("--config", str(tmp_path / "none.toml"))
    assert result.returncode == CONFIG_ERROR
    assert "none.toml" in result.stderr + result.stdout


# ---- the source


def test_source_that_fails_at_start_still_serves_a_slate(launch, tmp_path):
    perch = launch("--source", f"file:{tmp_path}/none.y4m")

    async def run():
        async with watching(perch.url) as viewer:
            frames = [await viewer.frame() for _ in range(3)]
            assert frames[0].width > 0
            luma = memoryview(frames[-1].planes[0])
            assert max(luma) > 100, "words are on the slate"

    asyncio.run(run())
    status = perch.status()
    assert "no_input" in str(status)
    assert "none.y4m" in str(status)


def test_source_that_appears_later_replaces_the_slate_without_a_new_session(launch, tmp_path):
    path = tmp_path / "late.y4m"
    perch = launch("--source", f"file:{path}")

    def appear():
        luma, chroma = bytes([200]) * (640 * 480), bytes([128]) * (640 * 480 // 2)
        part = path.with_suffix(".part")
        part.write_bytes(b"YUV4MPEG2 W640 H480 F15:1 Ip A1:1 C420jpeg\n" + (b"FRAME\n" + luma + chroma) * 30)
        part.rename(path)

    async def run():
        async with watching(perch.url) as viewer:
            await viewer.frame()
            await asyncio.to_thread(appear)
            async with asyncio.timeout(15):
                while True:
                    frame = await viewer.frame()
                    if (frame.width, frame.height) == (640, 480) and min(memoryview(frame.planes[0])[::997]) > 150:
                        return

    asyncio.run(run())


# ---- sessions


def test_single_mode_replaces_the_old_viewer(launch):
    perch = launch(config='[webrtc]\nmode = "single"\n')

    async def run():
        async with watching(perch.url) as old:
            await old.stamp()
            async with watching(perch.url) as new:
                await new.stamp()
                assert await old.goes_silent(5)
                await new.stamp()
                assert perch.viewers() == 1

    asyncio.run(run())


def test_viewer_that_says_goodbye_is_reaped(launch):
    perch = launch()

    async def run():
        async with watching(perch.url) as viewer:
            await viewer.stamp()
            assert perch.viewers() == 1
        await asyncio.to_thread(wait_until, lambda: perch.viewers() == 0, 10, "the closed viewer is forgotten")

    asyncio.run(run())


def test_viewer_that_vanishes_is_reaped_within_10_s_and_harms_nobody(launch):
    perch = launch()

    async def run():
        async with watching(perch.url) as other:
            await other.stamp()
            with remote_viewer(perch.url) as process:
                assert perch.viewers() == 2
                process.kill()
                killed = time.monotonic()
                stamps = []
                while perch.viewers() != 1:
                    assert time.monotonic() - killed < 10, "the vanished viewer is still counted after 10 s"
                    stamps.append(await other.stamp(2))
            gaps = [later - earlier for earlier, later in zip(stamps, stamps[1:])]
            assert max(gaps, default=0) < 500, "the other viewer's picture stood still"

    asyncio.run(run())


def test_offer_that_never_connects_is_reaped(launch):
    perch = launch()
    response = post_offer(perch.url, offers.good())
    assert response.status_code == 200
    assert perch.viewers() == 1
    assert perch.udp_sockets() > 0
    wait_until(lambda: perch.viewers() == 0, 22, "an offer that nobody followed up is forgotten", every=0.5)
    wait_until(lambda: perch.udp_sockets() == 0, 3, "its socket is closed")


def test_nobody_watching_means_nothing_is_encoded(launch):
    perch = launch()

    async def run():
        async with watching(perch.url) as viewer:
            await viewer.stamp()

    asyncio.run(run())
    wait_until(lambda: perch.viewers() == 0, 10, "the viewer is gone")
    time.sleep(0.5)
    before = perch.metrics()[camera_metric("perch_frames_encoded_total")]
    assert before > 0
    time.sleep(1.5)
    assert perch.metrics()[camera_metric("perch_frames_encoded_total")] == before


# ---- addresses and ports


def candidates(sdp: str) -> list[list[str]]:
    return [line.split(" ") for line in sections(sdp)[1] if line.startswith("a=candidate:")]


def test_udp_ports_are_taken_from_the_range_and_given_back(launch):
    first = free_port(socket.SOCK_DGRAM)
    first = min(first, 65000)
    last = first + 3
    perch = launch(config=f'[webrtc]\nudp_ports = "{first}-{last}"\n')

    async def run():
        async with watching(perch.url) as viewer:
            ports = {int(part[5]) for part in candidates(viewer.answer)}
            assert ports and all(first <= port <= last for port in ports), ports
            await viewer.stamp()

    asyncio.run(run())
    wait_until(lambda: perch.viewers() == 0, 10, "the viewer is gone")
    # Many more viewers, one after another, than there are ports.
    for _ in range(12):
        response = post_offer(perch.url, offers.good())
        assert response.status_code == 200, response.text
        assert all(first <= int(part[5]) <= last for part in candidates(response.json()["sdp"]))
        requests.delete(f"{perch.url}/whep/{response.json()['session']}", timeout=5)
        wait_until(lambda: perch.viewers() == 0, 3, "the session is gone")


def test_a_full_port_range_is_refused_with_a_reason(launch):
    first = min(free_port(socket.SOCK_DGRAM), 65000)
    perch = launch(config=f'[webrtc]\nudp_ports = "{first}-{first}"\n')
    answers = [post_offer(perch.url, offers.good()) for _ in range(3)]
    bad = [answer for answer in answers if answer.status_code != 200]
    assert bad, "three sessions cannot share the range's only port"
    for answer in bad:
        assert answer.status_code in (500, 503)
        assert answer.json()["error"]
    assert perch.viewers() == 3 - len(bad)


def test_advertised_address_is_a_candidate(launch):
    perch = launch(config='[webrtc]\nadvertise = ["203.0.113.7"]\n')

    async def run():
        viewer = await Viewer.watch(perch.url)
        try:
            assert "203.0.113.7" in {part[4] for part in candidates(viewer.answer)}
        finally:
            await viewer.close()

    asyncio.run(run())
