"""A stand-in for `wpa_supplicant` and the air around it, and the `perch network` that talks to it.

The protocol is the real one's (a datagram asks, a datagram answers, events come by themselves), the machine a folder."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

from perch_process import free_port, perch_binary, wait_until

HURRY = 100


class Supplicant:
    """Listens at `path`. `air` is what can be joined: names and their passwords ("" is open)."""

    def __init__(self, path: Path, air: dict[str, str]):
        self.air = dict(air)
        self.networks: dict[int, dict[str, str]] = {}
        self.enabled: set[int] = set()
        self.asked: list[str] = []
        self.joined: str | None = None
        self.gives_address = True
        self.guest = ""
        self._listeners: set[str] = set()
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self):
        """As if it had ended: who is connected notices."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(20)
        self._socket.close()
        self._path.unlink()

    def mode(self) -> str:
        """What the radio is: `station`, `ap`, or nothing yet."""
        modes = {self.networks[id].get("mode", "0") for id in list(self.enabled) if id in self.networks}
        return "ap" if "2" in modes else "station" if modes or self.asked else ""

    def offered(self) -> list[tuple[str, str]]:
        """Names and passwords that it was given, in the order of their numbers."""
        read = lambda network: (bytes.fromhex(network["ssid"]).decode(), network.get("psk", '""')[1:-1])  # noqa: E731
        return [read(self.networks[id]) for id in sorted(self.networks) if id in self.enabled]

    def tell(self, event: str):
        for listener in list(self._listeners):
            with contextlib.suppress(OSError):
                self._socket.sendto(f"<3>{event}".encode(), listener)

    def _serve(self):
        while True:
            try:
                data, who = self._socket.recvfrom(4096)
            except OSError:
                return
            if not data or who is None:
                return
            command = data.decode()
            answer = self._answer(command, who)
            with contextlib.suppress(OSError):
                self._socket.sendto(answer.encode(), who)
            if command == "REASSOCIATE":
                self._associate()

    def _answer(self, command: str, who: str) -> str:
        word, *rest = command.split(" ", 3)
        if word not in ("STATUS", "SCAN_RESULTS", "SCAN", "STA-FIRST"):
            self.asked.append(command)
        match word, *rest:
            case ["ATTACH"]:
                self._listeners.add(who)
            case ["REMOVE_NETWORK", "all"]:
                self.networks, self.enabled, self.joined = {}, set(), None
            case ["ADD_NETWORK"]:
                id = len(self.networks)
                self.networks[id] = {}
                return f"{id}\n"
            case ["SET_NETWORK", id, key, value]:
                self.networks[int(id)][key] = value
            case ["ENABLE_NETWORK", id]:
                self.enabled.add(int(id))
            case ["SELECT_NETWORK", id]:
                self.enabled = {int(id)}
            case ["REASSOCIATE"] | ["SCAN"] | ["SET", *_]:
                pass
            case ["STA-FIRST"]:
                return f"{self.guest}\nflags=[AUTH]\n" if self.guest else "FAIL\n"
            case ["SCAN_RESULTS"]:
                lines = ["bssid / frequency / signal level / flags / ssid"]
                for index, (name, password) in enumerate(self.air.items()):
                    flags = "[WPA2-PSK-CCMP][ESS]" if password else "[ESS]"
                    lines.append(f"02:00:00:00:{index:02x}:00\t2437\t{-40 - 10 * index}\t{flags}\t{name}")
                return "\n".join(lines) + "\n"
            case ["STATUS"] if self.joined:
                address = "ip_address=192.168.1.7\n" if self.gives_address else ""
                return f"ssid={self.joined}\nwpa_state=COMPLETED\n{address}"
            case ["STATUS"]:
                return "wpa_state=DISCONNECTED\n"
            case _:
                return "UNKNOWN COMMAND\n"
        return "OK\n"

    def _associate(self):
        for name, password in self.offered():
            if name not in self.air:
                self.tell("CTRL-EVENT-NETWORK-NOT-FOUND ")
            elif password != self.air[name]:
                self.tell(f'CTRL-EVENT-SSID-TEMP-DISABLED id=0 ssid="{name}" auth_failures=1 duration=10 reason=WRONG_KEY')
            else:
                self.joined = name
                self.tell("CTRL-EVENT-CONNECTED - Connection to 02:00:00:00:00:00 completed")
                return


class Machine:
    """A machine with a radio and a socket for a cable, as a folder, and `perch network` on it, HURRY times as quick."""

    def __init__(self, air: dict[str, str], device: str = "", page: str = "http://127.0.0.1/", mdns: int | None = None, has_radio: bool = True):
        self._folder = tempfile.TemporaryDirectory(prefix="perch-net-")
        base = self.base = Path(self._folder.name)
        for folder in ("wishes", "control", "dev", "proc/sys/kernel", "proc/net", "sys/class/net/wlan0/phy80211", "sys/class/net/eth0"):
            (base / folder).mkdir(parents=True)
        (base / "device.toml").write_text(device)
        (base / "sys/class/net/eth0/address").write_text("b8:27:eb:12:34:56\n")
        (base / "sys/class/net/wlan0/address").write_text("b8:27:eb:12:34:57\n")
        (base / "proc/net/if_inet6").write_text("")
        self.cable(False)
        self.hostname_file = base / "proc/sys/kernel/hostname"
        self.hostname_file.write_text("perch\n")
        self.supplicant = Supplicant(base / "control/wlan0", air) if has_radio else None
        self.dns_port = free_port(socket.SOCK_DGRAM)
        self.wishes, self.status_file = base / "wishes", base / "run/wifi.json"
        self.command = [
            perch_binary(), "network", "--root", base, "--run", base / "run", "--kept", base / "kept", "--wishes", self.wishes,
            "--device", base / "device.toml", "--control", base / "control", "--dns", f"127.0.0.1:{self.dns_port}", "--page", page,
            "--mdns", f"127.0.0.1:{mdns or free_port(socket.SOCK_DGRAM)}", "--hurry", str(HURRY),
        ]  # fmt: skip
        self.process = None
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        if self.supplicant:
            self.supplicant.close()
        self._folder.cleanup()

    def start(self):
        self._log = open(self.base / "log", "ab")
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT)

    def stop(self):
        self.process.kill()
        self.process.wait(20)
        self._log.close()

    def log(self) -> str:
        return (self.base / "log").read_text(errors="replace")

    def cable(self, is_plugged: bool):
        (self.base / "sys/class/net/eth0/carrier").write_text(f"{int(is_plugged)}\n")

    def screen(self) -> str:
        file = self.base / "dev/tty1"
        return file.read_text() if file.exists() else ""

    def kept(self) -> str:
        return (self.base / "kept/wifi.json").read_text()

    def status(self) -> dict:
        return json.loads(self.status_file.read_text()) if self.status_file.exists() else {}

    def wait_for(self, phase: str, within: float = 30) -> dict:
        return self.wait_until(lambda status: status.get("phase") == phase, within, f"Wi-Fi is {phase}")

    def wait_until(self, what, within: float, why: str) -> dict:
        def look():
            assert self.process.poll() is None, self.log()
            status = self.status()
            return status if status and what(status) else None

        try:
            return wait_until(look, within, why)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.status()}\n{self.log()}") from None

    def wish(self, text: str):
        new = self.wishes / ".new"
        new.write_text(text)
        os.rename(new, self.wishes / "wifi")
