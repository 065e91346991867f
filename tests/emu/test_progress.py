"""When a queue could go on: what the watch for progress takes into account."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from emu.core import Places
from emu.progress import could_go_on


@dataclass
class FakeQueue:
    """A queue of 64 completions as the control process sees it."""

    freelist: int = 0
    granted: int = 0
    in_flight: int = 0
    available: int = 0
    shape: Any = field(default_factory=lambda: SimpleNamespace(cq_entries=64))

    def places(self) -> Places:
        return Places(self.freelist, 0, 0, self.granted, 0, 0, self.in_flight)

    def rq_available(self) -> int:
        return self.available


@pytest.mark.parametrize(
    ("queue", "copies", "takes", "could"),
    [
        (FakeQueue(granted=16), False, True, True),
        (FakeQueue(granted=15), False, True, False),
        (FakeQueue(granted=16, in_flight=48), False, True, True),
        (FakeQueue(granted=16, in_flight=49), False, True, False),
        (FakeQueue(granted=16), True, True, False),
        (FakeQueue(granted=15, freelist=1), True, True, True),
        (FakeQueue(available=1), False, False, True),
        (FakeQueue(available=1), False, True, False),
        (FakeQueue(available=1, in_flight=64), False, False, False),
    ],
)
def test_queue_could_go_on_with_room_and_buffers_for_any_packet(
    queue: FakeQueue, copies: bool, takes: bool, could: bool
) -> None:
    """A returned buffer that the provider does not take is as good as one that it has."""
    judged = could_go_on(queue, copies=copies, takes=takes)  # type: ignore[arg-type]
    assert judged is could
