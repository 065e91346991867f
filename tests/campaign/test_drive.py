"""A campaign against its store, with results made up: what is begun, kept, and done only once."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import multiprocessing
import os
import sqlite3
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emu.campaign import corpora
from emu.campaign.artifacts import Artifacts
from emu.campaign.drive import Drive, Ended, Limits, Progress
from emu.campaign.plan import Piece, Plan, read_plan
from emu.campaign.result import Result, Sighting, State
from emu.campaign.store import FILE, Store
from emu.campaign.summary import read_summary, summary_of, verdict_of
from emu.contract import LEVELS
from emu.errors import ConfigError, EnvironmentProblem
from emu.formats.ktap import campaign_tests
from emu.race.library import SCENARIOS
from faults import PROFILES

Reader = Callable[[str], Plan]
JOB = '[[job]]\ncommand = "stress"\noptions = { packets = 10 }\n'
TEN = JOB + "seeds = 10\n"
NO_LIMITS = Limits()
FUZZ = '[[job]]\ncommand = "fuzz"\nseeds = 3\noptions = { time = 1 }\n'


class Told:
    """A pool whose results are told by a function; they come in the order in which it was asked."""

    def __init__(self, answer: Callable[[Piece, tuple[bytes, ...]], Result], room: int = 2) -> None:
        self._answer = answer
        self.room = self.workers = room
        self.asked: list[Piece] = []
        self._waiting: list[Result] = []

    def submit(self, piece: Piece, programs: tuple[bytes, ...]) -> None:
        self.asked.append(piece)
        self._waiting.append(self._answer(piece, programs))

    def results(self, _seconds: float) -> list[Result]:
        return [self._waiting.pop(0)] if self._waiting else []


def passed(piece: Piece, _programs: tuple[bytes, ...] = ()) -> Result:
    return Result(piece.name, State.PASSED, 1.0, figures={"packets": 10})


def found(piece: Piece, *signatures: str) -> Result:
    seen = [Sighting(name, f"it is {name}", "run", {"run/run.json": b"{}"}) for name in signatures]
    return Result(piece.name, State.FOUND, 1.0, sightings=tuple(seen))


def drive(
    plan: Plan,
    folder: Path,
    pool: Any,
    limits: Limits = NO_LIMITS,
    **more: Any,
) -> tuple[Ended, dict[str, Any]]:
    """One call of a campaign; how it ended and what it came to."""
    with Store(folder, is_writer=True) as store:
        store.claim("digest", "1")
        store.plan(plan.pieces.values())
        place = Artifacts(str(folder / "artifacts"))
        ended = Drive(plan, store, place).run(pool, limits, **more)
        store.note(ended=ended.why)
        return ended, summary_of(store, place.path_of)


def test_all_is_done_once(plan_of: Reader, tmp_path: Path) -> None:
    plan, pool = plan_of(TEN), Told(passed)
    ended, summary = drive(plan, tmp_path / "s", pool)
    assert ended.why == "done"
    assert [piece.name for piece in pool.asked] == list(plan.pieces)
    assert verdict_of(summary) == (0, "PASS", "all 10 pieces were done and passed")
    again = Told(passed)
    assert drive(plan, tmp_path / "s", again)[0].why == "done"
    assert again.asked == []


def test_it_goes_on_where_it_was(plan_of: Reader, tmp_path: Path) -> None:
    plan = plan_of(TEN)
    first, count = Told(passed), 0

    def look(progress: Progress) -> None:
        nonlocal count
        count = progress.done

    ended, summary = drive(plan, tmp_path / "s", first, is_stopped=lambda: count >= 4, look=look)
    code, word, sentence = verdict_of(summary)
    assert (ended.why, code, word) == ("interrupted", 2, "NO VERDICT")
    assert sentence == "4 of 10 pieces passed; 6 were not done: it was interrupted"
    second = Told(passed)
    _, summary = drive(plan, tmp_path / "s", second)
    assert [piece.name for piece in second.asked] == list(plan.pieces)[4:]
    assert verdict_of(summary)[0] == 0


def test_a_changed_plan_goes_on_with_what_is_new(plan_of: Reader, tmp_path: Path) -> None:
    drive(plan_of(TEN), tmp_path / "s", Told(lambda piece, _: found(piece, "old")))
    pool = Told(passed)
    _, summary = drive(plan_of(JOB + 'seeds = "8-13"\n'), tmp_path / "s", pool)
    assert [piece.seed for piece in pool.asked] == [11, 12, 13]
    assert (summary["pieces"]["total"], summary["earlier"]) == (6, 7)
    (only,) = summary["findings"]
    assert only["pieces"] == 3  # of seeds 8 to 10: those that are not planned do not count
    _, summary = drive(plan_of(JOB + 'seeds = "11-13"\n'), tmp_path / "s", Told(passed))
    assert verdict_of(summary)[:2] == (0, "PASS")


def test_results_as_ktap(plan_of: Reader, tmp_path: Path) -> None:
    """A job is a test, a combination of its matrix one within it; what was not done is no pass."""
    matrix = JOB + 'seeds = [1, 2]\nmatrix = { kernel = ["6.15", "7.1"] }\n'
    plan = plan_of(matrix)

    def answer(piece: Piece, _programs: tuple[bytes, ...]) -> Result:
        wrong = piece.seed == 2 and "7.1" in str(piece.again)
        return found(piece, "a") if wrong else passed(piece, ())

    _, summary = drive(plan, tmp_path / "s", Told(answer))
    (job,) = campaign_tests(summary, "")
    assert not job.is_ok
    assert [(part.name, part.is_ok) for part in job.parts] == [
        ("kernel=6.15", True),
        ("kernel=7.1", False),
    ]
    assert "1 of 2 pieces passed" in job.parts[1].said[0]
    assert summary["findings"][0]["again"] in job.said
    _, summary = drive(plan, tmp_path / "t", Told(passed), is_stopped=lambda: True)
    (job,) = campaign_tests(summary, "it was interrupted")
    assert (job.directive, job.why) == ("SKIP", "none was done: it was interrupted")
    _, summary = drive(plan_of(JOB + "seeds = 2\n"), tmp_path / "u", Told(passed))
    (job,) = campaign_tests(summary, "")
    assert (job.is_ok, job.directive, job.parts) == (True, "", ())


def test_presets_are_all_that_come_ready_made() -> None:
    plan = read_plan(Path(__file__).parents[2] / "docs" / "examples" / "presets.toml")
    profiles, scenarios = tomllib.loads(plan.path.read_text())["job"]
    assert profiles["matrix"] == {"kernel": [*LEVELS], "faults": [*PROFILES]}
    assert scenarios["matrix"] == {"scenario": [*SCENARIOS]}
    assert len(plan.pieces) == len(LEVELS) * len(PROFILES) + len(SCENARIOS)


def test_findings_are_told_apart_by_signature(plan_of: Reader, tmp_path: Path) -> None:
    plan = plan_of(TEN)
    said: list[str] = []

    def answer(piece: Piece, _programs: tuple[bytes, ...]) -> Result:
        return found(piece, "a", "b") if piece.seed % 2 else found(piece, "b")

    with Store(tmp_path / "s", is_writer=True) as store:
        store.plan(plan.pieces.values())
        place = Artifacts(str(tmp_path / "files"))
        Drive(plan, store, place, said.append).run(Told(answer), Limits())
        summary = summary_of(store, place.path_of)
    first, second = summary["findings"]
    assert [item["signature"] for item in (first, second)] == ["stress: b", "stress: a"]
    assert (first["pieces"], second["pieces"]) == (10, 5)
    assert first["again"] == "zcrx-emu stress --packets=10 --seed=1"
    assert Path(first["file"]).parent.joinpath("piece.json").is_file()
    assert Path(first["file"]).joinpath("run.json").read_bytes() == b"{}"
    assert len([line for line in said if line.startswith("finding: ")]) == 2
    assert verdict_of(summary) == (1, "FAIL", "2 finding(s), by 10 of 10 pieces done")


def test_findings_in_two_providers_are_two(plan_of: Reader, tmp_path: Path) -> None:
    for name in ("one.c", "two.c"):
        (tmp_path / name).write_text(name)
    plan = plan_of(JOB + 'matrix = { provider = ["one.c", "two.c"] }\n')
    _, summary = drive(plan, tmp_path / "s", Told(lambda piece, _: found(piece, "a")))
    names = {item["signature"] for item in summary["findings"]}
    assert names == {"stress: one.c: a", "stress: two.c: a"}
    for item in summary["findings"]:  # the provider lies where the run's report looks for it
        name = item["signature"].split(": ")[1]
        assert Path(item["file"]).parent.joinpath(name).read_text() == name


def test_limits_end_it(plan_of: Reader, tmp_path: Path) -> None:
    plan = plan_of(TEN)
    pool = Told(lambda piece, _: found(piece, f"number {piece.seed}"))
    ended, summary = drive(plan, tmp_path / "s", pool, Limits(findings=3))
    assert (ended.why, len(summary["findings"])) == ("findings", 3)
    assert verdict_of(summary)[0] == 1
    silent = Told(passed)
    silent.room = 0
    ended, summary = drive(plan, tmp_path / "t", silent, Limits(seconds=1e-9))
    assert ended.why == "time"
    assert verdict_of(summary)[2] == "0 of 10 pieces passed; 10 were not done: its time was over"


def test_what_could_not_be_done_is_tried_by_the_next_call(plan_of: Reader, tmp_path: Path) -> None:
    plan = plan_of(TEN)

    def answer(piece: Piece, _programs: tuple[bytes, ...]) -> Result:
        if piece.seed == 5:
            return Result(piece.name, State.FAILED, 1.0, why="its worker ended 4 times")
        return passed(piece)

    ended, summary = drive(plan, tmp_path / "s", Told(answer))
    assert ended.why == "done"
    assert verdict_of(summary) == (2, "NO VERDICT", "9 of 10 pieces passed; 1 could not be done")
    (failed,) = summary["failed"]
    assert (failed["why"], failed["attempts"]) == ("its worker ended 4 times", 1)
    pool = Told(answer)
    _, summary = drive(plan, tmp_path / "s", pool)
    assert ([piece.seed for piece in pool.asked], summary["failed"][0]["attempts"]) == ([5], 2)
    _, summary = drive(plan, tmp_path / "s", Told(passed))
    assert verdict_of(summary)[:2] == (0, "PASS")


def test_a_result_that_comes_twice_has_the_effect_of_one(plan_of: Reader, tmp_path: Path) -> None:
    plan = plan_of(JOB)
    (piece,) = plan.pieces.values()
    with Store(tmp_path / "s", is_writer=True) as store:
        store.plan(plan.pieces.values())
        seen = found(piece, "a")
        store.add(seen, {"stress: a": seen.sightings[0]}, "")
        before = list(store.rows())
        store.add(passed(piece), {}, "")
        store.add(seen, {"stress: a": seen.sightings[0]}, "")
        assert list(store.rows()) == before
        assert store.findings()[0].count == 1


def test_lost_workers_end_it_and_nothing_is_lost(plan_of: Reader, tmp_path: Path) -> None:
    plan = plan_of(TEN)

    class Lost(Told):
        def results(self, seconds: float) -> list[Result]:
            if len(self.asked) > 5:
                raise EnvironmentProblem("scheduler: it is gone")
            return super().results(seconds)

    ended, summary = drive(plan, tmp_path / "s", Lost(passed))
    assert (ended.why, ended.problem) == ("lost", "scheduler: it is gone")
    assert verdict_of(summary)[0] == 2
    assert 0 < summary["pieces"]["passed"] < 10
    assert verdict_of(drive(plan, tmp_path / "s", Told(passed))[1])[0] == 0


# ---- corpora ------------------------------------------------------------------------------


def fuzzed(piece: Piece, programs: tuple[bytes, ...]) -> Result:
    """A result of fuzz: two programs; of a merge: all but those that others make needless."""
    if piece.merges:
        kept = tuple(program for program in programs if program != b"all have it")
        figures = {"edges": 30 + len(kept), "features": 70}
        return Result(piece.name, State.PASSED, 1.0, figures=figures, programs=kept)
    new = (b"all have it", f"seed {piece.seed}".encode())
    return Result(piece.name, State.PASSED, 1.0, figures={"edges": piece.seed}, programs=new)


def test_a_fuzz_piece_begins_with_what_others_found(plan_of: Reader, tmp_path: Path) -> None:
    plan = plan_of(FUZZ)
    given: list[tuple[bool, int]] = []

    def answer(piece: Piece, programs: tuple[bytes, ...]) -> Result:
        given.append((piece.merges, len(programs)))
        return fuzzed(piece, programs)

    _, summary = drive(plan, tmp_path / "s", Told(answer, room=1))
    assert given == [(False, 0), (False, 2), (False, 3), (True, 4)]
    (corpus,) = summary["corpora"]
    assert (corpus["target"], corpus["programs"]) == ("ours", 3)
    assert corpus["coverage"] == {"edges": 33, "features": 70}
    with zipfile.ZipFile(tmp_path / "s" / "artifacts" / "corpus" / "ours.zip") as archive:
        kept = sorted(archive.read(name) for name in archive.namelist())
    assert kept == [b"seed 1", b"seed 2", b"seed 3"]
    more = plan_of(FUZZ.replace("3", "4"))
    drive(more, tmp_path / "s", Told(answer, room=1))
    assert given[4:] == [(False, 3), (True, 5)]  # a later call begins with what was kept
    assert verdict_of(summary)[2] == "all 3 pieces were done and passed"  # a merge is none


def test_what_came_during_a_merge_is_kept(
    plan_of: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpora, "MERGE_AT", 2)
    merges: list[Piece] = []

    class Slow(Told):
        """Whose merges come when nothing else is left."""

        def submit(self, piece: Piece, programs: tuple[bytes, ...]) -> None:
            super().submit(piece, programs)
            if piece.merges:
                merges.append(piece)
                self._later = self._waiting.pop()

        def results(self, seconds: float) -> list[Result]:
            if not self._waiting and merges:
                self._waiting.append(self._later)
            return super().results(seconds)

    _, summary = drive(plan_of(FUZZ.replace("3", "6")), tmp_path / "s", Slow(fuzzed))
    assert len(merges) > 1
    assert merges[0].words == ("--merge=given", "--time=60")
    assert summary["corpora"][0]["programs"] == 6


def test_merges_that_fail_or_find_something(plan_of: Reader, tmp_path: Path) -> None:
    plan = plan_of(FUZZ)

    def fails(piece: Piece, programs: tuple[bytes, ...]) -> Result:
        if piece.merges:
            return Result(piece.name, State.FAILED, 1.0, why="no compiler")
        return fuzzed(piece, programs)

    _, summary = drive(plan, tmp_path / "s", Told(fails))
    assert (verdict_of(summary)[0], summary["corpora"][0]["programs"]) == (0, 4)

    def finds(piece: Piece, programs: tuple[bytes, ...]) -> Result:
        if not piece.merges:
            return fuzzed(piece, programs)
        figures = {"edges": 1, "features": 1}
        return dataclasses.replace(found(piece, "hang"), figures=figures, programs=programs[:2])

    _, summary = drive(plan, tmp_path / "t", Told(finds))
    assert verdict_of(summary)[:2] == (1, "FAIL")
    assert summary["findings"][0]["signature"] == "fuzz: hang"
    assert summary["corpora"][0]["programs"] == 2
    assert verdict_of(drive(plan, tmp_path / "t", Told(finds))[1])[0] == 1


def test_samples_are_bounded_and_the_same_for_the_same_piece() -> None:
    programs = corpora.union(f"{n:08}".encode() for n in range(corpora.SAMPLE_MAX + 500))
    some = corpora.sample(programs, "piece")
    assert len(some) == corpora.SAMPLE_MAX
    assert some == corpora.sample(programs, "piece")
    assert set(some) != set(corpora.sample(programs, "another"))
    large = corpora.union(bytes([n]) * (corpora.SAMPLE_BYTES_MAX // 3) for n in range(5))
    assert len(corpora.sample(large, "piece")) == 3
    assert corpora.union([b"a", b"a"]) == {hashlib.sha256(b"a").digest(): b"a"}


# ---- the store ----------------------------------------------------------------------------


def test_one_writes_and_others_may_read(plan_of: Reader, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    with Store(folder, is_writer=True) as store:
        store.plan(plan_of(TEN).pieces.values())
        with pytest.raises(ConfigError, match="in use by another campaign"):
            Store(folder, is_writer=True)
        assert read_summary(folder)["pieces"]["total"] == 10
        assert read_summary(folder)["ended"] == "running"
    Store(folder, is_writer=True).close()


def _die_in_the_middle(folder: Path, name: str) -> None:
    store = Store(folder, is_writer=True)
    store.add(Result(name, State.PASSED, 1.0), {}, "")
    store._base.execute("BEGIN IMMEDIATE")
    store._base.execute("UPDATE pieces SET state = 'failed'")
    os.kill(os.getpid(), 9)


def test_a_death_loses_only_what_was_not_noted(plan_of: Reader, tmp_path: Path) -> None:
    plan = plan_of(TEN)
    with Store(tmp_path / "s", is_writer=True) as store:
        store.plan(plan.pieces.values())
    name = next(iter(plan.pieces))
    process = multiprocessing.get_context("fork").Process(
        target=_die_in_the_middle, args=(tmp_path / "s", name)
    )
    process.start()
    process.join()
    assert process.exitcode == -9
    with Store(tmp_path / "s", is_writer=True) as store:
        assert store.counts() == {
            State.WAITING: 9, State.PASSED: 1, State.FOUND: 0, State.FAILED: 0
        }  # fmt: skip
        assert name not in store.undone()


def test_results_of_another_version_are_not_mixed_in(plan_of: Reader, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    drive(plan_of(JOB), folder, Told(passed))
    with Store(folder, is_writer=True) as store:
        store.claim("digest", "1")
        with pytest.raises(ConfigError, match=r"another zcrx-emu .*name another --store"):
            store.claim("another", "2")
    with Store(tmp_path / "t", is_writer=True) as store:  # without results there is nothing to mix
        store.claim("digest", "1")
        store.claim("another", "2")


def test_what_is_no_store_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no campaign in it"):
        Store(tmp_path, is_writer=False)
    (tmp_path / FILE).write_text("no database at all, but a text that is long enough")
    for is_writer in (True, False):
        with pytest.raises(ConfigError, match="cannot be used"):
            Store(tmp_path, is_writer=is_writer)
    (tmp_path / FILE).unlink()
    with sqlite3.connect(tmp_path / FILE) as base:
        base.execute("PRAGMA user_version = 99")
    base.close()
    with pytest.raises(ConfigError, match="has schema 99; this program reads 1"):
        Store(tmp_path, is_writer=True)


# ---- artifacts ----------------------------------------------------------------------------


def test_files_go_wherever_fsspec_can_put_them(plan_of: Reader, tmp_path: Path) -> None:
    plan = plan_of(JOB)
    place = Artifacts("memory://campaign/files")
    with Store(tmp_path / "s", is_writer=True) as store:
        store.plan(plan.pieces.values())
        Drive(plan, store, place).run(Told(lambda piece, _: found(piece, "a")), Limits())
        (item,) = summary_of(store, place.path_of)["findings"]
    assert item["file"] == f"memory://campaign/files/findings/{item['folder']}/run"
    here = place.fetch(item["folder"], tmp_path / "got")
    assert here.joinpath("run", "run.json").read_bytes() == b"{}"
    assert json.loads(here.joinpath("piece.json").read_text())["again"] == item["again"]


def test_artifacts_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="artifacts: 'nonsense://x'"):
        Artifacts("nonsense://x")
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentProblem, match=r"artifacts: .* cannot be written"):
        Artifacts(str(tmp_path / "file" / "in"))


def test_findings_stand_where_their_files_cannot_be_written(
    plan_of: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object) -> None:
        raise EnvironmentProblem("artifacts: no room")

    monkeypatch.setattr(Artifacts, "keep_finding", full)
    ended, summary = drive(plan_of(JOB), tmp_path / "s", Told(lambda p, _: found(p, "a")))
    assert ended.unwritten == "artifacts: no room"
    assert verdict_of(summary)[0] == 1
    assert summary["findings"][0]["file"] is None
