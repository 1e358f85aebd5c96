"""Another machine in the appliance's network, which speaks nothing but mDNS (RFC 6762): asks for names, and may have one itself.

It shares a hub of QEMU's with the appliance and with QEMU's own network, and hands over whole Ethernet frames in datagrams.
"""

from __future__ import annotations

import socket
import struct
import threading
import time

import dns.exception
import dns.flags
import dns.message
import dns.rdatatype
import dns.rrset

GROUP, PORT = "224.0.0.251", 5353
TO_GROUP = (bytes.fromhex("01005e0000fb"), GROUP, PORT)
OWN_MAC = bytes.fromhex("020000000099")
OWN_ADDRESS = "10.0.2.99"
IPV4, UDP = 0x0800, 17


class Neighbour:
    """It has `name` from the start, when there is one, or asks for `wanted` as soon as somebody is about to take it, once.
    `qemu` is what plugs it and the machine's adapter into one hub."""

    def __init__(self, name: str | None = None, wanted: str | None = None):
        self.name = f"{name}.local." if name else None
        self._wanted = f"{wanted}.local." if wanted else None
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            self._peer = probe.getsockname()
        own, peer = (f"127.0.0.1:{port}" for port in (self._socket.getsockname()[1], self._peer[1]))
        self.qemu = [
            "-netdev", f"socket,id=neighbour,udp={own},localaddr={peer}",
            "-netdev", "hubport,id=hub-neighbour,hubid=0,netdev=neighbour",
            "-netdev", "hubport,id=hub-net,hubid=0,netdev=net",
            "-netdev", "hubport,id=hub,hubid=0",
        ]  # fmt: skip
        self._answers: list[dns.rrset.RRset] = []
        self._arrived = threading.Condition()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def close(self):
        # A datagram of nothing ends the thread.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self._socket.getsockname())
        self._thread.join(20)
        self._socket.close()

    def ask(self, name: str, kind: str, within: float) -> list[str]:
        """What others answer, in DNS's own notation; nothing when nobody does. It is asked again ever more rarely (RFC 6762, 5.2)."""
        question = query(name, kind)
        key = (question.question[0].name, dns.rdatatype.from_text(kind))

        def found() -> list[str]:
            return [record.to_text() for rrset in self._answers if (rrset.name, rrset.rdtype) == key for record in rrset]

        end, pause = time.monotonic() + within, 1.0
        with self._arrived:
            self._answers.clear()
            while not found() and (left := end - time.monotonic()) > 0:
                self._send(question, TO_GROUP)
                self._arrived.wait_for(found, min(pause, left))
                pause = min(2 * pause, 60)
            return found()

    def _listen(self):
        while frame := self._socket.recv(65536):
            message = read(frame)
            if message is None:
                continue
            if message.flags & dns.flags.QR:
                with self._arrived:
                    self._answers += [*message.answer, *message.additional]
                    self._arrived.notify_all()
            elif self._wanted and any(rrset.name.to_text() == self._wanted for rrset in message.authority):
                self._send(query(self._wanted, "A"), TO_GROUP)
                self._wanted = None
            elif self.name and any(question.name.to_text().lower() == self.name for question in message.question):
                answer = dns.message.Message(id=0)
                port = struct.unpack(">H", frame[34:36])[0]
                if port == PORT:
                    self._answer(answer, TO_GROUP)
                else:
                    # Who asks from another port wants the answer there, with the question (RFC 6762, section 6.7).
                    answer.id, answer.question = message.id, message.question
                    self._answer(answer, (frame[6:12], socket.inet_ntoa(frame[26:30]), port))

    def _answer(self, answer: dns.message.Message, to: tuple[bytes, str, int]):
        answer.flags = dns.flags.QR | dns.flags.AA
        answer.answer.append(dns.rrset.from_text(self.name, 120, "IN", "A", OWN_ADDRESS))
        self._send(answer, to)

    def _send(self, message: dns.message.Message, to: tuple[bytes, str, int]):
        self._socket.sendto(frame_of(message.to_wire(), to), self._peer)


def query(name: str, kind: str) -> dns.message.Message:
    question = dns.message.make_query(name, kind, id=0)
    question.flags = 0
    return question


def frame_of(payload: bytes, to: tuple[bytes, str, int]) -> bytes:
    """An Ethernet frame to this hardware address, address and port, from its own."""
    mac, address, port = to
    udp = struct.pack(">4H", PORT, port, 8 + len(payload), 0) + payload
    addresses = socket.inet_aton(OWN_ADDRESS) + socket.inet_aton(address)
    header = bytearray(struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 255, UDP, 0) + addresses)
    total = sum(struct.unpack(">10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    header[10:12] = struct.pack(">H", ~(total + (total >> 16)) & 0xFFFF)
    return mac + OWN_MAC + struct.pack(">H", IPV4) + bytes(header) + udp


def read(frame: bytes) -> dns.message.Message | None:
    """The mDNS message in a frame, if there is one."""
    if len(frame) < 42 or frame[12:14] != struct.pack(">H", IPV4) or frame[23] != UDP:
        return None
    start = 14 + 4 * (frame[14] & 15)
    if frame[30:34] != socket.inet_aton(GROUP) or frame[start + 2 : start + 4] != struct.pack(">H", PORT):
        return None
    length = struct.unpack(">H", frame[start + 4 : start + 6])[0]
    try:
        return dns.message.from_wire(plain(frame[start + 8 : start + length]))
    except (dns.exception.DNSException, IndexError):
        return None


def plain(wire: bytes) -> bytes:
    """The message without the highest bit of each class, which in mDNS says something else (RFC 6762, section 10.2)."""
    wire = bytearray(wire)
    counts = struct.unpack(">4H", wire[4:12])
    at = 12
    for number in range(sum(counts)):
        while 0 < wire[at] < 0xC0:
            at += 1 + wire[at]
        at += 2 if wire[at] else 1
        wire[at + 2] &= 0x7F
        at += 4 if number < counts[0] else 10 + int.from_bytes(wire[at + 8 : at + 10], "big")
    return bytes(wire)
