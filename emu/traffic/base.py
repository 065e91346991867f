"""Flow, Packet, and what a traffic source is.

A source yields packets; what is done with them (headers cut off, payloads put
into an arena, replayed in a loop by C) is the NIC's business.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from emu.errors import TrafficError
from faults.near import did_you_mean

#: The transports that a flow can have.
Proto = Literal["tcp", "udp"]

PAYLOAD_MAX = 65536  #: bytes of one packet's payload, the largest a source may yield
TIME_MAX_NS = 2**63 - 1  #: the largest offset of a packet in time, so that it fits a C int64_t
PORT_MAX = 65535


@dataclass(frozen=True, slots=True)
class Flow:
    """One direction of a conversation: the five values that keep its packets in order."""

    src: str  #: IPv4 or IPv6 address, as text
    dst: str  #: address of the same family
    sport: int  #: 0 to 65535
    dport: int  #: 0 to 65535
    proto: Proto

    def __post_init__(self) -> None:
        if _family("src", self.src) != _family("dst", self.dst):
            raise TrafficError.of("dst", self.dst, f"an address of the family of src {self.src}")
        for name, port in (("sport", self.sport), ("dport", self.dport)):
            if not 0 <= port <= PORT_MAX:
                raise TrafficError.of(name, port, f"0 to {PORT_MAX}")
        if self.proto not in get_args(Proto):
            raise TrafficError.of("proto", self.proto, "'tcp' or 'udp'")

    def reversed(self) -> Flow:
        """Return the other direction of the same conversation."""
        return Flow(self.dst, self.src, self.dport, self.sport, self.proto)

    def rss_input(self) -> bytes:
        """Return what a NIC computes its Toeplitz hash over to choose a queue.

        Returns:
            Source address, destination address, source port, destination port, big-endian:
            12 bytes for IPv4, 36 for IPv6.

        Source: Microsoft's "RSS hashing types"; the same bytes as ``rxhash`` in Linux drivers.
        """
        addresses = ipaddress.ip_address(self.src).packed + ipaddress.ip_address(self.dst).packed
        return addresses + struct.pack("!HH", self.sport, self.dport)


def _family(field: str, address: str) -> int:
    try:
        return ipaddress.ip_address(address).version
    except ValueError:
        raise TrafficError.of(field, address, "an IPv4 or IPv6 address") from None


@dataclass(frozen=True, slots=True)
class Packet:
    """What of one received packet lands in the area: the headers are split off."""

    flow: Flow
    payload: bytes  #: above TCP or UDP: 1 to 65536 bytes
    time_ns: int  #: since the first packet of the source: 0 to 2^63 - 1, never less than before

    def __post_init__(self) -> None:
        if not 1 <= len(self.payload) <= PAYLOAD_MAX:
            raise TrafficError.of("payload size", len(self.payload), f"1 to {PAYLOAD_MAX} bytes")
        if not 0 <= self.time_ns <= TIME_MAX_NS:
            raise TrafficError.of("time_ns", self.time_ns, "0 to 2^63 - 1 ns")


class TrafficSource(Protocol):
    """Where packets come from, before the NIC."""

    @property
    def label(self) -> str:
        """The SOURCE text as it was typed, for reports."""

    def packets(self, seed: int) -> Iterator[Packet]:
        """Yield the packets in the order of their time: finitely many, at least one.

        Args:
            seed: Decides all that is random. The same seed gives the same packets.

        Raises:
            TrafficError: The source cannot be read. This may come after some packets.
        """


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the nearest known name, or nothing if none is near."""
    hint = did_you_mean(name, known)
    return f"; {hint}" if hint else ""


def traffic_error(label: str, problem: str, allowed: str) -> TrafficError:
    """Build a TrafficError of one line: the source, what is wrong with it, what is allowed.

    Characters that would break the line or garble a terminal are escaped: file names may hold them.
    """
    line = f"traffic: {label}: {problem}; {allowed}"
    return TrafficError("".join(c if c.isprintable() else ascii(c)[1:-1] for c in line))
