"""Kill processes of running stresses at random instants, and hold every end to its verdict.

``python -m tools.kills --count 1000 --seed 1`` spreads the kills over all kinds of process.
After each: the run must have ended by itself, with the right exit code, in ``--within`` seconds;
its report must name the dead process; if only a consumer died, every buffer must be home; no
shared memory and no process may be left. Exit code 1 if any kill ended otherwise.

``--start`` goes on with as many signals at random instants of start-up: a kill of the control
process or of one of any role (a provider of somebody else's, for which there is a keeper, in one
run of two), or a Ctrl-C with a second one behind it. What must be then: it ends, in one line if it
says anything, and leaves nothing.

``--signals`` goes on with as many signals that ask the control process to end, at random instants
of its whole life: Ctrl-C once or twice, SIGTERM, SIGHUP. It must end in order, with a verdict if
there was traffic, no traceback, and leave nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
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
from emu.host.proc import PARENT, STATE, process_start_time, stat_words
from emu.runtime.segment import PREFIX, SHM_DIR

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
        return stat_words(pid)[STATE] != "Z"
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


# ---- while it starts ----------------------------------------------------------------------

#: Of these, without the last a run goes on.
ROLES = ("control", "provider", "nic", "keeper", "consumer", "reaper", "fork-server")
INTERRUPTS = "Ctrl-C twice"
STARTS = (*ROLES, INTERRUPTS)
START_S = 1.0  #: a start takes about half of it
#: What asks a run to end.
SIGNALS = {
    "Ctrl-C": signal.SIGINT,
    INTERRUPTS: signal.SIGINT,
    "SIGTERM": signal.SIGTERM,
    "SIGHUP": signal.SIGHUP,
}
RUN_S = 1.0  #: traffic of a run that gets them
_SOURCE = Path(__file__).parents[1] / "docs" / "examples" / "plain_provider.c"


def _workers(control: int) -> dict[int, str]:
    """Processes of a run: pid and role; of a consumer's two, the one above is the reaper."""
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            parent = int(stat_words(int(entry.name))[PARENT])
        except OSError:  # gone meanwhile
            continue
        at = words.index("emu.runtime.worker") if "emu.runtime.worker" in words else None
        if at is not None and len(words) > at + 3 and words[at + 3] == str(control):
            is_above = words[at + 1] == "consumer" and parent == control
            found[int(entry.name)] = "reaper" if is_above else words[at + 1]
    return found


def _hit(process: subprocess.Popen[bytes], kind: str, rng: random.Random, within_s: float) -> None:
    """Send the signals at a random instant; of a role that is not there yet, once it is."""
    time.sleep(rng.uniform(0, within_s))  # the instant is the experiment
    if kind in SIGNALS:
        process.send_signal(SIGNALS[kind])
        if kind == INTERRUPTS:
            time.sleep(rng.choice((0, 0.001, 0.01, 0.1)) * rng.random())
            process.send_signal(SIGNALS[kind])
        return
    while process.poll() is None:
        pids = [process.pid] if kind == "control" else []
        pids += [pid for pid, role in _workers(process.pid).items() if role == kind]
        if pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(rng.choice(pids), signal.SIGKILL)
            return
        os.sched_yield()


def start_once(
    kind: str, rng: random.Random, folder: Path, library: Path | None, life_s: float = 0.0
) -> Outcome:
    """Start a stress, let something happen to it, and see what comes of it.

    Args:
        kind: Who is killed, or what is sent.
        rng: Decides when.
        folder: Of the run; made.
        library: A provider of somebody else's.
        life_s: How long such a run takes: at any instant of that; 0: while it starts.
    """
    is_whole = life_s > 0
    script = Path(sys.executable).with_name("zcrx-emu")
    when = "any time" if is_whole else "start"
    folder.mkdir()
    foreign = library is not None and (kind == "keeper" or rng.random() < 0.5)
    with (folder / "output").open("w+b") as output:
        process = subprocess.Popen(
            [
                *(script, "stress", "--duration", str(RUN_S if is_whole else 3)),
                *("--queues", str(rng.choice((1, 2, 4)))),
                *("--run-dir", folder / "run"),
                *(("--provider", library) if foreign and library is not None else ()),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Whoever starts us in the background may have made us ignore them.
            preexec_fn=lambda: [signal.signal(one, signal.SIG_DFL) for one in SIGNALS.values()],
        )
        _hit(process, kind, rng, life_s if is_whole else START_S)
        begin = time.monotonic()
        try:
            code = process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return Outcome(f"{when}: {kind}", 60.0, "it did not end")
        seconds = time.monotonic() - begin
        output.seek(0)
        said = output.read().decode(errors="replace")
    problem = _start_problem(process.pid, kind, code, said)
    if is_whole and problem is None:
        problem = _signal_problem(code, said)
    return Outcome(f"{when}: {kind}", seconds, problem)


def _signal_problem(code: int, said: str) -> str | None:
    """It was asked to end: nothing is wrong with it, and what it says and its code agree."""
    verdicts = [line for line in said.splitlines() if line.startswith(("PASS", "FAIL"))]
    if code == 0 and verdicts and verdicts[0].startswith("PASS"):
        return None
    if verdicts and verdicts[0].startswith("FAIL") and code == 1:
        # A run that was cut off before anything came back has shown nothing, and says so.
        return None if verdicts[0].startswith("FAIL: substance") else verdicts[0]
    if not verdicts and (code in _UNBEGUN or (code == 2 and _NO_VERDICT in said)):
        return None
    if not verdicts and _UNLOADED in said:
        return None
    return f"exit code {code}, and said {said.splitlines()[-1:]}"


_NO_VERDICT = "zcrx-emu: error: interrupted before there was a verdict"
#: Of an interpreter that has not come as far as anybody's code.
_UNLOADED = "Fatal Python error: init_import_site"
#: Before there was anything to judge: by the signal itself, or as a shell says it.
_UNBEGUN = {sign * (base + number) for number in (1, 2, 15) for sign, base in ((-1, 0), (1, 128))}


def _start_problem(control: int, kind: str, code: int, said: str) -> str | None:
    # Before it says its seed Python is still importing, and a Ctrl-C is the interpreter's.
    if "Traceback (most recent call last)" in said and "seed " in said:
        lines = [line.strip() for line in said.splitlines()]
        where = [line for line in lines if line.startswith("File ") and "emu" in line]
        return f"a traceback: {lines[-1]} ({', '.join(where[:1] + where[-1:])})"
    if kind == "control" and code != -signal.SIGKILL:
        return f"exit code {code}"
    expected = (0,) if kind == ROLES[-1] else (1, 2)
    if kind in ROLES[1:] and code not in expected:
        return f"exit code {code} instead of {' or '.join(map(str, expected))}"
    deadline = time.monotonic() + LAST_WORD_S
    while True:
        left = [f"{role} {pid}" for pid, role in _workers(control).items()]
        left += [path.name for path in SHM_DIR.iterdir() if f"{PREFIX}.{control}." in path.name]
        if not left:
            return None
        if time.monotonic() > deadline:
            return f"left behind: {', '.join(left)}"
        os.sched_yield()


def _life_s(folder: Path) -> float:
    """How long a run takes here and now, from its start to its end."""
    script = Path(sys.executable).with_name("zcrx-emu")
    command: list[str | Path] = [script, "stress", "--duration", str(RUN_S)]
    begin = time.monotonic()
    subprocess.run([*command, "--run-dir", folder / "life"], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begin


def _library(folder: Path) -> Path | None:
    """A provider that is loaded like somebody else's; None without a compiler."""
    if shutil.which("cc") is None:
        return None
    path = folder / "plain.so"
    flags = ["-std=gnu11", "-O2", "-fPIC", "-shared", f"-I{_SOURCE.parents[2] / 'cext'}"]
    subprocess.run(["cc", *flags, _SOURCE, "-o", path], check=True)
    return path


def _table(outcomes: list[Outcome]) -> Table:
    table = Table(header_style="bold")
    for name in ("killed", "runs", "wrong", "verdict after, median", "maximum"):
        table.add_column(name, justify="left" if name == "killed" else "right")
    for kind in dict.fromkeys(outcome.kind for outcome in outcomes):
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
    count: Annotated[int, typer.Option(min=0, help="How many runs to kill.")] = 1000,
    seed: Annotated[int, typer.Option(help="Decides whom and when.")] = 1,
    within: Annotated[float, typer.Option(help="Seconds a verdict may take.")] = 1.0,
    queues: Annotated[int, typer.Option(min=1, max=8, help="Receive queues of each run.")] = 2,
    start: Annotated[int, typer.Option(min=0, help="How many to hit while they start.")] = 0,
    signals: Annotated[int, typer.Option(min=0, help="How many to ask to end, at any time.")] = 0,
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
        library = _library(Path(root)) if start else None
        kinds = [kind for kind in STARTS if library is not None or kind != "keeper"]
        for number in range(start):
            kind = kinds[number % len(kinds)]
            outcome = start_once(kind, rng, Path(root) / f"start-{number}", library)
            if outcome.problem:
                console.print(f"start {number}: {kind}: {outcome.problem}", markup=False)
            outcomes.append(outcome)
        life_s = _life_s(Path(root)) if signals else 0.0
        for number in range(signals):
            kind = list(SIGNALS)[number % len(SIGNALS)]
            folder = Path(root) / f"signal-{number}"
            outcome = start_once(kind, rng, folder, None, life_s)
            if outcome.problem:
                console.print(f"signal {number}: {kind}: {outcome.problem}", markup=False)
            outcomes.append(outcome)
    console.print(_table(outcomes))
    if any(outcome.problem for outcome in outcomes):
        raise typer.Exit(1)


if __name__ == "__main__":
    run_function(main, "kills")
