"""One refill ring entry in Python, and what its bytes alone decide."""

from __future__ import annotations

import struct
from typing import NamedTuple

from faults.fault import U32_MAX, VALID_VERDICTS

AREA_SHIFT = 48  #: ``IORING_ZCRX_AREA_SHIFT``: the area id is above, the byte offset below
NIOV_SHIFT = 12  #: log2 of a buffer's size
NIOV_SIZE = 1 << NIOV_SHIFT
NIOVS_MAX = 2**20
_LAYOUT = struct.Struct("<QII")


class Rqe(NamedTuple):
    """One refill ring entry, ``struct io_uring_zcrx_rqe``."""

    off: int  #: area id << 48 | niov index << 12 | offset in the buffer; u64
    length: int  #: ``len``, bytes; u32
    pad: int = 0  #: ``__pad``; u32

    def pack(self) -> bytes:
        """The 16 bytes, little-endian."""
        return _LAYOUT.pack(*self)

    @classmethod
    def unpack(cls, raw: bytes) -> Rqe:
        """Decode 16 bytes; any are an RQE.

        Raises:
            ValueError: There are not 16 of them.
        """
        if len(raw) != _LAYOUT.size:
            raise ValueError(f"raw: {len(raw)} bytes are no RQE; it has {_LAYOUT.size}")
        return cls(*_LAYOUT.unpack(raw))


def judge_bytes(rqe: Rqe, num_niovs: int) -> str | None:
    """Say what an RQE's bytes alone decide, in the provider's order.

    Args:
        rqe: Any entry.
        num_niovs: Buffers of the area.

    Returns:
        ``bad_pad``, ``bad_area`` or ``bad_index``; None if it names a buffer,
        so that references decide.

    Source: ``io_zcrx_ring_refill()`` in Linux's ``io_uring/zcrx.c``.
    """
    if rqe.pad:
        return "bad_pad"
    if rqe.off >> AREA_SHIFT:
        return "bad_area"
    # The kernel keeps the index in 32 bits before it looks at it: offset bits 44 to 47 vanish.
    return "bad_index" if (rqe.off >> NIOV_SHIFT & U32_MAX) >= num_niovs else None


def legal_verdicts(rqe: Rqe, num_niovs: int) -> frozenset[str]:
    """The verdict that the bytes decide, or those that references choose from."""
    verdict = judge_bytes(rqe, num_niovs)
    return VALID_VERDICTS | {"no_user_ref"} if verdict is None else frozenset({verdict})
