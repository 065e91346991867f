"""Findings as files: written, read, refused when damaged, turned into tests."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emu.bugs import CONTENT_BUGS
from emu.errors import ConfigError
from emu.fuzz.finding import Finding, emitted_test, is_finding, read_finding, read_program
from emu.fuzz.harness import Execution, Harness, OperationRun, Target

BUG = CONTENT_BUGS["bound-off-by-one"]
BUGGY = Target(bug=BUG, sanitize=False)
#: 4 buffers, a refill ring of 4; an entry that names the fifth buffer, and a refill.
PROGRAM = (
    bytes([3, 2, 7, 0, 0, 0, 0, 0, 5, 0]) + (4 << 12).to_bytes(8, "little") + bytes(8) + bytes([11])
)
PAST = sorted((Path(__file__).parent / "findings").glob("*.finding.json"))
SETTINGS = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def finding() -> Finding:
    """A seeded bug, found."""
    harness = Harness(BUGGY)
    short, _, trial = harness.minimise(PROGRAM)
    return Finding(short, BUGGY, trial, found_by={"engine": "by hand"})


@pytest.fixture
def path(finding: Finding, tmp_path: Path) -> Path:
    """The same as a file."""
    return finding.write(tmp_path)


def check_refused(path: Path, *words: str) -> None:
    """Reading it gives one line that names the file and says why."""
    with pytest.raises(ConfigError) as error:
        read_finding(path)
    text = str(error.value)
    assert len(text.splitlines()) == 1
    assert len(text) < 600
    for word in words:
        assert word in text


def test_sanitizer_sees_what_is_read_behind_an_array() -> None:
    """The harness is not sanitized; the zones around the provider's arrays are poisoned by it."""
    trial = Harness(Target(bug=BUG)).run(PROGRAM)
    assert trial.signature == "asan:use-after-poison"


def test_finding_comes_back_as_it_was_written(finding: Finding, path: Path) -> None:
    back = read_finding(path)
    assert back.program == finding.program
    assert back.target == finding.target
    for name in ("outcome", "shape", "signature", "what", "operations"):
        assert getattr(back.trial, name) == getattr(finding.trial, name)
    assert read_program(path) == (finding.program, (), finding.target)
    assert is_finding(path)


@SETTINGS
@given(
    program=st.binary(max_size=300),
    before=st.lists(st.binary(max_size=60), max_size=4).map(tuple),
    target=st.builds(
        Target,
        bug=st.none(),
        provider=st.none() | st.text(st.characters(codec="utf-8"), min_size=1).map(Path),
        sanitize=st.booleans(),
    ),
    trial=st.builds(
        Execution,
        outcome=st.sampled_from(["finding", "crash", "hang"]),
        shape=st.text(),
        signature=st.text(min_size=1),
        what=st.text(),
        operations=st.integers(0, 128),
        steps=st.tuples(
            st.builds(OperationRun, st.integers(0, 127), st.text(), st.text(), st.text())
        ),
    ),
)
def test_any_finding_comes_back(
    program: bytes, before: tuple[bytes, ...], target: Target, trial: Execution, tmp_path: Path
) -> None:
    finding = Finding(program, target, trial, before, bool(before))
    back = read_finding(finding.write(tmp_path))
    place = None if target.provider is None else target.provider.absolute()
    assert (back.program, back.target) == (program, replace(target, provider=place))
    assert (back.before, back.is_shown) == (before, bool(before))
    assert (back.trial.signature, back.trial.what) == (trial.signature, trial.what)


#: By themselves they show it; cut down among others, or behind the last step, they did not.
CUT_DOWN = {
    # Index 63: two entries that are rejected, and one that is not.
    "log-by-ring-index": bytes([3, 2, 7, 0, 63, 0, 0, 0, 5, 1])
    + bytes(16)
    + bytes([0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 11]),
    # An entry that names area 1, and later there is such an area.
    "area-behind-the-last": bytes([3, 2 + 9 * 5, 7, 0, 0, 0, 0, 0, 5, 0])
    + (1 << 48).to_bytes(8, "little")
    + bytes(8)
    + bytes([11, 26, 0]),
}


@pytest.mark.parametrize("bug", CUT_DOWN)
def test_program_that_was_cut_down_shows_the_same_by_itself(bug: str) -> None:
    harness = Harness(Target(bug=CONTENT_BUGS[bug], sanitize=False))
    short, _, trial = harness.minimise(CUT_DOWN[bug])
    assert trial.signature == harness.run(CUT_DOWN[bug]).signature != ""
    assert trial.signature == harness.run(short).signature


def test_minimised_finding_is_short(finding: Finding) -> None:
    assert finding.trial.outcome == "finding"
    assert finding.trial.operations == 2
    assert [step.operation.split()[0] for step in finding.trial.steps] == ["push", "refill"]


# ---- what is refused --------------------------------------------------------------------------


def test_missing_file_is_refused(tmp_path: Path) -> None:
    check_refused(tmp_path / "no.finding.json", "no.finding.json", "No such file")


def test_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "a.finding.json"
    folder.mkdir()
    check_refused(folder, "directory")


@SETTINGS
@given(data=st.data())
def test_file_cut_at_any_byte_is_refused(data: st.DataObject, path: Path) -> None:
    whole = path.read_bytes()
    # The last byte is a newline, which nobody misses.
    kept = data.draw(st.integers(0, len(whole) - 2))
    cut = path.with_name("cut.finding.json")
    cut.write_bytes(whole[:kept])
    check_refused(cut, "cut off")


@SETTINGS
@given(data=st.data())
def test_any_changed_byte_is_refused_or_read(data: st.DataObject, path: Path) -> None:
    """Nobody can foresee what a byte more or less makes of the file: but never a traceback."""
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    changed = path.with_name("changed.finding.json")
    changed.write_bytes(content)
    with contextlib.suppress(ConfigError):
        read_finding(changed)


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b"[" * 100_000, b"{} {}", b"nonsense", b'{"format": '],
    ids=["empty", "no text", "deep", "twice", "no JSON", "cut"],
)
def test_what_is_no_json_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.finding.json"
    path.write_bytes(content)
    check_refused(path, "not whole JSON")


@pytest.mark.parametrize("content", ["[]", "1", "null", "{}", '{"format": "else"}', '"x"'])
def test_other_json_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "a.finding.json"
    path.write_text(content)
    check_refused(path, "is no finding")


DELETED = object()
CHANGES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "format": ({"format": "zcrx-emu run"}, ("is no finding",)),
    "version": ({"version": 2}, ("version 2", "reads version 1")),
    "version as text": ({"version": "1"}, ("version '1'",)),
    "codec": ({"codec": 99}, ("codec 99", "reads codec 1")),
    "no codec": ({"codec": DELETED}, ("codec None",)),
    "edited program": ({"program": "00" * 20}, ("digest",)),
    "no hex": ({"program": "xyz"}, ("damaged",)),
    "program as number": ({"program": 5}, ("'program'", "type")),
    "no program": ({"program": DELETED}, ("'program'", "missing")),
    "no digest": ({"sha256": DELETED}, ("'sha256'", "missing")),
    "other digest": ({"sha256": "0" * 64}, ("digest",)),
    "no target": ({"target": DELETED}, ("'target'", "missing")),
    "target as list": ({"target": []}, ("'target'", "type")),
    "operations as text": ({"operations": "2"}, ("'operations'", "type")),
    "operations without end": ({"operations": float("inf")}, ("'operations'", "type")),
    "shape as number": ({"shape": 3}, ("'shape'", "type")),
    "no outcome": ({"outcome": DELETED}, ("'outcome'", "missing")),
}
TARGETS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "unknown bug": ({"bug": "bound-of-by-one"}, ("bound-of-by-one", "bound-off-by-one")),
    "bug as number": ({"bug": 5}, ("'bug'", "type")),
    "bug as object": ({"bug": {}}, ("'bug'", "type")),
    "provider as number": ({"provider": 5}, ("'provider'", "type")),
    "sanitize as text": ({"sanitize": "yes"}, ("'sanitize'", "type")),
    "no sanitize": ({"sanitize": DELETED}, ("'sanitize'", "missing")),
}


def _changed(content: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = {**content, **changes}
    return {name: value for name, value in merged.items() if value is not DELETED}


@pytest.mark.parametrize("case", CHANGES)
def test_edited_file_is_refused(case: str, path: Path) -> None:
    changes, words = CHANGES[case]
    path.write_text(json.dumps(_changed(json.loads(path.read_text()), changes)))
    check_refused(path, *words)


@pytest.mark.parametrize("case", TARGETS)
def test_edited_target_is_refused(case: str, path: Path) -> None:
    changes, words = TARGETS[case]
    content = json.loads(path.read_text())
    content["target"] = _changed(content["target"], changes)
    path.write_text(json.dumps(content))
    check_refused(path, *words)


def test_refused_finding_is_one_line_of_the_command(path: Path, call: Callable[..., Any]) -> None:
    path.write_bytes(path.read_bytes()[:-20])
    os.utime(path, (0, 0))  # no command has written it
    for arguments in (["replay", str(path)], ["fuzz", "--minimize", str(path)]):
        answer = call(*arguments)
        assert answer.code == 2
        assert answer.stdout == ""
        assert len(answer.stderr.splitlines()) == 1
        assert "cut off" in answer.stderr


# ---- replayed ---------------------------------------------------------------------------------


def test_replay_shows_the_finding(path: Path, call: Callable[..., Any]) -> None:
    answer = call("replay", str(path))
    assert answer.code == 1
    assert "verdict" in answer.stdout
    assert "push" in answer.stdout


def test_replay_says_when_nothing_is_found_any_more(path: Path, call: Callable[..., Any]) -> None:
    content = json.loads(path.read_text())
    content["target"]["bug"] = None
    path.write_text(json.dumps(content))
    answer = call("replay", str(path))
    assert answer.code == 0
    assert "no finding" in answer.stdout


@pytest.mark.parametrize("past", PAST, ids=lambda past: past.name)
def test_past_finding_is_clean_today(past: Path) -> None:
    """Against our provider, whatever was attacked then."""
    trial = Harness(Target()).run(read_finding(past).program)
    assert trial.is_clean, f"{trial.signature}: {trial.what}"


def test_there_are_past_findings() -> None:
    assert PAST


# ---- as a test --------------------------------------------------------------------------------


def _pytest(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir",
         str(path.parent), str(path)],
        capture_output=True, text=True, check=False, cwd=path.parent,
    )  # fmt: skip


def _check_style(path: Path) -> None:
    root = Path(__file__).parents[2]
    ruff, settings_file = Path(sys.executable).with_name("ruff"), root / "pyproject.toml"
    for arguments in (["check"], ["format", "--check", "--diff"]):
        process = subprocess.run(
            [ruff, *arguments, "--no-cache", "--config", settings_file, path],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert process.returncode == 0, f"{process.stdout}{process.stderr}\n{path.read_text()}"


def test_emitted_test_fails_with_the_bug_and_passes_without(
    finding: Finding, tmp_path: Path
) -> None:
    path = tmp_path / "test_emitted.py"
    text = emitted_test(finding)
    path.write_text(text)
    _check_style(path)
    failed = _pytest(path)
    assert failed.returncode == 1, failed.stdout
    assert "1 failed" in failed.stdout
    # The whole program, step by step.
    assert "AssertionError: " + finding.trial.signature in failed.stdout
    for step in finding.trial.steps:
        assert step.operation in failed.stdout
    path.write_text(text.replace(f', bug="{BUG.name}"', ""))
    assert path.read_text() != text
    passed = _pytest(path)
    assert passed.returncode == 0, passed.stdout
    assert "1 passed" in passed.stdout


AWKWARD = Execution(
    outcome="crash",
    shape="2 queue(s) of 256 buffer(s), " + "refill ring of 256 from index 4294967295, " * 3,
    steps=(OperationRun(0, "push 12 times off=0xffffffffffffffff len=4294967295 " * 3, "", ""),
           OperationRun(1, 'a """ and a \\ and a "', "", "")),
    signature="crash:SEGV",
    meaning="the process was killed by SIGSEGV",
    what='it said "no" ' * 12,
    expected="the operation ends",
    actual='it ended the process"',
)  # fmt: skip


@pytest.mark.parametrize("size", [0, 8, 36, 37, 38, 46, 47, 48, 200, 2568])
@pytest.mark.parametrize(
    "target", [Target(), Target(provider=Path("a'\"b/provider.c"), sanitize=False)], ids=str
)
@pytest.mark.parametrize("before", [(), (b"",), (b"\x11" * 40, b"\x22" * 400)], ids=len)
def test_emitted_test_is_formatted_whatever_is_in_it(
    size: int, target: Target, before: tuple[bytes, ...], tmp_path: Path
) -> None:
    path = tmp_path / "test_emitted.py"
    path.write_text(emitted_test(Finding(b"\xa5" * size, target, AWKWARD, before)))
    _check_style(path)


@pytest.mark.long
def test_emitted_test_runs_what_must_come_before(finding: Finding, tmp_path: Path) -> None:
    """Of our provider nothing is left between programs: the finding shows all the same."""
    path = tmp_path / "test_emitted.py"
    path.write_text(emitted_test(dataclasses.replace(finding, before=(b"\0" * 20,))))
    assert "BEFORE = [" in path.read_text()
    ended = _pytest(path)
    assert ended.returncode == 1
    assert finding.trial.signature in ended.stdout


@pytest.mark.long
def test_emitted_test_names_a_provider(finding: Finding, tmp_path: Path) -> None:
    path = tmp_path / "test_emitted.py"
    target = Target(provider=Path("long" * 14) / "provider.c", sanitize=False)
    path.write_text(emitted_test(Finding(finding.program, target, finding.trial)))
    _check_style(path)
    assert "name the C source (*.c) of a provider, or a shared library" in _pytest(path).stdout
    path.write_text(emitted_test(Finding(finding.program, target, finding.trial), tmp_path))
    _check_style(path)
    assert "name the C source (*.c) of a provider, or a shared library" in _pytest(path).stdout
