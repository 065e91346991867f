"""From packets to the arena: decoded here by its layout, packet by packet."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from emu.core import LAYOUT_VERSION, crc32c, rss_hash
from emu.errors import TrafficError
from emu.runtime.arena import LAP_GAP_NS, Arena, make_arena
from emu.traffic import Flow, Packet, SyntheticSource


@dataclass(frozen=True)
class ListSource:
    """Packets as they stand here."""

    list: Sequence[Packet]
    label: str = "list"

    def packets(self, seed: int) -> Iterator[Packet]:
        assert seed == 5
        yield from self.list


class Laid(NamedTuple):
    """One packet as the NIC will find it."""

    flow: int
    payload: bytes
    time_ns: int
    crcs: tuple[int, ...]


def decode(arena: Arena, queues: int, niov_shift: int = 12) -> list[list[Laid]]:
    """Read an arena back: ``struct zcrx_arena``, ``struct zcrx_packet`` of ``actors/nic.h``."""
    data = bytes(arena.data)
    version, count, shift, _, crcs_off, _ = struct.unpack_from("<IIIIQQ", data)
    assert (version, count, shift) == (LAYOUT_VERSION, queues, niov_shift)
    result = []
    for queue in range(queues):
        at, packet_count = struct.unpack_from("<QQ", data, 32 + 16 * queue)
        laid = []
        for number in range(packet_count):
            data_off, time_ns, size, flow, crc_first, _ = struct.unpack_from(
                "<QQIIII", data, at + 32 * number
            )
            assert data_off % 64 == 0
            pieces = -(-size // (1 << niov_shift))
            crcs = struct.unpack_from(f"<{pieces}I", data, crcs_off + 4 * crc_first)
            laid.append(Laid(flow, data[data_off : data_off + size], time_ns, crcs))
        result.append(laid)
    return result


def flow(number: int) -> Flow:
    return Flow("10.0.0.1", "10.0.0.2", 1000 + number, 80, "tcp")


def arena_of(packets: Sequence[Packet], queues: int = 1) -> Arena:
    return make_arena(ListSource(packets), seed=5, queues=queues, niov_shift=12)


packets_lists = st.lists(
    st.tuples(st.integers(0, 9), st.binary(min_size=1, max_size=9000)), min_size=1, max_size=40
)


@settings(deadline=None)
@given(raw=packets_lists, queues=st.integers(1, 5))
def test_every_packet_is_there_in_order_with_its_checksums(
    raw: list[tuple[int, bytes]], queues: int
) -> None:
    packets = [Packet(flow(number), data, 7 * at) for at, (number, data) in enumerate(raw)]
    arena = arena_of(packets, queues)
    decoded = decode(arena, queues)
    assert arena.packets == tuple(map(len, decoded))
    assert arena.payload_bytes == sum(len(packet.payload) for packet in packets)
    for queue, laid in enumerate(decoded):
        expected = [p for p in packets if rss_hash(p.flow.rss_input()) % queues == queue]
        found = [Packet(arena.flows[queue][one.flow], one.payload, one.time_ns) for one in laid]
        assert found == expected
        for one in laid:
            pieces = (one.payload[at : at + 4096] for at in range(0, len(one.payload), 4096))
            assert one.crcs == tuple(map(crc32c, pieces))


def test_flow_stays_on_one_queue_and_flows_are_numbered_from_zero() -> None:
    packets = list(SyntheticSource(flow_count=40, packet_count=500).packets(1))
    arena = arena_of(packets, queues=4)
    assert len(set(itertools.chain(*arena.flows))) == sum(map(len, arena.flows)) == 40
    assert all(arena.flows), "forty flows reach each of four queues"
    assert arena.flows_max == max(map(len, arena.flows))
    for flows, laid in zip(arena.flows, decode(arena, 4), strict=True):
        first_seen = list(dict.fromkeys(one.flow for one in laid))
        assert first_seen == list(range(len(flows)))


def test_queue_without_flows_is_empty() -> None:
    arena = arena_of([Packet(flow(0), b"x", 0)], queues=3)
    assert sorted(arena.packets) == [0, 0, 1]
    assert arena.flows_max == 1


def test_one_queue_takes_all() -> None:
    arena = arena_of([Packet(flow(number), b"x", 0) for number in range(9)])
    assert arena.packets == (9,)
    assert arena.flows_max == 9


def test_lap_is_as_long_as_its_packets_and_a_gap() -> None:
    arena = arena_of([Packet(flow(0), b"x", 0), Packet(flow(0), b"y", 10**9)])
    (lap_ns,) = struct.unpack_from("<Q", arena.data, 24)
    assert lap_ns == 10**9 + LAP_GAP_NS


def test_source_without_packets_is_refused() -> None:
    with pytest.raises(TrafficError, match=r"^traffic: list: it has no packets; .*$"):
        arena_of([])
