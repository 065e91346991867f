"""The yardsticks: what the emulator's speed is compared with.

Each is as fast as we could make it within its rules, for a slow peer flatters. What
they do is described at the top of the C file, or of ``python_harness.py``.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from . import programs, python_harness
from .programs import Command
from .yardstick import (
    BenchError,
    Best,
    Group,
    Ratio,
    Registry,
    Unit,
    Yardstick,
)

BATCHES = (1, 8, 32, 64, 256)
ONE_THREAD_BATCHES = (64, 256)
PAYLOAD_SIZES = (64, 1448, 4096, 65536)
MEMIF_PAYLOAD_SIZES = (64, 1448)
PYTHON_PAYLOAD_SIZES = (64, 1448, 4096)
SMOKE_BATCH = 64
SMOKE_PAYLOAD_SIZE = 1448

DPDK = "libdpdk"
HARNESS = Path(python_harness.__file__)
CORE_DIR = Path(__file__).resolve().parents[2] / "cext"
CRC_SOURCES = (CORE_DIR / "wire" / "crc32c.c",)


def register(registry: Registry) -> None:
    _add_rings(registry)
    _add_loops(registry)
    _add_dpdk_if_there(registry)
    _add_python(registry)


def _add_rings(registry: Registry) -> None:
    ring = programs.build("bare_ring")
    for batch in BATCHES:
        _add_ring(registry, "bare ring", batch, [ring])
    for batch in ONE_THREAD_BATCHES:
        registry.add(
            Yardstick(
                name="bare ring, one thread",
                group=Group.REFILL,
                parameter=batch,
                unit=Unit.NS_PER_ENTRY,
                sample=_timed([ring, "-1", "-b", str(batch)], Unit.NS_PER_ENTRY),
                smoke=batch == SMOKE_BATCH,
            )
        )


def _add_loops(registry: Registry) -> None:
    loop = programs.build("bare_loop", include=CORE_DIR, more=CRC_SOURCES)
    copy = programs.build("memcpy_blocks", include=CORE_DIR, more=CRC_SOURCES)
    for size in PAYLOAD_SIZES:
        _add_e2e(registry, "memcpy", size, _timed([copy, "-s", str(size)]))
        for name, verify, *more in (
            ("bare loop, untouched", "none"),
            ("bare loop", "touch"),
            ("bare loop, FIFO", "touch", "-f"),
            ("bare loop, crc", "crc"),
        ):
            _add_e2e(registry, name, size, _timed([loop, "-s", str(size), "-v", verify, *more]))
    registry.add_ratio(Ratio(numerator="bare loop", denominator="memcpy"))


def _add_dpdk_if_there(registry: Registry) -> None:
    """Add DPDK's yardsticks, or a note that says why they are missing."""
    if programs.package_version(DPDK) is None:
        registry.add_note(
            "DPDK is not installed: no rte_ring, no memif"
            " (on Debian and Ubuntu: apt install libdpdk-dev)"
        )
        return
    try:
        ring = programs.build("dpdk_ring", package=DPDK)
        memif = programs.build("dpdk_memif", package=DPDK, include=CORE_DIR, more=CRC_SOURCES)
    except BenchError as error:
        registry.add_note(f"This DPDK is not one we know: no rte_ring, no memif. {error}")
        return
    _add_dpdk_rings(registry, ring)
    _add_memif(registry, memif)


def _add_dpdk_rings(registry: Registry, ring: Path) -> None:
    for batch in BATCHES:
        _add_ring(registry, "rte_ring", batch, [ring])
        _add_ring(registry, "rte_ring, in place", batch, [ring, "-z"])
    registry.add_ratio(Ratio(numerator="rte_ring", denominator="bare ring"))
    registry.add_ratio(Ratio(numerator="rte_ring, in place", denominator="bare ring"))


def _add_memif(registry: Registry, memif: Path) -> None:
    modes: dict[str, list[str]] = {"memif": [], "memif, zero-copy": ["-z"]}
    for size in MEMIF_PAYLOAD_SIZES:
        for name, options in modes.items():
            command: Command = [memif, "-s", str(size), *options]
            _add_e2e(registry, name, size, partial(_sample_memif, command))
    registry.add_best(Best(name="memif, best", group=Group.E2E, of=tuple(modes)))
    registry.add_ratio(Ratio(numerator="bare loop", denominator="memif, best"))


def _add_python(registry: Registry) -> None:
    names = []
    for transport in python_harness.Transport:
        name = f"Python {transport}"
        names.append(name)
        for size in PYTHON_PAYLOAD_SIZES:
            command: Command = [sys.executable, HARNESS, transport, str(size)]
            _add_e2e(registry, name, size, partial(_sample_python, command))
    registry.add_best(Best(name="Python, best", group=Group.E2E, of=tuple(names)))
    registry.add_ratio(Ratio(numerator="bare loop", denominator="Python, best"))


def _add_ring(registry: Registry, name: str, batch: int, command: Command) -> None:
    registry.add(
        Yardstick(
            name=name,
            group=Group.RING,
            parameter=batch,
            unit=Unit.NS_PER_ENTRY,
            sample=_timed([*command, "-b", str(batch)], Unit.NS_PER_ENTRY),
            smoke=batch == SMOKE_BATCH,
        )
    )


def _add_e2e(registry: Registry, name: str, size: int, sample: Callable[[float], float]) -> None:
    registry.add(
        Yardstick(
            name=name,
            group=Group.E2E,
            parameter=size,
            unit=Unit.PACKETS_PER_S,
            sample=sample,
            smoke=size == SMOKE_PAYLOAD_SIZE,
        )
    )


def _timed(command: Command, unit: Unit = Unit.PACKETS_PER_S) -> Callable[[float], float]:
    """Make a sample of a program that takes its time by ``-t``."""

    def sample(seconds: float) -> float:
        return programs.run([*command, "-t", str(seconds)], seconds, unit)

    return sample


def _sample_memif(command: Command, seconds: float) -> float:
    # A socket's path must be short, so not below the checkout.
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        return _timed([*command, "-d", directory])(seconds)


def _sample_python(command: Command, seconds: float) -> float:
    return programs.run([*command, str(seconds)], seconds, Unit.PACKETS_PER_S)
