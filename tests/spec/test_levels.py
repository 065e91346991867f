"""What the kernel levels do otherwise, cell by cell; core and specification alike.

``docs/levels.md`` has the table. What no step can show (how a word is loaded, which lock is held)
has no test here.
"""

from __future__ import annotations

from typing import Protocol

import pytest

from emu.contract import BY_RUNS, HAS_AREAS, SEED
from emu.core import LEVELS
from emu.errors import ConfigError, StateError
from emu.spec import model
from emu.spec.model import ModelProvider
from emu.spec.stepping import StepProvider

Provider = ModelProvider | StepProvider
UP_TO_7_2 = [level for level in LEVELS if level != "7.3"]
SINCE_7_1 = ["7.1", "7.2", "7.3"]
U32 = 2**32


class Make(Protocol):
    """Builds a provider of the implementation under test."""

    def __call__(self, level: str, niovs: int = 4, entries: int = 8) -> Provider: ...


@pytest.fixture(params=[ModelProvider, StepProvider], ids=["model", "core"])
def make(request: pytest.FixtureRequest) -> Make:
    implementation: type[Provider] = request.param

    def build(level: str, niovs: int = 4, entries: int = 8) -> Provider:
        return implementation(num_niovs=niovs, rq_entries=entries, kernel=level)

    return build


def lend(provider: Provider, count: int, fragments: int = 1) -> list[int]:
    """Hand so many buffers to the user; the alloc cache keeps nothing but what is left."""
    niovs = provider.alloc(count)
    for niov in niovs:
        provider.deliver(niov, fragments)
    return niovs


def give(provider: Provider, *niovs: int) -> None:
    for niov in niovs:
        provider.push_rqe(niov << 12)


def said(provider: Provider) -> list[str]:
    return [judgement.verdict.label for judgement in provider.take_verdicts()]


# ---- the level itself ---------------------------------------------------------------------


def test_levels_go_by_runs_as_they_say() -> None:
    assert set(BY_RUNS) == set(LEVELS) - set(UP_TO_7_2)
    assert model.LEVELS == LEVELS


# ---- references of a run ------------------------------------------------------------------


@pytest.mark.parametrize("level", UP_TO_7_2)
def test_duplicate_beside_a_good_return_takes_nothing_from_it(make: Make, level: str) -> None:
    provider = make(level)
    a, *_ = lend(provider, 4)
    give(provider, a, a)
    assert provider.alloc() == [a]
    assert said(provider) == ["accepted", "no_user_ref"]


def test_run_with_too_few_references_is_ignored_whole(make: Make) -> None:
    provider = make("7.3")
    a, b, *_ = lend(provider, 4)
    give(provider, a, a, b)
    assert provider.alloc() == [b]
    assert said(provider) == ["no_user_ref", "no_user_ref", "accepted"]
    assert provider.state().user_refs[a] == 1
    provider.scrub()
    assert provider.state().user_refs[a] == 0


def test_run_with_enough_references_is_taken_whole(make: Make) -> None:
    provider = make("7.3")
    a, *_ = lend(provider, 4, fragments=3)
    give(provider, a, a, a)
    assert provider.alloc() == [a]
    assert said(provider) == ["still_referenced", "still_referenced", "accepted"]


def test_rejected_entry_does_not_end_a_run(make: Make) -> None:
    provider = make("7.3")
    a, *_ = lend(provider, 4)
    give(provider, a)
    provider.push_rqe(0, pad=1)
    give(provider, a)
    assert provider.alloc() == []
    assert said(provider) == ["no_user_ref", "bad_pad", "no_user_ref"]


def test_another_buffer_ends_a_run(make: Make) -> None:
    provider = make("7.3")
    a, b, *_ = lend(provider, 4)
    give(provider, a, b, a)
    assert provider.alloc(2) == [b, a]
    assert said(provider) == ["accepted", "accepted", "no_user_ref"]


# ---- how much a refill takes --------------------------------------------------------------


@pytest.mark.parametrize("level", UP_TO_7_2)
def test_refill_takes_64_entries(make: Make, level: str) -> None:
    provider = make(level, niovs=64, entries=256)
    lend(provider, 64)
    for _ in range(200):
        provider.push_rqe(0, pad=1)
    assert provider.alloc() == []
    assert len(provider.take_verdicts()) == 64


def test_refill_of_7_3_takes_256_by_a_look_and_looks_twice(make: Make) -> None:
    provider = make("7.3", niovs=64, entries=1024)
    lend(provider, 64)
    for _ in range(1000):
        provider.push_rqe(0, pad=1)
    assert provider.alloc() == []
    assert len(provider.take_verdicts()) == 256  # what the tail claimed is not used up
    for taken in (256, 256, 232):
        provider.alloc()
        assert len(provider.take_verdicts()) == taken
    for _ in range(300):
        provider.push_rqe(0, pad=1)
    provider.alloc()
    assert len(provider.take_verdicts()) == 256
    for _ in range(300):
        provider.push_rqe(0, pad=1)
    provider.alloc()
    assert len(provider.take_verdicts()) == 44 + 256  # what was claimed, and a look


def test_refill_of_7_3_ends_with_63_buffers_and_the_run_that_waits(make: Make) -> None:
    provider = make("7.3", niovs=128, entries=256)
    niovs = lend(provider, 128)
    give(provider, *niovs)
    assert provider.alloc() == [niovs[63]]
    assert len(provider.take_verdicts()) == 64
    assert len(provider.state().alloc_cache) == 63


def test_run_that_waits_may_add_entries_but_no_buffer(make: Make) -> None:
    """What follows the 63rd buffer is not looked at, though it may name the same one."""
    provider = make("7.3", niovs=128, entries=256)
    niovs = lend(provider, 128, fragments=2)
    give(provider, *(niov for niov in niovs[:65] for _ in range(2)))
    provider.alloc()
    verdicts = said(provider)
    assert len(verdicts) == 127  # the 64th buffer's first of two entries ended the 63rd's run
    assert verdicts.count("accepted") == 63
    assert verdicts[-1] == "still_referenced"


# ---- the tail, and the head ---------------------------------------------------------------


def test_corrected_tail_is_seen_by_the_next_refill_up_to_7_2(make: Make) -> None:
    provider = make("7.2", niovs=64, entries=256)
    lend(provider, 64)
    provider.set_tail(200)
    provider.alloc()
    provider.set_tail(64)
    assert provider.alloc() == []
    assert len(provider.take_verdicts()) == 64


def test_lying_tail_is_believed_until_it_is_used_up_by_7_3(make: Make) -> None:
    provider = make("7.3", niovs=64, entries=1024)
    lend(provider, 64)
    for slot in range(1024):
        provider.write_rqe(slot, 0, pad=1)
    provider.set_tail(600)
    provider.alloc()
    provider.set_tail(256)  # the truth, too late
    provider.alloc()
    assert len(provider.take_verdicts()) == 512
    provider.alloc()  # the rest of the lie; then the tail is behind, which means "full"
    assert len(provider.take_verdicts()) == 88 + 256


def test_tail_is_believed_for_a_ring_full_at_most(make: Make) -> None:
    """Our reading: what is kept is the count of entries, clamped as it is read."""
    provider = make("7.3", niovs=64, entries=8)
    lend(provider, 64)
    for slot in range(8):
        provider.write_rqe(slot, 0, pad=1)
    provider.set_tail(U32 - 1)
    provider.alloc()
    assert len(provider.take_verdicts()) == 8


@pytest.mark.parametrize("level", UP_TO_7_2)
def test_head_is_not_stored_for_nothing_up_to_7_2(make: Make, level: str) -> None:
    provider = make(level)
    lend(provider, 4)
    provider.set_head(77)
    assert provider.alloc() == []
    assert provider.state().rq_head == 77


def test_head_is_stored_at_every_refill_by_7_3(make: Make) -> None:
    provider = make("7.3")
    lend(provider, 4)
    provider.set_head(77)
    assert provider.alloc() == []
    assert provider.state().rq_head == 0


# ---- flush --------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [SEED, "6.15", "6.18"])
def test_no_flush_before_7_1(make: Make, level: str) -> None:
    with pytest.raises(StateError, match=rf"^flush: the kernel {level} has no such operation$"):
        make(level).flush()


@pytest.mark.parametrize("level", SINCE_7_1)
def test_flush_sends_buffers_home_as_from_outside(make: Make, level: str) -> None:
    provider = make(level)
    a, b, *_ = lend(provider, 4)
    give(provider, a, b)
    assert provider.flush() == 2
    assert said(provider) == ["other_pool", "other_pool"]
    assert provider.state().ptr_ring == (a, b)
    assert provider.state().rq_head == 2


@pytest.mark.parametrize("level", SINCE_7_1)
def test_flush_ends_at_a_malformed_entry_but_not_at_a_stale_one(make: Make, level: str) -> None:
    provider = make(level)
    a, b, c, _ = lend(provider, 4)
    give(provider, a, a, b)
    provider.push_rqe(0, pad=1)
    give(provider, c)
    assert provider.flush() == 4
    assert said(provider) == ["other_pool", "no_user_ref", "other_pool", "bad_pad"]
    assert provider.flush() == 1
    assert said(provider) == ["other_pool"]


def test_flush_goes_one_by_one_even_by_7_3(make: Make) -> None:
    provider = make("7.3")
    a, *_ = lend(provider, 4)
    give(provider, a, a)
    provider.flush()
    assert said(provider) == ["other_pool", "no_user_ref"]


@pytest.mark.parametrize("level", SINCE_7_1)
def test_flush_stores_the_head_for_nothing(make: Make, level: str) -> None:
    provider = make(level)
    provider.set_head(77)
    assert provider.flush() == 0
    assert provider.state().rq_head == 0


@pytest.mark.parametrize("level", SINCE_7_1)
def test_flush_takes_one_ring_full_at_most(make: Make, level: str) -> None:
    provider = make(level, niovs=64, entries=64)
    provider.set_tail(U32 - 1)
    assert provider.flush() == 64


# ---- larger buffers ----


@pytest.mark.parametrize("implementation", [ModelProvider, StepProvider])
@pytest.mark.parametrize("level", LEVELS)
def test_larger_buffers_since_7_1(implementation: type[Provider], level: str) -> None:
    if level not in SINCE_7_1:
        with pytest.raises(ConfigError, match=r"^rx_buf_len: 16384 is not allowed; .*4096"):
            implementation(num_niovs=4, rq_entries=8, kernel=level, rx_buf_len=16384)
        return
    provider = implementation(num_niovs=4, rq_entries=8, kernel=level, rx_buf_len=16384)
    a, b, *_ = lend(provider, 4)
    provider.push_rqe(a << 14 | 16383)
    provider.push_rqe(b << 14 | 1 << 46)  # bits 46 and 47 vanish, 44 and 45 do not
    provider.push_rqe(b << 14 | 1 << 45)
    provider.alloc()
    assert said(provider) == ["accepted", "accepted", "bad_index"]


@pytest.mark.parametrize("implementation", [ModelProvider, StepProvider])
@pytest.mark.parametrize("size", [0, 2048, 5000, 2**31])
def test_sizes_that_no_buffer_has(implementation: type[Provider], size: int) -> None:
    with pytest.raises(ConfigError, match=f"^rx_buf_len: {size} is not allowed"):
        implementation(num_niovs=4, rq_entries=8, kernel="7.1", rx_buf_len=size)


# ---- without a device ---------------------------------------------------------------------


@pytest.mark.parametrize("implementation", [ModelProvider, StepProvider])
@pytest.mark.parametrize("level", LEVELS)
def test_instance_without_a_device_since_7_1(implementation: type[Provider], level: str) -> None:
    if level not in SINCE_7_1:
        with pytest.raises(ConfigError, match=r"^device: False is not allowed; "):
            implementation(num_niovs=4, rq_entries=8, kernel=level, device=False)
        return
    with pytest.raises(ConfigError, match=r"^rx_buf_len: 8192 is not allowed; "):
        implementation(num_niovs=4, rq_entries=8, kernel=level, device=False, rx_buf_len=8192)
    provider = implementation(num_niovs=2, rq_entries=8, kernel=level, device=False)
    assert (provider.state().current_pool, provider.state().instance_refs) == (None, 1)
    for step in (provider.alloc, provider.restart_queue, provider.destroy):
        with pytest.raises(StateError):
            step()
    for expected in (1, 0):
        assert provider.copy_fallback() == expected
        provider.deliver(expected)
    assert provider.copy_fallback() is None
    give(provider, 0, 1)
    assert provider.copy_fallback() is None  # nobody looks at the ring …
    assert provider.flush() == 2  # … unless it is told to
    assert provider.state().freelist == (0, 1)
    assert said(provider) == ["other_pool", "other_pool"]


# ---- several areas ------------------------------------------------------------------------


@pytest.mark.parametrize("level", UP_TO_7_2)
def test_one_area_up_to_7_2(make: Make, level: str) -> None:
    provider = make(level)
    with pytest.raises(StateError, match=r"^add_area: .* one area$"):
        provider.add_area(1)
    with pytest.raises(ConfigError, match=r"^areas: 2 is not allowed; "):
        type(provider)(num_niovs=4, rq_entries=8, areas=2, kernel=level)
    a, *_ = lend(provider, 4)
    provider.push_rqe(1 << 48 | a << 12)
    provider.alloc()
    assert said(provider) == ["bad_area"]


def test_levels_with_areas_are_those_that_say_so() -> None:
    assert set(HAS_AREAS) == set(LEVELS) - set(UP_TO_7_2)


def test_area_that_is_added_is_judged_by_its_own_size(make: Make) -> None:
    provider = make("7.3")
    provider.push_rqe(1 << 48)
    provider.alloc()
    assert said(provider) == ["bad_area"]
    assert provider.add_area(2) == 1
    assert provider.state().areas == (4, 2)
    lend(provider, 6)
    provider.push_rqe(1 << 48 | 1 << 12)
    provider.push_rqe(1 << 48 | 2 << 12)
    provider.push_rqe(2 << 48)
    assert provider.alloc() == [5]
    judgements = provider.take_verdicts()
    assert [judgement.verdict.label for judgement in judgements] == (
        ["accepted", "bad_index", "bad_area"]
    )
    assert [judgement.niov for judgement in judgements] == [5, 2, None]


def test_areas_are_emptied_in_order(make: Make) -> None:
    provider = make("7.3", niovs=60)
    assert provider.add_area(3) == 1
    assert provider.add_area(3) == 2
    assert provider.alloc() == [65]  # the last of the 64 that the alloc cache takes
    assert provider.state().alloc_cache == (*reversed(range(60)), 62, 61, 60)
    assert provider.state().freelist == (63, 64)


def test_buffer_comes_home_to_the_freelist_of_its_area(make: Make) -> None:
    provider = make("7.3", niovs=2)
    provider.add_area(2)
    taken = [provider.copy_fallback() for _ in range(4)]
    assert taken == [1, 0, 3, 2]
    for niov in (3, 1, 2, 0):
        provider.drop(niov)
    assert provider.state().freelist == (3, 2, 1, 0)


def test_buffers_of_two_areas_with_one_index_are_two_runs(make: Make) -> None:
    provider = make("7.3", niovs=1)
    provider.add_area(1)
    lend(provider, 2)
    for area in (0, 1, 1, 0):
        provider.push_rqe(area << 48)
    assert provider.alloc() == [0]
    assert said(provider) == ["accepted", "no_user_ref", "no_user_ref", "no_user_ref"]
    assert provider.state().user_refs == (0, 1)


def test_flush_knows_areas_too(make: Make) -> None:
    provider = make("7.3", niovs=1)
    provider.add_area(1)
    lend(provider, 2)
    provider.push_rqe(1 << 48)
    provider.push_rqe(2 << 48)
    assert provider.flush() == 2
    assert said(provider) == ["other_pool", "bad_area"]
    assert provider.state().ptr_ring == (1,)


def test_scrub_walks_all_areas(make: Make) -> None:
    provider = make("7.3", niovs=1)
    provider.add_area(2)
    lend(provider, 3)
    assert provider.scrub() == 3
    assert provider.state().ptr_ring == (0, 1, 2)


@pytest.mark.parametrize("implementation", [ModelProvider, StepProvider])
def test_there_are_1024_areas_at_most(implementation: type[Provider]) -> None:
    with pytest.raises(ConfigError, match=r"^areas: 1025 is not allowed; "):
        implementation(num_niovs=1, rq_entries=8, areas=1025, kernel="7.3")
    provider = implementation(num_niovs=1, rq_entries=8, areas=1023, kernel="7.3")
    assert provider.add_area(1) == 1023
    with pytest.raises(StateError):
        provider.add_area(1)
    assert provider.offset(1023) == 1023 << 48
    lend(provider, 1024)
    provider.push_rqe(1023 << 48)
    provider.push_rqe(1024 << 48)
    assert provider.alloc() == [1023]
    assert said(provider) == ["accepted", "bad_area"]


@pytest.mark.parametrize("implementation", [ModelProvider, StepProvider])
def test_areas_have_2_20_buffers_together(implementation: type[Provider]) -> None:
    with pytest.raises(ConfigError, match=r"^areas: 2 is not allowed; "):
        implementation(num_niovs=2**19 + 1, rq_entries=8, areas=2, kernel="7.3")
    provider = implementation(num_niovs=2**20 - 1, rq_entries=8, kernel="7.3")
    with pytest.raises(StateError):
        provider.add_area(2)
    for count in (0, 2**20 + 1):
        with pytest.raises(ConfigError, match=f"^num_niovs: {count} is not allowed; "):
            provider.add_area(count)
    assert provider.add_area(1) == 1


def test_provider_of_somebody_elses_has_one_area(plain_provider: str) -> None:
    with pytest.raises(ConfigError, match=r"^areas: 2 is not allowed; "):
        StepProvider(num_niovs=1, rq_entries=8, areas=2, kernel="7.3", provider=plain_provider)
    provider = StepProvider(num_niovs=1, rq_entries=8, kernel="7.3", provider=plain_provider)
    with pytest.raises(StateError, match=r"^add_area: "):
        provider.add_area(1)


# ---- the destroy check --------------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS)
def test_pool_that_goes_checks_the_area_up_to_6_15(make: Make, level: str) -> None:
    provider = make(level)
    provider.copy_fallback()  # out, and no pool's
    checks = level in (SEED, "6.15")
    assert provider.destroy() is not checks
    state = provider.state()
    assert (state.destroy_warnings, state.instance_refs) == ((1, 2) if checks else (0, 1))
