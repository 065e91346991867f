"""Somebody else's provider, kept out of the control process.

Whatever such a library does when it is loaded or called, it does to the process that loads or
calls it: it may crash, hang, or call ``exit(0)``. NIC and provider have processes of their own
anyway. What the kernel's control side calls (``init`` of the first page pools, ``scrub``) is
called by one more, the *keeper*: it is told over its channel, answers there, and is watched like
the others. Before a run begins, a library is opened once in a process that is there for nothing
else (:func:`look_at`), so that one that cannot be used is refused in a line. So is a consumer's.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from emu.errors import ConfigError
from emu.runtime import fork_server
from emu.runtime.channel import Channel, Event, NonsenseError, printable
from emu.runtime.fork_server import Process

CALL_TIMEOUT_S = 5.0  #: of one call; a scrub of the largest area takes milliseconds
LOOK_TIMEOUT_S = 10.0  #: for a process to start and open the library, on a busy machine
_SAID_MAX = 1 << 16


@dataclass(frozen=True, slots=True)
class ForeignLibrary:
    """A library that can be used."""

    path: str  #: of the library
    given: str  #: what the user named: the same, or its source
    name: str  #: what it calls itself


def look_at(given: str, field: str = "provider") -> ForeignLibrary:
    """Open a library in a process of its own, to see whether it can be used.

    Args:
        given: The library, or its C source, which is compiled first.
        field: What it is to be: a provider, or a consumer.

    Raises:
        ConfigError: It cannot; the text says why.
        EnvironmentProblem: The source does not compile.
    """
    from emu.compile.provider_file import library_of
    from emu.runtime.processes import worker_python

    path = str(library_of(Path(given), field))
    python, environment = worker_python()
    with contextlib.ExitStack() as undo:
        said, saying = os.pipe()
        output = undo.enter_context(open(said, "rb", buffering=0))
        os.set_blocking(said, False)
        server = fork_server.take(python, environment)
        if server is not None:
            undo.callback(fork_server.give_back, server)
        with open(saying, "wb"), open(os.devnull, "wb") as nowhere:
            process, channel = fork_server.start(
                server,
                python,
                environment,
                ["look", str(os.getpid())],
                stdout=nowhere.fileno(),
                stderr=saying,
                leads_session=True,
            )
        undo.callback(channel.close)
        with contextlib.suppress(OSError):
            channel.send({field: path})
        return ForeignLibrary(path, given, _answer(field, given, path, channel, process, output))


def _answer(
    field: str, given: str, path: str, channel: Channel, process: Process, output: io.FileIO
) -> str:
    """What the library calls itself."""
    said = b""
    word = None
    deadline = time.monotonic() + LOOK_TIMEOUT_S
    try:
        while time.monotonic() < deadline:
            poller = select.poll()
            poller.register(channel, select.POLLIN)
            poller.poll(20)
            # What it says is read on: a full pipe would look like a library that hangs.
            said = (said + (output.read() or b""))[-_SAID_MAX:]
            with contextlib.suppress(NonsenseError):
                word = channel.hear() or word
            if process.poll() is not None:
                break
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what it started as well
        code = process.wait()
        said += output.read() or b""
    with contextlib.suppress(NonsenseError):
        word = channel.hear() or word
    if word is not None and word.event is Event.ERROR:
        # It speaks of the library, which may be one that was compiled from what the user named.
        raise ConfigError(word.text.replace(repr(path), repr(given), 1))
    if word is not None and word.event is Event.ANSWER and code == 0:
        return word.text
    if time.monotonic() >= deadline:
        raise ConfigError.of(field, given, f"opening it takes over {LOOK_TIMEOUT_S:.0f} s")
    raise ConfigError.of(field, given, f"opening it ends the process ({_how(code, said)})")


def _how(code: int, said: bytes) -> str:
    """How a process ended: by its own last line, or in our words."""
    last = said.decode(errors="replace").strip().rpartition("\n")[2]
    if code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return printable(last)[:200] or f"exit code {code}"
