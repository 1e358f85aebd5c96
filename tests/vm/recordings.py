"""What the guest's cameras play: pictures of one colour with a square that moves, so that they are told from a slate.

A recording is a file of pictures, each behind its length (32 bits, little endian); guest/recording.h reads it.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path

import av
import numpy as np
from PIL import Image

SIZE = (640, 480)
PICTURES = 12
# Far from the slate's colours, and from those of test patterns' middle.
COLOUR = (40, 180, 90)


def _pictures(count: int = PICTURES):
    for number in range(count):
        picture = np.empty((SIZE[1], SIZE[0], 3), np.uint8)
        picture[:] = COLOUR
        left = 40 + number * 16
        picture[40:104, left : left + 64] = (250, 250, 250)
        yield picture


def _write(path: Path, pictures) -> Path:
    path.write_bytes(b"".join(struct.pack("<I", len(picture)) + picture for picture in pictures))
    return path


def mjpeg(folder: Path) -> Path:
    def coded(picture) -> bytes:
        out = io.BytesIO()
        Image.fromarray(picture).save(out, "JPEG", quality=85, subsampling="4:2:2")
        return out.getvalue()

    return _write(folder / "mjpeg", map(coded, _pictures()))


def yuyv(folder: Path) -> Path:
    def coded(picture) -> bytes:
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuyv422")
        return bytes(frame.planes[0])[: SIZE[0] * SIZE[1] * 2]

    return _write(folder / "yuyv", map(coded, _pictures()))


def h264(folder: Path) -> Path:
    """Access units, as a camera makes them: a keyframe with its parameter sets every 10 pictures, nothing reordered."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height = SIZE
    encoder.pix_fmt = "yuv420p"
    encoder.framerate = 30
    encoder.options = {
        "profile": "baseline",
        "tune": "zerolatency",
        "preset": "veryfast",
        "x264-params": "keyint=10:min-keyint=10:scenecut=0:repeat-headers=1:sliced-threads=0:slices=1",
    }
    units = []
    for number, picture in enumerate(_pictures(30)):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
        frame.pts = number
        units += [bytes(packet) for packet in encoder.encode(frame)]
    units += [bytes(packet) for packet in encoder.encode(None)]
    return _write(folder / "h264", units)


def is_of(jpeg: bytes) -> bool:
    """Whether a JPEG shows a recording: its middle has the colour."""
    picture = np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")).astype(int)
    height, width, _ = picture.shape
    middle = picture[height // 2 : height // 2 + 32, width // 2 : width // 2 + 32].mean(axis=(0, 1))
    return bool(np.abs(middle - COLOUR).max() < 30)
