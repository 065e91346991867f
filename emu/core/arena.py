"""The arena: packets as the NIC loop replays them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from emu.core._lib import ffi, lib
from emu.core.layout import LAYOUT_VERSION


@dataclass(frozen=True, slots=True)
class ArenaPacket:
    """One packet to be laid into an arena."""

    payload: bytes
    time_ns: int
    flow: int  #: number of the flow within its queue


def _align(size: int) -> int:
    return (size + 63) & ~63


def build_arena(queues: Sequence[Sequence[ArenaPacket]], niov_shift: int, lap_ns: int) -> bytearray:
    """Lay packets out as the NIC loop replays them, with the CRC32C of each piece.

    Args:
        queues: Packets of each queue, in the order in which they are offered.
        niov_shift: Buffer size as a shift; a payload is cut at its multiples.
        lap_ns: From the first packet of one lap to the first of the next.

    Returns:
        The arena, ready to be written into its shared object.
    """
    niov_size = 1 << niov_shift
    packet_size = ffi.sizeof("struct zcrx_packet")
    cursor = _align(ffi.sizeof("struct zcrx_arena"))
    packets_off = []
    for packets in queues:
        packets_off.append(cursor)
        cursor = _align(cursor + packet_size * len(packets))
    crcs_off = cursor
    pieces = sum(-(-len(p.payload) // niov_size) for packets in queues for p in packets)
    cursor = _align(cursor + 4 * pieces)
    data_off = cursor
    total = data_off + sum(_align(len(p.payload)) for packets in queues for p in packets)

    arena = bytearray(total)
    view = ffi.from_buffer("char[]", arena)
    header = ffi.cast("struct zcrx_arena *", view)
    header.version = LAYOUT_VERSION
    header.queues = len(queues)
    header.niov_shift = niov_shift
    header.crcs_off = crcs_off
    header.lap_ns = lap_ns
    crcs = ffi.cast("uint32_t *", view + crcs_off)
    crc_at, data_at = 0, data_off
    for number, packets in enumerate(queues):
        header.queue[number].packets_off = packets_off[number]
        header.queue[number].packet_count = len(packets)
        table = ffi.cast("struct zcrx_packet *", view + packets_off[number])
        for i, packet in enumerate(packets):
            size = len(packet.payload)
            entry = table[i]
            entry.data_off, entry.time_ns, entry.len = data_at, packet.time_ns, size
            entry.flow, entry.crc_first = packet.flow, crc_at
            ffi.memmove(view + data_at, packet.payload, size)
            for start in range(0, size, niov_size):
                length = min(niov_size, size - start)
                crcs[crc_at] = lib.zcrx_crc32c(view + data_at + start, length)
                crc_at += 1
            data_at += _align(size)
    return arena
