"""A perch that asks for a login, and those who come to its door."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import requests
from perch_process import ROOT, perch_binary

OWNER, VIEWER = "a heron at dusk", "a gull at noon"
REQUIRED = '[http]\nauth = "required"\n'
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def post(url: str, path: str, body: dict, session=requests, **kinds) -> requests.Response:
    return session.post(url + path, json=body, timeout=30, **kinds)


def claim(url: str, password: str = OWNER) -> requests.Session:
    """The browser of somebody who has just become the owner."""
    session = requests.Session()
    response = post(url, "/api/claim", {"password": password}, session)
    assert response.status_code == 200, response.text
    return session


def log_in(url: str, password: str, account: str = "owner") -> requests.Session:
    session = requests.Session()
    response = post(url, "/api/login", {"password": password, "account": account}, session)
    assert response.status_code == 200, response.text
    return session


def token(url: str, owner: requests.Session, scope: str) -> dict:
    """The headers of a program that has a token."""
    response = post(url, "/api/tokens", {"name": f"a {scope} program", "scope": scope}, owner)
    assert response.status_code == 201, response.text
    return {"Authorization": f"Bearer {response.json()['token']}"}


def command(*args: str, say: str = "") -> subprocess.CompletedProcess:
    """`perch auth …` on the same machine; `say` is its standard input."""
    return subprocess.run([perch_binary(), "auth", *args], input=say, capture_output=True, text=True, timeout=30)


def ask(url: str, method: str, path: str, **headers: str) -> int:
    """The status alone: a stream's body would never end."""
    with requests.request(method, url + path, headers=headers, timeout=15, stream=True, allow_redirects=False) as response:
        return response.status_code


def documented_routes() -> list[tuple[str, str, str]]:
    """Method, path (with something in place of `{…}`) and what it needs: from docs/http-api.md, which has every route."""
    text = Path(ROOT / "docs/http-api.md").read_text()
    found = []
    for section in re.split(r"^## ", text, flags=re.M):
        pending = []
        for block in re.split(r"^(?=### `)", section, flags=re.M)[1:]:
            method, path = re.match(r"### `([A-Z]+) (\S+)`", block).groups()
            pending.append((method, re.sub(r"\{.*?\}", "x", path)))
            words = block.split("\n", 1)[1].strip()
            if not words:
                continue  # the next heading's words are for both
            mark = re.match(r"\*(\w+)", words)
            needs = mark[1].lower() if mark else "own page"
            found += [(*route, needs) for route in pending]
            pending = []
    return found
