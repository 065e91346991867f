"""The codec and the harness from outside: any bytes are a program, and ours runs them all clean."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emu.compile.ondemand import core_sources
from emu.fuzz.differential import compare
from emu.fuzz.engine import PROGRAM_BYTES
from emu.fuzz.harness import Harness
from emu.fuzz.program import MEANINGS

CORPUS = Path(__file__).parent / "corpus"
PROGRAMS = sorted(CORPUS.iterdir())
#: Bytes as they come, and bytes of which many are operations.
BYTES = st.one_of(
    st.binary(max_size=200),
    st.lists(st.integers(0, 23), max_size=200).map(bytes),
    st.binary(min_size=PROGRAM_BYTES - 8, max_size=PROGRAM_BYTES + 64),
)
SETTINGS = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
)


@SETTINGS
@given(programs=st.lists(BYTES, min_size=1, max_size=40))
def test_any_bytes_run_clean(programs: list[bytes], fast_harness: Harness, tmp_path: Path) -> None:
    """Many programs a process: starting one takes longer than running a thousand."""
    files = []
    for number, program in enumerate(programs):
        files.append(str(tmp_path / f"{number}.program"))
        Path(files[-1]).write_bytes(program)
    process = fast_harness.call(["execute", *files])
    # Without a folder for findings the first one ends the process and says which it is.
    assert process.returncode == 0, process.stderr
    assert process.stdout == f"executed\texecutions={len(programs)}\tfindings=0\n"


@SETTINGS
@given(program=st.binary(max_size=400))
def test_minimise_of_a_clean_program_is_its_canonical_form(
    program: bytes, fast_harness: Harness
) -> None:
    """The canonical form does the same, step by step, and is its own canonical form."""
    canonical, _, trial = fast_harness.minimise(program)
    assert trial.is_clean
    assert fast_harness.states(canonical) == fast_harness.states(program)
    assert fast_harness.minimise(canonical)[0] == canonical


def test_corpus_is_not_empty() -> None:
    assert len(PROGRAMS) > 20


def test_corpus_is_clean_when_sanitized(harness: Harness) -> None:
    process = harness.call(["execute", *map(str, PROGRAMS)])
    assert process.returncode == 0, process.stderr
    assert process.stdout == f"executed\texecutions={len(PROGRAMS)}\tfindings=0\n"


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name[:8])
def test_program_agrees_with_the_specification(path: Path, fast_harness: Harness) -> None:
    difference = compare(fast_harness, path.read_bytes())
    assert difference is None, difference.text


def test_every_operation_is_in_the_corpus(fast_harness: Harness) -> None:
    """Else what the specification says of one is not compared with anything."""
    kinds = {
        record.values["kind"]
        for path in PROGRAMS
        for record in fast_harness.states(path.read_bytes())[1:-1]
    }
    assert kinds == {
        "alloc", "deliver", "drop", "copy", "return", "push", "write", "tail", "head", "rewrite",
        "scrub", "refill", "flush", "restart", "retry", "destroy", "recreate", "detach", "attach",
        "check", "hide", "refuse", "wrong-pool", "netlink", "deliver-many", "repeat",
    }  # fmt: skip


def test_every_kind_of_finding_has_a_meaning() -> None:
    """C has the names, Python the words."""
    header = (core_sources() / "fuzz" / "finding.h").read_text()
    assert list(MEANINGS) == re.findall(r'^\tX\([A-Z_]+, "([a-z-]+)"\)', header, re.MULTILINE)


def test_empty_program_has_a_shape_and_no_operation(fast_harness: Harness) -> None:
    trial = fast_harness.run(b"")
    assert trial.is_clean
    assert trial.operations == 0
    assert trial.steps == ()
    assert trial.shape.startswith("1 queue(s) of 1 buffer(s), refill ring of 1 from index 0")


def test_steps_of_a_program_are_told(fast_harness: Harness) -> None:
    # 4 buffers, a ring of 4, a ptr ring of 8; alloc 2, deliver 2 from niov 0 on, scrub.
    trial = fast_harness.run(bytes([3, 2, 7, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 10, 0]))
    assert trial.is_clean
    assert trial.steps[0].operation == "alloc 2"
    assert all(step.expected == step.actual for step in trial.steps)
    assert [step.number for step in trial.steps] == list(range(trial.operations))


def test_wrong_use_of_the_harness_is_one_line(fast_harness: Harness) -> None:
    for arguments in (["run"], ["run", "/nowhere"], ["fly"], ["generate", "x", "0", "1", "0"], []):
        process = fast_harness.call(arguments)
        assert process.returncode == 2
        assert len(process.stderr.splitlines()) == 1
