"""Zero-copy receive from real sockets, looked at byte by byte by the program itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Program = Callable[[str], Path]
BYTES = 3_000_001


@pytest.mark.parametrize(
    "words",
    [
        "",
        "kernel",
        "mixed",
        "no-array",
        "limit",
        "cq=8",
        "area=16",
        "kernel rq=32 area=32",
        "no-device",
        "import",
    ],
)
def test_all_bytes_arrive_and_nothing_is_found(script: Any, program: Program, words: str) -> None:
    ended = script.run("exec", program("receiver"), BYTES, *words.split())
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.stdout.startswith(f"{BYTES} bytes, ")


@pytest.mark.parametrize("kernel", ["seed", "6.15", "6.18", "7.1", "7.2", "7.3"])
def test_program_that_reads_its_offsets_runs_at_every_level(
    script: Any, program: Program, kernel: str
) -> None:
    ended = script.run("exec", "--kernel", kernel, program("receiver"), BYTES)
    assert (ended.code, ended.stderr) == (0, "")


@pytest.mark.parametrize(
    "shape",
    [
        "fragment:1-700,per-buffer:7",
        "fragment:1000,offset:0-4095,per-buffer:4",
        "copy:30",
        "linear:54,mtu:1500,descriptors:64",
    ],
)
def test_what_arrives_may_be_cut_in_any_way(script: Any, program: Program, shape: str) -> None:
    few = BYTES // 3
    # All of it at once has room, heads that are copied too: these find no buffer any more when
    # each has been the page pool's.
    words = (program("receiver"), few, "area=1024", "rq=4096", "cq=1024")
    ended = script.run("exec", "--shape", shape, *words)
    assert (ended.code, ended.stderr) == (0, "")
    assert int(ended.stdout.split()[2]) > few / 4096


def test_small_messages_go_there_and_back(script: Any, program: Program) -> None:
    """Each time one buffer is filled in part, poisoned behind that, and compared when it leaves."""
    ended = script.run("exec", program("pingpong"), 300, "zc")
    assert (ended.code, ended.stderr) == (0, "")


def test_small_completion_queue_ends_receives_which_are_armed_again(
    script: Any, program: Program
) -> None:
    ended = script.run("exec", program("receiver"), BYTES, "cq=8")
    assert int(ended.stdout.split()[5]) > 10


def test_area_that_is_taken_away_ends_the_receive(script: Any, program: Program) -> None:
    assert script.run("exec", "--no-check", program("receiver"), BYTES, "unmap").code == 0


@pytest.mark.parametrize(
    ("mistake", "kinds"),
    [("keep", {"not-returned"}), ("twice", {"twice", "not-returned"})],
)
def test_mistake_is_found(script: Any, program: Program, mistake: str, kinds: set[str]) -> None:
    """What was returned twice at once is not returned at all at this level: see levels.md."""
    ended = script.run("exec", "--json", "found.json", program("receiver"), BYTES, mistake)
    found = json.loads((script.folder / "found.json").read_text())
    assert ended.code == 99
    assert set(found["counts"]) == kinds
    # A buffer that is returned twice is filled while it is read: the program may notice.
    assert found["exit_code"] in (0, 1)
    for report in found["reports"]:
        assert report["call"] in ("io_uring_enter", "exit_group")
        assert report["thread"] > 0
    for kind in kinds:
        assert f": {kind}: " in ended.stderr


def test_exit_code_of_a_finding_can_be_chosen(script: Any, program: Program) -> None:
    words = (program("receiver"), BYTES, "keep")
    assert script.run("exec", "--exit-code", "3", *words).code == 3
    assert script.run("exec", "--exit-code", "0", *words).code == 0
    assert script.run("exec", "--no-check", *words).code == 0


def test_refused_registration_is_explained(script: Any, program: Program) -> None:
    ended = script.run("exec", "--explain", program("receiver"), BYTES, "rq=0")
    assert ended.code == 1
    assert "in io_uring_register: EINVAL: rq_entries: 0; must be 1 to 32768" in ended.stderr
