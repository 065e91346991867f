"""Values over time, in a bounded number of points."""

from __future__ import annotations

from typing import Generic, TypeVar

_Row = TypeVar("_Row")

#: Points at most. When they are all taken every second one goes, and the next ones are twice as
#: far apart: of counters that only grow nothing of their sums is lost by it.
POINTS_MAX = 240


class Points(Generic[_Row]):
    """Keeps rows by their time.

    Args:
        interval_s: How far apart they are at first.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._next_s = 0.0
        self.times: list[float] = []
        self.rows: list[_Row] = []

    def is_due(self, elapsed_s: float) -> bool:
        """Whether there is room for a row at that time."""
        return elapsed_s >= self._next_s

    def add(self, elapsed_s: float, row: _Row) -> None:
        """Keep a row; a time is never before that of the row before."""
        if len(self.rows) >= POINTS_MAX:
            self.times, self.rows = self.times[::2], self.rows[::2]
            # As far apart as those that are left, were they added as often as wanted or not.
            self._interval_s = max(2 * self._interval_s, self.times[-1] / (len(self.times) - 1))
        self._next_s = elapsed_s + self._interval_s
        self.times.append(round(elapsed_s, 4))
        self.rows.append(row)
