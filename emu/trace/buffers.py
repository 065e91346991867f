"""Lives of single buffers: from the delivery of a grant's first fragment until it came home."""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emu.trace.rings import Batch, Ring, completions, refills

_NEVER = float("inf")
#: Verdicts that took the last reference: the buffer went to the pool that asked, or, after a
#: restart, to the one that it is of.
_HOME = frozenset({"accepted", "other_pool"})


@dataclass(slots=True)
class Grant:
    """What one grant of a buffer carried, and when it was seen where."""

    niov: int
    number: int  #: how often the buffer had been granted
    us: float  #: the first fragment was published
    last_us: float  #: the last one was
    flow: int  #: of the first fragment
    seq: int
    fragments: int = 1
    taken_us: float | None = None  #: the first one was taken; None: that is not recorded


@dataclass(frozen=True, slots=True)
class Life:
    """A grant whose beginning and end are known."""

    grant: Grant
    returned_us: float | None  #: the entry that brought it home was published; None: none did
    end_us: float
    outcome: str


def _at(batches: Sequence[Batch], position: int) -> float | None:
    """When the batch was that a position is in; None: it is not recorded."""
    at = bisect.bisect_right(batches, position, key=lambda batch: batch.end)
    if at < len(batches) and batches[at].end - batches[at].count <= position:
        return batches[at].us
    return None


def _grants(ring: Ring, delivered: Sequence[Sequence[Any]]) -> dict[int, list[Grant]]:
    """Of each buffer its grants; the first one only if its first fragment is there."""
    found: dict[int, list[Grant]] = defaultdict(list)
    begun: set[int] = set()  # buffers of which a grant began here
    first = ring.published[-1].end - len(delivered) if ring.published else 0
    for position, (niov, starts, flow, seq, number) in enumerate(delivered, first):
        us = _at(ring.published, position)
        if niov is None or us is None:
            continue
        grants = found[niov]
        if starts:
            begun.add(niov)
            grants.append(Grant(niov, number, us, us, flow, seq, 1, _at(ring.read, position)))
        elif niov in begun and grants[-1].number == number:
            grants[-1].last_us = us
            grants[-1].fragments += 1
    return found


def lives(events: Sequence[Mapping[str, Any]], trail: Mapping[str, Any]) -> Iterator[Life]:
    """The lives that a trail tells of.

    Args:
        events: Of the trail's queue, by time.
        trail: As :meth:`emu.verdict.trail.Trail.as_dict` has it.
    """
    ring, entries = completions(events), refills(events)
    published = entries.in_force()
    homes: dict[int, list[tuple[float, int]]] = defaultdict(list)  # when, by which entry
    for position, (verdict, niov) in enumerate(trail["judged"], trail["judged_from"]):
        us = _at(entries.read, position)
        if verdict in _HOME and us is not None:
            homes[niov].append((us, position))
    scrubs = [event["us"] for event in events if event["kind"] == "scrub"]
    for niov, grants in sorted(_grants(ring, trail["delivered"]).items()):
        for at, grant in enumerate(grants):
            until = grants[at + 1].us if at + 1 < len(grants) else _NEVER
            home = next((h for h in homes[niov] if grant.last_us <= h[0] <= until), None)
            if home is not None:
                returned = _at(published, home[1])
                yield Life(grant, returned, home[0], "returned by its user")
                continue
            scrub = next((us for us in scrubs if grant.last_us <= us <= until), None)
            if scrub is not None:
                yield Life(grant, None, scrub, "taken back by a scrub")
