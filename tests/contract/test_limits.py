"""What one address may take, and where perch may be made to send packets to."""

import asyncio
import http.client
import json
import select
import socket
import time

import aioice
import offers
import pytest
from perch_process import wait_until
from viewer import Viewer, post_offer, watching


def ask(perch, address: str, method: str = "POST", path: str = "/offer", sdp: str | None = None) -> tuple[int, dict, dict]:
    """Status, headers and body of a request that comes from this address of the loopback network."""
    client = http.client.HTTPConnection("127.0.0.1", perch.port, timeout=20, source_address=(address, 0))
    try:
        body = json.dumps({"sdp": sdp or offers.good(), "type": "offer"}) if method == "POST" else None
        client.request(method, path, body, {"Content-Type": "application/json"})
        answer = client.getresponse()
        text = answer.read()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, json.loads(text) if text.startswith(b"{") else {}
    finally:
        client.close()


def offered(perch, address: str, count: int) -> list[int]:
    return [ask(perch, address)[0] for _ in range(count)]


# ---- places


def test_one_address_leaves_places_for_others_that_connect(launch):
    perch = launch()
    # None of these ever connects.
    assert offered(perch, "127.0.0.2", 10) == [200] * 9 + [429]
    assert offered(perch, "127.0.0.3", 4) == [200] * 3 + [503]
    status, headers, body = ask(perch, "127.0.0.2")
    assert (status, body["limit"], headers["retry-after"]) == (429, 12, "5") and "your address" in body["error"]
    status, headers, body = ask(perch, "127.0.0.4")
    assert status == 503 and "limit" not in body and headers["retry-after"] == "5" and "just connecting" in body["error"]
    assert perch.metrics()["perch_offers_refused_total"] == 4
    wait_until(lambda: perch.viewers() == 0, 40, "offers that led nowhere are forgotten", every=0.5)
    asyncio.run(one_picture(perch))


async def one_picture(perch):
    async with watching(perch.url) as viewer:
        await viewer.frame(30)


def test_the_owner_says_how_many_may_watch_from_one_address(launch):
    perch = launch(config="[webrtc]\nmax_viewers_per_address = 1\n")

    async def two():
        async with watching(perch.url) as viewer:
            await viewer.frame(30)
            second = await asyncio.to_thread(ask, perch, "127.0.0.1")
            assert (second[0], second[2]["limit"]) == (429, 1)
            assert (await asyncio.to_thread(ask, perch, "127.0.0.2"))[0] == 200

    asyncio.run(two())


def test_offers_may_come_only_so_fast_from_one_address(launch):
    perch = launch(config="[webrtc]\noffers_per_minute = 3\n")
    for _ in range(3):
        status, _, body = ask(perch, "127.0.0.2")
        assert status == 200
        ask(perch, "127.0.0.2", "DELETE", f"/whep/{body['session']}")
    wait_until(lambda: perch.viewers() == 0, 20, "those are closed")
    status, headers, body = ask(perch, "127.0.0.2")
    assert status == 429 and 0 < int(headers["retry-after"]) <= 20 and "too many offers" in body["error"]
    assert ask(perch, "127.0.0.2", sdp="v=0")[0] == 400, "what is no offer is told so all the same"
    assert ask(perch, "127.0.0.3")[0] == 200


# ---- connections that do not come about


def test_an_offer_whose_dtls_never_comes_is_forgotten(launch):
    perch = launch()

    async def only_ice():
        ice = aioice.Connection(ice_controlling=True)
        await ice.gather_candidates()
        lines = [f"a=candidate:{candidate.to_sdp()}" for candidate in ice.local_candidates]
        video = offers.video(ufrag=ice.local_username, pwd=ice.local_password, more=lines)
        response = await asyncio.to_thread(post_offer, perch.url, offers.sdp(offers.session(), video))
        assert response.status_code == 200, response.text
        for line in response.json()["sdp"].splitlines():
            name, _, value = line.removeprefix("a=").partition(":")
            if name == "candidate":
                await ice.add_remote_candidate(aioice.Candidate.from_sdp(value))
            elif name == "ice-ufrag":
                ice.remote_username = value
            elif name == "ice-pwd":
                ice.remote_password = value
        await ice.add_remote_candidate(None)
        await asyncio.wait_for(ice.connect(), 20)
        assert await asyncio.to_thread(perch.viewers) == 1
        # ICE goes on consenting all the while.
        await asyncio.to_thread(wait_until, lambda: perch.viewers() == 0, 40, "it is forgotten", 0.5)
        await ice.close()

    asyncio.run(only_ice())
    assert "its connection never came" in perch.log()


def test_who_has_not_the_key_of_the_fingerprint_gets_nothing(launch):
    perch = launch()

    async def other_key():
        viewer = Viewer()
        try:
            sdp = await viewer.offer()
            own = next(line for line in sdp.splitlines() if line.startswith("a=fingerprint:sha-256"))
            bent = "\r\n".join(f"a=fingerprint:sha-256 {offers.FINGERPRINT}" if line.startswith("a=fingerprint:") else line for line in sdp.splitlines()) + "\r\n"
            assert own not in bent
            response = await asyncio.to_thread(post_offer, perch.url, bent)
            assert response.status_code == 200, response.text
            await viewer.accept(response.json()["sdp"])
            await asyncio.to_thread(wait_until, lambda: perch.viewers() == 0, 40, "it ends", 0.5)
        finally:
            await viewer.close()

    asyncio.run(other_key())
    assert perch.metrics()["perch_units_sent_total"] == 0


# ---- checks


def checks(sockets: list[socket.socket], seconds: float) -> int:
    """STUN requests that come to these sockets, which never say a word."""
    count, end = 0, time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        for ready in select.select(sockets, [], [], left)[0]:
            count += ready.recv(2048).startswith(b"\x00\x01")
    return count


@pytest.mark.parametrize(("victims", "least", "most"), [(1, 5, 30), (40, 100, 300)])
def test_who_did_not_ask_gets_few_checks(launch, victims, least, most):
    perch = launch()
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(victims)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        lines = [f"a=candidate:{n} 1 udp {2_000_000 + n} 127.0.0.1 {one.getsockname()[1]} typ host" for n, one in enumerate(sockets)]
        response = post_offer(perch.url, offers.sdp(offers.session(), offers.video(more=lines)))
        assert response.status_code == 200, response.text
        # Whether they are few is known when the session has given up, and whether they come at all well before.
        count = checks(sockets, 8)
        assert least <= count <= most, f"{count} checks"
    finally:
        for one in sockets:
            one.close()
