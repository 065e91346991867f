"""``zcrx-emu doctor``: what this machine offers for a run, with advice where it falls short."""

from __future__ import annotations

import os
import platform
import re
import resource
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from emu.cli.output import EXIT_USAGE, JsonOption, check_target, emit_json
from emu.config import NIOV_SIZE, RunConfig
from emu.core import crc32c_kind, layout_sizes
from emu.errors import EmuError
from emu.runtime.segment import SHM_DIR, create_segment, how_to_enlarge, shm_available


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at."""

    name: str
    found: str
    ok: bool  #: False: runs will fail or be much slower
    advice: str = ""  #: what to do; empty when there is nothing to do


def _cores() -> Check:
    usable = len(os.sched_getaffinity(0))
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    advice = "" if usable >= 2 else "give it two cores or more: the processes take turns on one"
    return Check("cores", f"{usable} usable of {os.cpu_count()} ({model})", usable >= 2, advice)


def _kernel() -> Check:
    release = platform.release()
    numbers = re.match(r"(\d+)\.(\d+)", release)  # what follows is the builder's choice
    ok = numbers is not None and (int(numbers[1]), int(numbers[2])) >= (5, 3)
    return Check("kernel", release, ok, "" if ok else "Linux 5.3 or later is needed (pidfd)")


#: Bytes of the traffic that `stress` makes unless it is told otherwise: 10 to 11.5 MiB, by seed.
_TRAFFIC = 12 << 20


def _needed_by_a_queue() -> int:
    sizes = layout_sizes(RunConfig().shape(flows_max=1024))
    return sizes.kern + sizes.rings + sizes.area + sizes.notes


def _shared_memory() -> Check:
    try:
        available = shm_available()
    except OSError as error:
        return Check("shared memory", f"{SHM_DIR}: {error.strerror}", False, "mount a tmpfs there")
    queues = max(0, available - _TRAFFIC) // _needed_by_a_queue()
    text = f"{available >> 20} MiB available in {SHM_DIR}, room for {queues} queues of default size"
    advice = "" if queues >= 1 else how_to_enlarge(_TRAFFIC + _needed_by_a_queue())
    return Check("shared memory", text, queues >= 1, advice)


def _objects() -> Check:
    try:
        create_segment(NIOV_SIZE).close()
    except (EmuError, OSError) as error:
        return Check("objects", str(error), False, f"{SHM_DIR} must be writable")
    return Check("objects", "shared memory can be made", True)


def _descriptors() -> Check:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 64 + 8 * 64
    ok = soft >= wanted
    advice = "" if ok else f"ulimit -n {wanted} for runs of 64 queues (hard limit {hard})"
    return Check("open files", f"limit {soft}", ok, advice)


def _crc() -> Check:
    kind = crc32c_kind()
    ok = kind != "portable"
    advice = "" if ok else "verification is several times slower; --verify touch avoids it"
    return Check("CRC32C", kind, ok, advice)


def _compiler(name: str, needed_for: str) -> Check:
    path = shutil.which(name)
    if path is None:
        return Check(name, "not found", True, f"only {needed_for} need it: apt install {name}")
    lines = subprocess.run(
        [path, "--version"], capture_output=True, text=True, check=False
    ).stdout.splitlines()
    return Check(name, lines[0] if lines else path, True)


def _python() -> Check:
    ok = sys.version_info >= (3, 11)
    return Check("python", platform.python_version(), ok, "" if ok else "3.11 or later is needed")


def examine() -> list[Check]:
    """Look at everything a run depends on."""
    return [
        _python(),
        _kernel(),
        _cores(),
        _shared_memory(),
        _objects(),
        _descriptors(),
        _crc(),
        _compiler("cc", "builds from source"),
        _compiler("clang", "sanitizer and fuzzing builds"),
    ]


def command(json_target: JsonOption = None) -> None:
    """Say what this machine offers for a run, with advice."""
    checks = examine()
    check_target("json", json_target)
    emit_json(
        json_target,
        {"ok": all(check.ok for check in checks), "checks": [asdict(check) for check in checks]},
    )
    if json_target != "-":
        table = Table(header_style="bold")
        for name in ("what", "found", "", "advice"):
            table.add_column(name, overflow="fold")
        for check in checks:
            mark = "[green]ok[/]" if check.ok else "[bold red]short[/]"
            table.add_row(check.name, check.found, mark, check.advice)
        Console().print(table)
    if not all(check.ok for check in checks):
        raise typer.Exit(EXIT_USAGE)
