"""The control channel between the control process and each of the others.

A pair of Unix sockets that keeps message boundaries: JSON with, where it is
handed over, shared memory as descriptors. Its end is the end of the peer.
"""

from __future__ import annotations

import json
import socket
from typing import Any

_MESSAGE_MAX = 1 << 17
_FDS_MAX = 16


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
        socket.send_fds(self._sock, [json.dumps(message).encode()], list(fds))

    def receive(self) -> tuple[dict[str, Any], list[int]] | None:
        """The next message and its descriptors; None when the peer is gone."""
        try:
            data, fds, _flags, _address = socket.recv_fds(self._sock, _MESSAGE_MAX, _FDS_MAX)
        except ConnectionError:
            return None
        if not data:
            return None
        message: dict[str, Any] = json.loads(data)
        return message, fds

    def close(self) -> None:
        """Close this end."""
        self._sock.close()
