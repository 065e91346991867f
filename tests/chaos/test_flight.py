"""Real runs that end with a finding show what happened around it; others leave nothing."""

from __future__ import annotations

import gc
import json
import mmap
import os
import re
import signal
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from emu.config import RunConfig
from emu.consumer import Consumer
from emu.core import FLIGHT_ENTRIES, Shape, layout_sizes
from emu.runtime.session import Session
from emu.spec.state import Verdict
from emu.verdict.report import Report
from emu.verdict.watch import Watch
from faults import parse_plan

pytestmark = pytest.mark.long

TRAFFIC = "synthetic:kind=raw,size=1000,flows=4,packets=64"
FILES = {"flight.json", "flight.txt", "run.json"}
_LINE = re.compile(r"^ *[+-]\d+\.\d  (\w+(?:, queue \d+)?) {2,}(\S.*)$")


def run_in(folder: Path, session_class: type[Session] = Session, **fields: Any) -> Report:
    config = RunConfig(
        **{
            "seed": 3,
            "packets": 20_000,
            "traffic": TRAFFIC,
            "area_buffers": 128,
            "hold": 0,
            "recheck_every": 1,
            "wait_ms": 60_000,
            **fields,
        }
    )
    print("RunConfig:", config.as_dict())
    with session_class(config, run_dir=folder) as session:
        return session.run()


def read(folder: Path) -> tuple[Any, list[tuple[str, str]]]:
    """flight.json, and process and event of each line of flight.txt."""
    lines = (folder / "flight.txt").read_text().splitlines()
    events = lines[lines.index("") + 2 :]
    matches = [_LINE.match(line) for line in events]
    assert all(matches), events
    return (
        json.loads((folder / "flight.json").read_text()),
        [(match[1], match[2]) for match in matches if match],
    )


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def check_times(plain: Any) -> None:
    times = [event["us"] for event in plain["events"]]
    assert times == sorted(times)
    assert {event["kind"] for event in plain["events"]} & {"unknown"} == set()


# ---- A verdict that is wrong --------------------------------------------------------------------


class Forger(Session):
    """A run whose control process changes one byte of the verdict log before it compares it."""

    position = 5000
    intent = 0  #: an entry of this intent, at that position or later
    verdict = Verdict.BAD_AREA
    forged: int | None = None

    def _start_workers(self) -> None:
        assert self._memory is not None  # with descriptors that are closed later on
        shape: Shape = self._memory.shape
        self._log_entries = shape.log_entries
        recorder = 64 + 32 * FLIGHT_ENTRIES
        sizes = layout_sizes(shape)
        self._kern: mmap.mmap = self._memory._queues[0]["kern"].map()
        self._lab: mmap.mmap = self._memory._queues[0]["notes"].map()
        self._verdicts_at = sizes.kern - 2 * recorder - shape.log_entries
        self._intents_at = sizes.notes - recorder - 2 * shape.log_entries
        super()._start_workers()

    def _intent_of(self, position: int) -> int:
        return self._lab[self._intents_at + 2 * (position % self._log_entries)]

    def _reconcile(self) -> None:
        if self.forged is None and self._reconcilers:
            start = max(self._reconcilers[0].checked, self.position)
            for position in range(start, self._queues[0].consumed()):
                if self._intent_of(position) == self.intent:
                    self.forged = position
                    self._kern[self._verdicts_at + position % self._log_entries] = int(self.verdict)
                    break
        super()._reconcile()


class ForgesRejection(Forger):
    """Of a valid return, the log says that it was rejected."""


class ForgesAcceptance(Forger):
    """Of a malformed entry, the log says that it was taken."""

    intent = 1
    verdict = Verdict.ACCEPTED


def test_forged_rejection_is_found_shown_and_explained(tmp_path: Path) -> None:
    report = run_in(tmp_path, ForgesRejection)
    assert [line.partition(":")[0] for line in report.problems] == ["exactness"]
    (mismatch,) = report.reconciliation.mismatches
    (told,) = report.explanations
    assert told.kind == "exactness"
    for words in (
        f"RQE {mismatch.position} of queue 0",
        "It was written as a valid return, not by a fault.",
        "The provider said bad_area.",
        "A well-formed return was rejected",
        "The provider's own counters say otherwise than its verdict log",
        "bad_area 0, in the log 1",
        f"zcrx-emu replay {tmp_path} runs seed 3",
    ):
        assert words in told.text
    assert json.loads((tmp_path / "run.json").read_text())["explanation"] == [
        {"kind": "exactness", "text": told.text}
    ]

    plain, lines = read(tmp_path)
    check_times(plain)
    assert plain["finding"]["kind"] == "exactness"
    assert plain["finding"]["queue"] == 0
    assert {process for process, _ in lines} >= {
        *("nic, queue 0", "provider, queue 0", "consumer, queue 0", "control, queue 0")
    }
    # Time 0 is the refill that judged the entry, if it was not overwritten on a slow machine.
    if plain["zero"] == "event":
        (at_zero, *_) = [event for event in plain["events"] if event["us"] == 0]
        assert at_zero["kind"] == "refill"
        assert 0 <= mismatch.position - at_zero["position"] < at_zero["rqes"]
    assert report.flight == str(tmp_path / "flight.txt")
    assert 1 <= len(report.flight_lines) <= 12


class ForgesUnseen(ForgesRejection):
    """Nobody looks at what was reconciled before everything is over."""

    def _reconcile(self) -> None:
        with patch.object(Watch, "look"):
            super()._reconcile()


def test_mismatch_that_is_noticed_last_is_explained_like_the_first(tmp_path: Path) -> None:
    report = run_in(tmp_path, ForgesUnseen)
    (mismatch,) = report.reconciliation.mismatches
    (told,) = report.explanations
    assert told.kind == "exactness"
    assert f"RQE {mismatch.position} of queue 0" in told.text
    assert "The provider said bad_area." in told.text
    assert "could not be compared" not in told.text


def test_forged_acceptance_names_the_rule_that_wrote_the_entry(tmp_path: Path) -> None:
    report = run_in(tmp_path, ForgesAcceptance, plan=parse_plan("bad-pad:0.05,bad-area:0.05"))
    (told,) = report.explanations
    for words in (
        "It was written by rule 1 of the plan, bad-pad (at each valid RQE",
        "A valid return with a nonzero __pad.",
        "It had to earn bad_pad. The provider said accepted.",
        "a malformed entry was honoured",
    ):
        assert words in told.text
    if "bytes are not known" not in told.text:
        assert "The contract tests __pad first, and it is 0x" in told.text
    plain, _ = read(tmp_path)
    check_times(plain)
    faults = [event for event in plain["events"] if event["kind"] == "fault"]
    assert {event["fault"] for event in faults} == {"bad-pad", "bad-area"}


def test_verdict_of_7_is_a_finding_like_any_other(tmp_path: Path) -> None:
    class ForgesNonsense(Forger):
        verdict = 7  # type: ignore[assignment]

    report = run_in(tmp_path, ForgesNonsense)
    assert [line.partition(":")[0] for line in report.problems] == ["exactness"]
    assert report.reconciliation.mismatches[0].verdict == "unknown"
    assert "the number of no verdict" in report.explanations[0].text


# ---- Consumers that break the rules -------------------------------------------------------------


def scribbles_over_what_it_holds(consumer: Consumer) -> None:
    """Write into a buffer that was received and is still being read."""
    held = []
    for count, completion in enumerate(consumer):
        held.append(completion)
        if count % 100 == 0:
            held[0].data[0] ^= 1
        if len(held) > 8:
            consumer.give_back(held.pop(0))
    consumer.give_back(*held)


def fails(consumer: Consumer) -> None:
    for _ in consumer:
        raise ValueError("mine")


def test_changed_bytes_are_told_with_the_fragment_that_suffered(tmp_path: Path) -> None:
    report = run_in(tmp_path, consumer=f"{__name__}:scribbles_over_what_it_holds")
    assert [line.partition(":")[0] for line in report.problems] == ["integrity"]
    (told,) = report.explanations
    assert re.search(r"The first one recorded: queue 0, fragment \d+ of flow \d+ in", told.text)
    assert "ownership holds" in told.text
    assert "scribbles_over_what_it_holds; if it writes into the area" in told.text
    plain, _ = read(tmp_path)
    check_times(plain)
    assert plain["zero"] == "event"
    (at_zero, *_) = [event for event in plain["events"] if event["us"] == 0]
    assert (at_zero["kind"], at_zero["error"]) == ("error", "bytes_changed")


def test_consumer_that_fails_is_told_as_a_death(tmp_path: Path) -> None:
    report = run_in(tmp_path, consumer=f"{__name__}:fails")
    told = {item.kind: item.text for item in report.explanations}
    assert "ValueError: mine" in told["death"]
    assert "The scrub took back" in told["death"]
    _, lines = read(tmp_path)
    assert any(process == "control, queue 0" and "scrubbed" in text for process, text in lines)


# ---- The command --------------------------------------------------------------------------------


def folder_of(script: Any) -> Path:
    (path,) = Path(script.folder).glob("runs/*")
    return path


@pytest.mark.parametrize("victim", ["provider", "nic", "consumer of queue 1"])
def test_killed_process_leaves_what_it_did_last(script: Any, victim: str) -> None:
    running = script.start("stress", "--duration", "60", "--queues", "2")
    running.expect_traffic()
    os.kill(running.pids()[victim], signal.SIGKILL)
    ended = running.finish()
    assert ended.code == 1
    folder = folder_of(script)
    assert names_in(folder) >= FILES
    assert f"flight recorder: {folder.relative_to(script.folder)}/flight.txt" in ended.stdout
    assert "around the first finding" in ended.stdout
    assert "death explained:" in ended.stdout
    (told,) = json.loads((folder / "run.json").read_text())["explanation"]
    assert told["kind"] == "death"
    assert told["text"].startswith(f"{victim} was killed by SIGKILL, noticed ")
    assert f"The last that the {victim.split()[0]} recorded was on queue " in told["text"]
    plain, lines = read(folder)
    check_times(plain)
    assert plain["finding"]["kind"] == "death"
    assert ("control", f"noticed: {victim} was killed by SIGKILL") in lines or (
        "control, queue 1",
        f"noticed: {victim} was killed by SIGKILL",
    ) in lines
    assert any(event["process"] == victim.split()[0] for event in plain["events"])


@pytest.mark.parametrize("options", [(), ("--faults", "hostile")])
def test_run_that_is_interrupted_and_passes_writes_none(script: Any, options: Any) -> None:
    running = script.start("stress", "--duration", "60", *options)
    running.expect_traffic()
    running.process.send_signal(signal.SIGINT)
    ended = running.finish()
    assert ended.code == 0
    folder = folder_of(script)
    assert names_in(folder) & FILES == {"run.json"}
    assert "flight" not in ended.stdout
    plain = json.loads((folder / "run.json").read_text())
    assert (plain["explanation"], plain["flight"]) == ([], None)


def test_process_faults_of_a_plan_are_no_finding(tmp_path: Path) -> None:
    report = run_in(
        tmp_path,
        packets=0,
        duration_s=0.6,
        plan=parse_plan("kill-consumer:at=100,stop-nic:at=250:ms=20"),
    )
    assert report.ok
    assert names_in(tmp_path) & FILES == {"run.json"}


def test_process_faults_stand_in_the_recorder(tmp_path: Path) -> None:
    """The forged verdict comes late enough for the kill to stand before it."""
    report = run_in(
        tmp_path,
        ForgesAfterKill,
        packets=0,
        duration_s=0.6,
        plan=parse_plan("kill-consumer:at=50"),
    )
    assert [line.partition(":")[0] for line in report.problems] == ["exactness"]
    plain, _ = read(tmp_path)
    told = [event["text"] for event in plain["events"] if event["process"] == "control"]
    assert any(text.startswith("fault: kill-consumer (rule 1) at ") for text in told)
    assert "wants user nobody" in told
    assert "wants user 2" in told
    assert any(text.startswith("scrubbed: ") for text in told)


class ForgesAfterKill(Forger):
    """Waits for the second user."""

    def _reconcile(self) -> None:
        if self._users[0] < 2:
            self.position = self._queues[0].consumed()
        super()._reconcile()


def test_finding_without_a_run_folder_is_still_told() -> None:
    config = RunConfig(seed=3, packets=2000, traffic=TRAFFIC, consumer=f"{__name__}:fails")
    with Session(config) as session:
        report = session.run()
    assert not report.ok
    assert report.flight is None
    assert report.flight_lines
    assert "give --run-dir" in report.explanations[0].text


@pytest.mark.parametrize("consumer", ["builtin", f"{__name__}:fails"])
def test_closed_session_keeps_no_mapping_with_or_without_a_finding(consumer: str) -> None:
    """The session itself is still held: what it has copied stays, what it had mapped goes."""
    gc.collect()  # of earlier tests, whose exceptions hold frames
    session = Session(RunConfig(seed=3, packets=2000, traffic=TRAFFIC, consumer=consumer))
    with session:
        report = session.run()
        assert f"/zcrx-emu.{os.getpid()}." in Path("/proc/self/maps").read_text()
    assert report.ok is (consumer == "builtin"), report.problems
    assert f"/zcrx-emu.{os.getpid()}." not in Path("/proc/self/maps").read_text()
