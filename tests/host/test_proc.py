"""A process has the name that it chose; what stands behind it is read all the same."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from emu.host.proc import PARENT, START_TICKS, STATE, cpu_ticks, process_start_time, stat_words
from emu.runtime.reaper import parent_of

NAMES = [b"plain", b"with ) Z 1 (", b"\xff\xfe", b"two\nlines", b""]


@pytest.fixture(params=NAMES, ids=repr)
def named(request: pytest.FixtureRequest) -> Iterator[int]:
    """A process below us of that name, which waits for its end."""
    code = (
        "import ctypes, sys\n"
        f"ctypes.CDLL(None).prctl(15, {request.param!r})\n"
        "print(flush=True)\n"
        "sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid


def test_words_behind_the_name(named: int) -> None:
    words = stat_words(named)
    assert words[STATE] in ("S", "R")
    assert int(words[PARENT]) == parent_of(named) == os.getpid()
    assert int(words[START_TICKS]) == process_start_time(named)
    assert cpu_ticks(named) >= 0


def test_time_of_a_process_that_works_grows() -> None:
    before = cpu_ticks(os.getpid())
    while cpu_ticks(os.getpid()) < before + 2:
        pass


def test_no_such_process() -> None:
    with subprocess.Popen(["true"]) as process:
        pid = process.pid
    with pytest.raises(OSError, match="No such"):
        stat_words(pid)
    assert process_start_time(pid) is None
    assert parent_of(pid) is None
