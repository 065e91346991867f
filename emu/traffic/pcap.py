"""Packets of a capture file, and an account of what of it was left out.

The file (:mod:`emu.traffic.records`) and its frames (:mod:`emu.traffic.layers`) are taken apart
here and not by a library, because of what was found in dpkt 1.9.8, the likeliest one. Its pcapng
reader gives the packets of all interfaces the link type and clock of the first (kbandla/dpkt issue
681), rounds times to a float, and passes over simple packet blocks and further sections. Both its
readers forget the length a frame had on the wire, and may take a file that was cut for a whole one.
Its decoders raise an AttributeError for an IPv6 fragment with destination options, read a later
fragment behind a hop-by-hop header as TCP, and follow IP in IP up to a RecursionError. libpcap
refuses interfaces of different link types, which rules its bindings out; Scapy is GPL. The tests
compare with dpkt where dpkt is right.

A capture is hostile input: whatever its bytes are, it yields packets or a TrafficError.
"""

from __future__ import annotations

import socket
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, BinaryIO, Literal

from emu.errors import StateError, TrafficError
from emu.traffic.base import PAYLOAD_MAX, TIME_MAX_NS, Flow, Packet, traffic_error
from emu.traffic.layers import LINK_NAMES, Datagram, find_datagram
from emu.traffic.records import BrokenFileError, Frame, NoCaptureError, read_frames

_WHOLE_FILE = "a complete pcap or pcapng file is needed"

#: Counts of frames that give no packet, and why in a note's words.
_LEFT_OUT = {
    "no_payload": "without payload",
    "later_fragments": "later IP fragments",
    "tunnels": "tunnels (GRE, IP in IP, MPLS, PPPoE, ...)",
    "not_tcp_udp": "neither TCP nor UDP",
    "unknown_link": "of an unread {links}",
    "cut_off": "cut off before their payload (snaplen)",
    "damaged": "damaged",
}
_LINKS_NAMED = 4  #: in a line; a report has them all


@dataclass(frozen=True, slots=True, kw_only=True)
class PcapSummary:
    """What became of the frames of a capture.

    Each frame counts once among ``frames_used``, ``no_payload``, ``later_fragments``, ``tunnels``,
    ``not_tcp_udp``, ``unknown_link``, ``cut_off`` and ``damaged``; these add up to ``frames``.
    """

    frames: int  #: records in the file
    frames_used: int  #: gave at least one packet
    no_payload: int  #: TCP or UDP without payload, such as a pure ACK
    later_fragments: int  #: IP fragments other than the first: they have no ports
    tunnels: int  #: IP in IP, GRE, ESP, MPLS, PPPoE, ...: what is inside is not looked for
    not_tcp_udp: int  #: ARP, ICMP, SCTP, ...
    unknown_link: int  #: of a link type that is not read here
    cut_off: int  #: less was captured than reaches up to the payload (snaplen)
    damaged: int  #: headers that make no sense
    packets: int  #: what the source yielded
    payload_bytes: int  #: in all packets
    flows: int  #: different flows among the packets
    shortened: int  #: used frames whose payload is not all there (snaplen)
    cut_up: int  #: used frames that gave several packets, having more than 65536 bytes (GRO)
    stepped_back: int  #: packets whose time was less than that before, and was raised to it


@dataclass(slots=True)
class PcapSource:
    """Traffic from a capture file. The seed is not used: a file has nothing random."""

    path: str  #: of a pcap or pcapng file, compressed with gzip or not, as typed
    _summary: PcapSummary | None = field(default=None, init=False, repr=False, compare=False)
    _links: tuple[str, ...] = field(default=(), init=False, repr=False, compare=False)
    _cut: str = field(default="", init=False, repr=False, compare=False)

    @property
    def label(self) -> str:
        """The SOURCE text of this file."""
        return f"pcap:{self.path}"

    @property
    def summary(self) -> PcapSummary:
        """What became of the frames.

        Raises:
            StateError: No iterator of :meth:`packets` has come to its end yet.
        """
        if self._summary is None:
            raise StateError("a capture has a summary once all of its packets were read")
        return self._summary

    def packets(self, seed: int = 0) -> Iterator[Packet]:
        """Yield the TCP and UDP payloads of the file in its order.

        Times start at 0 with the first packet; one that steps back is raised to the time before it.

        Raises:
            TrafficError: The file is missing, unreadable, empty, no capture, damaged or cut short,
                or has no payload at all. One that is
                damaged behind its first packet is used up to there, and :meth:`notes` says so.
        """
        reading = _Reading()
        self._cut = ""
        try:
            with self._open() as file:
                for frame in read_frames(file):
                    yield from reading.take(frame)
        except BrokenFileError as broken:
            where = f"{broken} after {reading.count['frames']} packets"
            if not reading.count["packets"]:
                raise self._error(where) from None
            self._cut = where  # what came before is traffic like any other
        except NoCaptureError as reason:
            raise self._error(str(reason)) from None
        except OSError as error:
            raise self._error(f"cannot be read: {error.strerror}") from None
        summary = reading.summary()
        if not summary.packets:
            why = _left_out(summary, reading.links)
            raise self._error(
                f"no TCP or UDP payload in {summary.frames} packets{f' ({why})' if why else ''}",
                "a capture with at least one is needed",
            )
        self._summary = summary
        self._links = reading.links

    def notes(self) -> list[str]:
        """What of the file was left out or shortened, once it was read; a line each."""
        summary = self.summary
        found = []
        if self._cut:
            found.append(f"{self.label}: {self._cut}; what comes before it is used")
        if left_out := _left_out(summary, self._links):
            unused = summary.frames - summary.frames_used
            found.append(
                f"{self.label}: {unused} of {summary.frames} frames were left out: {left_out}"
            )
        if summary.shortened:
            found.append(
                f"{self.label}: {summary.shortened} frames have less payload than they had on "
                "the wire (snaplen)"
            )
        return found

    def account(self) -> dict[str, Any]:
        """What became of the frames, as plain values for a report, once the file was read."""
        return {
            **asdict(self.summary),
            "unread_links": list(self._links),
            "cut": self._cut or None,
        }

    def _open(self) -> BinaryIO:
        try:
            # Asked first: to open a named pipe would wait for its writer.
            is_regular = stat.S_ISREG(Path(self.path).stat().st_mode)
        except ValueError:  # a null character
            raise self._error("no possible file name") from None
        if not is_regular:
            raise self._error("not a regular file")
        return Path(self.path).open("rb")

    def _error(self, problem: str, allowed: str = _WHOLE_FILE) -> TrafficError:
        return traffic_error(self.label, problem, allowed)


def _left_out(summary: PcapSummary, links: tuple[str, ...]) -> str:
    """How many frames gave no packet, and why, in words; empty if all did."""
    more = ", ..." if len(links) > _LINKS_NAMED else ""
    named = f"link type {', '.join(links[:_LINKS_NAMED])}{more}"
    return ", ".join(
        f"{count} {why.format(links=named)}"
        for name, why in _LEFT_OUT.items()
        if (count := getattr(summary, name))
    )


class _Reading:
    """One pass over a file: the counts so far, the clock, and the flows seen."""

    def __init__(self) -> None:
        self.count = {counted.name: 0 for counted in fields(PcapSummary) if counted.name != "flows"}
        self._flows: dict[tuple[bytes, bytes, int, int, Literal["tcp", "udp"]], Flow] = {}
        self._links: dict[int, None] = {}  # those not read here, as they came
        self._time_zero_ns: int | None = None
        self._time_ns = 0

    @property
    def links(self) -> tuple[str, ...]:
        """The link types that are not read here, by number and name."""
        return tuple(
            f"{link} ({LINK_NAMES[link]})" if link in LINK_NAMES else str(link)
            for link in self._links
        )

    def summary(self) -> PcapSummary:
        return PcapSummary(flows=len(self._flows), **self.count)

    def take(self, frame: Frame) -> Iterator[Packet]:
        self.count["frames"] += 1
        datagram = find_datagram(frame)
        if isinstance(datagram, str):
            self.count[datagram] += 1
            if datagram == "unknown_link":
                self._links.setdefault(frame.link, None)
            return
        self.count["frames_used"] += 1
        self.count["shortened"] += len(datagram.payload) < datagram.wire_size
        self.count["cut_up"] += len(datagram.payload) > PAYLOAD_MAX
        flow = self._flow(datagram)
        time_ns = self._clock(frame.time_ns)
        for start in range(0, len(datagram.payload), PAYLOAD_MAX):
            piece = datagram.payload[start : start + PAYLOAD_MAX]
            self.count["packets"] += 1
            self.count["payload_bytes"] += len(piece)
            yield Packet(flow, piece, time_ns)

    def _flow(self, datagram: Datagram) -> Flow:
        key = datagram[:5]
        flow = self._flows.get(key)
        if flow is None:
            family = socket.AF_INET if len(key[0]) == 4 else socket.AF_INET6
            src, dst = socket.inet_ntop(family, key[0]), socket.inet_ntop(family, key[1])
            flow = self._flows[key] = Flow(src, dst, *key[2:])
        return flow

    def _clock(self, time_ns: int | None) -> int:
        """Return the time of a packet since the first; one without a time has that before it."""
        if time_ns is None:
            return self._time_ns
        if self._time_zero_ns is None:
            self._time_zero_ns = time_ns
        since = time_ns - self._time_zero_ns
        if since < self._time_ns:
            self.count["stepped_back"] += 1
        self._time_ns = min(max(since, self._time_ns), TIME_MAX_NS)
        return self._time_ns
