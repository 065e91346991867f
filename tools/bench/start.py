"""How long a user waits: for the help, for the first packet, for a verdict, for a race search.

Each is the command as a user starts it. All times include those of Python itself, and of what an
editable install does when it is imported.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from . import stopwatch
from .yardstick import BenchError, Group, Registry, Unit, Yardstick

ROOT = Path(__file__).resolve().parents[2]
PACKETS = 1000
TIMEOUT_S = 120.0


def register(registry: Registry) -> None:
    """Enter the four waits."""
    waits: dict[str, Callable[[float], float]] = {
        "zcrx-emu --help": lambda _seconds: _run("--help"),
        "stress, until the first packet": lambda _seconds: _stress()[0],
        "stress, from the last packet to its end": lambda _seconds: _stress()[1],
        "race, every ready scenario": lambda _seconds: _run("race"),
    }
    for name, sample in waits.items():
        registry.add(
            Yardstick(
                name=name, group=Group.START, parameter=1, unit=Unit.MS, sample=sample, smoke=True
            )
        )


def _run(*words: str, **more: str) -> float:
    """Run a command to its end, somewhere else than here; how many milliseconds it took."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "emu.start", *words],
            cwd=folder,
            env={**os.environ, **more},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        took_ms = (time.monotonic() - began) * 1000
    if done.returncode:
        last = (done.stdout + done.stderr).strip().rpartition("\n")[2]
        raise BenchError(f"zcrx-emu {' '.join(words)} ended with {done.returncode}: {last}")
    return took_ms


def _stress() -> tuple[float, float]:
    """Milliseconds of a run until its consumer has a packet, and after it had the last one."""
    with tempfile.NamedTemporaryFile() as times:
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        consumer = f"{stopwatch.__name__}:main"
        words = ("stress", "--packets", str(PACKETS), "--consumer", consumer)
        began = time.monotonic()
        took_ms = _run(*words, **{stopwatch.TIMES: times.name, "PYTHONPATH": path})
        first, last = (float(word) for word in Path(times.name).read_text().split())
    return (first - began) * 1000, took_ms - (last - began) * 1000
