"""Packets made up from a seed: HTTP exchanges, JSON documents, log lines, raw bytes.

Faker makes names, agents, addresses and sentences that look real, but slowly; so a pool of its
fragments is made once for each seed and combined by :class:`random.Random`.
"""

from __future__ import annotations

import datetime
import email.utils
import enum
import json
import math
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emu.traffic.base import (
    PAYLOAD_MAX,
    TIME_MAX_NS,
    Flow,
    Packet,
    Proto,
    nearest,
    traffic_error,
)

if TYPE_CHECKING:
    from faker import Faker

SEGMENT_MAX = 1448  #: bytes of TCP payload in a 1500-byte IPv4 packet with timestamps (the MSS)
FLOWS_MAX = 65536
PACKETS_MAX = 1_000_000
PPS_MAX = 10**9
_BURST_MAX = 8  #: packets of one connection in a row


class Kind(enum.StrEnum):
    """What payloads hold."""

    MIX = "mix"  #: all of the others, message by message
    HTTP = "http"  #: requests on a flow, responses on its reverse, in segments of up to 1448 bytes
    JSON = "json"  #: one document a packet
    LOGS = "logs"  #: one or more lines a packet
    RAW = "raw"  #: random bytes, 1 to 65536 of them: small and large sizes alike (log-uniform)


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticSource:
    """Traffic made up from a seed.

    HTTP takes a flow and its reverse; where ``flow_count`` is odd the last flow is without a
    reverse and carries requests only, as on a host that sees one direction.
    """

    label: str = "synthetic"  #: the SOURCE text as typed
    flow_count: int = 64  #: 1 to 65536 different flows (key ``flows``), if there are packets enough
    packet_count: int = 4096  #: 1 to 1,000,000 (key ``packets``)
    kind: Kind = Kind.MIX
    #: Bytes of the smallest and largest payload, 1 to 65536. If both are the same, all kinds keep
    #: to it: what a flow carries is one stream, cut after each so many bytes. A range is for raw.
    size: tuple[int, int] | None = None
    pps: int | None = None  #: 1 to 10^9 packets a second of ``time_ns``; without it all times are 0

    def __post_init__(self) -> None:
        self._check("flows", self.flow_count, FLOWS_MAX)
        self._check("packets", self.packet_count, PACKETS_MAX)
        if self.pps is not None:
            self._check("pps", self.pps, PPS_MAX)
        if self.size is None:
            return
        smallest, largest = self.size
        self._check("size", smallest, PAYLOAD_MAX)
        self._check("size", largest, PAYLOAD_MAX)
        if smallest > largest:
            raise traffic_error(self.label, f"size {smallest}-{largest}", "MIN at most MAX")
        if smallest < largest and self.kind is not Kind.RAW:
            raise traffic_error(
                self.label,
                f"size {smallest}-{largest} with kind={self.kind}",
                "a range with kind=raw, one number with any kind",
            )

    def _check(self, key: str, value: int, largest: int) -> None:
        if not 1 <= value <= largest:
            raise traffic_error(self.label, f"{key} {value}", f"1 to {largest}")

    @classmethod
    def parse(cls, text: str) -> SyntheticSource:
        """Parse ``synthetic[:KEY=VALUE,...]`` with the keys flows, packets, kind, size and pps.

        Raises:
            TrafficError: Unknown key or kind (the nearest is suggested), or a value out of range.
        """
        _, colon, options = text.partition(":")
        fields: dict[str, Any] = {}
        for option in options.split(",") if colon else ():
            key, equals, value = option.partition("=")
            if key not in _KEYS:
                problem = f"unknown key {key!r}{nearest(key, _KEYS)}"
                raise traffic_error(text, problem, f"keys are {', '.join(_KEYS)}")
            field, read = _KEYS[key]
            if field in fields or not equals:
                raise traffic_error(text, f"{option!r}", "each KEY=VALUE once")
            fields[field] = read(text, key, value)
        return cls(label=text, **fields)

    def packets(self, seed: int) -> Iterator[Packet]:
        """Yield ``packet_count`` packets.

        What a flow carries stays in order; between flows, packets come in bursts of up to 8. After
        the last packet an HTTP message may be left unfinished.

        Args:
            seed: Any integer. With one version of Faker, the same seed gives the same packets.
        """
        rng = random.Random(f"synthetic:{seed}")
        writer = _Writer(rng, self.size)
        connections = _connections(rng, self.flow_count, self.kind)
        count = 0
        while count < self.packet_count:
            connection = rng.choice(connections)
            for _ in range(rng.randint(1, _BURST_MAX)):
                if count == self.packet_count:
                    return
                while not connection.queue:
                    self._refill(rng, writer, connection)
                flow, payload = connection.queue.popleft()
                time_ns = count * 10**9 // self.pps if self.pps else 0
                yield Packet(flow, payload, min(time_ns, TIME_MAX_NS))
                count += 1

    def _refill(self, rng: random.Random, writer: _Writer, connection: _Connection) -> None:
        """Let one more message be sent, or one exchange of them."""
        kind = self.kind
        if kind is Kind.MIX:
            kind = rng.choice(_MIXED[connection.flow.proto])
        if kind is Kind.HTTP:
            request, response = writer.http_exchange(connection.flow.dport)
            connection.send(connection.flow, request, self.size, SEGMENT_MAX)
            if connection.reverse:
                connection.send(connection.reverse, response, self.size, SEGMENT_MAX)
            return
        flow = connection.flow
        if connection.reverse and rng.random() < 0.5:
            flow = connection.reverse
        message = {Kind.JSON: writer.json, Kind.LOGS: writer.logs, Kind.RAW: writer.raw}[kind]()
        # Raw bytes are no stream to be cut: their size, even if fixed, was chosen by the writer.
        connection.send(flow, message, None if self.kind is Kind.RAW else self.size, PAYLOAD_MAX)


#: Kinds of which a mix chooses, one for each message: by what runs over which transport.
_MIXED: dict[Proto, tuple[Kind, ...]] = {
    "tcp": (Kind.HTTP, Kind.HTTP, Kind.JSON, Kind.RAW),
    "udp": (Kind.LOGS, Kind.LOGS, Kind.JSON, Kind.RAW),
}


def _read_number(label: str, key: str, value: str) -> int:
    # No more digits than the largest number that a key has; int() would also take " 1" or "1_0".
    if not (value.isascii() and value.isdecimal() and len(value) <= 10):
        raise traffic_error(label, f"{key} {value!r}", "a positive number is needed")
    return int(value)


def _read_kind(label: str, key: str, value: str) -> Kind:
    try:
        return Kind(value)
    except ValueError:
        problem = f"unknown kind {value!r}{nearest(value, map(str, Kind))}"
        raise traffic_error(label, problem, f"kinds are {', '.join(Kind)}") from None


def _read_size(label: str, key: str, value: str) -> tuple[int, int]:
    smallest, dash, largest = value.partition("-")
    first = _read_number(label, key, smallest)
    return first, _read_number(label, key, largest) if dash else first


_KEYS: dict[str, tuple[str, Callable[[str, str, str], object]]] = {
    "flows": ("flow_count", _read_number),
    "packets": ("packet_count", _read_number),
    "kind": ("kind", _read_kind),
    "size": ("size", _read_size),
    "pps": ("pps", _read_number),
}


# ---- Connections -----------------------------------------------------------------------------


class _Connection:
    """A flow with its reverse, and the payloads that are still to be sent on the two."""

    def __init__(self, flow: Flow, reverse: Flow | None) -> None:
        self.flow = flow  #: from client to server
        self.reverse = reverse
        self.queue: deque[tuple[Flow, bytes]] = deque()
        self._rest: dict[Flow, bytes] = {}  #: what is too short yet for a payload of fixed size

    def send(self, flow: Flow, message: bytes, size: tuple[int, int] | None, size_max: int) -> None:
        """Queue a message: in pieces of exactly ``size``, or of up to ``size_max`` bytes."""
        step, end = size_max, len(message)
        if size is not None:
            step = size[0]
            message = self._rest.get(flow, b"") + message
            end = len(message) - len(message) % step
            self._rest[flow] = message[end:]
        for start in range(0, end, step):
            self.queue.append((flow, message[start : min(start + step, end)]))


def _connections(rng: random.Random, flow_count: int, kind: Kind) -> list[_Connection]:
    """Make connections that have ``flow_count`` flows together, all different."""
    faker = _faker(rng)
    clients = {
        4: [faker.ipv4_private() for _ in range(48)],
        6: [faker.ipv6() for _ in range(16)],
    }
    servers = {4: [faker.ipv4_public() for _ in range(12)], 6: [faker.ipv6() for _ in range(4)]}
    connections = []
    for number in range((flow_count + 1) // 2):
        # The first connection is TCP and the second UDP, so that even a small mix has both.
        proto: Proto = "tcp"
        if kind is Kind.LOGS or (kind in (Kind.MIX, Kind.RAW) and number % 4 == 1):
            proto = "udp"
        version = rng.choice((4, 4, 4, 6))
        flow = Flow(
            src=rng.choice(clients[version]),
            dst=rng.choice(servers[version]),
            sport=32768 + number,  # makes each flow different: FLOWS_MAX needs just these ports
            dport=rng.choice((80, 8080, 8000, 3000) if proto == "tcp" else (514, 5140, 1514)),
            proto=proto,
        )
        has_reverse = 2 * number + 1 < flow_count
        connections.append(_Connection(flow, flow.reversed() if has_reverse else None))
    return connections


def _faker(rng: random.Random) -> Faker:
    from faker import Faker  # here: it takes longer to load than the rest of the package

    # Without weights: choosing by weight is slower, and nothing here needs true frequencies.
    faker = Faker("en_US", use_weighting=False)
    faker.seed_instance(rng.getrandbits(64))
    return faker


# ---- Messages --------------------------------------------------------------------------------


class _Writer:
    """Writes messages: fragments by Faker, combined at random."""

    def __init__(self, rng: random.Random, size: tuple[int, int] | None) -> None:
        faker = _faker(rng)
        self._rng = rng
        self._raw_size = size or (1, PAYLOAD_MAX)
        self._agents = [faker.user_agent() for _ in range(24)]
        self._hosts = [faker.domain_name() for _ in range(16)]
        self._paths = [f"/{faker.uri_path()}/{faker.file_name()}" for _ in range(48)]
        self._sentences = [faker.sentence() for _ in range(200)]
        self._shortest = min(map(len, self._sentences))
        self._mean = sum(map(len, self._sentences)) // len(self._sentences) + 1
        self._records = [json.dumps(_record(faker)) for _ in range(48)]
        # As many as fit a payload with ", " between them, and the 64 bytes of what is around them.
        self._records_max = (PAYLOAD_MAX - 64) // (max(map(len, self._records)) + 2)
        self._events = [*self._sentences[:60], *(self._access(faker) for _ in range(60))]
        # Not today's date, which would make other packets tomorrow.
        self._time_s = 1_735_689_600 + rng.randrange(365 * 86400)

    def http_exchange(self, port: int) -> tuple[bytes, bytes]:
        """Write a request to a server's port, and the response to it."""
        choice = self._rng.choice
        headers = [
            f"Host: {choice(self._hosts)}:{port}",
            f"User-Agent: {choice(self._agents)}",
            f"Accept: {choice(('*/*', 'text/html,application/json;q=0.9', 'application/json'))}",
        ]
        if self._rng.random() < 0.5:
            headers.append(f"Cookie: session={self._rng.getrandbits(128):032x}")
        path = choice(self._paths)
        if self._rng.random() < 0.75:
            if self._rng.random() < 0.5:
                path += f"?page={self._rng.randint(1, 99)}"
            return _http(f"GET {path} HTTP/1.1", headers), self._http_response()
        headers.append("Content-Type: application/json")
        return _http(f"POST {path} HTTP/1.1", headers, self.json()), self._http_response()

    def _http_response(self) -> bytes:
        self._time_s += self._rng.randint(0, 5)
        headers = [
            f"Date: {email.utils.formatdate(self._time_s, usegmt=True)}",
            f"Server: {self._rng.choice(('nginx', 'Apache', 'envoy'))}",
        ]
        status = self._rng.choice(_STATUSES)
        if status == "204 No Content":  # has neither a body nor its length
            return _http(f"HTTP/1.1 {status}", headers)
        if self._rng.random() < 0.3:
            headers.append("Content-Type: application/json")
            return _http(f"HTTP/1.1 {status}", headers, self.json())
        headers.append("Content-Type: text/html; charset=utf-8")
        body = f"<!DOCTYPE html><title>{status}</title><p>{self._prose(64, 1 << 16)}</p>\n"
        return _http(f"HTTP/1.1 {status}", headers, body.encode())

    def json(self) -> bytes:
        """Write a document of up to 65536 bytes."""
        count = self._log_uniform(1, self._records_max)
        records = ", ".join(self._rng.choices(self._records, k=count))
        return f'{{"id": {self._rng.getrandbits(48)}, "records": [{records}]}}'.encode()

    def logs(self) -> bytes:
        """Write one to forty lines in the form of RFC 5424 (syslog), each with its line end."""
        lines = []
        for event in self._rng.choices(self._events, k=self._log_uniform(1, 40)):
            self._time_s += self._rng.randint(0, 5)
            time = datetime.datetime.fromtimestamp(self._time_s, datetime.UTC)
            lines.append(
                f"<{self._rng.randrange(192)}>1 {time.isoformat()[:19]}Z"
                f" {self._rng.choice(self._hosts)} app {self._rng.randint(2, 32768)} - - {event}\n"
            )
        return "".join(lines).encode()

    def raw(self) -> bytes:
        """Write random bytes of a size in the range that the source was given."""
        return self._rng.randbytes(self._log_uniform(*self._raw_size))

    def _prose(self, smallest: int, largest: int) -> str:
        """Return sentences of about so many characters, cut at the last one."""
        size = self._log_uniform(smallest, largest)
        count = size // self._shortest + 1  # sentences that are drawn: enough, as a rule too many
        text = ""
        while count and len(text) <= size:
            taken = min(count, (size - len(text)) // self._mean + 1)
            text += " ".join([*self._rng.choices(self._sentences, k=taken), ""])
            count -= taken
        if count:
            self._rng.getrandbits(64 * count)  # what drawing the others takes, without them
        return text[:size]

    def _access(self, faker: Faker) -> str:
        """Return a line of a web server's access log."""
        return (
            f'{faker.ipv4()} {faker.user_name()} "GET {self._rng.choice(self._paths)} HTTP/1.1"'
            f' 200 {self._rng.randint(1, 99999)} "-" "{self._rng.choice(self._agents)}"'
        )

    def _log_uniform(self, smallest: int, largest: int) -> int:
        """Return an integer of the range; each doubling of size is as likely as any other."""
        exponent = self._rng.uniform(math.log(smallest), math.log(largest + 1))
        return min(max(int(math.exp(exponent)), smallest), largest)


_STATUSES = ("200 OK",) * 8 + (
    "201 Created",
    "204 No Content",
    "404 Not Found",
    "500 Internal Server Error",
)


def _http(start_line: str, headers: list[str], body: bytes | None = None) -> bytes:
    if body is not None:
        headers = [*headers, f"Content-Length: {len(body)}"]
    return "\r\n".join([start_line, *headers, "", ""]).encode() + (body or b"")


def _record(faker: Faker) -> dict[str, object]:
    return {
        "name": faker.name(),
        "email": faker.email(),
        "city": faker.city(),
        "address": faker.ipv4(),
        "tags": [faker.word(), faker.word()],
        "note": faker.sentence(),
        "score": faker.random_int(0, 1000) / 10,
        "active": faker.boolean(),
        "parent": None,
    }
