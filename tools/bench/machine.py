"""Names the machine, and watches how it does during a run."""

from __future__ import annotations

import os
import platform
import resource
import time
from dataclasses import dataclass
from pathlib import Path

from . import programs


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a figure depends on beside the code."""

    cpu: str
    cores: int
    usable_cores: int  #: To this process; the first two of them are used.
    kernel: str
    compiler: str
    python: str
    dpdk: str | None
    huge_pages: str  #: The mode of transparent huge pages.
    load: float  #: Over the last minute, when the run began.


def describe() -> Machine:
    return Machine(
        cpu=_cpu_model(),
        cores=os.cpu_count() or 1,
        usable_cores=len(os.sched_getaffinity(0)),
        kernel=f"{platform.system()} {platform.release()} {platform.machine()}",
        compiler=programs.compiler_version(),
        python=platform.python_version(),
        dpdk=programs.package_version("libdpdk"),
        huge_pages=_huge_pages(),
        load=os.getloadavg()[0],
    )


class CoreMeter:
    """Says how many cores' time others than our children took since it was made."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._busy_s = _busy_s()
        self._children_s = _children_s()

    def foreign_cores(self) -> float:
        """Return a figure as fine as the kernel's ticks: a few percent of a core."""
        elapsed = max(time.monotonic() - self._start, 1e-3)
        busy_s = _busy_s() - self._busy_s
        children_s = _children_s() - self._children_s
        return max(busy_s - children_s, 0.0) / elapsed


def _busy_s() -> float:
    """Return the time that all cores spent on anything, or were held back from us."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields)
    ticks = user + nice + system + irq + softirq + steal
    return ticks / os.sysconf("SC_CLK_TCK")


def _children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()


def _huge_pages() -> str:
    try:
        modes = Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
    except OSError:
        return "unknown"
    return modes.partition("[")[2].partition("]")[0] or "unknown"
