import os
import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent)]
os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")

from perch_process import Perch  # noqa: E402


@pytest.fixture
def launch():
    """Starts perch processes as asked, and ends them after the test."""
    started = []

    def start(*args, **kinds) -> Perch:
        started.append(Perch(*args, **kinds))
        return started[-1]

    yield start
    for perch in started:
        perch.stop()


@pytest.fixture(scope="module")
def shared():
    """One perch with the test picture, for tests that leave it as they found it."""
    with Perch() as perch:
        yield perch
