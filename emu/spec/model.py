"""The executable specification: provider, page pools and area in plain Python.

Slow and obvious on purpose: lists used as stacks and queues, ints, no sharing and no
concurrency; each public method is one whole step. :class:`emu.spec.stepping.StepProvider` offers
the same methods on top of the C core, and the two must agree after every step, hostile
refill rings included. Where they differ, one of them is wrong; this one is the shorter read.

Source: ``io_uring/zcrx.c`` and ``net/core/page_pool.c`` of Linux, the first version of
zero-copy receive with the refill/scrub race fixed (the level ``seed``). Kernel function names are
given below. What later kernels do otherwise stands beside it, each difference in one place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from emu.contract import SEED, Contract
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

#: Kernel levels that are specified here, oldest first.
LEVELS = (SEED, "6.15", "6.18", "7.1", "7.2", "7.3")
#: Levels at which a pool that goes wants every niov of the area to be home, and warns otherwise.
_CHECKS_DESTROY = (SEED, "6.15")
#: Levels at which a refill is for an empty alloc cache, and the user may have the ring flushed.
_SINCE_7_1 = ("7.1", "7.2", "7.3")
#: Levels at which a refill goes by runs of entries and by a tail that it read before, and
#: areas may be added.
_SINCE_7_3 = ("7.3",)
#: Experimental: where references are counted nobody can tell who comes alone, so that what is
#: specified is the level below.
_ON_TOP_OF = {"refs-cache": "7.3"}

#: An offset is: area id (bits 48..63), byte offset inside the area (bits 0..47).
AREA_SHIFT = 48
#: Bytes of a niov, unless a kernel of 7.1 or later was asked for larger ones.
PAGE_SIZE = 4096
#: Bytes of the largest niov.
RX_BUF_LEN_MAX = 2**30
#: Niovs that one refill brings into the alloc cache at most (``PP_ALLOC_CACHE_REFILL``).
REFILL_MAX = 64
#: RQEs that a refill of 7.3 takes by one look at the tail (64 for each KiB of a page).
LOOK_MAX = 256
#: RQEs that a flush looks at together.
FLUSH_BATCH = 32
#: RQEs of the largest refill ring (``IO_RQ_MAX_ENTRIES``).
RQ_ENTRIES_MAX = 32768
#: Slots of the largest ptr ring.
PTR_RING_SIZE_MAX = 32768
#: Niovs of all areas.
NIOVS_MAX = 2**20
#: Fragments of one delivery at most.
FRAGMENTS_MAX = 2**20

U32 = 2**32
U64 = 2**64


#: What ``ethtool -S`` shows of a page pool; those that a memory provider never moves stay 0.
_POOL_COUNTERS = (
    *("alloc_fast", "alloc_slow", "alloc_slow_ho", "alloc_empty", "alloc_refill", "alloc_waive"),
    *("recycle_cached", "recycle_cache_full", "recycle_ring", "recycle_ring_full"),
    "recycle_released_ref",
)


@dataclass(slots=True)
class _Rqe:
    """One slot of the refill ring; never written, it reads as "return buffer 0"."""

    off: int = 0
    length: int = 0
    pad: int = 0


@dataclass(slots=True)
class _Pool:
    """One page pool slot."""

    phase: PoolPhase = PoolPhase.UNUSED
    alloc_cache: list[int] = field(default_factory=list)  #: a stack, top last
    ptr_ring: list[int] = field(default_factory=list)  #: a queue, oldest first
    inflight: int = 0  #: buffers bound to this pool

    def state(self) -> PoolState:
        return PoolState(self.phase, tuple(self.alloc_cache), tuple(self.ptr_ring), self.inflight)


class ModelProvider:
    """Model one instance: an area, its refill ring and the page pools of its queue.

    It starts with a current page pool in slot 0, a full freelist and an empty refill ring.
    Every method is one step that nothing interleaves with. Methods of three parties are here:
    the NIC and the stack (``alloc``, ``deliver``, ``drop``, ``copy_fallback``), the untrusted
    user (``push_rqe``, ``write_rqe``, ``set_head``, ``set_tail``) and the one who controls the
    instance (``scrub``, ``restart_queue``, ``retry_release``, ``destroy``).

    Args:
        num_niovs: Buffers of the area: 1 .. 2**20; of each, if there are several.
        rq_entries: RQEs of the refill ring: a power of two, 1 .. 32768.
        ptr_ring_size: Slots of each pool's ptr ring: 1 .. 32768.
        initial_index: Where head, tail and the cached head start: u32, free-running.
        strict_alias: Reject an RQE whose niov index lost bits in the truncation to 32 bits,
            instead of taking it for the buffer that the remaining bits name.
        rx_buf_len: Bytes of a niov: a power of two, 4096 .. 2**30; 4096 before 7.1.
        device: False: there is none, so no page pool either; from 7.1 on, with niovs of a page.
        areas: Areas to begin with: 1 .. 1024, with 2**20 niovs together; 1 before 7.3. Niovs
            are numbered through, area by area.
        kernel: The level that is specified: ``seed``, ``6.15``, ``6.18``, ``7.1``, ``7.2`` or
            ``7.3``, see ``docs/levels.md``; or ``refs-cache``, which is experimental.

    Raises:
        ConfigError: An argument is out of its range.
    """

    def __init__(
        self,
        *,
        num_niovs: int,
        rq_entries: int,
        ptr_ring_size: int = 1024,
        initial_index: int = 0,
        strict_alias: bool = False,
        rx_buf_len: int = PAGE_SIZE,
        device: bool = True,
        areas: int = 1,
        kernel: str = SEED,
    ) -> None:
        _check_range("num_niovs", num_niovs, 1, NIOVS_MAX)
        _check_range("rq_entries", rq_entries, 1, RQ_ENTRIES_MAX)
        if rq_entries & (rq_entries - 1):
            raise ConfigError.of("rq_entries", rq_entries, "a power of two")
        _check_range("ptr_ring_size", ptr_ring_size, 1, PTR_RING_SIZE_MAX)
        _check_range("initial_index", initial_index, 0, U32 - 1)
        kernel = _ON_TOP_OF.get(kernel, kernel)
        if kernel not in LEVELS:
            raise ConfigError.of("kernel", kernel, f"it must be one of {', '.join(LEVELS)}")

        _check_range("rx_buf_len", rx_buf_len, PAGE_SIZE, RX_BUF_LEN_MAX)
        if rx_buf_len & (rx_buf_len - 1):
            raise ConfigError.of("rx_buf_len", rx_buf_len, "a power of two")
        if rx_buf_len != PAGE_SIZE and kernel not in _SINCE_7_1:
            raise ConfigError.of("rx_buf_len", rx_buf_len, f"{PAGE_SIZE} with the kernel {kernel}")
        _check_area_size(num_niovs, rx_buf_len)

        if not device and kernel not in _SINCE_7_1:
            raise ConfigError.of("device", device, f"there is one with the kernel {kernel}")
        if not device and rx_buf_len != PAGE_SIZE:
            raise ConfigError.of("rx_buf_len", rx_buf_len, f"{PAGE_SIZE} without a device")

        _check_range("areas", areas, 1, AREAS_MAX)
        if areas > 1 and kernel not in _SINCE_7_3:
            raise ConfigError.of("areas", areas, f"there is 1 with the kernel {kernel}")
        if areas * num_niovs > NIOVS_MAX:
            raise ConfigError.of("areas", areas, f"{NIOVS_MAX} niovs together at most")

        self._has_device = device
        self._rx_buf_len = rx_buf_len
        self._rq_entries = rq_entries
        self._ptr_ring_size = ptr_ring_size
        self._contract = Contract(level=kernel, strict_alias=strict_alias)

        # The refill ring: shared with the user, except for the cached head.
        self._rqes = [_Rqe() for _ in range(rq_entries)]
        self._rq_head = initial_index
        self._rq_tail = initial_index
        self._cached_rq_head = initial_index
        self._claimed = 0  # entries that the tail promised when it was last read (7.3)

        # The areas. All buffers start on the freelist of theirs, a stack.
        self._areas: list[range] = []
        self._freelists: list[list[int]] = []
        self._user_refs: list[int] = []
        self._pp_refs: list[int] = []
        self._stack_refs: list[int] = []  # those of pp_refs that NIC and stack hold
        self._niov_pool: list[int | None] = []
        for _ in range(areas):
            self._append_area(num_niovs)

        self._pools = [_Pool() for _ in range(POOLS_MAX)]
        self._current_pool: int | None = None
        self._instance_refs = 1

        self._verdicts = dict.fromkeys(Verdict, 0)
        self._pool_counters = dict.fromkeys(_POOL_COUNTERS, 0)  # of all pools, also those gone
        self._aliases = 0
        self._alloc_failures = 0
        self._destroy_warnings = 0
        self._judgements: list[Judgement] = []

        if device:
            self._init_pool(0)

    # ---- NIC and stack ----------------------------------------------------------------------

    def alloc(self, count: int = 1) -> list[int]:
        """Allocate up to ``count`` buffers for the NIC, stopping at the first that fails.

        Each buffer comes with one page-pool reference, which the stack now holds. Supply in
        this order: alloc cache, ptr ring, refill ring, freelist.

        Args:
            count: Allocations to try; none at all if 0 or less. One that finds nothing is
                counted in ``alloc_failures`` and ends the call.

        Returns:
            Niov indices in the order handed out; shorter than ``count`` after a failure.

        Raises:
            StateError: There is no current page pool to allocate from.

        Source: ``page_pool_alloc_netmems()``, ``io_pp_zc_alloc_netmems()``.
        """
        niovs: list[int] = []
        for _ in range(count):
            niov = self._alloc_one(self._require_current_pool())
            if niov is None:
                self._alloc_failures += 1
                break
            niovs.append(niov)
        return niovs

    def deliver(self, niov: int, fragments: int = 1, *, keep_stack_ref: bool = False) -> None:
        """Hand fragments of a buffer to the user: one user and one page-pool reference each.

        Args:
            niov: Buffer on which the stack holds a page-pool reference.
            fragments: How many fragments of it are delivered: 1 .. 2**20.
            keep_stack_ref: Keep the stack's own reference; else one is dropped afterwards, as
                when the last fragment has left the socket queue.

        Raises:
            ConfigError: ``niov`` is not in the area, or ``fragments`` is out of range.
            StateError: The stack holds no reference on ``niov``.

        Source: ``io_zcrx_recv_frag()``.
        """
        self._require_stack_ref(niov)
        _check_range("fragments", fragments, 1, FRAGMENTS_MAX)
        self._user_refs[niov] += fragments
        self._pp_refs[niov] += fragments
        if not keep_stack_ref:
            self.drop(niov)

    def drop(self, niov: int) -> None:
        """Drop one page-pool reference that the stack holds; the last one sends the buffer home.

        Home is the ptr ring of the pool that the buffer is bound to, the freelist when that
        ring is full or the buffer is bound to none.

        Args:
            niov: Buffer on which the stack holds a page-pool reference.

        Raises:
            ConfigError: ``niov`` is not in the area.
            StateError: The stack holds no reference on ``niov``.

        Source: ``page_pool_put_unrefed_netmem()``.
        """
        self._require_stack_ref(niov)
        self._stack_refs[niov] -= 1
        if self._put_pp_refs(niov, 1):
            self._return_to_pool(niov)

    def copy_fallback(self) -> int | None:
        """Take a buffer straight from the freelist, for a payload that must be copied.

        It is bound to no pool, and the stack holds its one page-pool reference.

        Returns:
            The niov index, or None if every freelist is empty (which is not an allocation
            failure: ``alloc_failures`` stays).

        Source: ``io_zcrx_copy_chunk()``.
        """
        niov = self._pop_freelist()
        if niov is None:
            return None
        self._pp_refs[niov] = 1
        self._stack_refs[niov] = 1
        return niov

    # ---- the user, who may write anything ---------------------------------------------------

    def push_rqe(self, off: int, length: int = 0, pad: int = 0) -> None:
        """Write an RQE into the slot that the tail word names, then advance the tail word.

        There is no check for room: a full ring is overwritten.

        Args:
            off: What :meth:`offset` says, + offset in the buffer; any u64.
            length: ``len``, bytes; any u32.
            pad: ``__pad``; any u32.

        Raises:
            ConfigError: A value does not fit its field. Nothing was written.
        """
        self.write_rqe(self._rq_tail & (self._rq_entries - 1), off, length, pad)
        self._rq_tail = (self._rq_tail + 1) % U32

    def write_rqe(self, slot: int, off: int, length: int = 0, pad: int = 0) -> None:
        """Write an RQE into a slot of the refill ring without publishing it.

        Args:
            slot: 0 .. ``rq_entries`` - 1.
            off: Any u64, see :meth:`push_rqe`.
            length: Any u32.
            pad: Any u32.

        Raises:
            ConfigError: A value does not fit its field, or there is no such slot.
        """
        _check_range("slot", slot, 0, self._rq_entries - 1)
        _check_range("off", off, 0, U64 - 1)
        _check_range("length", length, 0, U32 - 1)
        _check_range("pad", pad, 0, U32 - 1)
        self._rqes[slot] = _Rqe(off, length, pad)

    def set_head(self, value: int) -> None:
        """Scribble on the published head word, which only the kernel should write.

        Args:
            value: Any u32.

        Raises:
            ConfigError: ``value`` is not a u32.
        """
        _check_range("head", value, 0, U32 - 1)
        self._rq_head = value

    def set_tail(self, value: int) -> None:
        """Store the published tail word, whatever was written behind it.

        Args:
            value: Any u32.

        Raises:
            ConfigError: ``value`` is not a u32.
        """
        _check_range("tail", value, 0, U32 - 1)
        self._rq_tail = value

    # ---- control ----------------------------------------------------------------------------

    def scrub(self) -> int:
        """Take back every user reference; buffers left without any reference go home.

        In index order, each to the ptr ring of its own pool, the overflow to the freelist.

        Returns:
            How many user references were taken back.

        Source: ``io_zcrx_scrub()``.
        """
        total = 0
        for niov, refs in enumerate(self._user_refs):
            if refs == 0:
                continue
            self._user_refs[niov] = 0
            total += refs
            if self._put_pp_refs(niov, refs):
                self._return_to_pool(niov)
        return total

    def flush(self) -> int:
        """Have the refill ring judged, as a user may from 7.1 on; how many RQEs were consumed.

        By batches of 32: the head word is written after each, even if it had no entry, and only
        then are the references looked at. A malformed entry is consumed and ends the flush, and
        so does a batch that is not full. Each buffer goes home as from outside.

        Raises:
            StateError: The level knows no flush.

        Source: ``zcrx_flush_rq()``.
        """
        if self._contract.level not in _SINCE_7_1:
            raise StateError(f"flush: the kernel {self._contract.level} has no such operation")
        flushed = 0
        while flushed < self._rq_entries:
            taken: list[Judgement] = []
            for _ in range(min(self._available(), FLUSH_BATCH)):
                taken.append(self._read(self._cached_rq_head))
                self._cached_rq_head = (self._cached_rq_head + 1) % U32
                if taken[-1].verdict is not Verdict.ACCEPTED:
                    break
            self._claimed = 0
            self._rq_head = self._cached_rq_head
            for judgement in taken:
                verdict = judgement.verdict
                if verdict is Verdict.ACCEPTED:
                    assert judgement.niov is not None
                    verdict = self._take_back(None, judgement.niov)
                self._say(replace(judgement, verdict=verdict))
            flushed += len(taken)
            if len(taken) < FLUSH_BATCH or taken[-1].verdict is not Verdict.ACCEPTED:
                break
        return flushed

    def add_area(self, num_niovs: int) -> int:
        """Add an area, as a user may from 7.3 on; its id: they are counted from 0.

        Its niovs are numbered behind those that there are. They serve when the areas before it
        have none that is free.

        Raises:
            StateError: The level has one area; there are 1024; or there would be more than
                2**20 niovs.
            ConfigError: ``num_niovs`` is not 1 .. 2**20, or the area would have more than 2**48
                bytes.

        Source: ``zcrx_ctrl_add_area()``.
        """
        _check_range("num_niovs", num_niovs, 1, NIOVS_MAX)
        _check_area_size(num_niovs, self._rx_buf_len)
        if self._contract.level not in _SINCE_7_3:
            raise StateError(f"add_area: the kernel {self._contract.level} has one area")
        if len(self._areas) == AREAS_MAX:
            raise StateError(f"add_area: there are {AREAS_MAX} areas")
        if len(self._user_refs) + num_niovs > NIOVS_MAX:
            raise StateError(f"add_area: there would be more than {NIOVS_MAX} niovs")
        return self._append_area(num_niovs)

    def offset(self, niov: int) -> int:
        """Say what an RQE's ``off`` is to give this buffer back: its area, and where it begins."""
        _check_range("niov", niov, 0, len(self._user_refs) - 1)
        area = self._area_of(niov)
        return area << AREA_SHIFT | self._areas[area].index(niov) * self._rx_buf_len

    def restart_queue(self) -> int:
        """Give the queue a new page pool, then tear the former one down, if there is one.

        Returns:
            The slot of the new pool: the lowest that was unused.

        Raises:
            StateError: All ``POOLS_MAX`` slots are in use. Nothing was changed.

        Source: ``netdev_rx_queue_restart()``.
        """
        if not self._has_device:
            raise StateError("an instance without a device has no queue")
        former = self._current_pool
        slot = self._unused_slot()
        self._init_pool(slot)
        if former is not None:
            self._tear_down(former)
        return slot

    def retry_release(self, pool: int) -> bool:
        """Let a dying page pool release what has come back to its ptr ring meanwhile.

        Args:
            pool: Slot of a dying pool.

        Returns:
            Whether the pool is gone now: nothing is bound to it any more and its slot is unused.

        Raises:
            StateError: The pool in that slot is not dying, or there is no such slot.

        Source: ``page_pool_release_retry()``.
        """
        if not 0 <= pool < POOLS_MAX or self._pools[pool].phase != PoolPhase.DYING:
            raise StateError(f"pool: slot {pool} holds no dying page pool")
        self._drain_ptr_ring(pool)
        if self._pools[pool].inflight != 0:
            return False
        self._destroy_pool(pool)
        return True

    def destroy(self) -> bool:
        """Tear the queue down. There is no current page pool afterwards.

        Returns:
            Whether every buffer of the area is home. If not, a destroy warning was counted and
            the reference on the instance is kept: for good if the pool is gone, until
            :meth:`retry_release` ends it if it is dying.

        Raises:
            StateError: There is no current page pool.

        Source: ``io_pp_zc_destroy()``.
        """
        pool = self._require_current_pool()
        self._current_pool = None
        self._drain(pool)
        if self._pools[pool].inflight == 0:
            return self._destroy_pool(pool)
        self._pools[pool].phase = PoolPhase.DYING
        self._destroy_warnings += 1
        return False

    # ---- looking at it ----------------------------------------------------------------------

    def state(self) -> ProviderState:
        """Return a copy of the whole state, equal to that of a C core that took the same steps."""
        return ProviderState(
            rq_head=self._rq_head,
            rq_tail=self._rq_tail,
            cached_rq_head=self._cached_rq_head,
            areas=tuple(len(niovs) for niovs in self._areas),
            free_count=sum(len(freelist) for freelist in self._freelists),
            freelist=tuple(niov for freelist in reversed(self._freelists) for niov in freelist),
            user_refs=tuple(self._user_refs),
            pp_refs=tuple(self._pp_refs),
            niov_pool=tuple(self._niov_pool),
            pools=tuple(pool.state() for pool in self._pools),
            current_pool=self._current_pool,
            instance_refs=self._instance_refs,
            verdicts=dict(self._verdicts),
            aliases=self._aliases,
            alloc_failures=self._alloc_failures,
            destroy_warnings=self._destroy_warnings,
        )

    def take_verdicts(self) -> list[Judgement]:
        """Return the verdicts of the RQEs consumed since the last call, oldest first."""
        judgements = self._judgements
        self._judgements = []
        return judgements

    def pool_counters(self) -> dict[str, int]:
        """Return the page pools' counters by their ``ethtool -S`` names, without ``rx_pp_``."""
        return dict(self._pool_counters)

    # ---- supply -----------------------------------------------------------------------------

    def _alloc_one(self, pool: int) -> int | None:
        cache = self._pools[pool].alloc_cache
        if cache:
            self._pool_counters["alloc_fast"] += 1
        else:
            self._refill_from_ptr_ring(pool)
            self._pool_counters["alloc_refill" if cache else "alloc_empty"] += 1
            if not cache and not self._ask_provider(pool):
                return None
        niov = cache.pop()
        assert self._pp_refs[niov] == 1
        assert self._user_refs[niov] == 0
        self._stack_refs[niov] = 1
        return niov

    def _ask_provider(self, pool: int) -> bool:
        """Source: ``io_pp_zc_alloc_netmems()``."""
        cache = self._pools[pool].alloc_cache
        self._refill_from_ring(pool)
        if not cache:
            self._refill_from_freelist(pool)
        self._pool_counters["alloc_slow"] += bool(cache)
        return bool(cache)

    def _refill_from_ptr_ring(self, pool: int) -> None:
        """Source: ``page_pool_refill_alloc_cache()``."""
        cache, ptr_ring = self._pools[pool].alloc_cache, self._pools[pool].ptr_ring
        while ptr_ring and len(cache) < REFILL_MAX:
            cache.append(ptr_ring.pop(0))

    def _claimed_by_tail(self) -> int:
        """How many RQEs the tail word claims: a ring's worth at most."""
        return min((self._rq_tail - self._cached_rq_head) % U32, self._rq_entries)

    def _available(self) -> int:
        """How many of them may be consumed now: here, all."""
        return self._claimed_by_tail()

    def _look_max(self) -> int:
        """How many a refill of 7.3 may consume by one look."""
        return LOOK_MAX

    def _refill_from_ring(self, pool: int) -> None:
        """Consume RQEs: as many as the tail word claims, a ring's worth, or what the cache takes.

        A rejected entry is consumed like any other. The head word is written once, after the
        last entry was read, and not at all if there was none; it is never read.

        Source: ``io_zcrx_ring_refill()``.
        """
        if self._contract.level in _SINCE_7_3:
            self._refill_by_runs(pool)
            return
        count = min(self._available(), REFILL_MAX - len(self._pools[pool].alloc_cache))
        if count == 0:
            return
        for _ in range(count):
            index = self._cached_rq_head
            self._cached_rq_head = (index + 1) % U32
            judgement = self._read(index)
            if judgement.verdict is Verdict.ACCEPTED:
                assert judgement.niov is not None
                judgement = replace(judgement, verdict=self._take_back(pool, judgement.niov))
            self._say(judgement)
        self._rq_head = self._cached_rq_head

    def _refill_by_runs(self, pool: int) -> None:
        """The same since 7.3: until 63 buffers are there, and by runs.

        A run is what names one buffer, malformed entries in between or not, until an entry names
        another. Its references are taken back together, or none if there are fewer. What the
        tail claimed when it was last read comes first; when that is used up, it is read once.
        The head word is written in any case.

        Source: ``io_zcrx_ring_refill()``.
        """
        said: dict[int, Judgement] = {}
        run: list[int] = []
        for index in self._entries_by_claim(pool):
            said[index] = self._read(index)
            if said[index].verdict is Verdict.ACCEPTED:
                if run and said[run[0]].niov != said[index].niov:
                    self._take_run_back(pool, run, said)
                    run = []
                run.append(index)
        self._take_run_back(pool, run, said)
        for judgement in said.values():
            self._say(judgement)
        self._rq_head = self._cached_rq_head

    def _entries_by_claim(self, pool: int) -> Iterator[int]:
        """Name the entries that a refill of 7.3 takes, each consumed when it is named."""
        cache = self._pools[pool].alloc_cache
        for look in range(2):
            if look == 1:
                if self._claimed > 0 or len(cache) >= REFILL_MAX - 1:
                    return
                self._claimed = self._claimed_by_tail()
            for _ in range(min(self._claimed, self._look_max())):
                if len(cache) >= REFILL_MAX - 1:
                    return
                index = self._cached_rq_head
                self._cached_rq_head = (index + 1) % U32
                self._claimed -= 1
                yield index

    def _take_run_back(self, pool: int, run: list[int], said: dict[int, Judgement]) -> None:
        """Take the references of a run of entries back, all or none."""
        niovs = [niov for index in run if (niov := said[index].niov) is not None]
        enough = all(self._user_refs[niov] >= len(run) for niov in niovs)
        for index, niov in zip(run, niovs, strict=True):
            verdict = self._take_back(pool, niov) if enough else Verdict.NO_USER_REF
            said[index] = replace(said[index], verdict=verdict)

    def _say(self, judgement: Judgement) -> None:
        self._verdicts[judgement.verdict] += 1
        self._judgements.append(judgement)

    def _refill_from_freelist(self, pool: int) -> None:
        """Source: ``io_zcrx_refill_slow()``."""
        cache = self._pools[pool].alloc_cache
        while len(cache) < REFILL_MAX and (niov := self._pop_freelist()) is not None:
            self._bind(niov, pool)
            cache.append(niov)

    def _read(self, index: int) -> Judgement:
        """Decide by the bytes of the entry at ring index ``index``; accepted: references decide."""
        rqe = self._rqes[index & (self._rq_entries - 1)]
        if rqe.pad != 0:
            return Judgement(index, Verdict.BAD_PAD, None)
        if rqe.off >> AREA_SHIFT >= len(self._areas):
            return Judgement(index, Verdict.BAD_AREA, None)
        niovs = self._areas[rqe.off >> AREA_SHIFT]

        # The kernel keeps the index in 32 bits before it looks at it: offset bits 44..47 vanish,
        # fewer of them if buffers are larger.
        index_full = rqe.off % 2**AREA_SHIFT // self._rx_buf_len
        in_area = index_full % U32
        if in_area >= len(niovs):
            return Judgement(index, Verdict.BAD_INDEX, in_area)
        alias = in_area != index_full
        if alias:
            self._aliases += 1
        if alias and self._contract.strict_alias:
            return Judgement(index, Verdict.BAD_INDEX, in_area, alias)
        return Judgement(index, Verdict.ACCEPTED, niovs[in_area], alias)

    def _take_back(self, pool: int | None, niov: int) -> Verdict:
        """Take one user reference back, on behalf of an allocation from ``pool`` or of nobody."""
        if self._user_refs[niov] == 0:
            return Verdict.NO_USER_REF
        self._user_refs[niov] -= 1
        if not self._put_pp_refs(niov, 1):
            return Verdict.STILL_REFERENCED
        if pool is None or self._niov_pool[niov] != pool:
            self._return_to_pool(niov)
            return Verdict.OTHER_POOL
        self._pools[pool].alloc_cache.append(niov)
        return Verdict.ACCEPTED

    # ---- the way of a buffer ----------------------------------------------------------------

    def _put_pp_refs(self, niov: int, count: int) -> bool:
        """Drop page-pool references; if they were the last, leave the count at 1 and say True."""
        assert self._pp_refs[niov] >= count
        self._pp_refs[niov] -= count
        if self._pp_refs[niov] > 0:
            return False
        assert self._user_refs[niov] == 0
        assert self._stack_refs[niov] == 0
        self._pp_refs[niov] = 1
        return True

    def _return_to_pool(self, niov: int) -> None:
        """Send a buffer without references home, from outside its pool's allocation."""
        pool = self._niov_pool[niov]
        if pool is None:
            self._push_freelist(niov)
        elif len(self._pools[pool].ptr_ring) < self._ptr_ring_size:
            self._pools[pool].ptr_ring.append(niov)
            self._pool_counters["recycle_ring"] += 1
        else:
            self._pool_counters["recycle_ring_full"] += 1
            self._release(niov)

    def _bind(self, niov: int, pool: int) -> None:
        assert self._niov_pool[niov] is None
        self._niov_pool[niov] = pool
        self._pools[pool].inflight += 1
        self._pp_refs[niov] = 1

    def _release(self, niov: int) -> None:
        """Unbind a buffer from its pool. Source: ``io_pp_zc_release_netmem()``."""
        pool = self._niov_pool[niov]
        assert pool is not None
        self._niov_pool[niov] = None
        self._pools[pool].inflight -= 1
        assert self._pools[pool].inflight >= 0
        self._push_freelist(niov)

    def _push_freelist(self, niov: int) -> None:
        """Source: ``io_zcrx_return_niov_freelist()``."""
        area = self._area_of(niov)
        freelist = self._freelists[area]
        assert len(freelist) < len(self._areas[area]), "free_count would exceed num_niovs"
        freelist.append(niov)

    def _pop_freelist(self) -> int | None:
        """One of the first area that has one; None if all are empty."""
        for freelist in self._freelists:
            if freelist:
                return freelist.pop()
        return None

    # ---- areas ------------------------------------------------------------------------------

    def _append_area(self, num_niovs: int) -> int:
        niovs = range(len(self._user_refs), len(self._user_refs) + num_niovs)
        self._areas.append(niovs)
        self._freelists.append(list(niovs))
        for refs in (self._user_refs, self._pp_refs, self._stack_refs):
            refs.extend([0] * num_niovs)
        self._niov_pool.extend([None] * num_niovs)
        return len(self._areas) - 1

    def _area_of(self, niov: int) -> int:
        return next(area for area, niovs in enumerate(self._areas) if niov in niovs)

    # ---- the life of a page pool ------------------------------------------------------------

    def _unused_slot(self) -> int:
        for slot, pool in enumerate(self._pools):
            if pool.phase == PoolPhase.UNUSED:
                return slot
        raise StateError(f"no unused page pool slot: all {POOLS_MAX} wait for buffers")

    def _init_pool(self, slot: int) -> None:
        """Source: ``io_pp_zc_init()``."""
        self._pools[slot] = _Pool(phase=PoolPhase.CURRENT)
        self._current_pool = slot
        self._instance_refs += 1

    def _tear_down(self, pool: int) -> None:
        """Drain a pool that is no longer current; gone if nothing is out, else dying."""
        self._drain(pool)
        if self._pools[pool].inflight == 0:
            self._destroy_pool(pool)
        else:
            self._pools[pool].phase = PoolPhase.DYING

    def _drain(self, pool: int) -> None:
        """Release what a pool holds: alloc cache from the top, then ptr ring from the oldest."""
        cache = self._pools[pool].alloc_cache
        while cache:
            self._release(cache.pop())
        self._drain_ptr_ring(pool)

    def _drain_ptr_ring(self, pool: int) -> None:
        ptr_ring = self._pools[pool].ptr_ring
        while ptr_ring:
            self._release(ptr_ring.pop(0))

    def _destroy_pool(self, pool: int) -> bool:
        """End a pool that nothing is bound to. The check covers the whole area, not this pool.

        Source: ``io_pp_zc_destroy()``.
        """
        self._pools[pool] = _Pool()
        checks = self._contract.level in _CHECKS_DESTROY
        if checks and sum(map(len, self._freelists)) != len(self._user_refs):
            self._destroy_warnings += 1
            return False
        self._instance_refs -= 1
        return True

    # ---- what a caller may ask --------------------------------------------------------------

    def _require_current_pool(self) -> int:
        if self._current_pool is None:
            raise StateError("the queue has no page pool: it was destroyed")
        return self._current_pool

    def _require_stack_ref(self, niov: int) -> None:
        _check_range("niov", niov, 0, len(self._user_refs) - 1)
        if self._stack_refs[niov] == 0:
            raise StateError(f"niov: the stack holds no page-pool reference on {niov}")


def _check_area_size(num_niovs: int, rx_buf_len: int) -> None:
    if num_niovs * rx_buf_len > 2**AREA_SHIFT:
        raise ConfigError.of("rx_buf_len", rx_buf_len, "an area of 2**48 bytes at most")


def _check_range(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ConfigError.of(name, value, f"{low} .. {high}")
