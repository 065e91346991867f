"""What the provider decides and what its whole state looks like, as plain values.

The C core (through :mod:`emu.spec.stepping`) and the executable specification
(:mod:`emu.spec.model`) both answer in these types, so that the two can be compared
with ``==``.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field


class Verdict(enum.IntEnum):
    """What one consumed refill ring entry (RQE) earned. A closed set.

    Source: ``io_zcrx_ring_refill()`` in Linux's ``io_uring/zcrx.c``; the names are ours.
    """

    ACCEPTED = 0  #: the buffer went into the alloc cache
    STILL_REFERENCED = 1  #: user reference dropped, other page-pool references remain
    OTHER_POOL = 2  #: the buffer went to the pool it is bound to (to the freelist if to none)
    BAD_PAD = 3  #: ``__pad`` is not zero
    BAD_AREA = 4  #: the area id (offset bits 48..63) names no area of this instance
    BAD_INDEX = 5  #: the niov index is not below ``num_niovs``
    NO_USER_REF = 6  #: the user holds no reference on that buffer

    @property
    def label(self) -> str:
        """The name used in reports and JSON, e.g. ``bad_pad``."""
        return self.name.lower()


class PoolPhase(enum.IntEnum):
    """Where a page pool is in its life."""

    UNUSED = 0  #: the slot holds no pool
    CURRENT = 1  #: serves allocations of the queue
    DYING = 2  #: torn down, but buffers bound to it are still out


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict of one consumed RQE."""

    index: int  #: absolute ring index: u32, free-running, not masked
    verdict: Verdict
    #: buffer that the entry named, after the 32-bit truncation; None if pad or area was bad, and
    #: the index in its area if that was
    niov: int | None
    #: offset bits 44..47 vanished in the truncation, and what is left names a buffer
    alias: bool = False


@dataclass(frozen=True, slots=True)
class PoolState:
    """One page pool."""

    phase: PoolPhase
    alloc_cache: tuple[int, ...]  #: niovs, bottom to top: the last one is handed out next
    ptr_ring: tuple[int, ...]  #: niovs, oldest first: the first one comes out next
    inflight: int  #: buffers bound to this pool and not released by it


@dataclass(frozen=True, slots=True)
class ProviderState:
    """Everything there is to know about one instance, between two operations."""

    rq_head: int  #: published head word as it stands in the ring (users may scribble on it)
    rq_tail: int  #: published tail word as it stands in the refill ring
    cached_rq_head: int  #: the provider's own head, u32
    areas: tuple[int, ...]  #: buffers of each area, by its id; niovs are numbered through
    free_count: int
    #: niovs, the last one is popped next: of each area bottom to top, the first area's last
    freelist: tuple[int, ...]
    user_refs: tuple[int, ...]  #: one a buffer
    pp_refs: tuple[int, ...]  #: page-pool references, one a buffer; 0 = never handed out yet
    niov_pool: tuple[int | None, ...]  #: pool slot that each buffer is bound to, None = unbound
    pools: tuple[PoolState, ...]  #: all POOLS_MAX slots
    current_pool: int | None  #: slot of the pool that serves the queue
    instance_refs: int  #: 1 for the instance itself, plus one for each pool that holds a reference
    verdicts: dict[Verdict, int] = field(
        default_factory=dict
    )  #: how many of each, all keys present
    aliases: int = 0  #: entries whose index was an alias of a buffer
    alloc_failures: int = 0  #: allocations that found nothing
    destroy_warnings: int = 0  #: destroy checks that found buffers missing

    @property
    def alloc_cache(self) -> tuple[int, ...]:
        """The current pool's alloc cache (empty without a pool)."""
        return () if self.current_pool is None else self.pools[self.current_pool].alloc_cache

    @property
    def ptr_ring(self) -> tuple[int, ...]:
        """The current pool's ptr ring (empty without a pool)."""
        return () if self.current_pool is None else self.pools[self.current_pool].ptr_ring


#: Areas of one instance, at a level that has several.
AREAS_MAX = 1024
#: Slots for page pools of one queue: the current one and those that still wait for buffers.
POOLS_MAX = 8
