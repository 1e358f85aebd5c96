"""How another machine in the network finds the appliance: by its name, and by what it offers."""

import pytest
from appliance import Card
from neighbour import OWN_ADDRESS, Neighbour

pytestmark = pytest.mark.timeout(3600)

ADDRESS = "10.0.2.15"
# Emulated: what never comes shall fail, nothing else.
WITHIN = 300


@pytest.fixture
def in_network(image, folder, switch_on):
    """Starts the appliance beside a neighbour, which may have a name already."""
    neighbours = []

    def start(name: str | None = None):
        neighbours.append(Neighbour(name))
        machine = switch_on(Card(image, folder / "found.img"), parts=neighbours[-1].qemu, netdev="hub")
        return machine, neighbours[-1]

    yield start
    for neighbour in neighbours:
        neighbour.close()


def test_by_name_and_by_service(in_network, progress):
    machine, neighbour = in_network()
    machine.wait_for_page()
    assert ADDRESS in neighbour.ask("perch.local.", "A", WITHIN)
    for service, port in (("_http._tcp", 80), ("_https._tcp", 443), ("_perch._tcp", 80)):
        names = neighbour.ask(f"{service}.local.", "PTR", WITHIN)
        assert len(names) == 1 and names[0].endswith(f".{service}.local."), (service, names)
        target = neighbour.ask(names[0], "SRV", WITHIN)[0].split()
        assert target[2:] == [str(port), "perch.local."], (service, target)
    progress("another machine finds perch.local, and its services")


def test_a_name_that_is_taken(in_network, progress):
    machine, neighbour = in_network("perch")
    machine.wait_for_page()
    assert ADDRESS in neighbour.ask("perch-3456.local.", "A", WITHIN)
    assert machine.run("cat /proc/sys/kernel/hostname").strip() == "perch-3456"
    assert OWN_ADDRESS not in machine.run("ip address")
    progress("where another machine is perch.local, this one is perch-3456.local")
