"""Several cameras on one page: all of them as tiles, one of them large."""

from page_view import PHONE
from perch_process import wait_until

THREE = """
[[camera]]
name = "door"
source = "test"
resolution = "640x360"

[[camera]]
name = "garden"
source = "test"
resolution = "320x240"

[[camera]]
name = "attic"
source = "/dev/video97"
"""

ALL_THERE = "JSON.stringify(window.perch?.cameras) === JSON.stringify({door: 'live', garden: 'live', attic: 'no-input'})"
PLAYING = "[...document.querySelectorAll('.tile video')].every(video => video.readyState >= 2 && !video.paused)"


def watched(perch) -> dict[str, int]:
    return {camera["name"]: camera["viewers"] for camera in perch.status()["cameras"]}


def test_all_cameras_then_one_then_all_again(launch, watch):
    perch = launch(config=THREE, source=None)
    view = watch(perch.url)
    view.wait(ALL_THERE)
    view.wait(PLAYING)
    assert watched(perch) == {"door": 1, "garden": 1, "attic": 1}
    widths = view.page.evaluate("[...document.querySelectorAll('.tile video')].map(video => video.videoWidth).slice(0, 2)")
    assert widths == [640, 320]
    assert "No input" in view.page.locator(".tile", has_text="attic").inner_text()
    assert not view.page.locator("#show-cameras, #snapshot").first.is_visible()

    view.page.locator(".tile", has_text="garden").click()
    view.wait_until_live()
    assert view.page.evaluate("document.getElementById('video').videoWidth") == 320
    assert view.page.url.endswith("#garden") and view.page.title() == "garden – perch"
    assert "garden" in view.words() and not view.page.locator(".tile").first.is_visible()
    wait_until(lambda: watched(perch) == {"door": 0, "garden": 1, "attic": 0}, 10, "the other cameras are watched no more")

    view.page.keyboard.press("1")
    view.wait("document.getElementById('video').videoWidth === 640")
    view.page.locator("#show-cameras").click()
    view.wait(ALL_THERE)
    view.wait(PLAYING)
    assert not view.page.locator("#status").is_visible()
    wait_until(lambda: watched(perch) == {"door": 1, "garden": 1, "attic": 1}, 10, "each camera has one viewer again")
    assert view.errors == []


def test_an_address_leads_to_one_camera_at_once(launch, watch):
    perch = launch(config=THREE, source=None)
    view = watch(perch.url + "/#door", viewport=PHONE)
    view.wait_until_live()
    assert watched(perch) == {"door": 1, "garden": 0, "attic": 0}
    view.page.keyboard.press("g")
    view.wait(ALL_THERE)
    tiles = view.page.locator(".tile").evaluate_all("tiles => tiles.map(tile => tile.getBoundingClientRect().left)")
    assert len(set(tiles)) == 1, "on a phone held upright they stand below each other"


def test_one_camera_has_no_page_of_all(launch, watch):
    perch = launch()
    view = watch(perch.url)
    view.wait_until_live()
    assert not view.page.locator("#show-cameras").is_visible()
    view.page.keyboard.press("g")
    view.page.keyboard.press("?")
    assert "All cameras" not in view.page.locator("#help").inner_text()
    assert view.page.evaluate("window.perch.state") == "live"
