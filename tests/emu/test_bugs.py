"""Seeded bugs: each is still a change of the sources that compiles, and can be named."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emu.bugs import (
    CONTENT_BUGS,
    RACING_BUGS,
    Bug,
    StaleBugError,
    find_bug,
    level_for,
    read_bug,
)
from emu.compile.ondemand import core_sources
from emu.compile.toolchain import any_compiler
from emu.contract import EXPERIMENTAL, LEVELS, SEED
from emu.errors import ConfigError

_BUGS = [*CONTENT_BUGS.values(), *RACING_BUGS.values()]
ALL = pytest.mark.parametrize("bug", _BUGS, ids=lambda bug: bug.name)
#: Files that see every header in which a bug may lie.
_READERS = ("kernel/provider.c", "kernel/page_pool.c", "fuzz/subject.c")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("bugs") / "cext"
    shutil.copytree(core_sources(), copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def _check(sources: Path, names: list[str]) -> str:
    """What the compiler says about files, with the flags that the harness is built with."""
    flags = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", f"-I{sources}", f"-I{sources / 'fuzz'}"]
    flags.append("-DZCRX_POINT_HEADER=<fuzz/points.h>")
    files = [str(sources / name) for name in names]
    command = [any_compiler().path, "-fsyntax-only", *flags, *files]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


@ALL
def test_bug_applies_and_compiles(bug: Bug, pristine: Path) -> None:
    kept = {name: (pristine / name).read_bytes() for name in bug.files}
    try:
        bug.apply(pristine)
        assert all((pristine / name).read_bytes() != text for name, text in kept.items())
        headers = any(name.endswith(".h") for name in kept)
        sources = {name for name in kept if name.endswith(".c")}
        assert _check(pristine, sorted(sources.union(_READERS if headers else ()))) == ""
    finally:
        for name, text in kept.items():
            (pristine / name).write_bytes(text)


@ALL
def test_bug_is_told_in_a_sentence(bug: Bug) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", bug.name)
    assert len(bug.name) <= 32
    assert re.fullmatch(r"[a-z].{20,200}[^.]", bug.explanation)


@ALL
def test_what_is_read_is_written_the_same(bug: Bug) -> None:
    assert read_bug(bug.name, bug.text) == bug


def test_every_bug_has_its_own_name_and_change() -> None:
    assert CONTENT_BUGS.keys().isdisjoint(RACING_BUGS)
    for bugs in (CONTENT_BUGS, RACING_BUGS):
        assert len({bug.patch for bug in bugs.values()}) == len(bugs)
    assert len({bug.explanation for bug in _BUGS}) == len(_BUGS)


def test_bug_that_does_not_fit_any_more_is_an_error(pristine: Path) -> None:
    """Of two files neither is touched then."""
    bug = CONTENT_BUGS["pad-ignored"]
    gone = "--- a/kernel/area.c\n+++ b/kernel/area.c\n@@ -1,2 +1,2 @@\n-no such line\n+another\n"
    both = Bug("both", "nothing", bug.patch + gone)
    before = {path: path.read_bytes() for path in pristine.rglob("*.c")}
    with pytest.raises(StaleBugError, match=r"^bug: 'both' does not fit: hunk 1 of kernel/area\.c"):
        both.apply(pristine)
    assert {path: path.read_bytes() for path in pristine.rglob("*.c")} == before


def test_bug_of_a_file_that_is_gone_is_an_error(pristine: Path) -> None:
    patch = "--- a/gone.c\n+++ b/gone.c\n@@ -1 +1 @@\n-old\n+new\n"
    with pytest.raises(StaleBugError, match=r"'far' does not fit: .*gone\.c"):
        Bug("far", "nothing", patch).apply(pristine)


@ALL
def test_bug_shows_at_levels_that_there_are(bug: Bug) -> None:
    assert list(bug.kernels) == sorted(bug.kernels, key=[*LEVELS, *EXPERIMENTAL].index)
    assert SEED not in bug.kernels


@pytest.mark.parametrize("text", ["", "a sentence", "Memory: tso\n\n--- a/x\n"])
def test_file_without_its_sentence_is_an_error(text: str) -> None:
    with pytest.raises(StaleBugError, match="'odd' lacks its sentence"):
        read_bug("odd", text)


def test_fields_of_a_racing_bug_are_read() -> None:
    bug = read_bug("name", "what is\nwrong here\nScenario: cut-vs-refill\nMemory: c11\n\n--- a/x\n")
    assert (bug.explanation, bug.scenario, bug.memory) == (
        "what is wrong here", "cut-vs-refill", "c11",
    )  # fmt: skip


def test_levels_of_a_bug_are_read() -> None:
    bug = read_bug("name", "what is wrong\nKernel: 7.1 7.3\n\n--- a/x\n")
    assert bug.kernels == ("7.1", "7.3")
    assert level_for(bug, None) == "7.1"
    assert level_for(bug, "7.3") == "7.3"
    with pytest.raises(
        ConfigError, match=r"^kernel: '6\.18' .*; the bug name shows at 7\.1, 7\.3$"
    ):
        level_for(bug, "6.18")


def test_experimental_level_is_refused_by_name_where_it_is_not_played() -> None:
    bug = RACING_BUGS["refs-taken-before-tail"]
    assert level_for(bug, None, experimental=True) == "refs-cache"
    for asked in (None, "refs-cache"):
        with pytest.raises(
            ConfigError, match=r"^kernel: 'refs-cache' .*; it is experimental: only"
        ):
            level_for(bug, asked)


def test_bug_without_levels_is_played_at_any() -> None:
    bug = CONTENT_BUGS["pad-ignored"]
    assert (level_for(bug, None), level_for(bug, "7.3"), level_for(None, None)) == (
        SEED, "7.3", SEED,
    )  # fmt: skip
    with pytest.raises(
        ConfigError, match=r"^kernel: '2\.4' is not allowed; it must be one of seed"
    ):
        level_for(bug, "2.4")


def test_bug_is_not_fuzzed_at_a_level_that_hides_it(call: Callable[..., Any]) -> None:
    ended = call("fuzz", "--bug", "run-taken-in-part", "--kernel", "7.1")
    assert (ended.code, ended.stdout) == (2, "")
    assert ended.stderr == (
        "zcrx-emu: error: kernel: '7.1' is not allowed; the bug run-taken-in-part shows at 7.3\n"
    )


def test_bug_is_found_by_name() -> None:
    assert find_bug("pad-ignored", CONTENT_BUGS) is CONTENT_BUGS["pad-ignored"]


def test_unknown_bug_is_answered_with_near_names() -> None:
    with pytest.raises(ConfigError, match=r"^bug: .*'pad-ignord'.*pad-ignored"):
        find_bug("pad-ignord", CONTENT_BUGS)


def test_name_like_no_other_is_answered_with_some_that_exist() -> None:
    with pytest.raises(ConfigError) as raised:
        find_bug("zzz", CONTENT_BUGS)
    assert any(name in str(raised.value) for name in CONTENT_BUGS)


def test_name_that_leads_out_of_the_folder_is_unknown() -> None:
    with pytest.raises(ConfigError, match=r"^bug: '../racing"):
        find_bug("../racing/two-scrubs", CONTENT_BUGS)
