"""The page over HTTPS, in a browser that trusts the camera's root because it was installed."""

import os
import shutil
import subprocess

import pytest
import requests
from page_view import PageView, launch_chromium
from perch_process import free_port, wait_until

pytestmark = pytest.mark.timeout(180)


def picture_moves(view):
    view.wait_until_live()
    first = view.clock()
    wait_until(lambda: (view.page.wait_for_timeout(50), view.clock())[1] not in (first, None), 20, "the picture moves")


@pytest.fixture
def camera(launch, tmp_path, monkeypatch):
    """A perch with HTTPS, where it is served, and the root it offers."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    port = free_port()
    perch = launch(config=f'[http.tls]\nlisten = "127.0.0.1:{port}"\n')
    root = tmp_path / "root.pem"
    root.write_text(requests.get(perch.url + "/ca.crt", timeout=10).text)
    return perch, port, root


def test_with_the_root_installed_the_picture_moves_over_https(camera, browser, tmp_path):
    perch, port, root = camera
    store = tmp_path / "home/.pki/nssdb"
    store.mkdir(parents=True)
    certutil = shutil.which("certutil")
    assert certutil, "no certutil: install Debian's libnss3-tools"
    for command in (["-N", "--empty-password"], ["-A", "-t", "C,,", "-n", "perch", "-i", str(root)]):
        subprocess.run([certutil, "-d", f"sql:{store}", *command], check=True, timeout=60)
    chromium = launch_chromium(browser.browser_type, env={**os.environ, "HOME": str(tmp_path / "home")})
    try:
        # By HTTP and its name: perch leads to HTTPS.
        view = PageView(chromium, f"http://localhost:{perch.port}/")
        picture_moves(view)
        assert view.page.url.startswith(f"https://localhost:{port}/")
        assert view.page.evaluate("window.isSecureContext") and view.errors == []
        assert all(request.startswith("https:") for request in view.requests[1:]), view.requests
        assert requests.get(perch.url + "/healthz", timeout=10).text == "ok"
        view.close()
    finally:
        chromium.close()


def test_without_the_root_a_browser_warns(camera, browser):
    _, port, _ = camera
    page = browser.new_context().new_page()
    with pytest.raises(Exception, match="ERR_CERT_AUTHORITY_INVALID"):
        page.goto(f"https://localhost:{port}/")
    page.context.close()
