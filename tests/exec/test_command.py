"""A program under ``exec`` ends as it would by itself, and nothing of it stays behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Program = Callable[[str], Path]


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def gateway_of(running: Any, script: Any) -> int:
    """The gateway, once it has started its program."""
    assert script.wait_until(lambda: [pid for pid in children_of(running.pid) if children_of(pid)])
    (gateway,) = children_of(running.pid)
    return gateway


def test_exit_code_is_the_programs(script: Any) -> None:
    assert script.run("exec", "--", "/bin/true").code == 0
    assert script.run("exec", "sh", "-c", "exit 7").code == 7


def test_death_by_a_signal_is_told_as_a_shell_tells_it(script: Any) -> None:
    assert script.run("exec", "sh", "-c", "kill -SEGV $$").code == 128 + signal.SIGSEGV


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--", "/nonexistent"], "PROGRAM: '/nonexistent' is not allowed"),
        (["--kernel", "5.0", "true"], "--kernel: '5.0' is not allowed; one of seed, 6.15"),
        (["--shape", "fragments:5", "true"], "--shape: 'fragments:5' is not allowed; one of"),
        (
            ["--shape", "copy:1-5", "true"],
            "--shape copy: '1-5' is not allowed; a number of 0 to 100",
        ),
        (
            ["--shape", "offset:4096", "true"],
            "--shape offset: '4096' is not allowed; a number, or two",
        ),
        (["--exit-code", "256", "true"], "--exit-code: 256 is not allowed; 0 to 255"),
    ],
)
def test_wrong_use_is_one_line(script: Any, words: list[str], said: str) -> None:
    ended = script.run("exec", *words)
    assert ended.code == 2
    assert said in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_options_behind_the_program_are_its_own(script: Any) -> None:
    ended = script.run("exec", "echo", "--kernel", "5.0")
    assert (ended.code, ended.stdout) == (0, "--kernel 5.0\n")


def test_signal_is_passed_on(script: Any) -> None:
    running = script.start("exec", "sh", "-c", "trap 'exit 5' TERM; echo up; while :; do :; done")
    running.expect("up")
    os.kill(running.pid, signal.SIGTERM)
    assert running.finish().code == 5


def test_calls_that_concern_no_ring_of_ours_are_the_kernels(script: Any, program: Program) -> None:
    ended = script.run("exec", program("no_ring"))
    assert ended.code == 0, ended.stderr


@pytest.mark.parametrize("seed", range(4))
def test_hostile_program_ends_nobody_but_itself(script: Any, program: Program, seed: int) -> None:
    assert script.run("exec", "--exit-code", "0", program("hostile"), seed, 300).code == 0


def test_process_that_may_not_be_looked_at_ends_as_any_other(script: Any, program: Program) -> None:
    assert script.run("exec", program("hidden")).code == 3


def test_background_processes_are_served_on(script: Any, program: Program) -> None:
    ended = script.run("exec", "sh", "-c", f"(sleep 0.3; {program('nop')}) & exit 4")
    assert ended.code == 4
    assert "us a call" in ended.stdout


def test_killed_command_leaves_no_process(script: Any) -> None:
    running = script.start("exec", "sleep", "1000")
    gateway = gateway_of(running, script)
    (sleeper,) = children_of(gateway)
    os.kill(running.pid, signal.SIGKILL)
    running.close()
    for pid in (gateway, sleeper):
        assert script.wait_until(lambda pid=pid: not Path(f"/proc/{pid}").exists())


def test_killed_gateway_is_told_and_the_program_gets_an_error(
    script: Any, program: Program
) -> None:
    running = script.start("exec", program("wait_for_ever"))
    running.expect("waits")
    os.kill(gateway_of(running, script), signal.SIGKILL)
    ended = running.finish()
    assert ended.code == 2
    assert ended.stdout.endswith("Function not implemented\n")
    assert "zcrx-gateway ended (SIGKILL) before the program did" in ended.stderr


def test_one_listener_a_process_is_enough(script: Any) -> None:
    """A second gateway inside of the first one is refused, in one line."""
    ended = script.run("exec", "zcrx-emu", "exec", "true")
    assert ended.code == 2
    assert "somebody answers this process's calls already" in ended.stderr
