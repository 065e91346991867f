"""Who finds the mistakes of providers that nobody tuned the tools to, and how soon.

``python -m tools.broken`` compiles ``tests/broken/provider.c`` with one mistake after the other
and gives each to ``fuzz`` with libFuzzer and with the generator, to ``race`` and to ``stress``, as
a person would: by their command lines, with their defaults but for a bound on the time. Before
that, the provider without a mistake: a tool that finds something in it is wrong itself. Exit code
1 if there is such a tool, or a mistake that no tool found and that has no reason to stay unfound.
"""

from __future__ import annotations

import concurrent.futures
import enum
import json
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from emu.cli import run_function
from emu.compile.ondemand import core_sources
from emu.compile.toolchain import any_compiler
from emu.errors import EmuError
from emu.fuzz.build import Kind
from emu.fuzz.harness import Target
from emu.race.build import build_simulation

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "tests" / "broken" / "provider.c"
DOCS = ROOT / "docs" / "broken-providers.md"
_MISTAKE = re.compile(r"/\* MISTAKE (\d+): (.*?) \*/", re.DOTALL)
#: A tool that has not ended by then is stopped: it has found nothing.
_PATIENCE_S = 120.0
_FOUND, _CLEAN = 1, 0
_SCRIPT = Path(sys.executable).with_name("zcrx-emu")


class Tool(enum.StrEnum):
    """Who is asked."""

    LIBFUZZER = "libfuzzer"
    GENERATE = "generate"
    RACE = "race"
    STRESS = "stress"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool said of one provider.

    Attributes:
        code: Its exit code; None if it had to be stopped.
        seconds: How long it took, what had to be built included.
        told: The name of what it found first; empty if nothing.
    """

    code: int | None
    seconds: float
    told: str

    @property
    def has_found(self) -> bool:
        """Whether it said that something is wrong."""
        return self.code == _FOUND


@dataclass(frozen=True, slots=True)
class Limits:
    """How long, and how far, each provider is looked at.

    Attributes:
        seconds: For each search.
        seed: Of each search.
        until_found: Whether the first tool that finds it is the last one that is asked.
    """

    seconds: int
    seed: int
    until_found: bool


#: Mistakes that no tool has to find, and why. Each one is a sentence of the table.
REASONS: dict[int, str] = {}


def mistakes(source: Path = SOURCE) -> dict[int, str]:
    """The mistakes of the provider by number, as they are written down beside them.

    Raises:
        EmuError: A number is missing or there twice.
    """
    found = [(int(n), " ".join(text.split())) for n, text in _MISTAKE.findall(source.read_text())]
    if sorted(number for number, _ in found) != list(range(1, len(found) + 1)):
        raise EmuError(f"{source.name}: mistakes must be numbered from 1 on, each once")
    return dict(sorted(found))


def wrapper(number: int, folder: Path) -> Path:
    """The source of the provider with one mistake; 0 for none."""
    path = folder / f"mistake_{number}.c"
    path.write_text(f'#define MISTAKE {number}\n#include "{SOURCE}"\n')
    return path


def _library(source: Path) -> Path:
    """The same as a library, as its author would build it."""
    path = source.with_suffix(".so")
    flags = ["-std=gnu11", "-g", "-O2", "-fPIC", "-shared", f"-I{core_sources()}"]
    subprocess.run([any_compiler().path, *flags, "-o", str(path), str(source)], check=True)
    return path


def _command(tool: Tool, source: Path, seconds: int, seed: int) -> list[str]:
    if tool is Tool.RACE:
        return ["race", "--provider", str(source), "--time", "2", "--seed", str(seed)]
    if tool is Tool.STRESS:
        provider = str(_library(source))
        limit = str(min(seconds, 5))
        return ["stress", "--provider", provider, "--faults", "hostile", "--queues", "2",
                "--duration", limit, "--seed", str(seed)]  # fmt: skip
    return ["fuzz", "--provider", str(source), "--engine", tool.value, "--time", str(seconds),
            "--stop-at", "1", "--seed", str(seed)]  # fmt: skip


def _told(tool: Tool, summary: dict[str, Any]) -> str:
    if tool in (Tool.LIBFUZZER, Tool.GENERATE):
        return ", ".join(finding["signature"] for finding in summary["findings"][:1])
    if tool is Tool.RACE:
        found = [item["scenario"] for item in summary["scenarios"] if item["finding"]]
        return ", ".join(found[:1])
    broken = [name for name, item in summary.get("audit", {}).items() if item is False]
    return ", ".join(broken[:2]) or str(summary.get("verdict", ""))


def ask(tool: Tool, source: Path, seconds: int, seed: int) -> Answer:
    """Let a tool loose on a provider, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="broken-") as name:
        summary = Path(name) / "summary.json"
        command = [str(_SCRIPT), *_command(tool, source, seconds, seed)]
        began = time.monotonic()
        try:
            process = subprocess.run(
                [*command, "--json", str(summary)],
                cwd=name,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=_PATIENCE_S,
            )
        except subprocess.TimeoutExpired:
            return Answer(None, time.monotonic() - began, "")
        passed = time.monotonic() - began
        # A tool that breaks has code 1, too, but no summary.
        if process.returncode not in (_FOUND, _CLEAN) or not summary.exists():
            lines = process.stderr.strip().splitlines() or ["no message"]
            code = None if process.returncode in (_FOUND, _CLEAN) else process.returncode
            return Answer(code, passed, lines[-1])
        told = ""
        if process.returncode == _FOUND:
            told = _told(tool, json.loads(summary.read_text()))
        return Answer(process.returncode, passed, told)


def _build(tools: list[Tool], source: Path) -> None:
    """Build what is the same for all of them: it would be part of the first one's time."""
    target = Target(provider=source)
    for tool, kind in ((Tool.GENERATE, Kind.TOOL), (Tool.LIBFUZZER, Kind.LIBFUZZER)):
        if tool in tools:
            for each in (Kind.TOOL, Kind.COVERAGE, kind):
                target.executable(each)
    if Tool.RACE in tools:
        build_simulation(None, source)


def ask_all(tools: list[Tool], source: Path, limits: Limits) -> dict[Tool, Answer]:
    """Ask one tool after the other; those that need not be asked any more are left out."""
    row: dict[Tool, Answer] = {}
    for tool in tools:
        row[tool] = ask(tool, source, limits.seconds, limits.seed)
        if limits.until_found and row[tool].has_found:
            break
    return row


def _cell(answer: Answer | None) -> str:
    if answer is None:
        return ""
    if answer.code is None:
        return "stopped"
    if answer.has_found:
        return f"{answer.seconds:.1f}"
    return "-" if answer.code == _CLEAN else f"code {answer.code}"


def _row(number: int, text: str, tools: list[Tool], answers: dict[Tool, Answer]) -> str:
    told = next((a.told for a in answers.values() if a.has_found and a.told), "")
    cells = [str(number), text, *(_cell(answers.get(tool)) for tool in tools)]
    cells.append(f"`{told}`" if told else REASONS.get(number, ""))
    return "| " + " | ".join(cells) + " |"


def _document(
    table: dict[int, dict[Tool, Answer]], texts: dict[int, str], tools: list[Tool], limits: Limits
) -> str:
    told = {
        tool: sum(tool in row and row[tool].has_found for row in table.values()) for tool in tools
    }
    asked = {tool: sum(tool in row for row in table.values()) for tool in tools}
    command = f"python -m tools.broken --seconds {limits.seconds} --seed {limits.seed}"
    command += "".join(f" --tool {tool}" for tool in tools)
    command += " --until-found --write" if limits.until_found else " --write"
    lost = [n for n, row in table.items() if not any(answer.has_found for answer in row.values())]
    lines = [
        "# Providers that nobody tuned the tools to",
        "",
        f"{len(table)} mistakes, each alone in [a provider](../tests/broken/provider.c) that is "
        "correct otherwise; in that one no tool finds anything. Each tool had its defaults but "
        "for the time, `stress` had `--faults hostile --queues 2`.",
        "",
        "- **Found by at least one tool**: "
        f"{len(table) - len(lost)} of {len(table)}; by none: "
        f"{', '.join(map(str, lost)) if lost else 'none'}.",
        *(f"- **Found by {tool}**: {told[tool]} of {asked[tool]} that it got." for tool in tools),
        "- **Times** are in seconds until the tool ended, what it had to compile and to cut down "
        "included; - means that it found nothing, and an empty cell that it was not asked any "
        "more. Other work shared the machine.",
        f"- **Command**: `{command}`",
        "",
        "| | what is wrong | " + " | ".join(tools) + " | what was found, or why nothing |",
        "| ---: | --- |" + " ---: |" * len(tools) + " --- |",
        *(_row(number, texts[number], tools, answers) for number, answers in table.items()),
    ]
    return "\n".join(lines) + "\n"


def main(
    only: Annotated[
        list[int] | None, typer.Option(help="Only this mistake; may be given several times.")
    ] = None,
    tool: Annotated[
        list[Tool] | None, typer.Option(help="Only this tool; may be given several times.")
    ] = None,
    seconds: Annotated[int, typer.Option(min=1, help="For each search, at most.")] = 20,
    seed: Annotated[int, typer.Option(min=1, help="Of each search.")] = 1,
    until_found: Annotated[
        bool, typer.Option("--until-found", help="Ask no other tool once one has found it.")
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Providers that are looked at at once.")] = 1,
    write: Annotated[bool, typer.Option("--write", help=f"Write docs/{DOCS.name}.")] = False,
) -> None:
    """Say who finds which mistake of a provider, and how soon."""
    texts = mistakes()
    chosen = list(dict.fromkeys(only or texts))
    tools = list(dict.fromkeys(tool or Tool))
    if unknown := [number for number in chosen if number not in (0, *texts)]:
        raise EmuError(
            f"only: there is no mistake {unknown[0]}; there are 0 (none) to {len(texts)}"
        )
    console, limits = Console(), Limits(seconds, seed, until_found)
    table: dict[int, dict[Tool, Answer]] = {}
    with tempfile.TemporaryDirectory(prefix="broken-sources-") as name:
        _build(tools, wrapper(0, Path(name)))
        pool = concurrent.futures.ThreadPoolExecutor(jobs)
        try:
            asked = {
                number: pool.submit(ask_all, tools, wrapper(number, Path(name)), limits)
                for number in dict.fromkeys([0, *chosen])
            }
            for number, future in asked.items():
                table[number] = future.result()
                times = ", ".join(
                    f"{one} {_cell(answer)} {answer.told}" for one, answer in table[number].items()
                )
                console.print(
                    f"{number} ({texts.get(number, 'correct')}): {times}",
                    highlight=False, markup=False, soft_wrap=True,
                )  # fmt: skip
        finally:
            pool.shutdown(cancel_futures=True)
    correct = table.pop(0)
    wrong = [one for one, answer in correct.items() if answer.code != _CLEAN]
    lost = [n for n, row in table.items() if not any(answer.has_found for answer in row.values())]
    console.print(f"{len(table) - len(lost)} of {len(table)} found by at least one tool")
    if wrong:
        console.print(f"something is said of the correct one by: {', '.join(wrong)}")
    if write:
        DOCS.write_text(_document(table, texts, tools, limits))
    if wrong or any(number not in REASONS for number in lost):
        raise typer.Exit(1)


if __name__ == "__main__":
    run_function(main, "broken")
