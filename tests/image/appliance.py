"""The appliance in an emulated machine: a card, the machine that starts from it, and a shell in it.

Kernel, device tree, initrd and command line are read from the card's own FAT partition, as the Pi's firmware would. QEMU
has no such firmware, so what `config.txt` says is not tried. Two things are added to the command line: where the console
is, and that systemd keeps a root shell on a line of its own (which who holds the card could do as well).

There are two machines: a Raspberry Pi 3, and one that QEMU emulates several times as quickly, with the same kernel and the
same card in it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import requests
from perch_process import free_port, wait_until

MIB = 1 << 20
SECTOR = 512
# Where the FAT partition begins; see image/layout.
BOOT = 4 * MIB
UDP_PORTS = 6
# Emulated, on a machine that does other things beside: only what never comes shall fail. What is typical is printed.
PAGE_WITHIN = 1500
SHELL_WITHIN = 900


def free_udp_ports() -> int:
    """The first of UDP_PORTS ports in a row that are free on loopback."""
    for _ in range(100):
        first = free_port(socket.SOCK_DGRAM)
        with contextlib.ExitStack() as probes, contextlib.suppress(OSError, OverflowError):
            for port in range(first, first + UDP_PORTS):
                probe = probes.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                probe.bind(("127.0.0.1", port))
            return first
    raise OSError(f"no {UDP_PORTS} free UDP ports in a row")


class ApplianceError(Exception):
    """The machine ended, or the shell in it did not do what it was asked."""


class Card:
    """An SD card with the image on it. Its FAT partition can be read and written while the machine is off."""

    def __init__(self, image: Path, path: Path, size: int = 1 << 30):
        # A power of two: QEMU's card wants that.
        self.path = path
        subprocess.run(["cp", "--sparse=always", image, path], check=True)
        os.truncate(path, size)

    def copy(self, path: Path) -> "Card":
        """Another card, with the same on it."""
        card = Card.__new__(Card)
        card.path = path
        subprocess.run(["cp", "--sparse=always", self.path, path], check=True)
        return card

    def _mtools(self, command: str, *arguments: str, **options) -> bytes:
        run = [command, *arguments[:-2], "-i", f"{self.path}@@{BOOT}", *arguments[-2:]]
        return subprocess.run(run, check=True, capture_output=True, timeout=60, **options).stdout

    def read(self, name: str) -> bytes:
        """A file of the FAT partition."""
        return self._mtools("mcopy", "-n", f"::{name}", "-")

    def write(self, name: str, text: str):
        """Writes a file of the FAT partition, as the owner's computer does."""
        self._mtools("mcopy", "-o", "-", f"::{name}", input=text.encode())

    def settings(self, text: str):
        self.write("perch.toml", text)

    def contains(self, secret: str) -> bool:
        """Whether the FAT partition has these bytes anywhere, in files that were deleted too."""
        return secret.encode() in self.bytes(1)

    def bytes(self, number: int) -> bytes:
        start, size = self.partitions()[number - 1]
        with self.path.open("rb") as card:
            card.seek(start * SECTOR)
            return card.read(size * SECTOR)

    def partitions(self) -> list[tuple[int, int]]:
        """Start and size of each of the four, in sectors."""
        with self.path.open("rb") as card:
            table = card.read(SECTOR)[446:510]
        numbers = [table[16 * entry + 8 : 16 * entry + 16] for entry in range(4)]
        return [(int.from_bytes(n[:4], "little"), int.from_bytes(n[4:], "little")) for n in numbers]


@dataclass(frozen=True)
class Board:
    """An emulated machine."""

    qemu: tuple[str, ...]
    # QEMU's arguments for a card with this path, a console in this file, and a shell at this socket.
    parts: Callable[[Path, Path, Path], list[str]]
    network: str
    # What is added to the command line of the kernel, and the shell's line there.
    words: tuple[str, ...]
    shell: str
    device_tree: str | None = None


RASPBERRY_PI_3 = Board(
    qemu=("-M", "raspi3b"),
    parts=lambda card, console, shell: [
        "-drive", f"file={card},if=sd,format=raw",
        "-serial", f"file:{console}", "-serial", f"unix:{shell},server=on,wait=off",
    ],
    network="usb-net",
    words=(
        # QEMU's watchdog of the Pi resets the machine as soon as it is armed (hw/misc/bcm2835_powermgt.c).
        "systemd.watchdog_sec=off",
        # Four processors are emulated, and there are fewer: those that wait for one that does not run cost minutes.
        "isolcpus=2,3",
    ),
    # The Pi's own first line is Bluetooth's in its device tree: good enough for the kernel to print on.
    shell="ttyS1",
    device_tree="bcm2837-rpi-3-b.dtb",
)  # fmt: skip

VIRTUAL = Board(
    # The Pi 3's processor, and as much memory as the smallest board has.
    qemu=("-M", "virt", "-cpu", "cortex-a53", "-smp", "2", "-m", "512"),
    parts=lambda card, console, shell: [
        "-drive", f"file={card},if=none,id=card,format=raw", "-device", "virtio-blk-pci,drive=card",
        "-serial", f"file:{console}",
        "-chardev", f"socket,id=shell,path={shell},server=on,wait=off",
        "-device", "virtio-serial-pci", "-device", "virtconsole,chardev=shell",
    ],
    network="virtio-net-pci,romfile=",
    # With it, the kernel's pages would be taken away at each return from it, which costs the emulation as much as all the rest.
    words=("nokaslr",),
    shell="hvc0",
)  # fmt: skip


class Appliance:
    """A machine that starts from a card. The ports of perch's pictures are the same inside and outside, so that what it
    announces is what a browser here can reach; the page's is not. `parts` are more of QEMU's arguments, and `netdev` is what
    its network adapter is plugged into."""

    starts = itertools.count(1)

    def __init__(
        self,
        card: Card,
        folder: Path,
        board: Board = VIRTUAL,
        udp_first: int | None = None,
        has_cable: bool = True,
        parts: Sequence[str] = (),
        netdev: str = "net",
    ):
        self.card = card
        self.folder = folder / f"start-{next(self.starts)}"
        self.folder.mkdir(parents=True)
        self.console = self.folder / "console.log"
        self.port = free_port()
        self.tls_port = next(port for port in iter(free_port, None) if port != self.port)
        # perch leads from HTTP to HTTPS without a port, which is another one here: so the page is asked for by HTTPS.
        self.http = f"http://127.0.0.1:{self.port}"
        self.url = f"https://127.0.0.1:{self.tls_port}"
        for name in filter(None, ("kernel", "initrd", board.device_tree)):
            (self.folder / name).write_bytes(card.read(name))
        forwards = [f"tcp:127.0.0.1:{self.port}-:80", f"tcp:127.0.0.1:{self.tls_port}-:443"]
        if udp_first:
            forwards += [f"udp:127.0.0.1:{port}-:{port}" for port in range(udp_first, udp_first + UDP_PORTS)]
        words = card.read("cmdline.txt").decode().split()
        words.remove("quiet")
        words = ["console=ttyAMA0", *words, *board.words, f"systemd.debug_shell={board.shell}"]
        words += ["systemd.journald.forward_to_kmsg=1", "systemd.journald.max_level_kmsg=info", "printk.devkmsg=on", "loglevel=7"]
        self._serial, self._monitor = self.folder / "shell", self.folder / "monitor"
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [
                "qemu-system-aarch64", *board.qemu, "-nodefaults", "-display", "none", "-no-reboot",
                "-kernel", self.folder / "kernel", "-initrd", self.folder / "initrd",
                *(["-dtb", self.folder / board.device_tree] if board.device_tree else []),
                "-append", " ".join(words), *board.parts(card.path, self.console, self._serial),
                "-netdev", ",".join(["user,id=net", *(f"hostfwd={forward}" for forward in forwards)]),
                *parts, "-device", f"{board.network},netdev={netdev}", "-monitor", f"unix:{self._monitor},server=on,wait=off",
            ],
            stdin=subprocess.DEVNULL,
            stdout=(self.folder / "qemu.log").open("wb"),
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        self._shell: socket.socket | None = None
        if not has_cable:
            self.plug("off")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.cut_power()

    def cut_power(self):
        """What pulling the plug does: nothing that was not written yet is."""
        if self._shell:
            self._shell.close()
            self._shell = None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)
        for name in ("kernel", "initrd"):
            (self.folder / name).unlink(missing_ok=True)

    def plug(self, cable: str):
        """Plugs the cable into the network adapter (`on`), or pulls it out (`off`)."""
        wait_until(lambda: self.check() or self._monitor.exists(), 30, "QEMU listens")
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.settimeout(30)
            monitor.connect(str(self._monitor))
            for words in (b"", f"set_link net {cable}\n".encode()):
                monitor.sendall(words)
                said = b""
                while not said.endswith(b"(qemu) "):
                    said += monitor.recv(4096)

    def cpu_seconds(self) -> float:
        """What the emulation has cost so far: the same on a busy machine as on an idle one."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def log(self, lines: int = 80) -> str:
        """The end of the console, and what QEMU said."""
        said = (self.folder / "qemu.log").read_text(errors="replace").splitlines()
        # A machine that asks for the time finds nobody where there is no network.
        said = [line for line in said if "Slirp: Failed to send packet" not in line]
        return "\n".join(self._console().splitlines()[-lines:] + said[-20:])

    def _console(self) -> str:
        return self.console.read_text(errors="replace") if self.console.exists() else ""

    def reached(self, words: str) -> float | None:
        """When the console said this, in seconds since the kernel's own start; nothing when it has not."""
        found = re.search(rf"^\[ *([\d.]+)\] .*{re.escape(words)}", self._console(), re.M)
        return float(found[1]) if found else None

    def check(self):
        if self.process.poll() is not None:
            raise ApplianceError(f"the machine ended with {self.process.returncode}; its console:\n{self.log()}")

    def answers(self) -> bool:
        """Whether anything serves the page."""
        self.check()
        # QEMU takes a connection at once and hands it on ever more rarely while nothing answers inside: so the first ones are
        # given up soon, or it would be seen late.
        patience = 2 if time.monotonic() - self.started < 120 else 20
        try:
            requests.get(self.http + "/healthz", timeout=patience).raise_for_status()
            return requests.get(self.url + "/login", timeout=20, verify=False).status_code < 500
        except requests.RequestException:
            return False

    def is_trusted(self) -> bool:
        """Whether who has installed the root that it offers trusts its HTTPS."""
        root = requests.get(self.http + "/ca.crt", timeout=20).text
        context = ssl.create_default_context(cadata=root)
        context.check_hostname = False
        with socket.create_connection(("127.0.0.1", self.tls_port), timeout=20) as plain, context.wrap_socket(plain) as tls:
            return tls.version() in ("TLSv1.2", "TLSv1.3")

    def wait_for_page(self, within: float = PAGE_WITHIN) -> float:
        """Seconds from the start until the page was served."""
        wait_until(self.answers, within, f"the page is served; console:\n{self.log()}", every=0.25)
        return time.monotonic() - self.started

    def run(self, script: str, timeout: float = 120) -> str:
        """Runs a shell script as root in the machine, and gives what it printed. It fails when the script does."""
        code, output = self.ask(script, timeout)
        if code != 0:
            raise ApplianceError(f"`{script}` ended with {code}:\n{output}")
        return output

    def ask(self, script: str, timeout: float = 120) -> tuple[int, str]:
        if not self._shell:
            self._connect()
        # The marks are not in what is sent, so that an echo of it is no answer.
        self._shell.sendall(f"echo $((6*7))BEGIN; ({script}) 2>&1; echo $((6*7))END $?\n".encode())
        text = self._until(r"42BEGIN\n((?s:.*?))42END (\d+)\n", timeout, script)
        return int(text[2]), text[1]

    def _connect(self):
        wait_until(lambda: self.check() or self._serial.exists(), 30, "QEMU listens")
        self._shell = socket.socket(socket.AF_UNIX)
        self._shell.connect(str(self._serial))
        self._received = b""
        end = time.monotonic() + SHELL_WITHIN
        while True:
            self._shell.sendall(b"busybox stty -echo; echo $((6*7))READY\n")
            try:
                self._until(r"42READY\n", 5, "the shell")
                return
            except TimeoutError:
                if time.monotonic() > end:
                    raise ApplianceError(f"no shell within {SHELL_WITHIN} s; console:\n{self.log()}") from None

    def _until(self, pattern: str, timeout: float, what: str) -> re.Match:
        end = time.monotonic() + timeout
        while True:
            text = self._received.decode(errors="replace").replace("\r", "")
            if found := re.search(pattern, text):
                self._received = text[found.end() :].encode()
                return found
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"`{what}` took longer than {timeout} s:\n{text[-2000:]}\nconsole:\n{self.log(30)}")
            self._shell.settimeout(left)
            try:
                chunk = self._shell.recv(65536)
            except TimeoutError:
                continue
            if not chunk:
                self.check()
                raise ApplianceError(f"`{what}` was cut off")
            self._received += chunk
