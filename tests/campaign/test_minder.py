"""A piece in a process of its own: its result, and that nothing of it stays, whatever ends it."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emu.campaign.order import Order, receive, send
from emu.campaign.result import Result, State
from emu.campaign.worker import do_in_process
from emu.runtime.processes import worker_environment
from emu.runtime.reaper import relatives_of

SHORT = Order("name", "stress", ("--packets=500", "--no-pin", "--seed=1"), 100.0)
#: One that does not end by itself within any patience.
ENDLESS = dataclasses.replace(SHORT, words=("--duration=3600", "--no-pin", "--seed=1"))
#: A consumer that says that it runs, and where its run began: in the piece's folder.
CONSUMER = b"""
from pathlib import Path

def main(consumer):
    Path("begun").touch()
    for completion in consumer:
        consumer.give_back(completion)
"""
RUNNING = dataclasses.replace(
    ENDLESS, words=(*ENDLESS.words, "--consumer=mine:main"), files={"mine.py": CONSUMER}
)


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place for temporary files: empty when all is over."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def _has_begun(temporary: Path) -> bool:
    return any(temporary.glob("*/piece/begun"))


def _below_us() -> set[tuple[int, int]]:
    return {(one.pid, one.start) for one in relatives_of(os.getpid()) if not one.is_dead}


def _is_gone(known: set[tuple[int, int]]) -> bool:
    return not known & {(one.pid, one.start) for one in relatives_of(1) if not one.is_dead}


def test_piece_passes_and_nothing_is_left(temporary: Path) -> None:
    before = _below_us()
    result = do_in_process(SHORT)
    assert (result.state, result.why, result.piece) == (State.PASSED, "", "name")
    assert result.figures["packets"] == 500
    assert _below_us() == before
    assert not list(temporary.iterdir())


@pytest.mark.long
def test_files_lie_where_the_command_looks(temporary: Path) -> None:
    order = dataclasses.replace(
        SHORT,
        words=("--packets=500", "--no-pin", "--seed=1", "--faults=some/plan.toml"),
        files={"some/plan.toml": b'[[rule]]\nfault = "bad-pad"\nprobability = 0.1\n'},
    )
    result = do_in_process(order)
    assert (result.state, result.why) == (State.PASSED, "")


@pytest.mark.long
def test_wrong_words_are_the_reason() -> None:
    result = do_in_process(dataclasses.replace(SHORT, words=("--queues=0",)))
    assert (result.state, result.why) == (
        State.FAILED,
        "queues: 0 is not allowed; it must be 1 to 64",
    )


@pytest.mark.long
def test_piece_that_takes_too_long_is_ended(temporary: Path) -> None:
    result = do_in_process(dataclasses.replace(ENDLESS, limit_s=0.5))
    assert (result.state, result.why) == (State.FAILED, "it took longer than its limit of 0.5 s")
    assert not list(temporary.iterdir())


@pytest.mark.long
def test_piece_that_nobody_wants_is_ended(temporary: Path, script: Any) -> None:
    seen: set[tuple[int, int]] = set()

    def is_wanted() -> bool:
        if not _has_begun(temporary):
            return True
        seen.update(_below_us())
        return False

    result = do_in_process(RUNNING, is_wanted)
    assert (result.state, result.why) == (State.FAILED, "nobody wants it any more")
    assert len(seen) > 4  # who minds it, the command, NIC, provider, reaper, consumer
    assert script.wait_until(lambda: _is_gone(seen))
    assert not list(temporary.iterdir())


def _minder(order: Order) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "emu.campaign.minder"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=worker_environment(),
    )
    assert process.stdin is not None
    send(order, process.stdin)
    return process


def _die(process: subprocess.Popen[bytes]) -> None:
    process.kill()


def _leave(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()  # as by the death of the worker, which has the other end


@pytest.mark.parametrize(
    ("end", "is_tidy"), [(_leave, True), pytest.param(_die, False, marks=pytest.mark.long)]
)
def test_whoever_dies_above_it(
    temporary: Path, script: Any, end: Callable[[subprocess.Popen[bytes]], None], is_tidy: bool
) -> None:
    process = _minder(RUNNING)
    assert script.wait_until(lambda: _has_begun(temporary))
    seen = {(one.pid, one.start) for one in relatives_of(process.pid)}
    assert len(seen) > 3
    end(process)
    assert process.wait() == (2 if is_tidy else -signal.SIGKILL)
    assert script.wait_until(lambda: _is_gone(seen))
    if not is_tidy:  # the next one that makes a folder removes that
        assert do_in_process(SHORT).state is State.PASSED
    assert not list(temporary.iterdir())
    assert process.stdout is not None
    process.stdout.close()
    if process.stdin is not None:
        process.stdin.close()


def test_what_is_cut_off_is_noticed() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as source:
        with os.fdopen(writing, "wb") as sink:
            send(Result("x", State.PASSED, 1.0), sink)
            sink.write(b"\x09\0\0\0\0\0\0\0cut")
        assert receive(source) == Result("x", State.PASSED, 1.0)
        with pytest.raises(EOFError):
            receive(source)


def test_large_values_go_through_a_pipe() -> None:
    reading, writing = os.pipe()
    value = Order("x", "stress", (), 1.0, {"file": bytes(1 << 20)})
    with os.fdopen(reading, "rb") as source, os.fdopen(writing, "wb") as sink:
        sender = threading.Thread(target=send, args=(value, sink))
        sender.start()
        assert receive(source) == value
        sender.join()
