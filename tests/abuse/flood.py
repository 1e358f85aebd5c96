"""Clients that mean harm. `flood.py KIND PORT TLS_PORT TOKEN` runs one kind, bounded, and prints what became of it as JSON.

They come from 127.0.0.2 and up, as many machines would, and at the lowest priority: what is to be shown is that perch stays up,
not that two cores are enough for it, a browser and a thousand attackers at once.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import os
import random
import resource
import ssl
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent / "contract")]

import offers  # noqa: E402

KIND, PORT, TLS_PORT, TOKEN = sys.argv[1:5]
SEED = 7
# Connections that are tried at once, where it is not their number that matters.
AT_ONCE = 32
HOST = b"Host: 127.0.0.1\r\n"
seen: collections.Counter[str] = collections.Counter()


def attacker(number: int, of: int = 16) -> tuple[str, int]:
    return (f"127.0.0.{2 + number % of}", 0)


async def connect(number: int, port: str = PORT, of: int = 16):
    """A connection of the attacker with this number; `None` when it is refused."""
    try:
        return await asyncio.open_connection("127.0.0.1", int(port), local_addr=attacker(number, of))
    except OSError:
        seen["not connected"] += 1
        return None


async def rest(reader) -> bytes:
    """All that comes until the other side closes."""
    data = b""
    with contextlib.suppress(OSError):
        while part := await reader.read(65536):
            data = (data + part)[:4096]
    return data


def note(data: bytes):
    seen[data[9:12].decode("ascii", "replace") if data.startswith(b"HTTP/1.") else "closed"] += 1


async def one(number: int, request: bytes, ends: bool = False, wait: float = 20) -> bytes:
    """Sends a request on a connection of its own and takes what comes; one that `ends` says that no more will follow."""
    opened = await connect(number)
    if opened is None:
        return b""
    reader, writer = opened
    data = b""
    try:
        async with asyncio.timeout(wait):
            with contextlib.suppress(OSError):
                writer.write(request)
                await writer.drain()
                if ends:
                    writer.write_eof()
            data = await rest(reader)
        note(data)
    except TimeoutError:
        seen["still open"] += 1
    finally:
        writer.transport.abort()
    return data


async def each(count: int, make, at_once: int = AT_ONCE):
    """Runs `make(number)` for all numbers, so many at once."""
    numbers = iter(range(count))

    async def worker():
        for number in numbers:
            await make(number)

    await asyncio.gather(*(worker() for _ in range(at_once)))


async def hold(count: int, begin: bytes, drip: bytes, seconds: float, port: str = PORT):
    """Keeps `count` connections open as long as they are let, dripping something each second."""
    opened = []

    async def one_of(number):
        if connection := await connect(number, port):
            opened.append(connection)
            with contextlib.suppress(OSError):
                connection[1].write(begin)

    await each(count, one_of)
    seen["opened"] = len(opened)
    end = time.monotonic() + seconds
    watched = [asyncio.create_task(rest(reader)) for reader, _ in opened]
    while time.monotonic() < end and not all(task.done() for task in watched):
        if drip:
            for (_, writer), task in zip(opened, watched):
                if not task.done():
                    with contextlib.suppress(OSError):
                        writer.write(drip)
        await asyncio.sleep(1)
    for (_, writer), task in zip(opened, watched):
        seen["closed by perch" if task.done() else "still open"] += 1
        task.cancel()
        writer.transport.abort()


def post(path: str, body: bytes, *headers: str, kind: str = "application/json") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers]
    return "".join(line + "\r\n" for line in lines).encode() + b"\r\n" + body


BEARER = f"Authorization: Bearer {TOKEN}"


def offer(sdp: str) -> bytes:
    return post("/offer", json.dumps({"sdp": sdp, "type": "offer"}).encode(), BEARER, "Connection: close")


# Each of these is refused or closed; what is random in them is so by a seed.
MALFORMED = [
    b"\0" * 100, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b": no name\r\n\r\n", b"GET / HTTP/1.1\r\n" + HOST + b"a b: c\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n", b"GET / HTTP/1.1\r\n" + HOST + b" folded\r\n\r\n",
    b"POST /offer HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nContent-Length: 7\r\n\r\nabcdefg",
    b"POST /offer HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /offer HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /offer HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    b"CONNECT evil.example:443 HTTP/1.1\r\n" + HOST + b"\r\n", b"GET http://evil.example/ HTTP/1.1\r\n" + HOST + b"\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /%00%ff%2e%2e/ HTTP/1.1\r\n" + HOST + b"\r\n", b"\x16\x03\x01\x02\x00" + b"\xaa" * 200,
    b"GET /static/../../etc/passwd HTTP/1.1\r\n" + HOST + b"\r\n", b"GET / HTTP/1.1\r\n" + HOST + b"Range: bytes=0-,0-,0-\r\n\r\n",
    post("/offer", b"{"), post("/offer", b"[" * 5000), post("/api/login", b'{"password":' + b'"' * 99), post("/whep", b"v=0", kind="application/sdp"),
]  # fmt: skip


def bent(number: int) -> bytes:
    """One of them, with a few bytes changed at random: not the first ones, so that it still begins like a request."""
    of = random.Random(SEED * 1_000_003 + number)
    request = bytearray(MALFORMED[number % len(MALFORMED)])
    for _ in range(of.randrange(4)):
        request[of.randrange(len(request))] = of.randrange(256)
    return bytes(request)


OVERSIZE = [
    lambda: b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    lambda: b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 1_000_000 + b"\r\n\r\n",
    lambda: b"GET / HTTP/1.1\r\n" + HOST + b"a: b\r\n" * 50_000 + b"\r\n",
    lambda: post("/offer", b"a" * 10_000_000),
    lambda: b"POST /offer HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + b"3e8\r\n" + b"a" * 1000 + b"\r\n" * 500,
    lambda: post("/offer", b"[" * 60_000, BEARER),
    lambda: post("/offer", json.dumps({"type": "offer", "sdp": "v=0\r\n" + "a=x\r\n" * 10_000}).encode(), BEARER),
    lambda: offer(offers.good() + "a=candidate:1 1 udp 1 10.0.0.1 50000 typ host\r\n" * 800),
    lambda: post("/api/login", b'{"password":"' + b"a" * 60_000 + b'"}'),
    lambda: b"GET /api/status?camera=" + b"%20" * 4000 + b" HTTP/1.1\r\n" + HOST + BEARER.encode() + b"\r\n\r\n",
]


async def guess(number: int):
    of = random.Random(SEED * 1_000_003 + number)
    secret = of.randbytes(32).hex()
    ways = [f"Cookie: perch_session={secret}", f"Authorization: Bearer perch_{secret}", f"Authorization: Basic {secret}",
            f"Cookie: perch_session={TOKEN}", f"Cookie: perch_session=; perch_session={secret}", f"Authorization: Bearer {TOKEN[:-1]}"]  # fmt: skip
    paths = ["/", "/api/status", "/api/tokens", "/snapshot.jpg", "/metrics", "/stream.mjpg"]
    way, path = ways[number % len(ways)], paths[number // len(ways) % len(paths)]
    await one(number, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{way}\r\nConnection: close\r\n\r\n".encode())


async def never_connecting(number: int):
    # The same four addresses ask again and again.
    opened = await connect(number, of=4)
    if opened is None:
        return
    reader, writer = opened
    writer.write(offer(offers.good()))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(20):
            note(await rest(reader))
    writer.transport.abort()


async def handshake(number: int):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        async with asyncio.timeout(20):
            _, writer = await asyncio.open_connection("127.0.0.1", int(TLS_PORT), local_addr=attacker(number), ssl=context)
            seen["shook hands"] += 1
            writer.transport.abort()
    except (OSError, TimeoutError):
        seen["no handshake"] += 1


HELLO = bytes.fromhex("1603010200010001fc0303") + bytes(32)

KINDS = {
    "idle": lambda: hold(2000, b"", b"", 7),
    "slow_heads": lambda: hold(500, b"GET / HTTP/1.1\r\n" + HOST, b"a: b\r\n", 12),
    "slow_bodies": lambda: hold(500, post("/offer", b"{" * 60_000)[:300], b"{", 16),
    "half_handshakes": lambda: hold(500, HELLO, b"", 12, TLS_PORT),
    "handshakes": lambda: each(1000, handshake),
    "malformed": lambda: each(10_000, lambda number: one(number, bent(number), ends=True)),
    "oversize": lambda: each(200, lambda number: one(number, OVERSIZE[number % len(OVERSIZE)](), ends=True), 8),
    "offers_without_ice": lambda: each(1000, lambda number: one(number, offer(offers.sdp(offers.session(), offers.video(ufrag=None, pwd=None))))),
    "offers_never_connecting": lambda: each(200, never_connecting, 8),
    "guesses": lambda: each(3000, guess),
    "passwords": lambda: each(200, lambda number: one(number, post("/api/login", json.dumps({"password": f"guess number {number}"}).encode(), "Connection: close")), 8),
}


if __name__ == "__main__":
    os.nice(19)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 8192) if most > 0 else 8192, most))
    began = time.monotonic()
    asyncio.run(KINDS[KIND]())
    print(json.dumps({"seconds": round(time.monotonic() - began, 1), **dict(seen)}))
