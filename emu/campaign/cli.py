"""``zcrx-emu campaign``: a plan's pieces on many workers, and one verdict."""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from emu.cli.ktap_option import KtapOption, check_ktap, told
from emu.cli.output import JsonOption, check_target, conclude, console_for
from emu.cli.report_option import ReportOption, check_report, written
from emu.errors import ConfigError
from emu.host.ending import ended_by_signals
from emu.host.places import absolute
from emu.host.scratch import scratch
from emu.host.streams import nobody_reads

if TYPE_CHECKING:
    from emu.campaign.artifacts import Artifacts
    from emu.campaign.drive import Drive, Ended, Limits
    from emu.campaign.plan import Plan
    from emu.campaign.store import Store

_WORKERS_MAX = 512


class _Stop:
    """Whether somebody wants the campaign to end; asked twice, it ends at once."""

    def __init__(self) -> None:
        self.is_wanted = False

    def heard(self, _number: signal.Signals) -> None:
        if self.is_wanted:
            raise KeyboardInterrupt
        self.is_wanted = True

    def asked(self) -> bool:
        return self.is_wanted or nobody_reads()


def command(
    plan: Annotated[Path, typer.Argument(help="The plan, a TOML file: see docs/campaign.md.")],
    workers: Annotated[
        int | None, typer.Option(help="Workers on this machine; as many as it has cores.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Of a Dask cluster that is there: tcp://HOST:PORT.")
    ] = None,
    store: Annotated[
        Path | None, typer.Option(help="Folder of what was done; PLAN.campaign if not given.")
    ] = None,
    artifacts: Annotated[
        str | None,
        typer.Option(help="Where files are put, by fsspec: a folder, s3://…; in the store."),
    ] = None,
    time: Annotated[
        float | None,
        typer.Option("--time", help="Seconds at most, not the plan's; 0 = all."),
    ] = None,
    stop_at: Annotated[
        int | None, typer.Option(help="End after so many findings, not the plan's; 0 = all.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say how many pieces there are, and which.")
    ] = False,
    fetch: Annotated[
        Path | None, typer.Option(help="Only copy the findings' files into this folder.")
    ] = None,
    json_target: JsonOption = None,
    report: ReportOption = None,
    ktap: KtapOption = None,
) -> None:
    """Have thousands of runs, searches and fuzzings done by many workers, by a plan."""
    from emu.campaign.pool import check_extra, check_scheduler

    check_extra()
    _check(workers, time, stop_at)
    check_scheduler(scheduler)
    if workers is not None and scheduler is not None:
        raise ConfigError.of("workers", workers, "a cluster that is there has its own")
    check_target("json", json_target)
    check_report(report)
    check_ktap(ktap, json_target)
    if ktap is not None and (dry_run or fetch is not None):
        raise ConfigError.of("ktap", ktap, "it is of what is done: not with these options")
    from emu.campaign.drive import Limits
    from emu.campaign.plan import read_plan
    from emu.campaign.view import print_dry

    console = console_for("-" if ktap == "-" else json_target)
    read = read_plan(plan)
    if dry_run:
        print_dry(console, read)
        conclude(json_target, {"pieces": len(read.pieces), "repeated": read.repeated})
        return
    folder = store or plan.with_suffix(".campaign")
    if fetch is not None:
        _fetch(console, folder, artifacts, fetch)
        return
    limits = Limits(
        read.seconds if time is None else time, read.findings if stop_at is None else stop_at
    )
    count = len(os.sched_getaffinity(0)) if workers is None else workers
    summary = _campaign(console, read, folder, artifacts, limits, scheduler, count)
    _conclude(summary, json_target, report, ktap)


def _check(workers: int | None, seconds: float | None, stop_at: int | None) -> None:
    if workers is not None and not 1 <= workers <= _WORKERS_MAX:
        raise ConfigError.of("workers", workers, f"1 to {_WORKERS_MAX}")
    if seconds is not None and not (seconds >= 0 and math.isfinite(seconds)):
        raise ConfigError.of("time", seconds, "0 (no limit) or more seconds")
    if stop_at is not None and stop_at < 0:
        raise ConfigError.of("stop-at", stop_at, "0 (go on) or more findings")


def _place(store: Store, folder: Path, given: str | None) -> Artifacts:
    """Where files are put: where they were before, or as it is said now.

    Raises:
        ConfigError: They were put elsewhere.
    """
    from emu.campaign.artifacts import Artifacts

    before = store.of("artifacts")
    if given is not None:
        given = given if "://" in given else absolute(given)
        if before not in (None, given) or (before is None and store.findings()):
            was = before or str(folder / "artifacts")
            raise ConfigError.of(
                "artifacts", given, f"those of this store are in {was}; name another --store"
            )
    return Artifacts(given or before or absolute(str(folder / "artifacts")))


def _campaign(
    console: Console,
    plan: Plan,
    folder: Path,
    artifacts: str | None,
    limits: Limits,
    scheduler: str | None,
    workers: int,
) -> dict[str, Any]:
    """Do what is not done as yet; what it came to, as values."""
    from emu.campaign.drive import Drive
    from emu.campaign.store import Store
    from emu.campaign.summary import summary_of
    from emu.campaign.view import print_summary, say
    from emu.campaign.worker import about_this_machine

    about = about_this_machine()
    with Store(folder, is_writer=True) as store:
        store.claim(about.digest, about.version)
        place = _place(store, folder, artifacts)
        store.plan(plan.pieces.values())
        noted = {} if artifacts is None else {"artifacts": place.url}
        store.note(plan=absolute(str(plan.path)), ended="running", problem="", **noted)
        todo = len(store.undone())
        if done := len(plan.pieces) - todo:
            say(console, f"{done} of {len(plan.pieces)} pieces were done before")
        ended = _work(console, Drive(plan, store, place), limits, scheduler, workers, todo)
        store.note(ended=ended.why, problem=ended.problem, unwritten=ended.unwritten or "")
        summary = summary_of(store, place.path_of)
    print_summary(console, summary)
    say(console, f"store: {folder}")
    return summary


def _work(
    console: Console, drive: Drive, limits: Limits, scheduler: str | None, workers: int, todo: int
) -> Ended:
    from emu.campaign.drive import Ended
    from emu.campaign.pool import DaskPool
    from emu.campaign.view import PiecesView, say

    if not todo:
        return Ended("done")
    where = scheduler or f"{workers} worker(s) of this machine"
    say(console, f"{todo} pieces to do, on {where}")
    stop = _Stop()
    with (
        ended_by_signals(stop.heard),
        scratch() as place,
        PiecesView(console) as view,
        DaskPool(scheduler, workers, place, drive.plan.files, view.tell) as pool,
    ):
        drive.tell = view.tell
        return drive.run(pool, limits, stop.asked, view.update)


def _fetch(console: Console, folder: Path, artifacts: str | None, target: Path) -> None:
    """Copy the findings' files to where ``replay`` can have them."""
    import shlex

    from emu.campaign.store import Store
    from emu.campaign.view import say
    from emu.fuzz.campaign import folder_for

    with Store(folder, is_writer=False) as store:
        place, found = _place(store, folder, artifacts), store.findings()
        folder_for("fetch", target)
        for item in found:
            here = place.fetch(item.folder, target)
            words = ["zcrx-emu", "replay", str(here / item.replay)]
            say(console, shlex.join(words) if item.replay else f"{here}: again: {item.again}")
    say(console, f"{len(found)} finding(s) in {target}")


def _conclude(
    summary: dict[str, Any],
    json_target: str | None,
    report: Path | None,
    ktap: str | None = None,
) -> None:
    from emu.campaign.summary import ENDED_WORDS, verdict_of

    code, _, _ = verdict_of(summary)
    unwritten = summary["unwritten"]
    if report is not None:
        from emu.page.campaign_page import pieces_page  # here: few campaigns want a page

        unwritten = unwritten or written(report, lambda: pieces_page(summary))
    if ktap is not None:
        from emu.formats.ktap import campaign_tests  # here: few campaigns want it

        why_not = ENDED_WORDS.get(summary["ended"], "")
        lost = told(ktap, lambda: campaign_tests(summary, why_not))
        unwritten = unwritten or lost
    conclude(json_target, summary, code, unwritten)
