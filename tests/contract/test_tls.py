"""HTTPS, as clients see it that share no code with perch: Python's ssl and openssl (both OpenSSL), and curl."""

import contextlib
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests
from locked import OWNER, claim, command, post
from perch_process import Perch, free_port, wait_until

HERE = Path(__file__).resolve().parent
HOST = socket.gethostname()
MODERN = {"ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"}


class Secure:
    """A perch that serves HTTPS too, and what a client knows of it. `more` are lines of `[http.tls]`."""

    def __init__(self, launch, more: str = "", http: str = "", **kinds):
        self.tls_port = free_port()
        config = f'[http]\n{http}\n[http.tls]\nlisten = "127.0.0.1:{self.tls_port}"\n{more}'
        self.perch = launch(config=config, **kinds)
        self.http, self.url = self.perch.url, f"https://127.0.0.1:{self.tls_port}"

    def root(self, folder: Path) -> str:
        """The path of the downloaded root."""
        answer = requests.get(self.http + "/ca.crt", timeout=10)
        assert answer.status_code == 200 and answer.headers["Content-Type"] == "application/x-x509-ca-cert"
        path = folder / "root.pem"
        path.write_text(answer.text)
        return str(path)

    def shake(self, root: str | None = None, name: str = "127.0.0.1", ciphers: str | None = None, version=None, port=None) -> dict:
        """Shakes hands as Python does, and tells what came of it; without a root nothing is verified."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if root is None:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        else:
            context.load_verify_locations(root)
            context.verify_flags |= ssl.VERIFY_X509_STRICT
        if ciphers:
            context.set_ciphers(ciphers)
        if version:
            context.minimum_version = context.maximum_version = version
        with socket.create_connection(("127.0.0.1", port or self.tls_port), timeout=10) as raw:
            with context.wrap_socket(raw, server_hostname=name) as secure:
                der = secure.getpeercert(binary_form=True)
                return {"version": secure.version(), "cipher": secure.cipher()[0], "certificate": ssl.DER_cert_to_PEM_cert(der)}

    def certificate(self) -> str:
        return self.shake()["certificate"]


@pytest.fixture
def secure(launch, tmp_path, monkeypatch):
    """Starts perches with HTTPS that share one state."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    return lambda more="", **kinds: Secure(launch, more, **kinds)


def openssl(*args: str, say: str = "", ok: bool = True) -> str:
    done = subprocess.run(["openssl", *args], input=say, capture_output=True, text=True, timeout=60)
    assert not ok or done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


# ---- the chain


def test_whoever_has_the_root_trusts_all_names_of_the_camera_and_no_other(secure, tmp_path):
    camera = secure()
    root = camera.root(tmp_path)
    for name in ["127.0.0.1", "::1", "localhost", HOST.lower(), f"{HOST.lower()}.local"]:
        assert camera.shake(root, name)["version"] == "TLSv1.3", name
    for name in ["evil.example", "127.0.0.2"]:
        with pytest.raises(ssl.SSLCertVerificationError, match="mismatch|not valid for"):
            camera.shake(root, name)
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
        camera.shake(ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt")


def test_openssl_finds_nothing_wrong(secure, tmp_path):
    camera = secure()
    root = camera.root(tmp_path)
    said = openssl("s_client", "-connect", f"127.0.0.1:{camera.tls_port}", "-CAfile", root, "-verify_return_error", "-x509_strict",
                   "-verify_hostname", "localhost", "-alpn", "h2,http/1.1")  # fmt: skip
    assert "Verify return code: 0 (ok)" in said and "ALPN protocol: http/1.1" in said and "Server Temp Key" in said
    of_root = openssl("x509", "-in", root, "-noout", "-text")
    assert re.search(r"Basic Constraints: critical\s+CA:TRUE, pathlen:0", of_root)
    assert re.search(r"Name Constraints: critical\s+Permitted:", of_root) and "DNS:local\n" in of_root
    leaf = tmp_path / "leaf.pem"
    leaf.write_text(camera.certificate())
    of_leaf = openssl("x509", "-in", str(leaf), "-noout", "-text")
    assert "CA:FALSE" in of_leaf and "TLS Web Server Authentication" in of_leaf and "IP Address:127.0.0.1" in of_leaf
    # Apple's and Chromium's clients take no certificate that lasts longer.
    assert "expire" in openssl("x509", "-in", str(leaf), "-noout", "-checkend", str(398 * 86400), ok=False)
    assert "will not expire" in openssl("x509", "-in", str(leaf), "-noout", "-checkend", str(300 * 86400))


def test_a_stolen_key_makes_nobody_a_bank(secure, tmp_path):
    """What the root says of itself: it vouches for names of a home alone."""
    camera = secure()
    root, key = camera.root(tmp_path), tmp_path / "stolen.key"
    key.write_text(json.loads((tmp_path / "state/tls.json").read_text())["authority"]["key"])
    for name, verdict in [("DNS:bank.example", "permitted subtree violation"), ("IP:203.0.113.7", "permitted subtree violation"), ("DNS:cam.local", "OK")]:
        names, request, leaf = (str(tmp_path / file) for file in ("names", "request", "leaf"))
        Path(names).write_text(f"subjectAltName={name}\nauthorityKeyIdentifier=keyid\n")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", str(tmp_path / "leaf.key"), "-out", request, "-subj", "/CN=thief")
        openssl("x509", "-req", "-in", request, "-CA", root, "-CAkey", str(key), "-CAcreateserial", "-days", "9", "-extfile", names, "-out", leaf)
        assert verdict in openssl("verify", "-CAfile", root, leaf, ok=False), name


def test_curl_with_the_root_works_and_without_does_not(secure, tmp_path):
    camera = secure()
    def ask(*args):
        return subprocess.run(["curl", "--silent", "--show-error", "--max-time", "20", *args], capture_output=True, text=True, timeout=60)
    done = ask("--cacert", camera.root(tmp_path), f"https://localhost:{camera.tls_port}/healthz")
    assert (done.returncode, done.stdout) == (0, "ok"), done.stderr
    assert ask(camera.url + "/healthz").returncode == 60, "curl's word for a certificate that it does not trust"
    led = ask("--location", "--cacert", camera.root(tmp_path), f"{camera.http.replace('127.0.0.1', 'localhost')}/api/status")
    assert json.loads(led.stdout)["version"], led.stderr


# ---- protocols and ciphers


def test_only_modern_protocols_and_ciphers(secure):
    camera = secure()
    assert camera.shake(version=ssl.TLSVersion.TLSv1_3)["version"] == "TLSv1.3"
    assert camera.shake(version=ssl.TLSVersion.TLSv1_2)["version"] == "TLSv1.2"
    address = f"127.0.0.1:{camera.tls_port}"
    for old in ["-tls1", "-tls1_1"]:
        said = openssl("s_client", "-connect", address, old, "-cipher", "ALL:@SECLEVEL=0", ok=False)
        assert "Cipher is (NONE)" in said and "SSL alert number" in said, said
    every = openssl("ciphers", "-tls1_2", "-s", "ALL:COMPLEMENTOFALL:@SECLEVEL=0").strip().split(":")
    assert len(every) > 50
    taken = set()
    for cipher in every:
        with contextlib.suppress(OSError):
            taken.add(camera.shake(ciphers=f"{cipher}:@SECLEVEL=0", version=ssl.TLSVersion.TLSv1_2)["cipher"])
    assert taken == MODERN
    # Neither compression nor renegotiation.
    said = openssl("s_client", "-connect", address, "-tls1_2", say="R\n", ok=False)
    assert "Compression: NONE" in said and "Secure Renegotiation IS supported" in said


def test_what_is_no_handshake_is_closed_in_time_and_holds_nobody_up(secure):
    camera = secure()
    def left(say: bytes) -> float:
        start = time.monotonic()
        with socket.create_connection(("127.0.0.1", camera.tls_port), timeout=30) as client:
            client.sendall(say)
            with contextlib.suppress(ConnectionError):
                while client.recv(4096):
                    pass
        return time.monotonic() - start
    hello = bytes.fromhex("16030100f4010000f00303") + os.urandom(32)
    for say in [b"", hello[:5], hello]:
        assert left(say) < 20, say[:5]
    for say in [b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", os.urandom(4096), b"\x16\x03\x01\xff\xff" + bytes(70000)]:
        assert left(say) < 20, say[:5]
    assert camera.shake()["version"] == "TLSv1.3"
    assert "PRIVATE KEY" not in camera.perch.log() and "panicked" not in camera.perch.log()


# ---- HTTP beside it


def test_who_begins_too_many_handshakes_waits_and_keeps_nobody_else_waiting(secure):
    camera = secure()

    def shakes_from(address: str) -> bool:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            with socket.create_connection(("127.0.0.1", camera.tls_port), 10, (address, 0)) as raw, context.wrap_socket(raw):
                return True
        except (ssl.SSLError, OSError):
            return False

    assert shakes_from("127.0.0.7")
    for _ in range(500):
        socket.create_connection(("127.0.0.1", camera.tls_port), 10, ("127.0.0.7", 0)).close()
    assert not shakes_from("127.0.0.7")
    assert shakes_from("127.0.0.8")
    wait_until(lambda: shakes_from("127.0.0.7"), 10, "another handshake from there")


def test_over_http_there_is_only_the_way_to_https(secure):
    camera = secure()
    for path in ["/", "/api/status?camera=main", "/nothing"]:
        answer = requests.get(camera.http + path, allow_redirects=False, timeout=10)
        assert (answer.status_code, answer.headers["Location"]) == (307, camera.url + path)
        assert answer.headers["Cache-Control"] == "no-store"
    for method, path in [("POST", "/offer"), ("POST", "/api/login"), ("DELETE", "/whep/x"), ("PATCH", "/api/cameras/main/controls")]:
        answer = requests.request(method, camera.http + path, json={}, timeout=10)
        assert answer.status_code == 403 and f"over HTTPS alone: {camera.url}{path}" in answer.json()["error"]
    assert requests.get(camera.http + "/healthz", timeout=10).text == "ok"
    strange = requests.get(camera.http + "/", headers={"Host": "evil.example"}, allow_redirects=False, timeout=10)
    assert strange.status_code == 421, "nobody is led to a name that is not the camera's"


def test_without_redirect_both_work(secure, tmp_path):
    camera = secure("redirect = false\nhsts_s = 3600\n")
    assert "Strict-Transport-Security" not in requests.get(camera.http + "/api/status", timeout=10).headers
    answer = requests.get(camera.url + "/api/status", verify=camera.root(tmp_path), timeout=10)
    assert answer.status_code == 200 and answer.headers["Strict-Transport-Security"] == "max-age=3600"


def test_the_cookie_is_secure_and_a_page_that_came_without_tls_is_foreign(secure, tmp_path):
    camera = secure(http='auth = "required"')
    session = requests.Session()
    session.trust_env, session.verify = False, camera.root(tmp_path)
    claimed = post(camera.url, "/api/claim", {"password": OWNER}, session)
    assert claimed.status_code == 200 and "Secure" in claimed.headers["Set-Cookie"].split("; ")
    assert "Strict-Transport-Security" not in claimed.headers
    host = f"127.0.0.1:{camera.tls_port}"
    for origin, status in [(f"https://{host}", 200), (f"http://{host}", 403)]:
        assert session.get(camera.url + "/api/status", headers={"Origin": origin}, timeout=10).status_code == status
    assert session.get(camera.url + "/api/status", headers={"X-Perch-Secure": "1"}, timeout=10).status_code == 200
    spoofed = requests.get(camera.http + "/api/status", headers={"X-Perch-Secure": "1"}, allow_redirects=False, timeout=10)
    assert spoofed.status_code == 307, "a client cannot say that it came over TLS"


# ---- what is kept


def test_the_certificate_outlives_a_restart_and_nobody_else_can_read_it(secure, tmp_path):
    camera = secure()
    root, leaf = Path(camera.root(tmp_path)).read_text(), camera.certificate()
    assert (tmp_path / "state/tls.json").stat().st_mode & 0o777 == 0o600
    camera.perch.stop(signal.SIGKILL)
    again = secure()
    assert (Path(again.root(tmp_path)).read_text(), again.certificate()) == (root, leaf)
    assert "PRIVATE KEY" not in again.perch.log()
    again.perch.stop()
    (tmp_path / "state/tls.json").write_text("{")
    broken = secure()
    assert broken.shake(broken.root(tmp_path), "localhost") and Path(broken.root(tmp_path)).read_text() != root
    assert "a new authority is made" in broken.perch.log() and (tmp_path / "state/tls.json.broken").read_text() == "{"


def test_who_gives_the_camera_away_gives_no_authority_away(secure, tmp_path):
    camera = secure(http='auth = "required"')
    root = Path(camera.root(tmp_path)).read_text()
    assert command("reset").returncode == 0
    wait_until(lambda: Path(camera.root(tmp_path)).read_text() != root, 60, "another authority is made")
    wait_until(lambda: shakes(camera, tmp_path), 30, "its certificate is shown")


def shakes(camera, folder) -> bool:
    with contextlib.suppress(ssl.SSLError):
        return bool(camera.shake(camera.root(folder)))
    return False


def test_a_folder_that_cannot_be_written_costs_only_the_memory(secure, tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIRECTORY", "/proc/perch-cannot-write-here")
    camera = secure()
    assert camera.shake(camera.root(tmp_path))
    assert "cannot be kept in" in camera.perch.log()


def test_the_certificate_follows_the_addresses(tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.setenv("PYTHONPATH", f"{HERE}:{HERE.parent}")
    inside = [sys.executable, "-c", f"import test_tls; test_tls.in_a_network_of_its_own({str(tmp_path)!r})"]
    network = 'ip link set lo up; exec "$@"'
    command = ["unshare", "--net", "--map-root-user", "sh", "-ec", network, "sh", *inside]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr


def in_a_network_of_its_own(folder: str):
    started = []
    camera = Secure(lambda **kinds: started.append(Perch(**kinds)) or started[-1])
    with started[0]:
        root = camera.root(Path(folder))

        def knows(address: str) -> bool:
            with contextlib.suppress(ssl.SSLCertVerificationError):
                return bool(camera.shake(root, address))
            return False

        assert knows("127.0.0.1") and not knows("192.168.77.7")
        for address in ["192.168.77.7", "fd00:77::7"]:
            subprocess.run(["ip", "addr", "add", f"{address}/{128 if ':' in address else 32}", "dev", "lo", *(["nodad"] if ":" in address else [])], check=True)
            wait_until(lambda: knows(address), 60, f"the certificate says {address}", every=0.5)
        leaf = camera.certificate()
        subprocess.run(["ip", "addr", "del", "192.168.77.7/32", "dev", "lo"], check=True)
        subprocess.run(["ip", "addr", "add", "203.0.113.7/32", "dev", "lo"], check=True)
        subprocess.run(["ip", "addr", "add", "10.7.7.7/32", "dev", "lo"], check=True)
        wait_until(lambda: knows("10.7.7.7"), 60, "the certificate says the next address", every=0.5)
        assert camera.certificate() != leaf and not knows("203.0.113.7"), "the authority may not vouch for a public address"


# ---- the owner's own


def own(folder: Path, name: str, kind: list[str], common: str) -> list[str]:
    """A self-signed certificate and its key, as the owner might bring them: lines of `[http.tls]`."""
    files = [str(folder / f"{name}.{end}") for end in ("crt", "key")]
    openssl("req", "-x509", *kind, "-nodes", "-days", "30", "-subj", f"/CN={common}", "-addext", "subjectAltName=DNS:localhost",
            "-out", files[0], "-keyout", files[1])  # fmt: skip
    return files


EC, RSA = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"], ["-newkey", "rsa:2048"]


@pytest.mark.parametrize("kind", [EC, RSA], ids=["ec", "rsa"])
def test_the_owners_certificate_is_shown_and_read_anew(secure, tmp_path, kind):
    certificate, key = own(tmp_path, "mine", kind, "first")
    camera = secure(f'certificate = "{certificate}"\nkey = "{key}"\n')
    assert camera.shake(certificate, "localhost")["certificate"] == Path(certificate).read_text()
    assert requests.get(camera.http + "/ca.crt", timeout=10).status_code == 404
    assert not (tmp_path / "state/tls.json").exists()
    before = camera.certificate()
    Path(certificate).write_text("rubbish")
    wait_until(lambda: "the certificate stays as it was" in camera.perch.log(), 60, "rubbish is refused")
    assert camera.certificate() == before
    own(tmp_path, "mine", EC, "second")
    wait_until(lambda: camera.certificate() == Path(certificate).read_text(), 60, "the new one is shown")
    assert "PRIVATE KEY" not in camera.perch.log()


def test_a_certificate_that_cannot_be_shown_is_told_at_the_start(secure, tmp_path):
    certificate, key = own(tmp_path, "mine", EC, "mine")
    _, other = own(tmp_path, "other", EC, "other")
    for lines, words in [
        (f'certificate = "{certificate}"\nkey = "{other}"\n', f"{other}: this is not the certificate's key"),
        (f'certificate = "{certificate}"\nkey = "{certificate}"\n', f"{certificate}: there is no key in it"),
        (f'certificate = "{key}"\nkey = "{key}"\n', "no `BEGIN CERTIFICATE`"),
        (f'certificate = "{tmp_path}/none"\nkey = "{key}"\n', f"{tmp_path}/none: No such file"),
        (f'certificate = "{certificate}"\n', "a certificate needs its `key`"),
    ]:
        perch = secure(lines, ready=False).perch
        assert perch.process.wait(20) != 0
        assert words in perch.log() and "PRIVATE" not in perch.log(), perch.log()
