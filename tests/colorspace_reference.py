"""Prints tests/data/colorspaces.txt: what OpenCV makes of some colours.

    python -m venv /tmp/cv && /tmp/cv/bin/pip install opencv-python-headless
    /tmp/cv/bin/python tests/colorspace_reference.py > tests/data/colorspaces.txt

One line per colour: the colour, then the result in each space of the first line. All are three bytes in hexadecimal in
the order in which OpenCV has them in memory (the colour is blue, green, red); grey is one.
"""

import cv2
import numpy

SPACES = ["gray", "hsv", "hsv_full", "hls", "hls_full", "lab", "luv", "ycrcb", "yuv", "xyz", "rgb"]
CODES = {"ycrcb": "YCR_CB", "lab": "LAB", "luv": "LUV"}


def colours():
    levels = [0, 64, 128, 191, 255]
    yield from ((b, g, r) for b in levels for g in levels for r in levels)
    yield from ((level, level, level) for level in (1, 2, 5, 16, 33, 100, 200, 254))
    # Near grey and near black, where hue and saturation jump.
    yield from [(100, 101, 102), (102, 101, 100), (101, 100, 102), (1, 0, 0), (0, 1, 0), (0, 0, 1), (3, 2, 1), (254, 255, 253)]
    state = 1
    for _ in range(99):
        colour = []
        for _ in range(3):
            state = (state * 1103515245 + 12345) % 2**31
            colour.append(state >> 20 & 255)
        yield tuple(colour)


def main():
    pixels = numpy.array([list(colours())], dtype=numpy.uint8)
    columns = [pixels[0]]
    for space in SPACES:
        code = getattr(cv2, "COLOR_BGR2" + CODES.get(space, space.upper()))
        columns.append(cv2.cvtColor(pixels, code)[0].reshape(pixels.shape[1], -1))
    print("# OpenCV", cv2.__version__)
    print("bgr", *SPACES)
    for row in zip(*columns):
        print(*(bytes(channels.tolist()).hex() for channels in row))


main()
