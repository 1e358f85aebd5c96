"""A long run: viewers join and leave, and things go wrong, at random from a seed. See scripts/soak.

Prints a table of what perch holds while it runs; ends with an error when it holds more than before when all have gone.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import signal
import socket
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "contract")]

import offers  # noqa: E402
import requests  # noqa: E402
from perch_process import Perch  # noqa: E402
from viewer import Viewer, post_offer  # noqa: E402

MOST_VIEWERS = 6
CONFIG = '[camera]\nresolution = "640x360"\nframerate = 15\n'
# What may stay of a run: HTTP's own connections, and what the allocator keeps of the peak, in kB.
MAY_GROW = {"viewers": 0, "udp": 0, "fds": 24, "threads": 4, "kb": 24 * 1024}
EVERY = 10


class Soak:
    def __init__(self, perch: Perch, seed: int):
        self.perch, self.random = perch, random.Random(seed)
        self.viewers: list[Viewer] = []
        self.readers: list[socket.socket] = []
        self.count: dict[str, int] = {}

    async def join(self):
        if len(self.viewers) < MOST_VIEWERS:
            viewer = await Viewer.watch(self.perch.url)
            self.viewers.append(viewer)
            await viewer.frame(60)

    async def leave(self):
        if self.viewers:
            viewer = self.viewers.pop(self.random.randrange(len(self.viewers)))
            await asyncio.to_thread(requests.delete, f"{self.perch.url}/whep/{viewer.session}", timeout=30)
            await viewer.close()

    async def vanish(self):
        """A viewer that says nothing to anybody any more."""
        if self.viewers:
            await self.viewers.pop(self.random.randrange(len(self.viewers))).close()

    async def never_connect(self):
        await asyncio.to_thread(post_offer, self.perch.url, offers.good())

    async def nonsense(self):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.perch.port), 10) as client:
            client.sendall(self.random.randbytes(self.random.randrange(1, 4000)))

    async def read_pictures(self):
        """A reader of /stream.mjpg that reads a little, and then nothing."""
        if len(self.readers) < 3:
            client = socket.create_connection(("127.0.0.1", self.perch.port), 10)
            client.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            self.readers.append(client)
        else:
            self.readers.pop(0).close()

    async def stand_still(self):
        """The machine does something else for a while."""
        self.perch.process.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(self.random.uniform(0.1, 2))
        finally:
            self.perch.process.send_signal(signal.SIGCONT)

    async def switch_off_and_on(self):
        for _ in range(2):
            self.perch.process.send_signal(signal.SIGUSR1)
            await asyncio.sleep(self.random.uniform(0.2, 1))

    async def watch(self):
        """Whoever is there sees pictures."""
        await asyncio.gather(*(viewer.frame(60) for viewer in self.viewers))

    async def run(self, seconds: float, table):
        ways = [self.join, self.join, self.join, self.leave, self.leave, self.vanish, self.never_connect, self.nonsense,
                self.read_pictures, self.stand_still, self.switch_off_and_on, self.watch, self.watch]  # fmt: skip
        end, due = time.monotonic() + seconds, time.monotonic()
        while time.monotonic() < end:
            way = self.random.choice(ways)
            await way()
            self.count[way.__name__] = self.count.get(way.__name__, 0) + 1
            await asyncio.sleep(self.random.uniform(0, 0.5))
            if time.monotonic() >= due:
                await asyncio.to_thread(table)
                due = time.monotonic() + EVERY
        for client in self.readers:
            client.close()
        for viewer in self.viewers:
            await viewer.close()


def held(perch: Perch) -> dict[str, int]:
    return {"viewers": perch.viewers(), "udp": perch.udp_sockets(), "fds": perch.fds(), "threads": perch.threads(), "kb": perch.private_kb()}


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seconds", type=float, default=180)
    arguments.add_argument("--seed", type=int, default=1)
    given = arguments.parse_args()
    start = time.monotonic()
    with Perch(config=CONFIG) as perch:
        # What the first viewers make perch allocate belongs to what it was.
        soak = Soak(perch, given.seed)
        asyncio.run(soak.run(min(20, given.seconds / 4), lambda: None))
        before = settle(perch, {key: 0 for key in MAY_GROW} | {"fds": 1000, "threads": 1000, "kb": 1 << 30})
        print(f"seed {given.seed}, {given.seconds:.0f} s\n{'s':>6}  " + "  ".join(f"{key:>8}" for key in before))

        def table():
            print(f"{time.monotonic() - start:6.0f}  " + "  ".join(f"{value:8}" for value in held(perch).values()), flush=True)

        soak = Soak(perch, given.seed + 1)
        asyncio.run(soak.run(given.seconds, table))
        after = settle(perch, before)
        grown = {key: (before[key], after[key]) for key, more in MAY_GROW.items() if after[key] > before[key] + more}
        print(f"before  {before}\nafter   {after}\ndone    {soak.count}")
        panicked = "panicked" in perch.log()
    if grown or panicked:
        print(f"FAILED: {f'grown: {grown}' if grown else 'a thread panicked'}", file=sys.stderr)
        return 1
    return 0


def settle(perch: Perch, before: dict[str, int]) -> dict[str, int]:
    """What perch holds when all have gone, at the latest a minute later."""
    end = time.monotonic() + 60
    while True:
        now = held(perch)
        if all(now[key] <= before[key] + more for key, more in MAY_GROW.items()) or time.monotonic() > end:
            return now
        time.sleep(1)


sys.exit(main())
