"""The loops of the worker processes. They run in C, with the GIL released."""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from emu.core._lib import ffi, lib, new_struct
from emu.core.faults import Rule, raw_rules
from emu.core.layout import Mapping, Shape, raw_mappings, raw_shape
from emu.core.poison import Poison
from emu.errors import StateError


class _Loop:
    """A C object with a ``run`` function; freed when closed or collected."""

    _ptr: Any

    def _own(self, ptr: Any, free: Any) -> None:
        if ptr == ffi.NULL:
            raise MemoryError(f"{type(self).__name__}: no memory, or an impossible shape")
        self._ptr = ffi.gc(ptr, free)

    def close(self) -> None:
        """Free the C object now."""
        if self._ptr is not None:
            ffi.release(self._ptr)
            self._ptr = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NicParams:
    """What the NIC process is told; see ``struct zcrx_nic_params``."""

    packets_max: int = 0
    laps_max: int = 0
    wait_max_ns: int = 0
    paced: int = 0
    copy_every: int = 0
    listen_fd: int = -1
    seed: int = 0
    connections_max: int = 0
    newest_first: int = 0


class NicLoop(_Loop):
    """The NIC process's loop over all queues."""

    def __init__(
        self,
        shape: Shape,
        mappings: Sequence[Mapping],
        arena: mmap.mmap | None,
        params: NicParams,
        rules: Sequence[Rule] = (),
    ) -> None:
        self._keep: list[Any] = []
        view = ffi.NULL
        if arena is not None:
            view = ffi.from_buffer(arena)
            self._keep.append(view)
        array = raw_mappings(mappings, self._keep)
        self._own(
            lib.zcrx_nic_new(
                raw_shape(shape),
                len(mappings),
                array,
                view,
                new_struct("zcrx_nic_params", asdict(params)),
                raw_rules(rules, self._keep),
                len(rules),
            ),
            lib.zcrx_nic_free,
        )

    def run(self, slice_ms: int) -> bool:
        """Run for a while; True when the run is over."""
        return bool(lib.zcrx_nic_run(self._ptr, slice_ms))


class ProviderLoop(_Loop):
    """The provider process's loop over all queues."""

    def __init__(
        self,
        shape: Shape,
        mappings: Sequence[Mapping],
        rules: Sequence[Rule] = (),
        *,
        seed: int = 0,
        window: int = 0,
    ) -> None:
        self._keep: list[Any] = []
        array = raw_mappings(mappings, self._keep)
        self._own(
            lib.zcrx_provider_loop_new(
                *(raw_shape(shape), len(mappings), array),
                *(raw_rules(rules, self._keep), len(rules), seed, window),
            ),
            lib.zcrx_provider_loop_free,
        )

    def run(self, slice_ms: int) -> bool:
        """Run for a while; True when the run is over."""
        return bool(lib.zcrx_provider_loop_run(self._ptr, slice_ms))


# ---- the consumer ----------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerParams:
    """What a consumer process is told; see ``struct zcrx_consumer_params``."""

    verify: int
    return_order: int
    hold: int
    recheck_every: int
    stop_at_end: int = 0
    output_fd: int = -1
    seed: int = 0
    position: int = 0
    queues: int = 1


@dataclass(frozen=True, slots=True)
class RawFragment:
    """One completion as the C side checked it."""

    off: int
    user_data: int
    res: int
    flags: int
    crc: int
    seq: int
    generation: int
    mark: int


_FRAGMENT_FIELDS = tuple(field.name for field in fields(RawFragment))
_FRAGMENT = struct.Struct("=QQiIIIII")  #: the same as they lie in memory
assert _FRAGMENT.size == ffi.sizeof("struct zcrx_fragment")


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomCall:
    """A user's own fault fires; see ``struct zcrx_custom_call``."""

    rule: int
    queue: int
    ordinal: int
    position: int
    seed: int
    valid: tuple[int, int, int]  #: the return that is due: off, len, pad
    earlier: Sequence[tuple[int, int, int]]  #: returns before it, the latest at the end
    take_area: Callable[[], memoryview]  #: a copy of the area; what is changed in it is written


@dataclass(frozen=True, slots=True)
class CustomAnswer:
    """What it wants."""

    entries: tuple[tuple[int, int, int], ...] = ()  #: off, len, pad; at most 16
    in_place: bool = False  #: they replace the return


def _plain_rqe(raw: Any) -> tuple[int, int, int]:
    return int(raw.off), int(raw.len), int(getattr(raw, "__pad"))


class _Earlier(Sequence[tuple[int, int, int]]):
    """The core's memory of returns; readable as long as the call that it came with."""

    def __init__(self, history: Any, count: int) -> None:
        self._history = history
        self._first: int = max(0, count - lib.ZCRX_HISTORY)
        self._end = count

    def __len__(self) -> int:
        return self._end - self._first

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if self._history is None:
            raise StateError("earlier: it can be read during the call only")
        number: int = range(self._first, self._end)[index]
        return _plain_rqe(self._history[number % lib.ZCRX_HISTORY])

    def close(self) -> None:
        self._history = None


@contextlib.contextmanager
def _earlier(raw: Any) -> Iterator[_Earlier]:
    earlier = _Earlier(raw.history, raw.history_count)
    try:
        yield earlier
    finally:
        earlier.close()


class _AreaCopy:
    """The area for a user's fault: copied when it is asked for, so that each change shows."""

    def __init__(self, consumer: Any, area: mmap.mmap | None) -> None:
        self._consumer = consumer
        self._area = area
        self._before = b""
        self._view: memoryview | None = None

    def __enter__(self) -> _AreaCopy:
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._view is not None:
            with contextlib.suppress(BufferError):  # somebody still looks at the copy
                self._view.release()

    def take(self) -> memoryview:
        """The copy, made now if it was not asked for before."""
        if self._view is None:
            assert self._area is not None
            self._before = self._area[:]
            self._after = bytearray(self._before)
            self._view = memoryview(self._after)
        return self._view

    def write_back(self) -> None:
        """Write what was changed into the area itself."""
        if self._view is not None and self._after != self._before:
            lib.zcrx_consumer_custom_wrote(
                self._consumer, ffi.from_buffer(self._before), ffi.from_buffer(self._after)
            )


@ffi.def_extern()  # type: ignore[untyped-decorator,unused-ignore]
def zcrx_custom_ask_python(handle: Any, raw: Any) -> int:
    """Called by the core when a rule about a user's own fault fires."""
    loop: ConsumerLoop = ffi.from_handle(handle)
    try:
        loop._answer(raw)
    except BaseException as error:  # it goes on where the core was called
        loop._failure = error
        return -1
    return 0


class ConsumerLoop(_Loop):
    """A queue's consumer: run as a whole, or driven completion by completion."""

    BATCH_MAX = 1024

    def __init__(
        self,
        shape: Shape,
        index: int,
        mapping: Mapping,
        params: ConsumerParams,
        rules: Sequence[Rule],
        ask: Callable[[CustomCall], CustomAnswer] | None = None,
    ) -> None:
        """``ask`` carries out users' own faults; what it raises ends the consumer's run."""
        self._keep: list[Any] = []
        array = raw_mappings([mapping], self._keep)
        self._own(
            lib.zcrx_consumer_new(
                raw_shape(shape),
                index,
                array,
                new_struct("zcrx_consumer_params", asdict(params)),
                raw_rules(rules, self._keep),
                len(rules),
            ),
            lib.zcrx_consumer_free,
        )
        self._batch = ffi.new("struct zcrx_fragment[]", self.BATCH_MAX)
        self._area = mapping.area
        self._ask = ask
        self._failure: BaseException | None = None
        if ask is not None:
            self._handle = ffi.new_handle(self)
            lib.zcrx_consumer_set_custom(self._ptr, lib.zcrx_custom_ask_python, self._handle)

    def run(self, slice_ms: int) -> bool:
        """Run for a while; True when finished. OSError when the output cannot be written."""
        result = lib.zcrx_consumer_run(self._ptr, slice_ms)
        self._raise_failure()
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        return bool(result)

    def take(self, count: int) -> list[RawFragment]:
        """Take up to ``count`` completions that are there now."""
        taken = lib.zcrx_consumer_take(self._ptr, self._batch, min(count, self.BATCH_MAX))
        raw = ffi.buffer(self._batch, taken * _FRAGMENT.size)
        return [RawFragment(*values) for values in _FRAGMENT.iter_unpack(raw)]

    def wait(self, timeout_us: int) -> None:
        """Sleep until there may be completions."""
        lib.zcrx_consumer_wait(self._ptr, timeout_us)

    def give_back(self, fragments: Sequence[RawFragment], *, astray: bool = False) -> None:
        """Return fragments through the refill ring.

        Args:
            fragments: What is out, each once.
            astray: They are not: the consumer's own mistake, and written down as that.
        """
        values = [tuple([getattr(f, name) for name in _FRAGMENT_FIELDS]) for f in fragments]
        raw = ffi.new("struct zcrx_fragment[]", values)
        give = lib.zcrx_consumer_give_astray if astray else lib.zcrx_consumer_give_back
        give(self._ptr, raw, len(fragments))
        self._raise_failure()

    def set_poison(self, poison: Poison) -> None:
        """Open and close buffers in that view from now on."""
        self._keep.append(poison)
        lib.zcrx_consumer_set_poison(self._ptr, poison._ptr)

    def note_touches(self, count: int) -> None:
        """Write down how often what had been given back was touched."""
        lib.zcrx_consumer_note_touches(self._ptr, count)

    def flush(self) -> int:
        """Push returns that wait for room; how many still wait."""
        waiting = int(lib.zcrx_consumer_flush(self._ptr))
        self._raise_failure()
        return waiting

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _answer(self, raw: Any) -> None:
        """Ask about one firing, and put the answer where the core reads it."""
        assert self._ask is not None
        with _AreaCopy(self._ptr, self._area) as area, _earlier(raw) as earlier:
            answer = self._ask(
                CustomCall(
                    rule=raw.rule,
                    queue=raw.queue,
                    ordinal=raw.ordinal,
                    position=raw.position,
                    seed=raw.seed,
                    valid=_plain_rqe(raw.valid),
                    earlier=earlier,
                    take_area=area.take,
                )
            )
            for target, (off, length, pad) in zip(raw.entries, answer.entries, strict=False):
                target.off, target.len = off, length
                setattr(target, "__pad", pad)
            raw.count, raw.in_place = len(answer.entries), answer.in_place
            area.write_back()

    @property
    def should_stop(self) -> bool:
        """Has the control process asked this consumer to finish?"""
        return bool(lib.zcrx_consumer_should_stop(self._ptr))
