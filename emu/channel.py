"""The control channel between the control process and each of the others.

A pair of Unix sockets that keeps message boundaries: JSON with, where it is
handed over, shared memory as descriptors. Its end is the end of the peer.

A socket takes messages up to the size of its buffer only. A larger one (a plan of many
ordinals) travels as a descriptor of memory that holds it.
"""

from __future__ import annotations

import json
import os
import socket
from typing import Any

_MESSAGE_MAX = 1 << 16  #: bytes of a message that travels in the socket itself
_LARGE_MAX = 1 << 29  #: bytes of one that travels in memory
_FDS_MAX = 17
_LARGE = b"L"  #: such a message: what it says is in its first descriptor (JSON never starts so)


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
        """The next message and its descriptors; None when the peer is gone."""
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

    def close(self) -> None:
        """Close this end."""
        self._sock.close()
