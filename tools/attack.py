"""What a hostile consumer costs its neighbour: queue 1 beside a queue 0 that attacks.

``python -m tools.attack`` runs each attack in turn with a run without one, several rounds,
and prints queue 1's throughput as a ratio of the two, taken round by round. What an honest
queue 0 takes of the cores it takes in the run without an attack. With ``--malformed N`` it
goes on with 100 % malformed RQEs until N of them were judged. Exit code 1 if any run had a
finding.

``--hostile`` instead runs each of the consumers of ``tests/emu/hostile.py`` once, as a command of
its own: it must end by itself in ``--within`` seconds with the exit code that it must have, one
verdict and ``run.json``, no traceback, and leave neither a process nor shared memory. Consumers
that end or hang while they are imported come with them.

``--providers`` runs our example of a provider with a call of it (or the loading of the library)
that exits, crashes, aborts, hangs or ends the process: the run must not pass, must say so in one
verdict or one line, and must leave nothing either.
"""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
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
from emu.compile.ondemand import core_sources
from emu.compile.toolchain import any_compiler
from emu.config import Overload, RunConfig, Verify
from emu.runtime.processes import LOAD_TIMEOUT_S
from emu.runtime.segment import PREFIX, SHM_DIR
from emu.runtime.session import run
from emu.verdict.report import Report
from faults import VALID_VERDICTS, parse_plan

_HOUR_US = 3_600_000_000
#: Sixteen malformed RQEs for each valid one: there is hardly anything else in the ring.
_MALFORMED = ",".join(
    f"{fault}:1:queue=0" for fault in ("bad-pad", "bad-area", "bad-index", "bad-offset") * 4
)


@dataclass(frozen=True, slots=True)
class Attack:
    """One way for queue 0's consumer to be a nuisance."""

    name: str
    words: str
    plan: str


ATTACKS = (
    Attack("malformed", "16 malformed RQEs for each valid one", _MALFORMED),
    Attack("no-return", "never returns a buffer", "hoard:1:queue=0:max=65536"),
    Attack("no-drain", "never reads its completion queue", f"cq-stall:at=0:queue=0:us={_HOUR_US}"),
    Attack("no-publish", "never publishes its tail", f"tail-stall:at=0:queue=0:us={_HOUR_US}"),
    Attack("tail", "publishes any tail, all the time", "tail-random:1:queue=0"),
)


def _run(plan: str, seconds: float, seed: int) -> Report:
    return run(
        RunConfig(
            seed=seed,
            duration_s=seconds,
            queues=2,
            # The checks of both consumers would weigh more than what is to be measured.
            verify=Verify.TOUCH,
            overload=Overload.DROP,
            plan=parse_plan(plan),
        )
    )


def _rate(report: Report) -> float:
    """Packets a second that queue 1 delivered."""
    return report.queues[1].nic["packets_delivered"] / report.elapsed_s


def _malformed(report: Report) -> int:
    """Entries of rules that earned what no valid one may earn."""
    return sum(
        count
        for row in report.reconciliation.rows[1:]
        for verdict, count in row.earned.items()
        if verdict not in VALID_VERDICTS
    )


def _compare(console: Console, attacks: list[Attack], rounds: int, seconds: float) -> list[str]:
    findings: list[str] = []
    table = Table(header_style="bold")
    for name in ("queue 0", "queue 1 beside it, of what it has without", "lowest", "highest"):
        table.add_column(name)
    table.add_column("malformed RQEs judged", justify="right")
    for attack in attacks:
        ratios, malformed = [], 0
        for _ in range(rounds):
            seed = secrets.randbits(32)
            reports = [_run(plan, seconds, seed) for plan in ("none", attack.plan)]
            findings += [f"{attack.name}: seed {seed}: {p}" for r in reports for p in r.problems]
            ratios.append(_rate(reports[1]) / _rate(reports[0]))
            malformed += _malformed(reports[1])
        table.add_row(
            attack.words,
            f"{statistics.median(ratios):.2f}",
            f"{min(ratios):.2f}",
            f"{max(ratios):.2f}",
            str(malformed or ""),
        )
    console.print(table)
    return findings


def _flood(console: Console, total: int, seconds: float) -> list[str]:
    """Malformed RQEs until there were ``total``."""
    findings: list[str] = []
    earned: dict[str, int] = {}
    judged, runs = 0, 0
    while judged < total and not findings:
        seed = secrets.randbits(32)
        report = _run(_MALFORMED, seconds, seed)
        findings += [f"flood: seed {seed}: {problem}" for problem in report.problems]
        judged += _malformed(report)
        runs += 1
        for row in report.reconciliation.rows[1:]:
            for verdict, count in row.earned.items():
                earned[verdict] = earned.get(verdict, 0) + count
    console.print(
        f"{judged} malformed RQEs judged in {runs} runs of {seconds:g} s: "
        + ", ".join(f"{verdict} {count}" for verdict, count in sorted(earned.items()))
    )
    return findings


# ---- hostile consumers --------------------------------------------------------------------

_HOSTILE = Path(__file__).parents[1] / "tests" / "emu" / "hostile.py"


def _kinds() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("hostile", _HOSTILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    kinds: dict[str, str] = module.KINDS
    return kinds


def _marked(mark: str) -> list[int]:
    """Processes with these words in their environment, as it was when they were started."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if mark.encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:  # gone, or not ours to look into
                continue
    return found


#: Consumers that never get as far as to be called: what their module says.
_IMPORTS = {
    "exits_at_import": "raise SystemExit(0)",
    "ends_at_import": "import os; os._exit(0)",
    "raises_at_import": "raise RuntimeError('no')",
    "hangs_at_import": "import time; time.sleep(3600)",
    "has_no_function": "",
}


def _attacked(
    kind: str, options: list[str | Path], wanted: str, seconds: float, folder: Path
) -> tuple[float, str | None]:
    """Run with one hostile part: how long it took, and what is wrong."""
    script = Path(sys.executable).with_name("zcrx-emu")
    mark = f"ZCRX_ATTACK={os.getpid()}.{kind}"
    begin = time.monotonic()
    paths = os.pathsep.join((str(_HOSTILE.parent), str(folder)))
    with (folder / "output").open("w+", errors="replace") as output:
        process = subprocess.Popen(
            [
                *(script, "stress", "--queues", "2", "--duration", str(seconds)),
                *("--run-dir", folder / "run", *options),
            ],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": paths, **dict([mark.split("=")])},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            code = process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return 60.0, "it did not end"
        took = time.monotonic() - begin
        output.seek(0)
        said = output.read()
    return took, _wrong(code, wanted, said, folder, process.pid, mark)


def _wrong(code: int, wanted: str, said: str, folder: Path, pid: int, mark: str) -> str | None:
    allowed = {"pass": (0,), "fail": (1,), "any": (0, 1), "refused": (1, 2)}[wanted]
    if code not in allowed:
        return f"exit code {code} instead of {' or '.join(map(str, allowed))}"
    if "Traceback (most recent call last)" in said:
        return "a traceback reached the user"
    names = [path.name for path in SHM_DIR.iterdir() if f"{PREFIX}.{pid}." in path.name]
    left = [f"process {pid}" for pid in _marked(mark)]
    if names or left:
        return f"left behind: {', '.join(names + left)}"
    if wanted == "refused" and code == 2:
        return None if said.count("zcrx-emu: error: ") == 1 else "it was not refused in one line"
    try:
        report = json.loads((folder / "run" / "run.json").read_text())
    except (OSError, ValueError) as error:
        return f"no report: {error}"
    verdicts = [line for line in said.splitlines() if line.startswith(("PASS", "FAIL"))]
    if not verdicts or (code == 0) is not verdicts[0].startswith("PASS"):
        return f"the verdict that is shown is {verdicts[:1]}"
    if report["ok"] is not (code == 0) or bool(report["problems"]) is report["ok"]:
        return "report and exit code differ"
    return None


@dataclass(frozen=True, slots=True)
class Hostile:
    """One run with a part that is not ours, and what must come of it."""

    name: str
    wanted: str  #: ``pass``, ``fail``, ``any``, or ``refused``: a finding, or an error in one line
    options: list[str | Path]
    module: str | None = None  #: Python text of a module called ``attacker``
    provider: str | None = None  #: C text of a provider, to be compiled
    waits_s: float = 0.0  #: for which it is waited for at its start


def _consumers() -> list[Hostile]:
    kinds = [
        Hostile(kind, wanted, ["--consumer", f"hostile:{kind}"])
        for kind, wanted in _kinds().items()
    ]
    return kinds + [
        Hostile(
            name,
            "refused",
            ["--consumer", "attacker:main"],
            module=text,
            waits_s=LOAD_TIMEOUT_S if name.startswith("hangs") else 0.0,
        )
        for name, text in _IMPORTS.items()
    ]


# ---- hostile providers --------------------------------------------------------------------

_PROVIDER = Path(__file__).parents[1] / "docs" / "examples" / "plain_provider.c"
_DEEDS = {
    "exits": "exit(0)",
    "ends": "_exit(0)",
    "crashes": "raise(SIGSEGV)",
    "aborts": "abort()",
    "hangs": "for (;;) pause()",
}
#: Where: the text behind which it happens. A scrub and what destroys come at a run's end.
_CALLS = {
    "loading": None,
    "init": "static int plain_init(struct zcrx_provider_queue *queue, uint32_t pool)\n{",
    "alloc": "plain_alloc_netmems(struct zcrx_provider_queue *queue, uint32_t pool)\n{",
    "scrub": "static uint64_t plain_scrub(struct zcrx_provider_queue *queue)\n{",
    "destroy": "static int plain_destroy(struct zcrx_provider_queue *queue, uint32_t pool)\n{",
}


def _providers() -> list[Hostile]:
    found = []
    plain = (
        "#include <signal.h>\n#include <stdlib.h>\n#include <unistd.h>\n" + _PROVIDER.read_text()
    )
    for where, place in _CALLS.items():
        for how, deed in _DEEDS.items():
            if place is None:
                text = f"{plain}\n__attribute__((constructor)) static void load(void)\n"
                text += f"{{\n\t{deed};\n}}\n"
            else:
                assert plain.count(place) == 1
                text = plain.replace(place, f"{place}\n\t{deed};")
            found.append(Hostile(f"{where}_{how}", "refused", [], provider=text))
    return found


def _prepare(attacker: Hostile, folder: Path) -> list[str | Path]:
    """Write what it needs; its options."""
    if attacker.module is not None:
        (folder / "attacker.py").write_text(attacker.module)
    if attacker.provider is None:
        return attacker.options
    source, library = folder / "attacker.c", folder / "attacker.so"
    source.write_text(attacker.provider)
    flags = ["-std=gnu11", "-g", "-O1", "-fPIC", "-shared", "-w", f"-I{core_sources()}"]
    subprocess.run([any_compiler().path, *flags, "-o", library, source], check=True)
    return ["--provider", library]


def _hostile(
    console: Console,
    attackers: list[Hostile],
    chosen: list[str] | None,
    seconds: float,
    within: float,
) -> int:
    """Run them all; how many went wrong."""
    table = Table("attacker", "must", "took", "", header_style="bold")
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="attack-") as root:
        for attacker in attackers:
            kind, wanted = attacker.name, attacker.wanted
            if chosen and kind not in chosen:
                continue
            folder = Path(root) / kind
            folder.mkdir()
            took, problem = _attacked(kind, _prepare(attacker, folder), wanted, seconds, folder)
            if problem is None and took > seconds + within + attacker.waits_s:
                problem = "it took too long"
            wrong += problem is not None
            table.add_row(kind, wanted, f"{took:.1f} s", problem or "as it must be")
    console.print(table)
    return wrong


def main(
    attack: Annotated[list[str] | None, typer.Argument(help="Which ones; all if none.")] = None,
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    seconds: Annotated[float, typer.Option(min=0.1)] = 3.0,
    malformed: Annotated[int, typer.Option(min=0, help="Go on until so many were judged.")] = 0,
    hostile: Annotated[
        bool, typer.Option("--hostile", help="Run hostile consumers and look at the verdicts.")
    ] = False,
    providers: Annotated[
        bool, typer.Option("--providers", help="The same with providers that misbehave.")
    ] = False,
    within: Annotated[float, typer.Option(help="Seconds beyond the traffic, with these.")] = 20.0,
) -> None:
    """Measure what attacks on queue 0 cost queue 1; or run hostile consumers and providers."""
    if hostile or providers:
        attackers = [*(_consumers() if hostile else []), *(_providers() if providers else [])]
        unknown = set(attack or ()) - {item.name for item in attackers}
        if unknown:
            raise typer.BadParameter(f"{min(unknown)!r} is not known")
        if _hostile(Console(width=120), attackers, attack, seconds, within):
            raise typer.Exit(1)
        return
    known = {item.name: item for item in ATTACKS}
    for name in attack or ():
        if name not in known:
            raise typer.BadParameter(f"{name!r} is not known; allowed are {', '.join(known)}")
    chosen = [known[name] for name in attack] if attack else list(ATTACKS)
    console = Console(width=120)
    findings = _compare(console, chosen, rounds, seconds)
    if malformed:
        findings += _flood(console, malformed, 30.0)
    for finding in findings:
        console.print(f"FAIL: {finding}", markup=False)
    if findings:
        raise typer.Exit(1)


if __name__ == "__main__":
    run_function(main, "attack")
