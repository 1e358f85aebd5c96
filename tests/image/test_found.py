"""How another machine in the network finds the appliance: by its name, and by what it offers."""

import pytest
from appliance import Card
from neighbour import OWN_ADDRESS, Neighbour
from perch_process import wait_until

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


def offered(neighbour, service: str) -> list[str]:
    """Under which ports and names this service is offered."""
    names = neighbour.ask(f"{service}.local.", "PTR", 10)
    return [" ".join(record.split()[2:]) for name in names for record in neighbour.ask(name, "SRV", 10)]


def test_by_name_and_by_service(in_network, progress):
    machine, neighbour = in_network()
    # Who waits for a camera to start asks for it meanwhile, which must not cost it its name (but for some seconds).
    assert ADDRESS in neighbour.ask("perch.local.", "A", WITHIN)
    machine.wait_for_page()
    for service, port in (("_http._tcp", 80), ("_https._tcp", 443), ("_perch._tcp", 80)):
        wait_until(lambda: offered(neighbour, service) == [f"{port} perch.local."], WITHIN, f"{service} is offered", every=2)
    assert ADDRESS in neighbour.ask("perch.local.", "A", 10)
    progress(f"another machine finds perch.local, and its services; resolved lost the name {machine.log(1000).count('Hostname conflict')} times")


def test_a_name_that_is_taken(in_network, progress):
    machine, neighbour = in_network("perch")
    machine.wait_for_page()
    assert ADDRESS in neighbour.ask("perch-3456.local.", "A", WITHIN)
    assert machine.run("cat /proc/sys/kernel/hostname").strip() == "perch-3456"
    assert OWN_ADDRESS not in machine.run("ip address")
    progress("where another machine is perch.local, this one is perch-3456.local")
