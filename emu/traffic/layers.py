"""Layers of a frame: from the link header to the payload of TCP or UDP, or to why there is none."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Literal, NamedTuple

from emu.traffic.records import Frame


class Datagram(NamedTuple):
    src: bytes  #: packed, 4 or 16 bytes
    dst: bytes
    sport: int
    dport: int
    proto: Literal["tcp", "udp"]
    payload: bytes  #: what is there of it, at least a byte
    wire_size: int  #: bytes of payload according to the headers


#: Why a frame gives no packet: the name of the count in PcapSummary.
Skip = Literal[
    "no_payload",
    "later_fragments",
    "tunnels",
    "not_tcp_udp",
    "unknown_link",
    "cut_off",
    "damaged",
]

_TUNNEL = -1  #: in the place of an IP version
#: IP; and what carries frames or IP inside: TEB, MPLS, PPPoE, ERSPAN, PBB, NSH.
_ETHERTYPE_VERSION = {
    0x0800: 4,
    0x86DD: 6,
    **dict.fromkeys((0x6558, 0x8847, 0x8848, 0x8864, 0x88BE, 0x88E7, 0x894F), _TUNNEL),
}
_ETHERTYPE_VLAN = frozenset({0x8100, 0x88A8, 0x9100, 0x9200})
_FAMILY_VERSION = {2: 4, 10: 6, 24: 6, 28: 6, 30: 6}  #: AF_INET, and AF_INET6 of many systems


def _by_ethertype(data: bytes, at: int, start: int) -> tuple[int, int]:
    """Return (IP version, _TUNNEL or 0, where it starts): the type is at ``at``."""
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
LINK_NAMES = {
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


def find_datagram(frame: Frame) -> Datagram | Skip:
    """Find the TCP or UDP payload of a frame, or tell why there is none."""
    found = _find(frame)
    # What was cut off before its payload makes no sense either, but not by its own fault.
    return "cut_off" if found == "damaged" and len(frame.data) < frame.wire_size else found


def _find(frame: Frame) -> Datagram | Skip:
    if frame.link not in _LINKS:
        return "unknown_link"
    header_size, find_ip = _LINKS[frame.link]
    if len(frame.data) <= header_size:
        return "damaged"
    version, start = find_ip(frame.data)
    if version == _TUNNEL:
        return "tunnels"
    if version not in (4, 6):
        return "not_tcp_udp"
    data = frame.data[start:]
    if not data or data[0] >> 4 != version:
        return "damaged"
    # An IP length of 0 stands for one above 65535 (segments not yet cut); the frame tells then.
    size = max(frame.wire_size - start, len(data))
    return _inside_ip4(data, size) if version == 4 else _inside_ip6(data, size)


_TCP, _UDP = 6, 17  #: IP protocol numbers
#: IP in IP, IPv6, GRE, ESP, Ethernet, L2TP, MPLS and NSH inside: nothing that can be read as it is.
_TUNNELS = frozenset({4, 41, 47, 50, 97, 115, 137, 145})
_FRAGMENT, _AUTHENTICATION = 44, 51
#: IPv6 extension headers: hop-by-hop, routing, destination options, mobility, HIP, Shim6, too.
_EXTENSIONS = frozenset({0, 43, _FRAGMENT, _AUTHENTICATION, 60, 135, 139, 140})
_EXTENSIONS_MAX = 16  #: headers of one packet that are followed; real ones have up to four


def _inside_ip4(data: bytes, size: int) -> Datagram | Skip:
    if len(data) < 20:
        return "damaged"
    total, fragment, number = struct.unpack_from("!2xH2xHxB", data)
    start = 4 * (data[0] & 0xF)
    if start < 20:
        return "damaged"
    if fragment & 0x1FFF:
        return "later_fragments"
    return _inside_transport(data[12:16], data[16:20], number, data, start, total or size)


def _inside_ip6(data: bytes, size: int) -> Datagram | Skip:
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
) -> Datagram | Skip:
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
        return "tunnels" if number in _TUNNELS else "not_tcp_udp"
    start += header_size
    if start == end:
        return "no_payload"
    payload = data[start:end] if start < end else b""
    if not payload:
        return "damaged"
    return Datagram(src, dst, sport, dport, proto, payload, end - start)
