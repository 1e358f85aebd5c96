"""By which addresses and ways a viewer may come, in a network namespace of the test's own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
IPV6, LINK_LOCAL = "fd00:7065:7263::7", "169.254.7.7"
WIDE, NARROW = 65536, 1000

# One interface as a camera has it that hangs on a laptop's cable. Packets to an address of its own go by lo.
NETWORK = f"""
ip link set lo up
ip link set lo mtu $1
shift
ip link add cable type veth peer name far
ip link set far up
ip link set cable up
ip addr add {LINK_LOCAL}/16 dev cable
ip addr add {IPV6}/64 dev cable nodad
exec "$@"
"""


@pytest.mark.parametrize("address", [IPV6, LINK_LOCAL])
def test_a_viewer_comes_by_ipv6_and_by_a_link_local_address(address):
    see_a_picture(address, WIDE)


def test_a_viewer_comes_through_a_tunnel_that_takes_only_short_packets():
    see_a_picture(LINK_LOCAL, NARROW)


def see_a_picture(address: str, mtu: int):
    command = ["unshare", "--net", "--map-root-user", "sh", "-ec", NETWORK, "sh", str(mtu), sys.executable, __file__, address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip() == f"a picture came by {address}"


async def watch_by(address: str):
    import aioice.ice

    from perch_process import Perch, free_port
    from viewer import Viewer, post_offer

    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: [address]
    port = free_port()
    with Perch("--listen", f"[::]:{port}", port=port, config='[http]\nauth = "none"\n') as perch:
        viewer = Viewer()
        response = await asyncio.to_thread(post_offer, perch.url, await viewer.offer())
        lines = response.json()["sdp"].split("\r\n")
        passes = [line for line in lines if not line.startswith("a=candidate:") or f" {address} " in line]
        await viewer.accept("\r\n".join(passes))
        try:
            assert await viewer.frame() is not None
        finally:
            await viewer.close()


if __name__ == "__main__":
    sys.path[:0] = [str(HERE), str(HERE.parent)]
    asyncio.run(watch_by(sys.argv[1]))
    print(f"a picture came by {sys.argv[1]}")
