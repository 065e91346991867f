"""What a consumer of one's own has in its hands, and what it has done with the rest.

Each completion that is handed out has an ordinal. Until it is given back it is *out*; for a
while after that it is known which call gave it back. So a mistake of the consumer's is named
where it is made: the completion, the line of its code, and the line before.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType

from emu.core import RawFragment, Touch

REMEMBERED = 1 << 14  #: completions whose return is remembered, the last ones
NAMED_MAX = 5  #: lines of code whose first mistake is told; all are counted
_MASK = REMEMBERED - 1
#: Where code stands that is not the user's: this package, and Python's own library.
_NOT_USERS = tuple(
    os.path.abspath(folder) + os.sep
    for folder in (Path(__file__).parents[1], Path(os.__file__).parent)
)
_INSTALLED = f"{os.sep}site-packages{os.sep}"

#: A line of code: a number is looked up when it is needed, a name only when it is shown.
Site = tuple[CodeType, int]


def site_of(frame: FrameType) -> Site:
    """Where a frame is now."""
    return frame.f_code, frame.f_lineno


def _is_users(frame: FrameType) -> bool:
    path = frame.f_code.co_filename
    return not path.startswith(_NOT_USERS) or (
        _INSTALLED in path and not path.startswith(_NOT_USERS[0])
    )


def outside(frame: FrameType | None) -> FrameType | None:
    """The innermost frame of the user's code; the innermost of all if there is none."""
    found = frame
    while found is not None and not _is_users(found):
        found = found.f_back
    return found or frame


def _shown(site: Site | None) -> str:
    if site is None:
        return "a line that is not known"
    code, line = site
    path = code.co_filename
    here = os.getcwd() + os.sep
    return f"{path.removeprefix(here)}:{line}"


@dataclass(frozen=True, slots=True)
class Kept:
    """Completions that were never given back."""

    count: int
    text: str  #: which is the oldest, and who was handed it


class Custody:
    """Completions that are out, and the returns of those that were.

    Args:
        niov_shift: Of the area: log2 of a buffer's size.
        tell: Called with each of the first mistakes, in a line.
        byte_of: Where the byte is, in the memory of all areas, that a completion's offset names.
    """

    def __init__(
        self,
        niov_shift: int,
        tell: Callable[[str], None],
        byte_of: Callable[[int], int] = int,
    ) -> None:
        self._niov_shift = niov_shift
        self._byte_of = byte_of
        self._tell = tell
        self._told: set[Site | None] = set()
        self._next = 0
        self._out: dict[int, tuple[RawFragment, Site]] = {}
        self._back: list[tuple[int, RawFragment, Site] | None] = [None] * REMEMBERED

    def hand_out(self, raw: RawFragment, site: Site) -> int:
        """A completion goes out; its ordinal."""
        ordinal = self._next
        self._next = ordinal + 1
        self._out[ordinal] = (raw, site)
        return ordinal

    def give_back(self, ordinal: int, raw: RawFragment, site: Site) -> bool:
        """A completion comes back. False, and told: it was not out."""
        out = self._out.get(ordinal)
        if out is not None and (out[0] is raw or out[0] == raw):
            del self._out[ordinal]
            self._back[ordinal & _MASK] = (ordinal, out[0], site)
            return True
        self._mistake(site, lambda: self._not_out(ordinal, raw, site))
        return False

    def _niov(self, raw: RawFragment) -> int:
        return self._byte_of(raw.off) >> self._niov_shift

    def _named(self, ordinal: int, raw: RawFragment) -> str:
        return (
            f"completion {ordinal} (flow {raw.user_data}, fragment {raw.seq}, "
            f"buffer {self._niov(raw)})"
        )

    def _mistake(self, site: Site | None, words: Callable[[], str]) -> None:
        """Tell of it, once for each line that makes it, and of the first few lines alone."""
        if site not in self._told and len(self._told) < NAMED_MAX:
            self._told.add(site)
            self._tell(words())

    def _not_out(self, ordinal: int, raw: RawFragment, site: Site) -> str:
        now = f"given back at {_shown(site)}"
        back = self._back[ordinal & _MASK] if isinstance(ordinal, int) else None
        if back is not None and back[0] == ordinal and back[1] == raw:
            which = self._named(ordinal, back[1])
            return f"{which} was {now}, after it had been given back at {_shown(back[2])}"
        if isinstance(ordinal, int) and 0 <= ordinal < self._next and ordinal not in self._out:
            return (
                f"completion {ordinal} was {now}, after it had been given back before (too long "
                "ago to say where)"
            )
        return f"a completion that was never handed out (offset {raw.off!r:.40}) was {now}"

    # ---- a touch ---------------------------------------------------------------------------

    def touched(self, touch: Touch, frame: FrameType | None) -> None:
        """A buffer was touched of which nothing is out.

        ``frame`` is the main thread's, soon after.
        """
        thread = _other_thread(touch)
        if thread is not None:
            frame = sys._current_frames().get(thread.ident or 0)
        reader = outside(frame)
        site = None if reader is None else site_of(reader)
        where = f"at {_shown(site)}"
        if thread is not None:
            where = f"in the thread {thread.name!r}, which has come to {_shown(site)} by now,"
        self._mistake(site, lambda: self._touched(touch, where))

    def _touched(self, touch: Touch, where: str) -> str:
        how = "written to" if touch.is_write else "read"
        back = self._last_of(touch.off)
        if back is None:
            niov = touch.off >> self._niov_shift
            return f"buffer {niov} was {how} {where} and none of its fragments was out"
        ordinal, raw, before = back
        which = self._named(ordinal, raw)
        return f"{which} was {how} {where} after it had been given back at {_shown(before)}"

    def _last_of(self, off: int) -> tuple[int, RawFragment, Site] | None:
        """What was given back last of those that held that byte; else of its buffer."""
        niov = off >> self._niov_shift
        found = [b for b in self._back if b is not None and self._niov(b[1]) == niov]
        exact = [b for b in found if 0 <= off - self._byte_of(b[1].off) < b[1].res]
        return max(exact or found, key=lambda back: back[0], default=None)

    # ---- the end -----------------------------------------------------------------------------

    def kept(self) -> Kept | None:
        """What is still out."""
        if not self._out:
            return None
        ordinal, (raw, site) = next(iter(self._out.items()))
        which = self._named(ordinal, raw)
        return Kept(len(self._out), f"{which}, handed out at {_shown(site)}")


def _other_thread(touch: Touch) -> threading.Thread | None:
    """The thread that touched, if it is not the main one: only that is interrupted by a signal."""
    for thread in threading.enumerate():
        if thread.native_id == touch.thread and thread is not threading.main_thread():
            return thread
    return None
