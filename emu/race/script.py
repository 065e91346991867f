"""A scenario's text (docs/racing.md), and the numbers that the simulation makes of it.

In lines, in any order::

    shape niovs=2 rq=2 cq=4 grants=2 ptr-ring=2 index=0 more=0
    kernel 7.3                      the level that is played; seed
    setup OPERATION; OPERATION …    before, by one
    actor NAME: OPERATION; …        each at the same time as the others
    end OPERATION; …                afterwards, by one
    honest                          users keep to the rings' rules: slots must be ordered

It is read here alone; ``cext/sim/script.h`` has what becomes of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from emu.contract import EXPERIMENTAL, HAS_AREAS, LEVELS, REFS_CACHE, SEED
from emu.errors import ConfigError
from emu.race.operations import OPERATIONS, takes
from emu.race.scenario import ACTORS_MAX

_BYTES_MAX = 65534
_OPERATIONS_MAX = 64  #: of a script
_NAME_MAX = 23
_VALUE_MAX = 60  #: characters of a wrong value that are told
_U64_MAX = 2**64 - 1
_SIZE_MAX = 64
_NUMBER = re.compile(r"([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)", re.ASCII)

#: What a level has beyond the one that it is put on top of, as ``cext/kernel/contract.h`` has it.
_DEVIATIONS = {REFS_CACHE: 2}
#: Numbers of an operation that says none; of all others 1, 1, 0.
_USUAL = {"push": (1, 0, 0), "write": (1, 0, 0), "destroy": (0, 1, 0)}
#: Of these the first number is how many; of those, the second one.
_COUNT_FIRST = {
    "alloc", "grant", "deliver", "send", "drop", "copy", "take", "give", "cut", "send-bytes",
    "take-bytes", "add-area",
}  # fmt: skip
_COUNT_SECOND = {"deliver", "return"}

#: One operation: its word, and its three numbers.
Operation = tuple[str, int, int, int]


@dataclass(slots=True)
class Script:
    """A scenario as its text has it.

    Attributes:
        shape: Sizes of the instance, in the order in which the simulation reads them.
        actors: Name and operations of each.
        setup: Operations before.
        end: Operations afterwards.
        honest: Users keep to the rings' rules.
        kernel: The level that is played.
    """

    shape: dict[str, int] = field(
        default_factory=lambda: (
            dict.fromkeys(("niovs", "rq", "cq", "grants", "ptr-ring"), 2) | {"index": 0, "more": 0}
        )
    )
    actors: list[tuple[str, list[Operation]]] = field(default_factory=list)
    setup: list[Operation] = field(default_factory=list)
    end: list[Operation] = field(default_factory=list)
    honest: bool = False
    kernel: str = SEED

    @property
    def numbers(self) -> str:
        """As the simulation reads it."""
        level = LEVELS.index(EXPERIMENTAL.get(self.kernel, self.kernel))
        head = [*self.shape.values(), level, _DEVIATIONS.get(self.kernel, 0), int(self.honest)]
        rows = [" ".join(map(str, [*head, len(self.actors)]))]
        for name, operations in [*self.actors, ("", self.setup), ("", self.end)]:
            rows.append(f"{len(operations)} ={name}")
            rows += [" ".join(map(str, operation)) for operation in operations]
        return "\n".join(rows) + "\n"


def read_script(what: str, text: str) -> Script:
    """Read a scenario's text.

    Args:
        what: What it is called in a message.
        text: The lines.

    Raises:
        ConfigError: It is no scenario; says why.
    """
    script = Script()
    try:
        if len(text.encode()) > _BYTES_MAX:
            raise ValueError("it is too long")
        for line in text.split("\n"):
            _read_line(script, line.lstrip(" \t"))
        for operations in (*(operations for _, operations in script.actors), script.setup):
            _check_closed(operations)
        if not script.actors:
            raise _wrong("scenario", "", "it has no actor")
        _check_areas(script)
    except ValueError as error:
        raise ConfigError(f"{what}: {error}") from None
    return script


def _check_areas(script: Script) -> None:
    niovs, more = script.shape["niovs"], script.shape["more"]
    if more and EXPERIMENTAL.get(script.kernel, script.kernel) not in HAS_AREAS:
        raise _wrong("more", str(more), f"the kernel {script.kernel} has one area")
    if niovs + more > _SIZE_MAX:
        raise _wrong("more", str(more), f"there are {_SIZE_MAX} buffers at most")


def _wrong(what: str, value: str, allowed: str) -> ValueError:
    return ValueError(f"{what}: {value[:_VALUE_MAX]}: {allowed}")


def _words(text: str) -> list[str]:
    return [word for word in re.split("[ \t]+", text) if word]


def _number(text: str) -> int | None:
    """A number as C writes it, at most a u64; None if it is none."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    sign, digits = match.groups()
    base = 10 if digits[0] != "0" else 8 if digits.isdecimal() else 16
    value = int(digits[:21] if base == 10 else digits, base)  # more is too much anyway
    if value > _U64_MAX:
        return _U64_MAX
    return -value % (_U64_MAX + 1) if sign == "-" else value


def _read_line(script: Script, line: str) -> None:
    if not line or line.startswith("#"):
        return
    if line == "honest":
        script.honest = True
    elif line.startswith("kernel"):
        script.kernel = line.removeprefix("kernel").strip()
        if script.kernel not in (*LEVELS, *EXPERIMENTAL):
            raise _wrong("kernel", script.kernel, f"it must be one of {', '.join(LEVELS)}")
    elif line.startswith("shape"):
        _read_shape(script.shape, line.removeprefix("shape"))
    elif line.startswith("setup"):
        _read_operations("", script.setup, line.removeprefix("setup"))
    elif line.startswith("end"):
        _read_operations("", script.end, line.removeprefix("end"))
    elif line.startswith("actor ") and ":" in line:
        if len(script.actors) == ACTORS_MAX:
            raise _wrong("actor", line, f"there can be {ACTORS_MAX} at most")
        name, _, operations = line.removeprefix("actor ").partition(":")
        name = name.encode()[:_NAME_MAX].decode(errors="ignore")
        script.actors.append((name, []))
        _read_operations(name, script.actors[-1][1], operations)
    else:
        raise _wrong("line", line, "it must begin with shape, kernel, setup, actor, end or honest")


def _read_shape(shape: dict[str, int], text: str) -> None:
    for word in _words(text):
        name, equals, value = word.partition("=")
        if not equals:
            raise _wrong("shape", word, "it must be NAME=NUMBER")
        if name not in shape:
            raise _wrong("shape", name, "there is no such size")
        number = _number(value)
        if number is None or number > (2**32 - 1 if name == "index" else _SIZE_MAX):
            raise _wrong(name, value, f"it must be a number, at most {_SIZE_MAX}")
        shape[name] = number


def _read_operations(name: str, operations: list[Operation], text: str) -> None:
    for part in text.split(";"):
        words = _words(part)
        if not words:
            continue
        if len(operations) == _OPERATIONS_MAX:
            raise _wrong("script", name, "it has too many operations")
        operations.append(_operation(words))


def _operation(words: Sequence[str]) -> Operation:
    word, *given = words
    if word not in OPERATIONS:
        raise _wrong("operation", word, "there is no such operation")
    least, most = takes(word)
    numbers = [*_USUAL.get(word, (1, 1, 0))]
    for at, text in enumerate(given):
        if at == most:
            raise _wrong("operation", word, "it takes fewer numbers")
        number = _number(text)
        if number is None:
            raise _wrong(word, text, "it must be a number")
        numbers[at] = number
    if len(given) < least:
        raise _wrong("operation", word, "it takes more numbers")
    if (word in _COUNT_FIRST and numbers[0] == 0) or (word in _COUNT_SECOND and numbers[1] == 0):
        raise _wrong("operation", word, "0 of them is to do nothing")
    first, second, third = numbers
    return word, first, second, third


def _check_closed(operations: Sequence[Operation]) -> None:
    """A buffer that is cut and stays open is neither the NIC's nor the user's at the end."""
    is_open = False
    for word, *_ in operations:
        if word == "close" and not is_open:
            raise _wrong("operation", "close", "nothing was cut before it")
        is_open = word == "cut" or (is_open and word != "close")
    if is_open:
        raise _wrong("operation", "cut", "no close follows")
