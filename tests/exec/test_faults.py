"""``exec --faults``: the library's plan in every ring of a program, counted and told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Program = Callable[[str], Path]
BYTES = 1_000_001


def test_what_fired_is_told_counted_and_repeated(script: Any, program: Program) -> None:
    words = ("--shape", "mtu:1500", "--json", "told.json", program("receiver"), BYTES)

    def run(plan: str) -> dict[str, Any]:
        ended = script.run("exec", "--seed", 3, "--faults", plan, *words)
        told: dict[str, Any] = json.loads((script.folder / "told.json").read_text())
        assert ended.code == 0, ended.stderr
        assert ended.stderr.startswith("zcrx-emu: by the plan (--seed 3): nic-truncate ")
        assert told["counts"] == {}
        return told

    told = run("nic-truncate:5%,cq-full:every=100")
    assert told["fired"]["nic-truncate"] > 5
    assert told["fired"]["cq-full"] > 2
    (journal,) = told["journals"]
    assert journal["ring"] == 0
    again = run(journal["plan"])
    # How many packets there are is the socket's to say: what comes early comes again.
    for rule in ("nic-truncate:at=", "cq-full:at=0+100+200"):
        assert rule in journal["plan"]
        assert rule in again["journals"][0]["plan"]


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ("nic-drop", "nic-drop: it has no trigger; write nic-drop:0.01"),
        ("bad-pad:1%", "'bad-pad' is no fault of the library; it has nic-drop, "),
        ('a"\\b:1', "'a\"\\b' is no fault of the library"),
        ("cq-full:at=0,eintr:1.5", "rule 2: eintr: probability '1.5' is out of range"),
    ],
)
def test_wrong_plan_is_one_line_and_nothing_is_run(script: Any, plan: str, said: str) -> None:
    ended = script.run("exec", "--faults", plan, "echo", "run")
    assert (ended.code, ended.stdout) == (2, "")
    assert f"--faults: plan: {said}" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_wait_is_interrupted_as_by_a_signal(script: Any, program: Program) -> None:
    ended = script.run("exec", "--faults", "eintr:at=0", program("wait_for_ever"))
    assert (ended.code, ended.stdout) == (0, "waits\nInterrupted system call\n")
    assert ended.stderr == "zcrx-emu: by the plan (--seed 0): eintr 1\n"


def test_connection_breaks_where_the_plan_says(script: Any, program: Program) -> None:
    """After two packets: the program is told, and so is the other side, which would block else."""
    plan = ("--shape", "mtu:1500", "--faults", "conn-reset:at=2")
    ended = script.run("exec", *plan, program("mistakes"), 100 * BYTES, 1, "right")
    assert (ended.code, ended.stdout.split(",")[0]) == (0, f"3000 of {100 * BYTES} bytes")
    assert ended.stderr == "zcrx-emu: by the plan (--seed 0): conn-reset 1\n"


def test_registration_fails_as_the_plan_says(script: Any, program: Program) -> None:
    words = ("exec", "--explain", "--faults", "register-fail:at=0:errno=16", program("receiver"))
    ended = script.run(*words, BYTES)
    assert ended.code == 1
    assert "EBUSY: the driver refuses (errno 16), by the plan" in ended.stderr
    assert "by the plan (--seed 0): register-fail 1" in ended.stderr
