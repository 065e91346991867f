"""The report of a run and ``run.json``: the fields that programs rely on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emu.config import RunConfig
from emu.errors import EnvironmentProblem
from emu.runtime.session import run
from emu.verdict.report import (
    SCHEMA,
    Process,
    Report,
    Statement,
    failures,
    write_json,
    write_last_word,
)
from faults import parse_plan

NUMBER = (int, float)
VERDICTS = {
    *("accepted", "still_referenced", "other_pool"),
    *("bad_pad", "bad_area", "bad_index", "no_user_ref"),
}
#: Path in run.json: type of the value.
FIELDS: dict[str, Any] = {
    "schema": int,
    "ok": bool,
    "seed": int,
    "config": dict,
    "config.seed": int,
    "config.queues": int,
    "config.plan": str,
    "elapsed_s": NUMBER,
    "ended": str,
    "problems": list,
    "notes": list,
    "explanation": list,
    "versions": dict,
    "capture": type(None),
    "packets.offered": int,
    "packets.delivered": int,
    "packets.dropped": int,
    "bytes.delivered": int,
    "bytes.received": int,
    "rqe.submitted": int,
    "rqe.consumed": int,
    "rqe.verdicts": dict,
    "faults.injected": dict,
    "faults.injected.bad-pad": int,
    "faults.consequences": dict,
    "faults.consequences.bad-pad": int,
    "faults.details": list,
    "reconciliation.ok": bool,
    "reconciliation.mismatches": list,
    "reconciliation.mismatch_count": int,
    "reconciliation.table": list,
    "audit.conservation": bool,
    "audit.integrity": bool,
    "audit.ownership": bool,
    "audit.order": bool,
    "audit.progress": bool,
    "audit.exactness": bool,
    "audit.all_home": bool,
    "queues": list,
    "netlink.queue-get": list,
    "netlink.page-pool-get": list,
    "processes": list,
}


@pytest.fixture(scope="module")
def report() -> Report:
    config = RunConfig(seed=3, packets=5000, queues=2, plan=parse_plan("bad-pad:0.1,bad-area:0"))
    return run(config)


@pytest.fixture(scope="module")
def plain(report: Report) -> Any:
    """As a program reads it."""
    return json.loads(json.dumps(report.as_dict()))


@pytest.mark.parametrize("path", FIELDS)
def test_field_is_there_with_its_type(plain: Any, path: str) -> None:
    value = plain
    for name in path.split("."):
        assert name in value
        value = value[name]
    assert isinstance(value, FIELDS[path])
    if FIELDS[path] is int:
        assert not isinstance(value, bool)


def test_values_are_those_of_the_run(report: Report, plain: Any) -> None:
    assert plain["schema"] == SCHEMA == 1
    assert plain["ok"] is True
    assert plain["seed"] == plain["config"]["seed"] == 3
    assert plain["config"]["plan"] == "bad-pad:0.1,bad-area:0.0"
    assert plain["packets"]["offered"] == plain["packets"]["delivered"] == 5000
    assert plain["bytes"]["delivered"] == plain["bytes"]["received"] > 0
    assert set(plain["rqe"]["verdicts"]) == VERDICTS
    assert sum(plain["rqe"]["verdicts"].values()) == plain["rqe"]["consumed"]
    assert plain["faults"]["injected"] == {
        "bad-pad": plain["rqe"]["verdicts"]["bad_pad"],
        "bad-area": 0,
    }
    assert plain["faults"]["injected"]["bad-pad"] > 0
    assert plain["faults"]["consequences"] == {"bad-pad": 0, "bad-area": 0}
    assert plain["faults"]["details"] == []
    assert plain["explanation"] == []
    assert plain["flight"] is None
    assert [row["consequences"] for row in plain["reconciliation"]["table"]] == [0, 0, 0]
    assert [row["name"] for row in plain["reconciliation"]["table"]] == [
        "valid",
        "bad-pad",
        "bad-area",
    ]
    assert set(plain["audit"]["details"]) == {item.name for item in report.statements}
    assert len(plain["queues"]) == len(plain["netlink"]["queue-get"]) == 2
    for queue in plain["queues"]:
        assert set(queue) >= {"nic", "provider", "page_pool", "consumer", "places", "scrub"}
        assert all(name.startswith("rx_pp_") for name in queue["page_pool"])
    for process in plain["processes"]:
        assert set(process) == {
            *("role", "queue", "pid", "exit_code", "cpu_s"),
            *("started_s", "ended_s"),
        }
        assert process["started_s"] < 0 < process["ended_s"], "in seconds of traffic"
    assert {"python", "kernel", "zcrx-emu", "cffi", "faker"} <= set(plain["versions"])


def test_totals_are_sums_over_queues(report: Report) -> None:
    assert report.total("nic", "packets_offered") == 5000
    assert report.total("nic", "packets_offered") == sum(
        queue.nic["packets_offered"] for queue in report.queues
    )


def test_process_is_named_by_role_and_queue() -> None:
    assert Process("nic", None, 1, 0, 0.0).label == "nic"
    assert Process("consumer", 3, 1, 0, 0.0).label == "consumer of queue 3"


def test_only_broken_statements_are_failures() -> None:
    statements = [
        Statement("order", True, "fine"),
        Statement("all_home", None, "not judged"),
        Statement("integrity", False, "2 fragments differ"),
    ]
    assert failures(statements) == ["integrity: 2 fragments differ"]


def test_json_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_json(path, {"long": "x" * 100_000})
    write_json(path, {"ok": True})
    assert json.loads(path.read_text()) == {"ok": True}
    assert path.read_text().endswith("}\n")
    assert list(tmp_path.iterdir()) == [path]


def test_json_file_behind_a_link_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    file = tmp_path / "elsewhere" / "run.json"
    file.write_text("old")
    file.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to(file)
    write_json(link, {"ok": True})
    assert link.is_symlink()
    assert json.loads(file.read_text()) == {"ok": True}
    assert file.stat().st_mode & 0o777 == 0o640


def test_what_is_no_regular_file_is_written_into_and_never_replaced(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_json(fifo, {"ok": True})
        assert json.loads(os.read(reader, 4096)) == {"ok": True}
    finally:
        os.close(reader)
    assert fifo.is_fifo()
    assert list(tmp_path.iterdir()) == [fifo]


@pytest.mark.parametrize("name", ["x" * 255, "x" * 256, "x\0y"])
def test_name_of_a_json_file_is_written_or_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if len(name) == 255:
        write_json(path, {})
        assert path.exists()
        return
    with pytest.raises(EnvironmentProblem, match=r"^.*: cannot be written \(.*\)$"):
        write_json(path, {})


@pytest.mark.parametrize("where", ["nosuch/run.json", "file/run.json", "folder"])
def test_json_file_that_cannot_be_written_is_an_environment_problem(
    tmp_path: Path, where: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(EnvironmentProblem, match=r"^.*: cannot be written \(.*\)$"):
        write_json(tmp_path / where, {})
    assert sorted(tmp_path.rglob("*")) == before


def test_last_word_says_that_nothing_was_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_last_word(str(tmp_path), {"seed": 5, "queues": 1})
    word = json.loads((tmp_path / "run.json").read_text())
    assert (word["schema"], word["ok"], word["seed"]) == (SCHEMA, False, 5)
    assert word["config"] == {"seed": 5, "queues": 1}
    assert "control process died" in word["ended"]
    assert len(word["problems"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("where", [None, "none/folder"])
def test_last_word_without_a_folder_goes_to_stderr(
    where: str | None, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write_last_word(None if where is None else str(tmp_path / where), {})
    assert "the control process died" in capsys.readouterr().err


def test_report_of_a_run_without_faults_has_no_injected(
    run_sound: Callable[..., Report],
) -> None:
    faults = run_sound(packets=100).as_dict()["faults"]
    assert faults == {"injected": {}, "consequences": {}, "details": []}
