"""What lay in a ring, told from batches."""

from __future__ import annotations

from typing import Any

from emu.trace.rings import completions, refills


def burst(us: float, cqes: int, tail: int) -> dict[str, Any]:
    return {"us": us, "process": "nic", "kind": "burst", "cqes": cqes, "cq_tail": tail}


def taken(us: float, count: int, head: int) -> dict[str, Any]:
    row = {"us": us, "process": "consumer", "kind": "taken"}
    return {**row, "completions": count, "cq_head": head}


def returned(us: float, rqes: int, position: int) -> dict[str, Any]:
    row = {"us": us, "process": "consumer", "kind": "returned"}
    return {**row, "rqes": rqes, "position": position}


def refill(us: float, rqes: int, position: int) -> dict[str, Any]:
    row = {"us": us, "process": "provider", "kind": "refill"}
    return {**row, "rqes": rqes, "position": position}


def nobody(us: float, process: str) -> dict[str, Any]:
    return {"us": us, "process": process, "kind": "user", "user": "nobody"}


def stays(ring: Any) -> list[tuple[float, float, int]]:
    return [(stay.us, stay.end_us, stay.count) for stay in ring.stays()]


def test_batch_is_there_until_all_of_it_was_read() -> None:
    ring = completions([burst(1, 4, 4), burst(2, 4, 8), taken(3, 3, 3), taken(5, 5, 8)])
    assert stays(ring) == [(1, 5, 4), (2, 5, 4)]
    assert list(ring.depths()) == [(3, 5), (5, 0)]


def test_index_goes_round() -> None:
    ring = completions([taken(0, 2, 2**32 - 2), burst(1, 4, 2), taken(2, 4, 2), burst(3, 2, 4)])
    assert stays(ring) == [(1, 2, 4)]
    assert list(ring.depths())[-1] == (3, 2)


def test_batch_whose_reading_is_not_recorded_any_more_is_not_told() -> None:
    """The reader's recorder begins later than the writer's: its first batch read the last one."""
    ring = completions([burst(1, 4, 4), burst(2, 4, 8), burst(3, 4, 12), taken(9, 4, 12)])
    assert stays(ring) == [(3, 9, 4)]


def test_batch_that_nobody_has_read_is_not_told() -> None:
    assert stays(completions([burst(1, 4, 4)])) == []


def test_what_its_user_left_unread_ends_with_its_use() -> None:
    events = [burst(1, 4, 4), nobody(2, "provider"), nobody(3, "nic"), burst(7, 4, 8)]
    ring = completions([*events, taken(8, 4, 8)])
    first, second = ring.stays()
    assert (first.us, first.end_us, first.outcome) == (1, 3, "not read: its user was gone")
    assert (second.us, second.end_us, second.outcome) == (7, 8, "taken by the consumer")


def test_entries_are_followed_by_position() -> None:
    ring = refills([returned(1, 8, 100), refill(2, 6, 98), returned(3, 2, 108), refill(4, 6, 104)])
    assert stays(ring) == [(1, 4, 8), (3, 4, 2)]
    assert list(ring.depths()) == [(2, 4), (3, 6), (4, 0)]


def test_entries_of_a_user_who_is_gone_are_not_those_of_the_next() -> None:
    """What was left unread has no position: the next user's entries have them."""
    events = [returned(1, 8, 100), nobody(2, "provider"), returned(3, 8, 100), refill(4, 8, 100)]
    assert [(batch.us, batch.end) for batch in refills(events).in_force()] == [(3, 108)]
    ring = refills(events)
    assert [stay.outcome for stay in ring.stays()] == [
        "not read: its user was gone",
        "judged by the provider",
    ]
    assert list(ring.depths())[-1] == (4, 0)


def test_entries_that_were_left_unread_are_not_waiting_for_the_next_user() -> None:
    events = [refill(0, 4, 96), returned(1, 8, 100), refill(2, 2, 100), nobody(3, "provider")]
    ring = refills([*events, returned(4, 3, 102), returned(5, 9, 105), refill(6, 12, 102)])
    assert list(ring.depths()) == [(1, 8), (2, 6), (3, 0), (4, 3), (5, 12), (6, 0)]
    assert [(batch.us, batch.count, batch.end) for batch in ring.in_force()] == [
        *((1, 2, 102), (4, 3, 105), (5, 9, 114)),
    ]
