"""Live traffic: what a ``tcp:`` source is, and the socket at which it waits for connections."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass

from emu.errors import EnvironmentProblem
from emu.traffic.base import PORT_MAX, traffic_error

_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?", re.ASCII)


@dataclass(frozen=True, slots=True)
class TcpSource:
    """Live traffic: bytes that clients send to a TCP socket, which the NIC listens on."""

    host: str  #: address or host name to listen on; IPv6 without its brackets
    port: int  #: 0 to 65535; 0 takes any free port

    def __post_init__(self) -> None:
        if not (_is_ipv6(self.host) or _HOST_NAME.fullmatch(self.host)):
            raise traffic_error(
                f"tcp:{self.host}",
                "no host that one could listen on",
                "an IPv4 address, a host name, or an IPv6 address in brackets",
            )
        if not 0 <= self.port <= PORT_MAX:
            raise traffic_error(
                self.label, f"port {self.port}", f"0 to {PORT_MAX}; 0 takes any free port"
            )

    @property
    def label(self) -> str:
        """The SOURCE text for this socket."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp:{host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> TcpSource:
        """Parse ``tcp:HOST:PORT``.

        Raises:
            TrafficError: It is not of that form, or a value is out of range.
        """
        host, _, port_text = text.partition(":")[2].rpartition(":")
        if not (port_text.isascii() and port_text.isdecimal() and len(port_text) <= 5):
            raise traffic_error(text, f"port {port_text!r}", f"tcp:HOST:PORT, PORT 0 to {PORT_MAX}")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
            if not _is_ipv6(host):
                raise traffic_error(text, f"{host!r} in brackets", "an IPv6 address in brackets")
        elif ":" in host:
            raise traffic_error(text, "more colons than one", "IPv6 in brackets: tcp:[::1]:8080")
        return cls(host, int(port_text))


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


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
