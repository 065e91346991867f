"""``zcrx-emu race``, and what ``replay`` does with a finding of it."""

from __future__ import annotations

import secrets
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from emu.bugs import RACING_BUGS, Bug, find_bug, level_for
from emu.cli import values
from emu.cli.ktap_option import KtapOption, check_ktap, told
from emu.cli.output import check_target, conclude, console_for, emit_json
from emu.cli.rehearsal import words_are_read
from emu.cli.render import compiling_shown
from emu.cli.report_option import ReportOption, check_report, written
from emu.cli.sarif_option import SarifOption, check_sarif, logged
from emu.contract import EXPERIMENTAL, LEVELS, SEED
from emu.errors import ConfigError, EmuError
from emu.fuzz.campaign import findings_folder
from emu.host.streams import nobody_reads
from emu.race.artifact import Artifact, artifact_of, read_artifact
from emu.race.build import build_simulation
from emu.race.library import SCENARIOS
from emu.race.perfetto import trace_events
from emu.race.runner import (
    MEMORY_WORDS,
    STRATEGY_WORDS,
    Memory,
    Result,
    Runner,
    Search,
    Strategy,
    find_word,
)
from emu.race.scenario import Scenario
from emu.race.scenario_file import find_scenarios
from emu.race.shrink import count_operations, shrink
from emu.race.timeline import find_places, print_timeline, print_words, short_timeline
from emu.race.view import (
    SearchView,
    label,
    outcome,
    print_lists,
    print_operations,
)
from emu.verdict.report import write_json

EXIT_FINDING = 1
_FINDINGS = Path("race") / "findings"
_SECONDS = 60
#: Lines of a finding: its scenario and its steps, the rest of a screen left for what is around.
_SCREEN = 16


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _show(
    console: Console, executable: Path, artifact: Artifact, all_steps: bool, perfetto: Path | None
) -> None:
    """Show a finding's timeline, and write its trace."""
    found = artifact.found
    places = find_places(executable, found.places)
    print_timeline(console, found, artifact.actors, artifact.memory, places, all_steps=all_steps)
    if perfetto is not None:
        write_json(perfetto, trace_events(found, artifact.actors, artifact.memory, places))
        _say(console, f"trace for ui.perfetto.dev: {perfetto}")


def _search(
    runner: Runner, scenario: Scenario, search: Search, strategy: Strategy | None, view: SearchView
) -> Result:
    """Search a scenario; without a strategy by everything there is, then by chance."""

    def look(result: Result) -> None:
        view.update(result)
        if nobody_reads():
            runner.stop()

    view.begin(scenario)
    if strategy is not None or search.schedules or search.bound is not None:
        return runner.search(scenario, search, look)
    half = replace(search, seconds=(search.seconds + 1) // 2)
    result = runner.search(scenario, half, look)
    rest = search.seconds - half.seconds
    if result.complete or result.found or runner.is_stopped or not rest:
        return result
    by_chance = replace(search, strategy=Strategy.RANDOM, seconds=rest)
    found = runner.search(scenario, by_chance, look).found
    return replace(result, found=found) if found else result


def _as_dict(scenario: Scenario, result: Result, path: Path | None) -> dict[str, Any]:
    values = asdict(replace(result, found=None))
    search = values.pop("search")
    del values["found"]
    finding = None
    if result.found is not None:
        finding = {
            "kind": result.found.kind,
            "text": result.found.text,
            "switches": result.found.switches,
            "hash": result.found.hash,
            "schedule": result.found.schedule,
            "file": str(path),
        }
    return {"scenario": scenario.name, "search": search, **values, "finding": finding}


def race(
    console: Console,
    runner: Runner,
    scenarios: list[Scenario],
    search: Search,
    *,
    strategy: Strategy | None,
    bug: Bug | None,
    provider: Path | None,
    findings: Path | None,
    all_steps: bool,
    perfetto: Path | None,
) -> dict[str, Any]:
    """Search scenarios, one after the other, and say what came of it; as values."""
    summaries: list[dict[str, Any]] = []
    not_tried: list[dict[str, str]] = []
    # By its cause: where a mistake was seen first. That is shown, at the end, where it is read.
    seen: dict[tuple[str, str], tuple[Scenario, Artifact, Path]] = {}
    count = 0
    unwritten: str | None = None
    with runner.stopped_by_signals():
        for scenario in scenarios:
            try:
                with SearchView(console) as view:
                    result = _search(runner, scenario, search, strategy, view)
            except ConfigError as error:
                # A provider of somebody else's may not do what the set-up counts on.
                if provider is None or len(scenarios) == 1:
                    raise
                _say(console, f"{scenario.name}: not tried: {error}")
                not_tried.append({"scenario": scenario.name, "why": str(error)})
                continue
            path = None
            if result.found is not None:
                first = seen.get(result.found.cause)
                artifact = _cut_down(runner, scenario, result, bug, provider, cut=first is None)
                path = (findings or _FINDINGS) / artifact.file_name
                try:
                    path = artifact.write(findings_folder(findings, _FINDINGS))
                except EmuError as error:  # it stands, be there room for its file or not
                    unwritten = unwritten or str(error)
                count += 1
                result = replace(result, found=artifact.found)
                seen.setdefault(artifact.found.cause, (scenario, artifact, path))
            if result.found is None or first is None:
                console.print(outcome(scenario, result), highlight=False, soft_wrap=True)
            else:
                _say(console, f"{scenario.name}: the same mistake as {first[0].name}: {path}")
            summaries.append(_as_dict(scenario, result, path))
            if nobody_reads():
                runner.stop()
            if runner.is_stopped:
                break
    left = len(scenarios) - len(summaries)
    begun = len(summaries) + len(not_tried)
    not_tried += [
        {"scenario": scenario.name, "why": "interrupted before it was its turn"}
        for scenario in scenarios[begun:]
    ]
    if runner.is_stopped:
        _say(console, f"interrupted: a partial result, {left} scenario(s) were not begun")
    for number, (scenario, artifact, _) in enumerate(seen.values()):
        _announce_finding(console, scenario, artifact)
        trace = None if number else perfetto
        _show_shortly(console, runner.executable, artifact, all_steps, trace)
    if seen:
        for _, _, path in seen.values():
            _say(console, str(path))
        where = "" if count == len(seen) else f", seen in {count} scenarios"
        console.print(f"[bold red]FINDINGS: {len(seen)}{where}[/]", highlight=False)
    else:
        so_far = " so far" if runner.is_stopped else ""
        untried = "" if runner.is_stopped or not left else f", {left} scenario(s) not tried"
        console.print(f"[bold green]no finding{so_far}{untried}[/]", highlight=False)
    return {
        "target": label(bug, provider),
        "bug": bug.name if bug else None,
        "provider": str(provider) if provider else None,
        "memory": str(search.memory),
        "seed": search.seed,
        "interrupted": runner.is_stopped,
        "complete": not left and all(item["complete"] for item in summaries),
        "findings": count,
        "mistakes": len(seen),
        "unwritten": unwritten,
        "scenarios": summaries,
        "untried": not_tried,
    }


def _cut_down(
    runner: Runner,
    scenario: Scenario,
    result: Result,
    bug: Bug | None,
    provider: Path | None,
    *,
    cut: bool,
) -> Artifact:
    """Cut a finding down, unless its like was."""
    assert result.found is not None
    smallest, found = scenario, result.found
    if cut and not runner.is_stopped:
        reference = Runner(build_simulation()) if bug or provider else None
        smallest, found = shrink(runner, scenario, result.found, result.search, reference)
    found_by = {
        "strategy": str(result.search.strategy),
        "seed": result.search.seed,
        "executions": result.schedules,
        "operations": count_operations(scenario),
    }
    return artifact_of(smallest, result.search.memory, bug, provider, found, found_by)


def _show_shortly(
    console: Console, executable: Path, artifact: Artifact, all_steps: bool, perfetto: Path | None
) -> None:
    """Show a finding in one screen, unless all of it is wanted."""
    if all_steps or perfetto is not None:
        _show(console, executable, artifact, all_steps, perfetto)
        return
    found = artifact.found
    places = find_places(executable, found.places)
    room = _SCREEN - len(artifact.scenario.splitlines())
    for line in short_timeline(found, artifact.memory, places, room):
        _say(console, line)
    print_words(console, found, artifact.actors, places)


def _announce_finding(console: Console, scenario: Scenario, artifact: Artifact) -> None:
    found = artifact.found
    lines = artifact.scenario.splitlines()
    before = count_operations(scenario)
    scripts = [line for line in lines if line.startswith(("setup ", "actor ", "end "))]
    after = sum(1 + line.count(";") for line in scripts)
    _say(
        console,
        f"\n{scenario.name}: {after} operations of {before}, {found.switches} context switches, "
        f"{len(found.steps)} steps, trace {found.hash}",
    )
    for line in lines:
        _say(console, f"  {line}")


def replay_race(
    console: Console, path: Path, *, all_steps: bool, perfetto: Path | None
) -> dict[str, Any]:
    """Follow a finding's schedule again; what it shows now, as values.

    Raises:
        ConfigError: The file is wrong, or the schedule does not fit this build.
    """
    artifact = read_artifact(path)
    executable = build_simulation(artifact.bug, artifact.provider)
    runner = Runner(executable)
    target = label(artifact.bug, artifact.provider)
    _say(console, f"{artifact.name}, memory {artifact.memory}: {target}")
    found, steps = runner.replay(artifact.scenario, artifact.memory, artifact.found.schedule)
    if found is None:
        for number, (now, before) in enumerate(zip(steps, artifact.found.steps, strict=False)):
            if now.same_as != before.same_as:
                raise ConfigError(
                    f"schedule: it does not fit this build: step {number} is a {now.kind} of "
                    f"{now.word} by {now.name}, it was a {before.kind} of {before.word} by "
                    f"{before.name}"
                )
        console.print("[bold green]no finding[/]: the schedule was followed to its end")
        return {"still_shows": False, "was": artifact.found.kind}
    _show(console, executable, replace(artifact, found=found), all_steps, perfetto)
    if found.hash != artifact.found.hash:
        _say(console, f"another trace: {found.hash}, it was {artifact.found.hash}")
    else:
        _say(console, f"the same trace: {found.hash}")
    return {
        "still_shows": True,
        "was": artifact.found.kind,
        "kind": found.kind,
        "text": found.text,
        "hash": found.hash,
    }


def _list(console: Console, *, operations: bool, json_target: str | None) -> None:
    emit_json(
        json_target,
        {
            "scenarios": {item.name: item.explanation for item in SCENARIOS.values()},
            "bugs": {bug.name: bug.explanation for bug in RACING_BUGS.values()},
            "strategies": {str(key): text for key, text in STRATEGY_WORDS.items()},
            "memories": {str(key): text for key, text in MEMORY_WORDS.items()},
        },
    )
    if json_target == "-":
        return
    if operations:
        print_operations(console)
    else:
        print_lists(console)


def _live(
    console: Console,
    scenario: str | None,
    bug: Bug | None,
    kernel: str,
    provider: Path | None,
    seconds: int | None,
    seed: int | None,
    json_target: str | None,
) -> None:
    """Race real processes: without orders of whoever chooses an interleaving."""
    # here: a search runs no processes of a run
    from emu.race.live import check_live
    from emu.race.live_command import live_command

    if scenario is None:
        raise ConfigError.of("scenario", scenario, "--live needs one; 'race --list' shows them")
    words_are_read(
        lambda: check_live(scenario, _SECONDS if seconds is None else seconds, seed or 0)
    )
    with compiling_shown(console):
        result = live_command(
            console,
            scenario,
            bug,
            kernel,
            _SECONDS if seconds is None else seconds,
            secrets.randbits(63) if seed is None else seed,
            provider,
        )
    conclude(json_target, result.as_dict(), EXIT_FINDING if result.hits else 0)


def command(
    scenario: Annotated[
        str | None,
        typer.Option(
            help="A ready scenario, or FILE.py that defines some; all ready ones.",
            autocompletion=values.scenarios,
        ),
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            help="random, pct or exhaustive; exhaustive if half of the time is enough, and then "
            "random.",
            autocompletion=values.strategies,
        ),
    ] = None,
    memory: Annotated[
        str,
        typer.Option(help="sc, tso or c11: what a load may see.", autocompletion=values.memories),
    ] = "c11",
    bug: Annotated[
        str | None,
        typer.Option(
            help="Put a seeded bug in; 'race --list' shows them.", autocompletion=values.racing_bugs
        ),
    ] = None,
    provider: Annotated[
        Path | None,
        typer.Option(
            help="A provider of your own: its C source; a library only with --live.",
            autocompletion=values.providers,
        ),
    ] = None,
    kernel: Annotated[
        str | None,
        typer.Option(
            help=f"Whose provider is played, where a scenario does not say: {', '.join(LEVELS)}; "
            f"experimental: {', '.join(EXPERIMENTAL)}; seed, or one that shows the bug.",
            autocompletion=values.all_levels,
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of random and pct; random if not given.")
    ] = None,
    time: Annotated[
        int | None, typer.Option("--time", help=f"Seconds a scenario; 0 = no limit. {_SECONDS}")
    ] = None,
    schedules: Annotated[
        int, typer.Option(help="Executions of a scenario at most; 0 = no limit.")
    ] = 0,
    depth: Annotated[int, typer.Option(help="Of the bugs that pct guarantees to find.")] = 3,
    live: Annotated[
        bool,
        typer.Option("--live", help="Real processes, run after run, with delays by chance."),
    ] = False,
    bound: Annotated[
        int | None,
        typer.Option(help="An exhaustive search has so many preemptions at most; no bound."),
    ] = None,
    findings: Annotated[Path | None, typer.Option(help=f"Folder for findings; {_FINDINGS}.")] = (
        None
    ),
    all_steps: Annotated[
        bool, typer.Option("--all-steps", help="Show steps that concern one actor alone, too.")
    ] = False,
    perfetto: Annotated[
        Path | None, typer.Option(help="Write the first finding for Perfetto's viewer.")
    ] = None,
    list_: Annotated[
        bool, typer.Option("--list", help="List scenarios, bugs, strategies, memory models.")
    ] = False,
    operations: Annotated[
        bool, typer.Option("--operations", help="With --list: what a scenario is made of.")
    ] = False,
    json_target: Annotated[
        str | None, typer.Option("--json", help="Write the summary to this file; - = stdout.")
    ] = None,
    report: ReportOption = None,
    sarif: SarifOption = None,
    ktap: KtapOption = None,
) -> None:
    """Run the core under chosen interleavings and memory models, and find its races."""
    if provider is not None and bug is not None:
        raise ConfigError.of("bug", bug, "a seeded bug is one of our own provider's")
    seeded = find_bug(bug, RACING_BUGS) if bug is not None else None
    level = level_for(seeded, kernel, experimental=provider is None and not live)
    check_target("json", json_target)
    for name, file in (("report", report), ("sarif", sarif), ("ktap", ktap)):
        if file is not None and (live or list_ or operations):
            raise ConfigError.of(name, str(file), "it is of a search: not with these options")
    check_report(report)
    check_sarif(sarif)
    check_ktap(ktap, json_target)
    console = console_for("-" if ktap == "-" else json_target)
    if list_ or operations:
        _list(console, operations=operations, json_target=json_target)
        return
    if live:
        _live(console, scenario, seeded, level, provider, time, seed, json_target)
        return
    wanted = find_word("strategy", strategy, Strategy) if strategy is not None else None
    if bound is not None and wanted not in (None, Strategy.EXHAUSTIVE):
        raise ConfigError.of("bound", bound, "it is for --strategy exhaustive")
    search = Search(
        strategy=wanted or Strategy.EXHAUSTIVE,
        memory=find_word("memory", memory, Memory),
        seed=secrets.randbits(31) if seed is None else seed,
        # Whoever says how many executions does not mean a time as well.
        seconds=(0 if schedules else _SECONDS) if time is None else time,
        schedules=schedules,
        depth=depth,
        bound=bound,
    )
    scenarios = [item.at(level) for item in find_scenarios(scenario)]
    check_target("perfetto", perfetto)
    words_are_read()
    if findings is not None:
        findings_folder(findings, _FINDINGS)
    with compiling_shown(console):
        runner = Runner(build_simulation(seeded, provider))
    _say(console, f"seed {search.seed}")
    how = str(search.strategy)
    if wanted is None and not schedules and bound is None:
        how = "exhaustive, then random if that takes too long"
    bounded = "" if bound is None else f" with {bound} preemptions at most"
    what = label(seeded, provider)
    what += f", kernel {level}" * (level != SEED) + " (experimental)" * (level in EXPERIMENTAL)
    _say(console, f"{what}, memory {search.memory}, strategy {how}{bounded}")
    summary = race(
        console,
        runner,
        scenarios,
        search,
        strategy=wanted,
        bug=seeded,
        provider=provider,
        findings=findings,
        all_steps=all_steps,
        perfetto=perfetto,
    )
    code = EXIT_FINDING if summary["findings"] else 0
    unwritten = summary["unwritten"]
    if report is not None:
        from emu.page.made import search_text  # here: few searches want a page

        unwritten = unwritten or written(report, lambda: search_text(summary))
    if sarif is not None:
        from emu.formats.made import search_log  # here: few searches want a log

        lost = logged(sarif, lambda: search_log(summary))
        unwritten = unwritten or lost
    if ktap is not None:
        from emu.formats.ktap import search_tests  # here: few searches want it

        lost = told(ktap, lambda: search_tests(summary))
        unwritten = unwritten or lost
    conclude(json_target, summary, code, unwritten)
