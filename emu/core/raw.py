"""A consumer of somebody else's in C, and the observer of one (``cext/zcrx_consumer.h``)."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from emu.core._lib import ffi, lib
from emu.core.layout import Mapping, Shape, raw_mappings, raw_shape
from emu.core.queue import Queue
from emu.errors import ConfigError

_WHY_MAX = 1024


class ConsumerLibrary:
    """A library opened in this process; its code stays loaded until the process ends.

    Args:
        path: The file, relative to the working directory or absolute; it is never searched for.

    Raises:
        ConfigError: It cannot be opened, or offers no consumer that this program can call.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        self._ops = ffi.NULL
        why = "there is no such file"
        if "\0" not in path and Path(self.path).exists():
            text = ffi.new("char[]", _WHY_MAX)
            self._ops = lib.zcrx_raw_open(os.fsencode(self.path), text, _WHY_MAX)
            why = os.fsdecode(ffi.string(text))
        if self._ops == ffi.NULL:
            raise ConfigError.of(
                "consumer", path, f"name a shared library made for zcrx_consumer.h ({why})"
            )

    @property
    def name(self) -> str:
        """What it calls itself; its file's name if it does not say."""
        if self._ops.name == ffi.NULL:
            return Path(self.path).name
        return bytes(ffi.string(self._ops.name)).decode(errors="backslashreplace")

    def run(self, shape: Shape, queue: int, mapping: Mapping) -> int:
        """Call its ``run()`` on a queue, with the GIL released; what that answered."""
        keep: list[Any] = []
        mappings = raw_mappings([mapping], keep)
        return int(lib.zcrx_raw_run(self._ops, raw_shape(shape), queue, mappings))


class Observer:
    """Judges a consumer that writes its rings itself, by what NIC and provider witnessed.

    Args:
        queue: The control process's view of a queue that is witnessed.
        is_ours: The provider is the core's own.
    """

    def __init__(self, queue: Queue, *, is_ours: bool) -> None:
        self._queue = queue
        self._ptr = ffi.gc(lib.zcrx_observer_new(queue._ptr, is_ours), lib.zcrx_observer_free)
        if self._ptr == ffi.NULL:
            raise MemoryError

    def step(self) -> None:
        """Look at what came since the last call; to be called before the reconciler's step."""
        lib.zcrx_observer_step(self._ptr)

    @contextlib.contextmanager
    def scrub(self) -> Iterator[None]:
        """Around a scrub, the NIC's burst included, if it may be at one."""
        lib.zcrx_observer_scrub_begin(self._ptr)
        try:
            yield
        finally:
            lib.zcrx_observer_scrub_end(self._ptr)

    def note_user_gone(self) -> None:
        """All that the user had was scrubbed, and nobody is served: who comes next has nothing."""
        lib.zcrx_observer_user_gone(self._ptr)

    def note_new_user(self) -> None:
        """The rings were emptied for a new user, who has not begun."""
        lib.zcrx_observer_new_user(self._ptr)

    @property
    def is_blind(self) -> bool:
        """Deliveries came faster than they were looked at: not everything was proven or not."""
        return bool(lib.zcrx_observer_is_blind(self._ptr))

    def out(self) -> tuple[int, str]:
        """Fragments that were never given back, and which is the oldest."""
        text = ffi.new("char[]", _WHY_MAX)
        count = int(lib.zcrx_observer_out(self._ptr, text, _WHY_MAX))
        return count, ffi.string(text).decode()

    def reports(self) -> dict[str, Any]:
        """What the checker says: ``counts`` by kind, and ``reports``, the first of them whole."""
        size = int(lib.zcrx_observer_json(self._ptr, ffi.NULL, 0)) + 1
        text = ffi.new("char[]", size)
        lib.zcrx_observer_json(self._ptr, text, size)
        plain: dict[str, Any] = json.loads(ffi.string(text))
        return plain
