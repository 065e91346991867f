"""Packets of a capture file: pcap (micro- or nanoseconds, either byte order) and pcapng.

The file and its frames are taken apart here and not by a library, because of what was found in
dpkt 1.9.8, the likeliest one. Its pcapng reader gives the packets of all interfaces the link type
and clock of the first (kbandla/dpkt issue 681), rounds times to a float, and passes over simple
packet blocks and further sections. Both its readers forget the length a frame had on the wire, and
may take a file that was cut for a whole one. Its decoders raise an AttributeError for an IPv6
fragment with destination options, read a later fragment behind a hop-by-hop header as TCP, and
follow IP in IP up to a RecursionError. libpcap refuses interfaces of different link types, which
rules its bindings out; Scapy is GPL. The tests compare with dpkt where dpkt is right.

A capture is hostile input: whatever its bytes are, it yields packets or a TrafficError.
"""

from __future__ import annotations

import socket
import stat
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from emu.errors import StateError, TrafficError
from emu.traffic.base import PAYLOAD_MAX, TIME_MAX_NS, Flow, Packet, traffic_error

_WHOLE_FILE = "a complete pcap or pcapng file is needed"

#: The largest record that is read into memory; libpcap's bound on pcapng blocks.
RECORD_MAX = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PcapSummary:
    """What became of the frames of a capture.

    Each frame counts once among ``frames_used``, ``no_payload``, ``later_fragments``,
    ``not_tcp_udp``, ``unknown_link`` and ``damaged``; these six add up to ``frames``.
    """

    frames: int  #: records in the file
    frames_used: int  #: gave at least one packet
    no_payload: int  #: TCP or UDP without payload, such as a pure ACK
    later_fragments: int  #: IP fragments other than the first: they have no ports
    not_tcp_udp: int  #: ARP, ICMP, IP in IP, ...
    unknown_link: int  #: of a link type that is not read here
    damaged: int  #: headers that make no sense, or cut off before the payload
    packets: int  #: what the source yielded
    payload_bytes: int  #: in all packets
    flows: int  #: different flows among the packets
    shortened: int  #: used frames whose payload is not all there (snaplen)
    cut_up: int  #: used frames that gave several packets, having more than 65536 bytes (GRO)
    stepped_back: int  #: packets whose time was less than that before, and was raised to it


@dataclass(slots=True)
class PcapSource:
    """Traffic from a capture file. The seed is not used: a file has nothing random."""

    path: str  #: of a pcap or pcapng file, as typed
    _summary: PcapSummary | None = field(default=None, init=False, repr=False, compare=False)
    _links: str = field(default="", init=False, repr=False, compare=False)
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
        try:
            with self._open() as file:
                for frame in _frames(file):
                    yield from reading.take(frame)
        except _BrokenFileError as broken:
            where = f"{broken} after {reading.count['frames']} packets"
            if not reading.count["packets"]:
                raise self._error(where) from None
            self._cut = where  # what came before is traffic like any other
        except _NoCaptureError as reason:
            raise self._error(str(reason)) from None
        except OSError as error:
            raise self._error(f"cannot be read: {error.strerror}") from None
        summary = reading.summary()
        if not summary.packets:
            links = f" ({reading.links})" if reading.links else ""
            raise self._error(
                f"no TCP or UDP payload in {summary.frames} packets{links}",
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
        left_out = [
            f"{count} {why}"
            for count, why in (
                (summary.no_payload, "without payload"),
                (summary.later_fragments, "later IP fragments"),
                (summary.not_tcp_udp, "not TCP or UDP (other protocols, tunnels)"),
                (summary.unknown_link, f"of an unread {self._links}"),
                (summary.damaged, "damaged or cut off before their payload"),
            )
            if count
        ]
        if left_out:
            unused = summary.frames - summary.frames_used
            found.append(
                f"{self.label}: {unused} of {summary.frames} frames were left out: "
                f"{', '.join(left_out)}"
            )
        if summary.shortened:
            found.append(
                f"{self.label}: {summary.shortened} frames have less payload than they had on "
                "the wire (snaplen)"
            )
        return found

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


class _Reading:
    """One pass over a file: the counts so far, the clock, and the flows seen."""

    def __init__(self) -> None:
        self.count = {counted.name: 0 for counted in fields(PcapSummary) if counted.name != "flows"}
        self._flows: dict[tuple[bytes, bytes, int, int, Literal["tcp", "udp"]], Flow] = {}
        self._links: dict[int, None] = {}  # those not read here, as they came
        self._time_zero_ns: int | None = None
        self._time_ns = 0

    @property
    def links(self) -> str:
        """The link types that are not read here, by number and name."""
        names = [
            f"{link} ({_LINK_NAMES[link]})" if link in _LINK_NAMES else str(link)
            for link in [*self._links][:4]
        ]
        return f"link type {', '.join(names)}" if names else ""

    def summary(self) -> PcapSummary:
        return PcapSummary(flows=len(self._flows), **self.count)

    def take(self, frame: _Frame) -> Iterator[Packet]:
        self.count["frames"] += 1
        datagram = _datagram(frame)
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

    def _flow(self, datagram: _Datagram) -> Flow:
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


# ---- Records of the file ---------------------------------------------------------------------


class _Frame(NamedTuple):
    link: int  #: LINKTYPE_ of the interface
    data: bytes  #: what was captured
    wire_size: int  #: bytes that it had on the wire
    time_ns: int | None  #: since 1970 or any other moment; None: not recorded


class _BrokenFileError(Exception):
    """The file is a capture, but from here on it makes no sense; the text says why."""


class _NoCaptureError(Exception):
    """The file is no capture that can be read here; the text says why."""


#: First four bytes of a pcap file: byte order for struct, nanoseconds in a tick.
_PCAP_MAGICS = {
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\x3c\x4d": (">", 1),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
}
_PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"  #: type of a section header block, in both byte orders
_GZIP_MAGIC = b"\x1f\x8b"

_SHB, _IDB, _PB, _SPB, _EPB = 0x0A0D0D0A, 1, 2, 3, 6  #: pcapng block types
_BYTE_ORDER_MAGIC = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}
_IF_TSRESOL, _IF_TSOFFSET = 9, 14  #: options of an interface


def _frames(file: BinaryIO) -> Iterator[_Frame]:
    magic = file.read(4)
    if magic in _PCAP_MAGICS:
        return _pcap_frames(file, *_PCAP_MAGICS[magic])
    if magic == _PCAPNG_MAGIC:
        return _pcapng_frames(file)
    if not magic:
        raise _NoCaptureError("empty")
    if magic[:2] == _GZIP_MAGIC:
        raise _NoCaptureError("compressed with gzip: unpack it first")
    raise _NoCaptureError("not a capture")


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise _BrokenFileError("truncated")
    return data


def _pcap_frames(file: BinaryIO, order: str, tick_ns: int) -> Iterator[_Frame]:
    """Yield the frames of a pcap file, whose magic was read.

    Source: IETF draft-ietf-opsawg-pcap; the upper half of the link type is about a trailing FCS.
    """
    major, minor, link = struct.unpack(order + "HH12xI", _exactly(file, 20))
    if major != 2:
        raise _NoCaptureError(f"pcap version {major}.{minor}, not 2.x")
    record = struct.Struct(order + "IIII")
    while header := file.read(record.size):
        if len(header) < record.size:
            raise _BrokenFileError("truncated")
        seconds, ticks, size, wire_size = record.unpack(header)
        if size > RECORD_MAX:
            raise _BrokenFileError(f"a record of {size} bytes, more than {RECORD_MAX},")
        data = _exactly(file, size)
        yield _Frame(link & 0xFFFF, data, wire_size, seconds * 10**9 + ticks * tick_ns)


class _Interface(NamedTuple):
    link: int
    snaplen: int  #: 0: no limit
    ticks_per_second: int
    offset_s: int

    def time_ns(self, high: int, low: int) -> int:
        ticks = high << 32 | low
        return self.offset_s * 10**9 + ticks * 10**9 // self.ticks_per_second


def _pcapng_frames(file: BinaryIO) -> Iterator[_Frame]:
    """Yield the frames of a pcapng file, whose first four bytes were read.

    Each section has its own byte order and interfaces. Blocks other than packets are passed over.

    Source: IETF draft-ietf-opsawg-pcapng.
    """
    order, interfaces = "<", list[_Interface]()
    block_type_raw = _PCAPNG_MAGIC
    while block_type_raw:
        if len(block_type_raw) < 4:
            raise _BrokenFileError("truncated")
        if block_type_raw == _PCAPNG_MAGIC:
            size_raw, order_raw = struct.unpack("4s4s", _exactly(file, 8))
            if order_raw not in _BYTE_ORDER_MAGIC:
                raise _BrokenFileError("a section header without a byte order")
            order, interfaces = _BYTE_ORDER_MAGIC[order_raw], []
            block_type, read = _SHB, 12
        else:
            size_raw = _exactly(file, 4)
            (block_type,) = struct.unpack(order + "I", block_type_raw)
            read = 8
        (size,) = struct.unpack(order + "I", size_raw)
        if not read + 4 <= size <= RECORD_MAX or size % 4:
            raise _BrokenFileError(f"a block of {size} bytes")
        body = _exactly(file, size - read)
        if body[-4:] != size_raw:
            raise _BrokenFileError("a block whose two lengths differ")
        frame = _pcapng_block(order, block_type, body[:-4], interfaces)
        if frame is not None:
            yield frame
        block_type_raw = file.read(4)


def _pcapng_block(
    order: str, block_type: int, body: bytes, interfaces: list[_Interface]
) -> _Frame | None:
    """Decode one block: a frame, or None if it has none. Interfaces are added to the list."""
    try:
        if block_type == _SHB:
            major, minor = struct.unpack_from(order + "HH", body)
            if major != 1:
                raise _BrokenFileError(f"a section of version {major}.{minor}, not 1.x,")
        elif block_type == _IDB:
            interfaces.append(_interface(order, body))
        elif block_type == _SPB:
            (wire_size,) = struct.unpack_from(order + "I", body)
            size = min(wire_size, interfaces[0].snaplen or wire_size)
            return _Frame(interfaces[0].link, _slice(body, 4, size), wire_size, None)
        elif block_type in (_EPB, _PB):
            # The obsolete PB differs in the interface's 16 bits; the rest counts drops.
            fields = "IIIII" if block_type == _EPB else "H2xIIII"
            number, high, low, size, wire_size = struct.unpack_from(order + fields, body)
            interface = interfaces[number]
            time_ns = interface.time_ns(high, low)
            return _Frame(interface.link, _slice(body, 20, size), wire_size, time_ns)
    except struct.error:
        raise _BrokenFileError("a block too short for its type") from None
    except IndexError:
        raise _BrokenFileError("a packet of an interface that was not described") from None
    return None


def _slice(body: bytes, start: int, size: int) -> bytes:
    if start + size > len(body):
        raise _BrokenFileError("a packet longer than its block")
    return body[start : start + size]


def _interface(order: str, body: bytes) -> _Interface:
    link, snaplen = struct.unpack_from(order + "H2xI", body)
    ticks_per_second, offset_s = 10**6, 0
    at = 8
    while at + 4 <= len(body):
        code, size = struct.unpack_from(order + "HH", body, at)
        value = body[at + 4 : at + 4 + size]
        if code == 0:
            break
        if code == _IF_TSRESOL and len(value) == 1:
            ticks_per_second = (2 if value[0] & 0x80 else 10) ** (value[0] & 0x7F)
        elif code == _IF_TSOFFSET and len(value) == 8:
            (offset_s,) = struct.unpack(order + "q", value)
        at += 4 + (size + 3 & ~3)
    return _Interface(link, snaplen, ticks_per_second, offset_s)


# ---- Layers of a frame -----------------------------------------------------------------------


class _Datagram(NamedTuple):
    src: bytes  #: packed, 4 or 16 bytes
    dst: bytes
    sport: int
    dport: int
    proto: Literal["tcp", "udp"]
    payload: bytes  #: what is there of it, at least a byte
    wire_size: int  #: bytes of payload according to the headers


#: Why a frame gives no packet: the name of the count in PcapSummary.
_Skip = Literal["no_payload", "later_fragments", "not_tcp_udp", "unknown_link", "damaged"]

_ETHERTYPE_VERSION = {0x0800: 4, 0x86DD: 6}
_ETHERTYPE_VLAN = frozenset({0x8100, 0x88A8, 0x9100, 0x9200})
_FAMILY_VERSION = {2: 4, 10: 6, 24: 6, 28: 6, 30: 6}  #: AF_INET, and AF_INET6 of many systems


def _by_ethertype(data: bytes, at: int, start: int) -> tuple[int, int]:
    """Return (IP version or 0, where IP starts); the type is at ``at``, its data at ``start``."""
    ethertype = int.from_bytes(data[at : at + 2], "big")
    while ethertype in _ETHERTYPE_VLAN and start + 4 <= len(data):
        ethertype = int.from_bytes(data[start + 2 : start + 4], "big")
        start += 4
    return _ETHERTYPE_VERSION.get(ethertype, 0), start


def _by_family(data: bytes) -> tuple[int, int]:
    """BSD loopback: the address family in the byte order of the machine that captured."""
    number = int.from_bytes(data[:4], "big")
    if number > 0xFFFF:
        number = int.from_bytes(data[:4], "little")
    return _FAMILY_VERSION.get(number, 0), 4


def _by_version(data: bytes) -> tuple[int, int]:
    return data[0] >> 4, 0


#: LINKTYPE_ number: size of the link header, and what finds IP behind it.
#: Source: https://www.tcpdump.org/linktypes.html
_LINKS: dict[int, tuple[int, Callable[[bytes], tuple[int, int]]]] = {
    0: (4, _by_family),  # NULL: BSD loopback
    108: (4, _by_family),  # LOOP: OpenBSD loopback
    1: (14, lambda data: _by_ethertype(data, 12, 14)),  # ETHERNET
    113: (16, lambda data: _by_ethertype(data, 14, 16)),  # LINUX_SLL
    276: (20, lambda data: _by_ethertype(data, 0, 20)),  # LINUX_SLL2
    101: (0, _by_version),  # RAW
    12: (0, _by_version),  # RAW as some systems wrote it
    14: (0, _by_version),
    228: (0, _by_version),  # IPV4
    229: (0, _by_version),  # IPV6
}


#: Others that captures have, so that they are named.
_LINK_NAMES = {
    9: "PPP",
    105: "IEEE802_11",
    119: "IEEE802_11_PRISM",
    127: "IEEE802_11_RADIOTAP",
    147: "USER0",
    149: "USER2",
    163: "IEEE802_11_AVS",
    187: "BLUETOOTH_HCI_H4",
    189: "USB_LINUX",
    192: "PPI",
    195: "IEEE802_15_4_WITHFCS",
    201: "BLUETOOTH_HCI_H4_WITH_PHDR",
    220: "USB_LINUX_MMAPPED",
    227: "CAN_SOCKETCAN",
    239: "NFLOG",
    249: "USBPCAP",
    253: "NETLINK",
}


def _datagram(frame: _Frame) -> _Datagram | _Skip:
    """Find the TCP or UDP payload of a frame, or tell why there is none."""
    if frame.link not in _LINKS:
        return "unknown_link"
    header_size, find_ip = _LINKS[frame.link]
    if len(frame.data) <= header_size:
        return "damaged"
    version, start = find_ip(frame.data)
    if version not in (4, 6):
        return "not_tcp_udp"
    data = frame.data[start:]
    if not data or data[0] >> 4 != version:
        return "damaged"
    # An IP length of 0 stands for one above 65535 (segments not yet cut); the frame tells then.
    size = max(frame.wire_size - start, len(data))
    return _inside_ip4(data, size) if version == 4 else _inside_ip6(data, size)


_TCP, _UDP = 6, 17  #: IP protocol numbers
_FRAGMENT, _AUTHENTICATION = 44, 51
#: IPv6 extension headers: hop-by-hop, routing, destination options, mobility, HIP, Shim6, too.
_EXTENSIONS = frozenset({0, 43, _FRAGMENT, _AUTHENTICATION, 60, 135, 139, 140})
_EXTENSIONS_MAX = 16  #: headers of one packet that are followed; real ones have up to four


def _inside_ip4(data: bytes, size: int) -> _Datagram | _Skip:
    if len(data) < 20:
        return "damaged"
    total, fragment, number = struct.unpack_from("!2xH2xHxB", data)
    start = 4 * (data[0] & 0xF)
    if start < 20:
        return "damaged"
    if fragment & 0x1FFF:
        return "later_fragments"
    return _inside_transport(data[12:16], data[16:20], number, data, start, total or size)


def _inside_ip6(data: bytes, size: int) -> _Datagram | _Skip:
    if len(data) < 40:
        return "damaged"
    payload_size, number = struct.unpack_from("!4xHB", data)
    start = 40
    for _ in range(_EXTENSIONS_MAX):
        if number not in _EXTENSIONS:
            end = 40 + payload_size if payload_size else size
            return _inside_transport(data[8:24], data[24:40], number, data, start, end)
        if start + 8 > len(data):
            return "damaged"
        following, words, fragment = struct.unpack_from("!BBH", data, start)
        if number == _FRAGMENT:
            if fragment & 0xFFF8:
                return "later_fragments"
            start += 8
        else:
            start += 4 * (words + 2) if number == _AUTHENTICATION else 8 * (words + 1)
        number = following
    return "damaged"


def _inside_transport(
    src: bytes, dst: bytes, number: int, data: bytes, start: int, end: int
) -> _Datagram | _Skip:
    """Cut the payload out; TCP or UDP was in ``data`` from ``start`` to ``end`` on the wire."""
    proto: Literal["tcp", "udp"]
    if number == _TCP:
        if start + 20 > len(data):
            return "damaged"
        sport, dport, offset = struct.unpack_from("!HH8xB", data, start)
        proto, header_size = "tcp", 4 * (offset >> 4)
        if header_size < 20:
            return "damaged"
    elif number == _UDP:
        if start + 8 > len(data):
            return "damaged"
        sport, dport, udp_size = struct.unpack_from("!HHH", data, start)
        proto, header_size = "udp", 8
        # Bytes behind the UDP length are no payload; 0 stands for a length above 65535.
        end = min(end, start + udp_size) if udp_size else end
    else:
        return "not_tcp_udp"
    start += header_size
    if start == end:
        return "no_payload"
    payload = data[start:end] if start < end else b""
    if not payload:
        return "damaged"
    return _Datagram(src, dst, sport, dport, proto, payload, end - start)
