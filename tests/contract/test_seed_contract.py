"""The seed's contract, as a client of the seed sees it (the design's contract page), asserted through aiortc."""

import asyncio
import json
import socket

import offers
import pytest
import requests
from barcode import age_ms, decode
from viewer import Viewer, post_offer, sections, watching

SINGLE = '[webrtc]\nmode = "single"\n'


def close_connection(url, value, **kinds):
    return requests.post(url + "/close_connection", json=value, timeout=5, **kinds)


# ---- what the seed's own tests assert


def test_page_is_there_and_unknown_pages_are_not(shared):
    assert requests.get(shared.url + "/", timeout=5).status_code == 200
    missing = requests.get(shared.url + "/test", timeout=5)
    assert missing.status_code == 404
    assert missing.headers["content-type"].startswith("text/html")


def test_two_offers_are_both_answered(shared):
    async def run():
        for _ in range(2):
            viewer = Viewer()
            response = await asyncio.to_thread(post_offer, shared.url, await viewer.offer())
            assert response.status_code == 200
            await viewer.close()

    asyncio.run(run())


def test_close_connection_zero_then_a_new_offer_in_single_mode(launch):
    perch = launch(config=SINGLE)

    async def run():
        async with watching(perch.url) as viewer:
            await viewer.stamp()
            response = await asyncio.to_thread(close_connection, perch.url, 0)
            assert (response.status_code, response.text) == (200, "OK")
            assert response.headers["content-type"].startswith("text/plain")
            # 0 only resets the clock: who watches goes on watching.
            await viewer.stamp()
            await viewer.stamp()
        async with watching(perch.url) as viewer:
            await viewer.stamp()

    asyncio.run(run())


def test_close_connection_is_disabled_in_broadcast_mode(shared):
    async def run():
        async with watching(shared.url) as viewer:
            await viewer.stamp()
            for value in (0, 1, "1", True, {"a": 1}):
                response = await asyncio.to_thread(close_connection, shared.url, value)
                assert (response.status_code, response.text) == (200, "DISABLED"), value
            await viewer.stamp()

    asyncio.run(run())


# ---- HTTP and signalling


def test_get_and_head_of_the_page(shared):
    page = requests.get(shared.url + "/", timeout=5)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    head = requests.head(shared.url + "/", timeout=5)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == page.headers["content-type"]
    assert int(head.headers["content-length"]) == len(page.content)


@pytest.mark.parametrize(
    "path, method, allowed",
    [
        ("/", "POST", {"GET", "HEAD"}),
        ("/", "PUT", {"GET", "HEAD"}),
        ("/offer", "DELETE", {"GET", "POST"}),
        ("/close_connection", "GET", {"POST"}),
        ("/metrics", "POST", {"GET"}),
    ],
)
def test_other_methods_are_405_with_allow(shared, path, method, allowed):
    response = requests.request(method, shared.url + path, timeout=5)
    assert response.status_code == 405
    assert allowed <= {word.strip() for word in response.headers["allow"].split(",")}


def test_offer_by_post_and_by_get_give_an_answer(shared):
    for method in ("POST", "GET"):
        body = json.dumps({"type": "offer", "sdp": offers.good(), "extra": [1, {"x": None}]})
        response = requests.request(method, shared.url + "/offer", data=body, timeout=10)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"].split(";")[0] == "application/json"
        answer = response.json()
        assert answer["type"] == "answer"
        assert answer["sdp"].startswith("v=0\r\n")
        assert requests.delete(f"{shared.url}/whep/{answer['session']}", timeout=5).status_code in (200, 204)


def test_get_offer_without_a_body_is_400(shared):
    response = requests.get(shared.url + "/offer", timeout=5)
    assert response.status_code == 400
    assert response.json()["error"]


@pytest.mark.parametrize(
    "path",
    [
        "/static/../Cargo.toml",
        "/static/../../../../../../etc/passwd",
        "/static/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/static/..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/static//etc/passwd",
        "/static/..\\..\\etc\\passwd",
        "/static/%00",
        "/static/",
    ],
)
def test_static_refuses_traversal(shared, tmp_path, launch, path):
    # By hand: HTTP libraries tidy such paths up before they send them.
    (tmp_path / "static").mkdir()
    for perch in (shared, launch(config=f'[web]\ndata_dir = "{tmp_path}"\n')):
        with socket.create_connection(("127.0.0.1", perch.port), timeout=5) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())
            answer = b""
            while part := client.recv(65536):
                answer += part
        assert answer.split(b" ")[1] in (b"400", b"403", b"404"), answer[:100]
        assert b"root:" not in answer and b"[package]" not in answer


def test_static_files_are_served_and_missing_ones_are_404(shared):
    script = next(
        path for path in requests.get(shared.url + "/", timeout=5).text.replace("'", '"').split('"') if "static/" in path
    )
    response = requests.get(shared.url + "/" + script.lstrip("/"), timeout=5)
    assert response.status_code == 200
    etag = response.headers["etag"]
    again = requests.get(shared.url + "/" + script.lstrip("/"), headers={"if-none-match": etag}, timeout=5)
    assert (again.status_code, again.content) == (304, b"")
    assert requests.get(shared.url + "/static/none.js", timeout=5).status_code == 404


@pytest.mark.parametrize("body", [b"", b"{", b"yes", b"\xff\xfe"])
def test_close_connection_with_bad_json_is_400(shared, body):
    response = requests.post(shared.url + "/close_connection", data=body, timeout=5)
    assert response.status_code == 400
    assert response.json()["error"]


def test_close_connection_is_disabled_before_anything_was_streamed(launch):
    perch = launch(config=SINGLE)
    assert close_connection(perch.url, 1).text == "DISABLED"


def test_close_connection_closes_everybody_in_single_mode(launch):
    perch = launch(config=SINGLE)

    async def run():
        async with watching(perch.url) as viewer:
            await viewer.stamp()
            response = await asyncio.to_thread(close_connection, perch.url, 1)
            assert (response.status_code, response.text) == (200, "OK")
            assert await viewer.goes_silent(5)
        assert perch.viewers() == 0
        async with watching(perch.url) as viewer:
            await viewer.stamp()

    asyncio.run(run())


def test_a_viewer_closes_only_its_own_session(shared):
    async def run():
        async with watching(shared.url) as one, watching(shared.url) as other:
            await one.stamp()
            await other.stamp()
            assert one.session != other.session
            await asyncio.to_thread(close_connection, shared.url, {"session": one.session})
            assert await one.goes_silent(5)
            await other.stamp(2)

    asyncio.run(run())


# ---- WebRTC


def test_answer_is_complete_sendonly_h264_constrained_baseline(shared):
    async def run():
        async with watching(shared.url) as viewer:
            offer, (session, video) = sections(viewer.pc.localDescription.sdp), sections(viewer.answer)
            assert "a=sendonly" in video
            candidates = [line for line in video if line.startswith("a=candidate:")]
            assert candidates, "half-trickle: the answer holds the candidates"
            assert all(" typ host" in line for line in candidates), "no STUN server was configured"
            assert "a=end-of-candidates" in video
            assert video.index("a=end-of-candidates") > max(video.index(line) for line in candidates)
            first = video[0].split(" ")[3]
            assert f"a=rtpmap:{first} H264/90000" in video
            fmtp = next(line for line in video if line.startswith(f"a=fmtp:{first} "))
            assert "packetization-mode=1" in fmtp and "profile-level-id=42e01f" in fmtp
            assert f"a=rtpmap:{first} H264/90000" in offer[1], "the offer's own payload type is used"
            assert any(line.startswith(f"a=fmtp:{first} ") and "42e01f" in line for line in offer[1])
            for feedback in ("nack", "nack pli"):
                assert f"a=rtcp-fb:{first} {feedback}" in video
            assert any("fingerprint:sha-256 " in line for line in session + video)
            await viewer.stamp()

    asyncio.run(run())


def test_pictures_arrive_decode_and_are_of_now(shared):
    async def run():
        async with watching(shared.url) as viewer:
            frame = await viewer.frame()
            assert (frame.width, frame.height) == (1280, 720)
            stamps = [await viewer.stamp() for _ in range(30)]
            assert stamps == sorted(stamps)
            assert len(set(stamps)) > 25, "the picture moves"
            assert 0 <= age_ms(stamps[-1]) < 2000

    asyncio.run(run())


def test_rtp_time_is_capture_time(shared):
    """The gap between two pictures' RTP times is the gap between their barcodes, to within the barcode's grain."""

    async def run():
        async with watching(shared.url) as viewer:
            pairs = []
            while len(pairs) < 45:
                frame = await viewer.frame()
                plane = frame.planes[0]
                stamp = decode(memoryview(plane), plane.line_size, frame.width, frame.height)
                if stamp is not None:
                    pairs.append((stamp, float(frame.pts * frame.time_base) * 1000))
            for (stamp, pts), (next_stamp, next_pts) in zip(pairs, pairs[1:]):
                assert abs((next_stamp - stamp) - (next_pts - pts)) <= 4

    asyncio.run(run())


@pytest.mark.parametrize("order", ["video, video", "video, audio", "audio, video"])
def test_second_video_and_audio_are_answered_inactive(shared, order):
    kinds = order.split(", ")
    make = {"video": offers.video, "audio": offers.audio}
    parts = [make[kind](mid=str(number)) for number, kind in enumerate(kinds)]
    sdp = offers.sdp(offers.session(bundle=" ".join(map(str, range(len(kinds))))), *parts)
    response = post_offer(shared.url, sdp)
    assert response.status_code == 200, response.text
    requests.delete(f"{shared.url}/whep/{response.json()['session']}", timeout=5)
    answered = sections(response.json()["sdp"])[1:]
    assert [part[0].split(" ")[0] for part in answered] == [f"m={kind}" for kind in kinds]
    live = kinds.index("video")
    for number, part in enumerate(answered):
        if number == live:
            assert "a=sendonly" in part
        else:
            # Not rejected (port 0): clients such as the seed's want ICE credentials in every section.
            assert "a=inactive" in part and part[0].split(" ")[1] != "0", part
            assert not any(line.startswith("a=ssrc:") for line in part)
    credentials = {line for part in answered for line in part if line.startswith(("a=ice-ufrag:", "a=ice-pwd:"))}
    assert len(credentials) == 2, "one transport for all, named in each section"
    assert any(line.startswith("a=candidate:") for line in answered[0]), "candidates stand in the section that carries the bundle"


def test_aiortc_watches_with_audio_and_a_second_video_offered(shared):
    async def run():
        async with watching(shared.url, video=2, audio=1) as viewer:
            await viewer.stamp()

    asyncio.run(run())


@pytest.mark.parametrize("offered", ["recvonly", "sendrecv"])
def test_answer_only_sends_whatever_the_offer_would_take(shared, offered):
    response = post_offer(shared.url, offers.sdp(offers.session(), offers.video(direction=offered)))
    assert response.status_code == 200, response.text
    requests.delete(f"{shared.url}/whep/{response.json()['session']}", timeout=5)
    (video,) = sections(response.json()["sdp"])[1:]
    directions = {"a=sendonly", "a=recvonly", "a=sendrecv", "a=inactive"}
    assert directions & set(video) == {"a=sendonly"}


def test_a_newcomer_gets_a_picture_at_once_while_others_watch(shared):
    async def run():
        loop = asyncio.get_running_loop()
        async with watching(shared.url) as first:
            await first.stamp()
            start = loop.time()
            async with watching(shared.url) as second:
                await second.connected()
                connected = loop.time()
                await second.frame()
                assert loop.time() - connected < 1.0, f"connected after {connected - start:.2f} s"

    asyncio.run(run())


def test_local_mdns_candidates_in_an_offer_are_taken(shared):
    name = "a3f1c2d4-0b1e-4a5f-9c6d-7e8f90a1b2c3.local"
    candidate = f"a=candidate:1 1 udp 2122260223 {name} 54321 typ host generation 0"
    response = post_offer(shared.url, offers.sdp(offers.session(), offers.video(more=[candidate])))
    assert response.status_code == 200, response.text
    requests.delete(f"{shared.url}/whep/{response.json()['session']}", timeout=5)
