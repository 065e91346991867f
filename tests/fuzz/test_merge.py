"""Many programs in, few out: nothing of what they reach is lost, and no finding."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emu.compile import toolchain
from emu.fuzz import build, merge, reach
from emu.fuzz.build import Kind
from emu.fuzz.engine import PROGRAM_BYTES
from emu.fuzz.finding import read_finding
from emu.fuzz.harness import Harness, Target, fuzz_environment
from emu.fuzz.merge import Merged, SetAside, chosen, finding_of, minimise, union
from emu.fuzz.reach import Reached, ReachMeter

CORPUS = Path(__file__).parent / "corpus"
TARGET = Target(sanitize=False)
#: One queue, a buffer, a ring of one; an allocation, a scrub.
ALLOC, SCRUB = bytes(8) + b"\0\0", bytes(8) + b"\x0a\0"


@pytest.fixture(scope="module")
def seeds() -> list[bytes]:
    return [path.read_bytes() for path in sorted(CORPUS.iterdir())]


@pytest.fixture(scope="module")
def many(seeds: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The seeds, and some that were made up for another kernel, of which most are needless."""
    folder = tmp_path_factory.mktemp("drawn")
    assert Harness(Target(sanitize=False, kernel="7.3")).call(
        ["draw", "7", "200", "12", str(folder)]
    ).returncode == 0  # fmt: skip
    return [*seeds, *(path.read_bytes() for path in sorted(folder.iterdir()))]


@pytest.fixture(scope="module")
def merged(many: list[bytes]) -> Merged:
    return minimise(TARGET, many)


# ---- which are chosen ---------------------------------------------------------------------

_FEATURES = st.lists(st.frozensets(st.integers(0, 40), max_size=12), max_size=30)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_FEATURES, st.randoms(use_true_random=False))
def test_chosen_reach_all_none_is_needless_and_order_does_not_matter(
    features: list[frozenset[int]], random: Any
) -> None:
    programs = [bytes([at]) * random.randrange(1, 9) for at in range(len(features))]
    kept = chosen(programs, features)
    whole = frozenset().union(*features)
    assert frozenset().union(*(features[at] for at in kept)) == whole
    for gone in kept:
        assert frozenset().union(*(features[at] for at in kept if at != gone)) != whole
    again = chosen([programs[at] for at in kept], [features[at] for at in kept])
    assert again == list(range(len(kept)))


# ---- what a merge keeps -------------------------------------------------------------------


def test_all_is_kept_that_is_reached_and_nothing_else(merged: Merged, many: list[bytes]) -> None:
    assert set(merged.programs) < set(many)
    assert len(merged.programs) < len(many) / 2
    assert (merged.given, merged.set_aside, merged.foreign, merged.unmeasured) == (
        len(many), (), (), 0,
    )  # fmt: skip
    # Measured anew, each program in a process of its own: nothing depends on what ran before.
    meter = ReachMeter(TARGET)
    alone = [next(iter(meter.measure([program]))).features for program in merged.programs]
    assert all(alone)
    assert Reached(meter.build, frozenset().union(*filter(None, alone))) == merged.reached


def test_merged_once_more_it_is_the_same_in_any_order(merged: Merged, many: list[bytes]) -> None:
    assert minimise(TARGET, reversed(merged.programs)) == Merged(
        merged.programs, merged.reached, len(merged.programs)
    )
    assert minimise(TARGET, reversed(many)) == merged


def test_parts_united_are_the_whole(merged: Merged, many: list[bytes]) -> None:
    parts = [minimise(TARGET, many[at::3]) for at in range(3)]
    assert union(part.reached for part in parts) == merged.reached
    # What the parts have kept is enough for the whole.
    kept = [program for part in parts for program in part.programs]
    assert minimise(TARGET, kept).reached == merged.reached
    with pytest.raises(ValueError, match="0 builds"):
        union([])
    with pytest.raises(ValueError, match="2 builds"):
        union([merged.reached, Reached("another")])


def _edges_by_libfuzzer(programs: Sequence[bytes], folder: Path) -> set[str]:
    """The edges that libFuzzer's own merge sees, from its control file."""
    (folder / "in").mkdir(parents=True)
    (folder / "out").mkdir()
    for number, program in enumerate(programs):
        (folder / "in" / str(number)).write_bytes(program)
    subprocess.run(
        [str(TARGET.executable(Kind.LIBFUZZER)), "-merge=1", f"-merge_control_file={folder}/notes",
         str(folder / "out"), str(folder / "in")],
        env=fuzz_environment(None), check=True, capture_output=True,
    )  # fmt: skip
    lines = (folder / "notes").read_text().splitlines()
    rows = [line.split() for line in lines if line.startswith("COV ")]
    return {edge for row in rows for edge in row[2:]}


@pytest.mark.usefixtures("needs_clang")
def test_libfuzzer_misses_no_edge_either(merged: Merged, many: list[bytes], tmp_path: Path) -> None:
    edges = _edges_by_libfuzzer(many, tmp_path / "many")
    assert len(edges) > 200
    assert _edges_by_libfuzzer(merged.programs, tmp_path / "kept") == edges
    assert _edges_by_libfuzzer(merged.programs[:10], tmp_path / "few") < edges


@pytest.mark.long
def test_another_compiler_has_counters_too(
    many: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (toolchain, build):
        monkeypatch.setattr(module, "libfuzzer_compiler", lambda: None)
    monkeypatch.setenv("CC", "gcc")
    toolchain.any_compiler.cache_clear()
    try:
        found = minimise(TARGET, many)
        assert found.reached.edges > 200
        assert len(found.programs) < len(many) / 2
        assert minimise(TARGET, reversed(found.programs)).programs == found.programs
    finally:
        toolchain.any_compiler.cache_clear()


def test_time_that_is_up_loses_nothing(
    merged: Merged, many: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach, "_BATCH", 50)
    found = minimise(TARGET, many, seconds=1e-9)
    assert found.unmeasured == len(many) - 50
    by_length = sorted(many, key=lambda program: (len(program), program))
    assert set(found.programs) >= set(by_length[50:])
    assert minimise(TARGET, found.programs).reached == merged.reached


def test_what_is_no_program_as_it_stands_is_told_and_kept_as_one(seeds: list[bytes]) -> None:
    longest = max(seeds, key=len)
    foreign = [longest[:-1], b"", bytes(PROGRAM_BYTES + 7)]
    found = minimise(TARGET, [ALLOC, *foreign])
    assert set(found.foreign) == {longest[:-1], b"", bytes(PROGRAM_BYTES + 1)}
    assert found.given == 4
    assert minimise(TARGET, found.programs).foreign == ()


def test_of_nothing_nothing_is_kept() -> None:
    found = minimise(TARGET, [])
    assert (found.programs, found.reached.edges, found.given) == ((), 0, 0)


# ---- what is found on the way -------------------------------------------------------------

#: Ends the process as soon as an allocation is tried, in whatever way.
_FATAL = """
static bool fatal(struct zcrx_provider_queue *queue, uint32_t pool)
{
	%s;
	return plain_alloc_netmems(queue, pool);
}
"""


@pytest.mark.parametrize(
    ("what", "signature"),
    [
        ("abort()", "crash:ABRT"),
        ("_exit(0)", "crash:exit-0"),
        pytest.param("for (;;)\n\t\tpause()", "hang", marks=pytest.mark.long),
    ],
    ids=["abort", "exit", "hang"],
)
def test_programs_that_end_the_process_are_set_aside(
    provider: Callable[..., Path], what: str, signature: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge, "_HANG_TRIALS", 4)
    source = provider(_FATAL % what, alloc_netmems="fatal")
    target = Target(provider=source, sanitize=False)
    fatal, good = [ALLOC, ALLOC + b"\x0b"], [SCRUB, SCRUB + SCRUB[8:]]
    found = minimise(target, [*fatal, *good])
    assert {aside.program for aside in found.set_aside} == set(fatal)
    assert {aside.trial.signature for aside in found.set_aside} == {signature}
    assert set(found.programs) <= set(good)
    assert found.programs
    finding = finding_of(target, SetAside(fatal[1], found.set_aside[0].trial))
    assert finding.is_shown
    assert (finding.trial.signature, finding.trial.operations) == (signature, 1)


def test_process_that_ends_once_is_no_finding(
    provider: Callable[..., Path], tmp_path: Path
) -> None:
    """Whatever ended it, a program that comes to its end when it is asked alone is measured."""
    once = f'if (!access("{tmp_path}/end", F_OK)) {{ unlink("{tmp_path}/end"); abort(); }}'
    target = Target(provider=provider(_FATAL % once, alloc_netmems="fatal"), sanitize=False)
    whole = minimise(target, [ALLOC, SCRUB])
    (tmp_path / "end").touch()
    assert minimise(target, [ALLOC, SCRUB]) == whole
    assert not (tmp_path / "end").exists()
    assert whole.set_aside == ()


# ---- by the command line ------------------------------------------------------------------


def _contents(folder: Path) -> set[bytes]:
    return {path.read_bytes() for path in folder.iterdir()}


def test_command_merges_folders_into_a_new_one(
    call: Callable[..., Any], many: list[bytes], merged: Merged, tmp_path: Path
) -> None:
    for number, program in enumerate(many):
        folder = tmp_path / f"part{number % 2}"
        folder.mkdir(exist_ok=True)
        (folder / str(number)).write_bytes(program)
    arguments = ["fuzz", "--fast", "--merge", "part0", "--merge", "part1", "--corpus", "out"]
    answer = call(*arguments, "--json", "summary.json")
    assert answer.code == 0, answer
    assert f"{len(many)} programs by our provider: {len(merged.programs)} kept" in answer.stdout
    assert _contents(tmp_path / "out") == set(merged.programs)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["given"], summary["kept"]) == (len(many), len(merged.programs))
    assert (summary["edges"], summary["findings"]) == (merged.reached.edges, [])
    again = call(*arguments)
    assert (again.code, len(again.stderr.splitlines())) == (2, 1)
    assert "corpus: 'out' is not allowed; name a folder that is new or empty" in again.stderr


def test_command_names_what_is_no_program_and_keeps_findings(
    call: Callable[..., Any], tmp_path: Path
) -> None:
    given = tmp_path / "given"
    given.mkdir()
    for path in sorted(CORPUS.parent.joinpath("findings").glob("*.json")):
        (given / path.name).write_bytes(path.read_bytes())
    (given / "words").write_text("no program, but a text that somebody left")
    (given / "cut.finding.json").write_text('{"format": "zcrx-emu fuzz finding", "version": 1')
    os.utime(given / "cut.finding.json", (0, 0))  # no command has written it
    os.mkfifo(given / "fifo")
    answer = call(
        "fuzz", "--fast", "--bug", "bound-off-by-one", "--merge", "given", "--corpus", "out",
        "--findings", "found", "--json", "summary.json",
    )  # fmt: skip
    assert answer.code == 1, answer
    assert "given/words: not as programs are written" in answer.stdout
    assert "given/fifo: left out: it is no regular file" in answer.stdout
    assert "given/cut.finding.json: left out" in answer.stdout
    assert "2 files could not be read and are left out" in answer.stderr
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["foreign"] == ["given/words"]
    assert [item["file"] for item in summary["unread"]] == ["given/cut.finding.json", "given/fifo"]
    found = [read_finding(tmp_path / item["file"]) for item in summary["findings"]]
    assert {finding.trial.signature for finding in found} >= {
        "verdict:bad_index:no_user_ref", "alias:alloc",
    }  # fmt: skip
    assert {path.name for path in (tmp_path / "found").iterdir()} == {
        Path(item["file"]).name for item in summary["findings"]
    }
    assert summary["set_aside"] >= len(found)
    assert summary["kept"] == len(list((tmp_path / "out").iterdir()))


def test_findings_that_cannot_be_written_are_told_all_the_same(
    call: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "found").write_text("a file in the place of the folder")
    answer = call(
        "fuzz", "--fast", "--bug", "bound-off-by-one", "--corpus", "out", "--findings", "found",
        "--merge", str(CORPUS.parent / "findings"),
    )  # fmt: skip
    assert answer.code == 1, answer
    assert "alias:alloc" in answer.stdout
    assert "findings: 'found' cannot be written" in answer.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--merge", "nowhere", "--corpus", "out"], "merge: 'nowhere' is not allowed"),
        (["--merge", "empty", "--corpus", "out"], "there must be programs in it"),
        (["--merge", str(CORPUS)], "corpus: --merge needs one"),
        (["--merge", str(CORPUS), "--corpus", "a-file"], "corpus: 'a-file' cannot be written"),
        (["--merge", str(CORPUS), "--corpus", "out", "--time", "-1"], "time: -1.0 "),
        (["--merge", str(CORPUS), "--corpus", "out", "--report", "a.html"], "report: "),
    ],
)
def test_wrong_use_is_a_line_and_leaves_nothing(
    call: Callable[..., Any], tmp_path: Path, arguments: list[str], words: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a-file").touch()
    answer = call("fuzz", *arguments)
    assert answer.code == 2, answer
    assert len(answer.stderr.splitlines()) == 1, answer.stderr
    assert words in answer.stderr
    assert not (tmp_path / "out").exists()
