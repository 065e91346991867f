"""Look after the seeded bugs: ``python -m tools.bugs`` says which have moved, ``--write`` follows.

A bug is a diff (``emu/bugs/KIND/NAME.patch``). When the core changes, one whose place has moved
still applies; written anew it has the present lines and context again, so that it survives the
next change, too. One that does not apply any more is merged if ``--base`` names a revision at which
it did; what conflicts, or means something else by now, must be made again by hand: change the core,
put ``git diff --relative=cext`` behind the sentence in its file, and take the change back.

Exit code 1 if one does not apply.
"""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from emu.bugs import CONTENT_BUGS, RACING_BUGS, Bug
from emu.bugs.patch import PatchError, make_patch, read_patch
from emu.cli import run_function
from emu.compile.ondemand import core_sources

FOLDER = Path(__file__).parents[1] / "emu" / "bugs"


def made_anew(bug: Bug, sources: Path) -> str:
    """The bug's diff against the present sources.

    Raises:
        PatchError: It does not apply.
        OSError: A file is gone.
    """
    made = []
    for part in read_patch(bug.patch):
        text = (sources / part.file).read_text(encoding="utf-8")
        made.append(make_patch(part.file, text, part.apply(text)))
    return "".join(made)


def merged(bug: Bug, sources: Path, base: str) -> str:
    """The bug's diff against the present sources, by way of those of a revision.

    Raises:
        PatchError: It did not apply there either, or conflicts.
    """
    made = []
    for part in read_patch(bug.patch):
        shown = subprocess.run(
            ["git", "show", f"{base}:./{part.file}"],
            cwd=sources, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if shown.returncode:
            raise PatchError(shown.stderr.strip())
        text = (sources / part.file).read_text(encoding="utf-8")
        with tempfile.TemporaryDirectory(prefix="bugs-") as folder:
            sides = [Path(folder) / name for name in ("present", "base", "bug")]
            for path, side in zip(
                sides, (text, shown.stdout, part.apply(shown.stdout)), strict=True
            ):
                path.write_text(side, encoding="utf-8")
            both = subprocess.run(
                ["git", "merge-file", "-p", *sides], capture_output=True, text=True, check=False
            )
        if both.returncode:
            raise PatchError(f"{part.file}: it conflicts with what has changed since {base}")
        made.append(make_patch(part.file, text, both.stdout))
    return "".join(made)


def _present(bug: Bug, base: str | None) -> str:
    try:
        return made_anew(bug, core_sources())
    except (OSError, PatchError):
        if base is None:
            raise
        return merged(bug, core_sources(), base)


def main(
    write: Annotated[bool, typer.Option("--write", help="Write them anew.")] = False,
    base: Annotated[
        str | None, typer.Option(help="A revision at which all applied: merge from there.")
    ] = None,
) -> None:
    """Say which seeded bugs have moved, and which do not apply any more."""
    console = Console()
    moved = stale = 0
    for kind, bugs in (("content", CONTENT_BUGS), ("racing", RACING_BUGS)):
        for bug in bugs.values():
            try:
                patch = _present(bug, base)
            except (OSError, PatchError) as error:
                console.print(f"{kind}/{bug.name}: {error}", markup=False, soft_wrap=True)
                stale += 1
                continue
            if patch == bug.patch:
                continue
            moved += 1
            if write:
                bug = replace(bug, patch=patch)
                (FOLDER / kind / f"{bug.name}.patch").write_text(bug.text, encoding="utf-8")
            else:
                console.print(f"{kind}/{bug.name}: moved", markup=False, soft_wrap=True)
    total = len(CONTENT_BUGS) + len(RACING_BUGS)
    console.print(f"{total} bugs: {moved} moved{' (written)' if write else ''}, {stale} stale")
    if stale:
        raise typer.Exit(1)


if __name__ == "__main__":
    run_function(main, "bugs")
