"""What lay in the two rings of a queue: from when a batch was published until it was read.

The recorders have batches by their position in a ring, and rings are first in, first out. So a
batch that was published is matched with the one of the reader that got beyond its end: by
positions alone, never by times, which two processes take each for itself.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_U32 = 1 << 32


@dataclass(frozen=True, slots=True)
class Batch:
    """Entries that one side published, or read, at once."""

    us: float
    count: int
    end: int  #: position behind the last of them


@dataclass(frozen=True, slots=True)
class Stay:
    """A batch in its ring."""

    us: float
    end_us: float
    count: int
    outcome: str


@dataclass(frozen=True, slots=True)
class Ring:
    """One ring of a queue as its writer and its reader saw it."""

    name: str
    published: Sequence[Batch]
    read: Sequence[Batch]
    emptied: Sequence[float]  #: when it had no user any more: what was unread then is never read
    outcome: str  #: what became of a batch that was read
    rewinds: bool = False  #: what a user left unread has no position: the next user's entries do

    def in_force(self) -> list[Batch]:
        """What was published, by position, without what a user who went had left unread."""
        kept: list[Batch] = []
        for batch in self.published:
            start = batch.end - batch.count
            while kept and kept[-1].end > start:
                last = kept.pop()
                left = last.count - (last.end - start)
                if left > 0:
                    kept.append(Batch(last.us, left, start))
            kept.append(batch)
        return kept

    def stays(self) -> Iterator[Stay]:
        """Of each batch whose fate is recorded, from when until when it was there."""
        ends = [batch.end for batch in self.read]
        for batch in self.published:
            at = bisect.bisect_left(ends, batch.end)
            read = None
            # Else it was read before the reader's first record, or between two that are left.
            if at < len(ends) and self.read[at].end - self.read[at].count < batch.end:
                read = self.read[at].us
            gone = next((us for us in self.emptied if us >= batch.us), None)
            if gone is not None and (read is None or read > gone):
                yield Stay(batch.us, gone, batch.count, "not read: its user was gone")
            elif read is not None:
                yield Stay(batch.us, max(read, batch.us), batch.count, self.outcome)

    def depths(self) -> Iterator[tuple[float, int]]:
        """How many entries were waiting, from when on; once both sides are known."""
        tail: int | None = None
        head: int | None = None
        steps = [(batch.us, 0, batch.end) for batch in self.published]
        steps += [(batch.us, 1, batch.end) for batch in self.read]
        steps += [(us, 2, 0) for us in self.emptied]
        for us, what, end in sorted(steps):
            if what == 0:
                tail = end
            elif what == 1:
                head = end
            elif self.rewinds:
                tail = head
            else:
                head = tail
            if tail is not None and head is not None:
                yield us, max(tail - head, 0)


def completions(events: Iterable[Mapping[str, Any]]) -> Ring:
    """The completion queue, from the events of its queue by time: ``us``, ``kind``, fields."""
    published: list[Batch] = []
    read: list[Batch] = []
    emptied: list[float] = []
    origin: int | None = None
    for event in events:
        kind = event["kind"]
        if kind == "burst":
            index = event["cq_tail"]
        elif kind == "taken":
            index = event["cq_head"]
        elif kind == "user" and event["process"] == "nic" and event["user"] == "nobody":
            emptied.append(event["us"])
            continue
        else:
            continue
        origin = index if origin is None else origin
        mine = published if kind == "burst" else read
        count = event["cqes" if kind == "burst" else "completions"]
        mine.append(Batch(event["us"], count, _unwrapped(index, mine[-1].end if mine else origin)))
    return Ring("completion queue", published, read, emptied, "taken by the consumer")


def refills(events: Iterable[Mapping[str, Any]]) -> Ring:
    """The refill ring, from the events of its queue by time."""
    published: list[Batch] = []
    read: list[Batch] = []
    emptied: list[float] = []
    for event in events:
        kind, us = event["kind"], event["us"]
        if kind == "returned":
            published.append(Batch(us, event["rqes"], event["position"] + event["rqes"]))
        elif kind == "refill":
            read.append(Batch(us, event["rqes"], event["position"] + event["rqes"]))
        elif kind == "user" and event["process"] == "provider" and event["user"] == "nobody":
            emptied.append(us)
    return Ring("refill ring", published, read, emptied, "judged by the provider", rewinds=True)


def _unwrapped(index: int, before: int) -> int:
    """A position from an index of 32 bits, by one that is less than half of them away."""
    step = (index - before) % _U32
    return before + (step - _U32 if step >= _U32 // 2 else step)
