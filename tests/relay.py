"""A bad network in a box: stands between one viewer and perch on loopback.

The kernel here has no netem, so tests and the bench put this relay in the media's way instead. It works by
signalling alone: an HTTP proxy of its own takes the offer's candidates out (perch then knows no way to the
viewer but the one the viewer comes by) and puts relay ports in the place of the answer's candidates.
Each direction is a `Link` with random loss (seeded), delay, packets out of order, and a rate with a bounded drop-tail queue.

    with Relay("http://127.0.0.1:8000", down=Link(loss=0.05)) as relay:
        page.goto(relay.url)

Or without the proxy: `relay.rewrite_offer(sdp)` and `relay.rewrite_answer(sdp)` around one's own POST.
"""

from __future__ import annotations

import heapq
import http.client
import json
import random
import selectors
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

LOOPBACK = "127.0.0.1"
DATAGRAM = 65536
HOP_BY_HOP = {"content-length", "connection", "transfer-encoding"}


@dataclass
class Link:
    """One direction. `queue_ms` bounds how long a packet may wait for the rate; later ones are dropped.

    All may be changed while it carries packets. The share `late` of them, at random, takes `late_ms` longer than the rest
    and so arrives out of order.
    """

    loss: float = 0.0
    delay_ms: float = 0.0
    late: float = 0.0
    late_ms: float = 30.0
    rate_bps: float | None = None
    queue_ms: float = 300.0
    seed: int = 1
    # Says which packets to lose on purpose, besides those lost at random.
    drop: Callable[[bytes], bool] | None = None
    forwarded: int = 0
    forwarded_bytes: int = 0
    lost: int = 0
    overflowed: int = 0
    _random: random.Random = field(init=False, repr=False)
    _free_at: float = field(default=0.0, init=False, repr=False)

    def __post_init__(self):
        self._random = random.Random(self.seed)

    def admit(self, now: float, data: bytes) -> float | None:
        """When a packet that arrives `now` leaves at the other end, or None when it is lost."""
        size = len(data)
        if self._random.random() < self.loss or (self.drop is not None and self.drop(data)):
            self.lost += 1
            return None
        leaves = now
        if self.rate_bps is not None:
            start = max(now, self._free_at)
            if (start - now) * 1000 > self.queue_ms:
                self.overflowed += 1
                return None
            leaves = self._free_at = start + size * 8 / self.rate_bps
        self.forwarded += 1
        self.forwarded_bytes += size
        delay_ms = self.delay_ms + (self.late_ms if self._random.random() < self.late else 0)
        return leaves + delay_ms / 1000


class _Flow:
    """One viewer address on one relay port, with a socket of its own towards perch."""

    def __init__(self, port: "_Port", viewer):
        self.port, self.viewer = port, viewer
        self.upstream = socket.socket(port.family, socket.SOCK_DGRAM)
        self.upstream.setblocking(False)
        self.upstream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.upstream.connect(port.server)


class _Port:
    """One of perch's candidates, as the viewer sees it."""

    def __init__(self, server):
        self.server = server
        self.family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.bind((LOOPBACK, 0))
        self.flows: dict[tuple, _Flow] = {}


class Relay:
    def __init__(self, upstream: str, down: Link | None = None, up: Link | None = None):
        """`down` is perch to viewer, `up` viewer to perch; a perfect link when not given."""
        self.down, self.up = down or Link(), up or Link()
        self._upstream = urlsplit(upstream).netloc
        self._selector = selectors.DefaultSelector()
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._selector.register(self._wake_in, selectors.EVENT_READ, None)
        self._ports: dict[tuple, _Port] = {}
        self._new: list[_Port] = []
        self._lock = threading.Lock()
        self._running = True
        self._http = ThreadingHTTPServer((LOOPBACK, 0), self._proxy())
        self._http.daemon_threads = True
        self.url = f"http://{LOOPBACK}:{self._http.server_address[1]}/"
        self._threads = [
            threading.Thread(target=self._pump, name="relay", daemon=True),
            threading.Thread(target=self._http.serve_forever, args=(0.1,), name="relay-http", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if not self._running:
            return
        self._running = False
        self._wake_out.send(b"x")
        self._http.shutdown()
        self._http.server_close()
        for thread in self._threads:
            thread.join(5)
        for port in self._ports.values():
            for flow in port.flows.values():
                flow.upstream.close()
            port.socket.close()
        self._selector.close()
        self._wake_in.close()
        self._wake_out.close()

    # ---- signalling

    @staticmethod
    def rewrite_offer(sdp: str) -> str:
        """The offer without candidates: perch learns the viewer's address from its first check."""
        return "".join(
            line for line in sdp.splitlines(keepends=True) if not line.startswith(("a=candidate:", "a=end-of-candidates"))
        )

    def rewrite_answer(self, sdp: str) -> str:
        """The answer with relay ports for candidates. Only one per port of perch's is kept."""
        lines, seen = [], set()
        for line in sdp.splitlines(keepends=True):
            if line.startswith("a=candidate:"):
                part = line.rstrip("\r\n").split(" ")
                address, port = part[4], int(part[5])
                if part[2].lower() != "udp" or address.endswith(".local") or address.startswith("fe80"):
                    continue
                # A wildcard-bound server may announce one port under several addresses: one way in is enough.
                if port in seen:
                    continue
                seen.add(port)
                part[4], part[5] = LOOPBACK, str(self._port_for((address, port)))
                line = " ".join(part) + "\r\n"
            lines.append(line)
        return "".join(lines)

    def _port_for(self, server) -> int:
        with self._lock:
            port = self._ports.get(server)
            if port is None:
                port = self._ports[server] = _Port(server)
                self._new.append(port)
                self._wake_out.send(b"x")
            return port.socket.getsockname()[1]

    def _proxy(relay):  # noqa: N805 - the handler's own `self` is the request
        class Proxy(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def handle(self):
                # A page that leaves resets its connections.
                with suppress(ConnectionError):
                    super().handle()

            def _forward(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                path = self.path.split("?")[0]
                if path == "/offer" and body:
                    offer = json.loads(body)
                    offer["sdp"] = relay.rewrite_offer(offer["sdp"])
                    body = json.dumps(offer).encode()
                elif path == "/whep" and body:
                    body = relay.rewrite_offer(body.decode()).encode()
                elif self.command == "PATCH":
                    # Trickled candidates would be a way round the link.
                    self.send_response(204)
                    self.end_headers()
                    return
                headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP_BY_HOP}
                upstream = http.client.HTTPConnection(relay._upstream, timeout=10)
                try:
                    upstream.request(self.command, self.path, body or None, headers)
                    response = upstream.getresponse()
                    answer = response.read()
                except OSError as error:
                    self.send_error(502, str(error))
                    return
                finally:
                    upstream.close()
                if path == "/offer" and response.status == 200:
                    data = json.loads(answer)
                    data["sdp"] = relay.rewrite_answer(data["sdp"])
                    answer = json.dumps(data).encode()
                elif path == "/whep" and response.status == 201:
                    answer = relay.rewrite_answer(answer.decode()).encode()
                # A page that has left in the meantime does not take its answer.
                with suppress(ConnectionError):
                    self._answer(response, answer)

            def _answer(self, response, answer):
                self.send_response(response.status)
                for key, value in response.getheaders():
                    if key.lower() not in HOP_BY_HOP:
                        self.send_header(key, value)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer)

            do_GET = do_POST = do_HEAD = do_DELETE = do_PATCH = do_OPTIONS = _forward

        return Proxy

    # ---- media

    def _pump(self):
        waiting: list = []  # (leaves at, order, send)
        order = 0
        while self._running:
            timeout = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
            for key, _ in self._selector.select(timeout):
                owner = key.data
                if owner is None:
                    self._wake_in.recv(4096)
                    with self._lock:
                        new, self._new = self._new, []
                    for port in new:
                        self._selector.register(port.socket, selectors.EVENT_READ, port)
                    continue
                while True:
                    try:
                        if isinstance(owner, _Port):
                            data, viewer = owner.socket.recvfrom(DATAGRAM)
                            flow = owner.flows.get(viewer)
                            if flow is None:
                                flow = owner.flows[viewer] = _Flow(owner, viewer)
                                self._selector.register(flow.upstream, selectors.EVENT_READ, flow)
                            link, send = self.up, (flow.upstream.send, (data,))
                        else:
                            data = owner.upstream.recv(DATAGRAM)
                            link, send = self.down, (owner.port.socket.sendto, (data, owner.viewer))
                    except BlockingIOError:
                        break
                    except OSError:
                        # ICMP told that the other end's port has closed; the viewer's own timers notice.
                        break
                    leaves = link.admit(time.monotonic(), data)
                    if leaves is not None:
                        order += 1
                        heapq.heappush(waiting, (leaves, order, send))
            now = time.monotonic()
            while waiting and waiting[0][0] <= now:
                _, _, (call, arguments) = heapq.heappop(waiting)
                try:
                    call(*arguments)
                except OSError:
                    pass
