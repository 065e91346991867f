"""The process above a piece: it makes the piece's folder, calls the command in it, and tidies up.

A worker may be killed at any moment, and so may this one. While the worker lives it holds a pipe
open; when that ends, everything below this process is ended and the folder removed. If this
process is killed, the kernel ends the command, whose own processes see to themselves, and the
folder goes when the next one is made. What the command leaves running ends with it.

``python -m emu.campaign.minder`` reads an :class:`~emu.campaign.order.Order` from stdin and
writes a :class:`~emu.campaign.result.Result` to stdout.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

from emu.campaign.kinds import CORPUS, KINDS, MERGED
from emu.campaign.order import Order, receive, send
from emu.campaign.result import Result, State, read_result
from emu.errors import EmuError
from emu.host.scratch import scratch
from emu.runtime.processes import worker_environment
from emu.runtime.reaper import sweep

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
#: A command that is over time is asked to end in order first.
_PATIENCE_S = 10.0
#: Of what it said, for a message.
_SAID = 4000
_IGNORED = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)


class _WorkerGone(BaseException):
    """Nobody waits for a result any more."""


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _make_folder(order: Order, folder: Path) -> None:
    for place, data in order.files.items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    if order.command == "fuzz":
        programs = folder / (MERGED if order.merges else CORPUS)
        programs.mkdir()
        for number, program in enumerate(order.programs):
            (programs / f"given-{number:06}").write_bytes(program)


def _start(order: Order, folder: Path, logs: Path, temporary: Path) -> subprocess.Popen[bytes]:
    environment = {**worker_environment(), "TMPDIR": str(temporary), "NO_COLOR": "1"}
    words = [*order.words, *KINDS[order.command].given]
    with (logs / "said").open("wb") as said:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "emu", order.command, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            cwd=folder,
            env=environment,
            start_new_session=True,
            preexec_fn=_go_with_parent,
        )


def _go_with_parent() -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for number in _IGNORED:  # a command's own to handle
        signal.signal(number, signal.SIG_DFL)


def _wait(process: subprocess.Popen[bytes], seconds: float, lifeline: int) -> bool:
    """Wait for the end of a command; False if it has not ended in time.

    Raises:
        _WorkerGone: The worker ended first.
    """
    fd = os.pidfd_open(process.pid)
    try:
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        poller.register(lifeline, select.POLLHUP)
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            ready = dict(poller.poll(min(left, 3600.0) * 1000))
            if fd in ready:
                process.wait()
                return True
            if lifeline in ready:
                raise _WorkerGone
        return False
    finally:
        os.close(fd)


def _end(process: subprocess.Popen[bytes], lifeline: int) -> None:
    """End a command that is over time; in order, if it does so."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    if not _wait(process, _PATIENCE_S, lifeline):
        process.kill()
        process.wait()


def _last_words(path: Path) -> str:
    """The last line that the command said, as its error is."""
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - _SAID, 0))
        lines = file.read().decode(errors="replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    return said[-1].removeprefix("zcrx-emu: error: ") if said else ""


def do(order: Order, lifeline: int) -> Result:
    """Do a piece; nothing of it is left.

    Args:
        order: The piece.
        lifeline: A pipe's end to read from, that the worker has the other end of.

    Raises:
        BaseException: The worker is gone, so that nobody wants to know.
    """
    began = time.monotonic()
    with scratch() as place:
        folder, temporary = place / "piece", place / "t"
        folder.mkdir()
        temporary.mkdir()
        try:
            _make_folder(order, folder)
            process = _start(order, folder, place, temporary)
            try:
                in_time = _wait(process, order.limit_s, lifeline)
                if not in_time:
                    _end(process, lifeline)
            finally:
                sweep(os.getpid())
                process.poll()
        except (OSError, EmuError) as error:
            return Result(order.piece, State.FAILED, time.monotonic() - began, why=str(error))
        seconds = time.monotonic() - began
        if not in_time:
            why = f"it took longer than its limit of {order.limit_s:g} s"
            return Result(order.piece, State.FAILED, seconds, why=why)
        said = _last_words(place / "said")
        return read_result(order, folder, process.returncode, said, seconds)


def main() -> None:
    """Do what stdin asks for."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)  # it ends with its worker, and by nothing else
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        order = receive(sys.stdin.buffer)
        assert isinstance(order, Order)
        # Its command's words are no answer.
        answer = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        send(do(order, sys.stdin.fileno()), answer)
    except (_WorkerGone, EOFError, BrokenPipeError):
        sys.exit(2)


if __name__ == "__main__":
    main()
