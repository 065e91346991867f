"""Lives of single buffers, told from batches and what stands at their positions."""

from __future__ import annotations

import mmap
import random
from typing import Any

import pytest

from emu.core import Mapping, Queue, Shape, layout_sizes
from emu.trace.buffers import Life, lives
from emu.verdict.flight import Event, EventKind
from emu.verdict.trail import trail_of

from .test_rings import burst, refill, returned, taken

SHAPE = Shape(
    num_niovs=8,
    niov_shift=12,
    rq_entries=16,
    cq_entries=16,
    ptr_ring_size=16,
    grant_entries=8,
    log_entries=64,
    flows_max=4,
)


def trail(
    delivered: list[tuple[int | None, bool, int]], judged: list[tuple[str, int]], first: int = 0
) -> dict[str, Any]:
    rows = [[niov, starts, 7, seq, grant] for seq, (niov, starts, grant) in enumerate(delivered)]
    return {"queue": 0, "delivered": rows, "judged_from": first, "judged": judged}


def told(found: list[Life]) -> list[tuple[int, int, float, float | None, float | None, float]]:
    return [
        (
            *(life.grant.niov, life.grant.number, life.grant.us),
            *(life.grant.taken_us, life.returned_us, life.end_us),
        )
        for life in found
    ]


def test_life_is_from_the_first_fragment_to_the_last_return() -> None:
    events = [burst(1, 2, 2), burst(2, 1, 3), taken(3, 3, 3), returned(4, 2, 0)]
    events += [returned(5, 1, 2), refill(6, 2, 0), refill(7, 1, 2)]
    held = [("still_referenced", 5), ("still_referenced", 5), ("accepted", 5)]
    found = list(lives(events, trail([(5, True, 9), (5, False, 9), (5, False, 9)], held)))
    assert told(found) == [(5, 9, 1, 3, 5, 7)]
    assert found[0].grant.fragments == 3


def test_grant_whose_beginning_is_not_there_is_not_told() -> None:
    """Its first fragment was overwritten, or was never recorded: nobody knows since when."""
    events = [burst(1, 2, 2), taken(2, 2, 2), returned(3, 2, 0), refill(4, 2, 0)]
    judged = [("accepted", 5), ("accepted", 6)]
    assert told(list(lives(events, trail([(5, False, 9), (6, True, 1)], judged)))) == [
        (6, 1, 1, 2, 3, 4)
    ]


def test_grants_of_a_buffer_follow_each_other() -> None:
    events = [burst(1, 1, 1), taken(2, 1, 1), returned(3, 1, 0), refill(4, 1, 0)]
    events += [burst(5, 1, 2), taken(6, 1, 2), returned(7, 1, 1), refill(8, 1, 1)]
    judged = [("accepted", 5), ("accepted", 5)]
    found = list(lives(events, trail([(5, True, 1), (5, True, 2)], judged)))
    assert told(found) == [(5, 1, 1, 2, 3, 4), (5, 2, 5, 6, 7, 8)]


def test_what_never_came_home_is_not_told_unless_a_scrub_took_it() -> None:
    events = [burst(1, 2, 2), taken(2, 2, 2)]
    rows = trail([(5, True, 1), (None, True, 0)], [])
    assert list(lives(events, rows)) == []
    scrub = {"us": 9.0, "process": "control", "kind": "scrub", "text": "scrubbed"}
    (found,) = lives([*events, scrub], rows)
    assert (found.end_us, found.returned_us, found.outcome) == (9, None, "taken back by a scrub")


def test_entry_of_the_next_user_is_told_from_what_the_last_one_left() -> None:
    """Both were published at the same position; one of them was judged."""
    nobody = {"us": 2.0, "process": "provider", "kind": "user", "user": "nobody"}
    events = [returned(1, 9, 0), nobody, burst(3, 1, 1), taken(4, 1, 1), returned(5, 1, 0)]
    (found,) = lives([*events, refill(6, 1, 0)], trail([(5, True, 1)], [("accepted", 5)]))
    assert (found.returned_us, found.end_us) == (5, 6)


def test_buffer_of_a_pool_that_was_replaced_comes_home_to_that_one() -> None:
    events = [burst(1, 1, 1), taken(2, 1, 1), returned(3, 1, 0), refill(4, 1, 0)]
    scrub = {"us": 9.0, "process": "control", "kind": "scrub", "text": "scrubbed"}
    (found,) = lives([*events, scrub], trail([(5, True, 1)], [("other_pool", 5)]))
    assert (found.returned_us, found.end_us) == (3, 4)


def test_rejected_entry_is_no_return() -> None:
    events = [burst(1, 1, 1), taken(2, 1, 1), returned(3, 2, 0), refill(4, 1, 0), refill(5, 1, 1)]
    found = lives(events, trail([(5, True, 1)], [("no_user_ref", 5), ("accepted", 5)]))
    assert [life.end_us for life in found] == [5]


@pytest.mark.parametrize("seed", range(20))
def test_rings_that_somebody_scribbled_on_name_buffers_that_there_are(seed: int) -> None:
    """Completions and what is noted of them lie where the consumer can write."""
    sizes = layout_sizes(SHAPE)
    kern, rings, notes = (mmap.mmap(-1, size) for size in (sizes.kern, sizes.rings, sizes.notes))
    queue = Queue(SHAPE, 0, Mapping(kern=kern, rings=rings, notes=notes))
    queue.format()
    drawn = random.Random(seed)
    header = 256  # offsets of the rings are read when they are mapped; the rest may change
    rings[header:] = drawn.randbytes(len(rings) - header)
    notes[:] = drawn.randbytes(len(notes))
    tail = drawn.getrandbits(32)
    events = [
        Event(1000, "nic", 0, EventKind.BURST, 16, tail, 1),
        Event(2000, "provider", 0, EventKind.REFILL, 2**20, drawn.getrandbits(40)),
    ]
    found = trail_of(queue, events)
    assert found is not None
    assert len(found.delivered) == 16
    assert len(found.judged) == SHAPE.log_entries
    for item in queue.delivered(tail, 10**9):
        assert item.niov is None or 0 <= item.niov < SHAPE.num_niovs
