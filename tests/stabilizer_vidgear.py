"""How still VidGear's stabilizer holds the clip of src/process/stabilizer/clip.rs, which this makes and measures the same
way: whoever changes one changes both.

    python -m venv /tmp/cv && /tmp/cv/bin/pip install opencv-python-headless vidgear
    /tmp/cv/bin/python tests/stabilizer_vidgear.py
"""

import importlib.metadata
import time

import cv2
import numpy
from vidgear.gears.stabilizer import Stabilizer

WIDTH, HEIGHT = 320, 240
SCENE_WIDTH, SCENE_HEIGHT = 448, 352
PICTURES, FIRST, LAST = 80, 25, 55


def noise(x, y, seed):
    wide = numpy.uint64
    mixed = numpy.asarray(x).astype(wide) * wide(0x85EBCA6B) + numpy.asarray(y).astype(wide) * wide(0xC2B2AE35)
    mixed = (mixed + wide(seed * 0x27D4EB2F)) & wide(0xFFFFFFFF)
    for _ in range(2):
        mixed = ((mixed ^ (mixed >> wide(15))) * wide(0x2C1B3C6D)) & wide(0xFFFFFFFF)
    return (mixed >> wide(16)) / 65535.0


def scene():
    y, x = numpy.mgrid[0:SCENE_HEIGHT, 0:SCENE_WIDTH]
    light = numpy.full(x.shape, 30.0)
    for seed, (cell, strength) in enumerate([(4, 45.0), (10, 60.0), (25, 80.0)]):
        column, row = x // cell, y // cell
        right, down = (x % cell) / cell, (y % cell) / cell
        upper = noise(column, row, seed) * (1 - right) + noise(column + 1, row, seed) * right
        lower = noise(column, row + 1, seed) * (1 - right) + noise(column + 1, row + 1, seed) * right
        light += strength * (upper * (1 - down) + lower * down)
    return light


def shake(index):
    def wave(period, phase):
        return numpy.sin(index * 2 * numpy.pi / period + phase)

    def jolt(axis):
        return noise(index, axis, 99) - 0.5

    return (
        4.0 * wave(7.3, 0.0) + 2.0 * wave(3.1, 1.0) + 2.0 * jolt(0),
        3.0 * wave(9.1, 2.0) + 1.5 * wave(2.7, 0.5) + 2.0 * jolt(1),
        0.010 * wave(5.7, 0.3) + 0.004 * jolt(2),
    )


def bilinear(picture, x, y):
    column, row = x.astype(int), y.astype(int)
    across, along = x - column, y - row
    upper = picture[row, column] * (1 - across) + picture[row, column + 1] * across
    lower = picture[row + 1, column] * (1 - across) + picture[row + 1, column + 1] * across
    return upper * (1 - along) + lower * along


def look(scenery, place, index):
    right, down, angle = place
    y, x = numpy.mgrid[0:HEIGHT, 0:WIDTH]
    from_x, from_y = x - 159.5, y - 119.5
    sin, cos = numpy.sin(angle), numpy.cos(angle)
    light = bilinear(scenery, cos * from_x - sin * from_y + right + 223.5, sin * from_x + cos * from_y + down + 175.5)
    return (light + 4.0 * noise(x, y, 1000 + index) - 2.0 + 0.5).astype(numpy.uint8)


def halved(luma):
    return (luma[0::2, 0::2] + luma[0::2, 1::2] + luma[1::2, 0::2] + luma[1::2, 1::2]) / 4


def measured_move(before, after):
    copies = [(before.astype(float), after.astype(float))]
    for _ in range(2):
        copies.append((halved(copies[-1][0]), halved(copies[-1][1])))
    right, down, sin, cos = 0.0, 0.0, 0.0, 1.0
    for before, after in reversed(copies):
        right, down = right * 2, down * 2
        height, width = before.shape
        y, x = numpy.mgrid[height // 5 : height * 4 // 5 : 2, width // 5 : width * 4 // 5 : 2]
        from_x, from_y = x - (width - 1) / 2, y - (height - 1) / 2
        slope_x = (before[y, x + 1] - before[y, x - 1]) / 2
        slope_y = (before[y + 1, x] - before[y - 1, x]) / 2
        terms = numpy.stack([slope_x, slope_y, slope_y * from_x - slope_x * from_y, slope_x * from_x + slope_y * from_y])
        terms = terms.reshape(4, -1)
        for _ in range(6):
            to_x = cos * from_x - sin * from_y + right + (width - 1) / 2
            to_y = sin * from_x + cos * from_y + down + (height - 1) / 2
            to_x, to_y = to_x.clip(0, width - 1.001), to_y.clip(0, height - 1.001)
            miss = (before[y, x] - bilinear(after, to_x, to_y)).reshape(-1)
            step = numpy.linalg.solve(terms @ terms.T, terms @ miss)
            right, down, sin, cos = right + step[0], down + step[1], sin + step[2], cos + step[3]
    return right, down, numpy.arctan2(sin, cos), numpy.log(numpy.hypot(cos, sin))


def unrest(pictures):
    spread = (WIDTH**2 + HEIGHT**2) / 12
    squares = []
    for before, after in zip(pictures, pictures[1:]):
        right, down, angle, scale = measured_move(before, after)
        squares.append(right**2 + down**2 + (angle**2 + scale**2) * spread)
    return numpy.mean(squares) ** 0.5


def main():
    cv2.setNumThreads(1)
    scenery = scene()
    clip = [look(scenery, shake(index), index) for index in range(PICTURES)]
    stabilizer = Stabilizer(smoothing_radius=25)
    results = []
    began = time.thread_time()
    for luma in clip:
        result = stabilizer.stabilize(cv2.cvtColor(luma, cv2.COLOR_GRAY2BGR))
        if result is not None:
            results.append(numpy.ascontiguousarray(result[:, :, 0]))
    spent = (time.thread_time() - began) / PICTURES
    print("vidgear", importlib.metadata.version("vidgear"), "OpenCV", cv2.__version__)
    print("sums of the first and last picture", int(clip[0].sum()), int(clip[-1].sum()))
    print(f"unrest of the clip {unrest(clip[FIRST:LAST]):.3f}, stabilised {unrest(results[FIRST:LAST]):.3f} pixels")
    print(f"{spent * 1000:.1f} ms a picture on one thread")


main()
