"""The specification against what was built: the same programs by both, the whole state compared.

The judge of the harness and ``emu/spec/model.py`` were written apart; a program that both sides
pass has been looked at by two readers of the contract.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from emu.compile.records import Record
from emu.contract import LEVELS
from emu.errors import StateError
from emu.fuzz.harness import Harness
from emu.fuzz.program import FRAGMENTS_MAX, Operation, Shape, entries_of
from emu.spec.model import ModelProvider
from emu.spec.state import POOLS_MAX, Judgement, PoolPhase, PoolState, ProviderState, Verdict

U32 = 2**32
_LOG = 64  #: verdicts that wait to be looked at, at most, in a shape that is checked
_AREAS_MAX = 4  #: of an instance of the harness
_SAID_MAX = 512  #: entries judged in one operation, at most
_BATCH = 64
_RETURNS_MAX = 1 << 16
_EINVAL, _ENOENT, _ENOMEM, _EBUSY, _ENOSPC, _EOPNOTSUPP = -22, -2, -12, -16, -28, -95
_TAIL_MOVED, _TAIL_PAST_HEAD = 0, 1


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the two part: after an operation, one field of the state or of its answer."""

    step: int
    operation: str
    field: str
    model: object
    actual: object

    @property
    def text(self) -> str:
        """In one line."""
        return (
            f"after operation {self.step} ({self.operation}): {self.field}: the model says "
            f"{self.model}, the provider {self.actual}"
        )


class _Machine(ModelProvider):
    """The specification, with what a run has around a provider: faults, users, a log."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(
            num_niovs=shape.num_niovs,
            rq_entries=shape.rq_entries,
            ptr_ring_size=shape.ptr_ring_size,
            initial_index=shape.initial_index,
            strict_alias=shape.strict_alias,
            device=not shape.has_no_device,
            kernel=shape.kernel,
        )
        self._initial_index = shape.initial_index
        self._is_before_7_1 = LEVELS.index(shape.kernel) < LEVELS.index("7.1")
        self._is_before_7_3 = LEVELS.index(shape.kernel) < LEVELS.index("7.3")
        self._is_checked = shape.is_checked
        self._checked = 0
        self._hidden = 0
        self._refusals = [0] * POOLS_MAX
        self._is_detached = False
        self._lingering: set[int] = set()

    # ---- what faults change -----------------------------------------------------------------

    @property
    def _consumed(self) -> int:
        return (self._cached_rq_head - self._initial_index) % U32

    def _log_room(self) -> int:
        return self._checked + _LOG - self._consumed if self._is_checked else U32

    def _available(self) -> int:
        return 0 if self._is_detached else min(super()._available(), self._log_room())

    def _look_max(self) -> int:
        return min(super()._look_max(), self._log_room())

    def _refill_from_ring(self, pool: int) -> None:
        is_asked_rightly = self._is_before_7_1 or not self._pools[pool].alloc_cache
        if not self._is_detached and is_asked_rightly:
            super()._refill_from_ring(pool)

    def _refill_from_freelist(self, pool: int) -> None:
        if not self._is_hidden_now:
            super()._refill_from_freelist(pool)

    def _alloc_one(self, pool: int) -> int | None:
        state = self._pools[pool]
        asks_provider = not state.alloc_cache and not state.ptr_ring
        self._is_hidden_now = asks_provider and self._hidden > 0
        self._hidden -= self._is_hidden_now
        return super()._alloc_one(pool)

    def _return_to_pool(self, niov: int) -> None:
        pool = self._niov_pool[niov]
        has_room = pool is not None and len(self._pools[pool].ptr_ring) < self._ptr_ring_size
        if pool is not None and has_room and self._refusals[pool]:
            self._refusals[pool] -= 1
            self._release(niov)
        else:
            super()._return_to_pool(niov)

    def _init_pool(self, slot: int) -> None:
        super()._init_pool(slot)
        if hasattr(self, "_refusals"):
            self._refusals[slot] = 0

    # ---- operations -------------------------------------------------------------------------

    def _held(self, op: Operation, refs: Sequence[int]) -> list[int]:
        """Buffers with a reference, from the picked one on, as many as the operation names."""
        count = len(refs)
        niovs = [(op.pick + at) % count for at in range(count)]
        return [niov for niov in niovs if refs[niov]][: op.count]

    def _publish(self, off: int, length: int = 0, pad: int = 0, times: int = 1) -> None:
        for _ in range(times):
            self.push_rqe(off, length, pad)

    def do_alloc(self, op: Operation) -> list[int]:
        """Allocate until it fails, or has judged as much as one operation may."""
        answers: list[int] = []
        if self._current_pool is None:
            return answers
        judged = len(self._judgements)
        for _ in range(op.count):
            answers += self.alloc(1) or [_ENOMEM]
            if answers[-1] < 0 or len(self._judgements) - judged + _BATCH > _SAID_MAX:
                break
        return answers

    def do_deliver(self, op: Operation) -> list[int]:
        """Hand buffers of the stack to the user."""
        for niov in self._held(op, self._stack_refs):
            self.deliver(niov, 1 + op.mode % 4, keep_stack_ref=op.mode >= 4)
        return []

    def do_drop(self, op: Operation) -> list[int]:
        """Drop a reference of the stack on each."""
        for niov in self._held(op, self._stack_refs):
            self.drop(niov)
        return []

    def do_copy(self, op: Operation) -> list[int]:
        """Take buffers for copies until there is none."""
        answers: list[int] = []
        for _ in range(op.count):
            niov = None if self._hidden else self.copy_fallback()
            answers.append(_ENOMEM if niov is None else niov)
            if niov is None:
                break
        return answers

    def do_deliver_many(self, op: Operation) -> list[int]:
        """Hand one buffer of the stack to the user, in many fragments."""
        for niov in self._held(replace(op, count=1), self._stack_refs):
            self.deliver(niov, 1 + op.value % FRAGMENTS_MAX, keep_stack_ref=op.mode > 0)
        return []

    def do_return(self, op: Operation) -> list[int]:
        """Give fragments back, as the mode says."""
        left = _RETURNS_MAX
        for niov in self._held(op, self._user_refs):
            off = self.offset(niov)
            if op.mode == 0:
                self._publish(off)
            elif op.mode == 1:
                times = min(self._user_refs[niov], self._rq_entries + 1, left)
                self._publish(off, times=times)
                left -= times
            elif op.mode == 2:
                self._publish(off | 0xFFF, length=U32 - 1)
            else:
                self._publish(off | 1 << 44)
        return []

    def do_push(self, op: Operation) -> list[int]:
        """Write the same entry so many times."""
        self._publish(op.off, op.len, op.pad, op.count)
        return []

    def do_write(self, op: Operation) -> list[int]:
        """Write a slot without publishing it."""
        self.write_rqe(op.pick % self._rq_entries, op.off, op.len, op.pad)
        return []

    def do_tail(self, op: Operation) -> list[int]:
        """Set the tail word."""
        base = {_TAIL_MOVED: self._rq_tail, _TAIL_PAST_HEAD: self._cached_rq_head}
        self.set_tail((base.get(op.mode, 0) + op.value) % U32)
        return []

    def do_head(self, op: Operation) -> list[int]:
        """Scribble on the head word."""
        self.set_head(op.value)
        return []

    def do_scrub(self, op: Operation) -> list[int]:
        """Take every user reference back."""
        return [self.scrub()]

    def _consume(self) -> int:
        assert self._current_pool is not None
        before = self._cached_rq_head
        self._refill_from_ring(self._current_pool)
        return (self._cached_rq_head - before) % U32

    def do_refill(self, op: Operation) -> list[int]:
        """Judge what the cache has room for, whatever it holds."""
        return [0 if self._current_pool is None else self._consume()]

    def _empty_cache(self) -> None:
        assert self._current_pool is not None
        cache = self._pools[self._current_pool].alloc_cache
        while cache:
            self._release(cache.pop())

    def do_flush(self, op: Operation) -> list[int]:
        """Judge all that waits, one ring full at most; buffers go to the freelist."""
        flushed = 0
        if not self._is_before_7_1:
            return [0 if self._is_detached else self.flush()]
        if self._current_pool is None:
            return [0]
        while True:
            self._empty_cache()
            count = self._consume()
            flushed += count
            if count == 0 or flushed >= self._rq_entries:
                break
        self._empty_cache()
        return [flushed]

    def do_add_area(self, op: Operation) -> list[int]:
        """The user adds an area; the harness has room for a few."""
        if self._is_before_7_3:
            return [_EOPNOTSUPP]
        return [_EINVAL if len(self._areas) == _AREAS_MAX else self.add_area(op.count)]

    def do_restart(self, op: Operation) -> list[int]:
        """Put a new pool in charge."""
        if not self._has_device:
            return [_EOPNOTSUPP]
        former = self._current_pool
        try:
            slot = self.restart_queue()
        except StateError:
            return [_ENOSPC]
        if former is not None and self._pools[former].phase is PoolPhase.DYING:
            self._lingering.add(former)
        return [slot]

    def do_retry(self, op: Operation) -> list[int]:
        """Look again at one dying pool, or at all that restarts left behind."""
        if op.mode:
            for slot in sorted(self._lingering):
                if self._pools[slot].phase is not PoolPhase.DYING or self.retry_release(slot):
                    self._lingering.discard(slot)
            return []
        slot = op.pick % POOLS_MAX
        if self._pools[slot].phase is not PoolPhase.DYING:
            return []
        return [int(self.retry_release(slot))]

    def do_destroy(self, op: Operation) -> list[int]:
        """Tear the queue down."""
        if self._current_pool is None:
            return [_ENOENT]
        return [0 if self.destroy() else _EBUSY]

    def do_detach(self, op: Operation) -> list[int]:
        """The ring has no user any more."""
        self._is_detached = True
        return [self._available()]

    def do_attach(self, op: Operation) -> list[int]:
        """A new user finds the ring empty."""
        self._rq_head = self._rq_tail = self._cached_rq_head
        self._claimed = 0
        self._is_detached = False
        return []

    def do_check(self, op: Operation) -> list[int]:
        """Somebody has looked at all verdicts."""
        self._checked = self._consumed
        return [self._available()]

    def do_hide(self, op: Operation) -> list[int]:
        """The freelist looks empty for so many calls."""
        self._hidden = max(self._hidden, op.count)
        return []

    def do_refuse(self, op: Operation) -> list[int]:
        """So many buffers find the ptr ring full."""
        if self._current_pool is not None:
            now = self._refusals[self._current_pool]
            self._refusals[self._current_pool] = max(now, op.count)
        return []

    def do_wrong_pool(self, op: Operation) -> list[int]:
        """A pool that cannot be served is refused, unless there is no slot for it anyway."""
        if not self._has_device:
            return [_EOPNOTSUPP]
        if all(pool.phase is not PoolPhase.UNUSED for pool in self._pools):
            return [_ENOSPC]
        return [_EINVAL if op.mode in (0, 3) else _EOPNOTSUPP]

    _is_hidden_now = False


def _state_of(record: Record) -> ProviderState:
    """The state as the harness says it, in the model's words."""
    number, numbers = record.number, record.numbers
    current = number("current_pool")
    pools = [(slot, *numbers(f"pool{slot}")) for slot in range(POOLS_MAX)]
    return ProviderState(
        rq_head=number("head"),
        rq_tail=number("tail"),
        cached_rq_head=number("cached_head"),
        areas=tuple(numbers("areas")),
        free_count=len(numbers("freelist")),
        freelist=tuple(numbers("freelist")),
        user_refs=tuple(numbers("user_refs")),
        pp_refs=tuple(numbers("pp_refs")),
        niov_pool=tuple(pool - 1 if pool else None for pool in numbers("niov_pool")),
        pools=tuple(
            PoolState(
                phase=PoolPhase(phase),
                alloc_cache=tuple(numbers(f"cache{slot}")),
                ptr_ring=tuple(numbers(f"ring{slot}")),
                inflight=inflight,
            )
            for slot, phase, inflight in pools
        ),
        current_pool=current - 1 if current else None,
        instance_refs=number("instance_refs"),
        verdicts=dict(zip(Verdict, numbers("verdicts"), strict=True)),
        aliases=number("aliases"),
        alloc_failures=number("alloc_failures"),
        destroy_warnings=number("destroy_warnings"),
    )


def _judgement(entry: tuple[int, int, int, int]) -> Judgement:
    index, number, niov, alias = entry
    verdict = Verdict(number)
    named = verdict not in (Verdict.BAD_PAD, Verdict.BAD_AREA)
    return Judgement(index, verdict, niov if named else None, bool(alias))


def _fields(state: ProviderState) -> dict[str, object]:
    return {name: getattr(state, name) for name in ProviderState.__dataclass_fields__}


#: What the model has nothing to say of.
_NO_PART = {"netlink", "recreate", "repeat", "rewrite"}


def compare(harness: Harness, program: bytes) -> Difference | None:
    """Run a program by the harness and by the model; the first difference, or None.

    A program in which the user rewrites entries while they are read is compared up to the
    operation that would read them: the model has no moments between two reads.
    """
    records = harness.states(program)
    shape = Shape.of(records[0])
    steps = [(record, Operation.of(record)) for record in records[1:-1]]
    machines = [_Machine(shape) for _ in range(shape.queues)]
    rewrites = [False] * shape.queues

    def act(op: Operation) -> list[int] | None:
        """Do an operation by the model; its answers, or None if it has nothing to say of it."""
        if op.kind == "recreate":
            machines[op.queue] = _Machine(shape)
        if op.kind in _NO_PART:
            return None
        action: Callable[[Operation], list[int]] = getattr(
            machines[op.queue], f"do_{op.kind.replace('-', '_')}"
        )
        return action(op)

    for at, (record, op) in enumerate(steps):
        is_repeated = op.kind == "repeat"
        stretch = [one for _, one in steps[record.number("from") : at]] if is_repeated else [op]
        for one in stretch:
            rewrites[one.queue] |= one.kind == "rewrite"
            if rewrites[one.queue] and one.kind in ("alloc", "refill", "flush"):
                return None
        if is_repeated:
            for _ in range(record.number("rounds")):
                for one in stretch:
                    act(one)
                    machines[one.queue].take_verdicts()
            answers = []
        else:
            done = act(op)
            if done is None:
                continue
            answers = done
        machine = machines[op.queue]
        model: dict[str, object] = {
            "answers": answers,
            "entries": machine.take_verdicts(),
            **_fields(machine.state()),
        }
        actual: dict[str, object] = {
            "answers": record.numbers("answers"),
            "entries": [_judgement(entry) for entry in entries_of(record.numbers("entries"))],
            **_fields(_state_of(record)),
        }
        if is_repeated:  # each of its operations has answered; the last one's are in the record
            for name in ("answers", "entries"):
                del model[name]
        for name, value in model.items():
            if value != actual[name]:
                return Difference(record.number("step"), op.kind, name, value, actual[name])
    return None


def compare_all(harness: Harness, programs: Iterable[Path]) -> list[tuple[Path, Difference]]:
    """Compare each program of a corpus; those that differ."""
    differences = []
    for path in programs:
        difference = compare(harness, path.read_bytes())
        if difference is not None:
            differences.append((path, difference))
    return differences
