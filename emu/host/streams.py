"""The standard streams, whatever they are: closed, full, unread, or without the characters.

No worker may die, and no verdict change, because what is printed cannot be. So what a stream
does not take is forgotten here, and that it was is remembered: whoever runs a command line asks
at its end. Descriptors 0 to 2 are always taken. What is opened later must not get one of them:
a message for people would be written into it.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import select
import sys
import unicodedata
from typing import TYPE_CHECKING, TextIO

from emu.errors import ConfigError, EnvironmentProblem

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STDOUT, STDERR = 1, 2
#: How a character is written that the stream's encoding does not have.
_ERRORS = "zcrx-emu"
_PLAIN = {
    **dict.fromkeys("─━╌╍┄┅┈┉═╴╶╸╺╼╾", "-"),
    **dict.fromkeys("│┃╎╏┆┇┊┋║╵╷╹╻╽╿", "|"),
    "…": "...",
    "→": "->",
    "←": "<-",
    "≥": ">=",
    "≤": "<=",
    "•": "*",
    "\N{MULTIPLICATION SIGN}": "x",
    **dict.fromkeys("“”„", '"'),
}
#: The reader is gone, or the terminal: an end that needs no words.
_UNREAD = frozenset({errno.EPIPE, errno.EIO})

_closed: set[int] = set()
_lost: dict[int, OSError] = {}


def hold_descriptors() -> None:
    """Put /dev/null in the place of each standard descriptor that is closed."""
    try:
        while (fd := os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)) <= STDERR:
            _closed.add(fd)
            os.set_inheritable(fd, True)
        os.close(fd)
    except OSError as error:
        raise EnvironmentProblem(f"{os.devnull}: cannot be opened ({error.strerror})") from None


def check_stdout(field: str) -> None:
    """Refuse ``-`` for an output when there is no stdout.

    Raises:
        ConfigError: It was closed when the program started.
    """
    if STDOUT in _closed:
        raise ConfigError(f"{field}: '-' is stdout, which is closed; name a file")


class _Forgiving(io.FileIO):
    """A descriptor that takes everything: what it cannot write is lost, and it says so if asked."""

    def write(self, data: ReadableBuffer, /) -> int:
        size = memoryview(data).nbytes
        if self.fileno() in _lost:
            return size
        try:
            # None: it is not to be waited for in the call, since whoever shares it said so.
            while (written := super().write(data)) is None:
                poller = select.poll()
                poller.register(self.fileno(), select.POLLOUT)
                poller.poll()
        except OSError as error:
            _lost[self.fileno()] = error
            return size
        return written


def guard_streams() -> None:
    """Hold the descriptors, and let stdout and stderr never fail from here on.

    Streams that somebody else has put in their place are left alone.
    """
    hold_descriptors()
    codecs.register_error(_ERRORS, _replace)
    for fd, name in ((STDOUT, "stdout"), (STDERR, "stderr")):
        stream = getattr(sys, name)
        if stream is None or stream is getattr(sys, f"__{name}__"):
            setattr(sys, name, _forgiving(fd, stream))


def _forgiving(fd: int, before: TextIO | None) -> TextIO:
    is_lines = fd == STDERR
    if isinstance(before, io.TextIOWrapper):
        is_lines = before.line_buffering
    return io.TextIOWrapper(
        io.BufferedWriter(_Forgiving(fd, "w", closefd=False)),
        encoding="utf-8" if before is None else before.encoding,
        errors=_ERRORS,
        line_buffering=is_lines,
        write_through=isinstance(before, io.TextIOWrapper) and before.write_through,
    )


def _replace(error: UnicodeError) -> tuple[str, int]:
    """Write a character in others: a frame's line as one, else what it is made from, or its number.

    A handler as :func:`codecs.register_error` takes it.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    written = "".join(map(_plain, error.object[error.start : error.end]))
    return written, error.end


def _plain(char: str) -> str:
    if char in _PLAIN:
        return _PLAIN[char]
    if "\u2500" <= char <= "\u257f":  # corners and crossings of lines
        return "+"
    made_from = unicodedata.normalize("NFKD", char).encode("ascii", "ignore").decode()
    return made_from or char.encode("ascii", "backslashreplace").decode()


def nobody_reads() -> bool:
    """Has whoever read stdout gone?"""
    return STDOUT in _lost and _lost[STDOUT].errno in _UNREAD


def flush() -> OSError | None:
    """Write out what waits; why something was lost on stdout, if it was."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # somebody else's, or closed by somebody
            stream.flush()
    return _lost.get(STDOUT)
