"""tests/*_devices.rs, test by test, in the guest."""

import pytest

pytestmark = pytest.mark.timeout(240)


def test_driver(guest, program, device_test):
    code, output = guest.ask(f"PERCH_VM=1 /share/{program} --exact {device_test} --nocapture --test-threads=1", 200)
    guest.ask("modprobe -r vivid vicodec")
    print(output)
    assert code == 0, output
    assert "1 passed" in output, output
