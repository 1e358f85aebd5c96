"""A source of the library's user, as `examples/custom_source.rs` is one: its pixels in each number of channels."""

import asyncio
import io

import numpy as np
import pytest
import requests
from PIL import Image
from viewer import watching

# Red, green and blue of the ground, by the number of channels; and of the square.
COLOURS = {1: ((60, 60, 60), (220, 220, 220)), 3: ((20, 60, 160), (255, 140, 0)), 4: ((20, 60, 160), (255, 140, 0))}


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pixels_of_one_three_and_four_channels_are_shown_in_their_colours(launch, monkeypatch, channels):
    monkeypatch.setenv("CHANNELS", str(channels))
    perch = launch(example="custom_source")

    def is_right(picture: np.ndarray) -> bool:
        """Each colour is there: the ground in most of it, the square in 64 by 64 pixels."""
        near = [np.abs(picture.astype(int) - colour).max(axis=2) < 24 for colour in COLOURS[channels]]
        return picture.shape == (360, 640, 3) and near[0].mean() > 0.9 and 2500 < near[1].sum() < 64 * 64 * 1.2

    async def run():
        async with watching(perch.url) as viewer:
            assert is_right((await viewer.frame(20)).to_ndarray(format="rgb24"))

    asyncio.run(run())
    assert is_right(np.asarray(Image.open(io.BytesIO(requests.get(perch.url + "/snapshot.jpg", timeout=15).content)).convert("RGB")))
    assert "bouncing square" in perch.status()["camera"]["source"]


@pytest.mark.parametrize("channels", [0, 2, 5])
def test_another_number_of_channels_is_refused_at_the_start_in_words(launch, monkeypatch, channels):
    monkeypatch.setenv("CHANNELS", str(channels))
    perch = launch(example="custom_source", ready=False)
    assert perch.process.wait(10) == 1
    assert f"a picture of {channels} channels cannot be shown: 1 is grey, 3 are blue, green and red" in perch.log()
