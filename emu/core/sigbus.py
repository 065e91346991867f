"""Memory that is taken away under a process: no death, but a fact (``cext/wire/sigbus.h``)."""

from __future__ import annotations

import mmap

from emu.core._lib import ffi, lib


class MemoryGuard:
    """Looks after mapped memory from :meth:`watch` to :meth:`close`; several may exist."""

    def __init__(self) -> None:
        self._numbers: dict[int, str] = {}
        self._is_open = lib.zcrx_sigbus_begin() == 0

    def watch(self, memory: mmap.mmap, name: str) -> None:
        """Look after an object; if there are too many, it goes unwatched."""
        view = ffi.from_buffer(memory)
        number = int(lib.zcrx_sigbus_watch(view, len(memory)))
        if number >= 0:
            self._numbers[number] = name

    def hurt(self) -> list[str]:
        """Names of the objects of which pages were gone when this process touched them."""
        return [name for number, name in self._numbers.items() if lib.zcrx_sigbus_hurt(number)]

    def close(self) -> None:
        """Look no longer. To be called before the memory is unmapped; safe to call twice."""
        if self._is_open:
            self._is_open = False
            for number in self._numbers:
                lib.zcrx_sigbus_forget(number)
            lib.zcrx_sigbus_end()


def watched_objects() -> int:
    """How many objects all guards of this process look after."""
    return int(lib.zcrx_sigbus_watched())
