import os
import random
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "browser")]

from appliance import Appliance, Card, free_udp_ports  # noqa: E402
from fixtures import browser, watch  # noqa: E402, F401


def pytest_addoption(parser):
    parser.addoption("--cuts", type=int, default=4, help="how often the power is cut (default: 4)")
    parser.addoption("--seed", type=int, default=None, help="when the power is cut: the seed that an earlier run printed")


BEGAN = time.monotonic()


@pytest.fixture(scope="session")
def progress(pytestconfig):
    """Tells what goes on while it does, because a start takes its time."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")

    def say(text: str):
        with capture.global_and_fixture_disabled():
            print(f"\nimage-test: {text} ({time.monotonic() - BEGAN:.0f} s)", end="", flush=True)

    return say


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("appliance")


@pytest.fixture(scope="session")
def udp_first():
    return free_udp_ports()


@pytest.fixture(scope="session")
def image() -> Path:
    return Path(os.environ["PERCH_IMAGE"])


@pytest.fixture(scope="session")
def card(image, folder):
    """The card that the tests of one owner's story use one after another."""
    return Card(image, folder / "card.img")


@pytest.fixture(scope="session")
def chance(request, progress):
    seed = request.config.getoption("--seed")
    seed = seed if seed is not None else random.SystemRandom().randrange(1 << 32)
    progress(f"the power is cut by --seed {seed}")
    return random.Random(seed)


@pytest.fixture
def switch_on(request, folder):
    """Starts machines as asked, ends them after the test, and shows their consoles when it failed."""
    started = []

    def start(card: Card, **options) -> Appliance:
        started.append(Appliance(card, folder, **options))
        return started[-1]

    yield start
    for machine in started:
        machine.cut_power()
        request.node.add_report_section("teardown", f"console, {machine.folder.name}", machine.log(150))
