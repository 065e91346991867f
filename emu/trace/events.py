"""A trace in the making: processes, their tracks, and what lies on these.

Times are microseconds. Processes and tracks are numbered by us: a process identifier may come
twice in a run, and its name says which it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Track(NamedTuple):
    """A row of a process."""

    pid: int
    tid: int


class Trace:
    """Takes events in any order; :meth:`as_dict` has them by time."""

    def __init__(self) -> None:
        self._metadata: list[dict[str, Any]] = []
        self._events: list[dict[str, Any]] = []
        self._tracks: dict[int, int] = {}  # of each process: how many tracks it has
        self._spans = 0

    def process(self, name: str) -> int:
        """Begin a process, to be shown below those that were begun before; its number."""
        pid = len(self._tracks) + 1
        self._tracks[pid] = 0
        self._name(Track(pid, 0), "process_name", {"name": name})
        self._name(Track(pid, 0), "process_sort_index", {"sort_index": pid})
        return pid

    def track(self, pid: int, name: str) -> Track:
        """Begin a track of a process, below those that it has."""
        self._tracks[pid] += 1
        track = Track(pid, self._tracks[pid])
        self._name(track, "thread_name", {"name": name})
        self._name(track, "thread_sort_index", {"sort_index": track.tid})
        return track

    def _name(self, track: Track, what: str, args: dict[str, Any]) -> None:
        self._metadata.append({"ph": "M", **track._asdict(), "ts": 0, "name": what, "args": args})

    def _add(self, phase: str, track: Track, ts: float, name: str, **more: Any) -> None:
        self._events.append(
            {"ph": phase, **track._asdict(), "ts": round(ts, 3), "name": name, **more}
        )

    def slice(
        self, track: Track, ts: float, end: float, name: str, category: str, **args: Any
    ) -> None:
        """Something that lasts, on a track where everything lies beside or within the others."""
        start = round(ts, 3)
        duration = round(max(end - start, 0), 3)
        self._add("X", track, start, name, dur=duration, cat=category, args=args)

    def span(
        self, track: Track, ts: float, end: float, name: str, category: str, **args: Any
    ) -> None:
        """Something that lasts while others of its name do: each is drawn on a row of its own."""
        self._spans += 1
        more = {"cat": category, "id": self._spans}
        self._add("b", track, ts, name, **more, args=args)
        self._add("e", track, max(ts, end), name, **more)

    def instant(
        self, track: Track, ts: float, name: str, category: str, *, scope: str = "t", **args: Any
    ) -> None:
        """Something that takes no time; scope: t(rack), p(rocess) or g(lobal)."""
        self._add("i", track, ts, name, s=scope, cat=category, args=args)

    def counter(self, pid: int, ts: float, name: str, values: Mapping[str, float]) -> None:
        """What some values of a process are from here on."""
        self._add("C", Track(pid, 0), ts, name, args=dict(values))

    def arrow(
        self,
        number: int,
        start: Track,
        ts: float,
        end: Track,
        end_ts: float,
        name: str,
        category: str,
    ) -> None:
        """From within one slice to within another one; of its category it alone has the number."""
        more = {"cat": category, "id": number}
        self._add("s", start, ts, name, **more)
        self._add("f", end, end_ts, name, **more, bp="e")

    def as_dict(self, **other: Any) -> dict[str, Any]:
        """The trace, as a value to be written as JSON; times begin at 0.

        Args:
            other: What a reader may want to know of the whole.
        """
        # What holds others goes before them; what is at the same time stays as it was added.
        events = sorted(self._events, key=lambda event: (event["ts"], -event.get("dur", 0)))
        first = min((event["ts"] for event in events), default=0)
        if first < 0:
            for event in events:
                event["ts"] = round(event["ts"] - first, 3)
        return {
            "traceEvents": self._metadata + events,
            "displayTimeUnit": "ns",
            "otherData": other,
        }
