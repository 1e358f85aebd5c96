"""The locked door: who is let in, how far, and who is not."""

import asyncio
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from locked import METHODS, OWNER, REQUIRED, VIEWER, ask, claim, command, documented_routes, log_in, post, token
from perch_process import Perch, free_port, wait_until
from viewer import Viewer

HERE = Path(__file__).resolve().parent
ROUTES = documented_routes()
RANK = {"public": 0, "own page": 0, "view": 1, "control": 2, "admin": 3}


@pytest.fixture
def locked(launch, tmp_path, monkeypatch):
    """Starts locked perches that share one state."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    return lambda *args, config=REQUIRED, **kinds: launch(*args, config=config, **kinds)


# ---- claiming


def test_before_the_claim_there_is_only_the_claim(locked):
    perch = locked()
    page = requests.get(perch.url + "/", headers={"Accept": "text/html"}, timeout=5)
    assert page.url.endswith("/claim") and "Claim this camera" in page.text
    for path in re.findall(r'(?:href|src)="(static/[^"]+)"', page.text):
        assert ask(perch.url, "GET", f"/{path}") == 200, path
    assert ask(perch.url, "GET", "/healthz") == 200
    for method, path, needs in ROUTES:
        if RANK[needs] > 0:
            assert ask(perch.url, method, path) == 403, f"{method} {path}"
    assert "no owner yet" in requests.get(perch.url + "/api/status", timeout=5).json()["error"]
    assert post(perch.url, "/api/login", {"password": OWNER}).status_code == 409


def test_the_first_comer_becomes_the_owner_and_nobody_after(locked):
    perch = locked()
    for weak in ["short", "1234567890", "password123", "perchperch"]:
        assert post(perch.url, "/api/claim", {"password": weak}).status_code == 422, weak
    owner = claim(perch.url)
    assert owner.get(perch.url + "/api/sessions", timeout=5).status_code == 200
    again = post(perch.url, "/api/claim", {"password": "another good one"})
    assert again.status_code == 409 and "owner already" in again.json()["error"]


def test_a_closed_window_is_told_and_the_command_line_still_works(locked):
    perch = locked(config=REQUIRED + "claim_window_s = 0\n")
    refused = post(perch.url, "/api/claim", {"password": OWNER})
    assert refused.status_code == 403 and "perch auth set-password" in refused.json()["error"]
    done = command("set-password", say=OWNER + "\n")
    assert done.returncode == 0, done.stderr
    log_in(perch.url, OWNER)


def test_the_window_closes_and_the_button_opens_it(locked):
    perch = locked(config=REQUIRED + "claim_window_s = 1\n")
    wait_until(lambda: post(perch.url, "/api/claim", {"password": "weak"}).status_code == 403, 5, "the window closes")
    perch.process.send_signal(signal.SIGUSR1)
    wait_until(lambda: post(perch.url, "/api/claim", {"password": OWNER}).status_code == 200, 5, "the button opens it", every=0.01)


NETWORK = 'ip link set lo up; ip addr add 203.0.113.7/32 dev lo; ip addr add 192.168.77.7/32 dev lo; exec "$@"'


def test_only_the_local_network_can_claim_and_auto_locks_what_others_reach(tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", f"{HERE}:{HERE.parent}")
    inside = [sys.executable, "-c", "import test_auth; test_auth.in_a_network_of_its_own()"]
    command = ["unshare", "--net", "--map-root-user", "sh", "-ec", NETWORK, "sh", *inside]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def in_a_network_of_its_own():
    port = free_port()
    with Perch() as perch:
        assert ask(perch.url, "GET", "/api/status") == 200, "loopback needs no login"
    with Perch("--listen", f"0.0.0.0:{port}", port=port) as perch:
        assert ask(perch.url, "GET", "/api/status") == 403, "what others reach does"
        for address, status in [("203.0.113.7", 403), ("192.168.77.7", 200)]:
            response = post(f"http://{address}:{port}", "/api/claim", {"password": OWNER})
            assert response.status_code == status, (address, response.text)
            assert status == 200 or "own network" in response.json()["error"]
    with Perch("--listen", f"0.0.0.0:{port}", port=port, config='[http]\nauth = "none"\n') as perch:
        assert ask(perch.url, "GET", "/api/status") == 200
        assert "everybody who reaches" in perch.log()


# ---- logging in and out


def test_the_cookie_is_for_the_browser_alone(locked):
    perch = locked()
    claim(perch.url)
    cookie = post(perch.url, "/api/login", {"password": OWNER}).headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    # Without TLS a Secure cookie would never come back.
    assert "Secure" not in cookie and re.match(r"perch_session=[0-9a-f]{64};", cookie)


def test_wrong_passwords_are_slowed_and_a_session_is_not(locked):
    perch = locked()
    owner = claim(perch.url)
    # Of all who come from here, the owner too: only that address waits.
    answers = [post(perch.url, "/api/login", {"password": "not this one"}) for _ in range(7)]
    assert [answer.status_code for answer in answers[:4]] == [401] * 4
    assert answers[-1].status_code == 429 and 0 < int(answers[-1].headers["Retry-After"]) <= 30
    assert "try again in" in answers[-1].json()["error"]
    assert post(perch.url, "/api/login", {"password": OWNER}).status_code == 429
    assert owner.get(perch.url + "/api/status", timeout=5).status_code == 200


def test_logging_out_ends_the_session_on_the_server(locked):
    perch = locked()
    owner = claim(perch.url)
    cookie = dict(owner.cookies)
    assert owner.post(perch.url + "/api/logout", timeout=5).status_code == 204
    assert requests.get(perch.url + "/api/status", cookies=cookie, timeout=5).status_code == 401
    assert not owner.cookies


def test_accounts_sessions_and_tokens_outlive_a_restart_and_a_kill(locked):
    perch = locked()
    owner = claim(perch.url)
    program = token(perch.url, owner, "view")
    for by in (signal.SIGTERM, signal.SIGKILL):
        perch.stop(by)
        perch = locked(port=perch.port)
        assert owner.get(perch.url + "/api/sessions", timeout=5).status_code == 200
        assert ask(perch.url, "GET", "/api/status", **program) == 200
        log_in(perch.url, OWNER)


def test_what_cannot_be_read_lets_nobody_in(locked, tmp_path):
    perch = locked()
    owner = claim(perch.url)
    state = tmp_path / "state"
    (state / "auth.json").write_text("{")
    assert owner.get(perch.url + "/api/status", timeout=5).status_code == 200, "the copy is used"
    (state / "auth.json.copy").write_text("{")
    (state / "auth.json").write_text("{ ")
    assert owner.get(perch.url + "/api/status", timeout=5).status_code == 503
    assert post(perch.url, "/api/claim", {"password": OWNER}).status_code == 503
    assert command("reset").returncode == 0
    claim(perch.url, "another good one")


# ---- how far


def test_without_login_every_route_but_the_public_ones_is_closed(locked):
    perch = locked()
    claim(perch.url)
    needs_of = {(method, path): RANK[needs] for method, path, needs in ROUTES}
    for path in sorted({path for _, path, _ in ROUTES} | {"/nothing", "/api/nothing", "/static/../x"}):
        for method in METHODS:
            status = ask(perch.url, method, path)
            wanted = needs_of.get(("GET" if method == "HEAD" else method, path), 0 if method == "OPTIONS" else 1)
            assert (status == 401) == (wanted > 0), f"{method} {path}: {status}"


def test_a_token_opens_as_far_as_its_scope(locked):
    perch = locked()
    owner = claim(perch.url)
    for scope in ("view", "control", "admin"):
        program = token(perch.url, owner, scope)
        for method, path, needs in ROUTES:
            status = ask(perch.url, method, path, **program)
            assert status != 401, f"{method} {path}"
            assert (status == 403) == (RANK[scope] < RANK[needs]), f"{scope}: {method} {path}: {status}"
    for wrong in ("Bearer x", "Bearer ", "Basic b3duZXI6eA==", "Bearer " + program["Authorization"]):
        assert ask(perch.url, "GET", "/api/status", Authorization=wrong) == 401, wrong


def test_a_viewer_may_watch_and_no_more(locked):
    perch = locked()
    owner = claim(perch.url)
    assert owner.put(perch.url + "/api/accounts/viewer", json={"password": VIEWER}, timeout=30).status_code == 204
    viewer = log_in(perch.url, VIEWER, "viewer")
    for path in ("/", "/api/status", "/snapshot.jpg", "/static/player.js"):
        assert viewer.get(perch.url + path, timeout=15).status_code == 200, path
    for method, path, needs in ROUTES:
        if needs == "admin":
            assert viewer.request(method, perch.url + path, timeout=5).status_code == 403, f"{method} {path}"
    assert owner.delete(perch.url + "/api/accounts/viewer", timeout=5).status_code == 204
    assert viewer.get(perch.url + "/api/status", timeout=5).status_code == 401


def test_only_who_may_control_closes_everybodys_sessions(locked):
    perch = locked(config=REQUIRED + '[webrtc]\nmode = "single"\n')
    owner = claim(perch.url)
    watch, steer = token(perch.url, owner, "view"), token(perch.url, owner, "control")

    async def run():
        viewer = await watching(perch.url, watch)
        close = lambda headers: requests.post(perch.url + "/close_connection", json=1, headers=headers, timeout=5)  # noqa: E731
        assert (await asyncio.to_thread(close, watch)).status_code == 403
        assert await viewer.frame() is not None
        assert (await asyncio.to_thread(close, steer)).text == "OK"
        await viewer.close()

    asyncio.run(run())


# ---- taking back


async def watching(url: str, headers: dict) -> Viewer:
    """Somebody who watches by a token, over WHEP as players do."""
    viewer = Viewer()
    offer = await viewer.offer()
    headers = {**headers, "Content-Type": "application/sdp"}
    response = await asyncio.to_thread(requests.post, url + "/whep", data=offer, headers=headers, timeout=10)
    assert response.status_code == 201, response.text
    await viewer.accept(response.text)
    assert await viewer.frame() is not None
    return viewer


def test_who_loses_the_right_loses_the_picture(locked):
    perch = locked()
    owner = claim(perch.url)
    program = token(perch.url, owner, "view")
    token_id = owner.get(perch.url + "/api/tokens", timeout=5).json()[0]["id"]
    viewers = lambda: owner.get(perch.url + "/api/status", timeout=5).json()["viewers"]  # noqa: E731

    async def run():
        viewer = await watching(perch.url, program)
        stream = requests.get(perch.url + "/stream.mjpg", headers=program, stream=True, timeout=15)
        assert stream.status_code == 200 and await asyncio.to_thread(viewers) == 1
        # By the command line: nobody asks the server anything, and still it notices.
        assert command("token", "revoke", token_id).returncode == 0
        await asyncio.to_thread(lambda: all(stream.iter_content(65536)))
        await asyncio.to_thread(wait_until, lambda: viewers() == 0, 5, "the session is closed")
        await viewer.close()

    asyncio.run(run())
    assert ask(perch.url, "GET", "/api/status", **program) == 401


def test_a_session_is_listed_and_can_be_ended(locked):
    perch = locked()
    owner, lost = claim(perch.url), log_in(perch.url, OWNER)
    rows = owner.get(perch.url + "/api/sessions", timeout=5).json()
    assert [row["current"] for row in rows].count(True) == 1 and len(rows) == 2
    other = next(row for row in rows if not row["current"])
    assert other["role"] == "owner" and other["address"] == "127.0.0.1" and "python-requests" in other["browser"]
    assert owner.delete(f"{perch.url}/api/sessions/{other['id']}", timeout=5).status_code == 204
    assert owner.delete(f"{perch.url}/api/sessions/{other['id']}", timeout=5).status_code == 404
    assert lost.get(perch.url + "/api/status", timeout=5).status_code == 401
    assert owner.get(perch.url + "/api/status", timeout=5).status_code == 200


# ---- other sites


def test_other_sites_and_other_names_are_refused_on_every_route(shared):
    foreign = [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": f"http://127.0.0.1:{shared.port + 1}"},
        {"Origin": f"http://localhost:{shared.port}"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    ]
    for method, path, needs in ROUTES:
        for headers in foreign:
            status = ask(shared.url, method, path, **headers)
            assert (status == 403) == (needs != "public"), f"{method} {path} {headers}: {status}"
        for name in ("evil.example", f"127.0.0.1.evil.example:{shared.port}", "localhost.evil.example"):
            assert ask(shared.url, method, path, Host=name) == 421, f"{method} {path} {name}"
    for own in ({"Origin": shared.url}, {"Sec-Fetch-Site": "same-origin"}, {"Host": f"localhost:{shared.port}"}):
        assert ask(shared.url, "GET", "/api/status", **own) == 200, own
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert ask(shared.url, "GET", "/", **link) == 200
    assert ask(shared.url, "POST", "/close_connection", **link) == 403


def test_a_form_of_another_site_changes_nothing(locked):
    perch = locked()
    owner = claim(perch.url)
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        for path in ("/api/login", "/api/tokens", "/offer", "/whep"):
            refused = owner.post(perch.url + path, data='{"name":"x","password":"y"}', headers={"Content-Type": kind}, timeout=5)
            assert refused.status_code == 415, (path, kind)
    assert owner.get(perch.url + "/api/tokens", timeout=5).json() == []


def test_every_answer_is_hardened(shared):
    for path in ("/", "/healthz", "/nothing", "/api/status", "/snapshot.jpg", "/static/player.js"):
        headers = requests.get(shared.url + path, timeout=15).headers
        policy = headers["Content-Security-Policy"]
        assert "unsafe" not in policy and "frame-ancestors 'none'" in policy and "script-src 'self'" in policy, path
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin" and headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer" and "camera=()" in headers["Permissions-Policy"]


# ---- secrets


def test_no_secret_is_logged_or_kept(locked, tmp_path):
    perch = locked("--log", "trace")
    owner = claim(perch.url)
    program = token(perch.url, owner, "view")["Authorization"].removeprefix("Bearer ")
    session = owner.cookies["perch_session"]
    post(perch.url, "/api/login", {"password": "a wrong one of mine"})
    post(perch.url, "/api/login", {"password": 7, "account": "a wrong one of mine"})
    assert ask(perch.url, "GET", "/api/status", Authorization=f"Bearer {program}") == 200
    assert ask(perch.url, "GET", "/api/status", Cookie=f"perch_session={session}") == 200
    log = perch.log()
    assert "claimed this camera" in log and "wrong password" in log
    state = (tmp_path / "state/auth.json").read_text()
    assert "$argon2id$" in state
    for secret in (OWNER, "a wrong one of mine", session, program):
        assert secret not in log and secret not in state
    assert "$argon2id$" not in log
    for name in ("auth.json", "auth.json.copy"):
        assert (tmp_path / "state" / name).stat().st_mode & 0o777 == 0o600
