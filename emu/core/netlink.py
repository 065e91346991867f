"""The provider's self-description, as bytes."""

from __future__ import annotations

import enum

from emu.core._lib import ffi, lib


class NetlinkDump(enum.IntEnum):
    """Which netdev dump a provider is asked to describe itself in."""

    QUEUE_GET = 0
    PAGE_POOL_GET = 1


def nl_fill(dump: NetlinkDump) -> bytes:
    """The provider's netlink attribute in a dump: an empty ``io-uring`` nest."""
    buffer = ffi.new("uint8_t[64]")
    size = lib.zcrx_nl_fill(int(dump), buffer, 64)
    return bytes(ffi.buffer(buffer, size))
