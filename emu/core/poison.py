"""Poison: a view of the area in which only what is out can be touched (``actors/poison.h``)."""

from __future__ import annotations

import mmap
import signal
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

from emu.core._lib import ffi, lib

_TOUCHES_MAX = 64


@dataclass(frozen=True, slots=True)
class Touch:
    """A byte of a buffer was touched of which nothing was out."""

    off: int  #: in the area
    thread: int  #: the kernel's number of the thread
    is_write: bool  #: it was written to; False also where the machine does not tell


class Poison:
    """The view, and the process's handler of SIGSEGV. One in a process, for its life."""

    def __init__(self, ptr: Any, size: int) -> None:
        self._ptr = ptr
        self._touches = ffi.new("struct zcrx_touch[]", _TOUCHES_MAX)
        self._count = ffi.new("uint64_t *")
        #: The whole area; touching what is not out is noticed.
        self.view = memoryview(ffi.buffer(lib.zcrx_poison_view(ptr), size))

    @classmethod
    def start(
        cls,
        area: mmap.mmap,
        num_niovs: int,
        niov_shift: int,
        on_touch: Callable[[FrameType | None], None],
    ) -> Poison | None:
        """Poison a view of an area; only the main thread may.

        Args:
            area: A shared mapping of it.
            num_niovs: Its buffers.
            niov_shift: log2 of their size.
            on_touch: Called soon after each touch, in the main thread and with its frame.

        Returns:
            None where it cannot be had: pages are larger than buffers, or there may not be as
            many mappings as buffers.
        """
        lib.zcrx_poison_keep_handler()
        before = signal.signal(signal.SIGSEGV, lambda _number, frame: on_touch(frame))
        ptr = lib.zcrx_poison_start(ffi.from_buffer(area), num_niovs, niov_shift)
        if ptr == ffi.NULL:
            signal.signal(signal.SIGSEGV, before)
            return None
        return cls(ptr, num_niovs << niov_shift)

    def take(self) -> tuple[list[Touch], int]:
        """Touches since the last call (of many the last ones), and how many there have been."""
        taken = lib.zcrx_poison_take(self._ptr, self._touches, _TOUCHES_MAX, self._count)
        touches = [
            Touch(int(raw.off), int(raw.thread), bool(raw.is_write))
            for raw in self._touches[0:taken]
        ]
        return touches, int(self._count[0])
