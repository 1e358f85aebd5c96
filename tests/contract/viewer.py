"""A viewer that shares no code with perch or browsers: aiortc."""

from __future__ import annotations

import asyncio
import contextlib

import aioice.ice
import requests
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from barcode import decode

# aioice leaves loopback out, which is all that these tests may use.
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]


def sections(sdp: str) -> list[list[str]]:
    """An SDP's lines, cut at each m-line: the session's part first."""
    parts: list[list[str]] = [[]]
    for line in sdp.split("\r\n"):
        if line.startswith("m="):
            parts.append([])
        if line:
            parts[-1].append(line)
    return parts


def post_offer(url: str, sdp: str, path: str = "/offer", **extra) -> requests.Response:
    return requests.post(url + path, json={"sdp": sdp, "type": "offer", **extra}, timeout=10)


class Viewer:
    """`await Viewer.watch(url)` gives one that has an answer; `await viewer.frame()` its newest picture."""

    def __init__(self, video: int = 1, audio: int = 0):
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.track = None
        self.answer = None
        self.session = None
        self.ended = asyncio.Event()
        self._connected = asyncio.Event()
        for _ in range(video):
            self.pc.addTransceiver("video", direction="recvonly")
        for _ in range(audio):
            self.pc.addTransceiver("audio", direction="recvonly")

        @self.pc.on("track")
        def on_track(track):
            self.track = self.track or track

        @self.pc.on("connectionstatechange")
        def on_state():
            if self.pc.connectionState == "connected":
                self._connected.set()
            elif self.pc.connectionState in ("failed", "closed"):
                self.ended.set()

    async def offer(self) -> str:
        await self.pc.setLocalDescription(await self.pc.createOffer())
        return self.pc.localDescription.sdp

    async def accept(self, sdp: str):
        self.answer = sdp
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="answer"))

    @classmethod
    async def watch(cls, url: str, path: str = "/offer", **kinds) -> "Viewer":
        viewer = cls(**kinds)
        try:
            sdp = await viewer.offer()
            response = await asyncio.to_thread(post_offer, url, sdp, path)
            assert response.status_code == 200, f"{response.status_code} {response.text}"
            viewer.session = response.json().get("session")
            await viewer.accept(response.json()["sdp"])
            return viewer
        except BaseException:
            await viewer.close()
            raise

    async def connected(self, timeout: float = 10):
        await asyncio.wait_for(self._connected.wait(), timeout)

    async def frame(self, timeout: float = 10):
        assert self.track is not None, "the answer has no track"
        return await asyncio.wait_for(self.track.recv(), timeout)

    async def stamp(self, timeout: float = 10) -> int:
        """The barcode of the next picture that shows one."""
        async with asyncio.timeout(timeout):
            while True:
                frame = await self.frame(timeout)
                if frame.format.name not in ("yuv420p", "yuvj420p"):
                    frame = frame.reformat(format="yuv420p")
                plane = frame.planes[0]
                stamp = decode(memoryview(plane), plane.line_size, frame.width, frame.height)
                if stamp is not None:
                    return stamp

    async def goes_silent(self, timeout: float, quiet: float = 1.0) -> bool:
        """Whether, within `timeout`, a whole `quiet` passes without a picture (or the track ends)."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while True:
                    try:
                        await self.frame(quiet)
                    except (TimeoutError, asyncio.TimeoutError, MediaStreamError):
                        return True
        return False

    async def close(self):
        await self.pc.close()


@contextlib.asynccontextmanager
async def watching(url: str, **kinds):
    viewer = await Viewer.watch(url, **kinds)
    try:
        yield viewer
    finally:
        await viewer.close()


if __name__ == "__main__":
    # `viewer.py URL`: watches until it is killed, and says when the first picture has come.
    import sys

    async def watch_for_ever(url: str):
        async with watching(url) as viewer:
            await viewer.stamp()
            print("watching", flush=True)
            while True:
                await viewer.frame()

    asyncio.run(watch_for_ever(sys.argv[1]))
