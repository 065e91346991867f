"""Rings among threads and processes: who may use them, how long they last, how calls end.

The programs check themselves. Where that is possible they were held to the kernel's results by
running them without ``exec``.
"""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Program = Callable[[str], Path]


def test_calls_that_wait_end_as_the_kernels_do(script: Any, program: Program) -> None:
    ended = script.run("exec", program("waits"))
    assert (ended.code, ended.stderr) == (0, "")


def test_process_goes_on_without_its_first_thread(script: Any, program: Program) -> None:
    ended = script.run("exec", program("leaderless"))
    assert (ended.code, ended.stdout, ended.stderr) == (0, "went on\n", "")


def test_rings_are_inherited_and_handed_over(script: Any, program: Program) -> None:
    ended = script.run("exec", program("shared"))
    assert (ended.code, ended.stdout, ended.stderr) == (0, "handed over\n", "")


def test_armed_receives_are_one_programs_alone(script: Any, program: Program) -> None:
    ways = ["threads", "processes", "rings", "again", "killed", "fork", "exec", "exec-kept"]
    ended = script.run("exec", program("armed"), *ways)
    assert (ended.code, ended.stdout.split(), ended.stderr) == (0, ways, "")


def test_program_without_a_free_descriptor_loses_nothing(script: Any, program: Program) -> None:
    ended = script.run("exec", program("limits"), "own")
    assert (ended.code, ended.stderr) == (0, "")


def run_in(
    before: list[object], words: list[object], limit: int | None = None
) -> subprocess.CompletedProcess[str]:
    """``exec`` with something before it, and with as many descriptors."""
    script = Path(sys.executable).with_name("zcrx-emu")

    def set_limit() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

    return subprocess.run(
        [str(word) for word in (*before, script, "exec", *words)],
        preexec_fn=set_limit,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_gateway_without_a_free_descriptor_says_so_and_goes_on(program: Program) -> None:
    ended = run_in([], [program("limits"), "all"], limit=60)
    assert (ended.returncode, ended.stderr) == (0, "")
    refused, rings = (int(word) for word in ended.stdout.split() if word.isdigit())
    assert 0 < refused < 100
    assert rings > 10


def test_nobody_waits_for_the_last_close_of_anothers_socket(script: Any, program: Program) -> None:
    ended = script.run("exec", program("lingering"))
    assert (ended.code, ended.stderr) == (0, "")


def test_filter_of_the_programs_own_is_left_to_it(script: Any, program: Program) -> None:
    """But for a listener: there is one a process, and it is ours."""
    ended = script.run("exec", program("filters"), "own")
    assert (ended.code, ended.stdout, ended.stderr) == (0, "Device or resource busy\n", "")


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (425, "a sandbox refuses io_uring's calls (Operation not permitted)"),
        (438, "a process may not look at its own child here (Operation not permitted)"),
        (317, "a sandbox forbids to install a seccomp filter"),
    ],
)
def test_what_a_sandbox_forbids_is_one_line(program: Program, number: int, said: str) -> None:
    """Numbers of x86-64: io_uring_setup, pidfd_getfd, seccomp."""
    if platform.machine() != "x86_64" and number < 400:
        pytest.skip("the number is another call's here")
    ended = run_in([program("filters"), "refuse", number, "--"], [program("nop"), 8])
    assert ended.returncode == 2
    assert said in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("echo 0 >/proc/sys/user/max_inotify_instances", "the gateway cannot be set up"),
        ("mount -t tmpfs none /proc", "(No such file or directory): /proc is not mounted"),
    ],
)
def test_what_a_container_lacks_is_one_line(change: str, said: str) -> None:
    own = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run([*own, change], capture_output=True, check=False).returncode:
        pytest.skip("user namespaces are forbidden here")
    ended = run_in([*own, f'{change}; exec "$@"', "sh"], ["true"])
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert said in ended.stderr
