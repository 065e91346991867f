"""The commands of ``zcrx-emu``, with their options."""

from __future__ import annotations

import contextlib
import importlib.metadata
import itertools
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from emu.cli.closing import print_report
from emu.cli.doctor import examine
from emu.cli.output import EXIT_USAGE, check_target, conclude, console_for, emit_json
from emu.cli.render import LiveView, compiling_shown
from emu.cli.running import run_app
from emu.config import (
    AREA_BUFFERS,
    COPY_AREA_BUFFERS,
    GRANT_ENTRIES,
    HOLD,
    Overload,
    Pace,
    ReturnOrder,
    RunConfig,
    Verify,
)
from emu.errors import ConfigError, cut
from emu.fuzz.cli import command as fuzz_command
from emu.fuzz.cli import replay_finding
from emu.fuzz.finding import is_finding
from emu.host import streams
from emu.host.places import found_again
from emu.race.artifact import is_race_finding
from emu.race.cli import command as race_command
from emu.race.cli import replay_race
from emu.runtime.sample import Sample
from emu.runtime.session import Session, interruptible
from emu.traffic import SOURCE_FORMS, TcpSource, listen, parse_source
from emu.verdict.finding_file import read_json
from emu.verdict.report import Report
from emu.verdict.rundir import JOURNAL, make_run_dir
from faults import (
    CATALOGUE,
    PROFILES,
    Plan,
    PlanError,
    UnknownFaultError,
    find,
    load_plan,
    plan_name,
)
from faults.custom import modules_in, survey
from faults.tables import (
    broken_table,
    catalogue_table,
    fault_table,
    plan_table,
    profile_table,
)

_DEFAULTS = RunConfig()
EXIT_FINDING = 1
#: A worker that could not do its work because of its environment ends so (see emu.runtime.worker).
_WORKER_ENVIRONMENT = 4

app = typer.Typer(
    name="zcrx-emu",
    help="Linux io_uring zero-copy receive in user space, with faults on purpose.",
    add_completion=False,
    pretty_exceptions_enable=False,
)

SeedOption = Annotated[
    int | None, typer.Option(help="Decides traffic, faults and order; random if not given.")
]
FaultsOption = Annotated[
    str,
    typer.Option(
        help="A plan: a profile's name, a .toml file, NAME:PROBABILITY,… or none. "
        "'zcrx-emu faults list' shows what there is."
    ),
]
JsonOption = Annotated[
    str | None, typer.Option("--json", help="Write the report as JSON to this file; - = stdout.")
]
RunDirOption = Annotated[
    Path | None, typer.Option(help="Folder for run.json; runs/TIME-PID if not given.")
]
AreaOption = Annotated[int, typer.Option(help="Buffers (niovs) of 4096 bytes in each area.")]
RqOption = Annotated[int, typer.Option(help="Refill ring entries, 1 to 32768.")]
ProviderOption = Annotated[
    str | None,
    typer.Option(help="A provider of your own, its C source or a library: see docs/provider.md."),
]
PinOption = Annotated[bool, typer.Option(help="Bind NIC and consumers to cores.")]


@contextlib.contextmanager
def _plan_errors() -> Iterator[None]:
    """Let the fault layer's errors be answered like any other wrong use."""
    try:
        yield
    except (PlanError, UnknownFaultError) as error:
        raise ConfigError(str(error)) from None


def _plan(text: str, queues: int | None) -> Plan:
    """Load a plan, for a run of that many queues if it is known."""
    with _plan_errors():
        plan = load_plan(text)
        if queues is not None and queues > 0:  # what is no number of queues is refused elsewhere
            plan.check_queues(queues)
        return plan


def _seed(seed: int | None) -> int:
    return secrets.randbits(64) if seed is None else seed


def _free_folder() -> Path:
    """One that no run has: a process may begin several in a second."""
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(path for path in map(Path("runs").joinpath, names) if not path.exists())


@contextlib.contextmanager
def _run_folder(given: Path | None) -> Iterator[Path]:
    """Make the run's folder; it goes again if the run never came to writing into it."""
    folder = given or _free_folder()
    made = [path for path in (folder, folder.parent) if not path.exists()]
    make_run_dir(folder)
    try:
        yield folder
    finally:
        with contextlib.suppress(OSError):  # as a rule: it is not empty
            for path in made:
                path.rmdir()


def _finish(console: Console, report: Report, json_target: str | None) -> None:
    print_report(console, report)
    code = 0 if report.ok else EXIT_FINDING
    if any(process.exit_code == _WORKER_ENVIRONMENT for process in report.processes):
        code = EXIT_USAGE
    conclude(json_target, report.as_dict(), code, report.unwritten)


@app.command()
def stress(
    duration: Annotated[
        float | None, typer.Option(help="Seconds of traffic (10 if nothing else ends the run).")
    ] = None,
    packets: Annotated[int, typer.Option(help="Packets to offer; 0 = no limit.")] = 0,
    laps: Annotated[int, typer.Option(help="Replay the traffic that often; 0 = no limit.")] = 0,
    seed: SeedOption = None,
    queues: Annotated[int, typer.Option(help="Receive queues, each with its consumer.")] = 1,
    area_buffers: Annotated[
        int | None,
        typer.Option(
            help="Buffers (niovs) of 4096 bytes in each area "
            f"({AREA_BUFFERS}; {COPY_AREA_BUFFERS} with --copy-every)."
        ),
    ] = None,
    rq_entries: RqOption = _DEFAULTS.rq_entries,
    cq_entries: Annotated[int, typer.Option(help="Completion queue entries.")] = (
        _DEFAULTS.cq_entries
    ),
    grant_entries: Annotated[
        int | None,
        typer.Option(help=f"Buffers posted to the NIC ({GRANT_ENTRIES}; no more than there are)."),
    ] = None,
    ptr_ring_size: Annotated[int, typer.Option(help="Slots of a page pool's ptr ring.")] = (
        _DEFAULTS.ptr_ring_size
    ),
    initial_index: Annotated[int, typer.Option(help="Where the rings' indices start, u32.")] = 0,
    traffic: Annotated[str, typer.Option(help=f"Traffic source: {SOURCE_FORMS}.")] = "synthetic",
    pace: Annotated[Pace, typer.Option(help="As fast as possible, or at the packets' times.")] = (
        Pace.FAST
    ),
    overload: Annotated[
        Overload, typer.Option(help="A packet without room waits (up to --wait-ms) or is dropped.")
    ] = Overload.WAIT,
    wait_ms: Annotated[int, typer.Option(help="How long it waits before it is dropped.")] = 1000,
    copy_every: Annotated[
        int,
        typer.Option(
            help="Every n-th packet takes the copy fallback, if a buffer is free; 0 = none."
        ),
    ] = 0,
    verify: Annotated[Verify, typer.Option(help="What consumers check of the bytes.")] = Verify.CRC,
    return_order: Annotated[ReturnOrder, typer.Option(help="Order of returns.")] = (
        ReturnOrder.SHUFFLE
    ),
    hold: Annotated[
        int | None,
        typer.Option(help=f"Fragments a consumer holds back ({HOLD}; fewer in a small area)."),
    ] = None,
    strict_alias: Annotated[
        bool, typer.Option("--strict-alias", help="Reject indices whose upper bits would vanish.")
    ] = False,
    faults: FaultsOption = "none",
    provider: ProviderOption = None,
    consumer: Annotated[
        str, typer.Option(help="builtin, or MODULE:FUNCTION called with an emu.Consumer.")
    ] = "builtin",
    poison: Annotated[
        bool,
        typer.Option(help="Find out a consumer of your own that touches what it gave back."),
    ] = True,
    respawn: Annotated[
        bool, typer.Option("--respawn", help="Replace a killed consumer and go on.")
    ] = False,
    pin: PinOption = True,
    run_dir: RunDirOption = None,
    json_target: JsonOption = None,
) -> None:
    """Move traffic at full speed with faults injected, and account for everything."""
    if duration is None and not packets and not laps:
        duration = 10.0
    check_target("json", json_target)
    config = RunConfig(
        seed=_seed(seed),
        traffic=traffic,
        duration_s=duration,
        packets=packets,
        laps=laps,
        queues=queues,
        area_buffers=AREA_BUFFERS if area_buffers is None else area_buffers,
        rq_entries=rq_entries,
        cq_entries=cq_entries,
        grant_entries=GRANT_ENTRIES if grant_entries is None else grant_entries,
        ptr_ring_size=ptr_ring_size,
        initial_index=initial_index,
        pace=pace,
        overload=overload,
        wait_ms=wait_ms,
        copy_every=copy_every,
        verify=verify,
        return_order=return_order,
        hold=HOLD if hold is None else hold,
        strict_alias=strict_alias,
        pin=pin,
        plan=_plan(faults, queues),
        provider=provider,
        consumer=consumer,
        poison=poison,
        respawn=respawn,
    )
    console = console_for(json_target)
    _finish(console, _run_stress(console, config, run_dir), json_target)


def _run_stress(console: Console, config: RunConfig, run_dir: Path | None) -> Report:
    _print_start(console, config)
    with (
        compiling_shown(console),
        _run_folder(run_dir) as folder,
        Session(config, run_dir=folder) as session,
        interruptible(session),
    ):
        if session.listener_address is not None:
            console.print(f"listening on {session.listener_address}", highlight=False)
        processes = {"control": os.getpid(), **session.pids}
        text = ", ".join(f"{label} {pid}" for label, pid in processes.items())
        console.print(f"processes: {text}", highlight=False, soft_wrap=True)
        with LiveView(console, config) as view:

            def look(sample: Sample) -> None:
                view.update(sample)
                if streams.nobody_reads():
                    session.interrupt("nobody reads its output")

            return session.run(look)


def _print_start(console: Console, config: RunConfig) -> None:
    console.print(f"seed {config.seed}", highlight=False)
    console.print(
        f"{config.queues} queue(s) of {config.area_buffers} buffers, refill ring of "
        f"{config.rq_entries}, traffic {config.traffic}, faults {plan_name(config.plan)}"
        + (f", provider {config.provider}" if config.provider else ""),
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


@contextlib.contextmanager
def _output(target: str) -> Iterator[int]:
    """Open what ``--output`` names."""
    if target == "-":
        streams.check_stdout("output")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        fd = os.dup(1) if target == "-" else os.open(target, flags, 0o666)
    except OSError as error:
        raise ConfigError(
            f"output: {target!r} cannot be written ({error.strerror}); name a writable file"
        ) from None
    try:
        yield fd
    finally:
        os.close(fd)


@app.command()
def recv(
    listen_at: Annotated[str, typer.Option("--listen", help="HOST:PORT; port 0 = any free one.")],
    output: Annotated[str, typer.Option(help="File for the bytes received; - = stdout.")],
    faults: FaultsOption = "none",
    provider: ProviderOption = None,
    seed: SeedOption = None,
    area_buffers: AreaOption = _DEFAULTS.area_buffers,
    rq_entries: RqOption = _DEFAULTS.rq_entries,
    pin: PinOption = True,
    run_dir: RunDirOption = None,
    json_target: JsonOption = None,
) -> None:
    """Receive one TCP connection through NIC, provider and consumer into a file."""
    if output == "-" and json_target == "-":
        raise ConfigError("json: '-' is taken by --output; name a file")
    check_target("json", json_target)
    plan = _plan(faults, 1)
    source = parse_source(f"tcp:{listen_at}")
    assert isinstance(source, TcpSource)
    config = RunConfig(
        seed=_seed(seed),
        traffic=f"tcp:{listen_at}",
        area_buffers=area_buffers,
        rq_entries=rq_entries,
        # A user that kept a small area to itself would wait for ever: TCP drops nothing.
        hold=min(_DEFAULTS.hold, area_buffers // 2),
        pin=pin,
        plan=plan,
        provider=provider,
        connections=1,
    )
    console = console_for(json_target, stderr=output == "-")
    with (
        compiling_shown(console),
        _run_folder(run_dir) as folder,
        listen(source) as listener,
        _output(output) as output_fd,
        Session(
            config, run_dir=folder, output_fd=output_fd, stop_at_end=1, listener=listener
        ) as session,
        interruptible(session),
    ):
        _print_start(console, config)
        if session.listener_address is not None:
            console.print(f"listening on {session.listener_address}", highlight=False)
        report = session.run(_Quiet().update)
    _finish(console, report, json_target)


class _Quiet:
    """No live view: the sender's own progress is what people watch."""

    def update(self, sample: Sample) -> None:
        """Show nothing."""


def _read_run(run: Path) -> RunConfig:
    """The configuration of an earlier run, from its folder or its JSON file."""
    path = run
    allowed = "name the folder of a run, or its run.json"
    try:
        path = run / "run.json" if run.is_dir() else run
        report: Any = read_json(path)
        config = report["config"]
    except OSError as error:
        raise ConfigError(
            f"run: {cut(repr(str(run)))} cannot be read ({error.strerror}); {allowed}"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"run: {str(path)!r} is no report of a run; {allowed}") from None
    if not isinstance(config, dict):
        raise ConfigError(f"run: {str(path)!r} has no configuration; {allowed}")
    if str(config.get("traffic", "")).startswith("tcp:"):
        raise ConfigError(
            f"run: {str(run)!r} received from programs of its own time; "
            "only runs of synthetic or captured traffic can be replayed"
        )
    return RunConfig.from_dict(_found_again(config, report.get("folder"), path.parent))


def _found_again(config: dict[str, Any], written_in: object, now_in: Path) -> dict[str, Any]:
    """A report's configuration with the files that it names where they are now."""
    found = dict(config)
    for name, prefix in (("traffic", "pcap:"), ("provider", ""), ("modules_from", "")):
        value = config.get(name)
        if isinstance(value, str) and value.startswith(prefix) and value != prefix:
            place = found_again(value.removeprefix(prefix), written_in, now_in)
            found[name] = f"{prefix}{place}"
    return found


def _read_journal(run: Path, config: RunConfig) -> Plan:
    path = (run if run.is_dir() else run.parent) / JOURNAL
    if not path.is_file():
        raise ConfigError(
            f"journal: {str(path)!r} does not exist; name the folder of a run that had a plan "
            "and came to its end, or leave --journal out"
        )
    with modules_in(config.modules_from):
        return _plan(str(path), config.queues)


@app.command()
def replay(
    run: Annotated[
        Path,
        typer.Argument(help="Folder of an earlier run, its run.json, or a fuzz or race finding."),
    ],
    journal: Annotated[
        bool,
        typer.Option("--journal", help="Inject what fired, ordinal by ordinal: its journal.toml."),
    ] = False,
    all_steps: Annotated[
        bool, typer.Option("--all-steps", help="Of a race finding: all there are.")
    ] = False,
    perfetto: Annotated[
        Path | None, typer.Option(help="Write a race finding for Perfetto's viewer.")
    ] = None,
    run_dir: RunDirOption = None,
    json_target: JsonOption = None,
) -> None:
    """Run an earlier run's configuration and seed again, or a finding of fuzz or race."""
    check_target("json", json_target)
    check_target("perfetto", perfetto)
    console = console_for(json_target)
    if is_race_finding(run) or is_finding(run):
        with compiling_shown(console):
            if is_race_finding(run):
                shown = replay_race(console, run, all_steps=all_steps, perfetto=perfetto)
            else:
                shown = replay_finding(console, run)
        conclude(json_target, shown, EXIT_FINDING if shown["still_shows"] else 0)
        return
    config = _read_run(run)
    if journal:
        config = replace(config, plan=_read_journal(run, config))
    _finish(console, _run_stress(console, config, run_dir), json_target)


app.command("fuzz")(fuzz_command)
app.command("race")(race_command)


@app.command()
def doctor(json_target: JsonOption = None) -> None:
    """Say what this machine offers for a run, with advice."""
    checks = examine()
    check_target("json", json_target)
    emit_json(
        json_target,
        {"ok": all(check.ok for check in checks), "checks": [asdict(check) for check in checks]},
    )
    if json_target != "-":
        table = Table(header_style="bold")
        for name in ("what", "found", "", "advice"):
            table.add_column(name, overflow="fold")
        for check in checks:
            mark = "[green]ok[/]" if check.ok else "[bold red]short[/]"
            table.add_row(check.name, check.found, mark, check.advice)
        Console().print(table)
    if not all(check.ok for check in checks):
        raise typer.Exit(EXIT_USAGE)


faults_app = typer.Typer(help="Show the faults there are, and check plans of them.")
app.add_typer(faults_app, name="faults")


@faults_app.callback(invoke_without_command=True)
def _faults_root(context: typer.Context) -> None:
    """Show the faults there are, and check plans of them."""
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(EXIT_USAGE)


@faults_app.command("list")
def faults_list(json_target: JsonOption = None) -> None:
    """List every fault with what it does, installed ones, and the ready-made profiles."""
    check_target("json", json_target)
    own, broken = survey()
    emit_json(
        json_target,
        {
            "faults": [fault.as_dict() for fault in CATALOGUE.values()],
            "installed": [fault.as_dict() for fault in own],
            "broken": [asdict(item) for item in broken],
            "profiles": [profile.as_dict() for profile in PROFILES.values()],
        },
    )
    if json_target != "-":
        console = Console()
        console.print(catalogue_table(CATALOGUE.values()))
        if own:
            console.print("Faults of installed packages:")
            console.print(catalogue_table(own))
        if broken:
            console.print("Faults of installed packages that cannot be used:")
            console.print(broken_table(broken))
        console.print(profile_table(PROFILES.values()))


@faults_app.command("show")
def faults_show(
    name: Annotated[str, typer.Argument(help="A fault's name, or MODULE:CLASS.")],
    json_target: JsonOption = None,
) -> None:
    """Explain one fault: what is done, what it must earn, and what holds despite it."""
    with _plan_errors():
        fault = find(name)
    check_target("json", json_target)
    emit_json(json_target, fault.as_dict())
    if json_target != "-":
        Console().print(fault_table(fault))


@faults_app.command("check")
def faults_check(
    plan_text: Annotated[str, typer.Argument(metavar="PLAN", help="What --faults takes.")],
    queues: Annotated[
        int | None, typer.Option(min=1, max=64, help="Check it for a run of that many queues.")
    ] = None,
    json_target: JsonOption = None,
) -> None:
    """Check a plan and say in words what it does."""
    plan = _plan(plan_text, queues)
    check_target("json", json_target)
    emit_json(json_target, plan.as_dict())
    if json_target != "-":
        Console().print(plan_table(plan))
        print(plan)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"zcrx-emu {importlib.metadata.version('zcrx-emu')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Linux io_uring zero-copy receive in user space, with faults on purpose."""
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(EXIT_USAGE)


def main() -> None:
    """Run ``zcrx-emu``."""
    run_app(app, "zcrx-emu")
