"""Watches a perch under attack from a process of its own: `sentry.py PORT PID` prints a line of JSON ten times a second.

`healthz` is how long /healthz took over a new connection, in ms, and `control` how long a program took that does nothing but
answer: when that one is late too, the machine is, and not perch.
"""

import json
import os
import re
import socket
import sys
import threading
import time
from pathlib import Path

PORT, PID = int(sys.argv[1]), sys.argv[2]
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


def answer_for_ever(server: socket.socket):
    while True:
        client, _ = server.accept()
        with client:
            client.recv(1024)
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")


def ask(port: int) -> float:
    """How long an answer takes, in ms; a minute when there is none."""
    start = time.monotonic()
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(REQUEST)
            if client.recv(1024).startswith(b"HTTP/1.1 200"):
                return (time.monotonic() - start) * 1000
    except OSError:
        pass
    return 60_000.0


def main():
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    if os.fork() == 0:
        answer_for_ever(server)
    while True:
        started = time.monotonic()
        # Both at once, so that they meet the same moment.
        took = {}
        threads = [threading.Thread(target=lambda name=name, port=port: took.update({name: ask(port)})) for name, port in (("control", port), ("healthz", PORT))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        status = Path(f"/proc/{PID}/status").read_text()
        number = lambda key: int(re.search(rf"^{key}:\s+(\d+)", status, re.M)[1])  # noqa: E731
        seen = {**took, "threads": number("Threads"), "kb": number("RssAnon"), "fds": len(os.listdir(f"/proc/{PID}/fd"))}
        print(json.dumps({"at": started, **seen}), flush=True)
        time.sleep(max(0.0, started + 0.1 - time.monotonic()))


main()
