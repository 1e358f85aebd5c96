"""A chart of known colours through each stage, as Chromium decodes it: read back from a canvas, cell by cell."""

import numpy as np
import pytest
from perch_process import wait_until

ROWS, COLUMNS, SIDE = 6, 8, 80
LEVELS = (40, 130, 220)
# What coding and rounding may change of a cell's colour. BT.709's matrix instead of BT.601's changes 28.
TOLERANCE = 6
# The lower right quarter.
MASK = "[[camera.privacy_mask]]\npoints = [[0.5, 0.5], [1.0, 0.5], [1.0, 1.0], [0.5, 1.0]]"


def chart() -> np.ndarray:
    """Red, green and blue of each cell: no two neighbours are alike, and no mirror or turn leaves it as it is."""
    colours = [(red, green, blue) for red in LEVELS for green in LEVELS for blue in LEVELS]
    return np.array([[colours[(7 * x + 11 * y) % len(colours)] for x in range(COLUMNS)] for y in range(ROWS)], dtype=float)


def write_y4m(path):
    """Two pictures of the chart, by BT.601 in the range of television."""
    red, green, blue = np.moveaxis(chart() / 255, 2, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    planes = [16 + 219 * luma, 128 + 112 * (blue - luma) / 0.886, 128 + 112 * (red - luma) / 0.701]
    bytes_ = b"".join(
        np.kron(plane.round().astype(np.uint8), np.ones((side, side), dtype=np.uint8)).tobytes() for plane, side in zip(planes, (SIDE, SIDE // 2, SIDE // 2))
    )
    path.write_bytes(f"YUV4MPEG2 W{COLUMNS * SIDE} H{ROWS * SIDE} F15:1 C420jpeg\n".encode() + (b"FRAME\n" + bytes_) * 2)


def seen(view, columns: int, rows: int) -> np.ndarray:
    """The mean colour of the middle of each cell, and last its brightest value."""
    cells = view.page.evaluate(
        """([columns, rows]) => {
          const video = document.querySelector('video');
          const canvas = document.createElement('canvas');
          [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
          const context = canvas.getContext('2d');
          context.drawImage(video, 0, 0);
          const [width, height] = [canvas.width / columns, canvas.height / rows];
          return Array.from({length: rows}, (_, row) => Array.from({length: columns}, (_, column) => {
            const {data} = context.getImageData((column + 0.2) * width, (row + 0.2) * height, width * 0.6, height * 0.6);
            const sums = [0, 0, 0, 0];
            for (let at = 0; at < data.length; at += 4) {
              for (let part = 0; part < 3; part++) {
                sums[part] += data[at + part] / (data.length / 4);
                sums[3] = Math.max(sums[3], data[at + part]);
              }
            }
            return sums;
          }));
        }""",
        [columns, rows],
    )
    return np.array(cells)


def grey(cells):
    return np.repeat((cells @ [0.299, 0.587, 0.114])[..., None], 3, axis=2)


def ycrcb(cells):
    """As OpenCV's numbers are shown when they are taken for blue, green and red."""
    luma = cells @ [0.299, 0.587, 0.114]
    return np.stack([128 + (cells[..., 2] - luma) * 0.564, 128 + (cells[..., 0] - luma) * 0.713, luma], axis=2)


STAGES = {
    "nothing": ("", lambda cells: cells),
    "hflip": ("hflip = true", lambda cells: cells[:, ::-1]),
    "vflip": ("vflip = true", lambda cells: cells[::-1]),
    "90": ("rotation = 90", lambda cells: np.rot90(cells, -1)),
    "180": ("rotation = 180", lambda cells: cells[::-1, ::-1]),
    "270": ("rotation = 270", lambda cells: np.rot90(cells)),
    "half": ("frame_size_reduction = 50", lambda cells: cells),
    "smaller": ("frame_size_reduction = 30", lambda cells: cells),
    "gray": ('colorspace = "COLOR_BGR2GRAY"', grey),
    "ycrcb": ('colorspace = "COLOR_BGR2YCrCb"', ycrcb),
    "still": ("stabilize = true", lambda cells: cells),
    "mask": (MASK, lambda cells: cells),
    "all": ("hflip = true\nrotation = 90\nframe_size_reduction = 20\nstabilize = true\n" + MASK, lambda cells: np.rot90(cells[:, ::-1], -1)),
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("chart") / "chart.y4m"
    write_y4m(path)
    return path


@pytest.mark.parametrize("stage", STAGES)
def test_a_chart_comes_out_of_each_stage_as_it_should(launch, watch, clip, stage):
    config, change = STAGES[stage]
    perch = launch(source=f"file:{clip}", config=f"[camera]\n{config}\n")
    wanted = change(chart())
    rows, columns, _ = wanted.shape
    hidden = np.zeros((rows, columns), dtype=bool)
    if MASK in config:
        hidden[rows // 2 :, columns // 2 :] = True
        wanted[hidden] = 0
    view = watch(perch.url)
    view.wait_until_live()

    def is_right():
        nonlocal cells
        cells = seen(view, columns, rows)
        # Not for one picture, however coarse the first one is.
        assert cells[hidden, 3].max(initial=0) < 32, "what is masked was seen"
        return np.abs(cells[..., :3] - wanted).max() <= TOLERANCE

    cells = None
    try:
        wait_until(is_right, 15, "each cell has its colour")
    except AssertionError as error:
        raise AssertionError(f"{error}: they are\n{cells.round()}\nand should be\n{wanted.round()}") from None
