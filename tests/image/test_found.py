"""How another machine in the network finds the appliance: by its name, and by what it offers."""

import pytest
from appliance import Card
from neighbour import OWN_ADDRESS, Neighbour
from perch_process import wait_until

pytestmark = [
    pytest.mark.timeout(3600),
    # The certificate's name is not that of the forwarded port.
    pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning"),
]

ADDRESS = "10.0.2.15"
# Emulated: what never comes shall fail, nothing else.
WITHIN = 300


@pytest.fixture
def in_network(image, folder, switch_on):
    """Starts the appliance beside a neighbour, which may have a name already, or want to know who has one."""
    neighbours = []

    def start(name: str | None = None, wanted: str | None = None):
        neighbours.append(Neighbour(name, wanted))
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
    machine.wait_for_page()
    assert ADDRESS in neighbour.ask("perch.local.", "A", WITHIN)
    for service, port in (("_http._tcp", 80), ("_https._tcp", 443), ("_perch._tcp", 80)):
        wait_until(lambda: offered(neighbour, service) == [f"{port} perch.local."], WITHIN, f"{service} is offered", every=2)
    progress("another machine finds perch.local, and its services")


def test_who_waits_for_it_to_start_does_not_cost_it_its_name(in_network, progress):
    """resolved then publishes another one: see src/network/name.rs."""
    machine, neighbour = in_network(wanted="perch")
    machine.wait_for_page()
    wait_until(lambda: "Hostname conflict" in machine.log(1000), WITHIN, "resolved takes its own answer for another machine's")
    wait_until(lambda: offered(neighbour, "_http._tcp") == ["80 perch.local."], WITHIN, "it has its name again", every=2)
    assert neighbour.ask("perch.local.", "A", WITHIN) == [ADDRESS]
    progress("resolved gave the name up, and has it again")


def test_a_name_that_is_taken(in_network, progress):
    machine, neighbour = in_network("perch")
    machine.wait_for_page()
    assert ADDRESS in neighbour.ask("perch-3456.local.", "A", WITHIN)
    assert machine.run("cat /proc/sys/kernel/hostname").strip() == "perch-3456"
    assert OWN_ADDRESS not in machine.run("ip address")
    progress("where another machine is perch.local, this one is perch-3456.local")
