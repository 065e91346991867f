"""The codec as it is written down is the codec of the sources."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from emu.compile.ondemand import core_sources
from emu.errors import ConfigError
from emu.fuzz.engine import PROGRAM_BYTES
from emu.fuzz.harness import CODEC
from emu.fuzz.touched import ARGUMENT_BYTES, first_operations

DOCS = Path(__file__).parents[2] / "docs" / "fuzzing.md"


def header() -> str:
    return (core_sources() / "fuzz" / "program.h").read_text()


def defined(name: str) -> int:
    found = re.search(rf"#define {name} (\d+)U", header())
    assert found, name
    return int(found[1])


def operations() -> list[tuple[str, set[str]]]:
    """Word and arguments of each kind, in order."""
    entries = re.findall(r'X\([A-Z_]+, "([a-z-]+)",([^\\]*?), (\d+)\)', header())
    return [
        (word, {name.lower() for name in re.findall(r"FUZZ_ARG_([A-Z]+)", arguments)})
        for word, arguments, _ in entries
    ]


def documented() -> dict[int, tuple[str, set[str]]]:
    rows: dict[int, tuple[str, set[str]]] = {}
    for line in DOCS.read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) != 3 or not re.match(r"\d+ [a-z]", cells[0]):
            continue
        arguments = {name.strip() for name in cells[1].split(",") if name.strip()}
        for number, word in re.findall(r"(\d+) ([a-z-]+)", cells[0]):
            rows[int(number)] = (word, {"rqe" if name == "entry" else name for name in arguments})
    return rows


def test_each_kind_is_documented_with_its_number_and_arguments() -> None:
    kinds = operations()
    assert len(kinds) > 20
    assert documented() == dict(enumerate(kinds))


def test_operations_are_as_long_as_is_counted_on() -> None:
    sizes = {"count": 1, "pick": 1, "mode": 1, "value": 4, "rqe": 16}
    assert [sum(map(sizes.__getitem__, names)) for _, names in operations()] == [*ARGUMENT_BYTES]


@pytest.mark.parametrize("shape", [bytes(8), bytes([0, 0, 0, 0xA0, *[0] * 11, 76])])
def test_program_is_cut_between_operations(shape: bytes) -> None:
    words = [word for word, _ in operations()]
    kinds = [words.index(name) for name in ("push", "scrub", "flush", "rewrite")]
    whole = [bytes([kind, *[255] * ARGUMENT_BYTES[kind]]) for kind in kinds]
    program = shape + b"".join(whole)
    for count in range(5):
        assert first_operations(program, count) == shape + b"".join(whole[:count])
    for wrong, wanted in ((program, 5), (program[:-1], 4)):
        with pytest.raises(ConfigError, match=r"is not allowed; .* (fewer|cut off)"):
            first_operations(wrong, wanted)


def test_codec_version_is_the_same_everywhere() -> None:
    assert defined("FUZZ_CODEC") == CODEC
    assert f"this is codec {CODEC}." in " ".join(DOCS.read_text().split())


def test_longest_program_is_as_long_as_the_engines_are_told() -> None:
    assert 16 + defined("FUZZ_OPS_MAX") * 20 == PROGRAM_BYTES
