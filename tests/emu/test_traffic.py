"""Traffic sources: the SOURCE text, made-up packets, and packets of capture files."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import hashlib
import http.client
import io
import json
import lzma
import os
import random
import re
import socket
import struct
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import dpkt  # type: ignore[import-untyped,unused-ignore]
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emu.errors import StateError, TrafficError
from emu.traffic import (
    Flow,
    Packet,
    PcapSource,
    PcapSummary,
    TcpSource,
    parse_source,
)

DATA = Path(__file__).parents[1] / "data"
FLOW = Flow("10.0.0.1", "10.0.0.2", 1000, 80, "tcp")


def packets_of(text: str, seed: int = 1) -> list[Packet]:
    source = parse_source(text)
    assert not isinstance(source, TcpSource)
    assert source.label == text
    return list(source.packets(seed))


def error_of(text: str) -> str:
    """Parse and read a source that must fail; return its message, checked to be one line."""
    with pytest.raises(TrafficError) as caught:
        packets_of(text)
    message = str(caught.value)
    assert message.startswith("traffic: ")
    assert message.isprintable(), "one line, and nothing that a terminal would obey"
    return message


# ---- Flows, packets and the SOURCE text --------------------------------------------------------

RSS_KEY = bytes.fromhex(
    "6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa"
)


def toeplitz(data: bytes) -> int:
    key, result = int.from_bytes(RSS_KEY, "big"), 0
    for bit in range(8 * len(data)):
        if data[bit // 8] & (0x80 >> bit % 8):
            result ^= key >> (8 * len(RSS_KEY) - 32 - bit)
    return result & 0xFFFFFFFF


@pytest.mark.parametrize(
    ("flow", "size", "expected"),
    [
        (Flow("66.9.149.187", "161.142.100.80", 2794, 1766, "tcp"), 12, 0x51CCC178),
        (Flow("3ffe:2501:200:1fff::7", "3ffe:2501:200:3::1", 2794, 1766, "tcp"), 36, 0x40207D3D),
    ],
)
def test_rss_input_gives_the_published_hashes(flow: Flow, size: int, expected: int) -> None:
    """The verification vectors that Microsoft publishes for RSS, with its key."""
    assert len(flow.rss_input()) == size
    assert toeplitz(flow.rss_input()) == expected


def test_reversed_flow_swaps_both_ends() -> None:
    assert FLOW.reversed() == Flow("10.0.0.2", "10.0.0.1", 80, 1000, "tcp")
    assert FLOW.reversed().reversed() == FLOW


@pytest.mark.parametrize(
    "change",
    [{"src": "host"}, {"dst": "::1"}, {"sport": -1}, {"dport": 65536}, {"proto": "icmp"}],
    ids=str,
)
def test_flow_that_cannot_be_is_rejected(change: dict[str, Any]) -> None:
    values: dict[str, Any] = {
        "src": "10.0.0.1",
        "dst": "10.0.0.2",
        "sport": 1,
        "dport": 2,
        "proto": "tcp",
    }
    with pytest.raises(TrafficError):
        Flow(**(values | change))


@pytest.mark.parametrize(("size", "time_ns"), [(0, 0), (65537, 0), (1, -1), (1, 2**63)])
def test_packet_out_of_bounds_is_rejected(size: int, time_ns: int) -> None:
    with pytest.raises(TrafficError):
        Packet(FLOW, bytes(size), time_ns)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("tcp:127.0.0.1:8080", "127.0.0.1", 8080),
        ("tcp:[::1]:0", "::1", 0),
        ("tcp:[fe80::1%lo]:65535", "fe80::1%lo", 65535),
        ("tcp:localhost:1", "localhost", 1),
        ("tcp:a_b.example.org.:1", "a_b.example.org.", 1),
    ],
)
def test_tcp_source_is_parsed_and_keeps_its_label(text: str, host: str, port: int) -> None:
    source = parse_source(text)
    assert source == TcpSource(host, port)
    assert source.label == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tcp", "incomplete"),
        ("tcp:", "port ''"),
        ("tcp:host", "port 'host'"),
        ("tcp::80", "no host"),
        ("tcp:h:65536", "0 to 65535"),
        ("tcp:h:-1", "port '-1'"),
        ("tcp:h:+1", "port '+1'"),
        ("tcp:h:1_0", "port '1_0'"),
        ("tcp:h:\N{ARABIC-INDIC DIGIT ONE}", "PORT 0 to 65535"),
        ("tcp:::1:80", "tcp:[::1]:8080"),
        ("tcp:[127.0.0.1]:80", "an IPv6 address in brackets"),
        ("tcp:a b:80", "no host"),
        ("tcp:a\nb:80", "no host"),
        ("tcp:-a:80", "no host"),
        ("", "unknown source"),
        ("pcap", "incomplete"),
        ("pcap:", "incomplete"),
        ("synthetc", "did you mean 'synthetic'?"),
        ("syntetic:flows=1", "did you mean 'synthetic'?"),
        ("/tmp/x.pcapng", "did you mean 'pcap:/tmp/x.pcapng'?"),
        ("Synthetic", "did you mean 'synthetic'?"),
        ("quic:x", "synthetic[:KEY=VALUE,...], pcap:FILE or tcp:HOST:PORT"),
    ],
)
def test_wrong_source_is_named_with_what_is_allowed(text: str, says: str) -> None:
    assert says in error_of(text)


# ---- Synthetic ---------------------------------------------------------------------------------


def streams(packets: Iterable[Packet]) -> dict[Flow, bytes]:
    result: defaultdict[Flow, bytes] = defaultdict(bytes)
    for packet in packets:
        result[packet.flow] += packet.payload
    return dict(result)


def digest(packets: Iterable[Packet]) -> str:
    return hashlib.sha256(repr(list(packets)).encode()).hexdigest()


def test_default_mix_has_tiny_and_huge_payloads_of_all_flows() -> None:
    packets = packets_of("synthetic")
    sizes = [len(packet.payload) for packet in packets]
    assert len(packets) == 4096
    assert len({packet.flow for packet in packets}) == 64
    assert {packet.flow.proto for packet in packets} == {"tcp", "udp"}
    assert {len(packet.flow.rss_input()) for packet in packets} == {12, 36}
    assert min(sizes) < 8
    assert max(sizes) > 60000
    assert {packet.time_ns for packet in packets} == {0}


def test_mix_of_few_flows_has_both_transports_and_the_most_flows_have_ports() -> None:
    protos = {packet.flow.proto for packet in packets_of("synthetic:flows=3,packets=500")}
    assert protos == {"tcp", "udp"}
    assert packets_of("synthetic:flows=65536,packets=10")


@pytest.mark.parametrize("kind", ["mix", "http", "json", "logs", "raw"])
def test_same_seed_gives_the_same_packets_and_another_seed_does_not(kind: str) -> None:
    text = f"synthetic:packets=300,kind={kind}"
    assert packets_of(text, 7) == packets_of(text, 7)
    assert packets_of(text, 7) != packets_of(text, 8)
    assert packets_of(text, 7) != packets_of(text, -7)


def test_packets_do_not_depend_on_the_process() -> None:
    """String hashes differ from process to process: no set may decide an order."""
    script = (
        "from emu.traffic import parse_source; import hashlib;"
        "packets = list(parse_source('synthetic:packets=500').packets(3));"
        "print(hashlib.sha256(repr(packets).encode()).hexdigest())"
    )
    found = {digest(packets_of("synthetic:packets=500", 3))}
    for hash_seed in ("1", "2"):
        environment = {
            **os.environ,
            "PYTHONHASHSEED": hash_seed,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        found.add(
            subprocess.run(
                [sys.executable, "-c", script],
                env=environment,
                check=True,
                capture_output=True,
                text=True,
                timeout=60,
            ).stdout.strip()
        )
    assert len(found) == 1


def test_default_source_is_made_fast() -> None:
    """Calls are counted, not seconds: a busy machine makes no more of them."""
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        packets = len(packets_of("synthetic", 1))
    finally:
        sys.setprofile(None)
    print(f"{calls} calls for {packets} packets")
    assert calls < 400 * packets


class _Unclosed(io.BytesIO):
    """What http.client takes for a socket; it stays open for the next response."""

    def makefile(self, mode: str) -> io.BytesIO:
        return self

    def close(self) -> None:
        pass


def read_responses(stream: bytes) -> list[tuple[int, bytes]]:
    """Return status and body of the responses one after the other; the last may be cut off."""
    file, responses = _Unclosed(stream), list[tuple[int, bytes]]()
    while b"\r\n\r\n" in stream[file.tell() :]:
        response = http.client.HTTPResponse(file, method="GET")  # type: ignore[arg-type]
        response.begin()
        try:
            body = response.read()
        except http.client.IncompleteRead:
            break
        if "json" in response.headers.get("Content-Type", ""):
            json.loads(body)
        responses.append((response.status, body))
    return responses


def read_requests(stream: bytes) -> Counter[str]:
    rest, methods = stream, Counter[str]()
    while b"\r\n\r\n" in rest:
        file = io.BytesIO(rest)
        line = file.readline()
        match = re.fullmatch(rb"(GET|POST) (/[!-~]*) HTTP/1\.1\r\n", line)
        assert match, line
        headers = http.client.parse_headers(file)
        assert not headers.defects
        assert re.fullmatch(r"[a-z0-9.-]+:\d+", headers["Host"])
        size = int(headers.get("Content-Length", 0))
        body = file.read(size)
        if len(body) < size:
            break
        if size:
            json.loads(body)
        methods[match[1].decode()] += 1
        rest = file.read()
    return methods


@pytest.mark.parametrize("options", ["", ",size=1448", ",size=7"])
def test_http_streams_are_valid_requests_and_responses(options: str) -> None:
    packets = packets_of(f"synthetic:kind=http,flows=8,packets=6000{options}")
    statuses, methods = Counter[int](), Counter[str]()
    for flow, stream in streams(packets).items():
        assert flow.proto == "tcp"
        if flow.dport < flow.sport:
            methods += read_requests(stream)
        else:
            statuses += Counter(status for status, _ in read_responses(stream))
    assert statuses[200]
    assert methods["GET"]
    if options != ",size=7":
        assert statuses.keys() == {200, 201, 204, 404, 500}
        assert methods.keys() == {"GET", "POST"}


def test_http_response_comes_on_the_reverse_flow_in_segments() -> None:
    packets = packets_of("synthetic:kind=http,flows=2,packets=500")
    assert max(len(packet.payload) for packet in packets) == 1448
    request = packets[0].flow
    assert {packet.flow for packet in packets} == {request, request.reversed()}


def test_odd_flow_out_carries_requests_only() -> None:
    (stream,) = streams(packets_of("synthetic:kind=http,flows=1,packets=100")).values()
    assert read_requests(stream)


def test_each_json_payload_is_a_document() -> None:
    sizes = []
    for packet in packets_of("synthetic:kind=json,packets=500"):
        assert json.loads(packet.payload)["records"][0]["email"].count("@") == 1
        sizes.append(len(packet.payload))
    assert min(sizes) < 1000
    assert max(sizes) > 30000


def test_each_log_payload_is_lines_in_order_of_time() -> None:
    form = re.compile(r"<\d{1,3}>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ) [a-z0-9.-]+ app \d+ - - .+")
    for packet in packets_of("synthetic:kind=logs,packets=500"):
        assert packet.flow.proto == "udp"
        lines = packet.payload.decode().split("\n")
        assert lines.pop() == ""
        times = [match[1] for line in lines if (match := form.fullmatch(line))]
        assert len(times) == len(lines)
        assert times == sorted(times)


@pytest.mark.parametrize("kind", ["mix", "http", "json", "logs", "raw"])
@pytest.mark.parametrize("size", [1, 100, 1448, 65536])
def test_fixed_size_holds_for_every_payload(kind: str, size: int) -> None:
    packets = packets_of(f"synthetic:size={size},kind={kind},packets=50,flows=3")
    assert [len(packet.payload) for packet in packets] == [size] * 50


def test_raw_sizes_stay_in_their_range_and_reach_its_ends() -> None:
    packets = packets_of("synthetic:kind=raw,size=3-40,packets=2000")
    assert {len(packet.payload) for packet in packets} == set(range(3, 41))


def test_pps_spaces_the_times() -> None:
    times = [packet.time_ns for packet in packets_of("synthetic:pps=3,packets=7")]
    assert times == [0, 333333333, 666666666, 10**9, 1333333333, 1666666666, 2 * 10**9]
    assert packets_of("synthetic:pps=1,packets=1")[0].time_ns == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("synthetic:", "unknown key ''"),
        ("synthetic:flow=3", "did you mean 'flows'?"),
        ("synthetic:colour=3", "keys are flows, packets, kind, size, pps"),
        ("synthetic:flows", "each KEY=VALUE once"),
        ("synthetic:flows=1,flows=2", "each KEY=VALUE once"),
        ("synthetic:flows=1,", "unknown key ''"),
        ("synthetic:flows=0", "flows 0; 1 to 65536"),
        ("synthetic:flows=65537", "1 to 65536"),
        ("synthetic:flows=-1", "a positive number"),
        ("synthetic:flows=1_0", "a positive number"),
        ("synthetic:flows= 1", "a positive number"),
        ("synthetic:packets=0", "1 to 1000000"),
        ("synthetic:packets=1e3", "a positive number"),
        ("synthetic:packets=" + "9" * 5000, "a positive number"),
        ("synthetic:pps=0", "1 to 1000000000"),
        ("synthetic:size=0", "1 to 65536"),
        ("synthetic:size=65537", "1 to 65536"),
        ("synthetic:size=9-3,kind=raw", "MIN at most MAX"),
        ("synthetic:size=3-,kind=raw", "a positive number"),
        ("synthetic:size=3-9", "a range with kind=raw"),
        ("synthetic:size=3-9,kind=http", "a range with kind=raw"),
        ("synthetic:kind=htpp", "did you mean 'http'?"),
        ("synthetic:kind=x\ny", "kinds are mix, http, json, logs, raw"),
    ],
)
def test_wrong_synthetic_option_is_named_with_what_is_allowed(text: str, says: str) -> None:
    assert says in error_of(text)


# ---- Capture files: frames and files made here -------------------------------------------------

SRC4, DST4 = b"\x0a\0\0\1", b"\x0a\0\0\2"
SRC6, DST6 = (
    socket.inet_pton(socket.AF_INET6, "fd00::1"),
    socket.inet_pton(socket.AF_INET6, "fd00::2"),
)


def tcp(payload: bytes = b"payload", options: bytes = b"") -> bytes:
    words = 5 + len(options) // 4
    return struct.pack("!HHIIBBHHH", 1000, 80, 1, 1, words << 4, 24, 9, 0, 0) + options + payload


def udp(payload: bytes = b"payload", size: int | None = None) -> bytes:
    return struct.pack("!HHHH", 1000, 80, 8 + len(payload) if size is None else size, 0) + payload


def ip4(
    data: bytes, proto: int = 6, *, size: int | None = None, fragment: int = 0, options: bytes = b""
) -> bytes:
    header_size = 20 + len(options)
    size = header_size + len(data) if size is None else size
    first = 0x40 | header_size // 4
    header = struct.pack("!BBHHHBBH4s4s", first, 0, size, 1, fragment, 64, proto, 0, SRC4, DST4)
    return header + options + data


def ip6(data: bytes, following: int = 6, *, size: int | None = None) -> bytes:
    size = len(data) if size is None else size
    return struct.pack("!IHBB16s16s", 6 << 28, size, following, 64, SRC6, DST6) + data


def hop_by_hop(following: int) -> bytes:
    return bytes([following, 0, 1, 4, 0, 0, 0, 0])


def fragment6(following: int, offset: int) -> bytes:
    return struct.pack("!BBHI", following, 0, offset << 3 | 1, 7)


def ether(data: bytes, kind: int = 0x0800, tags: Iterable[int] = ()) -> bytes:
    vlan = b"".join(struct.pack("!HH", tag, 5) for tag in tags)
    return bytes(12) + vlan + struct.pack("!H", kind) + data


def pcap(
    *frames: bytes,
    link: int = 1,
    order: str = "<",
    nano: bool = False,
    times: Iterable[tuple[int, int]] | None = None,
    wire_size: int | None = None,
) -> bytes:
    magic = 0xA1B23C4D if nano else 0xA1B2C3D4
    out = struct.pack(order + "IHHIIII", magic, 2, 4, 0, 0, 262144, link)
    for frame, (seconds, ticks) in zip(frames, times or [(1, 0)] * len(frames), strict=True):
        wire = len(frame) if wire_size is None else wire_size
        out += struct.pack(order + "IIII", seconds, ticks, len(frame), wire) + frame
    return out


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    size = struct.pack(order + "I", 12 + len(body) + -len(body) % 4)
    return struct.pack(order + "I", kind) + size + body + bytes(-len(body) % 4) + size


def section(order: str = "<", major: int = 1) -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, major, 0, -1), order)


def interface(link: int = 1, options: bytes = b"", order: str = "<", snaplen: int = 0) -> bytes:
    return block(1, struct.pack(order + "HHI", link, 0, snaplen) + options, order)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def enhanced(frame: bytes, ticks: int = 0, number: int = 0, order: str = "<") -> bytes:
    head = struct.pack(
        order + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame)
    )
    return block(6, head + frame, order)


TCP4 = ether(ip4(tcp()))


Read = Callable[[bytes], tuple[list[Packet], PcapSummary]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read a capture that is given as bytes; check what holds for every capture."""

    def read_bytes(data: bytes) -> tuple[list[Packet], PcapSummary]:
        path = tmp_path / "capture"
        path.write_bytes(data)
        return checked(PcapSource(str(path)))

    return read_bytes


def checked(source: PcapSource) -> tuple[list[Packet], PcapSummary]:
    packets, summary = list(source.packets(1)), source.summary
    assert summary.frames == (
        summary.frames_used
        + summary.no_payload
        + summary.later_fragments
        + summary.tunnels
        + summary.not_tcp_udp
        + summary.unknown_link
        + summary.cut_off
        + summary.damaged
    )
    assert summary.packets == len(packets) >= 1
    assert summary.payload_bytes == sum(len(packet.payload) for packet in packets)
    assert summary.flows == len({packet.flow for packet in packets})
    assert packets[0].time_ns == 0
    assert all(a.time_ns <= b.time_ns for a, b in pairwise(packets))
    return packets, summary


FLOW4 = FLOW
FLOW6 = Flow("fd00::1", "fd00::2", 1000, 80, "tcp")


@pytest.mark.parametrize(
    ("link", "frame"),
    [
        pytest.param(1, TCP4, id="Ethernet"),
        pytest.param(1, ether(ip4(tcp()), tags=[0x8100]), id="VLAN"),
        pytest.param(1, ether(ip4(tcp()), tags=[0x88A8, 0x8100]), id="QinQ"),
        pytest.param(1, ether(ip4(tcp()), tags=[0x9100, 0x9200, 0x8100]), id="three tags"),
        pytest.param(1, ether(ip4(tcp(b"payload")) + bytes(13)), id="padded to 60 bytes"),
        pytest.param(1 | 0x2400_0000, TCP4 + bytes(4), id="with frame check sequence"),
        pytest.param(1, ether(ip4(tcp(options=bytes(12)))), id="TCP options"),
        pytest.param(1, ether(ip4(tcp(), options=bytes(40))), id="IP options"),
        pytest.param(1, ether(ip4(tcp(), fragment=0x4000)), id="do not fragment"),
        pytest.param(1, ether(ip4(tcp(), fragment=0x2000)), id="first fragment"),
        pytest.param(1, ether(ip4(tcp(), size=0)), id="length 0: not yet segmented"),
        pytest.param(101, ip4(tcp()), id="raw"),
        pytest.param(12, ip4(tcp()), id="raw, as BSD wrote it"),
        pytest.param(14, ip4(tcp()), id="raw, as OpenBSD wrote it"),
        pytest.param(228, ip4(tcp()), id="IPv4"),
        pytest.param(0, b"\2\0\0\0" + ip4(tcp()), id="null, little-endian"),
        pytest.param(0, b"\0\0\0\2" + ip4(tcp()), id="null, big-endian"),
        pytest.param(108, b"\0\0\0\2" + ip4(tcp()), id="loop"),
        pytest.param(113, bytes(14) + b"\x08\0" + ip4(tcp()), id="cooked"),
        pytest.param(113, bytes(14) + b"\x81\0\0\5\x08\0" + ip4(tcp()), id="cooked, VLAN"),
        pytest.param(276, b"\x08\0" + bytes(18) + ip4(tcp()), id="cooked v2"),
    ],
)
def test_ipv4_is_found_in_every_link_type(read: Read, link: int, frame: bytes) -> None:
    packets, _ = read(pcap(frame, link=link))
    assert packets == [Packet(FLOW4, b"payload", 0)]


@pytest.mark.parametrize(
    ("link", "frame"),
    [
        pytest.param(1, ether(ip6(tcp()), 0x86DD), id="Ethernet"),
        pytest.param(1, ether(ip6(tcp()) + bytes(9), 0x86DD), id="padded"),
        pytest.param(1, ether(ip6(hop_by_hop(6) + tcp(), 0), 0x86DD), id="hop by hop"),
        pytest.param(
            1, ether(ip6(hop_by_hop(60) + hop_by_hop(6) + tcp(), 0), 0x86DD), id="two headers"
        ),
        pytest.param(1, ether(ip6(fragment6(6, 0) + tcp(), 44), 0x86DD), id="first fragment"),
        pytest.param(
            1,
            ether(ip6(fragment6(60, 0) + hop_by_hop(6) + tcp(), 44), 0x86DD),
            id="first fragment, options",
        ),
        pytest.param(
            1, ether(ip6(bytes([6, 4]) + bytes(22) + tcp(), 51), 0x86DD), id="authentication"
        ),
        pytest.param(1, ether(ip6(tcp(), size=0), 0x86DD), id="length 0: jumbo"),
        pytest.param(101, ip6(tcp()), id="raw"),
        pytest.param(229, ip6(tcp()), id="IPv6"),
        pytest.param(0, struct.pack("<I", 30) + ip6(tcp()), id="null of macOS"),
        pytest.param(0, struct.pack("<I", 28) + ip6(tcp()), id="null of FreeBSD"),
        pytest.param(0, struct.pack(">I", 24) + ip6(tcp()), id="null of NetBSD"),
        pytest.param(0, struct.pack("<I", 10) + ip6(tcp()), id="null of Linux"),
        pytest.param(113, bytes(14) + b"\x86\xdd" + ip6(tcp()), id="cooked"),
        pytest.param(276, b"\x86\xdd" + bytes(18) + ip6(tcp()), id="cooked v2"),
    ],
)
def test_ipv6_is_found_in_every_link_type(read: Read, link: int, frame: bytes) -> None:
    packets, _ = read(pcap(frame, link=link))
    assert packets == [Packet(FLOW6, b"payload", 0)]


@pytest.mark.parametrize("number", [0, 43, 60, 135, 139, 140])
def test_ipv6_extension_header_is_passed_over(read: Read, number: int) -> None:
    packets, _ = read(pcap(ip6(hop_by_hop(6) + tcp(), number), link=101))
    assert packets == [Packet(FLOW6, b"payload", 0)]


@pytest.mark.parametrize(
    ("link", "frame"),
    [
        (1, ether(ip4(tcp(options=bytes(8)), options=bytes(8)), tags=[0x88A8, 0x8100])),
        (1, ether(ip6(hop_by_hop(44) + fragment6(17, 0) + udp(), 0), 0x86DD)),
        (0, b"\2\0\0\0" + ip4(udp(), 17)),
        (113, bytes(14) + b"\x86\xdd" + ip6(tcp())),
        (276, b"\x08\0" + bytes(18) + ip4(tcp())),
        (101, ip6(bytes([6, 4]) + bytes(22) + tcp(), 51)),
    ],
)
def test_frame_cut_anywhere_gives_what_is_there_of_its_payload(
    read: Read, link: int, frame: bytes
) -> None:
    whole = section() + interface(link) + enhanced(frame)
    for size in range(len(frame)):
        packets, summary = read(whole + enhanced(frame[:size]))
        there = size - (len(frame) - len(b"payload"))
        if there > 0:
            assert packets[1].payload == b"payload"[:there]
            assert summary.shortened == 1
        else:
            assert summary.packets == summary.damaged + summary.not_tcp_udp == 1


def test_udp_payload_ends_where_the_udp_length_says(read: Read) -> None:
    frames = [ip4(udp(), 17), ip4(udp(size=12), 17), ip6(udp(size=0), 17), ip6(udp(size=99), 17)]
    packets, _ = read(pcap(*frames, link=101))
    assert [packet.payload for packet in packets] == [b"payload", b"payl", b"payload", b"payload"]
    assert {packet.flow.proto for packet in packets} == {"udp"}


@pytest.mark.parametrize(
    ("count", "frame"),
    [
        ("no_payload", ether(ip4(tcp(b"")) + bytes(6))),
        ("no_payload", ether(ip4(udp(b""), 17) + bytes(18))),
        ("no_payload", ether(ip6(tcp(b"")), 0x86DD)),
        ("no_payload", ether(ip6(udp(b""), 17), 0x86DD)),
        ("later_fragments", ether(ip4(tcp(), fragment=0x2000 | 5))),
        ("later_fragments", ether(ip6(fragment6(6, 5) + tcp(), 44), 0x86DD)),
        ("later_fragments", ether(ip6(hop_by_hop(44) + fragment6(6, 5) + tcp(), 0), 0x86DD)),
        ("not_tcp_udp", ether(ip4(b"\x08" * 60, 1))),
        ("not_tcp_udp", ether(ip6(b"\x08" * 60, 58), 0x86DD)),
        ("not_tcp_udp", ether(ip4(b"\x08" * 60, 132))),
        ("tunnels", ether(ip6(b"\x08" * 60, 50), 0x86DD)),
        ("tunnels", ether(ip4(ip4(tcp()), 4))),
        ("tunnels", ether(ip4(ip6(tcp()), 41))),
        ("tunnels", ether(ip4(bytes(4) + ether(ip4(tcp())), 47))),
        ("tunnels", ether(bytes([0x11, 0, 0, 1, 0, 40, 0, 0x21]) + ip4(tcp()), 0x8864)),
        ("tunnels", ether(bytes([0, 1, 0x01, 64]) + ip4(tcp()), 0x8847, tags=[0x8100])),
        ("not_tcp_udp", ether(bytes(28), 0x0806)),
        ("not_tcp_udp", ether(bytes(100), 60)),
        ("damaged", b""),
        ("damaged", bytes(14)),
        ("damaged", ether(ip6(tcp()))),
        ("damaged", ether(b"\x44" + ip4(tcp())[1:])),
        ("damaged", ether(ip4(tcp(), size=30))),
        ("damaged", ether(ip4(tcp()[:12] + b"\x10" + tcp()[13:]))),
        ("damaged", ether(ip4(tcp()[:12] + b"\xf0" + tcp()[13:]))),
        ("damaged", ether(ip4(udp(size=7), 17))),
        ("damaged", ether(ip4(tcp())[:19])),
        ("damaged", ether(ip4(tcp())[:39])),
        ("damaged", ether(ip4(udp(), 17)[:27])),
        ("damaged", ether(ip6(tcp())[:39], 0x86DD)),
        ("damaged", ether(ip6(b"", 0, size=40), 0x86DD)),
        ("damaged", ether(ip6(hop_by_hop(0) * 100 + hop_by_hop(6) + tcp(), 0), 0x86DD)),
    ],
)
def test_frame_without_packet_is_counted_by_its_reason(
    read: Read, count: str, frame: bytes
) -> None:
    packets, summary = read(pcap(TCP4, frame, TCP4))
    assert len(packets) == summary.frames_used == 2
    assert getattr(summary, count) == 1


def test_frames_of_unknown_link_are_counted(read: Read) -> None:
    blocks = section() + interface(127) + interface(1) + enhanced(TCP4) + enhanced(TCP4, number=1)
    packets, summary = read(blocks)
    assert (len(packets), summary.unknown_link) == (1, 1)


@pytest.mark.parametrize("nest", [lambda data: ip4(data, 4, size=0), lambda data: ip6(data, 41)])
def test_deep_encapsulation_is_no_recursion(read: Read, nest: Callable[[bytes], bytes]) -> None:
    """dpkt by itself follows IP in IP until Python's recursion limit."""
    data = tcp()
    for _ in range(1500):
        data = nest(data)
    packets, summary = read(pcap(data, ip4(tcp()), link=101))
    assert (len(packets), summary.tunnels) == (1, 1)


def test_payload_cut_by_snaplen_is_shortened_and_counted(read: Read) -> None:
    whole = ether(ip4(tcp(bytes(1000))))
    packets, summary = read(pcap(whole[:-300], wire_size=len(whole)))
    assert len(packets[0].payload) == 700
    assert summary.shortened == 1
    packets, summary = read(pcap(TCP4, whole[:54], whole[:40], wire_size=len(whole)))
    assert (len(packets), summary.cut_off, summary.damaged) == (1, 2, 0)


def test_cut_payload_without_ip_length_is_measured_by_the_frame(read: Read) -> None:
    for whole in (ether(ip4(tcp(bytes(900)), size=0)), ether(ip6(tcp(bytes(900)), size=0), 0x86DD)):
        _, summary = read(pcap(whole[:-300], wire_size=len(whole)))
        assert summary.shortened == 1
        _, summary = read(pcap(whole))
        assert summary.shortened == 0


def test_payload_above_64_kib_is_cut_into_pieces(read: Read) -> None:
    payload = random.Random(1).randbytes(150000)
    for frame in (ip4(tcp(payload), size=0), ip6(tcp(payload), size=0)):
        packets, summary = read(pcap(frame, link=101))
        assert [len(packet.payload) for packet in packets] == [65536, 65536, 18928]
        assert b"".join(packet.payload for packet in packets) == payload
        assert (summary.frames_used, summary.packets, summary.cut_up) == (1, 3, 1)
        assert summary.shortened == 0
    packets, summary = read(pcap(ip4(tcp(payload[:65536]), size=0), link=101))
    assert (len(packets), summary.cut_up) == (1, 0)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("nano", "tick_ns"), [(False, 1000), (True, 1)])
def test_pcap_times_are_exact(read: Read, order: str, nano: bool, tick_ns: int) -> None:
    times = [(1_700_000_000, 999_999), (1_700_000_001, 1), (1_700_000_001, 2)]
    packets, summary = read(pcap(TCP4, TCP4, TCP4, order=order, nano=nano, times=times))
    step = 10**9 - 999_998 * tick_ns
    assert [packet.time_ns for packet in packets] == [0, step, step + tick_ns]
    assert summary.stepped_back == 0


def test_time_that_steps_back_is_raised_and_counted(read: Read) -> None:
    times = [(100, 0), (99, 0), (101, 0), (100, 5), (101, 1)]
    packets, summary = read(pcap(*[TCP4] * 5, times=times))
    assert [packet.time_ns for packet in packets] == [0, 0, 10**9, 10**9, 10**9 + 1000]
    assert summary.stepped_back == 2


def test_frames_that_give_no_packet_do_not_move_the_clock(read: Read) -> None:
    ack = ether(ip4(tcp(b"")))
    packets, _ = read(pcap(ack, TCP4, ack, TCP4, times=[(1, 0), (5, 0), (99, 0), (6, 0)]))
    assert [packet.time_ns for packet in packets] == [0, 10**9]


@pytest.mark.parametrize(
    ("resolution", "ticks", "expected_ns"),
    [
        (None, 2, 2000),
        (b"\x00", 2, 2 * 10**9),
        (b"\x03", 2, 2_000_000),
        (b"\x06", 2, 2000),
        (b"\x09", 2, 2),
        (b"\x0c", 2999, 2),
        (b"\x7f", 2, 0),
        (b"\x80", 2, 2 * 10**9),
        (b"\x8a", 3, 2929687),
        (b"\xff", 2, 0),
        (b"\x00", 2**40, 2**63 - 1),
        (b"ab", 2, 2000),
    ],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_time_resolutions(
    read: Read, order: str, resolution: bytes | None, ticks: int, expected_ns: int
) -> None:
    options = option(9, resolution, order) + option(0, b"", order) if resolution else b""
    # Far from zero, so that a float would lose it, unless the resolution leaves no room.
    base = 1_700_000_000_123_456_789 if resolution != b"\x8a" else 0
    base -= base % 1000 if resolution == b"\x0c" else 0
    frames = enhanced(TCP4, base, order=order) + enhanced(TCP4, base + ticks, order=order)
    packets, _ = read(section(order) + interface(1, options, order) + frames)
    assert packets[1].time_ns == expected_ns


def test_pcapng_interfaces_have_their_own_link_and_clock(read: Read) -> None:
    nano = option(2, b"eth0") + option(9, b"\x09")
    offset = option(9, b"\x03") + option(14, struct.pack("<q", 1000)) + option(0, b"")
    packets, _ = read(
        section()
        + interface(1, nano)
        + interface(101, offset)
        + enhanced(TCP4, 1_000_000_000_000)
        + enhanced(ip6(tcp()), 1, number=1)
    )
    assert packets == [Packet(FLOW4, b"payload", 0), Packet(FLOW6, b"payload", 1_000_000)]


def test_pcapng_sections_start_afresh(read: Read) -> None:
    """Another byte order and other interfaces after each section header."""
    packets, _ = read(
        section("<")
        + interface(1)
        + enhanced(TCP4)
        + block(5, bytes(12))
        + section(">")
        + interface(101, order=">")
        + enhanced(ip4(tcp()), 3, order=">")
    )
    assert [packet.time_ns for packet in packets] == [0, 3000]


def test_pcapng_simple_and_obsolete_blocks_are_read(read: Read) -> None:
    simple = block(3, struct.pack("<I", len(TCP4)) + TCP4)
    obsolete = block(2, struct.pack("<HHIIII", 0, 9, 0, 7, len(TCP4), len(TCP4)) + TCP4)
    packets, _ = read(
        section() + interface(1) + simple + enhanced(TCP4, 5) + simple + obsolete + simple
    )
    assert [packet.time_ns for packet in packets] == [0, 0, 0, 2000, 2000]


def test_pcapng_simple_block_ends_at_the_snaplen(read: Read) -> None:
    simple = block(3, struct.pack("<I", len(TCP4)) + TCP4[:57])
    packets, summary = read(section() + interface(1, snaplen=57) + simple)
    assert packets[0].payload == b"pay"
    assert summary.shortened == 1


def test_pcapng_options_that_make_no_sense_are_passed_over(read: Read) -> None:
    for options in (
        b"\1",
        option(1, b"\xff\xfe"),
        struct.pack("<HH", 9, 60000),
        option(9, b""),
        option(14, b"abc"),
        option(0, b"") + option(9, b"\x03"),
    ):
        packets, _ = read(section() + interface(1, options) + enhanced(TCP4) + enhanced(TCP4, 1))
        assert [packet.time_ns for packet in packets] == [0, 1000]


def test_many_options_take_linear_time(read: Read) -> None:
    """dpkt copies what is left for each option: minutes for these two megabytes."""
    start = time.perf_counter()
    options = option(5, b"") * 500_000
    read(section() + interface(1, options) + block(6, enhanced(TCP4)[8:-4] + options))
    assert time.perf_counter() - start < 10


# ---- Capture files: errors ---------------------------------------------------------------------

GOOD_PCAP = pcap(*[TCP4] * 3)
GOOD_PCAPNG = section() + interface(1) + enhanced(TCP4) * 3


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", ": empty; a complete pcap or pcapng file is needed"),
        (b"\xa1\xb2", ": not a capture;"),
        (b"hello, world, this is a text\n", ": not a capture;"),
        (b"\x1f\x8b\x08" + bytes(50), ": damaged (gzip) after 0 packets;"),
        (b"\x1f\x8b", ": truncated (gzip) after 0 packets;"),
        (gzip.compress(b"", mtime=0), ": empty;"),
        (gzip.compress(b"hello", mtime=0), ": not a capture;"),
        (gzip.compress(gzip.compress(pcap(TCP4))), ": compressed with gzip inside gzip: unpack it"),
        (b"\x28\xb5\x2f\xfd" + bytes(50), ": compressed with zstd: unpack it first;"),
        (b"\x04\x22\x4d\x18" + bytes(50), ": compressed with lz4: unpack it first;"),
        (lzma.compress(pcap(TCP4)), ": compressed with xz: unpack it first;"),
        (bz2.compress(pcap(TCP4)), ": compressed with bzip2: unpack it first;"),
        (GOOD_PCAP[:10], ": truncated after 0 packets;"),
        (GOOD_PCAP[:24] + struct.pack("<IIII", 1, 1, 2**32 - 1, 1), ": a record of 4294967295"),
        (GOOD_PCAPNG[:4], ": truncated after 0 packets;"),
        (section() + enhanced(TCP4), ": a packet of an interface"),
        (section() + block(3, bytes(8)), ": a packet of an interface"),
        (GOOD_PCAPNG[:8] + b"abcd" + GOOD_PCAPNG[12:], ": a section header without a byte order"),
        (section(major=2), ": a section of version 2.0, not 1.x"),
        (b"\xd4\xc3\xb2\xa1\3\0" + GOOD_PCAP[6:], ": pcap version 3.4, not 2.x;"),
        (pcap(), ": no TCP or UDP payload in 0 packets; a capture with at least one is needed"),
        (
            pcap(ether(ip4(tcp(b"")))),
            ": no TCP or UDP payload in 1 packets (1 without payload);",
        ),
        (section(), ": no TCP or UDP payload in 0 packets;"),
        (
            pcap(TCP4, link=105),
            ": no TCP or UDP payload in 1 packets (1 of an unread link type 105 (IEEE802_11));",
        ),
    ],
)
def test_broken_capture_is_named_with_what_is_needed(
    tmp_path: Path, data: bytes, says: str
) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(data)
    assert f"traffic: pcap:{path}{says}" in error_of(f"pcap:{path}")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (GOOD_PCAP[:-1], ": truncated after 2 packets;"),
        (GOOD_PCAP + b"\0", ": truncated after 3 packets;"),
        (GOOD_PCAPNG[:-1], ": truncated after 2 packets;"),
        (GOOD_PCAPNG + b"\6", ": truncated after 3 packets;"),
        (GOOD_PCAPNG + struct.pack("<II", 6, 8), ": a block of 8 bytes after 3 packets;"),
        (GOOD_PCAPNG + struct.pack("<II", 6, 33), ": a block of 33 bytes after 3 packets;"),
        (GOOD_PCAPNG + struct.pack("<II", 6, 2**32 - 4), ": a block of 4294967292 bytes"),
        (GOOD_PCAPNG + struct.pack("<III", 9, 12, 16), ": a block whose two lengths differ"),
        (GOOD_PCAPNG + block(6, bytes(8)), ": a block too short for its type"),
        (GOOD_PCAPNG + enhanced(TCP4, number=1), ": a packet of an interface"),
        (GOOD_PCAPNG + block(6, struct.pack("<IIIII", 0, 0, 0, 9, 9) + b"1234"), ": a packet lon"),
    ],
)
def test_capture_is_used_up_to_where_it_is_damaged(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(data)
    source = PcapSource(str(path))
    assert len(list(source.packets())) in (2, 3)
    (note,) = source.notes()
    assert f"pcap:{path}{says.rstrip(';')}" in note
    assert note.endswith("; what comes before it is used")


def test_what_is_left_out_of_a_capture_is_said(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(pcap(TCP4, ether(ip4(tcp(b""))), bytes(14)))
    source = PcapSource(str(path))
    assert len(list(source.packets())) == 1
    (note,) = source.notes()
    assert "2 of 3 frames were left out: 1 without payload, 1 damaged" in note


def mixed() -> bytes:
    """A frame of each kind, on interfaces of several link types; two are used."""
    whole = ether(ip4(udp(bytes(500)), 17))
    frames = [
        enhanced(TCP4),
        enhanced(ether(ip4(tcp(b"")))),
        enhanced(ether(ip4(tcp(), fragment=5))),
        enhanced(ether(ip4(ip4(tcp()), 4))),
        enhanced(ether(bytes(28), 0x0806)),
        enhanced(TCP4, number=1),
        enhanced(TCP4, number=2),
        enhanced(ether(b"\x44" + ip4(tcp())[1:])),
        block(6, struct.pack("<IIIII", 0, 0, 0, 20, len(whole)) + whole[:20]),
        block(6, struct.pack("<IIIII", 0, 0, 0, 100, len(whole)) + whole[:100]),
    ]
    return section() + interface(1) + interface(127) + interface(300) + b"".join(frames)


MIXED_NOTE = (
    "8 of 10 frames were left out: 1 without payload, 1 later IP fragments, 1 tunnels (GRE, IP in "
    "IP, MPLS, PPPoE, ...), 1 neither TCP nor UDP, 2 of an unread link type 127 "
    "(IEEE802_11_RADIOTAP), 300, 1 cut off before their payload (snaplen), 1 damaged"
)


def test_each_frame_of_a_mixed_capture_is_accounted_for(tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    path.write_bytes(mixed()[:-1])
    source = PcapSource(str(path))
    assert len(list(source.packets())) == 1
    assert source.account()["cut"] == "truncated after 9 packets"
    path.write_bytes(mixed())
    assert len(list(source.packets())) == 2
    left_out, shortened = source.notes()
    assert left_out == f"pcap:{path}: {MIXED_NOTE}"
    assert "1 frames have less payload than they had on the wire (snaplen)" in shortened
    counts = {name: source.account()[name] for name in ("frames", "frames_used", "shortened")}
    assert counts == {"frames": 10, "frames_used": 2, "shortened": 1}
    assert source.account()["unread_links"] == ["127 (IEEE802_11_RADIOTAP)", "300"]
    assert source.account()["cut"] is None
    assert json.loads(json.dumps(source.account())) == source.account()


# ---- Capture files: compressed -----------------------------------------------------------------


@pytest.mark.parametrize("data", [GOOD_PCAP, GOOD_PCAPNG, mixed()], ids=["pcap", "pcapng", "mixed"])
def test_compressed_capture_gives_what_the_plain_one_gives(tmp_path: Path, data: bytes) -> None:
    """By its content and not by its name; in one piece or in several, as some programs write it."""
    plain, packed, parts = tmp_path / "plain.gz", tmp_path / "packed.pcap", tmp_path / "parts"
    plain.write_bytes(data)
    packed.write_bytes(gzip.compress(data))
    parts.write_bytes(gzip.compress(data[:50]) + gzip.compress(data[50:]) + bytes(20))
    expected, summary = checked(PcapSource(str(plain)))
    for path in (packed, parts):
        assert checked(PcapSource(str(path))) == (expected, summary)


def test_compressed_capture_cut_anywhere_is_never_taken_for_a_whole_one(tmp_path: Path) -> None:
    seed = 7
    data = pcap(*[ether(ip4(tcp(random.Random(seed + n).randbytes(300)))) for n in range(200)])
    whole, path = gzip.compress(data), tmp_path / "x.gz"
    counts = set()
    for size in range(0, len(whole), 97):
        path.write_bytes(whole[:size])
        source = PcapSource(str(path))
        try:
            counts.add(len(list(source.packets())))
        except TrafficError:
            continue
        assert "truncated (gzip)" in source.notes()[0]
        assert source.account()["cut"]
    assert len(counts) > 50
    assert 100 < max(counts) <= 200


def test_damage_in_a_compressed_capture_is_said(tmp_path: Path) -> None:
    """What comes out of it may be anything; its checksum at the end tells, at the latest."""
    frames = [ether(ip4(tcp(random.Random(n).randbytes(300)))) for n in range(200)]
    whole, path = gzip.compress(pcap(*frames)), tmp_path / "x.gz"
    used = 0
    for at in range(12, len(whole) - 4, 501):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        source = PcapSource(str(path))
        with contextlib.suppress(TrafficError):
            used += len(list(source.packets())) > 0
            assert source.account()["cut"], f"byte {at}"
    assert used > 10
    path.write_bytes(whole + b"garbage")
    source = PcapSource(str(path))
    assert len(list(source.packets())) == 200
    assert "damaged (gzip) after 200 packets" in source.notes()[0]


BOMB = """
import re, resource, sys
from emu.errors import TrafficError
from emu.traffic import PcapSource
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
try:
    sys.exit(f"{sum(1 for _ in PcapSource(sys.argv[1]).packets())} packets")
except TrafficError as error:
    print(error)
# Not ru_maxrss, which begins with what the process had of which this one was forked.
print(int(re.search("VmHWM:\\s*(\\d+)", open("/proc/self/status").read()[:9999])[1]) // 1024)
"""


@pytest.mark.long
def test_gzip_bomb_is_an_error_in_bounded_memory(tmp_path: Path) -> None:
    """A file of 2 MB, of which 2 GiB come out: refused after the half, a record at a time."""
    size = (16 << 20) - 16
    record = gzip.compress(struct.pack("<IIII", 1, 0, size, size) + bytes(size), 9)
    path = tmp_path / "bomb.pcap.gz"
    path.write_bytes(gzip.compress(pcap(TCP4)) + record * 128)
    assert path.stat().st_size < 3 << 20
    process = subprocess.run(
        [sys.executable, "-c", BOMB, str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    line, used_mib = process.stdout.splitlines()
    assert line.startswith(f"traffic: pcap:{path}: more than 1024 MiB come out of it: unpack it")
    assert int(used_mib) < 300


def test_largest_record_is_16_mib(tmp_path: Path, read: Read) -> None:
    largest = 16 << 20
    _, summary = read(pcap(TCP4, bytes(largest)))
    assert summary.frames == 2
    _, summary = read(GOOD_PCAPNG + block(9, bytes(largest - 12)))
    assert summary.frames == 3
    path = tmp_path / "larger"
    path.write_bytes(pcap(bytes(largest + 1)))
    assert f"a record of {largest + 1} bytes, more than {largest}," in error_of(f"pcap:{path}")
    path.write_bytes(section() + block(9, bytes(largest - 8)))
    assert f"a block of {largest + 4} bytes" in error_of(f"pcap:{path}")


@pytest.mark.parametrize("good", [GOOD_PCAP, GOOD_PCAPNG], ids=["pcap", "pcapng"])
def test_file_cut_anywhere_is_never_taken_for_a_whole_one(tmp_path: Path, good: bytes) -> None:
    """Between two records a cut cannot be seen; anywhere else it is said, or an error."""
    path = tmp_path / "cut"
    complete = 0
    for size in range(len(good)):
        path.write_bytes(good[:size])
        source = PcapSource(str(path))
        try:
            packets = list(source.packets())
        except TrafficError:
            continue
        if source.notes():
            assert "truncated" in source.notes()[0]
            continue
        complete += 1
        assert good[size - 4 : size] in (TCP4[-4:], struct.pack("<I", len(enhanced(TCP4))))
        assert len(packets) == complete
    assert complete == 2


def test_missing_file_directory_and_pipe_are_errors(tmp_path: Path) -> None:
    """A named pipe without a writer must not make us wait."""
    os.mkfifo(tmp_path / "pipe")
    assert "No such file" in error_of(f"pcap:{tmp_path / 'missing'}")
    assert "not a regular file" in error_of(f"pcap:{tmp_path}")
    assert "not a regular file" in error_of(f"pcap:{tmp_path / 'pipe'}")
    assert "no possible file name" in error_of("pcap:a\0b")
    assert r"line\nbreak" in error_of("pcap:line\nbreak")
    assert r"\x1b[31m" in error_of("pcap:\x1b[31m")
    assert "cannot be read" in error_of("pcap:" + "x" * 5000)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_without_permission_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(GOOD_PCAP)
    path.chmod(0)
    assert "Permission denied" in error_of(f"pcap:{path}")


def test_summary_is_there_after_reading_only(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(GOOD_PCAP)
    source = PcapSource(str(path))
    with pytest.raises(StateError):
        _ = source.summary
    packets = source.packets(1)
    next(packets)
    with pytest.raises(StateError):
        _ = source.summary
    assert len(list(packets)) == 2
    assert source.summary.packets == 3
    assert list(source.packets(1)) == list(source.packets(2))
    assert source.summary.packets == 3


# ---- Capture files: whatever the bytes are -----------------------------------------------------

SEEDS = [
    GOOD_PCAP,
    pcap(ether(ip6(hop_by_hop(44) + fragment6(17, 0) + udp(), 0), 0x86DD), TCP4, order=">"),
    pcap(ip4(udp(), 17), ip6(tcp()), link=101, nano=True),
    GOOD_PCAPNG,
    section(">") + interface(113, option(9, b"\x09", ">"), ">") + enhanced(TCP4, 9, order=">"),
    section() + interface(1) + interface(101) + enhanced(ip4(tcp()), 1, 1) + block(3, bytes(40)),
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(data) - 1))
        match draw(st.integers(0, 3)):
            case 0:
                data[at] ^= 1 << draw(st.integers(0, 7))
            case 1:
                data[at] = draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))
            case 2:
                data[at:at] = draw(st.binary(max_size=8))
            case 3:
                del data[at : at + draw(st.integers(1, 8))]
        if not data:
            break
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


@given(
    st.one_of(mutated(), st.binary(max_size=300), st.binary(max_size=300).map(GOOD_PCAP.__add__))
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_give_packets_or_a_traffic_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "fuzzed"
    path.write_bytes(data)
    with contextlib.suppress(TrafficError):
        checked(PcapSource(str(path)))


@given(st.lists(st.binary(min_size=1, max_size=2000), min_size=1, max_size=8), st.integers(0, 3))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_reader_agrees_with_dpkt_on_files_that_dpkt_writes(
    tmp_path: Path, payloads: list[bytes], shape: int
) -> None:
    """Frames packed by dpkt, written by dpkt's two writers, come back with payload and time."""
    path = tmp_path / "written"
    writer_class = dpkt.pcapng.Writer if shape & 1 else dpkt.pcap.Writer
    with path.open("wb") as file:
        writer = writer_class(file, snaplen=65535)
        for number, payload in enumerate(payloads):
            segment = dpkt.udp.UDP(sport=9, dport=number, ulen=8 + len(payload), data=payload)
            if shape & 2:
                packet = dpkt.ip6.IP6(src=SRC6, dst=DST6, nxt=17, plen=len(segment), data=segment)
                packet.extension_hdrs, packet.all_extension_headers = {}, []
            else:
                packet = dpkt.ip.IP(src=SRC4, dst=DST4, p=17, data=segment)
            kind = 0x86DD if shape & 2 else 0x0800
            frame = dpkt.ethernet.Ethernet(type=kind, data=packet, src=bytes(6), dst=bytes(6))
            writer.writepkt(bytes(frame), ts=1000 + number)
    packets, _ = checked(PcapSource(str(path)))
    assert [packet.payload for packet in packets] == payloads
    assert [packet.flow.dport for packet in packets] == list(range(len(payloads)))
    assert [packet.time_ns for packet in packets] == [n * 10**9 for n in range(len(payloads))]


# ---- Recorded captures (tools/record_capture.py) -----------------------------------------------


def test_recorded_pcap_has_what_the_programs_said() -> None:
    packets, summary = checked(PcapSource(str(DATA / "loopback.pcap")))
    assert (summary.frames, summary.no_payload, summary.not_tcp_udp) == (95, 55, 10)
    assert (summary.packets, summary.payload_bytes, summary.flows) == (30, 111887, 22)
    assert {len(packet.flow.rss_input()) for packet in packets} == {12, 36}
    by_flow = streams(packets)
    responses = [
        response
        for flow, stream in by_flow.items()
        if flow.proto == "tcp" and flow.sport in (18080, 18081)
        for response in read_responses(stream)
    ]
    assert Counter(status for status, _ in responses) == {200: 3, 404: 1, 501: 1}
    bodies = [body for _, body in responses]
    (numbers,) = (stream for flow, stream in by_flow.items() if flow.dport == 18082)
    assert numbers in bodies
    rng = random.Random(1)
    assert json.loads(numbers) == [rng.randrange(10**6) for _ in range(2500)]
    assert rng.randbytes(70000) in bodies


def test_recorded_pcap_is_what_dpkt_reads() -> None:
    expected = []
    with (DATA / "loopback.pcap").open("rb") as file:
        for _, frame in dpkt.pcap.UniversalReader(file):
            packet = dpkt.ethernet.Ethernet(frame).data
            if isinstance(packet.data, dpkt.tcp.TCP | dpkt.udp.UDP) and packet.data.data:
                expected.append((packet.data.sport, packet.data.dport, packet.data.data))
    packets = PcapSource(str(DATA / "loopback.pcap")).packets()
    assert [(p.flow.sport, p.flow.dport, p.payload) for p in packets] == expected


def test_recorded_pcapng_has_each_packet_of_two_interfaces() -> None:
    """Ethernet on ``lo`` and cooked on ``any`` show the same traffic; dumpcap mixed their times."""
    packets, summary = checked(PcapSource(str(DATA / "loopback.pcapng")))
    assert (summary.frames, summary.packets, summary.payload_bytes) == (186, 58, 223742)
    assert summary.stepped_back == 25
    assert set(Counter((packet.flow, packet.payload) for packet in packets).values()) == {2}
    of_pcap = PcapSource(str(DATA / "loopback.pcap")).packets()
    assert {p.payload for p in packets} == {p.payload for p in of_pcap}
