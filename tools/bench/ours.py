"""Our own figures: the refill ring, the provider's refill path, and whole runs.

A whole run is the product as a user starts it: NIC, provider and consumer in processes of
their own, every verdict counted, the audit at the end. A run that is not ``ok`` is no figure.
"""

from __future__ import annotations

from functools import partial

from emu.config import ReturnOrder, RunConfig, Verify
from emu.runtime.session import run

from . import programs
from .peers import (
    BATCHES,
    CORE_DIR,
    ONE_THREAD_BATCHES,
    PAYLOAD_SIZES,
    SMOKE_BATCH,
    SMOKE_PAYLOAD_SIZE,
)
from .yardstick import BenchError, Group, Ratio, Registry, Unit, Yardstick

REFILL_SOURCES = (
    "kernel/provider.c",
    "kernel/page_pool.c",
    "kernel/area.c",
    "kernel/handoff.c",
    "run/areas.c",
    "run/layout.c",
    "wire/flight.c",
    "kernel/plugin.c",
)
ARENA_BYTES = 16 << 20  #: of traffic, as in the bare loop
PACKETS_MAX = 4096

_LOOPS = {
    "zcrx-emu": (Verify.TOUCH, "bare loop", ">= 0.8"),
    "zcrx-emu, untouched": (Verify.NONE, "bare loop, untouched", ""),
    "zcrx-emu, crc": (Verify.CRC, "bare loop, crc", ">= 0.8"),
}


def register(registry: Registry) -> None:
    """Enter our figures and the ratios that we aim at."""
    _add_ring(registry)
    _add_refill(registry)
    _add_runs(registry)


def _add_ring(registry: Registry) -> None:
    ring = programs.build("zcrx_ring", include=CORE_DIR)
    for batch in BATCHES:
        registry.add(
            Yardstick(
                name="zcrx ring",
                group=Group.RING,
                parameter=batch,
                unit=Unit.NS_PER_ENTRY,
                sample=partial(_sample, [ring, "-b", str(batch)], Unit.NS_PER_ENTRY),
                smoke=batch == SMOKE_BATCH,
            )
        )
    registry.add_ratio(Ratio(numerator="zcrx ring", denominator="bare ring", target="<= 1.05"))
    registry.add_ratio(Ratio(numerator="zcrx ring", denominator="rte_ring"))


def _add_refill(registry: Registry) -> None:
    refill = programs.build(
        "zcrx_refill", include=CORE_DIR, more=[CORE_DIR / name for name in REFILL_SOURCES]
    )
    kinds: dict[str, list[str]] = {
        "refill, valid RQE": [],
        "refill, malformed RQE": ["-m"],
        "refill, one buffer": ["-r"],
    }
    kernel = programs.build("kernel_refill")
    bare = programs.build("bare_ring")
    commands: dict[str, programs.Command] = {
        **{name: [refill, *options] for name, options in kinds.items()},
        "kernel, valid RQE": [kernel],
        "kernel, malformed RQE": [kernel, "-m"],
        "one CAS": [kernel, "-c"],
        # The price of an entry between processes stands beside what judging it costs.
        "bare ring, two processes": [bare],
    }
    for batch in ONE_THREAD_BATCHES:
        for name, command in commands.items():
            registry.add(
                Yardstick(
                    name=name,
                    group=Group.REFILL,
                    parameter=batch,
                    unit=Unit.NS_PER_ENTRY,
                    sample=partial(_sample, [*command, "-b", str(batch)], Unit.NS_PER_ENTRY),
                    smoke=batch == SMOKE_BATCH,
                )
            )
    for name, peer, target in (
        ("refill, valid RQE", "kernel, valid RQE", "<= 1.5"),
        ("refill, valid RQE", "one CAS", ""),
        ("kernel, valid RQE", "one CAS", ""),
        ("refill, malformed RQE", "bare ring, two processes", "<= 1"),
        ("refill, malformed RQE", "kernel, malformed RQE", ""),
        ("refill, one buffer", "bare ring, two processes", ""),
    ):
        registry.add_ratio(Ratio(numerator=name, denominator=peer, target=target))


def _sample(command: programs.Command, unit: Unit, seconds: float) -> float:
    return programs.run([*command, "-t", str(seconds)], seconds, unit)


def _add_runs(registry: Registry) -> None:
    for name, (verify, peer, target) in _LOOPS.items():
        for size in PAYLOAD_SIZES:
            registry.add(
                Yardstick(
                    name=name,
                    group=Group.E2E,
                    parameter=size,
                    unit=Unit.PACKETS_PER_S,
                    sample=partial(_run, verify, size),
                    smoke=size == SMOKE_PAYLOAD_SIZE,
                )
            )
        registry.add_ratio(Ratio(numerator=name, denominator=peer, target=target))
    registry.add_ratio(Ratio(numerator="zcrx-emu", denominator="bare loop, FIFO"))
    registry.add_ratio(Ratio(numerator="zcrx-emu", denominator="memif, best", target=">= 1.2"))
    registry.add_ratio(Ratio(numerator="zcrx-emu", denominator="Python Pipe", target=">= 20"))
    registry.add_ratio(Ratio(numerator="zcrx-emu", denominator="Python, best"))
    registry.add_ratio(Ratio(numerator="zcrx-emu", denominator="memcpy"))


def _run(verify: Verify, size: int, seconds: float) -> float:
    packets = min(PACKETS_MAX, ARENA_BYTES // size)
    report = run(
        RunConfig(
            traffic=f"synthetic:kind=raw,size={size},packets={packets}",
            duration_s=seconds,
            verify=verify,
            recheck_every=0,
            return_order=ReturnOrder.FIFO,
            hold=0,
        )
    )
    if not report.ok:
        raise BenchError(f"the run was not ok: {'; '.join(report.problems)}")
    return report.total("nic", "packets_delivered") / report.elapsed_s
