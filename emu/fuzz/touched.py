"""Which lines of the provider the failing operation of a finding ran.

The program is run twice in a build that counts, once up to that operation and once with it: what
is counted more often the second time, the operation ran.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from emu.errors import ConfigError
from emu.fuzz.coverage import CoverageMeter
from emu.fuzz.harness import Target
from emu.host.scratch import scratch

#: Bytes behind the first one of an operation, by its kind, in their order (``FUZZ_OPS``).
ARGUMENT_BYTES = (
    *(1, 3, 2, 1),  # alloc, deliver, drop, copy
    *(3, 17, 17, 5, 4, 18),  # return, push, write, tail, head, rewrite
    *(1, 0, 0, 0, 2, 0, 0, 0, 0, 0),  # scrub, refill, flush, restart, retry, destroy … check
    *(1, 1, 1, 2),  # hide, refuse, wrong-pool, netlink
    *(6, 5, 1),  # deliver-many, repeat, add-area
)
_SHAPE, _LARGE_SHAPE, _LARGE_FLAG, _LARGE_MARK = 8, 16, 0xA, b"L"
_KIND = 0x7F


@dataclass(frozen=True, slots=True)
class Touched:
    """What an operation ran.

    Attributes:
        functions: Of each function that was entered: the file's name and its first line.
        lines: Of each line, by the file's name: how often.
    """

    functions: dict[str, tuple[str, int]]
    lines: dict[tuple[str, int], int]


def first_operations(program: bytes, count: int) -> bytes:
    """The shape of a program in its canonical form, and so many of its operations.

    Raises:
        ConfigError: It has fewer, or is not in that form.
    """
    is_large = program[3:4] and program[3] >> 4 == _LARGE_FLAG and program[15:16] == _LARGE_MARK
    at = _LARGE_SHAPE if is_large else _SHAPE
    for _ in range(count):
        if at >= len(program):
            raise ConfigError.of("operations", count, "the program has fewer")
        at += 1 + ARGUMENT_BYTES[(program[at] & _KIND) % len(ARGUMENT_BYTES)]
    if at > len(program):
        raise ConfigError.of("program", program.hex(), "its last operation is cut off")
    return program[:at]


def _counted(
    target: Target, program: bytes
) -> tuple[dict[str, tuple[str, int, int]], dict[tuple[str, int], int]]:
    with scratch() as folder:
        meter = CoverageMeter(target, folder)
        meter.add_programs([program])
        return meter.functions(), meter.lines()


def touched_by(target: Target, program: bytes, step: int) -> Touched:
    """Find what an operation of a program ran; of the provider's sources alone.

    Args:
        target: Who ran it.
        program: In its canonical form; it needs no other one before it.
        step: The operation's number, from 0.

    Raises:
        EnvironmentProblem: Nothing here counts: there is no clang, or the provider is a library.
        ConfigError: The program has fewer operations.
    """
    functions, lines = _counted(target, first_operations(program, step))
    more_functions, more_lines = _counted(target, first_operations(program, step + 1))
    return Touched(
        {
            name: (file, line)
            for name, (file, line, count) in more_functions.items()
            if count > functions.get(name, ("", 0, 0))[2]
        },
        {at: count - lines.get(at, 0) for at, count in more_lines.items()
         if count > lines.get(at, 0)},
    )  # fmt: skip


def stretches(lines: Sequence[int]) -> list[tuple[int, int]]:
    """Numbers of lines as first and last of each stretch without a gap."""
    found: list[tuple[int, int]] = []
    for line in sorted(lines):
        if found and line == found[-1][1] + 1:
            found[-1] = (found[-1][0], line)
        else:
            found.append((line, line))
    return found
