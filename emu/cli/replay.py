"""``zcrx-emu replay``: an earlier run again, or a finding of fuzz or race."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from emu.cli import values
from emu.cli.commands import RunDirOption, finish, run_stress
from emu.cli.output import EXIT_FINDING, JsonOption, check_target, conclude, console_for
from emu.cli.plan import plan_of
from emu.cli.render import compiling_shown
from emu.cli.trace_option import check_trace
from emu.config import RunConfig
from emu.errors import ConfigError, cut
from emu.fuzz.finding import is_finding, is_program
from emu.fuzz.harness import Target
from emu.fuzz.once import replay as replay_program
from emu.host.places import found_again
from emu.race.artifact import is_race_finding
from emu.race.cli import replay_race
from emu.verdict.finding_file import read_json
from emu.verdict.rundir import JOURNAL
from faults import Plan
from faults.custom import modules_in


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
    places = (("traffic", "pcap:"), ("provider", ""), ("consumer", "/"), ("modules_from", ""))
    for name, prefix in places:
        value = config.get(name)
        if isinstance(value, str) and value.startswith(prefix) and value != prefix:
            kind = "" if prefix == "/" else prefix
            place = found_again(value.removeprefix(kind), written_in, now_in)
            found[name] = f"{kind}{place}"
    return found


def _read_journal(run: Path, config: RunConfig) -> Plan:
    path = (run if run.is_dir() else run.parent) / JOURNAL
    if not path.is_file():
        raise ConfigError(
            f"journal: {str(path)!r} does not exist; name the folder of a run that had a plan "
            "and came to its end, or leave --journal out"
        )
    with modules_in(config.modules_from):
        return plan_of(str(path), config.queues)


def command(
    run: Annotated[
        Path,
        typer.Argument(
            help="Folder of an earlier run, its run.json, a fuzz or race finding, a crash-… file.",
            autocompletion=values.done_before,
        ),
    ],
    journal: Annotated[
        bool,
        typer.Option("--journal", help="Inject what fired, ordinal by ordinal: its journal.toml."),
    ] = False,
    all_steps: Annotated[
        bool, typer.Option("--all-steps", help="Of a race finding: all there are.")
    ] = False,
    perfetto: Annotated[
        Path | None, typer.Option(help="Write a trace of what is replayed, for ui.perfetto.dev.")
    ] = None,
    run_dir: RunDirOption = None,
    json_target: JsonOption = None,
) -> None:
    """Run an earlier run's configuration and seed again, or a finding of fuzz or race."""
    check_target("json", json_target)
    check_trace(perfetto)
    console = console_for(json_target)
    if is_race_finding(run) or is_finding(run) or is_program(run):
        with compiling_shown(console):
            if is_race_finding(run):
                shown = replay_race(console, run, all_steps=all_steps, perfetto=perfetto)
            elif perfetto is not None:
                raise ConfigError.of("perfetto", str(perfetto), "a program of fuzz has no trace")
            else:
                shown = replay_program(console, run, Target())
        conclude(json_target, shown, EXIT_FINDING if shown["still_shows"] else 0)
        return
    config = _read_run(run)
    if journal:
        config = replace(config, plan=_read_journal(run, config))
    done = run_stress(console, config, run_dir, keeps_flight=perfetto is not None)
    finish(console, done, json_target, trace=perfetto)
