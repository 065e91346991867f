"""What the seeds and our generator reach of the provider: all, but for what has a reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emu.compile.ondemand import core_sources
from emu.compile.toolchain import libfuzzer_compiler, llvm_tool
from emu.errors import EnvironmentProblem
from emu.fuzz import coverage
from emu.fuzz.coverage import UNREACHABLE, CoverageMeter
from emu.fuzz.harness import Target

CORPUS = Path(__file__).parent / "corpus"
SEED, PROGRAMS = 1, 20_000


def _has_tools() -> bool:
    clang = libfuzzer_compiler()
    return clang is not None and all(
        llvm_tool(name, clang) for name in ("llvm-cov", "llvm-profdata")
    )


needs_tools = pytest.mark.skipif(not _has_tools(), reason="clang with its llvm tools is missing")


@pytest.fixture(scope="module")
def meter(tmp_path_factory: pytest.TempPathFactory) -> CoverageMeter:
    """The seeds and a fixed number of programs that were made up, counted."""
    made = CoverageMeter(Target(sanitize=False), tmp_path_factory.mktemp("counts"))
    assert made.add(CORPUS)
    made.add_generated(SEED, PROGRAMS)
    for kernel in ("6.18", "7.1", "7.3"):  # the others have nothing of their own
        made.add_generated(SEED, PROGRAMS, kernel)
    return made


@needs_tools
def test_every_outcome_is_reached_or_has_a_reason(meter: CoverageMeter) -> None:
    gaps = meter.gaps()
    assert [gap for gap in gaps if not gap.reason] == []
    # And a reason that excuses nothing would excuse whatever looks like it later.
    excused = {(gap.function, gap.condition, gap.outcome) for gap in gaps}
    assert excused == {
        (function, condition, outcome)
        for function, condition, which, _ in UNREACHABLE
        for outcome in ((True, False) if which is None else (which,))
    }
    measured = meter.measure()
    assert measured.branches - measured.branches_reached == len(gaps)
    assert measured.lines_reached / measured.lines > 0.9
    assert measured.text.startswith("lines 9")


@needs_tools
def test_seeds_are_counted_once(meter: CoverageMeter) -> None:
    assert not meter.add(CORPUS)


@needs_tools
def test_gaps_are_told_where_few_programs_run(tmp_path: Path) -> None:
    """With the seeds alone; and with nothing at all."""
    (tmp_path / "counts").mkdir()
    made = CoverageMeter(Target(sanitize=False), tmp_path / "counts")
    assert made.measure().branches == 0
    assert made.gaps() == []
    made.add(CORPUS)
    gaps = made.gaps()
    assert [gap for gap in gaps if not gap.reason]
    for gap in gaps:
        lines = (core_sources() / "kernel" / gap.file).read_text().splitlines()
        assert gap.condition.partition(" ")[0] in lines[gap.line - 1]


@needs_tools
def test_report_is_written_and_nothing_else_is_touched(
    meter: CoverageMeter, tmp_path: Path
) -> None:
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "somebody's").write_text("work")
    page = meter.write_report(folder)
    assert page == folder / "index.html"
    assert "provider.c" in page.read_text()
    annotated = list(folder.rglob("provider.c.html"))
    assert len(annotated) == 1
    assert "judge_run" in annotated[0].read_text()
    assert (folder / "somebody's").read_text() == "work"


@needs_tools
def test_provider_given_as_source_is_what_is_measured(
    tmp_path: Path, provider: Callable[..., Path]
) -> None:
    source = provider(
        "static uint64_t odd(struct zcrx_provider_queue *queue)\n{\n"
        "\tif (queue->num_niovs == 1000)\n\t\treturn 0;\n\treturn plain_scrub(queue);\n}\n",
        scrub="odd",
    )
    (tmp_path / "counts").mkdir()
    made = CoverageMeter(Target(provider=source, sanitize=False), tmp_path / "counts")
    made.add(CORPUS)
    assert [(gap.file, gap.function, gap.outcome, gap.condition) for gap in made.gaps()] == [
        ("provider.c", "odd", True, "queue->num_niovs == 1000")
    ]
    measured = made.measure()
    assert (measured.branches, measured.branches_reached) == (2, 1)
    assert measured.lines_reached == measured.lines - 1


@pytest.mark.long
@needs_tools
@pytest.mark.parametrize("sanitize", [False, True], ids=["fast", "sanitized"])
@pytest.mark.parametrize("what", ["abort()", "*(volatile int *)8 = 1", "for (;;)\n\t\tpause()"])
def test_program_that_crashes_or_hangs_counts_up_to_there(
    what: str, sanitize: bool, tmp_path: Path, provider: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Else a campaign that ends with its first finding would say that nothing was reached."""
    source = provider(
        "static uint64_t dead(struct zcrx_provider_queue *queue)\n{\n"
        f"\tif (queue->num_niovs)\n\t\t{what};\n\treturn 0;\n}}\n",
        scrub="dead",
    )
    (tmp_path / "counts").mkdir()
    made = CoverageMeter(Target(provider=source, sanitize=sanitize), tmp_path / "counts")
    scrub = bytes(8) + bytes([10, 0])
    assert made.add_programs([scrub])
    assert not made.add_programs([scrub])
    measured = made.measure()
    assert (measured.branches, measured.branches_reached) == (2, 1)
    assert measured.lines_reached > 0


@needs_tools
def test_library_cannot_be_measured(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match=r"give the provider as a \.c file"):
        CoverageMeter(Target(provider=tmp_path / "provider.so"), tmp_path)


def test_without_clang_coverage_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "libfuzzer_compiler", lambda: None)
    with pytest.raises(EnvironmentProblem, match="it needs clang"):
        CoverageMeter(Target(), tmp_path)


@needs_tools
def test_without_llvm_tools_coverage_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coverage, "llvm_tool", lambda *_: None)
    with pytest.raises(EnvironmentProblem, match="apt install llvm"):
        CoverageMeter(Target(), tmp_path)


@needs_tools
def test_command_writes_the_report(
    tmp_path: Path, corpus_of: Callable[..., Path], call: Callable[..., Any]
) -> None:
    answer = call(
        "fuzz", "--fast", "--engine", "generate", "--time", "0.5", "--seed", "1", "--corpus",
        str(corpus_of()), "--cover", "cover",
    )  # fmt: skip
    assert answer.code == 0
    assert answer.stderr == ""
    assert (tmp_path / "cover" / "index.html").is_file()
    assert "not found yet" not in answer.stdout
    assert "annotated sources: cover/index.html" in answer.stdout
