"""Real processes under delays: a race that was put in is hit, the core as it is holds."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emu.bugs import RACING_BUGS, Bug
from emu.compile.ondemand import core_sources
from emu.errors import ConfigError
from emu.race import live
from emu.race.delays import points
from emu.race.library import SCENARIOS
from emu.race.live import LiveResult, run_live
from emu.race.setups import NOT_LIVE, SETUPS, draw

from ..conftest import change

pytestmark = pytest.mark.long

#: Without the loop, and with a scrub between the two: the reference is taken twice.
CVE = RACING_BUGS["cve-2026-43121"]
_FRONT = (
    *("race", "--live", "--scenario", "refill-vs-scrub", "--time", "3600", "--seed", "7"),
    *("--json", "-"),
)
_DEADLINE_S = 60.0


def _processes() -> Iterator[tuple[int, list[str]]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):  # gone meanwhile
                yield int(entry.name), (entry / "cmdline").read_text(errors="replace").split("\0")


def _stressor_of(front: int) -> int | None:
    """The control process that a front started: ``emu.race.stress SCENARIO SEED FILE FRONT``."""
    for pid, words in _processes():
        if "emu.race.stress" in words and words[words.index("emu.race.stress") + 4] == str(front):
            return pid
    return None


def _workers_of(control: int) -> dict[str, int]:
    """Its workers, by role: ``emu.runtime.worker ROLE FD CONTROL``."""
    found = {}
    for pid, words in _processes():
        if "emu.runtime.worker" in words:
            at = words.index("emu.runtime.worker")
            if words[at + 3] == str(control):
                found[words[at + 1]] = pid
    return found


def _shared_memory_of(control: int) -> list[str]:
    ours = re.compile(rf"(sem\.)?zcrx-emu\.{control}\.\d+\.\d+")
    return [path.name for path in Path("/dev/shm").iterdir() if ours.fullmatch(path.name)]


def test_core_with_delays_holds_under_faults() -> None:
    result = run_live("late-return", seconds=4, seed=1)
    assert result.first is None, result.first
    assert result.executions > 0
    assert result.delivered > 0
    assert result.returned > 0
    assert result.process_faults > 0
    assert min(result.dawdled.spins, result.dawdled.yields, result.dawdled.sleeps) > 0


def _found_by_runs(bug: Bug, kernel: str | None) -> LiveResult:
    return run_live("refill-vs-scrub", bug, kernel=kernel, seconds=1, seed=1, until_hit=True)


def test_level_is_the_one_that_is_asked_for() -> None:
    begins = "\tuint64_t room = log_room(ifq);\n\tuint32_t done = 0, cached;\n"
    bug = Bug("by-runs", "no refill by runs comes back", change(
        "kernel/provider.c", begins, f"{begins}\n\t__builtin_trap();\n"
    ))  # fmt: skip
    assert _found_by_runs(bug, "7.2").first is None
    result = _found_by_runs(bug, "7.3")
    assert result.first is not None
    assert result.kernel == result.as_dict()["kernel"] == "7.3"
    assert result.command(1).endswith("--bug by-runs --kernel 7.3 --seed 1")


def test_scenario_of_a_level_is_played_at_it() -> None:
    result = run_live("run-vs-scrub", kernel="7.1", seconds=1, seed=1)
    assert (result.kernel, result.first) == ("7.3", None)
    assert result.process_faults > 0
    assert "--kernel" not in result.command(1)


def test_core_of_the_product_does_not_dawdle() -> None:
    result = run_live("refill-vs-scrub", seconds=1, seed=1, delays=False)
    assert result.executions > 0
    assert result.delivered > 0
    assert result.dawdled.total == 0


@pytest.mark.timeout(240)
def test_cve_is_hit() -> None:
    result = run_live("refill-vs-scrub", CVE, seconds=60, seed=1, until_hit=True)
    assert result.first is not None, result
    assert set(result.first.kinds) == set(result.kinds)
    # The double return is seen by whoever counts buffers or references.
    assert {"conservation", "ownership", "all_home", "exactness"} & set(result.first.kinds)
    assert f"--bug cve-2026-43121 --seed {result.first.seed}" in result.command(result.first.seed)
    assert result.as_dict()["command"] == result.command(result.first.seed)


@pytest.mark.timeout(180)
def test_fix_of_the_cve_is_not_hit() -> None:
    result = run_live("refill-vs-scrub", seconds=10, seed=1)
    assert result.first is None, result.first
    assert result.process_faults > 0


class _Front:
    """``race --live`` in a process of its own, with its own folder for temporary files."""

    def __init__(self, script: Any, folder: Path) -> None:
        self.folder = folder
        self._script = script
        environment = {**os.environ, "TMPDIR": str(folder)}
        self.process = subprocess.Popen(
            [Path(sys.executable).with_name("zcrx-emu"), *_FRONT],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            preexec_fn=script.heed_signals,
        )
        assert script.wait_until(lambda: _stressor_of(self.process.pid), _DEADLINE_S)
        self.control = _stressor_of(self.process.pid)
        assert self.control is not None

    def wait_for_workers(self) -> None:
        """Until a run is being set up, or is at work."""
        assert self.control is not None
        control = self.control
        assert self._script.wait_until(lambda: "consumer" in _workers_of(control), _DEADLINE_S)

    def expect_nothing_left(self) -> None:
        """No process, no shared memory, no file."""
        assert self.control is not None
        control = self.control
        assert self._script.wait_until(
            lambda: _stressor_of(self.process.pid) is None and not _workers_of(control),
            _DEADLINE_S,
        )
        assert _shared_memory_of(control) == []
        assert list(self.folder.iterdir()) == []


@pytest.fixture
def front(script: Any, tmp_path: Path) -> Iterator[_Front]:
    front = _Front(script, tmp_path)
    yield front
    if front.process.poll() is None:
        front.process.kill()
    front.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_signal_ends_it_in_order_with_a_partial_result(
    front: _Front, number: signal.Signals
) -> None:
    front.wait_for_workers()
    front.process.send_signal(number)
    stdout, stderr = front.process.communicate(timeout=_DEADLINE_S)
    assert front.process.returncode == 0, stderr
    assert "partial: it was interrupted" in stderr
    assert "Traceback" not in stderr
    result = json.loads(stdout)
    assert result["is_partial"] is True
    assert result["hits"] == 0
    front.expect_nothing_left()


def test_nothing_outlives_a_front_that_is_killed(front: _Front) -> None:
    front.wait_for_workers()
    front.process.kill()
    _, stderr = front.process.communicate(timeout=_DEADLINE_S)
    assert "Traceback" not in stderr
    front.expect_nothing_left()


class _Attack:
    """Sends a signal to the control process as soon as a run of it has workers."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._is_done = False
        self.executions = 0

    def __call__(self, result: LiveResult) -> None:
        self.executions = result.executions
        control = _stressor_of(os.getpid())
        if not self._is_done and control is not None and _workers_of(control):
            os.kill(control, self._number)
            self._is_done = True


def test_control_process_that_dies_is_a_finding_and_is_replaced() -> None:
    attack = _Attack(signal.SIGKILL)
    result = run_live(
        "refill-vs-scrub",
        seconds=_DEADLINE_S,
        seed=5,
        stopped=lambda: attack.executions > 1,
        look=attack,
    )
    assert result.kinds == {"crash": 1}
    assert result.first is not None
    assert result.first.problems == (
        f"seed {result.first.seed}: the control process ended with -9",
    )
    assert result.executions > 1


def test_control_process_that_hangs_is_a_finding(
    script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_SILENCE_S", 5.0)
    attack = _Attack(signal.SIGSTOP)
    result = run_live("refill-vs-scrub", seconds=60, seed=5, until_hit=True, look=attack)
    assert result.first is not None
    assert result.first.kinds == ("hang",)
    assert script.wait_until(lambda: _stressor_of(os.getpid()) is None)


@pytest.mark.parametrize("name", NOT_LIVE)
def test_scenario_that_cannot_be_live_says_so_in_one_line(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"^live: '{name}' is not allowed; .*--live$"):
        run_live(name, seconds=1, seed=1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            {"scenario": "nope"},
            r"^live: 'nope' is not allowed; there is no such; .*refill-",
        ),
        ({"seconds": 0}, r"^time: 0 is not allowed; more than 0 seconds$"),
        ({"seed": 2**64}, r"^seed: 18446744073709551616 is not allowed; it must be 0 to"),
        ({"bug": CVE, "delays": False}, r"^bug: 'cve-2026-43121' is not allowed; "),
    ],
)
def test_wrong_use_is_one_line(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        run_live(**{"scenario": "refill-vs-scrub", "seconds": 1, "seed": 1, **arguments})  # type: ignore[arg-type]


def test_every_ready_scenario_has_a_setup_or_a_reason() -> None:
    assert {*SCENARIOS} <= {*SETUPS, *NOT_LIVE}
    assert not {*SETUPS} & {*NOT_LIVE}


def test_setups_name_points() -> None:
    for name, setup in SETUPS.items():
        assert {*setup.points} <= {*points()}, name


def test_points_are_those_of_the_core() -> None:
    text = (core_sources() / "wire" / "shm.h").read_text()
    body = text.partition("#define ZCRX_POINTS(X)")[2].partition("\n\n")[0]
    assert len(points()) == body.count("X(")


@pytest.mark.parametrize("name", SETUPS)
def test_run_is_a_function_of_its_seed(name: str) -> None:
    runs = [draw(SETUPS[name], seed) for seed in range(200)]
    assert runs == [draw(SETUPS[name], seed) for seed in range(200)]
    assert {run.placement for run in runs} == {"one core", "spread", "anywhere", "moving"}
    assert len({str(run.config.plan) for run in runs}) > 3
