"""The page about the machine, on a phone: what it shows, and that it restarts the machine only when it is asked twice."""

import pytest
import requests
from page_view import PHONE
from perch_process import wait_until

pytestmark = pytest.mark.timeout(120)

OWNER = "a heron at dusk"


def test_the_owner_reads_how_the_machine_is_and_restarts_it(launch, watch, tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    wishes = tmp_path / "wishes"
    wishes.mkdir()
    flags, config = ("--wishes", str(wishes)), '[http]\nauth = "required"\n'
    perch = launch(*flags, config=config)
    assert requests.post(perch.url + "/api/claim", json={"password": OWNER}, timeout=30).status_code == 200
    view = watch(perch.url + "/login", viewport=PHONE)
    view.wait("document.title.startsWith('Log in')")
    view.page.get_by_label("Password").fill(OWNER)
    view.page.get_by_role("button", name="Log in").click()
    view.wait("document.getElementById('account')?.hidden === false")
    view.page.get_by_role("link", name="Access").click()
    view.page.get_by_role("link", name="System").click()

    view.wait("document.getElementById('machine')?.innerText.includes('Memory')")
    view.wait("document.getElementById('cameras-in-use').innerText.includes('main: ')")
    assert view.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than the phone"
    with view.page.expect_download() as download:
        view.page.get_by_role("link", name="Save the support file").click()
    assert "== settings" in open(download.value.path()).read()

    restart = view.page.get_by_role("button", name="Restart")
    restart.click()
    view.page.get_by_role("button", name="Cancel").click()
    assert view.page.evaluate("!document.getElementById('confirm').open") and not list(wishes.iterdir())
    restart.click()
    view.page.locator("#confirm-yes").click()
    wait_until(lambda: [file.name for file in wishes.iterdir()] == ["reboot"], 20, "the machine is asked to start again")
    view.wait("document.getElementById('done').textContent.startsWith('It starts again')")
    errors = list(view.errors)
    perch.stop()
    # That it does not answer is seen before it is back.
    view.wait("performance.getEntriesByType('resource').some((entry) => entry.name.endsWith('/healthz') && !entry.responseStatus)")
    launch(*flags, config=config, port=perch.port)
    view.wait_until_live()
    assert errors == []
