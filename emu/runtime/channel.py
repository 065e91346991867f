"""The control channel between the control process and each of the others.

A pair of Unix sockets that keeps message boundaries. The two directions are not alike. The
control process hands over JSON with, where it belongs to it, shared memory as descriptors, and is
believed (:meth:`Channel.send`, :meth:`Channel.receive`). What a worker says is not: a consumer
runs other people's code, and may write anything into its end. :meth:`Channel.hear` is the one
place where that is read. It never blocks, takes no descriptor, reads one message of a bounded
size, and lets nothing through but the words of :class:`Event` with the fields that they have.

A socket takes messages up to the size of its buffer only. A larger one of the control process (a
plan of many ordinals) travels as a descriptor of memory that holds it.
"""

from __future__ import annotations

import contextlib
import enum
import json
import os
import select
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_MESSAGE_MAX = 1 << 16  #: bytes of a message that travels in the socket itself
_LARGE_MAX = 1 << 29  #: bytes of one that travels in memory
_FDS_MAX = 17
_LARGE = b"L"  #: such a message: what it says is in its first descriptor (JSON never starts so)
_WORDS_MAX = 1000  #: that one worker may say; more is a flood

TEXT_MAX = 500  #: characters of a line of text
TRACEBACK_MAX = 50_000  #: characters of a traceback


class Event(enum.Enum):
    """What a worker may say to the control process."""

    HIDDEN = "hidden"  #: no other process of the same user can look into it any more
    STARTED = "started"  #: the process that the worker's code runs in
    LOADING = "loading"  #: it begins to import what is not ours
    ATTACHED = "attached"  #: it has all that it needs for the run
    ERROR = "error"  #: why it is about to end
    MISTAKE = "mistake"  #: something that its user does wrong; it goes on
    POISONED = "poisoned"  #: a touch of what was given back will be noticed
    KEPT = "kept"  #: what its user was handed and never gave back
    ANSWER = "answer"  #: to what it was told to do
    SWEPT = "swept"  #: processes that its user's code had started and left


@dataclass(frozen=True, slots=True)
class Word:
    """One thing that a worker said. What is in it was checked, and is still no more than its word.

    Texts hold printable characters alone: a line has no line break, a traceback has them.
    """

    event: Event
    text: str = ""
    traceback: str | None = None
    number: int = 0
    more: int = 0


class NonsenseError(Exception):
    """What a worker wrote into its channel is none of its words; the text says what it is."""


def printable(text: str, *, lines: bool = False) -> str:
    """Make a text of somebody else's fit for a terminal and a file: all else is escaped."""
    if lines:
        return "\n".join(printable(line) for line in text.split("\n"))
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode()
        for char in text
    )


def _line(value: object) -> str:
    if not isinstance(value, str):
        raise NonsenseError(f"a text that is a {type(value).__name__}")
    return printable(" ".join(value[:TEXT_MAX].split()))


def _lines(value: object) -> str:
    if not isinstance(value, str):
        raise NonsenseError(f"a traceback that is a {type(value).__name__}")
    return printable(value[-TRACEBACK_MAX:], lines=True)


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not -(2**63) <= value < 2**64:
        raise NonsenseError("a number that is none of 64 bits")
    return value


_FIELDS = {"text": _line, "traceback": _lines, "number": _number, "more": _number}
#: Of each event: the fields that it must have, and those that it may have.
_WORDS: Mapping[Event, tuple[frozenset[str], frozenset[str]]] = {
    Event.HIDDEN: (frozenset(), frozenset()),
    Event.STARTED: (frozenset({"number"}), frozenset()),
    Event.LOADING: (frozenset({"text"}), frozenset()),
    Event.ATTACHED: (frozenset(), frozenset()),
    Event.ERROR: (frozenset({"text"}), frozenset({"traceback"})),
    Event.MISTAKE: (frozenset({"text"}), frozenset({"traceback"})),
    Event.POISONED: (frozenset(), frozenset()),
    Event.KEPT: (frozenset({"number", "text"}), frozenset()),
    Event.ANSWER: (frozenset({"number"}), frozenset({"more", "text"})),
    Event.SWEPT: (frozenset({"number"}), frozenset()),
}


def _decode(data: bytes) -> Word:
    """One message as a word.

    Raises:
        NonsenseError: It is none.
    """
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):  # of the JSON itself, of UTF-8, of too many digits
        raise NonsenseError("a message that is no JSON, or none that can be read") from None
    if not isinstance(message, dict):
        raise NonsenseError(f"a message that is a {type(message).__name__}")
    name = message.pop("event", None)
    try:
        event = Event(name)
    except ValueError:  # of another type, too: it equals none of them
        raise NonsenseError("a message without an event that there is") from None
    must, may = _WORDS[event]
    if not must <= message.keys() <= must | may:
        raise NonsenseError(f"{event.value!r} with other fields than it has")
    values = {name: _FIELDS[name](value) for name, value in message.items() if value is not None}
    if not must <= values.keys():
        raise NonsenseError(f"{event.value!r} with a field that is null")
    return Word(event, **values)  # type: ignore[arg-type]


def _read_all(fd: int) -> bytes:
    """Read a large message from its start (the sender's offset is shared), and close it."""
    with open(fd, "rb", buffering=0) as memory:
        memory.seek(0)
        size = os.fstat(fd).st_size
        if size > _LARGE_MAX:
            raise OSError(f"a message of {size} bytes is too large; at most {_LARGE_MAX}")
        data = memory.read(size)
        while len(data) < size and (more := memory.read(size - len(data))):
            data += more
        return data


class Channel:
    """One end of a control channel."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._heard = 0
        self.is_open = True  #: may there be anything to hear?

    @classmethod
    def pair(cls) -> tuple[Channel, socket.socket]:
        """A channel and the socket to be inherited by the peer."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours), theirs

    def fileno(self) -> int:
        """The descriptor, for selectors."""
        return self._sock.fileno()

    def send(self, message: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
        """Send one message with descriptors. Raises OSError when the peer is gone."""
        data = json.dumps(message).encode()
        if len(data) <= _MESSAGE_MAX:
            socket.send_fds(self._sock, [data], list(fds))
            return
        with open(os.memfd_create("zcrx-message"), "wb", buffering=0) as memory:
            view = memoryview(data)
            while view:
                view = view[memory.write(view) :]
            socket.send_fds(self._sock, [_LARGE], [memory.fileno(), *fds])

    def receive(self) -> tuple[dict[str, Any], list[int]] | None:
        """The control process's next message and its descriptors; None when it is gone."""
        try:
            data, fds, _flags, _address = socket.recv_fds(self._sock, _MESSAGE_MAX, _FDS_MAX)
        except ConnectionError:
            return None
        if not data:
            return None
        if data == _LARGE:
            data = _read_all(fds.pop(0))
        message: dict[str, Any] = json.loads(data)
        return message, fds

    # ---- from a worker to the control process -----------------------------------------

    def say(self, event: Event, **fields: object) -> None:
        """Say something to the control process, cut down to what it takes.

        Raises:
            OSError: It is gone, or does not listen any more.
        """
        message = {"event": event.value, **fields}
        if isinstance(text := message.get("text"), str):
            message["text"] = printable(text[:TEXT_MAX])[:TEXT_MAX]
        if isinstance(text := message.get("traceback"), str):  # of that the end counts
            message["traceback"] = printable(text[-TRACEBACK_MAX:], lines=True)[-TRACEBACK_MAX:]
        data = self._encoded(message)
        while len(data) > _MESSAGE_MAX:  # wide characters
            kept = str(message["traceback"])
            message["traceback"] = kept[len(kept) // 2 :]
            data = self._encoded(message)
        self._sock.sendall(data)

    @staticmethod
    def _encoded(message: dict[str, object]) -> bytes:
        return json.dumps(message, ensure_ascii=False).encode("utf-8", "backslashreplace")

    def hear(self) -> Word | None:
        """What the worker says next; None if that is nothing now, or never again.

        Raises:
            NonsenseError: It is none of the words. Nothing more is heard of it.
        """
        if not self.is_open:
            return None
        try:
            return self._hear()
        except NonsenseError:
            self.deafen()
            raise

    def _hear(self) -> Word | None:
        try:
            # No room for descriptors: the kernel makes none of those that came here.
            data, _, flags, _ = self._sock.recvmsg(_MESSAGE_MAX, 0, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except OSError:
            self.is_open = False
            return None
        if flags & socket.MSG_CTRUNC:
            raise NonsenseError("a message with descriptors")
        if flags & socket.MSG_TRUNC:
            raise NonsenseError(f"a message of more than {_MESSAGE_MAX} bytes")
        if not data:
            if self._is_hung_up():
                self.is_open = False
                return None
            raise NonsenseError("an empty message")
        self._heard += 1
        if self._heard > _WORDS_MAX:
            raise NonsenseError(f"more than {_WORDS_MAX} messages")
        return _decode(data)

    def _is_hung_up(self) -> bool:
        poller = select.poll()
        poller.register(self._sock, 0)
        return any(events & select.POLLHUP for _, events in poller.poll(0))

    def deafen(self) -> None:
        """Hear nothing more: the peer's next word is an error on its side, not a wait."""
        self.is_open = False
        with contextlib.suppress(OSError):  # it is gone anyway
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close this end."""
        self.is_open = False
        self._sock.close()
