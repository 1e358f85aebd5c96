"""What goes wrong is said in words, and mends itself under an open page."""

import os
import re
import signal

import pytest
from y4m_fifo import FifoCamera

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def camera(tmp_path):
    camera = FifoCamera(tmp_path / "camera.y4m")
    yield camera
    camera.stop()


def test_lost_source_is_told_and_comes_back_in_the_same_session(launch, watch, camera):
    camera.start()
    perch = launch(source=f"file:{camera.path}")
    view = watch(perch.url)
    view.wait_until_live()
    session = view.session()
    camera.pause()
    view.wait_for_state("no-input", 15)
    assert "No input" in view.words()
    camera.resume()
    view.wait_until_live(30)
    assert view.session() == session


def test_page_recovers_from_a_server_that_was_killed_and_restarted(launch, watch):
    perch = launch()
    view = watch(perch.url)
    view.wait_until_live()
    session = view.session()
    perch.process.kill()
    perch.process.wait(5)
    view.wait_for_state("gone", 15)
    assert "Server gone" in view.words()
    launch(port=perch.port)
    view.wait("window.perch.state === 'live'", 20)
    assert view.session() != session


def test_page_recovers_from_a_restart_too_short_to_be_noticed(launch, watch):
    perch = launch()
    view = watch(perch.url)
    view.wait_until_live()
    session = view.session()
    perch.process.kill()
    perch.process.wait(5)
    launch(port=perch.port)
    view.wait(f"window.perch.session && window.perch.session !== '{session}' && window.perch.state === 'live'", 20)


def test_page_kept_in_memory_is_live_again_when_it_is_gone_back_to(perch, watch):
    view = watch(perch.url)
    view.wait_until_live()
    view.page.goto("about:blank")
    view.page.go_back(wait_until="commit")
    view.wait_until_live()


def test_browser_without_webrtc_gets_jpeg_pictures_and_is_told_so(perch, browser, watch):
    view = watch("about:blank")
    view.page.add_init_script("delete window.RTCPeerConnection")
    view.page.goto(perch.url, wait_until="commit")
    view.wait_for_state("mjpeg")
    view.wait("stills.naturalWidth > 0")
    assert "JPEG" in view.words()
    assert view.page.get_by_role("button", name="Try WebRTC again").is_visible()


def test_refused_offer_falls_back_to_jpeg_pictures_with_a_way_back(perch, watch):
    view = watch("about:blank")
    refusal = {"status": 422, "content_type": "application/json", "body": '{"error": "no usable H.264"}'}
    view.page.route("**/offer", lambda route: route.fulfill(**refusal))
    view.page.goto(perch.url, wait_until="commit")
    view.wait_for_state("mjpeg")
    assert "No usable H.264" in view.words()
    view.page.unroute("**/offer")
    view.page.get_by_role("button", name="Try WebRTC again").click()
    view.wait_until_live()


def test_network_without_a_way_for_video_falls_back_to_jpeg_pictures(perch, watch):
    view = watch("about:blank")

    def lead_astray(route):
        response = route.fetch()
        answer = response.json()
        answer["sdp"] = re.sub(r"(a=candidate:\S+ \d+ \w+ \d+) \S+ \d+", r"\1 127.0.0.1 9", answer["sdp"])
        route.fulfill(response=response, json=answer)

    view.page.route("**/offer", lead_astray)
    view.page.goto(perch.url, wait_until="commit")
    view.wait_for_state("mjpeg", 60)
    view.wait("stills.naturalWidth > 0")
    assert "No way through" in view.words()


def test_page_says_that_the_camera_was_switched_off(launch, watch, monkeypatch, tmp_path):
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    perch = launch()
    view = watch(perch.url)
    view.wait_until_live()
    session = view.session()
    os.kill(perch.pid, signal.SIGUSR1)
    view.wait_for_state("private")
    assert "Privacy" in view.words() and "switched off" in view.words()
    os.kill(perch.pid, signal.SIGUSR1)
    view.wait_for_state("live")
    assert view.session() == session
