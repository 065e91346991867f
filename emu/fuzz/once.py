"""Programs that are there: run again, cut down, compared with the specification."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from emu.errors import ConfigError, EnvironmentProblem
from emu.fuzz.campaign import findings_folder
from emu.fuzz.differential import compare_all
from emu.fuzz.finding import (
    Finding,
    emitted_test,
    finding_as_dict,
    is_finding,
    read_finding,
    read_program,
)
from emu.fuzz.harness import Harness, Target
from emu.fuzz.view import print_before, print_finding, print_trial
from emu.verdict.report import write_text

CORPUS = Path("fuzz") / "corpus"
FINDINGS = Path("fuzz") / "findings"


def emit_tests(console: Console, findings: list[Finding], folder: Path | None) -> None:
    if folder is None:
        return
    for finding in findings:
        path = folder / f"test_{finding.name.replace('-', '_')}.py"
        write_text(path, emitted_test(finding, folder))
        console.print(f"test: {path}", highlight=False, markup=False, soft_wrap=True)


def corpus_of(target: Target) -> Path:
    """Where programs for a target are kept: those for another one would mislead the search."""
    return CORPUS / target.slug


def check_folder(name: str, folder: Path | None) -> None:
    if folder is not None and not folder.is_dir():
        raise ConfigError.of(name, str(folder), "name a folder that exists")


def minimise(
    console: Console, path: Path, target: Target, findings: Path | None, tests: Path | None
) -> dict[str, Any]:
    """Cut a program or a finding down and show it; what is found in it, as values."""
    check_folder("emit-test", tests)
    program, before, of_finding = read_program(path)
    harness = Harness(of_finding or target)
    harness.check()
    short, left, trial = harness.minimise(program, before)
    if trial.is_clean:
        line = f"{path}: nothing is found in this program"
        console.print(line, highlight=False, markup=False, soft_wrap=True)
        return {"findings": []}
    finding = Finding(short, harness.target, trial, left, found_by={"engine": "minimise"})
    folder = findings_folder(findings, FINDINGS)
    where, unwritten = finding.path_in(folder), None
    try:
        finding.write(folder)
    except EnvironmentProblem as error:
        unwritten = str(error)
    console.print(f"{where}", highlight=False, markup=False, soft_wrap=True)
    print_finding(console, finding)
    emit_tests(console, [finding], tests)
    return {"findings": [finding_as_dict(finding, where)], "unwritten": unwritten}


def differential(console: Console, corpus: Path | None, target: Target) -> dict[str, Any]:
    """Replay a corpus by the provider and by the specification; where the two differ."""
    folder = corpus or corpus_of(target)
    if corpus is not None:
        check_folder("corpus", corpus)
    programs = []
    if folder.is_dir():
        programs = [path for path in sorted(folder.iterdir()) if path.is_file()]
    if not programs:
        raise ConfigError.of("corpus", str(folder), "it must hold programs; fuzz first")
    harness = Harness(target)
    harness.check()
    differences = compare_all(
        harness, track(programs, "comparing", console=console, transient=True)
    )
    for path, difference in differences:
        console.print(f"{path}: {difference.text}", highlight=False, markup=False, soft_wrap=True)
    console.print(
        f"{len(programs)} programs by {target.label} and by the specification: "
        f"{len(differences)} differ",
        highlight=False,
    )
    return {
        "programs": len(programs),
        "findings": [{"file": str(path), "what": item.text} for path, item in differences],
    }


def replay_finding(console: Console, path: Path) -> dict[str, Any]:
    """Run a finding's program again; what it shows now, as values."""
    finding = read_finding(path)
    harness = Harness(finding.target)
    harness.check()
    trial = harness.run(finding.program, finding.before)
    console.print(finding.target.label, highlight=False, markup=False, soft_wrap=True)
    print_before(console, finding)
    print_trial(console, trial)
    if not trial.is_clean and trial.signature != finding.trial.signature:
        console.print(
            f"it was {finding.trial.signature} when it was found: the program shows something else",
            highlight=False,
        )
    return {"still_shows": not trial.is_clean, "was": finding.trial.signature, **asdict(trial)}


def replay(console: Console, path: Path, target: Target) -> dict[str, Any]:
    """Run a program again that somebody found: a finding, or plain bytes as engines leave them.

    Args:
        console: Where it is shown, step by step.
        path: The file.
        target: By whom plain bytes are run; a finding names its own.
    """
    if is_finding(path):
        return replay_finding(console, path)
    program, before, _ = read_program(path)
    harness = Harness(target)
    harness.check()
    trial = harness.run(program, before)
    console.print(f"{path}: {len(program)} bytes", highlight=False, markup=False, soft_wrap=True)
    console.print(target.label, highlight=False, markup=False, soft_wrap=True)
    print_trial(console, trial)
    if not trial.is_clean:
        line = f"shorter, and kept as a finding: zcrx-emu fuzz --minimize {path}"
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    return {"still_shows": not trial.is_clean, "file": str(path), **asdict(trial)}
