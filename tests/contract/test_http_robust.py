"""HTTP under bursts, slow senders and rubbish."""

import selectors
import socket
import threading
import time

import pytest
import requests

BURST = 64
GET = b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"


def connect(perch) -> socket.socket:
    return socket.create_connection(("127.0.0.1", perch.port), timeout=5)


def read_until_closed(client: socket.socket, timeout: float) -> tuple[bytes, float]:
    """What comes until the server closes, and how long that took; fails when it does not close in time."""
    client.settimeout(timeout)
    start, data = time.monotonic(), b""
    while True:
        try:
            part = client.recv(65536)
        except ConnectionError:
            part = b""
        except TimeoutError:
            raise AssertionError(f"still open after {timeout} s, got {data[:200]!r}") from None
        if not part:
            return data, time.monotonic() - start
        data += part


def burst(perch, count: int, request: bytes) -> list[float]:
    """Opens `count` connections at once, sends `request` on each; the seconds until each answer began."""
    selector, start, sent, took = selectors.DefaultSelector(), {}, set(), {}
    clients = []
    try:
        for number in range(count):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", perch.port))
            clients.append(client)
            start[client] = time.monotonic()
            selector.register(client, selectors.EVENT_WRITE)
        end = time.monotonic() + 5
        while len(took) < count and time.monotonic() < end:
            for key, _ in selector.select(0.2):
                client = key.fileobj
                if client not in sent:
                    client.sendall(request)
                    sent.add(client)
                    selector.modify(client, selectors.EVENT_READ)
                else:
                    data = client.recv(65536)
                    assert data.startswith(b"HTTP/1.1 200"), data[:100]
                    took[client] = time.monotonic() - start[client]
                    selector.unregister(client)
    finally:
        for client in clients:
            client.close()
        selector.close()
    assert len(took) == count, f"{count - len(took)} of {count} connections were never answered"
    return sorted(took.values())


@pytest.mark.parametrize("path", ["/", "/healthz", "/api/status"])
def test_burst_of_64_new_connections_is_answered_within_250_ms(shared, path):
    for _ in range(5):
        took = burst(shared, BURST, GET.replace(b"/ ", path.encode() + b" ", 1))
        assert took[-1] < 0.25, f"slowest {took[-1] * 1000:.0f} ms, median {took[BURST // 2] * 1000:.0f} ms"


def test_burst_while_slow_connections_lie_about(shared):
    slow = [connect(shared) for _ in range(40)]
    try:
        for client in slow:
            client.sendall(b"GET / HT")
        took = burst(shared, BURST, GET)
        assert took[-1] < 0.25, f"slowest {took[-1] * 1000:.0f} ms"
    finally:
        for client in slow:
            client.close()


def test_headers_that_never_come_are_timed_out(shared):
    with connect(shared) as silent, connect(shared) as half, connect(shared) as dripping:
        half.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n")
        dripping.sendall(b"GET / HTTP/1.1\r\n")
        stop = threading.Event()

        def drip():
            while not stop.wait(0.5):
                try:
                    dripping.sendall(b"x-a: b\r\n")
                except OSError:
                    return

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            for client in (silent, half, dripping):
                data, _ = read_until_closed(client, 30)
                assert data == b"" or data.startswith(b"HTTP/1.1 408"), data[:100]
        finally:
            stop.set()
            thread.join()


def test_body_that_never_comes_is_timed_out(shared):
    with connect(shared) as client:
        client.sendall(b"POST /offer HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"sdp\":")
        data, _ = read_until_closed(client, 30)
        assert data == b"" or data.startswith((b"HTTP/1.1 408", b"HTTP/1.1 400")), data[:100]
    assert requests.get(shared.url + "/healthz", timeout=2).status_code == 200


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\0" * 2000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 500,
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"G\xc3\xa9T / HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\n: no name\r\n\r\n",
        b"POST /offer HTTP/1.1\r\nhost: localhost\r\ncontent-length: -5\r\n\r\n",
        b"POST /offer HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999999999999999\r\n\r\n",
        b"POST /offer HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ncontent-length: 7\r\n\r\nabcdefg",
        b"POST /offer HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\nx-long: " + b"a" * 200_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\n" + b"x-many: y\r\n" * 2000 + b"\r\n",
    ],
    ids=lambda value: repr(value[:40]),
)
def test_rubbish_is_refused_or_closed_and_harms_nobody(shared, request_bytes):
    with connect(shared) as client:
        try:
            client.sendall(request_bytes)
            client.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        data, _ = read_until_closed(client, 15)
        assert data == b"" or data.startswith(b"HTTP/1.1 4") or data.startswith(b"HTTP/1.0 4") or b" 505 " in data[:20], data[:200]
    assert requests.get(shared.url + "/healthz", timeout=2).status_code == 200


def test_a_host_that_is_not_ascii_is_refused(shared):
    with connect(shared) as client:
        client.settimeout(20)
        client.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\xe9\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 400 ")


def test_oversized_bodies_are_refused_on_every_route(shared):
    for path in ("/offer", "/whep", "/close_connection"):
        with connect(shared) as client:
            client.sendall(
                f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/sdp\r\ncontent-length: 10000000\r\n\r\n".encode()
            )
            client.settimeout(5)
            assert client.recv(65536).startswith(b"HTTP/1.1 413"), path


def test_chunked_body_beyond_the_limit_is_refused(shared):
    def chunks():
        for _ in range(100):
            yield b"x" * 1000

    try:
        response = requests.post(shared.url + "/offer", data=chunks(), timeout=10)
        assert response.status_code == 413
    except requests.ConnectionError:
        pass  # closed while we were still sending: just as well
    assert requests.get(shared.url + "/healthz", timeout=2).status_code == 200


def test_one_connection_carries_many_requests(shared):
    with requests.Session() as session:
        for _ in range(50):
            assert session.get(shared.url + "/healthz", timeout=2).status_code == 200


def test_connections_that_come_and_go_leave_no_descriptor(shared):
    for _ in range(3):
        burst(shared, BURST, GET)
    before = shared.fds()
    for _ in range(10):
        burst(shared, BURST, GET)
        for _ in range(BURST):
            connect(shared).close()
    end = time.monotonic() + 5
    while shared.fds() > before and time.monotonic() < end:
        time.sleep(0.1)
    assert shared.fds() <= before
