"""The provider's self-description, in the shape of the kernel's netlink dumps.

What ``ynl --dump queue-get`` and ``--dump page-pool-get`` of the netdev family
show for a queue that is served by io_uring: the provider adds an empty
``io-uring`` nest, which is what marks the queue and its page pool.

Source: ``Documentation/netlink/specs/netdev.yaml``; ``io_pp_nl_fill()``.
"""

from __future__ import annotations

import struct
from typing import Any

from emu.core import NetlinkDump, nl_fill

IFINDEX = 1
_NLA_F_NESTED = 0x8000
_NAMES = {(NetlinkDump.QUEUE_GET, 6): "io-uring", (NetlinkDump.PAGE_POOL_GET, 8): "io-uring"}


def decode_nests(dump: NetlinkDump, data: bytes) -> dict[str, dict[str, Any]]:
    """Decode a run of empty nested attributes by the names of the netdev family."""
    found: dict[str, dict[str, Any]] = {}
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("<HH", data, at)
        if length < 4:
            break
        if kind & _NLA_F_NESTED:
            number = kind & ~_NLA_F_NESTED
            found[_NAMES.get((dump, number), str(number))] = {}
        at += (length + 3) & ~3
    return found


def dumps(inflight: list[int], niov_size: int) -> dict[str, list[dict[str, Any]]]:
    """Both dumps for queues whose page pools have ``inflight`` buffers out."""
    queue_nest = decode_nests(NetlinkDump.QUEUE_GET, nl_fill(NetlinkDump.QUEUE_GET))
    pool_nest = decode_nests(NetlinkDump.PAGE_POOL_GET, nl_fill(NetlinkDump.PAGE_POOL_GET))
    return {
        "queue-get": [
            {"id": queue, "ifindex": IFINDEX, "type": "rx", **queue_nest}
            for queue in range(len(inflight))
        ],
        "page-pool-get": [
            {
                "id": queue + 1,
                "ifindex": IFINDEX,
                "inflight": count,
                "inflight-mem": count * niov_size,
                **pool_nest,
            }
            for queue, count in enumerate(inflight)
        ],
    }
