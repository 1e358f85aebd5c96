"""Measures perch against its promises, and prints each figure beside its target.

Run by `scripts/bench`, which builds what this needs. The exit code is 0 when everything asked for could be
measured, whatever the figures; a figure that misses its target says `NO` in the last column.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "browser")]

from page_probe import launch, open_page, percentile, take, wait_for_picture  # noqa: E402
from perch_process import Perch, camera_metric, perch_binary, wait_until  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402
from relay import Link, Relay  # noqa: E402

BITRATE = 2_000_000
CONFIG = f"""
[camera]
source = "test"
resolution = "1280x720"
framerate = 30

[encoder]
bitrate_bps = {BITRATE}

[webrtc]
max_viewers = 32
max_viewers_per_address = 32
offers_per_minute = 600
"""
CPU_ROUNDS = 5
SETTLE = 3  # seconds before a measurement begins: connecting, and the rate control's first keyframe

rows: list[tuple[str, str, str, bool | None]] = []
failures: list[str] = []


def row(figure: str, measured: str, target: str, ok: bool | None):
    rows.append((figure, measured, target, ok))
    print(f"  {figure}: {measured} (target {target})", file=sys.stderr, flush=True)


def perch(ahead: bool = False) -> Perch:
    """The server; with `ahead`, on pictures that were drawn before, and so cost what a camera's cost: nothing."""
    return Perch(config=CONFIG, source=None, program=example("drawn_ahead") if ahead else None)


def example(name: str) -> str:
    """An example program, built beside the binary under test or in this tree."""
    for folder in (os.environ.get("PERCH_EXAMPLES"), Path(perch_binary()).parent / "examples", HERE.parent / "target/release/examples"):
        if folder and (Path(folder) / name).exists():
            return str(Path(folder) / name)
    raise FileNotFoundError(f"no {name}: cargo build --release --examples")


@contextmanager
def sinks(server: Perch, count: int):
    """`count` viewers that receive and discard, in one light process."""
    process = subprocess.Popen(
        [example("sink_viewers"), f"127.0.0.1:{server.port}", str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    received: dict = {}
    try:
        said = process.stdout.readline()
        if said.strip() != f"receiving {count}":
            raise RuntimeError(f"sink_viewers: {said!r}")
        yield received
        process.stdin.close()
        received.update(json.loads(process.stdout.readline()))
        process.wait(10)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(5)
        process.stdout.close()


class Window:
    """CPU and the encoder's part of it over a stretch of time, as shares of one core."""

    def __init__(self, server: Perch):
        self.server = server
        self.begin = self._now()

    def _now(self):
        metrics = self.server.metrics()
        return (
            time.monotonic(),
            self.server.cpu_seconds(),
            metrics.get(camera_metric("perch_encode_seconds_sum"), float("nan")),
            metrics.get(camera_metric("perch_frames_encoded_total"), float("nan")),
            metrics.get(camera_metric("perch_encoded_bytes_total"), float("nan")),
        )

    def end(self) -> dict:
        wall, cpu, encode, frames, size = (now - then for now, then in zip(self._now(), self.begin))
        return {
            "cpu": cpu / wall,
            "encode": encode / wall,
            "fps": frames / wall,
            "encode_ms": 1000 * encode / max(frames, 1),
            "kbps": size * 8 / wall / 1000,
        }


def measure(server: Perch, seconds: float) -> dict:
    window = Window(server)
    time.sleep(seconds)
    return window.end()


def seen(before: dict, after: dict) -> dict:
    span = (after["now"] - before["now"]) / 1000
    video = lambda key: after["video"].get(key, 0) - before["video"].get(key, 0)  # noqa: E731
    return {
        "ages": [age for _, age in after["samples"]],
        "fps": video("framesDecoded") / span,
        "freezes": video("freezeCount"),
        "lost": video("packetsLost"),
        "keyframes": video("keyFramesDecoded"),
        "unread": after["unread"] - before["unread"],
        "peers": after["peers"],
    }


def watch(pages, seconds: float) -> list[dict]:
    before = [take(page) for page in pages]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pages[0].wait_for_timeout(200)
    return [seen(was, take(page)) for was, page in zip(before, pages)]


def latency(ages) -> str:
    return f"{percentile(ages, 0.5):.0f} / {percentile(ages, 0.95):.0f} ms (n={len(ages)})"


# ---- the sections


def first_frame(playwright, options):
    browser, times = launch(playwright.chromium), []
    with perch() as server, ExitStack() as stack:
        stack.callback(browser.close)
        for attempt in range(options.rounds + 1):
            page = open_page(browser, server.url)
            wait_for_picture(page)
            first = take(page)["first"]
            if attempt:  # the first loads Chromium's own parts
                times.append(first)
            page.context.close()
            wait_until(lambda: server.viewers() == 0, 12, "the closed page is forgotten")
    median = statistics.median(times)
    row("first frame, one Chromium, median of %d" % len(times), f"{median:.0f} ms ({min(times):.0f}–{max(times):.0f})", "≤ 300 ms (aim 160)", median <= 300)


def browsers(playwright, options, count: int, p50: int, p95: int, memory: int):
    with perch() as server, ExitStack() as stack:
        pages = []
        for _ in range(count):
            browser = launch(playwright.chromium)
            stack.callback(browser.close)
            pages.append(open_page(browser, server.url))
        for page in pages:
            wait_for_picture(page, 30)
        pages[0].wait_for_timeout(SETTLE * 1000)
        window = Window(server)
        results = watch(pages, options.seconds)
        used = window.end()
        private = server.private_kb() / 1024
    ages = [age for result in results for age in result["ages"]]
    fps = [result["fps"] for result in results]
    ok = percentile(ages, 0.5) <= p50 and percentile(ages, 0.95) <= p95
    row(f"glass to glass p50 / p95, {count} browser{'s' * (count > 1)}", latency(ages), f"≤ {p50} / {p95} ms", ok)
    row(f"bitrate sent to each, {count} browser{'s' * (count > 1)}", f"{used['kbps']:.0f} kbit/s", f"≤ {BITRATE / 1000:.0f} kbit/s", None)
    row(f"private memory, {count} browser{'s' * (count > 1)}", f"{private:.1f} MB", f"≤ {memory} MB", private <= memory)
    row(f"frames decoded, {count} browser{'s' * (count > 1)}", f"{min(fps):.1f}–{max(fps):.1f} fps", "30 fps each", min(fps) >= 29.5)
    row(f"server CPU beside {count} browser{'s' * (count > 1)}", f"{used['cpu']:.1%} of a core (encoding {used['encode']:.1%})", "–", None)
    unread = sum(result["unread"] for result in results)
    if unread:
        row("pictures whose barcode could not be read", str(unread), "0", unread * 100 < len(ages))


def bare_encoder(seconds: int, ahead: bool = False) -> dict:
    """The encoder alone, on the same pictures."""
    settings = [str(seconds), "1280x720", "30", str(BITRATE), *["ahead"] * ahead]
    done = subprocess.run([example("bare_encoder"), *settings], capture_output=True, text=True, timeout=seconds + 30)
    if done.returncode:
        raise RuntimeError(f"bare_encoder: {done.stderr}")
    return json.loads(done.stdout)


def machine(*_):
    """How quick the machine is just now: the same machine was seen to need 3.7 ms one day and 5.7 another."""
    row("this machine: the bare encoder, 5 s", f"{bare_encoder(5)['encode_cpu_ms_per_frame']:.2f} ms a frame", "–", None)


def cpu(_, options):
    def bare(ahead: bool = False) -> dict:
        return bare_encoder(options.seconds // 2 or 1, ahead)

    def load(server: Perch, count: int) -> dict:
        with sinks(server, count) as received:
            time.sleep(SETTLE)
            used = measure(server, options.seconds)
            used["private"] = server.private_kb() / 1024
        if received["packets"] < 60 * options.seconds:
            raise RuntimeError(f"{count} viewers got only {received['packets']} packets")
        return used

    # One against the other in each round, and the median of the rounds: a machine is quicker in one minute than in the next.
    rounds = []
    for _ in range(CPU_ROUNDS):
        before, used = bare(), {}
        for count in (1, 8, 16):
            with perch() as server:
                used[count] = load(server, count)
        after = bare()
        ahead = bare(ahead=True)["encode_cpu_share"]
        with perch(ahead=True) as server:
            used["ahead"] = load(server, 1)
        used["encoder ahead"] = (ahead + bare(ahead=True)["encode_cpu_share"]) / 2
        used["encoder"] = (before["encode_cpu_share"] + after["encode_cpu_share"]) / 2
        used["process"] = (before["process_cpu_share"] + after["process_cpu_share"]) / 2
        used["ms"] = (before["encode_cpu_ms_per_frame"] + after["encode_cpu_ms_per_frame"]) / 2
        rounds.append(used)

    def median(of) -> float:
        return statistics.median(of(used) for used in rounds)

    def spread(of) -> str:
        values = sorted(of(used) for used in rounds)
        return f"{statistics.median(values):.2f} × ({values[0]:.2f}–{values[-1]:.2f})"

    row(
        "bare encoder",
        f"{median(lambda used: used['encoder']):.1%} of a core, {median(lambda used: used['ms']):.2f} ms a frame "
        f"({median(lambda used: used['process']):.1%} with drawing the picture)",
        "–",
        None,
    )

    def against(of):
        return lambda used: used[1]["cpu"] / used[of]

    def ahead(used) -> float:
        return used["ahead"]["cpu"] / used["encoder ahead"]

    row(
        "server CPU, 1 viewer, pictures drawn before",
        f"{median(lambda used: used['ahead']['cpu']):.1%} of a core = {spread(ahead)} the bare encoder on the same",
        "≤ 1.15 ×",
        median(ahead) <= 1.15,
    )
    one = median(lambda used: used[1]["cpu"])
    row("server CPU, 1 viewer, drawing them", f"{one:.1%} of a core = {spread(against('encoder'))} the bare encoder", "≤ 1.15 ×", median(against("encoder")) <= 1.15)
    row("  the same against encoder and picture", spread(against("process")), "–", None)
    for count, limit in ((8, 1.15), (16, 1.4)):

        def ratio(used, count=count):
            return used[count]["cpu"] / used[1]["cpu"]

        row(f"server CPU, {count} viewers ÷ 1", f"{median(lambda used: used[count]['cpu']):.1%} = {spread(ratio)}", f"≤ {limit} ×", median(ratio) <= limit)
    for count in (1, 8, 16):
        encode = median(lambda used: used[count]["encode"])
        share = median(lambda used: used[count]["encode"] / used[count]["cpu"])
        ms = median(lambda used: used[count]["encode_ms"])
        row(f"time inside the encoder, {count} viewer{'s' * (count > 1)}", f"{encode:.1%} of a core, {share:.0%} of the CPU ({ms:.2f} ms a frame, wall)", "–", None)
    for count, limit in ((1, 20), (8, 28), (16, None)):
        private = median(lambda used: used[count]["private"])
        row(f"private memory, {count} receiving viewer{'s' * (count > 1)}", f"{private:.1f} MB", f"≤ {limit} MB" if limit else "–", private <= limit if limit else None)


def loss(playwright, options):
    with perch() as server, Relay(server.url, down=Link(loss=0.05, seed=5), up=Link(loss=0.05, seed=6)) as relay, ExitStack() as stack:
        browser = launch(playwright.chromium)
        stack.callback(browser.close)
        page = open_page(browser, relay.url)
        wait_for_picture(page)
        page.wait_for_timeout(SETTLE * 1000)
        (result,) = watch([page], 20)
    p95 = percentile(result["ages"], 0.95)
    row(
        "5 % loss both ways, 20 s",
        f"{result['freezes']} freezes, {latency(result['ages'])}, {result['fps']:.1f} fps, {result['keyframes']} keyframes",
        "≤ 1 freeze, p95 ≤ 60 ms",
        result["freezes"] <= 1 and p95 <= 60,
    )


def weak(playwright, options):
    with perch() as server, ExitStack() as stack:

        def open_in_browser(url):
            browser = launch(playwright.chromium)
            stack.callback(browser.close)
            page = open_page(browser, url)
            wait_for_picture(page, 30)
            return page

        # Half of what the picture really takes: the encoder does not spend all that it may.
        strong = open_in_browser(server.url)
        strong.wait_for_timeout(SETTLE * 1000)
        bytes_before = server.metrics()[camera_metric("perch_encoded_bytes_total")]
        strong.wait_for_timeout(4000)
        takes = (server.metrics()[camera_metric("perch_encoded_bytes_total")] - bytes_before) * 8 / 4
        down = Link(rate_bps=takes / 2, queue_ms=300)
        relay = stack.enter_context(Relay(server.url, down=down))
        weak = open_in_browser(relay.url)
        first = take(weak)["first"]
        weak_seen, strong_seen = watch([weak, strong], 30)
        target = server.metrics().get(camera_metric("perch_target_bitrate_bps"), float("nan"))
    p95 = percentile(weak_seen["ages"], 0.95)
    row(
        "a viewer on half the bitrate, 30 s",
        f"{latency(weak_seen['ages'])}, worst {max(weak_seen['ages'], default=float('nan')):.0f} ms, {weak_seen['fps']:.1f} fps, "
        f"{weak_seen['freezes']} freezes, first frame {first:.0f} ms, {weak_seen['peers']} session(s); link {takes / 2000:.0f} kbit/s, "
        f"{down.overflowed} of {down.overflowed + down.forwarded} packets dropped by it, bitrate then {target / 1000:.0f} kbit/s",
        "p95 ≤ 500 ms",
        p95 <= 500,
    )
    other = f"{latency(strong_seen['ages'])}, {strong_seen['fps']:.1f} fps, {strong_seen['freezes']} freezes"
    row("the other viewer beside it", other, "30 fps", strong_seen["fps"] >= 29.5)


def idle(_, options):
    with perch() as server:
        time.sleep(1)
        never = measure(server, 10)["cpu"]
        with sinks(server, 1):
            time.sleep(1)
        wait_until(lambda: server.viewers() == 0, 12, "the viewer is forgotten")
        time.sleep(1)
        after = measure(server, 10)["cpu"]
    row("no viewer, 10 s", f"{never:.2%} of a core; after one has left {after:.2%}", "≤ 1 %", max(never, after) <= 0.01)


def stages(_, options):
    """Each stage beside OpenCV's for the same work on the same pictures, one thread each, in one run."""
    from stages_opencv import costs, shaking, write_y4m  # only this section needs OpenCV

    sizes = [(640, 480), (1280, 720), (1920, 1080)]
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        for width, height in sizes:
            path, pictures = Path(folder) / f"{width}.y4m", shaking(width, height)
            write_y4m(path, pictures, width, height)
            done = subprocess.run([example("stage_costs"), str(path)], capture_output=True, text=True, timeout=300)
            if done.returncode:
                raise RuntimeError(f"stage_costs: {done.stderr}")
            ours.append(json.loads(done.stdout)[str(path)])
            theirs.append(costs(pictures, width, height))
    for name in ours[0]:
        has_other = name in theirs[0]
        mine, other = [one[name] for one in ours], [one.get(name, float("nan")) for one in theirs]
        words = [f"{a:.2f}" + (f" ({b:.2f})" if has_other else "") for a, b in zip(mine, other)]
        ok = all(a <= b for a, b in zip(mine, other)) if has_other else None
        row(f"stage {name}: ms at 480, 720, 1080 rows (OpenCV)", ", ".join(words), "no slower than OpenCV" if has_other else "–", ok)


def size(_, options):
    with tempfile.TemporaryDirectory() as folder:
        stripped = Path(folder) / "perch"
        shutil.copy(perch_binary(), stripped)
        subprocess.run(["strip", str(stripped)], check=True, timeout=60)
        megabytes = stripped.stat().st_size / 1e6
    row("stripped binary", f"{megabytes:.1f} MB", "≤ 12 MB", megabytes <= 12)


SECTIONS = {
    "machine": machine,
    "first": first_frame,
    "one": lambda playwright, options: browsers(playwright, options, 1, 15, 30, 20),
    "eight": lambda playwright, options: browsers(playwright, options, 8, 30, 50, 28),
    "cpu": cpu,
    "loss": loss,
    "weak": weak,
    "idle": idle,
    "size": size,
    "stages": stages,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"what to measure, of {', '.join(SECTIONS)} (default: all)")
    parser.add_argument("--seconds", type=int, default=15, help="length of each steady measurement (default 15)")
    parser.add_argument("--rounds", type=int, default=8, help="page loads for the first frame (default 8)")
    parser.add_argument("--json", metavar="FILE", help="also write the table here")
    options = parser.parse_args()
    unknown = [name for name in options.sections if name not in SECTIONS]
    if unknown:
        parser.error(f"unknown section {', '.join(unknown)}: one of {', '.join(SECTIONS)}")

    load = os.getloadavg()[0]
    version = subprocess.run([perch_binary(), "--version"], capture_output=True, text=True, timeout=10).stdout.strip()
    note = f"{version}, {os.cpu_count()} CPUs, load before the start {load:.1f}"
    if load > 0.3:
        note += " — the machine was not quiet, so take the figures as upper bounds"
    if "debug" in Path(perch_binary()).parts:
        note += " — a debug build: the figures mean nothing"
    print(note, file=sys.stderr, flush=True)

    with sync_playwright() as playwright:
        for name in options.sections or SECTIONS:
            print(f"{name} …", file=sys.stderr, flush=True)
            try:
                SECTIONS[name](playwright, options)
            except Exception as error:  # one that fails must not hide the others
                failures.append(name)
                row(name, f"could not be measured: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}", "–", False)

    print(f"\n1280×720, 30 fps, {BITRATE / 1e6:g} Mbit/s, source test. {note}.\n")
    print("| figure | measured | target | ok |\n|---|---|---|---|")
    for figure, measured, target, ok in rows:
        print(f"| {figure} | {measured} | {target} | {'–' if ok is None else 'yes' if ok else 'NO'} |")
    if options.json:
        names = ("figure", "measured", "target", "ok")
        Path(options.json).write_text(json.dumps([dict(zip(names, one)) for one in rows], indent=1, ensure_ascii=False))
    if failures:
        print(f"\nCould not measure: {', '.join(failures)}.", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
