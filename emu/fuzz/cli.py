"""``zcrx-emu fuzz``, and what ``replay`` does with a finding of it."""

from __future__ import annotations

import contextlib
import math
import signal
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from emu.bugs import CONTENT_BUGS, find_bug, level_for
from emu.cli import values
from emu.cli.metrics_option import MetricsOption, check_metrics, served
from emu.cli.output import check_target, conclude, console_for
from emu.cli.rehearsal import words_are_read
from emu.cli.render import compiling_shown
from emu.cli.report_option import ReportOption, check_report, written
from emu.cli.sarif_option import SarifOption, check_sarif, logged
from emu.contract import LEVELS
from emu.errors import ConfigError, EnvironmentProblem
from emu.fuzz.campaign import (
    Campaign,
    CampaignPlan,
    CampaignProgress,
    folder_for,
    fresh_seed,
)
from emu.fuzz.engine import EngineName, default_engine
from emu.fuzz.finding import (
    finding_as_dict,
)
from emu.fuzz.harness import Target
from emu.fuzz.merging import merge_folders
from emu.fuzz.once import (
    CORPUS,
    FINDINGS,
    check_folder,
    corpus_of,
    differential,
    emit_tests,
    minimise,
    replay,
)
from emu.fuzz.view import (
    CampaignView,
    print_finding,
    print_gaps,
    print_summary,
)
from emu.host.ending import ended_by_signals
from emu.host.streams import nobody_reads
from emu.metrics.of_fuzz import CampaignFamilies, CampaignSample

EXIT_FINDING = 1
#: A worker is a process.
JOBS_MAX = 256
#: Of libFuzzer and AFL++: their seeds are ints.
SEED_MAX = 2**31 - 1
_SECONDS = 60.0


@contextlib.contextmanager
def _gone_if_unused(*folders: Path) -> Iterator[None]:
    """Folders that were made for a campaign go again if it fails before anything is in them."""
    made = {new for folder in folders for new in (folder, *folder.parents) if not new.exists()}
    try:
        yield
    except BaseException:
        for folder in sorted(made, key=lambda path: len(path.parts), reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def _interruptible(campaign: Campaign) -> contextlib.AbstractContextManager[None]:
    """Let a signal end the campaign in order; a second one ends it at once."""

    def handle(_number: signal.Signals) -> None:
        if campaign.is_stopped:
            raise KeyboardInterrupt
        campaign.stop()

    return ended_by_signals(handle)


def _as_dict(plan: CampaignPlan, progress: CampaignProgress) -> dict[str, Any]:
    return {
        "engine": str(plan.engine),
        "seed": plan.seed,
        "target": plan.target.label,
        "provider": str(plan.target.provider) if plan.target.provider else None,
        "seconds": progress.seconds,
        "executions": progress.executions,
        "edges": progress.edges,
        "corpus": progress.corpus,
        "coverage": asdict(progress.coverage) if progress.coverage else None,
        "workers_replaced": progress.deaths,
        "killed": progress.killed,
        "findings": [finding_as_dict(*item) for item in progress.findings],
        "interrupted": progress.interrupted,
        "series": {
            "t_s": list(progress.points.times),
            **{
                name: [row[at] for row in progress.points.rows]
                for at, name in enumerate(("executions", "edges", "corpus", "findings"))
            },
        },
        "unwritten": progress.unwritten,
    }


def fuzz(
    console: Console,
    *,
    seconds: float,
    jobs: int,
    engine: EngineName | None,
    corpus: Path | None,
    findings: Path | None,
    target: Target,
    seed: int | None,
    findings_max: int,
    cover: Path | None,
    tests: Path | None,
    metrics: str | None = None,
) -> dict[str, Any]:
    """Run a campaign and say what it came to; the summary as values."""
    if not 1 <= jobs <= JOBS_MAX:
        raise ConfigError.of("jobs", jobs, f"1 to {JOBS_MAX}")
    if not (seconds >= 0 and math.isfinite(seconds)):
        raise ConfigError.of("time", seconds, "0 (no limit) or more seconds")
    if findings_max < 0:
        raise ConfigError.of("stop-at", findings_max, "0 (go on) or more findings")
    if seed is not None and not 0 <= seed <= SEED_MAX:
        raise ConfigError.of("seed", seed, f"0 to {SEED_MAX}")
    check_folder("emit-test", tests)
    words_are_read()
    corpus, findings = corpus or corpus_of(target), findings or FINDINGS
    with _gone_if_unused(corpus, findings, *([] if cover is None else [cover])):
        if cover is not None:  # it is written at the end: too late to say that it cannot be
            folder_for("cover", cover)
        plan = CampaignPlan(
            target=target,
            engine=engine or default_engine(),
            corpus=folder_for("corpus", corpus),
            findings=folder_for("findings", findings),
            seconds=seconds,
            jobs=jobs,
            seed=fresh_seed() if seed is None else seed,
            findings_max=findings_max,
        )
        _announce(console, plan, chosen=engine is not None)
        progress = _run(console, plan, cover, metrics)
    emit_tests(console, [finding for finding, _ in progress.findings], tests)
    return _as_dict(plan, progress)


def _run(
    console: Console, plan: CampaignPlan, cover: Path | None, metrics: str | None
) -> CampaignProgress:
    # What is built and made before the campaign runs is given back, too.
    with (
        served(console, metrics, partial(CampaignFamilies, plan)) as publish,
        Campaign(plan) as campaign,
    ):
        if cover is not None:
            campaign.open_meter()
        with _interruptible(campaign), CampaignView(console, plan) as view:

            def look(progress: CampaignProgress) -> None:
                view.update(progress)
                publish(CampaignSample.of(progress))
                if nobody_reads():
                    campaign.stop()

            progress = campaign.run(look)
        progress.interrupted = campaign.is_stopped
        print_summary(console, plan, progress)
        for finding, path in progress.findings:
            console.print(f"\n{path}", highlight=False, markup=False, soft_wrap=True)
            print_finding(console, finding)
        if cover is not None:
            meter = campaign.meter()
            console.print(f"coverage: {meter.measure().text}", highlight=False)
            print_gaps(console, meter.gaps())
            console.print(f"annotated sources: {meter.write_report(cover)}", highlight=False)
    return progress


def _announce(console: Console, plan: CampaignPlan, *, chosen: bool) -> None:
    console.print(f"seed {plan.seed}", highlight=False)
    if plan.engine is EngineName.GENERATE and not chosen:
        console.print(
            "clang with libFuzzer is not installed: programs are made up without feedback "
            "from coverage",
            highlight=False,
        )
    build = "sanitized" if plan.target.sanitize else "fast"
    console.print(
        f"{plan.engine}, {plan.jobs} worker(s), {build} build: {plan.target.label}; corpus "
        f"{plan.corpus}, findings {plan.findings}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def command(
    time: Annotated[
        float | None,
        typer.Option("--time", help="Seconds; 60, but as long as it takes to merge; 0 = no limit."),
    ] = None,
    jobs: Annotated[int, typer.Option(help="Worker processes.")] = 1,
    engine: Annotated[
        EngineName | None,
        typer.Option(help="libfuzzer if clang is installed, else generate."),
    ] = None,
    corpus: Annotated[
        Path | None,
        typer.Option(help=f"Folder of programs, read and added to; one a provider in {CORPUS}."),
    ] = None,
    findings: Annotated[Path | None, typer.Option(help=f"Folder for findings; {FINDINGS}.")] = (
        None
    ),
    provider: Annotated[
        Path | None,
        typer.Option(
            help="Attack this one: its C source or a library: see docs/provider.md.",
            autocompletion=values.providers,
        ),
    ] = None,
    bug: Annotated[
        str | None,
        typer.Option(
            help="Put a seeded bug into our provider; 'list' shows them.",
            autocompletion=values.content_bugs,
        ),
    ] = None,
    kernel: Annotated[
        str | None,
        typer.Option(
            help=f"Level that programs are made up for: {', '.join(LEVELS)}; seed, or one that "
            "shows the bug.",
            autocompletion=values.levels,
        ),
    ] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Without sanitizers.")] = False,
    seed: Annotated[int | None, typer.Option(help="Of the first worker; random if not given.")] = (
        None
    ),
    stop_at: Annotated[int, typer.Option(help="End after so many different findings.")] = 0,
    replay_: Annotated[
        Path | None,
        typer.Option(
            "--replay", help="Only run this program or finding again, step by step: a crash-… file."
        ),
    ] = None,
    minimize: Annotated[
        Path | None, typer.Option(help="Only cut this program or finding down.")
    ] = None,
    emit_test: Annotated[
        Path | None, typer.Option(help="Write each finding as a pytest test into this folder.")
    ] = None,
    merge: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            help="Only merge the programs of this folder, and of others, into --corpus: few that "
            "reach as much.",
        ),
    ] = None,
    cover: Annotated[
        Path | None, typer.Option(help="Write the annotated sources into this folder.")
    ] = None,
    differential_: Annotated[
        bool,
        typer.Option("--differential", help="Only replay the corpus beside the specification."),
    ] = False,
    json_target: Annotated[
        str | None, typer.Option("--json", help="Write the summary to this file; - = stdout.")
    ] = None,
    report: ReportOption = None,
    sarif: SarifOption = None,
    metrics: MetricsOption = None,
) -> None:
    """Hunt for programs of operations in which a memory provider goes wrong."""
    if bug == "list":
        for known in CONTENT_BUGS.values():
            print(f"{known.name}: {known.explanation}")
        return
    if provider is not None and bug is not None:
        raise ConfigError.of("bug", bug, "a seeded bug is one of our own provider's")
    for name, wanted in (("report", report), ("sarif", sarif), ("metrics", metrics)):
        if wanted is not None and (minimize or replay_ or differential_ or merge):
            raise ConfigError.of(name, str(wanted), "it is of a campaign: not with these options")
    seeded = find_bug(bug, CONTENT_BUGS) if bug is not None else None
    level = level_for(seeded, kernel)
    check_target("json", json_target)
    check_report(report)
    check_sarif(sarif)
    check_metrics(metrics)
    console = console_for(json_target)
    target = Target(bug=seeded, provider=provider, sanitize=not fast, kernel=level)
    if cover is not None and cover.exists() and not cover.is_dir():
        raise EnvironmentProblem(f"cover: {str(cover)!r} is no folder")
    with compiling_shown(console):
        if replay_ is not None:
            summary = replay(console, replay_, target)
            summary["findings"] = [str(replay_)] if summary["still_shows"] else []
        elif minimize is not None:
            summary = minimise(console, minimize, target, findings, emit_test)
        elif merge:
            with _gone_if_unused(*([] if corpus is None else [corpus])):
                summary = merge_folders(
                    console, merge, corpus, target, findings or FINDINGS, time or 0.0
                )
        elif differential_:
            summary = differential(console, corpus, target)
        else:
            summary = fuzz(
                console,
                seconds=_SECONDS if time is None else time,
                jobs=jobs,
                engine=engine,
                corpus=corpus,
                findings=findings,
                target=target,
                seed=seed,
                findings_max=stop_at,
                cover=cover,
                tests=emit_test,
                metrics=metrics,
            )
    code = EXIT_FINDING if summary["findings"] else 0
    unwritten = summary.get("unwritten")
    if report is not None:
        from emu.page.made import campaign_text  # here: few campaigns want a page

        unwritten = unwritten or written(report, lambda: campaign_text(summary))
    if sarif is not None:
        from emu.formats.made import campaign_log  # here: few campaigns want a log
        from emu.formats.of_fuzz import target_path

        attacked = target_path(target)
        lost = logged(sarif, lambda: campaign_log(summary, attacked))
        unwritten = unwritten or lost
    conclude(json_target, summary, code, unwritten)
