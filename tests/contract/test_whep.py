"""WHEP (draft-ietf-wish-whep): one POST to watch, one DELETE to stop."""

import asyncio
from urllib.parse import urljoin

import offers
import pytest
import requests
from perch_process import wait_until
from viewer import Viewer

SDP = {"content-type": "application/sdp"}
TRICKLE = {"content-type": "application/trickle-ice-sdpfrag"}


def post(url, sdp=None, **headers):
    return requests.post(url + "/whep", data=sdp or offers.good(), headers={**SDP, **headers}, timeout=10)


@pytest.fixture
def resource(shared):
    response = post(shared.url)
    assert response.status_code == 201, response.text
    url = urljoin(response.url, response.headers["location"])
    yield url
    requests.delete(url, timeout=5)


def fragment(sdp: str, *candidates: str) -> str:
    wanted = ("a=ice-ufrag", "a=ice-pwd", "a=mid")
    lines = [line for line in sdp.split("\r\n") if line.startswith(wanted)]
    return "\r\n".join([*lines[:2], "m=video 9 UDP/TLS/RTP/SAVPF 0", *lines[2:], *candidates, ""])


def test_post_is_201_with_location_and_etag(shared):
    response = post(shared.url)
    assert response.status_code == 201, response.text
    assert response.headers["content-type"].split(";")[0] == "application/sdp"
    assert response.text.startswith("v=0\r\n") and "a=end-of-candidates" in response.text
    etag = response.headers["etag"]
    assert etag.startswith('"') and etag.endswith('"')
    location = urljoin(response.url, response.headers["location"])
    assert location.startswith(shared.url + "/whep/")
    assert requests.delete(location, timeout=5).status_code in (200, 204)


def test_a_whep_viewer_sees_pictures_until_it_deletes(shared):
    async def run():
        viewer = Viewer()
        response = await asyncio.to_thread(post, shared.url, await viewer.offer())
        await viewer.accept(response.text)
        await viewer.stamp()
        location = urljoin(response.url, response.headers["location"])
        assert (await asyncio.to_thread(requests.delete, location, timeout=5)).status_code in (200, 204)
        assert await viewer.goes_silent(5)
        await viewer.close()
        assert requests.delete(location, timeout=5).status_code == 404

    asyncio.run(run())


def test_delete_frees_the_session(shared, resource):
    before = shared.viewers()
    assert requests.delete(resource, timeout=5).status_code in (200, 204)
    wait_until(lambda: shared.viewers() == before - 1, 2, "the session is gone")


def test_another_content_type_is_415(shared):
    for content_type in ("application/json", "text/plain", "application/sdp2"):
        response = requests.post(shared.url + "/whep", data=offers.good(), headers={"content-type": content_type}, timeout=5)
        assert response.status_code == 415, content_type
        assert response.json()["error"]
    with_parameter = post(shared.url, **{"content-type": "application/sdp; charset=utf-8"})
    assert with_parameter.status_code == 201
    requests.delete(urljoin(with_parameter.url, with_parameter.headers["location"]), timeout=5)


def test_options_tells_what_is_posted(shared):
    response = requests.options(shared.url + "/whep", timeout=5)
    assert response.status_code in (200, 204)
    assert "application/sdp" in response.headers["accept-post"]


def test_options_of_a_resource(shared, resource):
    assert requests.options(resource, timeout=5).status_code in (200, 204)


@pytest.mark.parametrize("name", ["0" * 32, "nobody", "..", "%00", "a" * 5000, "0" * 31 + "g"])
@pytest.mark.parametrize("method", ["DELETE", "PATCH"])
def test_unknown_resources_are_404(shared, method, name):
    request = requests.Request(method, shared.url, data=b"a=end-of-candidates\r\n" if method == "PATCH" else None)
    request = request.prepare()
    request.headers.update(TRICKLE if method == "PATCH" else {})
    request.url = f"{shared.url}/whep/{name}"
    with requests.Session() as client:
        response = client.send(request, timeout=5)
    assert response.status_code in ((404,) if len(name) == 32 else (400, 404, 405, 414)), response.text


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_other_methods_on_the_endpoint_are_405(shared, method):
    response = requests.request(method, shared.url + "/whep", timeout=5)
    assert response.status_code == 405
    assert "POST" in response.headers["allow"]


def test_other_methods_on_a_resource_are_405(shared, resource):
    for method in ("GET", "PUT", "POST"):
        response = requests.request(method, resource, headers=SDP, timeout=5)
        assert response.status_code == 405, method
        assert "DELETE" in response.headers["allow"]


def test_patch_takes_candidates(shared):
    sdp = offers.good()
    response = post(shared.url, sdp)
    resource = urljoin(response.url, response.headers["location"])
    try:
        candidate = "a=candidate:1 1 udp 2122260223 127.0.0.1 54321 typ host generation 0"
        patched = requests.patch(resource, data=fragment(sdp, candidate, "a=end-of-candidates"), headers=TRICKLE, timeout=5)
        assert patched.status_code in (200, 204), patched.text
        garbage = requests.patch(resource, data=fragment(sdp, "a=candidate:what"), headers=TRICKLE, timeout=5)
        assert garbage.status_code in (400, 422)
        assert garbage.json()["error"]
        assert requests.patch(resource, data=b"{}", headers={"content-type": "application/json"}, timeout=5).status_code == 415
    finally:
        requests.delete(resource, timeout=5)


def test_beyond_max_viewers_is_503_with_a_reason_and_a_place_frees_up(launch):
    perch = launch(config="[webrtc]\nmax_viewers = 2\n")
    first, second = post(perch.url), post(perch.url)
    assert (first.status_code, second.status_code) == (201, 201)
    for response in (post(perch.url), requests.post(perch.url + "/offer", json={"type": "offer", "sdp": offers.good()}, timeout=5)):
        assert response.status_code == 503
        assert "2" in response.json()["error"]
    assert perch.viewers() == 2
    requests.delete(urljoin(first.url, first.headers["location"]), timeout=5)
    wait_until(lambda: post(perch.url).status_code == 201, 2, "the place that was left is taken again", every=0.2)
