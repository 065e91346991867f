"""Traces of runs: of good and bad ones, of what is left in a folder, and of damaged ones."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emu.cli.trace_option import EVENTS_MAX, write_trace
from emu.config import RunConfig
from emu.errors import ConfigError
from emu.runtime.sample import Sample
from emu.runtime.session import Session, run
from emu.trace.buffers import lives
from emu.trace.made import trace_of
from emu.trace.rings import refills
from emu.trace.run_trace import run_trace
from emu.verdict.report import Report
from faults import parse_plan

from ..conftest import PATIENCE_S
from .conftest import Checked


@pytest.fixture(scope="module")
def good() -> Report:
    """A run of two queues, one of which gets another consumer, with its recorders."""
    plan = parse_plan("bad-pad:1%,queue-restart:every=20")
    config = RunConfig(seed=3, duration_s=PATIENCE_S, queues=2, plan=plan, wait_ms=60_000)
    home: list[int] = []  # of each queue: buffers that had come home when queue 0 changed hands

    def look(sample: Sample) -> None:
        now = [queue.provider["accepted"] for queue in sample.queues]
        if not home and sample.queues[0].consumer["fragments"]:
            session.detach_consumer(0)
            home.extend(queue.provider["accepted"] for queue in session.sample().queues)
            session.attach_consumer(0)
        elif home and all(b - a > 500 for a, b in zip(home, now, strict=True)):
            session.interrupt()

    with Session(config, keeps_flight=True) as session:
        report = session.run(look, sample_every_s=0.02)
    assert report.ok, report.problems
    return report


@pytest.fixture(scope="module")
def trace(good: Report) -> Checked:
    assert good.flight_log is not None
    return Checked(run_trace(good.as_dict(), good.flight_log.newest(EVENTS_MAX)))


def test_nothing_is_missing(trace: Checked) -> None:
    other = trace.trace["otherData"]
    assert other["missing"] == []
    assert other["ok"] is True
    assert {item["process"] for item in other["recorders"]} == {"nic", "provider", "consumer"}


def test_each_process_has_its_rows(good: Report, trace: Checked) -> None:
    consumers = [process for process in good.processes if process.role == "consumer"]
    assert len(consumers) == 3, "one was replaced"
    for process in good.processes:
        pid = trace.pid_of(f"{process.label} (pid {process.pid})")
        (life,) = (event for event in trace.named("lives") if event["pid"] == pid)
        assert life["args"]["exit_code"] == process.exit_code
        assert process.started_s is not None
        assert process.ended_s is not None
        assert life["dur"] == pytest.approx((process.ended_s - process.started_s) * 1e6, abs=2)


def test_consumers_record_while_they_live(good: Report, trace: Checked) -> None:
    """One that replaced another one has its own events, and no row has another one's."""
    of_whom = set()
    for life in trace.named("lives"):
        mine = [
            event
            for event in trace.of("i")
            if event["pid"] == life["pid"] and event["cat"] == "batch"
        ]
        assert all(life["ts"] <= event["ts"] <= life["ts"] + life["dur"] for event in mine)
        if mine:
            of_whom.add(trace.processes[life["pid"]])
    recorded = [name for name in of_whom if name.startswith("consumer")]
    assert len(recorded) == 3


def test_rings_are_emptied_and_what_was_in_them_was_read(trace: Checked) -> None:
    for queue in range(2):
        pid = trace.pid_of(f"rings of queue {queue}")
        spans = [start for start, _ in trace.spans if start["pid"] == pid]
        assert {start["name"].partition(":")[0] for start in spans} == {
            "completion queue",
            "refill ring",
        }
        depths = [event for event in trace.of("C") if event["pid"] == pid]
        (completions,) = {e["name"] for e in depths if e["name"].startswith("completion")}
        last = [event for event in depths if event["name"] == completions][-1]
        assert last["args"] == {"entries": 0}, "at the end all was read"


def test_entries_in_the_trace_are_those_that_were_recorded(good: Report, trace: Checked) -> None:
    assert good.flight_log is not None
    published = [e for e in good.flight_log.events if e.name == "burst"]
    drawn = [s["args"]["entries"] for s, _ in trace.spans if s["name"].startswith("completion")]
    assert 0 < sum(drawn) <= sum(event.a for event in published)
    assert len(drawn) > len(published) / 2


def test_run_without_a_finding_has_none(trace: Checked) -> None:
    """Restarts lead to destroy warnings, which are none; else the recorders are copied early."""
    assert [event["name"] for event in trace.of("i") if event["cat"] == "finding"] == []
    ends = [event["name"] for event in trace.of("i") if event["cat"] == "batch"]
    assert ends.count("teardown") == 2


def test_faults_and_process_events_are_marks(good: Report, trace: Checked) -> None:
    names = {event["name"] for event in trace.of("i")}
    assert "fault: bad-pad" in names
    assert any(name.startswith("kills the consumer of queue 0") for name in names)
    assert {"state TRAFFIC", "state DRAIN"} <= names


def test_counters_come_to_what_was_counted(good: Report, trace: Checked) -> None:
    rates = [(event["ts"], event["args"]["packets/s"]) for event in trace.named("packets/s")]
    total = sum(
        rate * (late - early) / 1e6 for (early, rate), (late, _) in itertools.pairwise(rates)
    )
    assert total == pytest.approx(good.total("nic", "packets_delivered"), rel=0.01)
    where = trace.named("where buffers are")[-1]["args"]
    assert sum(where.values()) == sum(sum(queue.areas) for queue in good.queues)


@pytest.fixture(scope="module")
def bad_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    provider = str(Path(__file__).parents[2] / "docs" / "examples" / "broken_provider.c")
    plan = parse_plan("double-return:1%,scrub-midway:every=50")
    config = RunConfig(seed=1, packets=20_000, plan=plan, provider=provider, wait_ms=60_000)
    assert not run(config, run_dir=folder).ok
    return folder


def test_folder_has_the_finding_among_its_events(bad_folder: Path) -> None:
    found = Checked(trace_of(bad_folder))
    assert found.trace["otherData"]["missing"] == []
    noticed = [event for event in found.of("i") if event["cat"] == "finding"]
    assert noticed
    assert all(event["s"] == "g" for event in noticed)
    flight = json.loads((bad_folder / "flight.json").read_text())
    instants = [event for event in found.of("i") if event["cat"] != "process"]
    blocked = [event for event in flight["events"] if event["kind"] == "blocked"]
    assert len(instants) == len(flight["events"]) - len(blocked)


def test_folder_of_an_older_run_has_no_counters_beside_its_events(
    bad_folder: Path, tmp_path: Path
) -> None:
    for name in ("run.json", "flight.json"):
        value = json.loads((bad_folder / name).read_text())
        value.pop("traffic_us", None)
        (tmp_path / name).write_text(json.dumps(value))
    found = Checked(trace_of(tmp_path))
    assert found.trace["otherData"]["missing"] == [
        "counters over time: flight.json does not say when traffic began"
    ]
    assert found.named("packets/s") == []
    assert any(event["cat"] == "finding" for event in found.of("i"))


def test_run_without_recorders_has_how_it_went(good: Report) -> None:
    found = Checked(run_trace(good.as_dict(), None))
    assert found.named("packets/s")
    assert found.named("lives")
    assert found.spans == []


def test_last_word_of_a_dead_control_process_is_a_trace(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(
        '{"schema": 1, "ok": false, "seed": 7, "config": {}, "ended": "control process died"}'
    )
    assert "counters over time" in Checked(trace_of(tmp_path)).trace["otherData"]["missing"][0]


_NOT_SO = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=4), st.just([]), st.just({})
)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damaged_report_is_a_trace_all_the_same(bad_folder: Path, data: st.DataObject) -> None:
    values: list[Any] = [
        json.loads((bad_folder / name).read_text()) for name in ("run.json", "flight.json")
    ]
    values[1]["events"] = values[1]["events"][-40:]
    values[0]["series"] = {**values[0]["series"], "faults": {}}
    report, flight = copy.deepcopy(values)
    broken = data.draw(st.sampled_from([report, flight]))
    for _ in range(data.draw(st.integers(1, 3))):
        place: Any = broken
        while True:
            key = data.draw(
                st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place)))
            )
            inner = place[key]
            if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
                break
            place = inner
        place[key] = data.draw(_NOT_SO)
    trace = run_trace(report, flight)
    assert trace["traceEvents"]
    json.dumps(trace)


def test_newest_events_are_those_that_are_kept(good: Report) -> None:
    assert good.flight_log is not None
    value = good.flight_log.newest(100)
    assert len(value["events"]) == 100
    assert value["left_out"] == len(good.flight_log.events) - 100
    assert value["events"][-1]["us"] <= 0 == value["noticed_us"]


def test_file_is_what_the_trace_is(trace: Checked, tmp_path: Path) -> None:
    write_trace(tmp_path / "t.json", trace.trace)
    assert json.loads((tmp_path / "t.json").read_text()) == trace.trace


@pytest.mark.parametrize(
    ("text", "why"), [("[]", "is no report"), ("{", "is no JSON"), ("{}", "is no run")]
)
def test_what_is_no_run_is_refused(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(ConfigError, match=why):
        trace_of(tmp_path)


def test_command_writes_a_trace_while_and_after(call: Callable[..., Any], tmp_path: Path) -> None:
    ended = call("stress", "--packets", "5000", "--run-dir", "r", "--perfetto", "a.json")
    assert ended.code == 0, ended.stderr
    Checked(json.loads((tmp_path / "a.json").read_text()))
    assert not (tmp_path / "r" / "flight.json").exists(), "a good run leaves none"
    ended = call("report", "r", "--perfetto", "b.json")
    assert (ended.code, ended.stdout) == (0, "b.json\n")
    Checked(json.loads((tmp_path / "b.json").read_text()))
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("stress", "--perfetto", "-"), "perfetto: '-' is not allowed; name a file"),
        (("stress", "--perfetto", "no/x"), "perfetto: 'no/x' cannot be written"),
        (("recv", "--listen", "h:1", "--output", "o", "--perfetto", "no/x"), "perfetto: 'no/x'"),
        (("report", "a", "b", "--perfetto", "t.json"), "it is of one: not of two runs"),
        (("report", "nothing", "--perfetto", "t.json"), "report: 'nothing' cannot be read"),
    ],
)
def test_wrong_use_is_one_line(
    call: Callable[..., Any], tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    ended = call(*words)
    assert ended.code == 2
    assert said in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


# ---- Single buffers -----------------------------------------------------------------------------


def test_each_life_has_as_many_returns_as_fragments(good: Report) -> None:
    """Told by positions alone, against what the provider found: each reference came back once."""
    assert good.flight_log is not None
    flight = good.flight_log.newest(EVENTS_MAX)
    assert {trail["queue"] for trail in flight["trails"]} == {0, 1}
    checked = 0
    for trail in flight["trails"]:
        mine = [event for event in flight["events"] if event["queue"] == trail["queue"]]
        entries = refills(mine)
        when = [
            (niov, batch.us)
            for position, (verdict, niov) in enumerate(trail["judged"], trail["judged_from"])
            if verdict in ("accepted", "other_pool", "still_referenced")
            for batch in entries.read
            if batch.end - batch.count <= position < batch.end
        ]
        for life in lives(mine, trail):
            if life.returned_us is not None:
                grant = life.grant
                back = [us for niov, us in when if niov == grant.niov and us >= grant.us]
                assert sum(us <= life.end_us for us in back) == grant.fragments
                assert grant.us <= life.end_us
                checked += 1
    assert checked > 50


def test_buffers_have_rows_with_what_befell_them(trace: Checked) -> None:
    for queue in range(2):
        pid = trace.pid_of(f"buffers of queue {queue}")
        mine = [event for event in trace.of("X") if event["pid"] == pid]
        rows = {trace.tracks[event["pid"], event["tid"]] for event in mine}
        assert len(rows) == len({event["tid"] for event in mine}) > 10
        grants = [event for event in mine if event["name"].startswith("grant ")]
        assert all(event["args"]["fragments"] >= 1 for event in grants)
        assert {event["name"] for event in mine if event not in grants} >= {
            *("unread", "with the consumer", "in the refill ring"),
        }
