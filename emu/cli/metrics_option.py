"""``--metrics HOST:PORT``: live counters for whoever scrapes them, as long as a command runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.console import Console

if TYPE_CHECKING:
    from prometheus_client import Metric

Sampled = TypeVar("Sampled")

MetricsOption = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT", help="Serve live counters there as OpenMetrics; port 0 = any free one."
    ),
]


def check_metrics(address: str | None) -> None:
    """Before anything is made or said.

    Raises:
        ConfigError: The address is none.
        EnvironmentProblem: The library is not installed.
    """
    if address is not None:
        from emu.metrics.server import check_extra, parse_address  # here, as below: few want it

        parse_address(address)
        check_extra()


@contextlib.contextmanager
def served(
    console: Console,
    address: str | None,
    families: Callable[[], Callable[[Sampled | None], Iterable[Metric]]],
) -> Iterator[Callable[[Sampled], None]]:
    """Serve what is published, if that was asked for.

    Args:
        console: Where it is said where.
        address: HOST:PORT, or None.
        families: Makes what makes the families of a sample.

    Yields:
        What publishes a sample.

    Raises:
        ConfigError: The address is none.
        EnvironmentProblem: It cannot be had, or the library is not installed.
    """
    if address is None:
        yield lambda sample: None
        return
    from emu.metrics.server import MetricsServer

    with MetricsServer(address, families()) as server:
        console.print(f"metrics on {server.url}", highlight=False, markup=False, soft_wrap=True)
        yield server.publish
