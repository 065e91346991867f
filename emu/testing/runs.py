"""Whole runs in a test: made by its options, and told like a report when they fail."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from rich.console import Console

from emu.cli.closing import print_report
from emu.config import RunConfig
from emu.errors import ConfigError
from emu.runtime.session import run
from emu.verdict.report import Report
from faults.profiles import load_plan

#: A run that says nothing else: so many packets, and a NIC that waits for a busy machine.
DEFAULTS: dict[str, Any] = {"packets": 20_000, "wait_ms": 60_000}
_ENDS = frozenset({"packets", "duration_s", "laps"})
_FIELDS = frozenset(item.name for item in fields(RunConfig)) - {"plan"}


def _consumer(function: Callable[..., Any]) -> dict[str, Any]:
    """A function of a test's module, by the name by which a process of its own finds it."""
    file = Path(inspect.getfile(function))
    if "<" in function.__qualname__ or not file.stem.isidentifier():
        raise ConfigError.of(
            "consumer",
            function.__qualname__,
            "another process imports it: it must be a function of a module, by itself",
        )
    return {
        "consumer": f"{file.stem}:{function.__qualname__}",
        "modules_from": str(file.parent),
    }


def config_of(options: dict[str, Any], seed: int) -> RunConfig:
    """A run's configuration from what a test says.

    Args:
        options: Fields of :class:`emu.RunConfig`; ``faults`` is a plan's text or a profile's name,
            ``consumer`` may be a function.
        seed: If the options have none.

    Raises:
        ConfigError: An option is none, or has a value that is not allowed.
    """
    given = {"seed": seed, **options}
    plan = load_plan(given.pop("faults", "none")) if "faults" in given else None
    if wrong := given.keys() - _FIELDS:
        known = ", ".join(sorted({*_FIELDS, "faults"}))
        raise ConfigError(f"zcrx_run: {min(wrong)!r} is no option; there are {known}")
    for name, value in DEFAULTS.items():
        if name != "packets" or not _ENDS & given.keys():
            given.setdefault(name, value)
    if callable(given.get("consumer")):
        given |= _consumer(given["consumer"])
    if plan is not None:
        given["plan"] = plan
    return RunConfig(**given)


def told(report: Report) -> str:
    """A report in words, as the command prints it."""
    console = Console(width=100, color_system=None, force_terminal=False)
    with console.capture() as text:
        print_report(console, report)
    return text.get()


def facts_of(report: Report, folder: Path) -> dict[str, str]:
    """What is kept of a run beside its test's result.

    Returns:
        ``seed``, ``folder``, ``verdict`` (``PASS``, or ``FAIL`` with the first problem) and
        ``again``, the command that repeats it.
    """
    return {
        "seed": str(report.seed),
        "folder": str(folder),
        "verdict": "PASS" if report.ok else f"FAIL: {report.problems[0]}",
        "again": f"zcrx-emu replay {shlex.quote(str(folder))}",
    }


class Runs:
    """Makes the runs of one test.

    Args:
        folder: Where their folders are made; pytest keeps those of the last sessions.
        seed: Of those that are given none.
        options: That all of them have, if they do not say otherwise.
        record: Is told of each run that was judged: its number, from 1, and what is known of it.
    """

    def __init__(
        self,
        folder: Path,
        seed: int,
        options: dict[str, Any],
        record: Callable[[int, dict[str, str]], None] = lambda _number, _facts: None,
    ) -> None:
        self._folder = folder
        self._seed = seed
        self._options = options
        self._record = record
        self._made = 0

    def __call__(self, *, check: bool = True, **options: Any) -> Report:
        """Run, and judge.

        Args:
            check: Whether a finding fails the test; else the test looks for itself.
            options: As :func:`config_of` has them.

        Raises:
            AssertionError: There are findings; its text is the report.
            ConfigError: An option is none, or has a value that is not allowed.
        """
        config = config_of({**self._options, **options}, self._seed)
        self._made += 1
        folder = self._folder / f"zcrx-run-{self._made}"
        folder.mkdir()
        report = run(config, run_dir=folder)
        self._record(self._made, facts_of(report, folder))
        if check and not report.ok:
            raise AssertionError(f"the run is not sound\n{told(report)}")
        return report
