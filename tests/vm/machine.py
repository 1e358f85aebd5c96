"""The lab's guest: a Debian with video drivers, in QEMU without KVM, driven from outside.

The guest sees the folder `share` as /share, and runs shell scripts that are sent to its agent. A panic ends QEMU; that,
and anything that takes longer than it was given, is an error that shows the end of the guest's console.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

from perch_process import free_port

AGENT_PORT = 9000
UDP_PORTS = 12
BOOT_WITHIN = 90
# How often it is booted at most, if its kernel does not live to see the first test.
BOOTS = 3


class GuestError(Exception):
    """A script failed in the guest, or the guest itself did."""


class GuestPanic(GuestError):
    """The guest's kernel is gone."""


def free_udp_ports(count: int) -> int:
    """The first of `count` UDP ports in a row that are free on loopback."""
    for _ in range(100):
        first = free_port(socket.SOCK_DGRAM)
        if first + count > 65535:
            continue
        probes = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
        try:
            for offset, probe in enumerate(probes):
                probe.bind(("127.0.0.1", first + offset))
            return first
        except OSError:
            continue
        finally:
            for probe in probes:
                probe.close()
    raise OSError(f"no {count} free UDP ports in a row")


class Guest:
    """A running guest. Ports of perch are the same inside and outside, so that it announces what browsers can use."""

    def __init__(self, bundle: Path, share: Path, initrd: str = "initrd"):
        self.share = share
        self.console = share / "console.log"
        # QEMU's emulation of two processors may trip over the kernel's changes to its own code while it boots: not over
        # anything of perch, which runs later.
        for boots_left in reversed(range(BOOTS)):
            try:
                self._boot(bundle, share, initrd)
                return
            except GuestPanic as panic:
                if boots_left == 0:
                    raise
                print(f"the guest is booted again: {panic}", file=sys.stderr)

    def _boot(self, bundle: Path, share: Path, initrd: str):
        self.http_port = free_port()
        self.udp_first = free_udp_ports(UDP_PORTS)
        self._agent_port = free_port()
        forwards = [f"tcp:127.0.0.1:{self._agent_port}-:{AGENT_PORT}", f"tcp:127.0.0.1:{self.http_port}-:{self.http_port}"]
        forwards += [f"udp:127.0.0.1:{port}-:{port}" for port in range(self.udp_first, self.udp_first + UDP_PORTS)]
        self.process = subprocess.Popen(
            [
                "qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi", "-smp", "2", "-cpu", "max", "-m", "1536",
                "-nodefaults", "-display", "none", "-no-reboot", "-serial", f"file:{self.console}",
                "-kernel", bundle / "kernel", "-initrd", bundle / initrd,
                "-append", "console=ttyS0 loglevel=5 panic=-1 oops=panic tsc=reliable",
                "-virtfs", f"local,path={share},mount_tag=share,security_model=none,multidevs=remap",
                "-netdev", ",".join(["user,id=net", *(f"hostfwd={forward}" for forward in forwards)]),
                "-device", "virtio-net-pci,netdev=net,romfile=", "-device", "virtio-rng-pci",
            ],
            stdin=subprocess.DEVNULL,
            stdout=(share / "qemu.log").open("wb"),
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            self._wait_for_agent()
        except BaseException:
            self.stop()
            raise

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)

    def log(self, lines: int = 60) -> str:
        """The end of the guest's console."""
        text = self.console.read_text(errors="replace") if self.console.exists() else ""
        return "\n".join((text + (self.share / "qemu.log").read_text(errors="replace")).splitlines()[-lines:])

    def check(self):
        """Fails when the guest is gone, which is what a panic does to it."""
        if self.process.poll() is not None:
            raise GuestPanic(f"the guest ended with {self.process.returncode}; its console:\n{self.log()}")

    def _wait_for_agent(self):
        end = time.monotonic() + BOOT_WITHIN
        while True:
            self.check()
            # QEMU accepts connections long before the guest does.
            try:
                if self.run("echo up", timeout=5) == "up\n":
                    return
            except GuestError:
                if time.monotonic() > end:
                    raise GuestError(f"the guest was not up within {BOOT_WITHIN} s; its console:\n{self.log()}") from None
                time.sleep(0.2)

    def run(self, script: str, timeout: float = 30) -> str:
        """Runs a shell script and gives what it printed. It fails when the script does, or takes longer."""
        code, output = self.ask(script, timeout)
        if code != 0:
            raise GuestError(f"`{script}` ended with {code}:\n{output}")
        return output

    def ask(self, script: str, timeout: float = 30) -> tuple[int, str]:
        """Runs a shell script and gives its exit code and what it printed."""
        self.check()
        deadline = time.monotonic() + timeout
        received = b""
        text = script.encode()
        try:
            with socket.create_connection(("127.0.0.1", self._agent_port), timeout) as agent:
                agent.sendall(f"{len(text)}\n".encode() + text)
                while b"\0" not in received or not received.endswith(b"\n"):
                    agent.settimeout(max(deadline - time.monotonic(), 0.001))
                    chunk = agent.recv(65536)
                    if not chunk:
                        self.check()
                        raise GuestError(f"`{script}` was cut off:\n{received.decode(errors='replace')}")
                    received += chunk
        except TimeoutError:
            self.check()
            output = received.decode(errors="replace")
            raise GuestError(f"`{script}` took longer than {timeout} s:\n{output}\nconsole:\n{self.log()}") from None
        except OSError as error:
            self.check()
            raise GuestError(f"`{script}`: {error}") from None
        output, _, code = received.rpartition(b"\0")
        return int(code), output.decode(errors="replace")

    def start(self, command: str, name: str) -> "Task":
        """Starts a program in the background."""
        log = f"/share/{name}.log"
        pid = int(self.run(f"setsid {command} >{log} 2>&1 & echo $!"))
        return Task(self, pid, name)


class Task:
    """A program that runs in the guest."""

    def __init__(self, guest: Guest, pid: int, name: str):
        self.guest = guest
        self.pid = pid
        self.name = name

    def log(self) -> str:
        path = self.guest.share / f"{self.name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def is_running(self) -> bool:
        return self.guest.ask(f"kill -0 {self.pid}")[0] == 0

    def signal(self, name: str = "TERM"):
        self.guest.ask(f"kill -{name} {self.pid}")

    def stop(self, within: float = 10):
        """Ends the program, and waits until it is gone."""
        code, _ = self.guest.ask(
            f"kill -TERM {self.pid} 2>/dev/null; i=0;"
            f" while kill -0 {self.pid} 2>/dev/null; do i=$((i + 1)); [ $i -gt {int(within * 20)} ] && exit 1; usleep 50000; done",
            within + 10,
        )
        if code != 0:
            self.signal("KILL")
            raise GuestError(f"{self.name} did not end within {within} s of SIGTERM:\n{self.log()[-4000:]}")
