"""What the owner wants done to pictures, in every way that they leave perch: snapshots, JPEG streams and video."""

import asyncio
import io

import numpy as np
import pytest
import requests
from perch_process import ROOT, camera_metric, wait_until
from PIL import Image
from viewer import watching

DATA = ROOT / "tests" / "data"
# The lower right quarter.
MASK = """
[[camera.privacy_mask]]
points = [[0.5, 0.5], [1.0, 0.5], [1.0, 1.0], [0.5, 1.0]]
"""


def snapshot(perch) -> np.ndarray:
    """The luma of a picture, row by row."""
    response = requests.get(perch.url + "/snapshot.jpg", timeout=15)
    assert response.status_code == 200, response.text
    return np.asarray(Image.open(io.BytesIO(response.content)).convert("L")).astype(int)


def streamed(perch) -> np.ndarray:
    """The same from the stream of JPEG pictures."""
    with requests.get(perch.url + "/stream.mjpg", timeout=15, stream=True) as response:
        data = b""
        for chunk in response.iter_content(None):
            data += chunk
            start, end = data.find(b"\xff\xd8"), data.find(b"\xff\xd9")
            if 0 <= start < end:
                return np.asarray(Image.open(io.BytesIO(data[start : end + 2])).convert("L")).astype(int)
    raise AssertionError("the stream ended without a picture")


def watched(perch) -> np.ndarray:
    """The same from the video that a viewer gets."""

    async def run():
        async with watching(perch.url) as viewer:
            frame = await viewer.frame(15)
            return frame.to_ndarray(format="gray").astype(int)

    return asyncio.run(run())


def quarters(luma: np.ndarray) -> dict[str, float]:
    """How bright each quarter is, its edges left out."""
    height, width = luma.shape
    part = {"upper": slice(height // 8, height * 3 // 8), "lower": slice(height * 5 // 8, height * 7 // 8)}
    side = {"left": slice(width // 8, width * 3 // 8), "right": slice(width * 5 // 8, width * 7 // 8)}
    return {f"{y} {x}": float(luma[part[y], side[x]].mean()) for y in part for x in side}


@pytest.mark.parametrize("media", ["", "stream.mjpeg", "baseline.h264", "small.y4m"], ids=["test", "mjpeg", "h264", "y4m"])
@pytest.mark.parametrize("look", [snapshot, streamed, watched])
def test_a_masked_part_never_leaves_perch(launch, media, look):
    perch = launch("--resolution", "320x240", source=f"file:{DATA / media}" if media else "test", config="[camera]\n" + MASK)
    luma = look(perch)
    height, width = luma.shape
    # Decoders and JPEG make black a little grey.
    assert luma[height // 2 + 4 :, width // 2 + 4 :].max() < 32
    assert luma[: height // 2 - 4].max() > 100


def test_a_pixelated_part_shows_colours_without_details(launch):
    config = "[camera]\n" + MASK + 'cover = "pixelated"'
    plain, hidden = launch("--resolution", "640x480"), launch("--resolution", "640x480", config=config)

    def detail(perch):
        """How much neighbours differ in the masked part."""
        luma = snapshot(perch)[260:460, 340:620]
        return float(np.abs(np.diff(luma, axis=1)).mean()), float(luma.mean())

    (details, brightness), (few, same) = detail(plain), detail(hidden)
    assert few < details / 2, (few, details)
    assert abs(same - brightness) < 12


@pytest.mark.parametrize("look", [snapshot, watched])
def test_a_picture_is_mirrored_and_turned(launch, look):
    # A mask marks the corner, as it is put on last.
    upright = launch("--resolution", "320x240")
    turned = launch("--resolution", "320x240", config="[camera]\nrotation = 90")
    other = launch("--resolution", "320x240", config="[camera]\nhflip = true\nvflip = true\nrotation = 180")
    luma, right, same = look(upright), look(turned), look(other)
    assert (luma.shape, right.shape, same.shape) == ((240, 320), (320, 240), (240, 320))
    # The strip on top, which tells the time, has sharp edges from left to right; it is at the right after the turn.
    strip, side = luma[2:8], right[:, -8:-2]
    assert np.abs(np.diff(strip.mean(axis=0))).max() > 100
    assert np.abs(np.diff(side.mean(axis=1))).max() > 100
    assert np.abs(np.diff(same[2:8].mean(axis=0))).max() > 100
    assert turned.status()["camera"]["width"] == 240


def test_a_picture_is_made_smaller_and_the_page_knows_its_size(launch):
    perch = launch("--resolution", "640x480", config="[camera]\nframe_size_reduction = 45")
    assert snapshot(perch).shape == (264, 352)
    camera = perch.status()["camera"]
    assert (camera["width"], camera["height"]) == (352, 264)
    assert watched(perch).shape == (264, 352)


def test_a_picture_is_shown_in_another_colour_space(launch):
    def colours(perch):
        response = requests.get(perch.url + "/snapshot.jpg", timeout=15)
        return np.asarray(Image.open(io.BytesIO(response.content)).convert("RGB")).astype(int)

    plain, grey = launch("--resolution", "320x240"), launch("--resolution", "320x240", "--colorspace", "COLOR_BGR2GRAY")
    spread = [np.ptp(colours(perch)[60:], axis=2).max() for perch in (plain, grey)]
    assert spread[0] > 80 and spread[1] < 8, spread
    refused = launch("--colorspace", "hvs", ready=False)
    assert refused.process.wait(10) == 2 and "hsv" in refused.log()


def test_a_still_picture_that_is_held_still_is_late_by_the_window_and_otherwise_the_same(launch):
    perch = launch("--resolution", "320x240", "--stabilize")

    async def run():
        async with watching(perch.url) as viewer:
            return [(await viewer.frame(15)).to_ndarray(format="gray").astype(int) for _ in range(5)][-1]

    luma = asyncio.run(run())
    assert luma.shape == (240, 320) and luma.max() > 200
    assert perch.metrics()['perch_stage_seconds_count{camera="main",stage="stabilizer"}'] > 12


def test_words_are_written_and_stay_in_the_turned_picture(launch):
    config = '[camera]\nname = "gate"\nrotation = 180\n[camera.overlay]\ntext = "{camera} %Y %%"\nsize_percent = 20\nposition = "bottom"'
    plain = launch("--resolution", "640x480", config="[camera]\nrotation = 180")
    perch = launch("--resolution", "640x480", config=config)
    without, with_words = quarters(snapshot(plain)), snapshot(perch)
    # Bright letters with dark edges, in the lower part only.
    lower = with_words[360:470]
    assert ((lower > 215).mean() > 0.02) and ((lower < 40).mean() > 0.02)
    written = quarters(with_words)
    assert abs(written["upper left"] - without["upper left"]) < 25


def test_what_it_costs_is_in_the_metrics_and_in_the_log(launch):
    config = "[camera]\nhflip = true\n[camera.overlay]\ntext = '%S'" + MASK
    perch = launch("--resolution", "320x240", "--framerate", "100", config=config)
    stage = 'perch_stage_seconds_count{camera="main",stage="%s"}'
    assert stage % "overlay" not in perch.metrics(), "nobody watches"

    async def run():
        async with watching(perch.url) as viewer:
            for _ in range(10):
                await viewer.frame()
            await asyncio.to_thread(wait_until, lambda: "each picture costs: orientation " in perch.log(), 30, "the log tells the costs")

    asyncio.run(run())
    metrics = perch.metrics()
    counts = [metrics[stage % name] for name in ("orientation", "privacy_mask", "overlay")]
    assert min(counts) >= 100 and stage % "scale" not in metrics
    assert metrics[camera_metric("perch_frames_encoded_total")] >= 10


def test_h264_goes_through_as_it_is_unless_something_is_asked_of_it(launch):
    source = f"file:{DATA / 'baseline.h264'}"
    untouched, masked = launch(source=source), launch(source=source, config="[camera]\n" + MASK)
    watched(untouched), watched(masked)
    assert "passed through" in untouched.status()["camera"]["encoder"]
    assert "OpenH264" in masked.status()["camera"]["encoder"]


@pytest.mark.parametrize(
    "config, words",
    [
        ("[camera]\nrotation = 45", "line 2|:2: `camera.rotation`: 45 is not possible: 0, 90, 180 or 270"),
        ("[camera]\nframe_size_reduction = 91", ":2: `camera.frame_size_reduction`: 91 is out of range: 0 to 90 percent"),
        ("[camera]\n[[camera.privacy_mask]]\npoints = [[0.1, 0.2]]", "mask 1: 1 corners make no mask: 3 to 64"),
        ("[camera]\n[[camera.privacy_mask]]\npoint = [[0.1, 0.2]]", "did you mean `points`?"),
        ("[camera]\n[camera.overlay]\ntext = '100%'", ":3: `camera.overlay.text`: `100%` cannot be shown"),
        ("[camera]\n[camera.overlay]\ntime_zone = 'Berlin'", ":3: `camera.overlay.time_zone`: this machine knows no time zone `Berlin`"),
        ("[camera]\n[camera.overlay]\nposition = 'left'", "top_left"),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_line(launch, config, words):
    perch = launch(config=config, ready=False)
    assert perch.process.wait(10) == 78
    assert words.split("|")[-1] in perch.log(), perch.log()
