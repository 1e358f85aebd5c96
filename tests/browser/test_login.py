"""The locked door, as people and other sites' pages meet it in a real browser."""

import contextlib
import http.server
import threading

import pytest
import requests
from page_view import PHONE, PageView, launch_chromium
from perch_process import wait_until

pytestmark = pytest.mark.timeout(120)

OWNER, VIEWER = "a heron at dusk", "a gull at noon"


@pytest.fixture
def locked(launch, tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    return launch(config='[http]\nauth = "required"\nallowed_hosts = ["cam.test"]\n')


@pytest.fixture
def owner(locked):
    """A program of the owner's, logged in."""
    session = requests.Session()
    assert session.post(locked.url + "/api/claim", json={"password": OWNER}, timeout=30).status_code == 200
    return session


def log_in(view, password, account="The owner"):
    view.wait("document.title.startsWith('Log in')")
    if account != "The owner":
        view.page.get_by_label(account).check()
    view.page.get_by_label("Password").fill(password)
    view.page.get_by_role("button", name="Log in").click()


def picture_moves(view):
    view.wait_until_live()
    first = view.clock()
    wait_until(lambda: (view.page.wait_for_timeout(50), view.clock())[1] not in (first, None), 10, "the picture moves")


def test_the_form_waits_for_its_script(locked, watch):
    """The browser itself would send it without the password, and lead back here: seen where the script took its time."""
    view = watch(locked.url + "/claim", java_script_enabled=False)
    wait_until(view.page.get_by_role("button").is_disabled, 10, "nothing can be sent yet")


def test_a_camera_is_claimed_on_a_phone_and_the_picture_moves(locked, watch):
    view = watch(locked.url, viewport=PHONE)
    view.wait("document.title.startsWith('Claim')")
    view.wait("document.getElementById('time').textContent.includes('15 more minutes')")
    view.page.get_by_label("New password").fill("1234567890")
    view.page.get_by_label("Again").fill("123456789")
    view.page.get_by_role("button").click()
    view.wait("document.getElementById('problem').textContent.includes('differ')")
    view.page.get_by_label("Again").fill("1234567890")
    view.page.get_by_role("button").click()
    view.wait("document.getElementById('problem').textContent.includes('tried first')")
    for label in ("New password", "Again"):
        view.page.get_by_label(label).fill(OWNER)
    view.page.get_by_role("button").click()
    picture_moves(view)


def test_login_from_a_fresh_profile_and_a_wrong_password(locked, owner, watch):
    view = watch(locked.url)
    log_in(view, "not this one")
    view.wait("document.getElementById('problem').textContent === 'The password is wrong.'")
    log_in(view, OWNER)
    picture_moves(view)
    assert "perch_session" not in view.page.evaluate("document.cookie"), "no script can read it"


def test_who_is_logged_in_and_follows_another_sites_link_need_not_log_in_again(locked, owner, watch):
    view = watch(locked.url)
    log_in(view, OWNER)
    view.wait_until_live()
    with other_site() as port:
        view.page.goto(f"http://localhost:{port}/")
        view.page.evaluate("address => { document.body.innerHTML = `<a href='${address}'>camera</a>`; }", locked.url)
        view.page.get_by_role("link").click()
        picture_moves(view)


def test_a_viewer_watches_signs_out_and_never_sees_who_has_access(locked, owner, watch):
    assert owner.put(locked.url + "/api/accounts/viewer", json={"password": VIEWER}, timeout=30).status_code == 204
    view = watch(locked.url)
    log_in(view, VIEWER, "A viewer")
    picture_moves(view)
    view.page.get_by_role("button", name="Sign out").wait_for()
    assert view.page.get_by_role("link", name="Access").count() == 0
    view.page.mouse.move(5, 5)
    view.page.get_by_role("button", name="Sign out").click()
    view.wait("document.title.startsWith('Log in')")


def test_a_session_that_the_owner_ends_loses_the_picture(locked, owner, watch):
    lost, own = watch(locked.url), watch(locked.url)
    for view in (lost, own):
        log_in(view, OWNER)
        picture_moves(view)
    mine = own.page.evaluate("fetch('api/sessions').then(answer => answer.json())")
    own.page.get_by_role("link", name="Access").click()
    buttons = own.page.get_by_role("button", name="Sign out: ")
    buttons.first.wait_for()
    # In the order in which they logged in: the program, the lost one, this one.
    assert buttons.count() == len(mine) == 3 and mine[2]["current"]
    buttons.nth(1).click()
    lost.wait("document.title.startsWith('Log in')")
    assert owner.get(locked.url + "/api/status", timeout=5).json()["viewers"] == 0


def test_a_token_made_on_the_page_works_until_it_is_revoked_there(locked, owner, watch):
    view = watch(locked.url)
    log_in(view, OWNER)
    view.wait_until_live()
    view.page.goto(locked.url + "/account")
    view.page.get_by_label("Name").fill("<b>recorder</b>")
    view.page.get_by_role("button", name="Make a token").click()
    program = {"Authorization": "Bearer " + view.page.locator("#new-token code").inner_text()}
    assert requests.get(locked.url + "/api/status", headers=program, timeout=5).status_code == 200
    assert requests.get(locked.url + "/api/tokens", headers=program, timeout=5).status_code == 403
    view.page.get_by_role("button", name="Revoke: <b>recorder</b>: view").click()
    view.wait("document.querySelectorAll('#tokens li').length === 0")
    assert requests.get(locked.url + "/api/status", headers=program, timeout=5).status_code == 401
    assert view.errors == []


# What a page of another site may try, with the owner's cookie in the same browser. Each gives what it got.
ATTEMPTS = """
async (camera) => {
  const shown = (tag, path) => new Promise((resolve) => {
    const element = document.createElement(tag);
    element.onload = () => resolve(element.naturalWidth ? 'shown' : 'loaded');
    element.onerror = () => resolve('refused');
    setTimeout(() => resolve('nothing'), 3000);
    element.src = camera + path;
    document.body.append(element);
  });
  const read = (path, options) => fetch(camera + path, options)
    .then((answer) => answer.type === 'opaque' ? 'opaque' : 'read', () => 'refused');
  const text = { method: 'POST', mode: 'no-cors', headers: { 'Content-Type': 'text/plain' } };
  const offer = JSON.stringify({ type: 'offer', sdp: 'v=0' });
  return {
    snapshot: await shown('img', '/snapshot.jpg'),
    stream: await shown('img', '/stream.mjpg'),
    script: await shown('script', '/static/player.js'),
    metrics: await read('/metrics', { credentials: 'include' }),
    status: await read('/api/status', { credentials: 'include' }),
    sessions: await read('/api/sessions', { credentials: 'include' }),
    offer: await read('/offer', { method: 'POST', credentials: 'include', body: offer, headers: { 'Content-Type': 'application/json' } }),
    token: await read('/api/tokens', { ...text, credentials: 'include', body: '{"name":"evil","scope":"admin"}' }),
    close: await read('/close_connection', { ...text, credentials: 'include', body: '1' }),
    logout: await read('/api/logout', { ...text, credentials: 'include' }),
  };
}
"""

FORM = """
(camera) => {
  document.body.innerHTML = '<iframe name="hidden"></iframe><iframe id="page"></iframe>'
    + `<form method="post" target="hidden" action="${camera}/api/logout"></form>`;
  document.querySelector('form').submit();
  document.getElementById('page').src = camera + '/';
}
"""


@contextlib.contextmanager
def other_site():
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>evil</title><body>")

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


# By an address that browsers trust they say which site asks; by a name over plain HTTP, as in a home, they do not.
@pytest.mark.parametrize("name", ["127.0.0.1", "cam.test"])
def test_a_page_of_another_site_gets_nothing_and_changes_nothing(locked, owner, browser, name):
    chromium = launch_chromium(browser.browser_type, "--host-resolver-rules=MAP cam.test 127.0.0.1")
    try:
        camera = f"http://{name}:{locked.port}"
        view = PageView(chromium, camera)
        log_in(view, OWNER)
        view.wait_until_live()
        with other_site() as port:
            # The same host: so the browser takes it for the same site and sends the cookie along.
            evil = view.context.new_page()
            evil.goto(f"http://{name}:{port}/")
            got = evil.evaluate(ATTEMPTS, camera)
            assert got.pop("stream") in ("refused", "nothing"), got
            assert {"shown", "loaded", "read"}.isdisjoint(got.values()), got
            evil.evaluate(FORM, camera)
            evil.wait_for_timeout(1000)
            framed = [frame for frame in evil.frames if frame.name != "hidden" and frame != evil.main_frame]
            assert all("perch" not in frame.title() for frame in framed)
        assert view.page.evaluate("fetch('api/sessions').then(answer => answer.status)") == 200, "still logged in"
        assert owner.get(locked.url + "/api/tokens", timeout=5).json() == []
        assert owner.get(locked.url + "/api/status", timeout=5).json()["viewers"] == 1
        picture_moves(view)
    finally:
        chromium.close()
