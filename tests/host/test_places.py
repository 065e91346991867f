"""Artifacts work from any folder, and after they were moved together with what they name."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from emu.host.places import found_again

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
CAPTURE = ROOT / "tests" / "data" / "loopback.pcap"
EXAMPLES = ROOT / "docs" / "examples"

CONSUMER = """
def main(consumer):
    for completion in consumer:
        consumer.give_back(completion)
"""
FAULT = """
from faults.custom import CustomFault

class Torn(CustomFault):
    summary = "sets the padding"
    verdicts = frozenset({"bad_pad"})

    def mutate(self, rqe, context):
        return rqe._replace(pad=1)
"""


def replayed(script: Any, run: Path, *options: str) -> Any:
    """Replay from a folder that has nothing in it; what the run says of itself."""
    script.folder = run.parent / "elsewhere"
    shutil.rmtree(script.folder, ignore_errors=True)
    script.folder.mkdir()
    ended = script.run("replay", run, "--run-dir", "again", *options)
    assert (ended.code, ended.stderr) == (0, "")
    return json.loads((script.folder / "again" / "run.json").read_text())


def moved(script: Any) -> Path:
    """Move the folder of a test as a whole; where it is now."""
    place: Path = script.folder.parent / "moved"
    script.folder.rename(place)
    return place


@pytest.mark.parametrize("is_moved", [False, True], ids=["stays", "moved"])
def test_capture_and_provider_are_found_again(script: Any, is_moved: bool) -> None:
    script.folder = script.folder / "work"
    (script.folder / "sub").mkdir(parents=True)
    shutil.copy(CAPTURE, script.folder / "mine.pcap")
    shutil.copy(EXAMPLES / "plain_provider.c", script.folder / "sub" / "mine.c")
    ended = script.run(
        *("stress", "--traffic", "pcap:sub/../mine.pcap", "--laps", "20", "--run-dir", "runs/one"),
        *("--provider", "sub/mine.c", "--no-pin"),
    )
    assert (ended.code, ended.stderr) == (0, "")
    place = moved(script) if is_moved else script.folder
    config = json.loads((place / "runs" / "one" / "run.json").read_text())["config"]
    assert Path(config["traffic"].removeprefix("pcap:")).is_absolute()
    again = replayed(script, place / "runs" / "one")["config"]
    assert Path(again["traffic"].removeprefix("pcap:")).samefile(place / "mine.pcap")
    assert Path(again["provider"]).samefile(place / "sub" / "mine.c")


@pytest.mark.parametrize("is_moved", [False, True], ids=["stays", "moved"])
def test_modules_of_ones_own_are_found_again(script: Any, is_moved: bool) -> None:
    """A consumer's and a fault's: with the plan as it was, and with the journal's."""
    script.folder = script.folder / "work"
    script.folder.mkdir()
    (script.folder / "mine.py").write_text(CONSUMER)
    (script.folder / "my_faults.py").write_text(FAULT)
    ended = script.run(
        *("stress", "--packets", "3000", "--consumer", "mine:main", "--run-dir", "runs/one"),
        *("--faults", "my_faults:Torn:1%", "--no-pin"),
    )
    assert (ended.code, ended.stderr) == (0, "")
    place = moved(script) if is_moved else script.folder
    first = json.loads((place / "runs" / "one" / "run.json").read_text())
    assert first["faults"]["injected"]["my_faults:Torn"] > 0
    for options in ((), ("--journal",)):
        again = replayed(script, place / "runs" / "one", *options)
        assert again["faults"]["injected"] == first["faults"]["injected"]
        assert Path(again["config"]["modules_from"]).samefile(place)


@pytest.mark.parametrize("is_moved", [False, True], ids=["stays", "moved"])
def test_provider_of_a_finding_and_of_its_test_is_found_again(script: Any, is_moved: bool) -> None:
    script.folder = script.folder / "work"
    (script.folder / "tests").mkdir(parents=True)
    for name in ("broken_provider.c", "plain_provider.c"):
        shutil.copy(EXAMPLES / name, script.folder)
    ended = script.run(
        *("fuzz", "--provider", "broken_provider.c", "--engine", "generate", "--fast"),
        *("--stop-at", "1", "--time", "60", "--seed", "1", "--emit-test", "tests"),
    )
    assert ended.code == 1
    place = moved(script) if is_moved else script.folder
    script.folder = place.parent / "elsewhere"
    script.folder.mkdir()
    (finding,) = (place / "fuzz" / "findings").glob("*.finding.json")
    ended = script.run("replay", finding)
    assert ended.code == 1
    assert str(place / "broken_provider.c") in ended.stdout
    (emitted,) = (place / "tests").glob("test_*.py")
    line = 'PROVIDER = Path(__file__).parent.joinpath("..", "broken_provider.c")'
    assert line in emitted.read_text().splitlines()
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", emitted],
        capture_output=True,
        text=True,
        check=False,
        cwd=script.folder,
    )
    assert tested.returncode == 1
    assert "1 failed" in tested.stdout
    assert "no such file" not in tested.stdout


@pytest.mark.parametrize("is_moved", [False, True], ids=["stays", "moved"])
def test_provider_of_a_race_is_found_again(script: Any, is_moved: bool) -> None:
    script.folder = script.folder / "work"
    script.folder.mkdir()
    for name in ("broken_provider.c", "plain_provider.c"):
        shutil.copy(EXAMPLES / name, script.folder)
    ended = script.run(
        *("race", "--provider", "broken_provider.c", "--scenario", "refill-vs-scrub"),
        *("--memory", "sc"),
    )
    assert ended.code == 1
    place = moved(script) if is_moved else script.folder
    script.folder = place.parent / "elsewhere"
    script.folder.mkdir()
    (finding,) = (place / "race" / "findings").glob("*.race.json")
    ended = script.run("replay", finding)
    assert ended.code == 1
    assert "the same trace" in ended.stdout


def test_file_that_is_nowhere_is_named_by_its_absolute_path(script: Any) -> None:
    shutil.copy(CAPTURE, script.folder / "mine.pcap")
    script.run("stress", "--traffic", "pcap:mine.pcap", "--laps", "20", "--run-dir", "one")
    (script.folder / "mine.pcap").unlink()
    ended = script.run("replay", "one")
    assert ended.code == 2
    assert f"traffic: pcap:{script.folder / 'mine.pcap'}: cannot be read" in ended.stderr


@pytest.mark.parametrize("written_in", [None, 7, "", "relative", "/\0", "/nowhere", ["/"]])
def test_hostile_folder_leads_nowhere(tmp_path: Path, written_in: object) -> None:
    path = str(tmp_path / "missing")
    assert found_again(path, written_in, tmp_path) == path
    assert found_again("a\0b", written_in, tmp_path) == "a\0b"
