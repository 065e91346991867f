"""The provider in this process, operation by operation."""

from __future__ import annotations

import errno
from typing import Any

from emu.core._lib import ffi, lib
from emu.core.layout import Shape, raw_shape
from emu.core.library import ProviderLibrary
from emu.core.queue import COUNTER_NAMES, CounterGroup
from emu.errors import ConfigError, StateError
from emu.spec.state import (
    AREAS_MAX,
    POOLS_MAX,
    Judgement,
    PoolPhase,
    PoolState,
    ProviderState,
    Verdict,
)


class Stepper:
    """The provider in this process, operation by operation (``cext/run/step.h``)."""

    def __init__(self, shape: Shape, *, provider: ProviderLibrary | None = None) -> None:
        ops = ffi.NULL if provider is None else provider.raw()
        ptr = lib.zcrx_step_new_of(raw_shape(shape), ops)
        if ptr == ffi.NULL:
            raise ConfigError.of("shape", shape, "sizes must be within their limits")
        self._ptr = ffi.gc(ptr, lib.zcrx_step_free)
        self.shape = shape
        self._judgements = ffi.new("struct zcrx_judgement[]", 256)

    def alloc(self) -> int | None:
        """One buffer for the NIC, None if there is none; StateError without a page pool."""
        niov = int(lib.zcrx_step_alloc(self._ptr))
        if niov == -errno.ENOENT:
            raise StateError("alloc: no page pool serves the queue; restart it first")
        return niov if niov >= 0 else None

    def deliver(self, niov: int, fragments: int) -> None:
        """Give the user ``fragments`` references."""
        lib.zcrx_step_deliver(self._ptr, niov, fragments)

    def drop(self, niov: int) -> None:
        """The stack drops one page-pool reference."""
        lib.zcrx_step_drop(self._ptr, niov)

    def write_rqe(self, slot: int, off: int, length: int, pad: int) -> None:
        """Write a slot of the refill ring without publishing it."""
        lib.zcrx_step_write_rqe(self._ptr, slot, off, length, pad)

    @property
    def tail(self) -> int:
        """The tail word as it stands in the ring."""
        return int(lib.zcrx_step_tail(self._ptr))

    def set_head(self, value: int) -> None:
        """Scribble on the head word."""
        lib.zcrx_step_set_head(self._ptr, value)

    def set_tail(self, value: int) -> None:
        """Set the tail word."""
        lib.zcrx_step_set_tail(self._ptr, value)

    def scrub(self) -> int:
        """Take back all user references; how many."""
        return int(lib.zcrx_step_scrub(self._ptr))

    def flush(self) -> int:
        """The user has the refill ring judged; how many entries were consumed."""
        flushed = int(lib.zcrx_step_flush(self._ptr))
        if flushed < 0:
            level = self.shape.contract.level
            raise StateError(f"flush: the kernel {level} has no such operation")
        return flushed

    def copy_fallback(self) -> int | None:
        """A buffer straight from the freelist, or None."""
        niov = int(lib.zcrx_step_copy_fallback(self._ptr))
        return niov if niov >= 0 else None

    def add_area(self, num_niovs: int) -> int:
        """The user adds an area; its id. StateError when there may be none or no more."""
        area = int(lib.zcrx_step_add_area(self._ptr, num_niovs))
        if area == -errno.EOPNOTSUPP:
            raise StateError("add_area: this instance has one area")
        if area < 0:
            raise StateError(f"add_area: there is no room for {num_niovs} buffers, or for an area")
        return area

    def offset(self, niov: int) -> int:
        """The offset of a buffer, its area's id included."""
        return int(lib.zcrx_step_offset(self._ptr, niov))

    def _areas(self) -> tuple[int, ...]:
        niovs = ffi.new("uint32_t[]", AREAS_MAX)
        return tuple(niovs[0 : lib.zcrx_step_areas(self._ptr, niovs)])

    def restart(self) -> int:
        """Put a new page pool in charge; its slot."""
        if self.shape.has_no_device:
            raise StateError("restart_queue: an instance without a device has no queue")
        slot = int(lib.zcrx_step_restart(self._ptr))
        if slot < 0:
            raise StateError("restart_queue: every pool slot holds a pool that waits for buffers")
        return slot

    def retry_release(self, slot: int) -> bool:
        """Look again at a dying pool; True if it is gone."""
        result = int(lib.zcrx_step_retry_release(self._ptr, slot))
        if result < 0:
            raise StateError(f"retry_release: pool {slot} is not dying")
        return bool(result)

    def destroy(self) -> bool:
        """Tear the queue down; True if every buffer is home."""
        result = int(lib.zcrx_step_destroy(self._ptr))
        if result == -errno.ENOENT:
            raise StateError("destroy: no page pool serves the queue")
        return result == 0

    def take_verdicts(self) -> list[Judgement]:
        """Verdicts of the RQEs consumed since the last call, in order."""
        judgements: list[Judgement] = []
        while True:
            count = lib.zcrx_step_take_verdicts(self._ptr, self._judgements, 256)
            judgements.extend(_judgement(raw) for raw in self._judgements[0:count])
            if count < 256:
                return judgements

    def _pool(self, slot: int) -> PoolState:
        raw = ffi.new("struct zcrx_step_pool *")
        cache = ffi.new("uint32_t[128]")
        ring = ffi.new("uint32_t[]", self.shape.ptr_ring_size)
        lib.zcrx_step_pool_read(self._ptr, slot, raw, cache, ring)
        return PoolState(
            phase=PoolPhase(raw.phase),
            alloc_cache=tuple(cache[0 : raw.cache_count]),
            ptr_ring=tuple(ring[0 : raw.ring_count]),
            inflight=raw.inflight,
        )

    def state(self) -> ProviderState:
        """Everything there is to know, as a value."""
        count = int(lib.zcrx_step_niovs(self._ptr))
        niovs = ffi.new("uint32_t[]", count)
        free_count = int(lib.zcrx_step_freelist(self._ptr, niovs))
        user_refs, pp_refs, pools = (ffi.new("uint32_t[]", count) for _ in range(3))
        lib.zcrx_step_buffers(self._ptr, user_refs, pp_refs, pools)
        current = int(lib.zcrx_step_current_pool(self._ptr))
        names = COUNTER_NAMES[CounterGroup.PROVIDER]
        values = ffi.new("uint64_t[]", len(names))
        lib.zcrx_counters_read(lib.zcrx_step_queue(self._ptr), int(CounterGroup.PROVIDER), values)
        counters = dict(zip(names, values, strict=True))
        return ProviderState(
            rq_head=int(lib.zcrx_step_head(self._ptr)),
            rq_tail=self.tail,
            cached_rq_head=int(lib.zcrx_step_cached_head(self._ptr)),
            areas=self._areas(),
            free_count=free_count,
            freelist=tuple(niovs[0:free_count]),
            user_refs=tuple(user_refs),
            pp_refs=tuple(pp_refs),
            niov_pool=tuple(pool - 1 if pool else None for pool in pools),
            pools=tuple(self._pool(slot) for slot in range(POOLS_MAX)),
            current_pool=current - 1 if current else None,
            instance_refs=counters["instance_refs"],
            verdicts={verdict: counters[verdict.label] for verdict in Verdict},
            aliases=counters["aliases"],
            alloc_failures=counters["alloc_failures"],
            destroy_warnings=counters["destroy_warnings"],
        )

    def pool_counters(self) -> dict[str, int]:
        """Page-pool counters under their ``ethtool -S`` names (without ``rx_pp_``)."""
        names = COUNTER_NAMES[CounterGroup.POOL]
        values = ffi.new("uint64_t[]", len(names))
        lib.zcrx_counters_read(lib.zcrx_step_queue(self._ptr), int(CounterGroup.POOL), values)
        return dict(zip(names, values, strict=True))


def _judgement(raw: Any) -> Judgement:
    verdict = Verdict(raw.verdict)
    named = verdict not in (Verdict.BAD_PAD, Verdict.BAD_AREA)
    return Judgement(
        index=raw.index,
        verdict=verdict,
        niov=raw.niov if named else None,
        alias=bool(raw.alias),
    )
