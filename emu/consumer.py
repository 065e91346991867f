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
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType

from emu.core import ConsumerLoop, Poison, RawFragment
from emu.runtime.custody import Custody, Kept, Site, site_of

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
    ordinal: int = -1  #: counts the fragments that this consumer was handed; -1: it is none

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

    A completion that is given back twice, or was never handed out, is told as this
    consumer's mistake, with the line that made it; so is one whose bytes are touched after it
    was given back, if the view of the area is poisoned.
    """

    def __init__(
        self,
        loop: ConsumerLoop,
        area: mmap.mmap | memoryview,
        *,
        queue: int,
        niov_shift: int = 12,
        tell: Callable[[str], None] = lambda _text: None,
        byte_of: Callable[[int], int] = int,
    ) -> None:
        self.queue = queue  #: number of the queue served
        self._loop = loop
        self._area = memoryview(area)
        self._byte_of = byte_of  # where the byte is that an offset names: int, with one area
        self._custody = Custody(niov_shift, tell, byte_of)

    def __iter__(self) -> Iterator[Completion]:
        while True:
            batch = self._take(256, site_of(sys._getframe(1)))
            yield from batch
            if batch:
                continue
            if self._loop.should_stop:
                # Asked first, read once more: nothing is missed.
                batch = self._take(256, site_of(sys._getframe(1)))
                if not batch:
                    return
                yield from batch
            self._loop.flush()
            self._loop.wait(20_000)

    def poll(self, count: int = 64) -> list[Completion]:
        """Take up to ``count`` completions that are there now; does not wait."""
        return self._take(count, site_of(sys._getframe(1)))

    def _take(self, count: int, site: Site) -> list[Completion]:
        return [self._completion(raw, site) for raw in self._loop.take(count)]

    def _completion(self, raw: RawFragment, site: Site) -> Completion:
        if not raw.flags & _CQE_F_MORE:
            data = self._area[0:0]
            return Completion(data, raw.user_data, raw.off, raw.res, raw.seq, raw)
        at = self._byte_of(raw.off)
        data = self._area[at : at + raw.res]
        ordinal = self._custody.hand_out(raw, site)
        return Completion(data, raw.user_data, raw.off, raw.res, raw.seq, raw, ordinal)

    def give_back(self, *completions: Completion) -> None:
        """Return fragments through the refill ring (with the run's faults in between)."""
        site = site_of(sys._getframe(1))
        due: list[RawFragment] = []
        for completion in completions:
            raw = completion.raw
            if completion.is_end or self._custody.give_back(completion.ordinal, raw, site):
                due.append(raw)
                continue
            # It goes its way all the same, in its turn: a real ring asks nobody.
            self._loop.give_back(due)
            self._loop.give_back([raw], astray=True)
            due = []
        if due:
            self._loop.give_back(due)

    @property
    def should_stop(self) -> bool:
        """Has the run asked this consumer to finish?"""
        return self._loop.should_stop

    def close(self) -> None:
        """Push what still waits for room in the refill ring."""
        self._loop.flush()

    def kept(self) -> Kept | None:
        """Completions that were handed out and never given back, if there are any."""
        return self._custody.kept()

    # ---- poison --------------------------------------------------------------------------

    def poison(self, area: mmap.mmap, num_niovs: int, niov_shift: int) -> bool:
        """From now on completions are seen in a view in which only they can be touched.

        Returns:
            False where that cannot be had; then all is as before.
        """
        owner = os.getpid()

        def on_touch(frame: FrameType | None) -> None:
            touches, count = poison.take()
            if os.getpid() != owner:  # a child that our user forked: not a consumer of the run
                return
            self._loop.note_touches(count)
            for touch in touches:
                self._custody.touched(touch, frame)

        started = Poison.start(area, num_niovs, niov_shift, on_touch)
        if started is None:
            return False
        poison = started
        self._loop.set_poison(poison)
        self._area = poison.view
        return True
