"""Offers made by hand: one that is right (as a browser writes it), and ways to bend it."""

from __future__ import annotations

import secrets

FINGERPRINT = ":".join(["5A", "C3"] * 16)


def session(fingerprint: str | None = f"sha-256 {FINGERPRINT}", bundle: str | None = "0") -> list[str]:
    lines = ["v=0", "o=- 4611731400430051336 2 IN IP4 127.0.0.1", "s=-", "t=0 0"]
    if bundle is not None:
        lines.append(f"a=group:BUNDLE {bundle}".rstrip())
    lines += ["a=extmap-allow-mixed", "a=msid-semantic: WMS"]
    if fingerprint is not None:
        lines.append(f"a=fingerprint:{fingerprint}")
    return lines


H264 = [
    "a=rtpmap:102 H264/90000",
    "a=rtcp-fb:102 ccm fir",
    "a=rtcp-fb:102 nack",
    "a=rtcp-fb:102 nack pli",
    "a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
    "a=rtpmap:103 rtx/90000",
    "a=fmtp:103 apt=102",
]
VP8 = ["a=rtpmap:96 VP8/90000", "a=rtcp-fb:96 nack pli"]


def video(
    mid: str | None = "0",
    payloads: str = "102 103",
    codecs: list[str] | None = None,
    direction: str = "recvonly",
    setup: str | None = "actpass",
    ufrag: str | None = "bK7x",
    pwd: str | None = "Qm0Yp3vWfXbC6nTzLr8dHs2J",
    port: str = "9",
    profile: str = "UDP/TLS/RTP/SAVPF",
    more: list[str] | None = None,
    kind: str = "video",
) -> list[str]:
    lines = [f"m={kind} {port} {profile} {payloads}", "c=IN IP4 0.0.0.0", "a=rtcp:9 IN IP4 0.0.0.0"]
    if ufrag is not None:
        lines.append(f"a=ice-ufrag:{ufrag}")
    if pwd is not None:
        lines.append(f"a=ice-pwd:{pwd}")
    lines.append("a=ice-options:trickle")
    if setup is not None:
        lines.append(f"a=setup:{setup}")
    if mid is not None:
        lines.append(f"a=mid:{mid}")
    lines += [f"a={direction}", "a=rtcp-mux", "a=rtcp-rsize"]
    return lines + (H264 if codecs is None else codecs) + (more or [])


def audio(mid: str = "1") -> list[str]:
    return video(mid, "111", ["a=rtpmap:111 opus/48000/2", "a=fmtp:111 minptime=10;useinbandfec=1"], kind="audio")


def sdp(*parts: list[str], end: str = "\r\n") -> str:
    return "".join(line + end for part in parts for line in part)


def good() -> str:
    """A right offer of a viewer that will never be heard of again (nobody sends from its address)."""
    return sdp(session(), video(ufrag=secrets.token_hex(2), pwd=secrets.token_hex(12)))
