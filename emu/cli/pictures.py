"""Small pictures in text: shares as a bar, a course as blocks. Both read without colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

_BLOCKS = "▁▂▃▄▅▆▇█"
_ASCII = "_.-:=+*#"


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a whole."""

    word: str  #: its first letter stands for it where it has no room
    size: int
    style: str


def _widths(sizes: Sequence[int], width: int) -> list[int]:
    """Cells of each share: together the width, and one at least for what is not nothing."""
    total = sum(sizes)
    if not total:
        return [0] * len(sizes)
    cells = [max(size * width // total, 1) if size else 0 for size in sizes]
    while (missing := width - sum(cells)) > 0:
        remainders = [size * width - many * total for size, many in zip(sizes, cells, strict=True)]
        for at in sorted(range(len(cells)), key=remainders.__getitem__)[-missing:]:
            cells[at] += 1
    while sum(cells) > width and max(cells) > 1:  # by those that got one all the same
        cells[cells.index(max(cells))] -= 1
    return cells


def stacked_bar(shares: Sequence[Share], width: int, *, in_colour: bool) -> Text:
    """One line in which each share is as wide as it is large.

    Args:
        shares: From left to right.
        width: Cells. No fewer than there are shares that are not nothing.
        in_colour: Do colours show? If not, shares are told by their letters.
    """
    bar = Text(no_wrap=True, overflow="crop")
    for share, cells in zip(shares, _widths([s.size for s in shares], width), strict=True):
        letter = share.word[:1].upper()
        fill = " " if in_colour else letter
        label = f" {share.word} "
        if len(label) <= cells:
            text = label.center(cells, fill)
        else:
            text = letter.center(cells) if in_colour else letter * cells
        bar.append(text[:cells], style=share.style if in_colour else "")
    return bar


def sparkline(values: Sequence[float], width: int, *, in_ascii: bool) -> str:
    """The last values as blocks, the highest of them full; nothing is a blank.

    Args:
        values: Not below 0, the newest at the end.
        width: Cells, at most as many values.
        in_ascii: The terminal has no other characters.
    """
    shown = values[-width:] if width > 0 else ()
    levels = _ASCII if in_ascii else _BLOCKS
    most = max(shown, default=0.0)
    if most <= 0:
        return " " * len(shown)
    last = len(levels) - 1
    return "".join(
        levels[min(int(value / most * len(levels)), last)] if value > 0 else " " for value in shown
    )
