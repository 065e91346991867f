"""Live traffic: the socket at which a ``tcp:`` source waits for connections."""

from __future__ import annotations

import socket

from emu.errors import EnvironmentProblem
from emu.traffic.base import TcpSource


def listen(source: TcpSource) -> socket.socket:
    """Open the listening socket of a ``tcp:`` source.

    Raises:
        EnvironmentProblem: The address cannot be had (in use, not ours, privileged).
    """
    where = f"tcp:{source.host}:{source.port}"
    try:
        infos = socket.getaddrinfo(
            source.host, source.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, _, _, _, address = infos[0]
        listener = socket.create_server(address[:2], family=family, backlog=128)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise EnvironmentProblem(
            f"listen: {where} cannot be had ({reason}); name a free port of this machine"
        ) from None
    listener.setblocking(False)
    return listener
