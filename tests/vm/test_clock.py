"""The machine's clock is set, by a day and back: nobody's picture stops. A Pi has no clock of its own, so this is every start."""

import re

import pytest
import requests
from perch_process import wait_until

pytestmark = pytest.mark.timeout(120)

DAY = 86_400


def set_clock(guest, by: int):
    guest.run(f"date -s @$(($(date +%s) + {by}))")


def opened(perch) -> int:
    return int(re.search(r"^perch_sessions_opened_total (\d+)", requests.get(perch.url + "/metrics", timeout=5).text, re.M)[1])


def test_a_clock_that_jumps_by_a_day_stops_nothing(guest, launch, watch, look):
    perch = launch("test")
    view, jpegs = watch(perch.url), look(perch)
    view.wait_until_live(30)
    sessions = opened(perch)
    for by in (DAY, -DAY, -DAY, DAY):
        set_clock(guest, by)
        decoded = view.received()["framesDecoded"]
        jpegs.look_away()
        wait_until(lambda: view.received()["framesDecoded"] > decoded + 5, 5, f"pictures go on after {by} s")
        jpegs.wait_for(lambda _: True, 5, f"JPEG pictures go on after {by} s")
        assert perch.state() == "live", perch.reason()
    assert opened(perch) == sessions, "it never had to connect anew"
    # Somebody who comes now is welcome too.
    watch(perch.url).wait_until_live(30)
