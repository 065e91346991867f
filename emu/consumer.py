"""A consumer of one's own: completions as zero-copy memoryviews.

Run it in the consumer process of a queue with ``RunConfig(consumer="module:function")``;
the function is called with a :class:`Consumer`::

    def main(consumer):
        for completion in consumer:
            handle(completion.data)          # the very bytes that the NIC wrote
            consumer.give_back(completion)   # from here on they may change
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass

from emu.core import ConsumerLoop, RawFragment

_CQE_F_MORE = 2


@dataclass(frozen=True, slots=True)
class Completion:
    """One completion: a fragment of a payload, or the end of a flow."""

    data: memoryview  #: the fragment's bytes in the area; empty at the end of a flow
    flow: int  #: number of the flow within the queue (the CQE's ``user_data``)
    off: int  #: offset as in the CQE: area id << 48 | byte offset
    result: int  #: bytes; 0 at the end of a flow, -errno if it failed
    seq: int  #: sequence of the fragment in its flow, u32
    raw: RawFragment  #: what goes back

    @property
    def is_end(self) -> bool:
        """Is this the last completion of its flow? It has no buffer."""
        return not self.raw.flags & _CQE_F_MORE


class Consumer:
    """A queue's completions and its refill ring.

    Iterating yields completions until the run stops and everything was read.
    Each that is not :attr:`Completion.is_end` holds a user reference on its
    buffer until it is given back; what is never given back is scrubbed when
    the consumer leaves.
    """

    def __init__(self, loop: ConsumerLoop, area: mmap.mmap, *, queue: int) -> None:
        self.queue = queue  #: number of the queue served
        self._loop = loop
        self._area = memoryview(area)

    def __iter__(self) -> Iterator[Completion]:
        while True:
            batch = self.poll(256)
            yield from batch
            if batch:
                continue
            if self._loop.should_stop:
                batch = self.poll(256)  # asked first, read once more: nothing is missed
                if not batch:
                    return
                yield from batch
            self._loop.flush()
            self._loop.wait(20_000)

    def poll(self, count: int = 64) -> list[Completion]:
        """Take up to ``count`` completions that are there now; does not wait."""
        return [self._completion(raw) for raw in self._loop.take(count)]

    def _completion(self, raw: RawFragment) -> Completion:
        size = raw.res if raw.flags & _CQE_F_MORE else 0
        data = self._area[raw.off : raw.off + size] if size else self._area[0:0]
        return Completion(data, raw.user_data, raw.off, raw.res, raw.seq, raw)

    def give_back(self, *completions: Completion) -> None:
        """Return fragments through the refill ring (with the run's faults in between)."""
        self._loop.give_back([completion.raw for completion in completions])

    @property
    def should_stop(self) -> bool:
        """Has the run asked this consumer to finish?"""
        return self._loop.should_stop

    def close(self) -> None:
        """Push what still waits for room in the refill ring."""
        self._loop.flush()
