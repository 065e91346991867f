"""The signals by which a person or a machine ends a command: Ctrl-C, SIGTERM and SIGHUP alike.

What is heard, what is done then, and statements that none of them may come into.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from types import FrameType

EXIT_INTERRUPTED = 2
INTERRUPTED = "interrupted before there was a verdict"
_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _wanted() -> list[signal.Signals]:
    """All of them, but for SIGHUP where it was made to be ignored: ``nohup`` does so."""
    is_nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [number for number in _NUMBERS if not (number is signal.SIGHUP and is_nohup)]


def handle_all(handle: Callable[[int, FrameType | None], object] | signal.Handlers) -> None:
    """Let these signals be handled from here on."""
    for number in _wanted():
        signal.signal(number, handle)


@contextlib.contextmanager
def ended_by_signals(handle: Callable[[signal.Signals], object]) -> Iterator[None]:
    """Let these signals be told to a function, for as long as this lasts."""
    before = {
        number: signal.signal(number, lambda got, _frame: handle(signal.Signals(got)))
        for number in _wanted()
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def interrupt(_signum: int, _frame: FrameType | None) -> None:
    """A handler: undo what was done, on the way out."""
    raise KeyboardInterrupt


def leave(_signum: int, _frame: FrameType | None) -> None:
    """A handler for when there is nothing to undo as yet, or any more."""
    with contextlib.suppress(OSError):
        os.write(2, f"zcrx-emu: error: {INTERRUPTED}\n".encode())
    os._exit(EXIT_INTERRUPTED)


@contextlib.contextmanager
def signals_held_back() -> Iterator[None]:
    """Let no handler of a signal run: a Ctrl-C comes before the statement or behind it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
