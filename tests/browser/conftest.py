import os
import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent)]

from fixtures import browser, watch  # noqa: E402, F401
from perch_process import Perch  # noqa: E402


def with_page_under_work(config: str) -> str:
    """`PERCH_WEB_DIR=web` tests the page in that folder instead of the one built into the binary."""
    folder = os.environ.get("PERCH_WEB_DIR")
    return f'{config}\n[web]\ndata_dir = "{Path(folder).resolve()}"\n' if folder else config


@pytest.fixture
def launch(request):
    """Starts perch processes as asked, ends them after the test, and shows their logs when it failed."""
    started = []

    def start(*args, config: str = "", **kinds) -> Perch:
        started.append(Perch(*args, config=with_page_under_work(config) or None, **kinds))
        return started[-1]

    yield start
    for perch in started:
        perch.stop()
        request.node.add_report_section("teardown", f"log of perch {perch.pid}", perch.last_log)


@pytest.fixture
def perch(launch):
    """A perch with the test picture."""
    return launch()
