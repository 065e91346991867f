"""The C core does, step by step, what the executable specification says.

A Hypothesis state machine takes the same random steps with both, for a user who behaves and
misbehaves in one run, and compares the whole state after each. Further checks look at one
state alone, so that a mistake that both make is seen too. At the end, seeded bugs that the
machine must find.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import ClassVar, TypeVar

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from emu.contract import EXPERIMENTAL, HAS_AREAS, SEED
from emu.errors import EmuError
from emu.spec.model import LEVELS, ModelProvider
from emu.spec.state import POOLS_MAX, Judgement, PoolPhase, ProviderState, Verdict
from emu.spec.stepping import StepProvider

Provider = ModelProvider | StepProvider
T = TypeVar("T")

U32 = 2**32
U64 = 2**64
NIOVS_MAX = 140
#: A profile may ask for more runs. On a busy machine time says nothing about the strategies.
LIMITS = settings(
    max_examples=max(200, settings().max_examples),
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)

picks = st.integers(0, 1023)  # names one of several, modulo how many there are
u32s = st.integers(0, 3) | st.integers(0, U32 - 1)

#: What an RQE has more than the plain offset of a buffer, to be added modulo 2**64: nothing, an
#: offset in the page, an alias, another area, an index too high, anything.
distortions = st.one_of(
    st.just(0),
    st.integers(0, 4095),
    st.integers(1, 15).map(lambda bits: bits << 44),
    st.integers(1, 2**16 - 1).map(lambda area: area << 48),
    st.integers(1, U32 - 1).map(lambda index: index << 12),
    st.integers(0, U64 - 1),
)
pads = st.just(0) | st.just(0) | st.integers(1, U32 - 1)


def attempt(step: Callable[[Provider], T], provider: Provider) -> tuple[T | None, object]:
    """Take a step: what it returned, and the type of its refusal."""
    try:
        return step(provider), None
    except EmuError as error:
        return None, type(error)


def homes(state: ProviderState) -> Iterator[int]:
    """Name each buffer once for each place at home that it is in: freelist, cache or ring."""
    yield from state.freelist
    for pool in state.pools:
        yield from pool.alloc_cache
        yield from pool.ptr_ring


def deliver(provider: Provider, niov: int, fragments: int, keep: bool) -> None:
    provider.deliver(niov, fragments, keep_stack_ref=keep)


def drop(provider: Provider, niov: int) -> None:
    provider.drop(niov)


def retry_release(provider: Provider, pool: int) -> bool:
    return provider.retry_release(pool)


def _has_areas(level: str) -> bool:
    return EXPERIMENTAL.get(level, level) in HAS_AREAS


class Agreement(RuleBasedStateMachine):
    """Take the same steps with the model and with ``subject``."""

    subject: ClassVar[type[Provider]] = StepProvider
    level: ClassVar[str] = SEED
    shift: ClassVar[int] = 12
    device: ClassVar[bool] = True

    @initialize(
        num_niovs=st.integers(1, 8) | st.integers(1, 8) | st.integers(60, NIOVS_MAX),
        rq_entries=st.sampled_from([1, 2, 4, 8, 64, 128, 256]),
        ptr_ring_size=st.sampled_from([1, 2, 3, 8, 64, 1024]),
        initial_index=st.integers(U32 - 100, U32 - 1) | st.integers(0, U32 - 1),
        strict_alias=st.booleans(),
        areas=st.integers(1, 3),
    )
    def create(
        self,
        num_niovs: int,
        rq_entries: int,
        ptr_ring_size: int,
        initial_index: int,
        strict_alias: bool,
        areas: int,
    ) -> None:
        def build(implementation: type[Provider]) -> Provider:
            return implementation(
                num_niovs=num_niovs,
                rq_entries=rq_entries,
                ptr_ring_size=ptr_ring_size,
                initial_index=initial_index,
                strict_alias=strict_alias,
                rx_buf_len=1 << self.shift,
                device=self.device,
                areas=areas if _has_areas(self.level) else 1,
                kernel=self.level,
            )

        self.model, self.other = build(ModelProvider), build(self.subject)
        self.rq_entries = rq_entries
        self.initial_index = initial_index
        self.state = self.model.state()
        self.stack_refs: Counter[int] = Counter()  # our own account of what the stack holds
        self.pushed = [0]  # offsets pushed so far, for duplicates and stale returns

    def both(self, step: Callable[[Provider], T]) -> T | None:
        """Take a step on both sides; what it returned, None if both refused it alike."""
        outcome = attempt(step, self.model)
        assert outcome == attempt(step, self.other)
        return outcome[0]

    def refused(self, step: Callable[[Provider], object]) -> None:
        """Take an illegal step: both sides refuse it alike, and nothing happens."""
        before = self.state
        outcome = attempt(step, self.model)
        assert outcome[1] is not None
        assert outcome == attempt(step, self.other)
        assert self.model.state() == before

    def some(self, candidates: list[int], pick: int, many: bool) -> list[int]:
        """Choose one candidate, or all from one on, wrapping around."""
        if not candidates:
            return []
        first = pick % len(candidates)
        rotated = candidates[first:] + candidates[:first]
        return rotated if many else rotated[:1]

    def held(self) -> list[int]:
        """Buffers on which the stack holds a reference."""
        return sorted(self.stack_refs)

    def lent(self) -> list[int]:
        """Buffers of which the user holds a fragment."""
        return [niov for niov, refs in enumerate(self.state.user_refs) if refs]

    @property
    def num_niovs(self) -> int:
        """Buffers of all areas."""
        return len(self.state.user_refs)

    def push(self, off: int, length: int = 0, pad: int = 0) -> None:
        self.both(lambda provider: provider.push_rqe(off, length, pad))
        self.pushed.append(off)

    def dying(self) -> list[int]:
        pools = enumerate(self.state.pools)
        return [slot for slot, pool in pools if pool.phase is PoolPhase.DYING]

    # The way of a buffer there and back has many rules, what upsets it has few: Hypothesis
    # takes all rules equally often and switches some of them off in each run, and the way must
    # be open often enough that something can go wrong on it.

    # ---- NIC and stack ----

    @rule(count=st.integers(0, 6) | st.just(2 * NIOVS_MAX))
    def alloc(self, count: int) -> None:
        self.take(self.both(lambda provider: provider.alloc(count)) or [])

    @rule()
    def alloc_until_it_fails(self) -> None:
        self.take(self.both(lambda provider: provider.alloc(2 * NIOVS_MAX)) or [])

    @rule(count=st.integers(1, 2))
    def copy_fallback(self, count: int) -> None:
        for _ in range(count):
            niov = self.both(lambda provider: provider.copy_fallback())
            self.take([] if niov is None else [niov])

    @rule(pick=picks, fragments=st.integers(1, 4), keep=st.booleans())
    def deliver(self, pick: int, fragments: int, keep: bool) -> None:
        for niov in self.some(self.held(), pick, many=False):
            self.hand_over(niov, fragments, keep)

    @rule(pick=picks, fragments=st.sampled_from([1, 1, 2]), keep=st.sampled_from([False, True]))
    def deliver_all(self, pick: int, fragments: int, keep: bool) -> None:
        for niov in self.some(self.held(), pick, many=True):
            self.hand_over(niov, fragments, keep)

    @rule(pick=picks, many=st.booleans())
    def drop(self, pick: int, many: bool) -> None:
        for niov in self.some(self.held(), pick, many):
            self.both(partial(drop, niov=niov))
            del self.stack_refs[niov]

    def take(self, niovs: list[int]) -> None:
        """Note that the stack was given buffers."""
        for niov in niovs:
            assert self.model.state().user_refs[niov] == 0
            assert niov not in self.stack_refs
            self.stack_refs[niov] = 1

    def hand_over(self, niov: int, fragments: int, keep: bool) -> None:
        self.both(partial(deliver, niov=niov, fragments=fragments, keep=keep))
        if not keep:
            del self.stack_refs[niov]

    # ---- the user ----

    @rule(
        pick=picks,
        in_page=st.integers(0, 4095),
        length=u32s,
        alias=st.sampled_from([0, 0, 1, 15]),
    )
    def give_back(self, pick: int, in_page: int, length: int, alias: int) -> None:
        for niov in self.some(self.lent(), pick, many=False):
            self.push(alias << 44 | self.model.offset(niov) | in_page, length)

    @rule(pick=picks)
    def give_all_back(self, pick: int) -> None:
        for niov in self.some(self.lent(), pick, many=True):
            for _ in range(self.state.user_refs[niov]):
                self.push(self.model.offset(niov))

    @rule(pick=picks)
    def give_back_again(self, pick: int) -> None:
        self.push(self.pushed[pick % len(self.pushed)])

    @rule(
        pick=picks, distortion=distortions, length=u32s, pad=pads, count=st.sampled_from([1, 1, 63])
    )
    def push_distorted(self, pick: int, distortion: int, length: int, pad: int, count: int) -> None:
        for _ in range(count):
            self.push(self.distorted(pick, distortion), length, pad)

    @rule(word=st.sampled_from(["mend", "tail", "head", "slot"]), data=st.data())
    def scribble(self, word: str, data: st.DataObject) -> None:
        """Write a word that an honest user writes otherwise, or mend the tail after such a jump."""
        if word == "mend":
            value = self.state.cached_rq_head
            self.both(lambda provider: provider.set_tail(value))
        elif word == "tail":
            jump = data.draw(st.integers(-3, 3) | st.integers(-300, 300) | u32s, "jump")
            value = (self.state.rq_tail + jump) % U32
            self.both(lambda provider: provider.set_tail(value))
        elif word == "head":
            value = data.draw(u32s, "value")
            self.both(lambda provider: provider.set_head(value))
        else:
            slot = data.draw(picks, "slot") % self.rq_entries
            off = self.distorted(data.draw(picks, "pick"), data.draw(distortions, "distortion"))
            pad = data.draw(pads, "pad")
            self.both(lambda provider: provider.write_rqe(slot, off, 0, pad))

    def distorted(self, pick: int, distortion: int) -> int:
        return (self.model.offset(pick % self.num_niovs) + distortion) % U64

    @precondition(lambda self: _has_areas(self.level))
    @rule(num_niovs=st.integers(1, 4) | st.integers(1, 4) | st.integers(60, 70))
    def add_area(self, num_niovs: int) -> None:
        self.both(lambda provider: provider.add_area(num_niovs))

    @rule()
    def flush(self) -> None:
        self.both(lambda provider: provider.flush())

    # ---- control ----

    @rule(
        action=st.sampled_from(["scrub", "restart", "restarts", "destroy", "destroy and restart"]),
        restarts=st.integers(1, POOLS_MAX),
    )
    def upset(self, action: str, restarts: int) -> None:
        if action == "scrub":
            assert self.both(lambda provider: provider.scrub()) == sum(self.state.user_refs)
        if "destroy" in action:
            self.both(lambda provider: provider.destroy())
        if action == "restarts":  # each former pool has a buffer out
            for _ in range(restarts):
                self.both(lambda provider: provider.restart_queue())
                self.alloc(1)
        elif "restart" in action:
            self.both(lambda provider: provider.restart_queue())

    @rule(pick=picks, many=st.booleans(), restart=st.booleans())
    def retry_release(self, pick: int, many: bool, restart: bool) -> None:
        for pool in self.some(self.dying(), pick, many):
            self.both(partial(retry_release, pool=pool))
        if restart and self.state.current_pool is None:
            self.both(lambda provider: provider.restart_queue())

    # ---- calls that are refused ----

    @rule(value=st.sampled_from([-1, U32, U64]), niov=picks, pool=st.integers(-1, POOLS_MAX))
    def make_illegal_calls(self, value: int, niov: int, pool: int) -> None:
        self.refused(lambda provider: provider.set_head(value))
        self.refused(lambda provider: provider.set_tail(value))
        self.refused(lambda provider: provider.push_rqe(0, value))
        self.refused(lambda provider: provider.push_rqe(0, 0, value))
        self.refused(lambda provider: provider.push_rqe(-1))
        self.refused(lambda provider: provider.push_rqe(U64))
        self.refused(lambda provider: provider.write_rqe(value, 0))
        self.refused(lambda provider: provider.write_rqe(self.rq_entries, 0))
        self.refused(lambda provider: provider.deliver(-1))
        self.refused(lambda provider: provider.drop(self.num_niovs))
        self.refused(lambda provider: provider.offset(self.num_niovs))
        self.refused(lambda provider: provider.add_area(0))
        if not _has_areas(self.level):
            self.refused(lambda provider: provider.add_area(1))
        if niov not in self.stack_refs:
            self.refused(lambda provider: provider.deliver(niov))
            self.refused(lambda provider: provider.drop(niov))
        if pool not in self.dying():
            self.refused(lambda provider: provider.retry_release(pool))
        if self.state.current_pool is None:
            self.refused(lambda provider: provider.alloc())
            self.refused(lambda provider: provider.destroy())

    # ---- what always holds ----

    @invariant()
    def both_sides_agree(self) -> None:
        self.state = self.model.state()
        assert self.other.state() == self.state
        verdicts: list[Judgement] = self.model.take_verdicts()
        assert self.other.take_verdicts() == verdicts
        if self.subject is StepProvider:
            assert self.other.pool_counters() == self.model.pool_counters()

    @invariant()
    def each_buffer_is_in_one_place(self) -> None:
        places = Counter(homes(self.state))
        for niov in range(self.num_niovs):
            refs = self.stack_refs[niov] + self.state.user_refs[niov]
            if refs:
                assert places[niov] == 0
                assert self.state.pp_refs[niov] == refs
            else:
                assert places[niov] == 1
                assert self.state.pp_refs[niov] in (0, 1)

    @invariant()
    def freelist_stays_inside_the_area(self) -> None:
        assert self.state.free_count == len(self.state.freelist) <= self.num_niovs

    @invariant()
    def areas_come_one_after_the_other_on_the_freelist(self) -> None:
        areas = [self.model.offset(niov) >> 48 for niov in self.state.freelist]
        assert areas == sorted(areas, reverse=True)

    @invariant()
    def inflight_is_what_is_bound(self) -> None:
        bound = Counter(self.state.niov_pool)
        for slot, pool in enumerate(self.state.pools):
            assert pool.inflight == bound[slot]
            assert len(pool.alloc_cache) <= 64
            if pool.phase is PoolPhase.UNUSED:
                assert bound[slot] == 0

    @invariant()
    def each_consumed_entry_earned_one_verdict(self) -> None:
        consumed = (self.state.cached_rq_head - self.initial_index) % U32
        assert sum(self.state.verdicts.values()) == consumed


def agree(machine: type[Agreement], examples: int) -> None:
    run_state_machine_as_test(machine, settings=settings(LIMITS, max_examples=examples))


#: What the levels share is asked of the seed's; a few runs of each show what it does otherwise.
by_examples = pytest.mark.parametrize(
    "examples",
    [
        pytest.param(40, id="few"),
        pytest.param(LIMITS.max_examples, id="many", marks=pytest.mark.long),
    ],
)


@pytest.mark.parametrize(
    "examples",
    [
        # Both parts of `make test` ask: of the core as it is, and of the sanitized one.
        pytest.param(100, id="few"),
        pytest.param(LIMITS.max_examples, id="many", marks=pytest.mark.long),
    ],
)
def test_core_agrees(examples: int) -> None:
    agree(Agreement, examples)


@by_examples
@pytest.mark.parametrize("kernel", [level for level in LEVELS if level != SEED])
def test_core_agrees_at_each_level(kernel: str, examples: int) -> None:
    class LevelAgreement(Agreement):
        level = kernel

    agree(LevelAgreement, examples)


@by_examples
def test_core_agrees_when_references_are_handed_over(examples: int) -> None:
    """Who comes alone cannot tell where they are counted."""

    class HandedOverAgreement(Agreement):
        level = "refs-cache"

    agree(HandedOverAgreement, examples)


@by_examples
def test_core_agrees_without_a_device(examples: int) -> None:
    class CopyingAgreement(Agreement):
        level = "7.1"
        device = False

    agree(CopyingAgreement, examples)


@by_examples
@pytest.mark.parametrize("bits", [13, 16])
def test_core_agrees_on_larger_buffers(bits: int, examples: int) -> None:
    """Offset bits vanish up to 32 KiB; above, none do."""

    class LargeAgreement(Agreement):
        level = "7.3"
        shift = bits

    agree(LargeAgreement, examples)


@pytest.mark.long
def test_provider_in_a_library_agrees(plain_provider: str) -> None:
    """The documentation's example, in the place of ours."""

    class LibraryAgreement(Agreement):
        subject = partial(StepProvider, provider=plain_provider)  # type: ignore[assignment]

    agree(LibraryAgreement, LIMITS.max_examples)


# ---- the machine finds what it should -------------------------------------------------------


class PublishesHeadWithoutConsuming(ModelProvider):
    def _refill_from_ring(self, pool: int) -> None:
        super()._refill_from_ring(pool)
        self._rq_head = self._cached_rq_head


class ReadsPublishedHeadBack(ModelProvider):
    def _refill_from_ring(self, pool: int) -> None:
        self._cached_rq_head = self._rq_head
        super()._refill_from_ring(pool)


class IgnoresReturnThatLeavesOthers(ModelProvider):
    def _take_back(self, pool: int | None, niov: int) -> Verdict:
        verdict = super()._take_back(pool, niov)
        if verdict is Verdict.STILL_REFERENCED:
            self._user_refs[niov] += 1
            self._pp_refs[niov] += 1
        return verdict


class LosesBufferOfNoPool(ModelProvider):
    def _return_to_pool(self, niov: int) -> None:
        if self._niov_pool[niov] is not None:
            super()._return_to_pool(niov)


class LosesOverflowOfPtrRing(ModelProvider):
    def _return_to_pool(self, niov: int) -> None:
        pool = self._niov_pool[niov]
        if pool is None or len(self._pools[pool].ptr_ring) < self._ptr_ring_size:
            super()._return_to_pool(niov)


class SendsStragglersToCurrentPool(ModelProvider):
    def _return_to_pool(self, niov: int) -> None:
        pool = self._niov_pool[niov]
        if pool is not None and self._current_pool is not None:
            self._pools[pool].inflight -= 1
            self._niov_pool[niov] = self._current_pool
            self._pools[self._current_pool].inflight += 1
        super()._return_to_pool(niov)


class DropsInstanceReferenceAlways(ModelProvider):
    def _destroy_pool(self, pool: int) -> bool:
        all_home = super()._destroy_pool(pool)
        self._instance_refs -= not all_home
        return all_home


class ComparesAllBitsOfTheIndex(ModelProvider):
    def _read(self, index: int) -> Judgement:
        judgement = super()._read(index)
        if judgement.alias and judgement.verdict is not Verdict.BAD_INDEX:
            return Judgement(index, Verdict.BAD_INDEX, judgement.niov, alias=True)
        return judgement


class ScrubsFromTheEnd(ModelProvider):
    def scrub(self) -> int:
        lengths = [len(pool.ptr_ring) for pool in self._pools]
        total = super().scrub()
        for pool, length in zip(self._pools, lengths, strict=True):
            pool.ptr_ring[length:] = reversed(pool.ptr_ring[length:])
        return total


@pytest.mark.long
@pytest.mark.parametrize(
    "bug",
    [
        PublishesHeadWithoutConsuming,
        ReadsPublishedHeadBack,
        IgnoresReturnThatLeavesOthers,
        LosesBufferOfNoPool,
        LosesOverflowOfPtrRing,
        SendsStragglersToCurrentPool,
        DropsInstanceReferenceAlways,
        ComparesAllBitsOfTheIndex,
        ScrubsFromTheEnd,
    ],
)
def test_seeded_bug_is_found(bug: type[ModelProvider]) -> None:
    """Found by the machine's own comparison, not by an assertion inside the buggy side."""

    class Disagreement(Agreement):
        subject = bug

    with pytest.raises(AssertionError) as found:
        run_state_machine_as_test(
            Disagreement,
            settings=settings(
                LIMITS,
                max_examples=1000,
                phases=[Phase.generate],
                derandomize=True,
                database=None,
                report_multiple_bugs=False,
            ),
        )
    assert found.traceback[-1].path == Path(__file__)


def test_broken_provider_in_a_library_is_found(broken_provider: str) -> None:
    class LibraryDisagreement(Agreement):
        subject = partial(StepProvider, provider=broken_provider)  # type: ignore[assignment]

    with pytest.raises(AssertionError) as found:
        run_state_machine_as_test(
            LibraryDisagreement,
            settings=settings(
                LIMITS,
                phases=[Phase.generate],
                derandomize=True,
                database=None,
                report_multiple_bugs=False,
            ),
        )
    assert found.traceback[-1].path == Path(__file__)


def test_both_providers_have_the_same_surface() -> None:
    def surface(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    assert surface(ModelProvider) == surface(StepProvider)
