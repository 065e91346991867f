"""The provider step by step, in one process: for tests, teaching and notebooks.

The code that runs is the C core of the live run. The caller plays NIC, stack
and user; :class:`StepProvider` keeps the account of what the stack holds, so
that only legal kernel-side operations reach the core. What the *user* does is
unrestricted: any entry, any index, at any time.

>>> provider = StepProvider(num_niovs=4, rq_entries=8)
>>> niov, = provider.alloc()
>>> provider.deliver(niov)
>>> provider.push_rqe(niov << 12, 1448)
>>> provider.push_rqe(niov << 12, 1448)  # the same again: a double return
>>> _ = provider.alloc(4)                # the cache is empty only after three more
>>> [judgement.verdict.label for judgement in provider.take_verdicts()]
['accepted', 'no_user_ref']
"""

from __future__ import annotations

from pathlib import Path

from emu.compile.provider_file import library_of
from emu.contract import (
    EXPERIMENTAL,
    HAS_AREAS,
    HAS_NO_DEVICE,
    HAS_RX_BUF_LEN,
    SEED,
    Contract,
    check_level,
)
from emu.core import ProviderLibrary, Shape, Stepper
from emu.errors import ConfigError, StateError
from emu.spec.state import AREAS_MAX, POOLS_MAX, Judgement, ProviderState

_U32 = 2**32 - 1
_U64 = 2**64 - 1
#: Buffers of all areas.
NIOVS_MAX = 2**20

_ONE_AREA = "with this kernel or provider there is 1"


def _check(field: str, value: int, low: int, high: int) -> int:
    if not low <= value <= high:
        raise ConfigError.of(field, value, f"it must be {low} to {high}")
    return value


def _check_size(num_niovs: int, rx_buf_len: int) -> None:
    if num_niovs * rx_buf_len > 2**48:
        raise ConfigError.of("rx_buf_len", rx_buf_len, "an area has 2**48 bytes at most")


class StepProvider:
    """One instance: an area, a refill ring, page pools and the provider.

    Args:
        num_niovs: Buffers of the area, 1 to 2**20; of each area, if there are several.
        rq_entries: Entries of the refill ring, a power of two, 1 to 32768.
        ptr_ring_size: Slots of each page pool's ptr ring, 1 to 32768.
        initial_index: Where head and tail start, u32.
        strict_alias: Reject an RQE whose niov index loses bits in the kernel's
            32-bit truncation, instead of accepting it as another buffer's.
        rx_buf_len: Bytes of a buffer: a power of two, 4096 to 2**30; 4096 before 7.1.
        device: False: the instance has none, so there is no page pool, each byte is copied, and
            returns wait for :meth:`flush`; since 7.1, and with buffers of 4096 bytes.
        areas: Areas to begin with: 1; from 7.3 on up to 1024, of 2**20 buffers together. More
            come with :meth:`add_area`. Buffers are numbered through, area by area.
        kernel: The level that is played: ``seed``, ``6.15``, ``6.18``, ``7.1``, ``7.2`` or
            ``7.3``, see ``docs/levels.md``; or ``refs-cache``, which is experimental.
        provider: A provider that takes the place of ours, as a shared library or in C, see
            ``docs/provider.md``. It runs in this process, and if it crashes, so does this. It
            has one area.

    Raises:
        ConfigError: A value is out of its range, or the library cannot be used.

    Source: ``io_uring/zcrx.c`` and ``net/core/page_pool.c`` of Linux 6.15.
    """

    def __init__(
        self,
        *,
        num_niovs: int,
        rq_entries: int,
        ptr_ring_size: int = 1024,
        initial_index: int = 0,
        strict_alias: bool = False,
        rx_buf_len: int = 4096,
        device: bool = True,
        areas: int = 1,
        kernel: str = SEED,
        provider: str | None = None,
    ) -> None:
        _check("num_niovs", num_niovs, 1, NIOVS_MAX)
        _check("rq_entries", rq_entries, 1, 32768)
        if rq_entries & (rq_entries - 1):
            raise ConfigError.of("rq_entries", rq_entries, "it must be a power of two")
        _check("ptr_ring_size", ptr_ring_size, 1, 32768)
        _check("initial_index", initial_index, 0, _U32)
        _check("rx_buf_len", rx_buf_len, 4096, 2**30)
        if rx_buf_len & (rx_buf_len - 1):
            raise ConfigError.of("rx_buf_len", rx_buf_len, "it must be a power of two")
        check_level(kernel, experimental=provider is None)
        below = EXPERIMENTAL.get(kernel, kernel)
        if rx_buf_len != 4096 and below not in HAS_RX_BUF_LEN:
            raise ConfigError.of("rx_buf_len", rx_buf_len, f"with the kernel {kernel} it is 4096")
        _check_size(num_niovs, rx_buf_len)
        if not device and below not in HAS_NO_DEVICE:
            raise ConfigError.of("device", device, f"with the kernel {kernel} there must be one")
        if not device and rx_buf_len != 4096:
            raise ConfigError.of("rx_buf_len", rx_buf_len, "without a device it is 4096")
        _check("areas", areas, 1, AREAS_MAX)
        has_areas = below in HAS_AREAS and provider is None
        if areas > 1 and not has_areas:
            raise ConfigError.of("areas", areas, _ONE_AREA)
        if areas * num_niovs > NIOVS_MAX:
            raise ConfigError.of("areas", areas, f"together they have {NIOVS_MAX} buffers at most")
        self._rx_buf_len = rx_buf_len
        self._rq_entries = rq_entries
        self._stack_refs = [0] * (areas * num_niovs)
        self._step = Stepper(
            Shape(
                num_niovs=NIOVS_MAX if has_areas else num_niovs,
                niov_shift=rx_buf_len.bit_length() - 1,
                rq_entries=rq_entries,
                cq_entries=1,
                ptr_ring_size=ptr_ring_size,
                grant_entries=1,
                log_entries=64,
                flows_max=1,
                initial_index=initial_index,
                contract=Contract(level=kernel, strict_alias=strict_alias),
                has_no_device=not device,
                areas_max=AREAS_MAX if has_areas else 1,
                areas=areas,
                area_niovs=(num_niovs,),
            ),
            provider=None if provider is None else ProviderLibrary(str(library_of(Path(provider)))),
        )

    def alloc(self, count: int = 1) -> list[int]:
        """Allocate up to ``count`` buffers, as a driver fills its descriptors.

        Stops at the first allocation that fails (it is counted). Each buffer
        comes with one page-pool reference, the stack's own.

        Raises:
            StateError: No page pool serves the queue (after :meth:`destroy`).
        """
        niovs: list[int] = []
        for _ in range(count):
            niov = self._step.alloc()
            if niov is None:
                break
            self._stack_refs[niov] += 1
            niovs.append(niov)
        return niovs

    def _need_stack_ref(self, operation: str, niov: int) -> None:
        _check("niov", niov, 0, len(self._stack_refs) - 1)
        if self._stack_refs[niov] == 0:
            raise StateError(f"{operation}: the stack holds no reference on buffer {niov}")

    def deliver(self, niov: int, fragments: int = 1, *, keep_stack_ref: bool = False) -> None:
        """Hand a buffer to the user in ``fragments`` fragments.

        Each takes one user reference and one page-pool reference; then the
        stack's own reference goes, unless it is kept.

        Raises:
            StateError: The stack holds no reference on the buffer.
            ConfigError: ``fragments`` is not positive.
        """
        self._need_stack_ref("deliver", niov)
        _check("fragments", fragments, 1, 2**20)
        self._step.deliver(niov, fragments)
        if not keep_stack_ref:
            self.drop(niov)

    def drop(self, niov: int) -> None:
        """Drop one page-pool reference of the stack; the last sends the buffer to its pool.

        Raises:
            StateError: The stack holds no reference on the buffer.
        """
        self._need_stack_ref("drop", niov)
        self._stack_refs[niov] -= 1
        self._step.drop(niov)

    def push_rqe(self, off: int, length: int = 0, pad: int = 0) -> None:
        """Write an RQE at the tail and publish it, room or not.

        Args:
            off: u64: area id in bits 48 to 63, byte offset below.
            length: u32, never looked at by the provider.
            pad: u32, must be 0 for a valid entry.
        """
        tail = self._step.tail
        self.write_rqe(tail % self._rq_entries, off, length, pad)
        self._step.set_tail((tail + 1) % 2**32)

    def write_rqe(self, slot: int, off: int, length: int = 0, pad: int = 0) -> None:
        """Write a slot of the refill ring without publishing it."""
        _check("slot", slot, 0, self._rq_entries - 1)
        _check("off", off, 0, _U64)
        _check("length", length, 0, _U32)
        _check("pad", pad, 0, _U32)
        self._step.write_rqe(slot, off, length, pad)

    def set_head(self, value: int) -> None:
        """Overwrite the head word in shared memory (u32), as a hostile user may."""
        self._step.set_head(_check("head", value, 0, _U32))

    def set_tail(self, value: int) -> None:
        """Overwrite the tail word in shared memory (u32)."""
        self._step.set_tail(_check("tail", value, 0, _U32))

    def scrub(self) -> int:
        """Take back every user reference, as when the user is gone; how many there were."""
        return self._step.scrub()

    def copy_fallback(self) -> int | None:
        """Take a buffer straight from the freelist, bound to no pool; None if it is empty."""
        niov = self._step.copy_fallback()
        if niov is not None:
            self._stack_refs[niov] += 1
        return niov

    def flush(self) -> int:
        """Have the refill ring judged, as a user may from 7.1 on; how many RQEs were consumed.

        By batches of 32; a malformed entry ends it, and so does an empty ring. Each buffer goes
        home as from outside: to its page pool's ptr ring, else to the freelist.

        Raises:
            StateError: The level knows no flush.
        """
        return self._step.flush()

    def add_area(self, num_niovs: int) -> int:
        """Add an area, as a user may from 7.3 on; its id.

        Its buffers are numbered behind those that there are. They serve once the freelists of
        the areas before it are empty.

        Raises:
            StateError: The level has one area; there are 1024; or there would be more than
                2**20 buffers.
            ConfigError: ``num_niovs`` is not 1 to 2**20, or the area would have more than 2**48
                bytes.
        """
        _check("num_niovs", num_niovs, 1, NIOVS_MAX)
        _check_size(num_niovs, self._rx_buf_len)
        area = self._step.add_area(num_niovs)
        self._stack_refs.extend([0] * num_niovs)
        return area

    def offset(self, niov: int) -> int:
        """Say what an RQE's ``off`` is to give this buffer back: its area, and where it begins."""
        _check("niov", niov, 0, len(self._stack_refs) - 1)
        return self._step.offset(niov)

    def restart_queue(self) -> int:
        """Put a new page pool in charge of the queue and tear the old one down.

        The old pool gives up its alloc cache and its ptr ring; it lingers while
        buffers bound to it are out. Returns the new pool's slot.

        Raises:
            StateError: All slots hold lingering pools; nothing was changed.
        """
        return self._step.restart()

    def retry_release(self, pool: int) -> bool:
        """Look again at a lingering pool, as the kernel's delayed worker does; True if it is gone.

        Raises:
            StateError: That pool does not linger.
        """
        if not 0 <= pool < POOLS_MAX:
            raise StateError(f"retry_release: there is no pool {pool}")
        return self._step.retry_release(pool)

    def destroy(self) -> bool:
        """Tear the queue down and check that every buffer is home.

        False leaves a warning counted and the instance's reference held.

        Raises:
            StateError: No page pool serves the queue.
        """
        return self._step.destroy()

    def state(self) -> ProviderState:
        """Inspect everything, without changing anything."""
        return self._step.state()

    def take_verdicts(self) -> list[Judgement]:
        """The verdict of each RQE consumed since the last call, in ring order."""
        return self._step.take_verdicts()

    def pool_counters(self) -> dict[str, int]:
        """The page pools' counters under the names of ``ethtool -S`` (without ``rx_pp_``)."""
        return self._step.pool_counters()
