"""Seeded bugs: each is still a change of the sources that compiles, and can be named."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from emu.bugs import Bug, StaleBugError, find_bug
from emu.bugs.content import _BUGS, CONTENT_BUGS
from emu.errors import ConfigError
from emu.ondemand import core_sources
from emu.toolchain import any_compiler

ALL = pytest.mark.parametrize("bug", _BUGS, ids=lambda bug: bug.name)
#: Files that see every header in which a bug may lie.
_READERS = ("provider.c", "page_pool.c")


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
    kept = (pristine / bug.file).read_bytes()
    try:
        bug.apply(pristine)
        assert (pristine / bug.file).read_bytes() != kept
        assert _check(pristine, [bug.file] if bug.file.endswith(".c") else [*_READERS]) == ""
    finally:
        (pristine / bug.file).write_bytes(kept)


@ALL
def test_bug_is_told_in_a_sentence(bug: Bug) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", bug.name)
    assert len(bug.name) <= 32
    assert re.fullmatch(r"[a-z].{20,200}[^.]", bug.explanation)


def test_every_bug_has_its_own_name_and_change() -> None:
    assert len(CONTENT_BUGS) == len(_BUGS)
    assert len({(bug.file, bug.old, bug.new) for bug in _BUGS}) == len(_BUGS)
    assert len({bug.explanation for bug in _BUGS}) == len(_BUGS)


def test_bug_that_does_not_fit_any_more_is_an_error(pristine: Path) -> None:
    gone = Bug("gone", "nothing", "provider.c", "no such text", "")
    twice = Bug("twice", "nothing", "provider.c", "return", "")
    before = (pristine / "provider.c").read_bytes()
    with pytest.raises(StaleBugError, match=r"'gone' does not fit provider.c: .* 0 times"):
        gone.apply(pristine)
    with pytest.raises(StaleBugError, match=r"'twice' does not fit provider.c"):
        twice.apply(pristine)
    assert (pristine / "provider.c").read_bytes() == before


def test_bug_is_found_by_name() -> None:
    assert find_bug("pad-ignored", CONTENT_BUGS) is CONTENT_BUGS["pad-ignored"]


def test_unknown_bug_is_answered_with_near_names() -> None:
    with pytest.raises(ConfigError, match=r"^bug: .*'pad-ignord'.*pad-ignored"):
        find_bug("pad-ignord", CONTENT_BUGS)


def test_name_like_no_other_is_answered_with_some_that_exist() -> None:
    with pytest.raises(ConfigError) as raised:
        find_bug("zzz", CONTENT_BUGS)
    assert any(name in str(raised.value) for name in CONTENT_BUGS)
