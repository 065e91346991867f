"""From a traffic source to the arena that the NIC process replays.

Flows are numbered within their queue; the queue is chosen by the Toeplitz hash
of the flow, so that a flow always stays on one queue.
"""

from __future__ import annotations

from dataclasses import dataclass

from emu.core import ArenaPacket, build_arena, rss_hash
from emu.errors import TrafficError
from emu.traffic import Flow, TrafficSource

LAP_GAP_NS = 1000  #: between the last packet of a lap and the first of the next, when paced


@dataclass(frozen=True, slots=True)
class Arena:
    """Traffic ready to be replayed."""

    data: bytearray
    flows: tuple[tuple[Flow, ...], ...]  #: by queue, in order of their numbers
    packets: tuple[int, ...]  #: by queue, in one lap
    payload_bytes: int  #: in one lap, over all queues
    buffers_max: int = 1  #: that the payload of the largest packet takes

    @property
    def flows_max(self) -> int:
        """The most flows that any queue has; at least 1."""
        return max(1, *(len(flows) for flows in self.flows))


def make_arena(source: TrafficSource, *, seed: int, queues: int, niov_shift: int) -> Arena:
    """Read the source to its end and lay its packets out.

    Raises:
        TrafficError: The source cannot be read, or has no packets.
    """
    packets: list[list[ArenaPacket]] = [[] for _ in range(queues)]
    flows: list[dict[Flow, int]] = [{} for _ in range(queues)]
    queue_of: dict[Flow, int] = {}
    last_ns = payload_bytes = largest = 0
    for packet in source.packets(seed):
        queue = queue_of.get(packet.flow)
        if queue is None:
            queue = rss_hash(packet.flow.rss_input()) % queues
            queue_of[packet.flow] = queue
        number = flows[queue].setdefault(packet.flow, len(flows[queue]))
        packets[queue].append(ArenaPacket(packet.payload, packet.time_ns, number))
        last_ns = packet.time_ns
        payload_bytes += len(packet.payload)
        largest = max(largest, len(packet.payload))
    if not queue_of:
        raise TrafficError(f"traffic: {source.label}: it has no packets; at least one is needed")
    return Arena(
        data=build_arena(packets, niov_shift, last_ns + LAP_GAP_NS),
        flows=tuple(tuple(numbers) for numbers in flows),
        packets=tuple(len(queue_packets) for queue_packets in packets),
        payload_bytes=payload_bytes,
        buffers_max=(largest + (1 << niov_shift) - 1) >> niov_shift,
    )
