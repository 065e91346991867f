"""Each rule of the provider by an example, held against the model and the C core alike.

Most tests lend every buffer to the user first: alloc cache, ptr ring and freelist are then
empty, so the next allocation depends on what it finds in the refill ring.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Protocol

import pytest

from emu.errors import ConfigError, StateError
from emu.spec.model import ModelProvider
from emu.spec.state import POOLS_MAX, Judgement, PoolPhase, PoolState, Verdict
from emu.spec.stepping import StepProvider

Provider = ModelProvider | StepProvider

UNUSED_POOL = PoolState(PoolPhase.UNUSED, (), (), 0)
ALIAS = 2**44
U32_MAX = 2**32 - 1
U64_MAX = 2**64 - 1


class Make(Protocol):
    """Builds a provider of the implementation under test."""

    def __call__(
        self,
        *,
        num_niovs: int = 4,
        rq_entries: int = 8,
        ptr_ring_size: int = 1024,
        initial_index: int = 0,
        strict_alias: bool = False,
    ) -> Provider: ...


@pytest.fixture(params=[ModelProvider, StepProvider], ids=["model", "core"])
def make(request: pytest.FixtureRequest) -> Make:
    implementation: type[Provider] = request.param

    def build(
        *,
        num_niovs: int = 4,
        rq_entries: int = 8,
        ptr_ring_size: int = 1024,
        initial_index: int = 0,
        strict_alias: bool = False,
    ) -> Provider:
        return implementation(
            num_niovs=num_niovs,
            rq_entries=rq_entries,
            ptr_ring_size=ptr_ring_size,
            initial_index=initial_index,
            strict_alias=strict_alias,
        )

    return build


def make_with(make: Make, field: str, value: int) -> Provider:
    """Build a provider with one argument set to ``value`` and the others harmless."""
    numbers = {"num_niovs": 4, "rq_entries": 8, "ptr_ring_size": 8, "initial_index": 0}
    numbers[field] = value
    return make(
        num_niovs=numbers["num_niovs"],
        rq_entries=numbers["rq_entries"],
        ptr_ring_size=numbers["ptr_ring_size"],
        initial_index=numbers["initial_index"],
    )


def offset(niov: int, in_page: int = 0, area: int = 0) -> int:
    return area << 48 | niov << 12 | in_page


def lend(provider: Provider, count: int) -> list[int]:
    """Allocate ``count`` buffers and deliver each as one fragment."""
    niovs = provider.alloc(count)
    assert len(niovs) == count
    for niov in niovs:
        provider.deliver(niov)
    return niovs


def give_back(provider: Provider, niovs: Iterable[int]) -> None:
    for niov in niovs:
        provider.push_rqe(offset(niov))


def push_bad(provider: Provider, count: int) -> None:
    for _ in range(count):
        provider.push_rqe(0, pad=1)


def earned(provider: Provider) -> list[Verdict]:
    return [judgement.verdict for judgement in provider.take_verdicts()]


# ---- a new instance -------------------------------------------------------------------------


def test_new_instance_has_all_buffers_free_and_a_current_pool(make: Make) -> None:
    state = make(num_niovs=5, initial_index=77).state()
    assert (state.rq_head, state.rq_tail, state.cached_rq_head) == (77, 77, 77)
    assert state.freelist == (0, 1, 2, 3, 4)
    assert state.free_count == 5
    assert state.user_refs == (0,) * 5
    assert state.pp_refs == (0,) * 5
    assert state.niov_pool == (None,) * 5
    assert state.current_pool == 0
    assert state.pools[0] == PoolState(PoolPhase.CURRENT, (), (), 0)
    assert state.pools[1:] == (UNUSED_POOL,) * (POOLS_MAX - 1)
    assert state.instance_refs == 2
    assert state.verdicts == dict.fromkeys(Verdict, 0)
    assert (state.aliases, state.alloc_failures, state.destroy_warnings) == (0, 0, 0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_niovs", 0),
        ("num_niovs", -1),
        ("num_niovs", 2**20 + 1),
        ("rq_entries", 0),
        ("rq_entries", 3),
        ("rq_entries", -8),
        ("rq_entries", 65536),
        ("ptr_ring_size", 0),
        ("ptr_ring_size", 32769),
        ("initial_index", -1),
        ("initial_index", 2**32),
    ],
)
def test_argument_out_of_range_is_a_config_error(make: Make, field: str, value: int) -> None:
    with pytest.raises(ConfigError, match=field):
        make_with(make, field, value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_niovs", 1),
        ("num_niovs", 2**20),
        ("rq_entries", 1),
        ("rq_entries", 32768),
        ("ptr_ring_size", 1),
        ("ptr_ring_size", 32768),
        ("initial_index", U32_MAX),
    ],
)
def test_limits_of_the_arguments_are_legal(make: Make, field: str, value: int) -> None:
    assert len(make_with(make, field, value).alloc()) == 1


# ---- order of supply ------------------------------------------------------------------------


def test_sixty_four_buffers_or_fewer_come_in_ascending_order(make: Make) -> None:
    assert make(num_niovs=64).alloc(64) == list(range(64))
    assert make(num_niovs=3).alloc(3) == [0, 1, 2]


def test_larger_area_is_handed_out_in_batches_from_its_top(make: Make) -> None:
    order = make(num_niovs=256).alloc(256)
    assert order == [*range(192, 256), *range(128, 192), *range(64, 128), *range(64)]


def test_freelist_refill_stops_at_sixty_four_and_binds(make: Make) -> None:
    provider = make(num_niovs=100)
    assert provider.alloc() == [36]
    state = provider.state()
    assert state.freelist == tuple(range(36))
    assert state.alloc_cache == tuple(range(99, 36, -1))
    assert state.pools[0].inflight == 64
    assert state.niov_pool == (None,) * 36 + (0,) * 64
    assert state.pp_refs == (0,) * 36 + (1,) * 64


def test_allocation_stops_at_the_first_failure_and_counts_it_once(make: Make) -> None:
    provider = make(num_niovs=4)
    assert provider.alloc(10) == [0, 1, 2, 3]
    assert provider.state().alloc_failures == 1
    assert provider.alloc(10) == []
    assert provider.state().alloc_failures == 2


def test_allocation_of_nothing_does_nothing(make: Make) -> None:
    provider = make()
    before = provider.state()
    assert provider.alloc(0) == []
    assert provider.state() == before


def test_alloc_cache_comes_before_ptr_ring(make: Make) -> None:
    provider = make(num_niovs=4)
    provider.alloc(2)
    provider.drop(0)
    assert provider.state().ptr_ring == (0,)
    assert provider.alloc(3) == [2, 3, 0]


def test_ptr_ring_comes_before_refill_ring(make: Make) -> None:
    provider = make(num_niovs=2)
    provider.alloc(2)
    provider.deliver(1)
    provider.drop(0)
    give_back(provider, [1])
    assert provider.alloc() == [0]
    assert provider.state().rq_head == 0
    assert provider.take_verdicts() == []
    assert provider.alloc() == [1]
    assert provider.state().rq_head == 1


def test_ptr_ring_comes_before_freelist(make: Make) -> None:
    provider = make(num_niovs=70)
    niovs = provider.alloc(64)
    provider.drop(niovs[5])
    assert provider.alloc() == [niovs[5]]
    assert provider.state().free_count == 6


def test_ptr_ring_moves_sixty_four_oldest_first_and_the_batch_comes_out_reversed(
    make: Make,
) -> None:
    provider = make(num_niovs=100)
    niovs = provider.alloc(100)
    for niov in niovs:
        provider.drop(niov)
    assert provider.alloc() == [niovs[63]]
    state = provider.state()
    assert state.alloc_cache == tuple(niovs[:63])
    assert state.ptr_ring == tuple(niovs[64:])
    assert provider.alloc(63) == niovs[62::-1]
    assert provider.alloc(36) == niovs[:63:-1]


def test_refill_ring_comes_before_freelist(make: Make) -> None:
    provider = make(num_niovs=65)
    lent = lend(provider, 64)
    give_back(provider, lent[:1])
    assert provider.alloc() == lent[:1]
    assert provider.state().free_count == 1


def test_refill_ring_is_not_consulted_while_the_cache_holds_something(make: Make) -> None:
    provider = make(num_niovs=4)
    lend(provider, 1)
    give_back(provider, [0])
    assert provider.alloc(3) == [1, 2, 3]
    assert provider.take_verdicts() == []
    assert provider.alloc() == [0]


def test_freelist_serves_although_valid_rqes_wait(make: Make) -> None:
    """64 bad entries use up the one refill call of an allocation that the freelist then serves."""
    provider = make(num_niovs=65, rq_entries=128)
    lent = lend(provider, 64)
    push_bad(provider, 64)
    give_back(provider, lent[:1])
    assert provider.alloc() == [0]
    assert provider.state().cached_rq_head == 64
    assert provider.alloc() == lent[:1]


def test_sixty_four_bad_entries_fail_an_allocation_and_the_next_succeeds(make: Make) -> None:
    provider = make(num_niovs=4, rq_entries=128)
    lend(provider, 4)
    push_bad(provider, 64)
    give_back(provider, [2])
    assert provider.alloc() == []
    assert provider.state().alloc_failures == 1
    assert provider.state().rq_head == 64
    assert provider.alloc() == [2]


def test_sixty_three_bad_entries_do_not_hide_the_good_one(make: Make) -> None:
    provider = make(num_niovs=4, rq_entries=128)
    lend(provider, 4)
    push_bad(provider, 63)
    give_back(provider, [2])
    assert provider.alloc() == [2]


# ---- the refill ring ------------------------------------------------------------------------


def test_returns_are_accepted_in_order_and_handed_out_last_first(make: Make) -> None:
    provider = make(num_niovs=4)
    lend(provider, 4)
    give_back(provider, [3, 0, 1])
    assert provider.alloc() == [1]
    assert provider.state().alloc_cache == (3, 0)
    assert provider.take_verdicts() == [
        Judgement(index=0, verdict=Verdict.ACCEPTED, niov=3),
        Judgement(index=1, verdict=Verdict.ACCEPTED, niov=0),
        Judgement(index=2, verdict=Verdict.ACCEPTED, niov=1),
    ]
    assert provider.state().verdicts[Verdict.ACCEPTED] == 3


def test_accepted_buffer_stays_bound_with_one_page_pool_reference(make: Make) -> None:
    provider = make(num_niovs=1)
    lend(provider, 1)
    give_back(provider, [0])
    assert provider.alloc() == [0]
    state = provider.state()
    assert (state.user_refs, state.pp_refs, state.niov_pool) == ((0,), (1,), (0,))
    assert state.pools[0].inflight == 1


def test_one_refill_takes_sixty_four_entries_at_most(make: Make) -> None:
    provider = make(num_niovs=100, rq_entries=128)
    lent = lend(provider, 100)
    give_back(provider, lent)
    assert provider.alloc() == [lent[63]]
    assert provider.state().rq_head == 64
    assert provider.alloc(64) == [*lent[62::-1], lent[99]]
    assert provider.state().rq_head == 100


def test_one_refill_takes_a_ring_of_entries_at_most(make: Make) -> None:
    provider = make(num_niovs=4, rq_entries=4)
    lend(provider, 4)
    for slot in range(4):
        provider.write_rqe(slot, offset(slot))
    provider.set_tail(50)
    assert provider.alloc() == [3]
    assert provider.state().cached_rq_head == 4


def test_refill_takes_what_is_available_and_no_more(make: Make) -> None:
    provider = make(num_niovs=4)
    lend(provider, 4)
    provider.write_rqe(1, offset(3))
    give_back(provider, [2])
    assert provider.alloc(2) == [2]
    assert provider.state().rq_head == 1


def test_indices_wrap_at_u32(make: Make) -> None:
    provider = make(num_niovs=4, rq_entries=2, initial_index=U32_MAX)
    lend(provider, 4)
    give_back(provider, [2, 3])
    assert provider.state().rq_tail == 1
    assert provider.alloc() == [3]
    assert [judgement.index for judgement in provider.take_verdicts()] == [U32_MAX, 0]
    state = provider.state()
    assert (state.rq_head, state.cached_rq_head) == (1, 1)


def test_ring_of_one_entry_works(make: Make) -> None:
    provider = make(num_niovs=2, rq_entries=1)
    lend(provider, 2)
    give_back(provider, [1])
    assert provider.alloc() == [1]
    give_back(provider, [0])
    assert provider.alloc() == [0]


def test_push_into_a_full_ring_overwrites_the_oldest_slot(make: Make) -> None:
    provider = make(num_niovs=4, rq_entries=2)
    lend(provider, 4)
    give_back(provider, [0, 1, 2])
    assert provider.alloc() == [1]
    assert [judgement.niov for judgement in provider.take_verdicts()] == [2, 1]
    assert provider.state().rq_head == 2
    assert provider.alloc(2) == [2]
    assert provider.take_verdicts() == [Judgement(2, Verdict.NO_USER_REF, 2)]


def test_rejected_entries_move_the_published_head(make: Make) -> None:
    provider = make(num_niovs=4)
    lend(provider, 4)
    push_bad(provider, 3)
    assert provider.alloc() == []
    state = provider.state()
    assert (state.rq_head, state.cached_rq_head) == (3, 3)


def test_scribbled_head_stays_until_the_next_consumption(make: Make) -> None:
    provider = make(num_niovs=4)
    lend(provider, 4)
    provider.set_head(1234)
    assert provider.alloc() == []
    assert provider.state().rq_head == 1234
    give_back(provider, [1])
    assert provider.alloc() == [1]
    assert provider.state().rq_head == 1


def test_published_head_is_never_read_back(make: Make) -> None:
    provider = make(num_niovs=4)
    lend(provider, 4)
    give_back(provider, [0, 1])
    provider.set_head(2)
    assert provider.alloc(2) == [1, 0]
    assert provider.state().cached_rq_head == 2


def test_tail_ahead_is_clamped_to_full_until_the_head_catches_up(make: Make) -> None:
    provider = make(num_niovs=4, rq_entries=128)
    lend(provider, 4)
    provider.set_tail(200)
    provider.write_rqe(0, 0, pad=1)
    for slot in range(1, 128):
        provider.write_rqe(slot, 0, pad=1)
    heads = []
    for _ in range(6):
        assert provider.alloc() == []
        heads.append(provider.state().rq_head)
    assert heads == [64, 128, 192, 200, 200, 200]


def test_tail_that_moves_back_reads_stale_slots_without_resynchronisation(make: Make) -> None:
    """One step back is "full": 64 entries a call, of which the slots decide what they earn."""
    provider = make(num_niovs=4, rq_entries=128)
    lend(provider, 4)
    give_back(provider, [3])
    assert provider.alloc() == [3]
    provider.set_tail(0)
    for expected_head in (65, 129, 193):
        provider.alloc()
        assert provider.state().cached_rq_head == expected_head
    provider.set_tail(193)
    assert provider.alloc() == []
    assert provider.state().cached_rq_head == 193


def test_slot_never_written_reads_as_return_of_buffer_zero(make: Make) -> None:
    provider = make(num_niovs=4)
    lend(provider, 4)
    provider.set_tail(2)
    assert provider.alloc() == [0]
    assert earned(provider) == [Verdict.ACCEPTED, Verdict.NO_USER_REF]


def test_stale_slot_is_honoured_if_its_buffer_has_a_user_reference_now(make: Make) -> None:
    provider = make(num_niovs=4, rq_entries=4)
    lend(provider, 4)
    give_back(provider, [3])
    assert provider.alloc() == [3]
    provider.deliver(3)
    provider.set_tail(5)
    assert provider.alloc(2) == [3, 0]
    assert provider.take_verdicts()[1:] == [
        Judgement(1, Verdict.ACCEPTED, 0),
        Judgement(2, Verdict.NO_USER_REF, 0),
        Judgement(3, Verdict.NO_USER_REF, 0),
        Judgement(4, Verdict.ACCEPTED, 3),
    ]


def test_slot_rewritten_before_consumption_counts_as_rewritten(make: Make) -> None:
    provider = make(num_niovs=4)
    lend(provider, 4)
    give_back(provider, [3])
    provider.write_rqe(0, offset(1))
    assert provider.alloc() == [1]


# ---- what one entry earns -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("off", "pad", "verdict", "niov"),
    [
        (offset(2), 0, Verdict.ACCEPTED, 2),
        (offset(2), 1, Verdict.BAD_PAD, None),
        (offset(2), U32_MAX, Verdict.BAD_PAD, None),
        (offset(2, area=1), 0, Verdict.BAD_AREA, None),
        (offset(2, area=0xFFFF), 0, Verdict.BAD_AREA, None),
        (offset(4), 0, Verdict.BAD_INDEX, 4),
        (2**43, 0, Verdict.BAD_INDEX, 2**31),
        (2**44 - 1, 0, Verdict.BAD_INDEX, U32_MAX),
        (offset(1), 0, Verdict.NO_USER_REF, 1),
        (offset(9, area=1), 1, Verdict.BAD_PAD, None),
        (offset(9, area=1), 0, Verdict.BAD_AREA, None),
        (U64_MAX, 0, Verdict.BAD_AREA, None),
    ],
)
def test_entry_earns_its_verdict_and_is_consumed(
    make: Make, off: int, pad: int, verdict: Verdict, niov: int | None
) -> None:
    """Buffer 2 is with the user, the others with the stack; pad, area, index in that order."""
    provider = make(num_niovs=4)
    provider.alloc(4)
    provider.deliver(2)
    provider.push_rqe(off, pad=pad)
    assert provider.alloc() == ([2] if verdict is Verdict.ACCEPTED else [])
    assert provider.take_verdicts() == [Judgement(0, verdict, niov)]
    state = provider.state()
    assert state.rq_head == 1
    assert state.verdicts == dict.fromkeys(Verdict, 0) | {verdict: 1}
    assert state.aliases == 0


@pytest.mark.parametrize("in_page", [0, 1, 2048, 4095])
@pytest.mark.parametrize("length", [0, 1, 4096, U32_MAX])
def test_length_and_offset_in_page_are_ignored(make: Make, in_page: int, length: int) -> None:
    provider = make(num_niovs=4)
    lend(provider, 4)
    provider.push_rqe(offset(3, in_page), length)
    assert provider.alloc() == [3]


@pytest.mark.parametrize("high_bits", [1, 2, 8, 15])
def test_alias_is_accepted_and_counted(make: Make, high_bits: int) -> None:
    provider = make(num_niovs=4)
    lend(provider, 4)
    provider.push_rqe(high_bits * ALIAS + offset(2, in_page=5))
    assert provider.alloc() == [2]
    assert provider.take_verdicts() == [Judgement(0, Verdict.ACCEPTED, 2, alias=True)]
    assert provider.state().aliases == 1


def test_strict_setting_rejects_an_alias(make: Make) -> None:
    provider = make(num_niovs=4, strict_alias=True)
    lend(provider, 4)
    provider.push_rqe(ALIAS + offset(2))
    provider.push_rqe(offset(3))
    assert provider.alloc(2) == [3]
    assert provider.take_verdicts() == [
        Judgement(0, Verdict.BAD_INDEX, 2, alias=True),
        Judgement(1, Verdict.ACCEPTED, 3),
    ]
    state = provider.state()
    assert state.aliases == 1
    assert state.user_refs == (1, 1, 1, 0)


@pytest.mark.parametrize("strict_alias", [False, True])
def test_alias_beyond_the_area_is_a_bad_index(make: Make, strict_alias: bool) -> None:
    provider = make(num_niovs=4, strict_alias=strict_alias)
    lend(provider, 4)
    provider.push_rqe(ALIAS + offset(4))
    assert provider.alloc() == []
    assert provider.take_verdicts() == [Judgement(0, Verdict.BAD_INDEX, 4)]
    assert provider.state().aliases == 0


def test_alias_of_a_buffer_without_user_reference_is_counted(make: Make) -> None:
    provider = make(num_niovs=4)
    provider.alloc(4)
    provider.push_rqe(ALIAS + offset(2))
    assert provider.alloc() == []
    assert provider.take_verdicts() == [Judgement(0, Verdict.NO_USER_REF, 2, alias=True)]
    assert provider.state().aliases == 1


def test_alias_with_bad_pad_or_bad_area_is_not_counted(make: Make) -> None:
    provider = make(num_niovs=4)
    lend(provider, 4)
    provider.push_rqe(ALIAS + offset(2), pad=1)
    provider.push_rqe(ALIAS + offset(2, area=1))
    assert provider.alloc() == []
    assert provider.take_verdicts() == [
        Judgement(0, Verdict.BAD_PAD, None),
        Judgement(1, Verdict.BAD_AREA, None),
    ]
    assert provider.state().aliases == 0


def test_duplicate_return_is_rejected_while_the_user_holds_nothing(make: Make) -> None:
    provider = make(num_niovs=4)
    lend(provider, 4)
    give_back(provider, [2, 2])
    assert provider.alloc(2) == [2]
    assert earned(provider) == [Verdict.ACCEPTED, Verdict.NO_USER_REF]


def test_duplicate_return_takes_the_reference_of_another_fragment(make: Make) -> None:
    provider = make(num_niovs=1)
    provider.alloc()
    provider.deliver(0, 2)
    give_back(provider, [0, 0])
    assert provider.alloc() == [0]
    assert earned(provider) == [Verdict.STILL_REFERENCED, Verdict.ACCEPTED]


def test_stale_return_takes_the_reference_of_a_later_delivery(make: Make) -> None:
    provider = make(num_niovs=1)
    lend(provider, 1)
    give_back(provider, [0])
    lend(provider, 1)
    give_back(provider, [0])
    assert provider.alloc() == [0]
    assert earned(provider) == [Verdict.ACCEPTED, Verdict.ACCEPTED]


def test_buffer_cut_into_fragments_comes_back_with_the_last(make: Make) -> None:
    provider = make(num_niovs=1)
    provider.alloc()
    provider.deliver(0, 3)
    assert (provider.state().user_refs, provider.state().pp_refs) == ((3,), (3,))
    give_back(provider, [0, 0])
    assert provider.alloc() == []
    assert (provider.state().user_refs, provider.state().pp_refs) == ((1,), (1,))
    give_back(provider, [0])
    assert provider.alloc() == [0]
    assert earned(provider) == [
        Verdict.STILL_REFERENCED,
        Verdict.STILL_REFERENCED,
        Verdict.ACCEPTED,
    ]


def test_still_referenced_return_has_used_its_user_reference_up(make: Make) -> None:
    provider = make(num_niovs=1)
    provider.alloc()
    provider.deliver(0, keep_stack_ref=True)
    give_back(provider, [0, 0])
    assert provider.alloc() == []
    assert earned(provider) == [Verdict.STILL_REFERENCED, Verdict.NO_USER_REF]
    assert (provider.state().user_refs, provider.state().pp_refs) == ((0,), (1,))


def test_buffer_that_the_stack_still_holds_is_freed_by_its_drop_alone(make: Make) -> None:
    """With the user references gone, neither an RQE nor a scrub can free it."""
    provider = make(num_niovs=1)
    provider.alloc()
    provider.deliver(0, keep_stack_ref=True)
    give_back(provider, [0])
    assert provider.alloc() == []
    give_back(provider, [0])
    assert provider.scrub() == 0
    assert provider.alloc() == []
    provider.drop(0)
    assert provider.state().ptr_ring == (0,)
    assert provider.alloc() == [0]


def test_take_verdicts_drains_but_the_counts_stay(make: Make) -> None:
    provider = make(num_niovs=4)
    lend(provider, 4)
    push_bad(provider, 2)
    provider.alloc()
    push_bad(provider, 1)
    provider.alloc()
    assert [judgement.index for judgement in provider.take_verdicts()] == [0, 1, 2]
    assert provider.take_verdicts() == []
    assert provider.state().verdicts[Verdict.BAD_PAD] == 3


# ---- page-pool references -------------------------------------------------------------------


def test_delivery_takes_one_reference_of_each_kind_a_fragment(make: Make) -> None:
    provider = make(num_niovs=1)
    provider.alloc()
    provider.deliver(0, 2, keep_stack_ref=True)
    assert (provider.state().user_refs, provider.state().pp_refs) == ((2,), (3,))
    provider.deliver(0, 1)
    assert (provider.state().user_refs, provider.state().pp_refs) == ((3,), (3,))


def test_delivery_needs_a_reference_of_the_stack(make: Make) -> None:
    provider = make(num_niovs=2)
    with pytest.raises(StateError):
        provider.deliver(0)
    provider.alloc()
    provider.deliver(0)
    with pytest.raises(StateError):
        provider.deliver(0)
    with pytest.raises(StateError):
        provider.deliver(1)


def test_drop_needs_a_reference_of_the_stack(make: Make) -> None:
    provider = make(num_niovs=2)
    provider.alloc()
    provider.drop(0)
    for niov in (0, 1):
        with pytest.raises(StateError):
            provider.drop(niov)


def test_buffer_outside_the_area_is_refused(make: Make) -> None:
    provider = make(num_niovs=2)
    provider.alloc(2)
    for niov in (-1, 2):
        with pytest.raises(ConfigError):
            provider.deliver(niov)
        with pytest.raises(ConfigError):
            provider.drop(niov)


@pytest.mark.parametrize("fragments", [-1, 0, 2**20 + 1])
def test_number_of_fragments_out_of_range_is_refused(make: Make, fragments: int) -> None:
    provider = make(num_niovs=2)
    provider.alloc()
    before = provider.state()
    with pytest.raises(ConfigError):
        provider.deliver(0, fragments)
    assert provider.state() == before


def test_refused_call_changes_nothing(make: Make) -> None:
    provider = make(num_niovs=2)
    lend(provider, 1)
    before = provider.state()
    with pytest.raises(StateError):
        provider.deliver(0, 5)
    with pytest.raises(StateError):
        provider.drop(0)
    with pytest.raises(ConfigError):
        provider.push_rqe(2**64)
    with pytest.raises(ConfigError):
        provider.push_rqe(0, 2**32)
    with pytest.raises(ConfigError):
        provider.push_rqe(0, 0, 2**32)
    with pytest.raises(ConfigError):
        provider.push_rqe(-1)
    with pytest.raises(ConfigError):
        provider.write_rqe(8, 0)
    with pytest.raises(ConfigError):
        provider.write_rqe(-1, 0)
    with pytest.raises(ConfigError):
        provider.set_head(2**32)
    with pytest.raises(ConfigError):
        provider.set_tail(-1)
    assert provider.state() == before


def test_last_reference_dropped_outside_the_provider_leads_to_the_ptr_ring(make: Make) -> None:
    provider = make(num_niovs=3)
    provider.alloc(3)
    provider.drop(2)
    provider.drop(0)
    state = provider.state()
    assert state.ptr_ring == (2, 0)
    assert state.free_count == 0
    assert state.pp_refs == (1, 1, 1)
    assert state.pools[0].inflight == 3


def test_buffer_that_finds_the_ptr_ring_full_is_released(make: Make) -> None:
    provider = make(num_niovs=4, ptr_ring_size=2)
    for niov in provider.alloc(4):
        provider.drop(niov)
    state = provider.state()
    assert state.ptr_ring == (0, 1)
    assert state.freelist == (2, 3)
    assert state.niov_pool == (0, 0, None, None)
    assert state.pp_refs == (1, 1, 1, 1)
    assert state.pools[0].inflight == 2


# ---- scrub ----------------------------------------------------------------------------------


def test_scrub_takes_back_all_user_references_once(make: Make) -> None:
    provider = make(num_niovs=4)
    provider.alloc(3)
    provider.deliver(0, 2)
    provider.deliver(2, 3)
    assert provider.scrub() == 5
    assert provider.state().user_refs == (0, 0, 0, 0)
    assert provider.scrub() == 0


def test_scrubbed_buffers_go_to_the_ptr_ring_in_index_order(make: Make) -> None:
    """Never to the cache, although it may be empty; per batch they come out in reverse."""
    provider = make(num_niovs=4)
    provider.alloc(4)
    for niov in (3, 1, 0, 2):
        provider.deliver(niov)
    provider.scrub()
    state = provider.state()
    assert state.ptr_ring == (0, 1, 2, 3)
    assert state.alloc_cache == ()
    assert state.pp_refs == (1, 1, 1, 1)
    assert provider.alloc(4) == [3, 2, 1, 0]


def test_scrub_overflow_goes_to_the_freelist(make: Make) -> None:
    provider = make(num_niovs=4, ptr_ring_size=1)
    lend(provider, 4)
    assert provider.scrub() == 4
    state = provider.state()
    assert state.ptr_ring == (0,)
    assert state.freelist == (1, 2, 3)
    assert state.niov_pool == (0, None, None, None)


def test_scrub_leaves_what_the_stack_still_holds(make: Make) -> None:
    provider = make(num_niovs=2)
    provider.alloc(2)
    provider.deliver(0, 2, keep_stack_ref=True)
    assert provider.scrub() == 2
    assert provider.state().ptr_ring == ()
    assert provider.state().pp_refs == (1, 1)
    provider.drop(0)
    assert provider.state().ptr_ring == (0,)


def test_rqe_after_scrub_is_rejected(make: Make) -> None:
    provider = make(num_niovs=2)
    lend(provider, 2)
    give_back(provider, [0])
    provider.scrub()
    give_back(provider, [1])
    assert provider.alloc(3) == [1, 0]
    assert earned(provider) == [Verdict.NO_USER_REF] * 2


def test_scrub_does_not_read_the_refill_ring(make: Make) -> None:
    provider = make(num_niovs=2)
    lend(provider, 2)
    give_back(provider, [0, 1])
    provider.scrub()
    state = provider.state()
    assert (state.rq_head, state.cached_rq_head) == (0, 0)
    assert provider.take_verdicts() == []


# ---- copy fallback --------------------------------------------------------------------------


def test_copy_fallback_takes_the_top_of_the_freelist_unbound(make: Make) -> None:
    provider = make(num_niovs=4)
    assert provider.copy_fallback() == 3
    state = provider.state()
    assert state.freelist == (0, 1, 2)
    assert state.pp_refs == (0, 0, 0, 1)
    assert state.niov_pool == (None,) * 4
    assert state.pools[0].inflight == 0


def test_copy_fallback_without_free_buffers_gives_none(make: Make) -> None:
    provider = make(num_niovs=4)
    provider.alloc()
    assert provider.copy_fallback() is None
    assert provider.state().alloc_failures == 0


def test_dropped_copy_fallback_buffer_returns_to_the_freelist(make: Make) -> None:
    provider = make(num_niovs=4)
    assert provider.copy_fallback() == 3
    provider.drop(3)
    state = provider.state()
    assert state.freelist == (0, 1, 2, 3)
    assert state.ptr_ring == ()
    assert state.pp_refs == (0, 0, 0, 1)


def test_scrubbed_copy_fallback_buffer_returns_to_the_freelist(make: Make) -> None:
    provider = make(num_niovs=4)
    assert provider.copy_fallback() == 3
    provider.deliver(3)
    assert provider.scrub() == 1
    assert provider.state().freelist == (0, 1, 2, 3)


def test_returned_copy_fallback_buffer_serves_the_allocation_through_the_freelist(
    make: Make,
) -> None:
    """Bound to no pool is another pool: the refill gains nothing, but the freelist now does."""
    provider = make(num_niovs=1)
    assert provider.copy_fallback() == 0
    provider.deliver(0)
    give_back(provider, [0])
    assert provider.alloc() == [0]
    assert earned(provider) == [Verdict.OTHER_POOL]
    assert provider.state().niov_pool == (0,)


# ---- the life of page pools -----------------------------------------------------------------


def test_restart_with_nothing_out_ends_the_former_pool(make: Make) -> None:
    provider = make(num_niovs=4)
    provider.drop(provider.alloc()[0])
    assert provider.restart_queue() == 1
    state = provider.state()
    assert state.current_pool == 1
    assert state.pools[0] == UNUSED_POOL
    assert state.pools[1] == PoolState(PoolPhase.CURRENT, (), (), 0)
    assert (state.instance_refs, state.destroy_warnings) == (2, 0)


def test_teardown_releases_the_cache_from_its_top_and_then_the_ptr_ring(make: Make) -> None:
    provider = make(num_niovs=6)
    provider.alloc(4)
    for niov in (2, 0, 3, 1):
        provider.drop(niov)
    assert provider.state().alloc_cache == (5, 4)
    provider.restart_queue()
    state = provider.state()
    assert state.freelist == (4, 5, 2, 0, 3, 1)
    assert state.niov_pool == (None,) * 6
    assert state.pp_refs == (1,) * 6


def test_restart_takes_the_lowest_unused_slot(make: Make) -> None:
    provider = make(num_niovs=4)
    assert provider.restart_queue() == 1
    assert provider.restart_queue() == 0
    provider.alloc()
    assert provider.restart_queue() == 1
    assert provider.state().pools[0].phase is PoolPhase.DYING
    assert provider.restart_queue() == 2
    assert provider.restart_queue() == 1


def test_pool_with_buffers_out_is_dying_and_keeps_its_reference(make: Make) -> None:
    provider = make(num_niovs=4)
    provider.alloc(2)
    provider.restart_queue()
    state = provider.state()
    assert state.pools[0] == PoolState(PoolPhase.DYING, (), (), 2)
    assert (state.instance_refs, state.destroy_warnings) == (3, 0)
    assert state.freelist == (2, 3)


def test_return_to_another_pool_gains_the_allocation_nothing(make: Make) -> None:
    provider = make(num_niovs=2)
    lend(provider, 2)
    provider.restart_queue()
    give_back(provider, [0])
    assert provider.alloc() == []
    assert provider.take_verdicts() == [Judgement(0, Verdict.OTHER_POOL, 0)]
    state = provider.state()
    assert state.pools[0] == PoolState(PoolPhase.DYING, (), (0,), 2)
    assert state.alloc_cache == ()
    assert state.pp_refs == (1, 1)


def test_return_to_another_pool_whose_ring_is_full_is_its_release(make: Make) -> None:
    provider = make(num_niovs=3, ptr_ring_size=1)
    lend(provider, 3)
    provider.restart_queue()
    give_back(provider, [0, 1])
    assert provider.alloc() == [1]
    assert earned(provider) == [Verdict.OTHER_POOL] * 2
    state = provider.state()
    assert state.pools[0] == PoolState(PoolPhase.DYING, (), (0,), 2)
    assert state.pools[1] == PoolState(PoolPhase.CURRENT, (), (), 1)
    assert state.niov_pool == (0, 1, 0)


def test_return_to_another_pool_still_referenced_is_not_a_return(make: Make) -> None:
    provider = make(num_niovs=1)
    provider.alloc()
    provider.deliver(0, 2)
    provider.restart_queue()
    give_back(provider, [0])
    assert provider.alloc() == []
    assert earned(provider) == [Verdict.STILL_REFERENCED]


def test_drop_and_scrub_lead_to_the_buffers_own_pool(make: Make) -> None:
    provider = make(num_niovs=3)
    provider.alloc(3)
    provider.deliver(0)
    provider.deliver(2)
    provider.restart_queue()
    provider.drop(1)
    provider.scrub()
    state = provider.state()
    assert state.pools[0].ptr_ring == (1, 0, 2)
    assert state.ptr_ring == ()


def test_retry_release_ends_a_dying_pool_when_all_is_back(make: Make) -> None:
    provider = make(num_niovs=3)
    provider.alloc(3)
    provider.restart_queue()
    provider.drop(1)
    assert provider.retry_release(0) is False
    state = provider.state()
    assert state.pools[0] == PoolState(PoolPhase.DYING, (), (), 2)
    assert state.freelist == (1,)
    provider.drop(2)
    provider.drop(0)
    assert provider.retry_release(0) is True
    state = provider.state()
    assert state.pools[0] == UNUSED_POOL
    assert state.freelist == (1, 2, 0)
    assert (state.instance_refs, state.destroy_warnings) == (2, 0)


def test_retry_release_needs_a_dying_pool(make: Make) -> None:
    provider = make()
    for pool in (-1, 0, 1, POOLS_MAX - 1, POOLS_MAX):
        with pytest.raises(StateError):
            provider.retry_release(pool)


def test_destroy_check_covers_the_whole_area(make: Make) -> None:
    """An idle pool fails it while another holds buffers; the reference is kept for good."""
    provider = make(num_niovs=2)
    provider.alloc(2)
    provider.restart_queue()
    provider.restart_queue()
    state = provider.state()
    assert [pool.phase for pool in state.pools[:3]] == [
        PoolPhase.DYING,
        PoolPhase.UNUSED,
        PoolPhase.CURRENT,
    ]
    assert (state.instance_refs, state.destroy_warnings) == (4, 1)


def test_copy_fallback_buffer_out_fails_the_destroy_check(make: Make) -> None:
    provider = make(num_niovs=2)
    provider.copy_fallback()
    provider.restart_queue()
    state = provider.state()
    assert state.pools[0] == UNUSED_POOL
    assert (state.instance_refs, state.destroy_warnings) == (3, 1)


def test_retry_release_makes_the_destroy_check_too(make: Make) -> None:
    provider = make(num_niovs=65)
    niovs = provider.alloc(64)
    provider.restart_queue()
    provider.alloc()
    for niov in niovs:
        provider.drop(niov)
    assert provider.retry_release(0) is True
    state = provider.state()
    assert state.pools[0] == UNUSED_POOL
    assert (state.instance_refs, state.destroy_warnings) == (3, 1)


def test_restart_without_an_unused_slot_is_refused_and_changes_nothing(make: Make) -> None:
    provider = make(num_niovs=POOLS_MAX * 64)
    for _ in range(POOLS_MAX - 1):
        provider.alloc()
        provider.restart_queue()
    before = provider.state()
    assert before.current_pool == POOLS_MAX - 1
    with pytest.raises(StateError):
        provider.restart_queue()
    assert provider.state() == before


def test_destroy_with_all_buffers_home(make: Make) -> None:
    provider = make(num_niovs=4)
    provider.drop(provider.alloc()[0])
    assert provider.destroy() is True
    state = provider.state()
    assert state.current_pool is None
    assert state.pools == (UNUSED_POOL,) * POOLS_MAX
    assert state.free_count == 4
    assert (state.instance_refs, state.destroy_warnings) == (1, 0)
    assert (state.alloc_cache, state.ptr_ring) == ((), ())


def test_destroy_with_buffers_out_warns_and_keeps_the_reference(make: Make) -> None:
    provider = make(num_niovs=4)
    provider.alloc()
    assert provider.destroy() is False
    state = provider.state()
    assert state.current_pool is None
    assert state.pools[0] == PoolState(PoolPhase.DYING, (), (), 1)
    assert (state.instance_refs, state.destroy_warnings) == (2, 1)
    provider.drop(0)
    assert provider.retry_release(0) is True
    state = provider.state()
    assert (state.instance_refs, state.destroy_warnings) == (1, 1)


def test_destroy_of_an_idle_pool_while_another_holds_buffers_warns(make: Make) -> None:
    provider = make(num_niovs=4)
    provider.alloc()
    provider.restart_queue()
    assert provider.destroy() is False
    state = provider.state()
    assert state.pools[1] == UNUSED_POOL
    assert (state.instance_refs, state.destroy_warnings) == (3, 1)


def test_after_destroy_there_is_nothing_to_allocate_from_until_restart(make: Make) -> None:
    provider = make(num_niovs=4)
    provider.destroy()
    before = provider.state()
    with pytest.raises(StateError):
        provider.alloc()
    with pytest.raises(StateError):
        provider.destroy()
    assert provider.state() == before
    assert provider.restart_queue() == 0
    assert provider.alloc() == [0]
    assert provider.state().instance_refs == 2


def test_scrub_after_destroy_brings_buffers_to_the_dying_pool(make: Make) -> None:
    provider = make(num_niovs=2)
    lend(provider, 2)
    assert provider.destroy() is False
    assert provider.scrub() == 2
    assert provider.state().pools[0].ptr_ring == (0, 1)
    assert provider.retry_release(0) is True
    assert provider.state().free_count == 2


def test_restart_does_not_touch_the_refill_ring(make: Make) -> None:
    provider = make(num_niovs=2)
    lend(provider, 2)
    give_back(provider, [1])
    provider.restart_queue()
    state = provider.state()
    assert (state.rq_head, state.rq_tail, state.cached_rq_head) == (0, 1, 0)


def test_model_has_the_whole_interface() -> None:
    """Whatever the provider can be asked, the specification can, in the same words."""
    for name in (name for name in dir(StepProvider) if not name.startswith("_")):
        ours, model = getattr(StepProvider, name), getattr(ModelProvider, name)
        assert callable(ours) == callable(model), name
        if callable(ours):
            assert inspect.signature(ours) == inspect.signature(model), name
