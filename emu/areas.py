"""The areas of a queue, as a run's ``--areas`` names them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from emu.core import AREA_SIZES
from emu.errors import ConfigError
from emu.spec.state import AREAS_MAX

_ALLOWED = (
    f"it must be N[+MORE][:BUFFERS,...]: areas to begin with and to add, {AREAS_MAX} together at "
    f"most, and their buffers, up to {AREA_SIZES} sizes of which the last is that of all behind it"
)
_TEXT = re.compile(r"(\d{1,4})(?:\+(\d{1,4}))?(?::(\d{1,8}(?:,\d{1,8})*))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Areas:
    """How many areas a queue has, and the buffers of each."""

    start: int = 1  #: those that it begins with
    more: int = 0  #: those that are added while the run is on
    sizes: tuple[int, ...] = ()  #: area by area; those behind the last are as the last

    @property
    def count(self) -> int:
        """All that there may be."""
        return self.start + self.more

    def niovs(self, count: int) -> int:
        """The buffers of the first ``count`` of them."""
        return sum(self.size(number) for number in range(count))

    def size(self, number: int) -> int:
        """The buffers of one."""
        return self.sizes[min(number, len(self.sizes) - 1)]

    def place(self, niov: int) -> tuple[int, int]:
        """The area that a buffer is in, and its index there."""
        for number in range(self.count - 1):
            if niov < self.size(number):
                return number, niov
            niov -= self.size(number)
        return self.count - 1, niov


def buffers_at_start(text: object, buffers: int) -> int:
    """The buffers that a queue begins with; see :func:`parse_areas`."""
    areas = parse_areas(text, buffers)
    return areas.niovs(areas.start)


def parse_areas(text: object, buffers: int) -> Areas:
    """Read the text of ``--areas``; areas whose size it does not say have ``buffers``.

    Raises:
        ConfigError: It says something else, or there are too many.
    """
    found = _TEXT.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ConfigError.of("areas", text, _ALLOWED)
    start, more, sizes = int(found[1]), int(found[2] or 0), found[3] or str(buffers)
    areas = Areas(start, more, tuple(map(int, sizes.split(","))))
    too_long = len(areas.sizes) > min(AREA_SIZES, areas.count)
    if not start or areas.count > AREAS_MAX or too_long or not min(areas.sizes):
        raise ConfigError.of("areas", text, _ALLOWED)
    return areas
