"""Viewers come and go without harm to each other."""

import time

import pytest
from perch_process import wait_until

pytestmark = pytest.mark.timeout(180)


def test_page_is_live_again_after_each_of_ten_reloads(perch, watch):
    view = watch(perch.url)
    view.wait_until_live()
    sessions = {view.session()}
    for _ in range(10):
        view.page.reload(wait_until="commit")
        view.wait_until_live()
        sessions.add(view.session())
    assert len(sessions) == 11
    wait_until(lambda: perch.viewers() == 1, 10, "only the last session is left")


def test_closed_tab_leaves_the_other_viewer_at_full_rate(perch, watch):
    stays, leaves = watch(perch.url), watch(perch.url)
    stays.wait_until_live()
    leaves.wait_until_live()
    session = stays.session()
    leaves.close()
    closed_at = time.monotonic()
    before = stays.received()
    stays.page.wait_for_timeout(3000)
    after = stays.received()
    rate = (after["framesDecoded"] - before["framesDecoded"]) / ((after["timestamp"] - before["timestamp"]) / 1000)
    assert rate >= 27, f"{rate:.1f} fps after the other tab was closed"
    assert stays.session() == session
    wait_until(lambda: perch.viewers() == 1, closed_at + 10 - time.monotonic(), "the closed tab's session is gone")


def test_leaving_the_page_ends_only_its_own_session(perch, watch):
    stays, leaves = watch(perch.url), watch(perch.url)
    stays.wait_until_live()
    leaves.wait_until_live()
    leaves.page.goto("about:blank")
    # Well before the server could notice by itself that nobody listens.
    wait_until(lambda: perch.viewers() == 1, 2, "the session of the page that was left is gone")
    stays.page.wait_for_timeout(2000)
    assert stays.page.evaluate("window.perch.state") == "live"


def test_eight_windows_opened_at_once_all_get_a_picture(perch, watch):
    views = [watch(perch.url) for _ in range(8)]
    for view in views:
        view.wait_until_live(60)
    before = [view.received()["framesDecoded"] for view in views]
    views[0].page.wait_for_timeout(2000)
    after = [view.received()["framesDecoded"] for view in views]
    assert all(late > early for early, late in zip(before, after)), f"{before} -> {after}"


def test_one_viewer_too_many_is_told_so_and_gets_in_when_another_leaves(launch, watch):
    perch = launch(config="[webrtc]\nmax_viewers = 2\n")
    inside = [watch(perch.url), watch(perch.url)]
    for view in inside:
        view.wait_until_live()
    outside = watch(perch.url)
    outside.wait_for_state("full")
    assert "Too many viewers" in outside.words()
    assert "2" in outside.words(), "the server's reason names the limit"
    inside[0].close()
    outside.wait_until_live()


def test_single_mode_gives_the_camera_to_the_newest_and_tells_the_other(launch, watch):
    perch = launch(config="[webrtc]\nmode = \"single\"\n")
    first = watch(perch.url)
    first.wait_until_live()
    second = watch(perch.url)
    second.wait_until_live()
    first.wait_for_state("replaced")
    session = second.session()
    second.page.wait_for_timeout(6000)
    assert second.session() == session, "the two do not throw each other out in turn"
    first.page.get_by_role("button", name="Watch here").click()
    first.wait_until_live()
    second.wait_for_state("replaced")


def test_a_server_that_is_busy_is_not_said_to_be_full(perch, watch):
    # What the front answers when no connection to the workers is free.
    busy = """
      const fetchNative = window.fetch;
      window.busy = true;
      window.fetch = (what, options) => window.busy && String(what) === 'offer'
        ? Promise.resolve(new Response('{"error": "perch is busy"}', {status: 503, headers: {'Retry-After': '1'}}))
        : fetchNative(what, options);
    """
    view = watch(perch.url, script=busy)
    view.wait_for_state("refused")
    assert "Perch is busy" in view.words() and "viewers" not in view.words()
    view.page.evaluate("window.busy = false")
    view.wait_until_live()
