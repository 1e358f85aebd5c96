"""What OpenCV takes for the work of perch's stages, on one thread: `scripts/bench stages` shows it beside perch's figures.

Each does the whole of what the stage does to an I420 picture: all three planes where they stay, and there and back where
another colour space is shown.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import cv2
import numpy as np

WARM_UP = 15
PICTURES = 40


def planes(picture: np.ndarray, width: int, height: int) -> list[np.ndarray]:
    luma, chroma = width * height, width * height // 4
    return [
        picture[:luma].reshape(height, width),
        picture[luma : luma + chroma].reshape(height // 2, width // 2),
        picture[luma + chroma :].reshape(height // 2, width // 2),
    ]


def shaking(width: int, height: int) -> list[np.ndarray]:
    """Pictures of a scene with corners, by a camera that shakes: the same each time."""
    random = np.random.default_rng(1)
    room = 32
    scene = np.full((height + 2 * room, width + 2 * room), 30.0)
    for cell, strength in ((4, 45), (10, 60), (25, 80)):
        coarse = random.random((scene.shape[0] // cell + 2, scene.shape[1] // cell + 2))
        fine = np.kron(coarse, np.ones((cell, cell)))[: scene.shape[0], : scene.shape[1]]
        scene += strength * cv2.blur(fine, (cell, cell))
    scene = scene.clip(16, 235).astype(np.uint8)
    chroma = np.linspace(60, 200, width // 2 * (height // 2)).astype(np.uint8)
    made = []
    for index in range(PICTURES):
        right = room + round(12 * np.sin(index * 0.86) + 6 * np.sin(index * 2.03 + 1))
        down = room + round(9 * np.sin(index * 0.69 + 2) + 5 * np.sin(index * 2.33))
        luma = scene[down : down + height, right : right + width]
        made.append(np.concatenate([luma.ravel(), chroma, chroma[::-1]]))
    return made


def write_y4m(path: Path, pictures: list[np.ndarray], width: int, height: int):
    with open(path, "wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F30:1 C420\n".encode())
        for picture in pictures:
            file.write(b"FRAME\n" + picture.tobytes())


class Stabilizer:
    """Follows corners from picture to picture and moves each by the way's mean, as VidGear's does."""

    def __init__(self):
        self.before, self.ways = None, []

    def __call__(self, picture, width, height):
        luma, *chroma = planes(picture, width, height)
        if self.before is not None:
            corners = cv2.goodFeaturesToTrack(self.before, 200, 0.05, 30, blockSize=3)
            found, status, _ = cv2.calcOpticalFlowPyrLK(self.before, luma, corners, None)
            good = status.ravel() == 1
            motion, _ = cv2.estimateAffinePartial2D(corners[good], found[good])
            self.ways.append(motion)
        self.before = luma
        if not self.ways:
            return
        move = np.mean(self.ways[-25:], axis=0)
        half = move * [[1, 1, 0.5], [1, 1, 0.5]]
        cv2.warpAffine(luma, move, (width, height))
        for plane in chroma:
            cv2.warpAffine(plane, half, (width // 2, height // 2))


def each_plane(work):
    return lambda picture, width, height: [work(plane) for plane in planes(picture, width, height)]


def resized(share: float):
    return each_plane(lambda plane: cv2.resize(plane, None, fx=share, fy=share, interpolation=cv2.INTER_AREA))


def recoloured(there: int, is_grey: bool = False):
    def work(picture, width, height):
        bgr = cv2.cvtColor(picture.reshape(height * 3 // 2, width), cv2.COLOR_YUV2BGR_I420)
        shown = cv2.cvtColor(bgr, there)
        if is_grey:
            shown = cv2.cvtColor(shown, cv2.COLOR_GRAY2BGR)
        cv2.cvtColor(shown, cv2.COLOR_BGR2YUV_I420)

    return work


def black(picture, width, height):
    for plane, value in zip(planes(picture, width, height), (16, 128, 128)):
        rows, columns = plane.shape
        corners = np.array([[columns // 4, rows // 4], [columns * 3 // 4, rows // 4], [columns * 3 // 4, rows * 3 // 4], [columns // 4, rows * 3 // 4]])
        cv2.fillPoly(plane, [corners], value)


def pixelated(picture, width, height):
    for plane in planes(picture, width, height):
        rows, columns = plane.shape
        part = plane[rows // 4 : rows * 3 // 4, columns // 4 : columns * 3 // 4]
        small = cv2.resize(part, (max(part.shape[1] * 9 // part.shape[0], 1), 9), interpolation=cv2.INTER_AREA)
        part[:] = cv2.resize(small, part.shape[::-1], interpolation=cv2.INTER_NEAREST)


def overlay(picture, width, height):
    luma, *chroma = planes(picture, width, height)
    text, at, scale = time.strftime("perch %H:%M:%S"), (height // 40, height // 14), height / 600
    cv2.putText(luma, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, 16, 5, cv2.LINE_AA)
    cv2.putText(luma, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, 235, 2, cv2.LINE_AA)
    for plane in chroma:
        cv2.putText(plane, text, (at[0] // 2, at[1] // 2), cv2.FONT_HERSHEY_SIMPLEX, scale / 2, 128, 3)


def works() -> dict:
    colours = {"hsv": cv2.COLOR_BGR2HSV, "hls": cv2.COLOR_BGR2HLS, "lab": cv2.COLOR_BGR2LAB, "luv": cv2.COLOR_BGR2LUV}
    colours |= {"ycrcb": cv2.COLOR_BGR2YCrCb, "xyz": cv2.COLOR_BGR2XYZ, "rgb": cv2.COLOR_BGR2RGB}
    stabilizer = Stabilizer()
    return {
        "hflip": each_plane(lambda plane: cv2.flip(plane, 1)),
        "vflip": each_plane(lambda plane: cv2.flip(plane, 0)),
        "rotation 90": each_plane(lambda plane: cv2.rotate(plane, cv2.ROTATE_90_CLOCKWISE)),
        "rotation 180": each_plane(lambda plane: cv2.rotate(plane, cv2.ROTATE_180)),
        "scale 50 %": resized(0.5),
        "scale 20 %": resized(0.8),
        "stabilizer": stabilizer,
        "mask, black": black,
        "mask, pixelated": pixelated,
        "overlay": overlay,
        "colorspace gray": recoloured(cv2.COLOR_BGR2GRAY, is_grey=True),
        **{f"colorspace {name}": recoloured(code) for name, code in colours.items()},
    }


def costs(pictures: list[np.ndarray], width: int, height: int) -> dict[str, float]:
    """Milliseconds of CPU time a picture (the median), by what is done."""
    cv2.setNumThreads(1)
    found = {}
    for name, work in works().items():
        spent = []
        for picture in pictures:
            own = picture.copy()
            before = time.thread_time()
            work(own, width, height)
            spent.append(time.thread_time() - before)
        found[name] = statistics.median(spent[WARM_UP:]) * 1000
    return found
