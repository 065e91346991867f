"""What the short suite still catches: put each seeded bug into the core, and see who objects.

``python -m tools.suite_power`` puts one bug of ``emu/bugs/content`` (``--racing``: also of
``racing``) after the other into a copy of the checkout, and asks one part of ``make test`` after
the other until one fails: the C tests nearest to the provider, the ready scenarios of race testing,
all C tests, then parts of the Python tests. A bug that races is first asked of its own scenario.
They get the core with the bug by ``ZCRX_EMU_CORE``; what builds a core of its own from the sources
(fuzz, race) builds it from those of the copy.

Exit code 1 if a bug passes all parts, or if the core without any fails one.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pytest
import typer
from rich.console import Console

from emu.bugs import CONTENT_BUGS, RACING_BUGS, Bug, find_bug
from emu.cli import run_function
from emu.errors import EnvironmentProblem

ROOT = Path(__file__).parents[1]
#: What is asked, one after the other: C tests (all, if none is named), or Python tests.
PARTS: tuple[tuple[str, ...], ...] = (
    ("area", "page_pool", "provider", "step", "fuzz"),
    ("tests/race/test_library.py",),
    (),
    ("tests/spec", "tests/emu/test_core.py"),
    ("tests/emu/test_consumer.py", "tests/runtime", "tests/verdict", "tests/chaos"),
)
#: Tests that take longer hang.
PATIENCE_S = 600


def copy_checkout(folder: Path) -> None:
    """Copy what git knows of the checkout."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / "temporary").mkdir()


def environment_in(folder: Path) -> dict[str, str]:
    """What leads Python past the hook of an editable install, to a copy of the checkout."""
    hooks = [str(hook._build_path) for hook in sys.meta_path if hasattr(hook, "_build_path")]
    return {
        "MESONPY_EDITABLE_SKIP": os.pathsep.join(hooks),
        "PYTHONPATH": str(folder),
        "TMPDIR": str(folder / "temporary"),
        "XDG_CACHE_HOME": str(folder / "cache"),
    }


class Copy:
    """A copy of the checkout, to be built with one bug after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        copy_checkout(folder)
        self.build = folder / "build"
        options = ("-Dunit_tests=true", "-Dcore_only=true", "-Doptimization=1")
        self._do("meson", "setup", self.build, *options)

    def _do(self, *command: str | Path) -> None:
        ended = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, check=False
        )
        if ended.returncode:
            raise EnvironmentProblem(f"{command[0]}: {ended.stdout.strip().splitlines()[-1]}")

    @contextlib.contextmanager
    def with_bug(self, bug: Bug) -> Iterator[None]:
        """Have the bug in the core."""
        files = [self.folder / "cext" / name for name in bug.files]
        sound = [file.read_text() for file in files]
        bug.apply(self.folder / "cext")
        yield
        for file, text in zip(files, sound, strict=True):
            file.write_text(text)

    def failed_in_c(self, names: tuple[str, ...]) -> str:
        """Run C tests (all if none is named); the first that fails, empty if none does."""
        log = self.build / "meson-logs" / "testlog.json"
        log.unlink(missing_ok=True)
        ended = subprocess.run(
            ["meson", "test", "-C", self.build, "--maxfail=1", *names],
            capture_output=True,
            check=False,
        )
        if not ended.returncode:
            return ""
        if not log.exists():
            return "does not compile"
        tests = [json.loads(line) for line in log.read_text().splitlines()]
        bad = [test for test in tests if test["result"] not in ("OK", "SKIP", "INTERRUPT")]
        return f"C: {bad[0]['name'].rpartition(':')[2].strip()}"

    def failed_in_python(self, tests: tuple[str, ...], jobs: int) -> str:
        """Run Python tests with this core; the first that fails, empty if none does."""
        core = self.build / "cext" / "_core.abi3.so"
        self._do("ninja", "-C", self.build, core.relative_to(self.build))
        environment = environment_in(self.folder) | {"ZCRX_EMU_CORE": str(core)}
        return failed_tests(tests, jobs, self.folder, environment)


def failed_tests(
    parts: tuple[str, ...],
    jobs: int,
    folder: Path,
    environment: dict[str, str],
    under: tuple[str, ...] = (),
) -> str:
    """Run short tests of these files or folders; the first that fails, empty if none does.

    A test that fails and then, alone, does not has failed by chance: the others go on without it.

    Args:
        parts: The files or folders.
        jobs: So many at once.
        folder: The checkout.
        environment: More variables than our own.
        under: A command that runs the one behind it.
    """

    def first_failed(*parts: str) -> str:
        return _run_pytest([*under, *_pytest(jobs), *parts], folder, environment)

    by_chance: list[str] = []
    while failed := first_failed(*parts, *by_chance):
        without = f"--deselect={failed}"
        if "::" not in failed or without in by_chance or first_failed(failed):
            return failed
        by_chance.append(without)
    return ""


def _pytest(jobs: int) -> tuple[str, ...]:
    at_once = ("-n", str(jobs), "--tb=no", "-m", "not long", "-p", "no:cacheprovider")
    return (sys.executable, "-m", "pytest", "-x", "-q", *at_once)


def _name_of_test(line: str) -> str:
    """Of a line of pytest's summary; what it failed with comes behind a dash."""
    text = line.partition(" ")[2]
    name, parametrised, _ = text.partition("] - ")  # there may be spaces and dashes within
    return f"{name}]" if parametrised else text.partition(" - ")[0]


def _run_pytest(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    """The first test that fails, or why pytest itself did; empty if all pass, or there is none."""
    with subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # what hangs is ended with all that it started
    ) as process:
        try:
            stdout, _ = process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return f"{command[-1]} (it hangs)"
    if process.returncode in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        return ""
    for line in stdout.splitlines():
        if line.startswith(("FAILED ", "ERROR ")):
            return _name_of_test(line)
    return f"{command[-1]} (pytest: exit code {process.returncode})"


def caught_by(copy: Copy, jobs: int, scenario: str = "") -> str:
    """The first test that objects to the copy as it is; empty if none does.

    Args:
        copy: What is asked of.
        jobs: Python tests at once.
        scenario: The ready scenario that is likely to show it, and so is asked first.
    """
    likely = (("tests/race/test_library.py", "-k", scenario),) if scenario else ()
    for tests in (*likely, *PARTS):
        in_python = tests and tests[0].startswith("tests/")
        failed = copy.failed_in_python(tests, jobs) if in_python else copy.failed_in_c(tests)
        if failed:
            return failed
    return ""


def main(
    bug: Annotated[
        list[str] | None, typer.Option(help="Only this bug; may be given several times.")
    ] = None,
    racing: Annotated[bool, typer.Option("--racing", help="Also those that race.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Python tests at once.")] = 2,
    sound: Annotated[bool, typer.Option(help="Ask for the core without a bug first.")] = True,
) -> None:
    """Say for each seeded bug which part of the short suite catches it."""
    known = {**CONTENT_BUGS, **(RACING_BUGS if racing or bug else {})}
    bugs = [find_bug(name, known) for name in bug] if bug else [*known.values()]
    console = Console()
    with tempfile.TemporaryDirectory(prefix="suite-power-") as folder:
        copy = Copy(Path(folder))
        if sound and (failed := caught_by(copy, jobs)):
            console.print(f"without any bug: {failed}", markup=False, soft_wrap=True)
            raise typer.Exit(1)
        parts: Counter[str] = Counter()
        missed = []
        for one in bugs:
            with copy.with_bug(one):
                failed = caught_by(copy, jobs, one.scenario)
            console.print(f"{one.name}: {failed or 'MISSED'}", markup=False, soft_wrap=True)
            parts[failed.partition("::")[0] or "MISSED"] += 1
            missed += [] if failed else [one.name]
    for part, count in parts.most_common():
        console.print(f"{count:4} {part}", markup=False, soft_wrap=True)
    console.print(f"{len(bugs)} bugs, {len(bugs) - len(missed)} caught by the short suite")
    if missed:
        console.print(f"missed: {', '.join(missed)}", soft_wrap=True)
        raise typer.Exit(1)


if __name__ == "__main__":
    run_function(main, "suite_power")
