"""The page around the picture: keys, looks, manners."""

import os
import re
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from page_view import DESKTOP, PHONE
from PIL import Image

pytestmark = pytest.mark.timeout(90)
DOCS = Path(__file__).resolve().parents[2] / "docs"
LARGEST_SCREENSHOT = 300_000


@pytest.fixture
def view(perch, watch):
    view = watch(perch.url)
    view.wait_until_live()
    return view


def test_page_logs_no_errors(view):
    view.page.keyboard.press("i")
    view.page.wait_for_timeout(3000)
    assert view.errors == []


def test_page_asks_nobody_but_its_server(perch, view):
    view.page.keyboard.press("i")
    view.page.wait_for_timeout(2000)
    hosts = {urlsplit(url).netloc for url in view.requests if not url.startswith("blob:")}
    assert hosts == {urlsplit(perch.url).netloc}
    assert view.page.evaluate("window.perch.pc.getConfiguration().iceServers") == []


def test_missing_page_says_so_and_leads_to_the_camera(perch, watch):
    view = watch(f"{perch.url}/nothing/here")
    view.page.get_by_role("link", name="Go to the camera").click()
    view.wait_until_live()


def test_key_f_toggles_full_screen(view):
    view.page.keyboard.press("f")
    view.wait("document.fullscreenElement !== null", 5)
    view.page.keyboard.press("f")
    view.wait("document.fullscreenElement === null", 5)


def test_key_p_toggles_picture_in_picture_or_says_why_not(view):
    view.page.keyboard.press("p")
    view.wait("document.pictureInPictureElement !== null || toast.innerText.includes('Picture in picture')", 5)


def test_key_s_saves_the_picture(view):
    with view.page.expect_download(timeout=10_000) as saved:
        view.page.keyboard.press("s")
    assert re.fullmatch(r"perch-\d{8}-\d{6}\.jpg", saved.value.suggested_filename)
    with Image.open(saved.value.path()) as picture:
        assert picture.format == "JPEG"
        assert list(picture.size) == view.page.evaluate("[video.videoWidth, video.videoHeight]")


def test_key_i_toggles_statistics_with_figures(view):
    view.page.keyboard.press("i")
    figures = view.wait("/\\d fps/.test(figures.innerText) && /Glass to glass/.test(figures.innerText) && figures.innerText", 10)
    assert "H.264" in figures and "1280 × 720" in figures
    age = re.search(r"Glass to glass\s+(-?\d+) ms", figures)
    print(f"glass to glass by the page's own reading: {age[1]} ms")
    assert -20 <= int(age[1]) < 1000
    view.page.keyboard.press("i")
    view.wait("statistics.hidden", 5)


def test_key_question_mark_toggles_help(view):
    view.page.keyboard.press("?")
    view.wait("help.open", 5)
    view.page.keyboard.press("?")
    view.wait("!help.open", 5)


def test_controls_are_reached_with_the_tab_key(view):
    wanted = ["Save a snapshot", "Statistics", "Camera controls", "Picture in picture", "Full screen", "System", "Keyboard shortcuts"]
    # Some appear only when the page has learnt what the camera and the door allow.
    shown = "[...document.querySelectorAll('#bar > *')].filter((each) => !each.hidden && !each.disabled)"
    view.wait(f"{shown}.map((each) => each.ariaLabel).join() === '{','.join(wanted)}'", 10)
    reached = []
    for _ in wanted:
        view.page.keyboard.press("Tab")
        reached.append(view.page.evaluate("document.activeElement.ariaLabel"))
    assert reached == wanted


def test_words_and_buttons_appear_while_the_picture_takes_its_time(perch, watch):
    view = watch("about:blank")
    view.page.route("**/offer", lambda route: None)  # it is never answered
    view.page.goto(perch.url, wait_until="commit")
    view.page.locator("#status").wait_for(state="visible", timeout=10_000)
    assert view.words() == "Connecting"
    assert view.page.locator("#show-help").is_visible()


def test_status_is_announced(view):
    assert view.page.get_attribute("#status", "role") == "status"
    assert view.words() == "Live"


def test_browser_that_refuses_to_play_is_given_a_button(perch, watch):
    view = watch("about:blank")
    view.page.add_init_script(
        """const play = HTMLMediaElement.prototype.play;
        HTMLMediaElement.prototype.play = async function () {
          HTMLMediaElement.prototype.play = play;
          throw new DOMException('a touch is needed', 'NotAllowedError');
        };"""
    )
    view.page.goto(perch.url, wait_until="commit")
    view.wait_until_live()
    assert "Ready" in view.words()
    view.page.get_by_role("button", name="Play").click()
    view.wait("document.getElementById('title').innerText === 'Live'", 5)


@pytest.mark.parametrize("viewport", [PHONE, {"width": 844, "height": 390}], ids=["upright", "lying"])
def test_phone_shows_everything_without_scrolling(perch, watch, viewport):
    view = watch(perch.url, viewport=viewport, has_touch=True, is_mobile=True)
    view.wait_until_live()
    view.page.evaluate("document.getElementById('toggle-statistics').click()")
    view.wait("/fps/.test(figures.innerText)", 10)
    outside = view.page.evaluate(
        """[...document.querySelectorAll('video, #status, #statistics, #bar, #bar button:not([hidden])')].filter(element => {
          const {left, top, right, bottom} = element.getBoundingClientRect();
          return left < 0 || top < 0 || right > innerWidth || bottom > innerHeight;
        }).map(element => element.id)"""
    )
    assert outside == []
    assert view.page.evaluate("document.documentElement.scrollWidth <= innerWidth && document.documentElement.scrollHeight <= innerHeight")


@pytest.mark.skipif("PERCH_SCREENSHOT" not in os.environ, reason="makes the pictures in docs/ when PERCH_SCREENSHOT is set")
@pytest.mark.parametrize("name, viewport", [("screenshot", DESKTOP), ("screenshot-phone", PHONE)])
def test_screenshots_for_the_documentation(perch, watch, name, viewport):
    view = watch(perch.url, viewport=viewport)
    view.wait_until_live()
    view.page.keyboard.press("i")
    view.page.wait_for_timeout(3500)
    view.page.mouse.move(200, 300)
    view.page.wait_for_timeout(500)
    with Image.open(BytesIO(view.page.screenshot())) as picture:
        # A palette is enough for a picture in a document, and a third of the size.
        path = DOCS / f"{name}.png"
        picture.convert("RGB").quantize(256).save(path, optimize=True)
    assert path.stat().st_size < LARGEST_SCREENSHOT


def test_in_mjpeg_mode_the_page_shows_single_pictures_at_once(launch, watch):
    view = watch(launch("--mode", "mjpeg").url)
    view.wait_for_state("mjpeg")
    view.wait("document.getElementById('stills').naturalWidth > 0", 5)
    assert "single pictures only" in view.words()
