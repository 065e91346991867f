"""What the checker says of a program: each mistake by its name, and of a right one nothing."""

from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Program = Callable[[str], Path]
BYTES = 1_000_001

#: Of each mistake: the program's words, options, and what is found; None: so many as there are.
_MISTAKES: dict[str, tuple[str, str, dict[str, int | None]]] = {
    "bad-area": ("", "", {"bad-area": 1}),
    "bad-index": ("", "", {"bad-index": 1}),
    "bad-pad": ("", "", {"bad-pad": 1}),
    "alias": ("", "", {"alias": 1}),
    # Entries that are looked at only when something was given already are such that nobody gave.
    "primed": ("", "", {"primed": 1, "never-given": None, "stale": None, "twice": None}),
    "never-given": ("area=256", "", {"never-given": 1}),
    "twice": ("", "", {"twice": 2, "not-returned": 1}),
    "early": ("", "--shape fragment:1000,per-buffer:4", {"early": 1, "twice": None}),
    "stale": ("area=256", "--faults rq-late:at=0:count=1", {"stale": 1, "twice": None}),
    "ring-overrun": ("", "", {"ring-overrun": 1, "twice": None, "not-returned": None}),
    "tail-back": ("", "", {"tail-back": 1, "twice": None, "not-returned": None}),
    "head-written": ("", "", {"head-written": 1, "not-returned": None}),
    "guessed-offsets": ("", "", {"header-written": None, "not-returned": None}),
    "written": ("", "", {"written": 1}),
    "cq-head": ("", "", {"cq-head": 1}),
    "cq-overflow": ("", "", {"cq-overflow": 1}),
    "not-armed": ("cq=8", "", {"not-armed": 1}),
    "keep": ("", "", {"not-returned": 15}),
    "export-open": ("", "", {"export-open": 1}),
    "unmap": ("", "", {"memory-gone": 1}),
    "remap": ("", "", {"memory-gone": 1}),
    "remap shared": ("", "", {"memory-gone": 1}),
    "remap-ring": ("", "", {"memory-gone": 1, "not-returned": None}),
    "dontneed": ("", "", {"memory-gone": 1}),
}


def found_by(script: Any, program: Program, mistake: str, size: int = BYTES) -> dict[str, Any]:
    """What is told of the mistake, in JSON."""
    words, options, _ = _MISTAKES[mistake]
    arguments = (program("mistakes"), size, 1, *mistake.split(), *words.split())
    ended = script.run("exec", "--json", "found.json", *options.split(), *arguments)
    assert ended.code == 99, ended.stderr
    told: dict[str, Any] = json.loads((script.folder / "found.json").read_text())
    assert told["exit_code"] == 0, ended.stderr
    return told


@pytest.mark.parametrize("mistake", _MISTAKES)
def test_mistake_is_found_by_its_name(script: Any, program: Program, mistake: str) -> None:
    """And what comes of it, and nothing else."""
    told = found_by(script, program, mistake, 3_000_001 if mistake == "stale" else BYTES)
    expected = _MISTAKES[mistake][2]
    for kind, count in told["counts"].items():
        assert kind in expected
        assert count == expected[kind] or expected[kind] is None
    assert next(iter(expected)) in told["counts"]
    for report in told["reports"]:
        assert report["thread"] > 0
        assert report["call"] in ("io_uring_enter", "io_uring_register", "exit_group")


def test_what_was_kept_is_told_oldest_first_with_its_completion(
    script: Any, program: Program
) -> None:
    reports = found_by(script, program, "keep")["reports"]
    assert [report["completion"] for report in reports] == [16 * i for i in range(1, 16)]
    assert len({report["niov"] for report in reports}) == len(reports)
    assert {report["call"] for report in reports} == {"exit_group"}
    ages = [report["age_ms"] for report in reports]
    assert ages == sorted(ages, reverse=True)


def test_server_that_went_deaf_is_told_so_when_it_is_killed(script: Any, program: Program) -> None:
    running = script.start("exec", program("mistakes"), BYTES, 1, "deaf", "cq=8")
    running.expect("deaf")
    os.kill(running.pid, signal.SIGTERM)
    ended = running.finish()
    assert ended.code == 99
    assert "at its close: not-armed: the receive of flow" in ended.stderr
    assert ended.stderr.endswith("1 found: not-armed 1\n")


def test_million_mistakes_make_a_bounded_report(script: Any, program: Program) -> None:
    words = (program("mistakes"), 12 * BYTES, 1, "million", "rq=32768")
    ended = script.run("exec", "--json", "found.json", *words)
    told = json.loads((script.folder / "found.json").read_text())
    assert ended.code == 99
    assert told["counts"] == {"bad-area": 1_000_000}
    assert len(told["reports"]) == 1000
    assert len(ended.stderr.splitlines()) == 13
    assert ended.stderr.endswith("\nzcrx-emu: 1000000 found: bad-area 1000000\n")


#: Sizes of a program, and what happens to it: with each of them a right one has no report.
_LIVES = [
    ("", "", ""),
    ("area=16 rq=8 cq=8", "fragment:1-1500,offset:0-700,per-buffer:5", ""),
    ("kernel cq=16", "copy:30", "copy-fail:2%,cq-full:5%,short-multishot:30%:completions=3"),
    ("rq=32 area=1024", "mtu:1500,linear:54", "nic-drop:1%,nic-truncate:2%,nic-tiny:1%,eintr:50%"),
    ("area=32", "mtu:3000", "alloc-fail:1%:count=8,freelist-empty:1%,rq-late:5%,recv-late:5%"),
    ("shared", "mtu:9000,descriptors:4", "cq-overflow:50%,eintr:every=3,conn-reset:at=50"),
    ("", "", "setup-fail:at=1,register-fail:at=0:errno=16"),
    ("", "", "setup-fail:1"),
    ("area=128", "mtu:1500", "tiny-area:1:buffers=5,queue-restart:every=20,nic-hold:5%:count=8"),
    ("area=256", "area:3,ring:2,cq:8,burst:100000", ""),
    ("kernel", "ring:4,burst:1000000,copy:50", ""),
]


@pytest.mark.parametrize(("words", "shape", "plan"), _LIVES)
def test_right_program_has_no_report_whatever_happens(
    script: Any, program: Program, words: str, shape: str, plan: str
) -> None:
    told = live(script, program, words, shape, plan, BYTES // 3)
    assert set(told["fired"]) <= {rule.split(":")[0] for rule in plan.split(",")}


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 5))
def test_right_program_has_no_report_by_other_seeds(
    script: Any, program: Program, seed: int
) -> None:
    for words, shape, plan in _LIVES:
        live(script, program, words, shape, plan, BYTES // 3, seed)


def live(
    script: Any, program: Program, words: str, shape: str, plan: str, size: int, seed: int = 1
) -> dict[str, Any]:
    options = ("--seed", seed, "--json", "found.json", "--shape", shape, "--faults", plan)
    ended = script.run("exec", *options, program("mistakes"), size, seed, "right", *words.split())
    told: dict[str, Any] = json.loads((script.folder / "found.json").read_text())
    assert ended.code == 0, ended.stderr
    assert told["counts"] == {}
    if "conn-reset" not in plan and "no queue" not in ended.stdout:
        assert ended.stdout.startswith(f"{size} of {size} bytes"), ended.stdout
    return told


#: Of each registration of programs/refused.c: the error, and its cause in words.
_REFUSALS = [
    ("EINVAL", "rq_entries: 0; must be 1 to 32768"),
    ("EINVAL", "rq_entries: 40000; must be 1 to 32768 in a ring without IORING_SETUP_CLAMP"),
    ("EINVAL", "if_rxq: 4294967295 is no queue"),
    ("EINVAL", "flags: 0x80; level 7.3 has 0x3"),
    ("EINVAL", "__resv: must be 0"),
    ("ENODEV", "if_idx: 0 is no interface"),
    ("EFAULT", "area_ptr (0x8): 48 bytes cannot be read there"),
    ("EINVAL", "rx_buf_len: 5000; a power of two from 4096 on, or 0"),
    ("EINVAL", "region size: 4096; 512 entries behind a header of 128 need 8320 bytes"),
    ("EINVAL", "region flags: 0x2; IORING_MEM_REGION_TYPE_USER (1) or 0"),
    ("EINVAL", "region mmap_offset, id: the kernel's to choose, must be 0"),
    ("EINVAL", "region user_addr 0x"),
    ("EFAULT", "region user_addr 0x1000: 8192 bytes from there are not all memory"),
    ("EINVAL", "area addr 0x"),
    ("EINVAL", "area flags: 0x4; level 7.3 has 0x1"),
    ("EINVAL", "area rq_area_token: 0x1; the kernel's to choose, must be 0"),
    ("EFAULT", "area addr 0x1000: 262144 bytes from there are not all memory"),
]


def test_each_refusal_names_its_cause(script: Any, program: Program) -> None:
    ended = script.run("exec", "--explain", "--kernel", "7.3", program("refused"))
    codes = [errno.errorcode.get(-int(line), line) for line in ended.stdout.splitlines()]
    assert codes == [*(name for name, _ in _REFUSALS), "0"]
    lines = ended.stderr.splitlines()
    assert len(lines) == len(_REFUSALS)
    for line, (name, cause) in zip(lines, _REFUSALS, strict=True):
        assert f" in io_uring_register: {name}: {cause}" in line
