"""Kill processes of running stresses at random instants, and hold every end to its verdict.

``python -m tools.kills --count 1000 --seed 1`` spreads the kills over all kinds of process.
After each: the run must have ended by itself, with the right exit code, in ``--within`` seconds;
its report must name the dead process; if only a consumer died, every buffer must be home; no
shared memory and no process may be left. Exit code 1 if any kill ended otherwise.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from emu.cli import run_function
from emu.segment import PREFIX, SHM_DIR, process_start_time

KINDS = ("control", "provider", "nic", "consumer")
FAULTS = "bad-pad:0.01,bad-area:0.01,bad-index:0.01"
LAST_WORD_S = 5.0  #: for the provider to leave its last word when the control process is gone


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one killed run ended."""

    kind: str
    seconds: float  #: from the kill to the end of the control process
    problem: str | None


def _pids(line: str) -> dict[str, int]:
    """The pids in the line ``processes: control 1, provider 2, …``."""
    found = re.findall(r"(control|provider|nic|consumer)(?: of queue \d+)? (\d+)", line)
    return {kind: int(pid) for kind, pid in reversed(found)}


def _left_behind(pids: dict[str, int], starts: dict[str, int | None]) -> str | None:
    deadline = time.monotonic() + LAST_WORD_S
    while True:
        alive = [kind for kind, pid in pids.items() if _is(pid, starts[kind])]
        names = [
            path.name for path in SHM_DIR.iterdir() if f"{PREFIX}.{pids['control']}." in path.name
        ]
        if not alive and not names:
            return None
        if time.monotonic() > deadline:
            return f"left behind: {', '.join(alive + names)}"
        os.sched_yield()


def _is(pid: int, start: int | None) -> bool:
    """Does the very process still run (and is no zombie)?"""
    if start is None or process_start_time(pid) != start:
        return False
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def _judge(kind: str, code: int, folder: Path) -> str | None:
    expected = -signal.SIGKILL if kind == "control" else 1
    if code != expected:
        return f"exit code {code} instead of {expected}"
    try:
        report = json.loads((folder / "run.json").read_text())
    except (OSError, ValueError) as error:
        return f"no report: {error}"
    if kind not in report["ended"]:
        return f"the report says {report['ended']!r}"
    if kind == "consumer" and not report["audit"]["all_home"]:
        return f"buffers are missing: {report['audit']['details']['all_home']}"
    if kind != "control" and len(report["problems"]) != 1:
        return f"more than the death: {report['problems']}"
    return None


def kill_once(kind: str, delay_s: float, folder: Path, queues: int) -> Outcome:
    """Start a stress, kill one of its processes after a while, and see what comes of it."""
    script = Path(sys.executable).with_name("zcrx-emu")
    command: list[str | Path] = [script, "stress", "--duration", "60", "--run-dir", folder]
    process = subprocess.Popen(
        [*command, "--queues", str(queues), "--faults", FAULTS],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    pids: dict[str, int] = {}
    for line in process.stdout:
        if line.startswith("processes:"):
            pids = _pids(line)
            break
    starts = {name: process_start_time(pid) for name, pid in pids.items()}
    time.sleep(delay_s)  # the instant is the experiment, not a synchronisation
    begin = time.monotonic()
    os.kill(pids[kind], signal.SIGKILL)
    process.stdout.read()
    code = process.wait()
    seconds = time.monotonic() - begin
    left = _left_behind(pids, starts)
    return Outcome(kind, seconds, left or _judge(kind, code, folder))


def _table(outcomes: list[Outcome]) -> Table:
    table = Table(header_style="bold")
    for name in ("killed", "runs", "wrong", "verdict after, median", "maximum"):
        table.add_column(name, justify="left" if name == "killed" else "right")
    for kind in KINDS:
        of_kind = [outcome for outcome in outcomes if outcome.kind == kind]
        if not of_kind:
            continue
        seconds = [outcome.seconds for outcome in of_kind]
        table.add_row(
            kind,
            str(len(of_kind)),
            str(sum(outcome.problem is not None for outcome in of_kind)),
            f"{statistics.median(seconds) * 1000:.0f} ms",
            f"{max(seconds) * 1000:.0f} ms",
        )
    return table


def main(
    count: Annotated[int, typer.Option(min=1, help="How many runs to kill.")] = 1000,
    seed: Annotated[int, typer.Option(help="Decides whom and when.")] = 1,
    within: Annotated[float, typer.Option(help="Seconds a verdict may take.")] = 1.0,
    queues: Annotated[int, typer.Option(min=1, max=8, help="Receive queues of each run.")] = 2,
) -> None:
    """Kill runs at random instants and hold every end to its verdict."""
    console = Console()
    rng = random.Random(seed)
    outcomes = []
    console.print(f"seed {seed}")
    with tempfile.TemporaryDirectory(prefix="kills-") as root:
        for number in range(count):
            kind = KINDS[number % len(KINDS)]
            delay_s = rng.uniform(0, 0.5)
            outcome = kill_once(kind, delay_s, Path(root) / str(number), queues)
            if outcome.problem is None and outcome.seconds > within:
                outcome = Outcome(kind, outcome.seconds, f"it took {outcome.seconds:.2f} s")
            if outcome.problem:
                console.print(f"{number}: {kind} after {delay_s:.3f} s: {outcome.problem}")
            outcomes.append(outcome)
    console.print(_table(outcomes))
    if any(outcome.problem for outcome in outcomes):
        raise typer.Exit(1)


if __name__ == "__main__":
    run_function(main, "kills")
