"""Any process may be killed or stopped at any moment: the run ends, names it, leaves nothing.

Each test waits for a line of progress in which packets flow, so that the signal meets a process
at work.
"""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.long

AT_MOST_S = 5.0  #: from the signal to the end of all processes; a second on a quiet machine
FAULTS = ("--faults", "bad-pad:0.01,bad-area:0.01,bad-index:0.01")


def start(script: Any, *options: str) -> Any:
    """Start a long run and wait until packets flow."""
    running = script.start("stress", "--duration", "60", *FAULTS, *options)
    running.expect_traffic()
    return running


def run_json(script: Any) -> Any:
    (path,) = Path(script.folder).glob("runs/*/run.json")
    return json.loads(path.read_text())


def audit_of(report: Any) -> dict[str, bool | None]:
    return {name: holds for name, holds in report["audit"].items() if name != "details"}


@pytest.mark.parametrize(
    ("victim", "queues"),
    [("provider", 1), ("nic", 3)],
)
def test_killed_kernel_side_ends_the_run_with_a_verdict(
    script: Any, victim: str, queues: int
) -> None:
    running = start(script, "--queues", str(queues))
    os.kill(running.pids()[victim], signal.SIGKILL)
    ended = running.finish()
    assert ended.code == 1
    assert ended.seconds < AT_MOST_S
    assert f"FAIL: {victim} was killed by SIGKILL" in ended.stdout
    assert re.search(r"^same again: --seed \d+ --duration \d+", ended.stdout, re.MULTILINE)
    report = run_json(script)
    assert report["ended"] == f"{victim} was killed by SIGKILL"
    assert report["problems"] == [report["ended"]]
    # Where its buffers are only the dead one knew; what can be judged holds.
    audit = audit_of(report)
    assert {name for name, holds in audit.items() if holds is None} == {
        "all_home",
        "conservation",
        "substance",
    }
    assert False not in audit.values()
    assert script.leftovers() == []


@pytest.mark.parametrize(("victim", "queues"), [(0, 1), (1, 3)])
def test_killed_consumer_loses_no_buffer(script: Any, victim: int, queues: int) -> None:
    running = start(script, "--queues", str(queues), "--hold", "100")
    label = f"consumer of queue {victim}"
    os.kill(running.pids()[label], signal.SIGKILL)
    ended = running.finish()
    assert ended.code == 1
    assert ended.seconds < AT_MOST_S
    assert f"FAIL: {label} was killed by SIGKILL" in ended.stdout
    report = run_json(script)
    assert report["problems"] == [f"{label} was killed by SIGKILL"]
    statements = audit_of(report)
    assert statements.pop("substance") is None  # why the run did not get far is said already
    assert set(statements.values()) == {True}
    assert report["queues"][victim]["scrub"]["references"] > 0
    for queue in report["queues"]:
        assert queue["provider"]["free_count"] == report["config"]["area_buffers"]
    exits = {(item["role"], item["queue"]): item["exit_code"] for item in report["processes"]}
    assert exits.pop(("consumer", victim)) == -signal.SIGKILL
    assert set(exits.values()) == {0}
    assert script.leftovers() == []


def test_killed_consumer_may_be_replaced(script: Any) -> None:
    running = start(script, "--queues", "2", "--respawn")
    os.kill(running.pids()["consumer of queue 1"], signal.SIGKILL)
    running.stdout = ""
    running.expect_traffic()
    running.process.send_signal(signal.SIGINT)
    ended = running.finish()
    assert ended.code == 0
    assert "note: consumer of queue 1 was killed by SIGKILL after" in ended.stdout
    report = run_json(script)
    assert report["ok"] is True
    exits = [item["exit_code"] for item in report["processes"] if item["queue"] == 1]
    assert exits == [-signal.SIGKILL, 0]
    assert script.leftovers() == []


def test_killed_control_process_leaves_a_last_word(script: Any) -> None:
    """The workers go with it. The provider is given the time to write that nothing was judged."""
    running = start(script, "--queues", "2", "--seed", "77")
    os.kill(running.pid, signal.SIGKILL)
    ended = running.finish()
    assert ended.code == -signal.SIGKILL
    assert ended.seconds < AT_MOST_S
    assert "FAIL: the control process died" in ended.stderr
    report = run_json(script)
    assert report["ok"] is False
    assert report["seed"] == 77
    assert report["ended"] == "control process died"
    assert script.leftovers() == []


@pytest.mark.parametrize("seen", ["provider", "nic", "consumer"])
def test_control_process_killed_while_it_starts_leaves_nothing(script: Any, seen: str) -> None:
    """As soon as the first process of a role is there: no name, and soon no process."""
    running = script.start("stress", "--duration", "60", "--queues", "16")
    assert script.wait_until(lambda: seen in script.workers(running.pid).values())
    os.kill(running.pid, signal.SIGKILL)
    assert script.names_of(running.pid) == []
    ended = running.finish()
    assert ended.code == -signal.SIGKILL
    assert script.wait_until(lambda: script.leftovers() == [])


def test_process_killed_while_the_run_starts_is_an_environment_problem(script: Any) -> None:
    running = script.start("stress", "--duration", "60", "--queues", "16")
    assert script.wait_until(lambda: "provider" in script.workers(running.pid).values())
    (provider,) = (pid for pid, role in script.workers(running.pid).items() if role == "provider")
    os.kill(provider, signal.SIGKILL)
    ended = running.finish()
    assert ended.code in (1, 2), "1: the run had begun meanwhile"
    assert "provider was killed by SIGKILL" in ended.stdout + ended.stderr
    assert script.leftovers() == []


def test_stopped_process_does_not_hold_up_the_end(script: Any) -> None:
    """One run for each role, side by side: the wait for a stopped process has an end (10 s)."""
    expected = {
        "nic": "the NIC's quiesce took longer than",
        "provider": "the drain took longer than",
        "consumer of queue 0": "consumer of queue 0 did not leave within",
    }
    runs = {label: start(script) for label in expected}
    for label, running in runs.items():
        script.stop(running.pids()[label])
    for running in runs.values():
        running.process.send_signal(signal.SIGINT)
    for label, running in runs.items():
        ended = running.finish()
        assert ended.code == 1
        assert ended.seconds < 10 + 2 * AT_MOST_S
        assert f"FAIL: {expected[label]}" in ended.stdout
    assert script.leftovers() == []


def test_consumer_that_was_stopped_for_a_while_goes_on(script: Any) -> None:
    running = start(script)
    consumer = running.pids()["consumer of queue 0"]
    script.stop(consumer)
    running.expect(r"^ +\d+\.\d s  0 packets/s")
    os.kill(consumer, signal.SIGCONT)
    running.stdout = ""
    running.expect_traffic()
    running.process.send_signal(signal.SIGINT)
    ended = running.finish()
    assert ended.code == 0
    report = run_json(script)
    assert report["ok"] is True
    packets = report["packets"]
    assert packets["offered"] == packets["delivered"] + packets["dropped"]
