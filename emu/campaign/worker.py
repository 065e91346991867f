"""What Dask calls on a worker: to ask what it can do, and to do a piece.

A worker's own process does nothing of a piece but wait for the process that does it
(:mod:`emu.campaign.minder`), so that one worker is worth one piece however it is threaded.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import platform
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emu.campaign.order import Order, receive, send
from emu.campaign.result import Result, State
from emu.campaign.sameness import package_digest
from emu.compile.toolchain import any_compiler
from emu.errors import EnvironmentProblem
from emu.runtime.processes import worker_environment

if TYPE_CHECKING:
    from collections.abc import Sequence

#: How often it is looked whether anybody still wants a piece.
_LOOK_S = 0.5
_END_S = 30.0


@dataclass(frozen=True, slots=True)
class About:
    """What a worker says of itself.

    Attributes:
        host: Its machine.
        version: Of the package.
        digest: Of the package's files.
        has_compiler: Whether it can build what is built on demand.
    """

    host: str
    version: str
    digest: str
    has_compiler: bool


def about_this_machine() -> About:
    """What this process's machine can do."""
    try:
        any_compiler()
        has_compiler = True
    except EnvironmentProblem:
        has_compiler = False
    version = importlib.metadata.version("zcrx-emu")
    return About(platform.node(), version, package_digest(), has_compiler)


async def introduce(
    digest: str, fit: str, compiling: str, is_ours: bool, dask_worker: Any = None
) -> About:
    """Let a worker say what it can do, and be known for it.

    Args:
        digest: Of the package that asks.
        fit: The resource of workers that have the same.
        compiling: The resource of those that can compile, too.
        is_ours: It was started by the command, which alone is to hear a Ctrl-C.
        dask_worker: The worker, as Dask gives it.
    """
    if is_ours:
        with contextlib.suppress(ValueError):  # its loop is not in the main thread
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
    about = about_this_machine()
    if about.digest == digest and not is_ours:  # ours have been given theirs
        resources = {fit: 1.0}
        if about.has_compiler:
            resources[compiling] = 1.0
        await dask_worker.set_resources(**resources)
    return about


def _is_wanted() -> Callable[[], bool]:
    """Asks Dask whether the task that runs in this thread is still wanted."""
    from distributed import worker as dask

    worker, key = dask.get_worker(), vars(dask)["thread_state"].key

    def look() -> bool:
        task = worker.state.tasks.get(key)
        return task is not None and task.state in ("executing", "long-running")

    return look


def do_piece(order: Order, *files: bytes, places: Sequence[str] = ()) -> Result:
    """Do a piece on this worker.

    Args:
        order: The piece.
        files: Contents of its files …
        places: … and where they lie.
    """
    order = dataclasses.replace(order, files=dict(zip(places, files, strict=True)))
    result = do_in_process(order, _is_wanted())
    return dataclasses.replace(result, worker=platform.node())


def do_in_process(order: Order, is_wanted: Callable[[], bool] = lambda: True) -> Result:
    """Do a piece below a process of its own.

    Args:
        order: The piece.
        is_wanted: Asked now and then; if it is not, the piece is ended.
    """
    began = time.monotonic()

    def failed(why: str) -> Result:
        return Result(order.piece, State.FAILED, time.monotonic() - began, why=why)

    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "emu.campaign.minder"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=worker_environment(),
            start_new_session=True,
        )
    except OSError as error:
        return failed(f"no process for it can be started: {error.strerror}")
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        send(order, process.stdin)
        while not select.select([process.stdout], [], [], _LOOK_S)[0]:
            if not is_wanted():
                return failed("nobody wants it any more")
        answer = receive(process.stdout)
    except (OSError, EOFError):
        return failed("the process above it was ended")
    finally:
        process.stdin.close()  # by which it ends, whatever it does
        process.stdout.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_S)
    assert isinstance(answer, Result)
    return answer
