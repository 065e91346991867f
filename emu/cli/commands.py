"""The commands that run processes: ``stress`` and ``recv``."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from emu.areas import buffers_at_start
from emu.cli import values
from emu.cli.closing import print_report
from emu.cli.metrics_option import MetricsOption, check_metrics, served
from emu.cli.output import (
    EXIT_FINDING,
    EXIT_USAGE,
    JsonOption,
    check_target,
    conclude,
    console_for,
)
from emu.cli.plan import plan_of
from emu.cli.rehearsal import words_are_read
from emu.cli.render import LiveView, compiling_shown
from emu.cli.report_option import ReportOption, check_report, written
from emu.cli.trace_option import TraceOption, check_trace, trace_written
from emu.config import (
    AREA_BUFFERS,
    COPY_AREA_BUFFERS,
    GRANT_ENTRIES,
    HOLD,
    NIOV_SIZE,
    ONE_AREA,
    GrantOrder,
    Overload,
    Pace,
    ReturnOrder,
    RunConfig,
    Verify,
)
from emu.contract import LEVELS, SEED
from emu.errors import ConfigError
from emu.host import streams
from emu.runtime.sample import Sample
from emu.runtime.session import Session, interruptible
from emu.traffic import SOURCE_FORMS, TcpSource, listen, parse_source
from emu.verdict.report import Report
from emu.verdict.rundir import make_run_dir
from faults import plan_name

if TYPE_CHECKING:
    from prometheus_client import Metric

_DEFAULTS = RunConfig()
#: A worker that could not do its work because of its environment ends so (see emu.runtime.worker).
_WORKER_ENVIRONMENT = 4

SeedOption = Annotated[
    int | None, typer.Option(help="Decides traffic, faults and order; random if not given.")
]
FaultsOption = Annotated[
    str,
    typer.Option(
        help="A plan: a profile's name, a .toml file, NAME:PROBABILITY,… or none. "
        "'zcrx-emu faults list' shows what there is.",
        autocompletion=values.plans,
    ),
]
RunDirOption = Annotated[
    Path | None, typer.Option(help="Folder for run.json; runs/TIME-PID if not given.")
]
AreaOption = Annotated[int, typer.Option(help="Buffers (niovs) of 4096 bytes in each area.")]
AreasOption = Annotated[
    str,
    typer.Option(
        metavar="N[+MORE][:BUFFERS,...]",
        help="Areas of each queue: N to begin with, MORE that are added while the run is on, and "
        "their buffers, the last for all behind it; more than 1 from kernel 7.3 on.",
    ),
]
RqOption = Annotated[int, typer.Option(help="Refill ring entries, 1 to 32768.")]
ProviderOption = Annotated[
    str | None,
    typer.Option(
        help="A provider of your own, its C source or a library: see docs/provider.md.",
        autocompletion=values.providers,
    ),
]
KernelOption = Annotated[
    str,
    typer.Option(
        help=f"Whose provider is played: {', '.join(LEVELS)}; see docs/levels.md.",
        autocompletion=values.levels,
    ),
]
PinOption = Annotated[bool, typer.Option(help="Bind NIC and consumers to cores.")]


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


def _has_our_consumer(report: Report) -> bool:
    return bool(report.config["consumer"] == "builtin")


def finish(
    console: Console,
    report: Report,
    json_target: str | None,
    page: Path | None = None,
    trace: Path | None = None,
) -> None:
    print_report(console, report)
    code = 0 if report.ok else EXIT_FINDING
    # Somebody's code in a consumer may end it with any code.
    ours = [p for p in report.processes if p.role != "consumer" or _has_our_consumer(report)]
    if any(process.exit_code == _WORKER_ENVIRONMENT for process in ours):
        code = EXIT_USAGE
    value, unwritten = report.as_dict(), report.unwritten
    if page is not None:
        from emu.page.run_page import run_page  # here: few runs want a page

        folder = None if report.run_dir is None else Path(report.run_dir)
        unwritten = unwritten or written(page, lambda: run_page(value, folder))
    unwritten = unwritten or trace_written(trace, report, value)
    conclude(json_target, value, code, unwritten)


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
    areas: AreasOption = ONE_AREA,
    rq_entries: RqOption = _DEFAULTS.rq_entries,
    cq_entries: Annotated[int, typer.Option(help="Completion queue entries.")] = (
        _DEFAULTS.cq_entries
    ),
    grant_entries: Annotated[
        int | None,
        typer.Option(help=f"Buffers posted to the NIC ({GRANT_ENTRIES}; no more than there are)."),
    ] = None,
    grant_order: Annotated[
        GrantOrder,
        typer.Option(
            help="In which order the NIC takes them: as posted, like hardware, or newest first."
        ),
    ] = GrantOrder.RING,
    in_flight: Annotated[
        int,
        typer.Option(
            help="Buffers that go round as long as they come back at once, beside those that are "
            "held; 0 = the whole area."
        ),
    ] = _DEFAULTS.in_flight,
    ptr_ring_size: Annotated[int, typer.Option(help="Slots of a page pool's ptr ring.")] = (
        _DEFAULTS.ptr_ring_size
    ),
    initial_index: Annotated[int, typer.Option(help="Where the rings' indices start, u32.")] = 0,
    traffic: Annotated[
        str,
        typer.Option(help=f"Traffic source: {SOURCE_FORMS}.", autocompletion=values.traffic),
    ] = "synthetic",
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
    kernel: KernelOption = SEED,
    rx_buf_len: Annotated[
        int, typer.Option(help="Bytes of a buffer, a power of two up to 32768; kernels since 7.1.")
    ] = _DEFAULTS.rx_buf_len,
    strict_alias: Annotated[
        bool, typer.Option("--strict-alias", help="Reject indices whose upper bits would vanish.")
    ] = False,
    faults: FaultsOption = "none",
    provider: ProviderOption = None,
    consumer: Annotated[
        str,
        typer.Option(
            help="builtin, MODULE:FUNCTION called with an emu.Consumer, or a C source or library "
            "that is given the raw rings: see docs/consumers.md.",
            autocompletion=values.consumers,
        ),
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
    report: ReportOption = None,
    perfetto: TraceOption = None,
    metrics: MetricsOption = None,
) -> None:
    """Move traffic at full speed with faults injected, and account for everything."""
    if duration is None and not packets and not laps:
        duration = 10.0
    check_target("json", json_target)
    check_report(report)
    check_trace(perfetto)
    check_metrics(metrics)
    config = RunConfig(
        seed=_seed(seed),
        traffic=traffic,
        duration_s=duration,
        packets=packets,
        laps=laps,
        queues=queues,
        area_buffers=AREA_BUFFERS if area_buffers is None else area_buffers,
        areas=areas,
        rq_entries=rq_entries,
        cq_entries=cq_entries,
        grant_entries=GRANT_ENTRIES if grant_entries is None else grant_entries,
        grant_order=grant_order,
        in_flight=in_flight,
        ptr_ring_size=ptr_ring_size,
        initial_index=initial_index,
        pace=pace,
        overload=overload,
        wait_ms=wait_ms,
        copy_every=copy_every,
        verify=verify,
        return_order=return_order,
        hold=HOLD if hold is None else hold,
        kernel=kernel,
        rx_buf_len=rx_buf_len,
        strict_alias=strict_alias,
        pin=pin,
        plan=plan_of(faults, queues),
        provider=provider,
        consumer=consumer,
        poison=poison,
        respawn=respawn,
    )
    words_are_read(lambda: parse_source(traffic))
    console = console_for(json_target)
    done = run_stress(console, config, run_dir, keeps_flight=perfetto is not None, metrics=metrics)
    finish(console, done, json_target, report, perfetto)


def run_stress(
    console: Console,
    config: RunConfig,
    run_dir: Path | None,
    *,
    keeps_flight: bool = False,
    metrics: str | None = None,
) -> Report:
    _print_start(console, config)
    with (
        compiling_shown(console),
        _metrics_served(console, metrics, config, "stress") as publish,
        _run_folder(run_dir) as folder,
        Session(config, run_dir=folder, keeps_flight=keeps_flight) as session,
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
                publish(sample)
                if streams.nobody_reads():
                    session.interrupt("nobody reads its output")

            return session.run(look)


def _metrics_served(
    console: Console, address: str | None, config: RunConfig, command: str
) -> contextlib.AbstractContextManager[Callable[[Sample], None]]:
    def families() -> Callable[[Sample | None], Iterable[Metric]]:
        from emu.metrics.of_run import RunFamilies  # here: few want it

        return RunFamilies(config, command)

    return served(console, address, families)


def _areas_in_words(config: RunConfig) -> str:
    areas = config.area_plan
    if areas.count == 1:
        return f"{config.buffers} buffers"
    more = f" and {areas.more} more to come" if areas.more else ""
    many = "area" if areas.start == 1 else "areas"
    return f"{areas.start} {many} of {config.buffers} buffers{more}"


def _print_start(console: Console, config: RunConfig) -> None:
    console.print(f"seed {config.seed}", highlight=False)
    console.print(
        f"{config.queues} queue(s) of {_areas_in_words(config)}, refill ring of "
        f"{config.rq_entries}, traffic {config.traffic}, faults {plan_name(config.plan)}"
        + (f", buffers of {config.rx_buf_len}" if config.rx_buf_len != NIOV_SIZE else "")
        + (f", kernel {config.kernel}" if config.kernel != SEED else "")
        + (f", provider {config.provider}" if config.provider else "")
        + (f", consumer {config.consumer}" if config.has_raw_consumer else ""),
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


def recv(
    listen_at: Annotated[str, typer.Option("--listen", help="HOST:PORT; port 0 = any free one.")],
    output: Annotated[str, typer.Option(help="File for the bytes received; - = stdout.")],
    faults: FaultsOption = "none",
    provider: ProviderOption = None,
    seed: SeedOption = None,
    area_buffers: AreaOption = _DEFAULTS.area_buffers,
    areas: AreasOption = ONE_AREA,
    rq_entries: RqOption = _DEFAULTS.rq_entries,
    kernel: KernelOption = SEED,
    pin: PinOption = True,
    run_dir: RunDirOption = None,
    json_target: JsonOption = None,
    report: ReportOption = None,
    perfetto: TraceOption = None,
    metrics: MetricsOption = None,
) -> None:
    """Receive one TCP connection through NIC, provider and consumer into a file."""
    if output == "-" and json_target == "-":
        raise ConfigError("json: '-' is taken by --output; name a file")
    check_target("json", json_target)
    check_report(report)
    check_trace(perfetto)
    check_metrics(metrics)
    plan = plan_of(faults, 1)
    source = parse_source(f"tcp:{listen_at}")
    assert isinstance(source, TcpSource)
    config = RunConfig(
        seed=_seed(seed),
        traffic=f"tcp:{listen_at}",
        area_buffers=area_buffers,
        areas=areas,
        rq_entries=rq_entries,
        # A user that kept a small area to itself would wait for ever: TCP drops nothing.
        hold=min(_DEFAULTS.hold, buffers_at_start(areas, area_buffers) // 2),
        kernel=kernel,
        pin=pin,
        plan=plan,
        provider=provider,
        connections=1,
    )
    console = console_for(json_target, stderr=output == "-")
    with (
        compiling_shown(console),
        _metrics_served(console, metrics, config, "recv") as publish,
        _run_folder(run_dir) as folder,
        listen(source) as listener,
        _output(output) as output_fd,
        Session(
            config,
            run_dir=folder,
            output_fd=output_fd,
            stop_at_end=1,
            listener=listener,
            keeps_flight=perfetto is not None,
        ) as session,
        interruptible(session),
    ):
        _print_start(console, config)
        if session.listener_address is not None:
            console.print(f"listening on {session.listener_address}", highlight=False)
        received = session.run(publish)  # no live view: people watch the sender's own progress
    finish(console, received, json_target, report, perfetto)
