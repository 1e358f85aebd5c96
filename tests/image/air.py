"""The air around the appliance: a radio in it, a router and a phone, all of them real to everything above the driver.

The kernel's mac80211_hwsim makes three radios that hear each other. The first stays where a board's own would be; the
other two go into network namespaces of the same machine: a router's, which is an access point with DHCP, and a phone's,
whose second adapter leads out of the machine, so that a browser out here sees what the phone does.
"""

from __future__ import annotations

import re
from pathlib import Path

from appliance import Appliance
from perch_process import wait_until

# Emulated: what never comes shall fail, nothing else.
WITHIN = 300
DISK = "/run/air"
PAGE = "10.83.0.1"
ROUTER_ADDRESS = "192.168.77.1"


class Namespace:
    """A network of its own in the machine, with one of the radios."""

    def __init__(self, machine: Appliance, radio: str):
        self.machine, self.radio = machine, radio
        self.folder = f"/run/{radio}"
        self.pid = int(machine.run(f"mkdir -p {self.folder}; busybox unshare -n busybox sleep 100000 >/dev/null 2>&1 & echo $!"))
        own = f"[ $(readlink /proc/{self.pid}/ns/net) != $(readlink /proc/1/ns/net) ]"
        machine.run(f"until {own}; do busybox usleep 50000; done")
        phy = machine.run(f"cat /sys/class/net/{radio}/phy80211/name").strip()
        machine.run(f"LD_LIBRARY_PATH={DISK}/lib {DISK}/iw phy {phy} set netns {self.pid}")
        self.run("ip link set lo up")

    def run(self, script: str, timeout: float = WITHIN) -> str:
        """Runs a shell script in it, as root. It fails when the script does."""
        return self.machine.run(self._inside(script), timeout)

    def ask(self, script: str, timeout: float = WITHIN) -> tuple[int, str]:
        return self.machine.ask(self._inside(script), timeout)

    def _inside(self, script: str) -> str:
        assert "'" not in script
        return f"busybox nsenter -t {self.pid} -n sh -c '{script}'"

    def join(self, *settings: str):
        """Has wpa_supplicant look after the radio, with one network of these settings."""
        self.leave()
        lines = ["p2p_disabled=1", f"ctrl_interface={self.folder}/control", "network={", *settings, "}"]
        printed = "\\n".join(lines).replace('"', '\\"')
        self.run(f'printf "{printed}\\n" >{self.folder}/conf; wpa_supplicant -B -c {self.folder}/conf -i {self.radio} -P {self.folder}/pid -f {self.folder}/log')

    def leave(self):
        """Ends that, and the radio is silent."""
        self.machine.run(f"[ ! -e {self.folder}/pid ] || kill $(cat {self.folder}/pid); while [ -e {self.folder}/pid ]; do busybox usleep 50000; done")


class Router(Namespace):
    """A home's router: Wi-Fi and DHCP."""

    def open(self, ssid: str, password: str):
        self.join(f'ssid="{ssid}"', "mode=2", "frequency=2412", "key_mgmt=WPA-PSK", "proto=RSN", "pairwise=CCMP", f'psk="{password}"')
        wait_until(lambda: "AP-ENABLED" in self.machine.run(f"cat {self.folder}/log"), WITHIN, "the router is there", every=1)
        self.run(f"ip address replace {ROUTER_ADDRESS}/24 dev {self.radio}")
        self.run(
            f"printf \"start 192.168.77.20\\nend 192.168.77.40\\ninterface {self.radio}\\nlease_file {self.folder}/leases\\n"
            f"pidfile {self.folder}/dhcp\\noption router {ROUTER_ADDRESS}\\n\" >{self.folder}/udhcpd; : >{self.folder}/leases;"
            f" [ -e {self.folder}/dhcp ] || busybox udhcpd {self.folder}/udhcpd"
        )


class Phone(Namespace):
    """A phone, through which somebody out here looks at the page."""

    def lead_out(self):
        """What is asked for at the machine's adapter is asked for at the page, by the phone."""
        adapter = self.machine.run("cd /sys/class/net && echo e*").strip()
        self.machine.run(f"ip link set {adapter} netns {self.pid}")
        self.run(f"ip address add 10.0.2.15/24 dev {adapter}; ip link set {adapter} up; printf \"#!/bin/sh\\nexec busybox nc {PAGE} 80\\n\" >{self.folder}/page")
        self.run(f"chmod +x {self.folder}/page; busybox nc -ll -p 80 -e {self.folder}/page >/dev/null 2>&1 &")

    def enter(self, ssid: str, password: str):
        """Joins a network, and asks for an address there."""
        self.join(f'ssid="{ssid}"', "key_mgmt=WPA-PSK", f'psk="{password}"')
        self.run(f"printf \"#!/bin/sh\\n[ \\$1 != bound ] || ip address replace \\$ip/24 dev {self.radio}\\n\" >{self.folder}/bound; chmod +x {self.folder}/bound")
        self.run(f"busybox udhcpc -i {self.radio} -n -q -t 20 -T 3 -s {self.folder}/bound")

    def address(self) -> str:
        found = re.search(r"inet ([\d.]+)", self.run(f"ip address show dev {self.radio}"))
        return found[1] if found else ""


def disk(path: Path) -> list[str]:
    """What gives QEMU the disk that tests/image/radios makes."""
    return ["-drive", f"file={path},if=none,id=radios,format=raw,readonly=on", "-device", "virtio-blk-pci,drive=radios"]


def radios(machine: Appliance) -> tuple[Router, Phone]:
    """Gives the machine, which was started with their disk, its radios."""
    machine.run(f"mkdir -p {DISK} && mount -t squashfs -o ro /dev/vdb {DISK}")
    machine.run(
        f"for module in $(cat {DISK}/modules.order); do case $module in *hwsim*) options=radios=3 ;; esac;"
        f" busybox insmod {DISK}/modules/$module $options || exit 1; done"
    )
    return Router(machine, "wlan1"), Phone(machine, "wlan2")
