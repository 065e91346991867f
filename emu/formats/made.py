"""SARIF logs made from what commands wrote: a check, a campaign, a search, a run, one finding."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from emu.errors import ConfigError, EmuError, cut
from emu.formats.of_fuzz import OURS, Operations, mistake_of_fuzz
from emu.formats.of_race import mistake_of_race
from emu.formats.of_run import mistake_of_run
from emu.formats.rules import rule_of_fuzz
from emu.formats.sarif import Mistake, Note, log
from emu.fuzz.finding import FORMAT as FUZZ_FINDING
from emu.fuzz.finding import read_finding
from emu.host.places import found_again
from emu.race.artifact import FORMAT as RACE_FINDING
from emu.race.artifact import read_artifact
from emu.verdict.finding_file import read_json
from emu.verdict.report import write_text

#: What a folder has in it that a log can be made of.
_REPORTS = ("check.json", "run.json")
_ALLOWED = "name the folder of a run or of a check, a report in JSON, or a finding of fuzz or race"
#: What a file raises that is not as it should be.
_NOT_SO = (EmuError, OSError, KeyError, IndexError, TypeError, ValueError, AttributeError)


def _whole(make: Callable[[], Mistake], instead: Mistake, notes: list[Note]) -> Mistake:
    """A result; from what is known without its file where that cannot be read."""
    try:
        return make()
    except _NOT_SO as error:
        notes.append(
            Note("failed", f"a finding's file cannot be read, it is told in part: {error}")
        )
        return instead


class _Check:
    """Makes the log of a check."""

    def __init__(self, value: Mapping[str, Any], now_in: Path | None) -> None:
        self._value = value
        self._now_in = now_in
        self._kind = str(value["kind"])
        file = str(value["file"])
        if now_in is not None:
            file = found_again(file, value["folder"], now_in)
        self._operations = Operations(Path(file), self._kind)
        self._file = file
        self.notes: list[Note] = []

    def _found(self, where: str) -> Path:
        """A finding's file: where it was, or where it is beside the report."""
        if self._now_in is None or os.path.exists(where):
            return Path(where)
        name = os.path.basename(str(self._value["folder"]))
        parts = Path(where).parts
        behind = parts[parts.index(name) + 1 :] if name in parts else parts[-2:]
        return self._now_in.joinpath(*behind)

    def _mistake(self, tool: str, found: Mapping[str, Any]) -> Mistake:
        what, path, again = str(found["what"]), self._found(str(found["where"])), found["again"]
        if tool.startswith("stress"):
            return mistake_of_run(what, path, again, self._kind, self._operations)
        rule = rule_of_fuzz(what) if tool == "fuzz" else "race/wrong"
        instead = Mistake(rule, what, f"{what}. Again: {again}", self._operations.table())
        if tool == "fuzz":
            return _whole(lambda: mistake_of_fuzz(path, self._operations), instead, self.notes)
        return _whole(lambda: mistake_of_race(path), instead, self.notes)

    def _note(self, tool: Mapping[str, Any]) -> None:
        name, why = tool["tool"], tool["why_not"]
        if tool["failed"]:
            self.notes.append(Note("failed", f"{name}: could not look: {why}"))
        elif why is not None:
            self.notes.append(Note("left-out", f"{name}: not asked: {why}"))
        else:
            text = f"{name} looked at {tool['looked_at']} in {tool['seconds']:.1f} s; it does not "
            text += f"see {tool['blind']}"
            self.notes.append(Note("looked-at", text))
            if tool["interrupted"]:
                self.notes.append(Note("interrupted", f"{name} was stopped before its time"))

    def log(self) -> dict[str, Any]:
        value = self._value
        mistakes = []
        for tool in value["tools"]:
            self._note(tool)
            mistakes += [self._mistake(tool["tool"], found) for found in tool["found"]]
        asked = {str(tool["tool"]).partition(":")[0] for tool in value["tools"]}
        return log(
            "check",
            self._file,
            mistakes,
            self.notes,
            tools=sorted({"run" if tool == "stress" else tool for tool in asked}),
            properties={name: value[name] for name in ("kind", "kernel", "seed", "seconds")},
        )


def check_log(value: Mapping[str, Any], now_in: Path | None = None) -> dict[str, Any]:
    """The log of a check.

    Args:
        value: What ``check.json`` has.
        now_in: The folder that it was read from; None: it was made just now.
    """
    return _Check(value, now_in).log()


def campaign_log(summary: Mapping[str, Any], target: str) -> dict[str, Any]:
    """The log of a campaign.

    Args:
        summary: What ``fuzz --json`` writes.
        target: The file that was attacked.
    """
    notes: list[Note] = []
    engine, seed = summary["engine"], summary["seed"]
    text = f"fuzz looked at {summary['executions']} programs of operations, {engine}, seed {seed}"
    notes.append(Note("looked-at" if summary["executions"] else "failed", text))
    if summary["interrupted"]:
        notes.append(Note("interrupted", "fuzz was stopped before its time"))
    operations = Operations(None if target == OURS else Path(target))
    mistakes = [
        _whole(
            lambda item=item: mistake_of_fuzz(Path(item["file"]), operations),  # type: ignore[misc]
            Mistake(
                rule_of_fuzz(item["signature"]),
                item["signature"],
                f"{item['signature']}.",
                operations.table(),
            ),
            notes,
        )
        for item in summary["findings"]
    ]
    properties = {name: summary[name] for name in ("engine", "seed", "target", "seconds")}
    return log("fuzz", target, mistakes, notes, tools=["fuzz"], properties=properties)


def search_log(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The log of a search, from what ``race --json`` writes."""
    notes: list[Note] = []
    target = summary["provider"] or OURS
    operations = Operations(Path(target) if summary["provider"] else None)
    mistakes = []
    for item in summary["scenarios"]:
        how = "all of it" if item["complete"] else "a part of it"
        text = f"race looked at {item['scenario']}: {how}, {item['schedules']} executions"
        notes.append(Note("looked-at", text))
        if found := item["finding"]:
            text = f"{found['text']}. In the scenario {item['scenario']}."
            instead = Mistake("race/wrong", found["kind"], text, operations.table())
            file = Path(found["file"])
            mistakes.append(_whole(lambda file=file: mistake_of_race(file), instead, notes))  # type: ignore[misc]
    if summary["interrupted"]:
        notes.append(Note("interrupted", "race was stopped before its time"))
    properties = {name: summary[name] for name in ("memory", "seed", "target", "complete")}
    return log("race", target, mistakes, notes, tools=["race"], properties=properties)


def _run_log(value: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The log of a run of somebody's provider or consumer, or of ours."""
    config = value["config"]
    kind = "provider" if config["provider"] or "/" not in config["consumer"] else "consumer"
    file = config[kind] if "/" in str(config[kind]) else None
    if file is not None:
        file = found_again(file, value["folder"], folder)
    operations = Operations(None if file is None else Path(file), kind)
    again = f"zcrx-emu replay {shlex.quote(str(folder))}"
    mistakes = [
        mistake_of_run(problem, folder, again, kind, operations) for problem in value["problems"]
    ]
    text = f"a run: {value['packets']['delivered']} packets, {value['rqe']['consumed']} entries"
    notes = [Note("looked-at", f"{text} judged, {value['elapsed_s']:.1f} s")]
    if value["ended"] == "interrupted":
        notes.append(Note("interrupted", "the run was stopped before its time"))
    properties = {"kind": kind, "seed": value["seed"], "kernel": config["kernel"]}
    return log("run", file or OURS, mistakes, notes, tools=["run"], properties=properties)


def _finding_log(path: Path, form: str) -> dict[str, Any]:
    if form == FUZZ_FINDING:
        target = read_finding(path).target
        file, tool, mistake = target.provider, "fuzz", mistake_of_fuzz(path)
    else:
        file, tool, mistake = read_artifact(path).provider, "race", mistake_of_race(path)
    notes = [Note("looked-at", f"one finding of {tool}, from its file")]
    return log(tool, str(file or OURS), [mistake], notes, tools=[tool], properties={})


def log_of(path: Path) -> dict[str, Any]:
    """The log of what was done before.

    Args:
        path: The folder of a run or a check, a report or summary in JSON, a finding.

    Raises:
        ConfigError: It cannot be read, or nothing can be said of it in SARIF.
    """
    try:
        if path.is_dir():
            path = next((path / name for name in _REPORTS if (path / name).is_file()), path)
        value: Any = read_json(path)
        if value.get("format") in (FUZZ_FINDING, RACE_FINDING):
            return _finding_log(path, value["format"])
        if "tools" in value:
            return check_log(value, path.parent)
        if "scenarios" in value and "memory" in value:
            return search_log(value)
        if "executions" in value and "engine" in value:
            return campaign_log(value, value["provider"] or OURS)
        if "config" in value and "problems" in value:
            return _run_log(value, path.parent)
    except ConfigError:
        raise
    except _NOT_SO as error:
        why = getattr(error, "strerror", None) or "it is no report that is known here"
        raise ConfigError(f"sarif: {cut(repr(str(path)))}: {why}; {_ALLOWED}") from None
    raise ConfigError(f"sarif: {cut(repr(str(path)))} is no report; {_ALLOWED}")


def write_log(target: Path, value: Mapping[str, Any]) -> None:
    """Write a log so that a reader sees all of it or nothing.

    Raises:
        EnvironmentProblem: It cannot be written.
    """
    write_text(target, json.dumps(value, indent=1, ensure_ascii=False) + "\n")
