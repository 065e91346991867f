"""``zcrx-emu fuzz --merge``: folders of programs in, one folder out."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from emu.errors import ConfigError, EnvironmentProblem
from emu.fuzz.campaign import folder_for
from emu.fuzz.engine import PROGRAM_BYTES
from emu.fuzz.finding import finding_as_dict, is_finding, read_finding
from emu.fuzz.harness import Target
from emu.fuzz.merge import Merged, SetAside, finding_of, minimise
from emu.fuzz.view import print_finding

#: Of files that are no programs so many are named on the screen; all of them are in the JSON.
_NAMED = 20


class _Folders:
    """The programs of several folders, and what else is in there."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.files: dict[bytes, list[Path]] = {}
        self.unread: list[tuple[Path, str]] = []
        for folder in folders:
            if not folder.is_dir():
                raise ConfigError.of("merge", str(folder), "name a folder that exists")
            self._read(folder)
        if not self.files:
            names = ", ".join(map(str, folders))
            raise ConfigError.of("merge", names, "there must be programs in it; fuzz first")

    def _read(self, folder: Path) -> None:
        try:
            entries = sorted(folder.iterdir())
        except OSError as error:
            self.unread.append((folder, error.strerror or str(error)))
            return
        for path in entries:
            if path.name.startswith("."):  # engines keep notes there
                continue
            try:
                program = _program_in(path)
            except (ConfigError, OSError) as error:
                why = error.strerror if isinstance(error, OSError) else str(error)
                self.unread.append((path, why or str(error)))
                continue
            self.files.setdefault(program, []).append(path)

    def of(self, programs: Sequence[bytes]) -> list[Path]:
        """The files that these are from."""
        return sorted(path for program in programs for path in self.files[program])


def _program_in(path: Path) -> bytes:
    """A file's program, be it a finding; of what is longer than any program, a byte more."""
    if not path.is_file():
        raise ConfigError("it is no regular file")
    if is_finding(path):
        return read_finding(path).program
    with path.open("rb") as file:
        return file.read(PROGRAM_BYTES + 1)


def merge_folders(
    console: Console,
    folders: Sequence[Path],
    corpus: Path | None,
    target: Target,
    findings: Path,
    seconds: float,
) -> dict[str, Any]:
    """Merge folders of programs into a new one and say what it came to; the summary as values."""
    if not (seconds >= 0 and math.isfinite(seconds)):
        raise ConfigError.of("time", seconds, "0 (no limit) or more seconds")
    if corpus is None:
        raise ConfigError("corpus: --merge needs one; name a new folder for what is kept")
    _check_new(corpus)
    read = _Folders(folders)
    _name(console, [f"{path}: left out: {why}" for path, why in read.unread])
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("running", total=len(read.files))
        merged = minimise(
            target, read.files, seconds, lambda done, _: bar.update(task, completed=done)
        )
    foreign = read.of(merged.foreign)
    _name(console, [f"{path}: not as programs are written: cut off, or none" for path in foreign])
    found, unwritten = _findings(console, target, merged.set_aside, findings)
    _write(corpus, merged.programs)
    _announce(console, target, merged, corpus)
    if read.unread and unwritten is None:
        unwritten = f"merge: {len(read.unread)} files could not be read and are left out"
    return {
        "target": target.label,
        "given": merged.given,
        "kept": len(merged.programs),
        "unmeasured": merged.unmeasured,
        "edges": merged.reached.edges,
        "features": len(merged.reached.features),
        "build": merged.reached.build,
        "set_aside": len(merged.set_aside),
        "foreign": [str(path) for path in foreign],
        "unread": [{"file": str(path), "why": why} for path, why in read.unread],
        "corpus": str(corpus),
        "findings": found,
        "unwritten": unwritten,
    }


def _check_new(corpus: Path) -> None:
    """Nobody's programs are thrown away: what is kept goes into a folder with nothing in it."""
    folder_for("corpus", corpus)
    if any(path.name[0] != "." for path in corpus.iterdir()):
        raise ConfigError.of(
            "corpus", str(corpus), "name a folder that is new or empty: nothing is replaced"
        )


def _name(console: Console, lines: Sequence[str]) -> None:
    more = [f"and {len(lines) - _NAMED} more like these"] if len(lines) > _NAMED else []
    for line in [*lines[:_NAMED], *more]:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _announce(console: Console, target: Target, merged: Merged, corpus: Path) -> None:
    reached = f"{merged.reached.edges} edges, {len(merged.reached.features)} features"
    console.print(
        f"{merged.given} programs by {target.label}: {len(merged.programs)} kept, which reach as "
        f"much ({reached}): {corpus}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    if merged.unmeasured:
        console.print(
            f"the time was up: {merged.unmeasured} of these were not run and are kept as they are",
            highlight=False,
        )
    if merged.set_aside:
        console.print(f"[bold red]FINDINGS: {len(merged.set_aside)} programs set aside[/]")


def _findings(
    console: Console, target: Target, aside: Sequence[SetAside], folder: Path
) -> tuple[list[dict[str, Any]], str | None]:
    """Cut down and write one of each kind of what was found; as values, and what went wrong."""
    found, unwritten = [], None
    seen: set[str] = set()
    for one in _shortest_of_each(aside):
        finding = finding_of(target, one)
        if finding.trial.signature in seen:
            continue
        seen.add(finding.trial.signature)
        where = finding.path_in(folder)
        try:
            finding.write(folder_for("findings", folder))
        except (ConfigError, EnvironmentProblem) as error:
            unwritten = str(error)
        console.print(f"{where}", highlight=False, markup=False, soft_wrap=True)
        print_finding(console, finding)
        found.append(finding_as_dict(finding, where))
    return found, unwritten


def _shortest_of_each(aside: Sequence[SetAside]) -> Iterator[SetAside]:
    seen: set[str] = set()
    for one in sorted(aside, key=lambda one: (len(one.program), one.program)):
        if one.trial.signature not in seen:
            seen.add(one.trial.signature)
            yield one


def _write(corpus: Path, programs: Sequence[bytes]) -> None:
    for program in programs:
        # By content, as engines name theirs.
        path = corpus / hashlib.sha1(program, usedforsecurity=False).hexdigest()
        try:
            path.write_bytes(program)
        except OSError as error:
            raise EnvironmentProblem(
                f"corpus: {str(path)!r} cannot be written ({error.strerror})"
            ) from None
