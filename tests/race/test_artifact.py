"""Findings as files: what is damaged is refused in a line, what does not fit says where."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from emu.bugs import Bug
from emu.errors import ConfigError
from emu.race.artifact import Artifact, artifact_of, is_race_finding, read_artifact
from emu.race.cli import replay_race
from emu.race.perfetto import seen_stores, trace_events
from emu.race.runner import Memory, Runner, Search
from emu.race.timeline import find_places

from .conftest import CVE, REFILL

Call = Callable[..., Any]


def _made(racy: Runner, memory: Memory = Memory.SC, bug: Bug | None = CVE) -> Artifact:
    found = racy.search(REFILL, Search(memory=memory)).found
    assert found is not None
    return artifact_of(REFILL, memory, bug, None, found, {"seed": 1})


@pytest.fixture
def kept(racy: Runner, tmp_path: Path) -> Path:
    return _made(racy).write(tmp_path)


def test_what_was_written_is_read(racy: Runner, tmp_path: Path) -> None:
    artifact = _made(racy, Memory.C11)
    assert read_artifact(artifact.write(tmp_path)) == artifact


def test_finding_is_known_by_name_or_content(kept: Path, tmp_path: Path) -> None:
    assert is_race_finding(kept)
    other = tmp_path / "renamed.json"
    other.write_bytes(kept.read_bytes())
    assert is_race_finding(other)
    assert not is_race_finding(tmp_path)
    assert not is_race_finding(tmp_path / "absent.json")


def _cut(text: str) -> str:
    return text[: len(text) // 2]


def _with(**changes: object) -> Callable[[str], str]:
    return lambda text: json.dumps({**json.loads(text), **changes})


def _other_schedule(text: str) -> str:
    content = json.loads(text)
    content["finding"]["schedule"] = "0 " + content["finding"]["schedule"]
    return json.dumps(content)


def _without(name: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        content = json.loads(text)
        del content[name]
        return json.dumps(content)

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_cut, "is cut off"),
        (lambda _: "[]", "is no finding"),
        (_with(version=99), "has version 99; this program reads version 1"),
        (_with(format="else"), "is no finding"),
        (_with(memory="weak"), "is damaged"),
        (_with(steps=[{"actor": 1}]), "is damaged"),
        (_with(scenario="text"), "is damaged"),
        (_with(bug="gone"), "bug: 'gone' is not allowed"),
        (_other_schedule, "is damaged: scenario and schedule"),
        (_without("finding"), "is damaged"),
        (_without("sha256"), "is damaged"),
    ],
)
def test_damaged_finding_is_refused_in_one_line(
    call: Call, kept: Path, change: Callable[[str], str], words: str
) -> None:
    kept.write_text(change(kept.read_text()))
    ended = call("replay", str(kept))
    assert (ended.code, ended.stdout) == (2, "")
    assert len(ended.stderr.splitlines()) == 1
    assert words in ended.stderr


def test_absent_finding_is_refused_in_one_line(call: Call) -> None:
    ended = call("replay", "absent.race.json")
    assert ended.code == 2
    assert ended.stderr.splitlines()[0].endswith("cannot be read (No such file or directory)")


def test_schedule_of_a_bug_does_not_fit_the_fixed_build(racy: Runner, tmp_path: Path) -> None:
    path = _made(racy, bug=None).write(tmp_path)
    with pytest.raises(ConfigError, match="it does not fit this build: step "):
        replay_race(Console(), path, all_steps=False, perfetto=None)


def test_schedule_that_is_followed_without_a_finding_is_clean(
    call: Call, good: Runner, racy: Runner, tmp_path: Path
) -> None:
    artifact = _made(racy, bug=None)
    # Up to the step before the two builds part.
    steps = artifact.found.steps[:13]
    schedule = " ".join(artifact.found.schedule.split()[:13])
    artifact = replace(artifact, found=replace(artifact.found, steps=steps, schedule=schedule))
    ended = call("replay", str(artifact.write(tmp_path)))
    assert (ended.code, ended.stderr) == (0, "")
    assert "no finding: the schedule was followed to its end" in ended.stdout


@pytest.mark.parametrize("memory", list(Memory))
def test_trace_for_perfetto_has_tracks_slices_and_arrows(racy: Runner, memory: Memory) -> None:
    artifact = _made(racy, memory)
    places = find_places(racy.executable, {step.place for step in artifact.found.steps})
    trace = json.loads(json.dumps(trace_events(artifact.found, artifact.actors, memory, places)))
    events = trace["traceEvents"]
    tracks = {event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert tracks == set(artifact.actors)
    slices = [event for event in events if event["ph"] == "X"]
    assert len(slices) == len(artifact.found.steps)
    assert all(one["ts"] + one["dur"] <= other["ts"] for one, other in itertools.pairwise(slices))
    begins = {event["id"]: event for event in events if event["ph"] == "s"}
    ends = {event["id"]: event for event in events if event["ph"] == "f"}
    assert begins.keys() == ends.keys() == seen_stores(artifact.found.steps).keys()
    assert all(begins[key]["ts"] < ends[key]["ts"] for key in begins)
    assert any(begins[key]["tid"] != ends[key]["tid"] for key in begins)


@pytest.mark.parametrize("memory", list(Memory))
def test_arrow_comes_from_the_store_whose_value_was_read(racy: Runner, memory: Memory) -> None:
    steps = _made(racy, memory).found.steps
    for reader, writer in seen_stores(steps).items():
        assert steps[writer].offset == steps[reader].offset
        assert steps[writer].after == steps[reader].before


def test_trace_is_written_by_race_and_replay(call: Call, kept: Path, tmp_path: Path) -> None:
    find = ("race", "--scenario", "refill-vs-scrub", "--bug", CVE.name, "--memory", "sc")
    assert call(*find, "--perfetto", "one.json").code == 1
    assert call("replay", str(kept), "--perfetto", "two.json").code == 1
    for name in ("one.json", "two.json"):
        assert json.loads((tmp_path / name).read_text())["traceEvents"]


def test_json_that_is_too_deep_is_no_finding(tmp_path: Path) -> None:
    path = tmp_path / "deep.race.json"
    path.write_text("[" * 100_000)
    with pytest.raises(ConfigError, match="it is not whole JSON"):
        read_artifact(path)
