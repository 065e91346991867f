"""What a worker tells the process above a piece, and how: pickled, behind its length."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

_LENGTH = 8


@dataclass(frozen=True, slots=True)
class Order:
    """What a piece is to do.

    Attributes:
        piece: Its name.
        command: The command.
        words: All its words but those that a campaign gives it.
        files: Contents of its files, by place.
        programs: Of fuzz: what it begins with, or what is merged.
        merges: Of fuzz: it only finds few programs that reach as much as all of these.
        limit_s: When it is ended.
    """

    piece: str
    command: str
    words: tuple[str, ...]
    limit_s: float
    files: Mapping[str, bytes] = field(default_factory=dict)
    programs: Sequence[bytes] = ()
    merges: bool = False


def send(value: object, stream: IO[bytes]) -> None:
    """Write a value behind its length."""
    data = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(len(data).to_bytes(_LENGTH, "little") + data)
    stream.flush()


def receive(stream: IO[bytes]) -> object:
    """Read a value that :func:`send` has written.

    Raises:
        EOFError: It ends before.
    """
    length = int.from_bytes(_exactly(stream, _LENGTH), "little")
    return pickle.loads(_exactly(stream, length))


def _exactly(stream: IO[bytes], length: int) -> bytes:
    parts = []
    while length:
        part = stream.read(length)
        if not part:
            raise EOFError("the other side is gone")
        parts.append(part)
        length -= len(part)
    return b"".join(parts)
