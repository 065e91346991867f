"""Answers scrapes while something runs, from the last sample that was published whole.

A sample is a value that never changes: whoever scrapes sees one of them, or the one after it, and
whoever publishes one is not kept waiting.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from emu.errors import ConfigError, EnvironmentProblem

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from prometheus_client import Metric

Sampled = TypeVar("Sampled")

_ALLOWED = "HOST:PORT, an IPv6 address in brackets, PORT 0 to 65535; 0 takes any free port"
_PORT_MAX = 65535
#: Whoever does not say what is wanted gets this.
_OPENMETRICS = "application/openmetrics-text; version=1.0.0"
_REQUEST_S = 10.0  #: for a client to say what it wants


def check_extra() -> None:
    """Refuse metrics where what writes them is not installed.

    Raises:
        EnvironmentProblem: So it is.
    """
    try:
        import prometheus_client
    except ImportError:
        raise EnvironmentProblem(
            "metrics: prometheus_client is not installed; pip install 'zcrx-emu[metrics]'"
        ) from None
    del prometheus_client


def parse_address(text: str) -> tuple[str, int]:
    """A host and a port from ``HOST:PORT``.

    Raises:
        ConfigError: It is not of that form.
    """
    host, colon, port = text.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    if not (colon and host and port.isascii() and port.isdecimal() and len(port) <= 5):
        raise ConfigError.of("metrics", text, _ALLOWED)
    if int(port) > _PORT_MAX or (":" in host and not is_bracketed):
        raise ConfigError.of("metrics", text, _ALLOWED)
    return host[1:-1] if is_bracketed else host, int(port)


class _Silent(WSGIRequestHandler):
    timeout = _REQUEST_S

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing: what a run prints is its own."""


class _Server(WSGIServer):
    def server_bind(self) -> None:
        """Bind without asking anybody what this machine is called, which may take long."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "localhost", self.server_address[1]
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no affair of the run's."""


class MetricsServer(Generic[Sampled]):
    """An endpoint in a thread of its own; a context manager, gone when it is left.

    Args:
        address: As :func:`parse_address` takes it.
        families: What becomes of a sample, or of None while there is none yet.

    Raises:
        ConfigError: The address is none.
        EnvironmentProblem: It cannot be had, or the library is not installed.
    """

    def __init__(
        self, address: str, families: Callable[[Sampled | None], Iterable[Metric]]
    ) -> None:
        host, port = parse_address(address)
        check_extra()
        self._families = families
        self._sample: Sampled | None = None
        self._server = _bound(address, host, port, self._app())
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="metrics", daemon=True
        )

    @property
    def url(self) -> str:
        """Where it is scraped."""
        host, port = self._server.socket.getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/metrics"

    def publish(self, sample: Sampled) -> None:
        """Have a sample seen from now on; it must not change any more."""
        self._sample = sample

    def collect(self) -> Iterable[Metric]:
        """The families of one sample; called by the library, for each scrape once."""
        return self._families(self._sample)

    def _app(self) -> Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]:
        from prometheus_client import CollectorRegistry, make_wsgi_app
        from prometheus_client.registry import Collector

        class _Collector(Collector):
            def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
                self._collect = collect

            def collect(self) -> Iterable[Metric]:
                return self._collect()

        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collector(self.collect))
        of_library = make_wsgi_app(registry)

        def app(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
            if environ.get("HTTP_ACCEPT", "*/*") == "*/*":
                environ["HTTP_ACCEPT"] = _OPENMETRICS
            answer: Iterable[bytes] = of_library(environ, start)
            return answer

        return app

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _bound(address: str, host: str, port: int, app: Any) -> WSGIServer:
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, place = infos[0]
        of_family = type("_OfFamily", (_Server,), {"address_family": family})
        return make_server(
            str(place[0]), int(place[1]), app, server_class=of_family, handler_class=_Silent
        )
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise EnvironmentProblem(
            f"metrics: {address} cannot be had ({reason}); name a free port of this machine"
        ) from None
