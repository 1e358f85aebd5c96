"""Offers that cannot be answered get a 4xx that says why, and leave nothing behind."""

import json

import offers
import pytest
import requests
from offers import FINGERPRINT, H264, VP8, audio, sdp, session, video
from perch_process import wait_until

LIMIT = 64 * 1024


def body(value) -> bytes:
    return json.dumps(value).encode()


def offer(text: str) -> bytes:
    return body({"sdp": text, "type": "offer"})


def with_candidates(*candidates: str) -> str:
    return sdp(session(), video(more=[f"a=candidate:{candidate}" for candidate in candidates]))


GOOD = sdp(session(), video())
BAD = {
    # What carries the offer.
    "empty": b"",
    "spaces": b"  \r\n ",
    "not json": b"v=0\r\n",
    "broken json": b'{"sdp": "v=0',
    "array": b"[]",
    "object without keys": b"{}",
    "null": b"null",
    "number": b"7",
    "string": b'"offer"',
    "no sdp": body({"type": "offer"}),
    "no type": body({"sdp": GOOD}),
    "type answer": body({"sdp": GOOD, "type": "answer"}),
    "type pranswer": body({"sdp": GOOD, "type": "pranswer"}),
    "type null": body({"sdp": GOOD, "type": None}),
    "type array": body({"sdp": GOOD, "type": ["offer"]}),
    "sdp number": body({"sdp": 42, "type": "offer"}),
    "sdp null": body({"sdp": None, "type": "offer"}),
    "sdp object": body({"sdp": {"v": 0}, "type": "offer"}),
    "sdp array": body({"sdp": [GOOD], "type": "offer"}),
    "deep json": b'{"sdp":' + b"[" * 20000 + b"]" * 20000 + b',"type":"offer"}',
    "deep objects": b'{"a":' * 8000 + b"1" + b"}" * 8000,
    "not utf-8": b'{"sdp":"v=0\xff\xfe\xc3","type":"offer"}',
    "utf-16": json.dumps({"sdp": GOOD, "type": "offer"}).encode("utf-16"),
    "lone surrogate": b'{"sdp":"\\ud800","type":"offer"}',
    "two documents": offer(GOOD) * 2,
    # What is no SDP.
    "sdp empty": offer(""),
    "sdp garbage": offer("hello"),
    "sdp html": offer("<!doctype html><title>x</title>"),
    "sdp newlines": offer("\r\n" * 500),
    "sdp nul": offer("\0" * 100),
    "sdp version 1": offer(GOOD.replace("v=0", "v=1")),
    "sdp no equals": offer(GOOD.replace("s=-", "s")),
    "first line only": offer("v=0\r\n"),
    "origin missing": offer(GOOD.replace("o=- 4611731400430051336 2 IN IP4 127.0.0.1\r\n", "")),
    "origin broken": offer(GOOD.replace("o=- 4611731400430051336 2 IN IP4 127.0.0.1", "o=-")),
    "cut in the m-line": offer(GOOD[: GOOD.index("m=video") + 9]),
    "cut before credentials": offer(GOOD[: GOOD.index("a=ice-ufrag")]),
    "nul in the middle": offer(GOOD.replace("a=mid:0", "a=m\0id:0\0")),
    "bare carriage returns": offer(GOOD.replace("\r\n", "\r")),
    "header injection": offer(GOOD.replace("s=-", "s=-\r\n\r\nHTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\n\r\n")),
    "lines swapped": offer("".join(reversed(GOOD.splitlines(keepends=True)))),
    # What offers nothing that perch can serve.
    "no media": offer(sdp(session())),
    "audio only": offer(sdp(session(bundle="1"), audio("1"))),
    "data channel only": offer(
        sdp(session(), video(payloads="webrtc-datachannel", profile="UDP/DTLS/SCTP", codecs=["a=sctp-port:5000"], kind="application"))
    ),
    "vp8 only": offer(sdp(session(), video(payloads="96", codecs=VP8))),
    "h264 without rtpmap": offer(sdp(session(), video(codecs=[]))),
    "h264 not packetised": offer(
        sdp(session(), video(codecs=[line.replace("packetization-mode=1", "packetization-mode=9") for line in H264]))
    ),
    "h264 at a clock of 8000": offer(sdp(session(), video(codecs=[line.replace("90000", "8000") for line in H264]))),
    "sendonly": offer(sdp(session(), video(direction="sendonly"))),
    "inactive": offer(sdp(session(), video(direction="inactive"))),
    "video refused by port 0": offer(sdp(session(bundle=None), video(port="0"))),
    "port too large": offer(sdp(session(), video(port="99999"))),
    "port no number": offer(sdp(session(), video(port="nine"))),
    "plain rtp": offer(sdp(session(), video(profile="RTP/AVP"))),
    "no payload types": offer(sdp(session(), video(payloads=""))),
    # What cannot be connected or secured.
    "no fingerprint": offer(sdp(session(fingerprint=None), video())),
    "fingerprint empty": offer(sdp(session(fingerprint=""), video())),
    "fingerprint md5": offer(sdp(session(fingerprint="md5 " + FINGERPRINT[:47]), video())),
    "fingerprint of an unknown kind": offer(sdp(session(fingerprint="rot13 " + FINGERPRINT), video())),
    "fingerprint cut short": offer(sdp(session(fingerprint="sha-256 5A:C3"), video())),
    "fingerprint no hex": offer(sdp(session(fingerprint="sha-256 " + FINGERPRINT.replace("5A", "ZZ")), video())),
    "no ufrag": offer(sdp(session(), video(ufrag=None))),
    "no pwd": offer(sdp(session(), video(pwd=None))),
    "no credentials": offer(sdp(session(), video(ufrag=None, pwd=None))),
    "ufrag empty": offer(sdp(session(), video(ufrag=""))),
    "pwd too short": offer(sdp(session(), video(pwd="short"))),
    "setup unknown": offer(sdp(session(), video(setup="sideways"))),
    "setup holdconn": offer(sdp(session(), video(setup="holdconn"))),
    # What contradicts itself.
    "duplicate mids": offer(sdp(session(bundle="0 0"), video("0"), video("0"))),
    "bundle of a mid that is not there": offer(sdp(session(bundle="7"), video("0"))),
    "1000 candidates": offer(with_candidates(*(f"{n} 1 udp {n} 127.0.0.1 {n + 10000} typ host" for n in range(1000)))),
    "100 media sections": offer(sdp(session(), *(video(str(n), codecs=H264[:5]) for n in range(100)))),
    "candidate with a host's name": offer(with_candidates("1 1 udp 1 evil.example 4000 typ host")),
    "candidate garbage": offer(with_candidates("x")),
    "candidate port": offer(with_candidates("1 1 udp 1 127.0.0.1 99999 typ host")),
    "candidate without a type": offer(with_candidates("1 1 udp 1 127.0.0.1 4000")),
}
# Bent, yet there is one right way to answer.
GOOD_ENOUGH = {
    "plain": GOOD,
    "line feeds only": sdp(session(), video(), end="\n"),
    "two videos": sdp(session(bundle="0 1"), video("0"), video("1")),
    "sendrecv": sdp(session(), video(direction="sendrecv")),
    "no bundle": sdp(session(bundle=None), video()),
    "setup active": sdp(session(), video(setup="active")),
    "unknown attributes": sdp(session(), video(more=["a=x-none:1", "a=ssrc-group:", "b=AS:1"])),
    "20 candidates": with_candidates(*(f"{n} 1 udp {n} 127.0.0.1 {n + 10000} typ host" for n in range(20))),
    "tcp candidate": with_candidates("1 1 tcp 1 127.0.0.1 9 typ host tcptype active"),
    "end of candidates": sdp(session(), video(more=["a=end-of-candidates"])),
    "h264 after vp8": sdp(session(), video(payloads="96 102 103", codecs=VP8 + H264)),
}


def post(url, data):
    return requests.post(url + "/offer", data=data, headers={"content-type": "application/json"}, timeout=10)


def trace(perch) -> dict[str, int]:
    return {"viewers": perch.viewers(), "udp": perch.udp_sockets(), "threads": perch.threads()}


@pytest.fixture
def leaves_nothing(shared):
    """Sessions, sockets and threads are, a moment later, where they were; HTTP may keep a few connections."""
    before, fds = trace(shared), shared.fds()
    yield
    wait_until(
        lambda: all(now <= before[name] + (name == "threads") for name, now in trace(shared).items()),
        5,
        f"back to {before}",
        every=0.2,
    )
    assert shared.fds() <= fds + 4


def refused(response):
    """Asserts a refusal with a reason. What was answered by mistake is closed, so that later tests are not harmed."""
    if response.status_code == 200:
        requests.delete(f"{response.url.removesuffix('/offer')}/whep/{response.json()['session']}", timeout=5)
    assert 400 <= response.status_code < 500, f"{response.status_code} {response.text[:200]}"
    assert response.headers["content-type"].split(";")[0] == "application/json", response.text[:200]
    assert len(response.json()["error"]) > 5
    assert set(response.headers) & {"Set-Cookie"} == set()
    return response


@pytest.mark.parametrize("name", BAD)
def test_bad_offer_is_refused_with_a_reason(shared, leaves_nothing, name):
    refused(post(shared.url, BAD[name]))


@pytest.mark.parametrize("name", ["audio only", "vp8 only", "no credentials", "sendonly"])
def test_well_formed_but_unusable_is_422(shared, name):
    assert refused(post(shared.url, BAD[name])).status_code == 422


@pytest.mark.parametrize("name", ["empty", "broken json", "array", "sdp number", "type answer", "sdp garbage"])
def test_malformed_is_400(shared, name):
    assert refused(post(shared.url, BAD[name])).status_code == 400


@pytest.mark.parametrize("name", GOOD_ENOUGH)
def test_bent_but_good_offer_is_answered(shared, leaves_nothing, name):
    response = post(shared.url, offer(GOOD_ENOUGH[name]))
    assert response.status_code == 200, response.text[:300]
    assert "a=sendonly" in response.json()["sdp"]
    assert requests.delete(f"{shared.url}/whep/{response.json()['session']}", timeout=5).status_code < 300


@pytest.mark.parametrize("size", [LIMIT + 1, 1 << 20])
def test_huge_offer_is_413(shared, leaves_nothing, size):
    data = offer("x" * size)
    try:
        response = post(shared.url, data)
    except requests.ConnectionError:
        # The server may shut the door while the body is still being sent; an honest length is enough for it.
        response = requests.post(shared.url + "/offer", data=data[:100], headers={"content-length": str(len(data))}, timeout=15)
    assert refused(response).status_code == 413


def test_largest_offer_is_still_read(shared):
    filler = "a=x-filler:" + "y" * 1000 + "\r\n"
    text = GOOD + filler * ((LIMIT - len(offer(GOOD)) - 100) // (len(filler) + 2))
    data = offer(text)
    assert LIMIT - 3000 < len(data) <= LIMIT
    response = post(shared.url, data)
    assert response.status_code == 200, response.text[:300]
    requests.delete(f"{shared.url}/whep/{response.json()['session']}", timeout=5)


def test_every_way_of_cutting_a_good_offer_short_leaves_nothing(shared, leaves_nothing):
    """Cut anywhere, it is refused or (when only attributes are missing) answered; never a 5xx, never a hang."""
    for length in range(0, len(GOOD), 7):
        response = post(shared.url, offer(GOOD[:length]))
        if response.status_code == 200:
            requests.delete(f"{shared.url}/whep/{response.json()['session']}", timeout=5)
        else:
            refused(response)


def test_bad_offers_through_whep_are_refused_too(shared, leaves_nothing):
    for name in ("sdp garbage", "audio only", "vp8 only", "no fingerprint", "no ufrag", "header injection"):
        text = json.loads(BAD[name])["sdp"].encode()
        refused(requests.post(shared.url + "/whep", data=text, headers={"content-type": "application/sdp"}, timeout=10))


def test_after_all_of_them_perch_still_serves(shared):
    response = post(shared.url, offer(offers.good()))
    assert response.status_code == 200
    requests.delete(f"{shared.url}/whep/{response.json()['session']}", timeout=5)
    assert shared.process.poll() is None
