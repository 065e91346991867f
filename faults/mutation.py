"""The content faults in Python: how each changes an RQE, and what its bytes alone decide.

The same mutations are applied in C during runs (``cext/fault.c``); these are for
tests, of this project and of others, and need no C core.
"""

from __future__ import annotations

import random
import struct
from typing import NamedTuple

from faults.catalogue import CATALOGUE
from faults.fault import U32_MAX, VALID_VERDICTS, Fault, Group

AREA_SHIFT = 48  #: ``IORING_ZCRX_AREA_SHIFT``: the area id is above, the byte offset below
NIOV_SHIFT = 12  #: log2 of a buffer's size
NIOV_SIZE = 1 << NIOV_SHIFT
NIOVS_MAX = 2**20
INDEX_MAX = (1 << AREA_SHIFT - NIOV_SHIFT) - 1
_LAYOUT = struct.Struct("<QII")
_AREA_BYTES = (1 << AREA_SHIFT) - 1
_ALIAS_BITS = 0xF << 44


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


#: What the mutations are about: the faults that are nothing but 16 bytes.
CONTENT_FAULTS: dict[str, Fault] = {
    name: fault for name, fault in CATALOGUE.items() if fault.group is Group.CONTENT
}


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


def _index(value: str, rng: random.Random, num_niovs: int) -> int:
    if value == "count":
        return num_niovs
    if value == "count+1":
        return num_niovs + 1
    if value == "max":
        return INDEX_MAX
    # The low 32 bits must be out of range by themselves, whatever is above them.
    least = 2**31 if value == "far" else num_niovs
    return rng.randrange(16) << 32 | rng.randrange(least, 2**32)


def _other(rng: random.Random, limit: int, than: int) -> int:
    """A number below ``limit`` that is not ``than``."""
    value = rng.randrange(limit - 1)
    return value + 1 if value >= than else value


def mutate(
    fault: Fault, params: tuple[int, ...], rng: random.Random, valid: Rqe, num_niovs: int
) -> Rqe:
    """Apply a content fault to a valid return.

    Args:
        fault: One of :data:`CONTENT_FAULTS`.
        params: Compiled, as in :attr:`faults.PlanRule.params`.
        rng: Decides what is random.
        valid: The entry to start from; it names a buffer of the area.
        num_niovs: Buffers of the area: 1 to 2**20.

    Raises:
        ValueError: It is another fault.
    """
    value = fault.params[0].text(params[0]) if fault.params else ""
    off, in_niov = valid.off, valid.off % NIOV_SIZE
    if fault.name == "bad-pad":
        pads = {"one-bit": 1 << rng.randrange(32), "ones": U32_MAX}
        return valid._replace(pad=pads.get(value, rng.randrange(1, 2**32)))
    if fault.name == "bad-area":
        area = {"one": 1, "max": 0xFFFF}.get(value, rng.randrange(1, 0x10000))
        return valid._replace(off=area << AREA_SHIFT | off & _AREA_BYTES)
    if fault.name == "bad-index":
        return valid._replace(off=_index(value, rng, num_niovs) << NIOV_SHIFT | in_niov)
    if fault.name == "bad-offset":
        whole = {"ones": 2**64 - 1, "max48": _AREA_BYTES}
        return valid._replace(off=whole.get(value, rng.getrandbits(64)))
    if fault.name == "alias":
        return valid._replace(off=off & ~_ALIAS_BITS | rng.randrange(1, 16) << 44)
    if fault.name == "mid-buffer":
        return valid._replace(off=off - in_niov + _other(rng, NIOV_SIZE, in_niov))
    if fault.name == "len-garbage":
        lengths = {"zero": 0, "max": U32_MAX}
        return valid._replace(length=lengths.get(value, _other(rng, 2**32, valid.length)))
    raise ValueError(f"{fault.name} is no content fault; these are {', '.join(CONTENT_FAULTS)}")
