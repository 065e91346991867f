"""Diffs go where they were meant to, or nowhere."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.bugs.patch import PatchError, make_patch, read_patch

SOURCE = """\
#include "a.h"

static int first(int x)
{
	if (x < 0)
		return -1;
	return x;
}

static int second(int x)
{
	if (x < 0)
		return -1;
	return x + 1;
}

int third(int x)
{
	x = first(x);
	x = second(x);
	return x;
}
"""


def _apply(patch: str, text: str) -> str:
    (part,) = read_patch(patch)
    return part.apply(text)


_IN_SECOND = SOURCE.replace("return x + 1;", "return x + 2;")


def test_change_is_made_where_it_was() -> None:
    patch = make_patch("a.c", SOURCE, _IN_SECOND)
    assert read_patch(patch)[0].file == "a.c"
    assert "@@ static int second(int x)" in patch
    assert _apply(patch, SOURCE) == _IN_SECOND


def test_change_is_made_where_its_context_has_moved_to() -> None:
    patch = make_patch("a.c", SOURCE, _IN_SECOND)
    moved = "/* one line more */\n" * 7
    assert _apply(patch, moved + SOURCE) == moved + _IN_SECOND


@pytest.mark.parametrize("line", ["\tif (x < 0)\n", "int third(int x)"])
def test_context_may_have_changed_a_little(line: str) -> None:
    """Two lines at either end: of the three that are there one is left."""
    at = SOURCE.rindex(line)
    other = SOURCE[:at] + line.replace("x", "y") + SOURCE[at + len(line) :]
    patch = make_patch("a.c", SOURCE, _IN_SECOND)
    assert _apply(patch, other) == other.replace("return x + 1;", "return x + 2;")


def test_what_fits_two_places_goes_into_the_function_that_it_names() -> None:
    twice = SOURCE.replace("return x + 1;", "return x;")
    wanted = "static int second(int x)\n{\n\tif (x < 1)"
    patch = make_patch("a.c", twice, twice.replace(wanted.replace("1", "0"), wanted))
    # Without the line that tells the two apart.
    lines = [line for line in patch.splitlines() if line not in (" static int second(int x)", " ")]
    patch = "\n".join(lines) + "\n"
    moved = "/* one line more */\n\n" + twice
    assert wanted in _apply(patch, moved)
    with pytest.raises(PatchError, match=r"^hunk 1 of a\.c \(line 9, \?\) fits nowhere, or more"):
        _apply(patch.replace("@@ static int second(int x)", "@@"), moved)


@pytest.mark.parametrize(
    "other", ["", "nothing\n", SOURCE.replace("x + 1", "x + 3")], ids=["empty", "other", "changed"]
)
def test_change_of_what_is_not_there_is_refused(other: str) -> None:
    with pytest.raises(PatchError, match=r"hunk 1 of a\.c"):
        _apply(make_patch("a.c", SOURCE, _IN_SECOND), other)


def test_hunks_are_put_in_their_order() -> None:
    text = "".join(f"line {number}\n" for number in range(60))
    new = text.replace("line 5\n", "").replace("line 40\n", "line 40\nline 40.5\n")
    patch = make_patch("a.c", text, new)
    assert len(read_patch(patch)[0].hunks) == 2
    assert _apply(patch, text) == new


def test_two_files_are_two_parts() -> None:
    patch = (
        "what it is about\n\n" + make_patch("a.c", "1\n", "2\n") + make_patch("b.h", "3\n", "4\n")
    )
    assert [part.file for part in read_patch(patch)] == ["a.c", "b.h"]


@pytest.mark.parametrize(
    "text",
    ["", "no diff\n", "--- a/x\n+++ b/x\n", "--- a/x\n+++ b/x\n@@ x @@\n", "--- a/x\n",
     "--- a/x\n+++ b/x\n@@ -1 +1 @@\n*odd\n"],
)  # fmt: skip
def test_what_is_no_diff_is_refused(text: str) -> None:
    with pytest.raises(PatchError):
        read_patch(text)


def test_nothing_changed_is_no_diff() -> None:
    assert make_patch("a.c", SOURCE, SOURCE) == ""


_LINES = st.lists(st.sampled_from(["a", "b", "c", "\td", ""]), min_size=1, max_size=30)


@given(old=_LINES, new=_LINES)
def test_what_was_made_applies(old: list[str], new: list[str]) -> None:
    before, after = ("".join(f"{line}\n" for line in lines) for lines in (old, new))
    patch = make_patch("a.c", before, after)
    if patch:
        assert _apply(patch, before) == after


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
@given(old=_LINES, new=_LINES)
def test_git_makes_the_same_of_it(
    old: list[str], new: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    before, after = ("".join(f"{line}\n" for line in lines) for lines in (old, new))
    folder: Path = tmp_path_factory.mktemp("git")
    (folder / "a.c").write_text(before)
    patch = make_patch("a.c", before, after)
    if patch:
        command = ["git", "apply", "--unidiff-zero", "-"]
        subprocess.run(command, input=patch, text=True, check=True, cwd=folder)
    assert (folder / "a.c").read_text() == after
