"""Two hundred viewers come and go, and perch is as it was."""

import asyncio
import time

import offers
import pytest
import requests
from perch_process import wait_until
from viewer import post_offer, watching

VIEWERS = 200
AT_ONCE = 8
# The first 200 may leave what the allocator keeps of their peak; the next 200 find all they need there.
FIRST_KB, NEXT_KB = 12 * 1024, 3 * 1024


def trace(perch) -> dict[str, int]:
    return {"viewers": perch.viewers(), "udp": perch.udp_sockets(), "fds": perch.fds(), "threads": perch.threads()}


def settle(perch, before) -> None:
    """Waits until perch has as much open as before; HTTP's own connections may be a few more or less."""
    may_grow = {"fds": 24, "threads": 2}
    end = time.monotonic() + 20
    while grown := {name: now for name, now in trace(perch).items() if now > before[name] + may_grow.get(name, 0)}:
        assert time.monotonic() < end, f"{grown} after 20 s, was {before}"
        time.sleep(0.5)


async def batch(url: str, count: int, says_goodbye: bool = True):
    async def one():
        async with watching(url) as viewer:
            await viewer.connected(20)
            await viewer.frame(20)
            if says_goodbye:
                await asyncio.to_thread(requests.delete, f"{url}/whep/{viewer.session}", timeout=5)

    for _ in range(count // AT_ONCE):
        await asyncio.gather(*(one() for _ in range(AT_ONCE)))


def come_and_go_twice(perch, come_and_go):
    """Runs `come_and_go(count)` for a few viewers, for 200, and for 200 more; asserts that nothing stays."""
    come_and_go(2 * AT_ONCE)
    wait_until(lambda: perch.viewers() == 0, 15, "the first viewers are gone", every=0.2)
    before, opened = trace(perch), perch.metrics()["perch_sessions_opened_total"]
    memory = [perch.private_kb()]
    for _ in range(2):
        come_and_go(VIEWERS)
        settle(perch, before)
        memory.append(perch.private_kb())
    metrics = perch.metrics()
    assert metrics["perch_sessions_opened_total"] == opened + 2 * VIEWERS
    assert metrics["perch_sessions_closed_total"] == metrics["perch_sessions_opened_total"]
    assert memory[1] - memory[0] < FIRST_KB, f"private memory in kB: {memory}"
    assert memory[2] - memory[1] < NEXT_KB, f"private memory in kB: {memory}"


@pytest.mark.timeout(300)
def test_200_connected_viewers_leave_nothing_behind(launch):
    # More than one address may bring in a minute.
    perch = launch(config="[webrtc]\noffers_per_minute = 100000\n")
    come_and_go_twice(perch, lambda count: asyncio.run(batch(perch.url, count)))


@pytest.mark.timeout(120)
def test_viewers_that_leave_without_a_word_leave_nothing_behind(launch):
    perch = launch(config="[webrtc]\nmax_viewers = 64\n")
    before = trace(perch)
    asyncio.run(batch(perch.url, 6 * AT_ONCE, says_goodbye=False))
    settle(perch, before)
    metrics = perch.metrics()
    assert metrics["perch_sessions_closed_total"] == metrics["perch_sessions_opened_total"] == 6 * AT_ONCE


@pytest.mark.timeout(120)
def test_200_offers_that_are_closed_before_they_connect_leave_nothing_behind(launch):
    perch = launch(config="[webrtc]\nmax_viewers = 256\noffers_per_minute = 60000\n")

    def come_and_go(count):
        for _ in range(count):
            response = post_offer(perch.url, offers.good())
            assert response.status_code == 200, response.text
            assert requests.delete(f"{perch.url}/whep/{response.json()['session']}", timeout=5).status_code < 300

    come_and_go_twice(perch, come_and_go)
