"""How the NIC cuts what arrives: ``fragment:100-1500,per-buffer:3`` and so on."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from emu.errors import ConfigError

Range = tuple[int, int]

_PAGE = 4096
#: Of each word: the least and the most that it may say.
WORDS = {
    "fragment": (1, _PAGE),
    "offset": (0, _PAGE - 1),
    "per-buffer": (1, 64),
    "copy": (0, 100),
    "linear": (0, _PAGE),
    "descriptors": (0, 32768),
    "mtu": (68, 65535),
    "area": (1, 2**20),
    "ring": (1, 32768),
    "cq": (1, 65536),
    "burst": (1, 2**24),
}
_OF_ONE_NUMBER = WORDS.keys() - {"fragment", "offset", "linear"}
#: Sizes of rings, which are powers of two.
_ROUNDED = frozenset({"ring", "cq"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """All 0: whole buffers, one fragment each, and nothing is copied."""

    fragment: Range = (0, 0)  #: bytes of one fragment
    offset: Range = (0, 0)  #: where the first one of a buffer begins
    per_buffer: int = 0  #: fragments a buffer, at most
    copy: int = 0  #: percent of the fragments that land outside of the area
    linear: Range = (0, 0)  #: bytes at a packet's head that are in no fragment
    descriptors: int = 0  #: of the NIC, in which buffers stand
    mtu: int = 0  #: bytes of a packet
    area: int = 0  #: buffers of an area that are used, at most
    ring: int = 0  #: entries of a refill ring, at most
    cq: int = 0  #: entries of a completion queue, at most
    burst: int = 0  #: bytes that wait before any is handed over, for a while

    def words(self) -> str:
        """As the gateway reads it."""
        values = dataclasses.astuple(self)
        flat = [
            number
            for value in values
            for number in (value if isinstance(value, tuple) else (value,))
        ]
        return ",".join(map(str, flat))


def shape_of(text: str) -> Shape:
    """Read what a user typed.

    Raises:
        ConfigError: A word that there is not, or a number that it may not have.
    """
    fields: dict[str, int | Range] = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition(":")
        if name not in WORDS:
            raise ConfigError.of(
                "--shape", part, f"one of {', '.join(WORDS)}, then ':' and a number"
            )
        numbers = _range_of(name, value)
        if name in _ROUNDED:
            numbers = (1 << (numbers[0] - 1).bit_length(),) * 2
        fields[name.replace("-", "_")] = numbers[0] if name in _OF_ONE_NUMBER else numbers
    return Shape(**fields)  # type: ignore[arg-type]


def _range_of(name: str, text: str) -> Range:
    """``5``, or ``5-9`` where there may be a range."""
    low, high = WORDS[name]
    first, dash, last = text.partition("-")
    is_number = first.isdecimal() and (last.isdecimal() if dash else True)
    if is_number and not (dash and name in _OF_ONE_NUMBER):
        numbers = (int(first), int(last) if dash else int(first))
        if low <= numbers[0] <= numbers[1] <= high:
            return numbers
    kind = "a number" if name in _OF_ONE_NUMBER else "a number, or two with '-' between them,"
    raise ConfigError.of(f"--shape {name}", text, f"{kind} of {low} to {high}")
