"""The report of a run: typed, and as the versioned JSON of ``run.json``.

Schema 1; fields are documented in ``docs/run-json.md``. Nothing is ever
removed or changes its meaning within a schema version; fields may be added.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emu.errors import EnvironmentProblem
from emu.host.places import absolute

if TYPE_CHECKING:  # whoever writes a line of it need not know the fault layer
    from emu.verdict.flight import FlightLog
    from faults import ReconciledRow, Reconciliation

SCHEMA = 1
SETUP_FAILED = "set-up failed on purpose"  #: as ``ended``: there was no traffic


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of the audit."""

    name: str
    holds: bool | None  #: None: it could not be judged
    text: str  #: in words, with figures
    rests_on: str | None = None  #: whose word it is, where that is not ours

    @property
    def mark(self) -> str:
        """What a reader must know beside the text; empty if nothing."""
        return "" if self.rests_on is None else f" (by {self.rests_on})"


@dataclass(frozen=True, slots=True)
class Explanation:
    """The first finding of a kind, explained."""

    kind: str  #: a statement of the audit, ``death`` or ``timeout``
    text: str  #: a paragraph


@dataclass(frozen=True, slots=True)
class Process:
    """One process of the run and how it ended."""

    role: str  #: nic, provider or consumer
    queue: int | None
    pid: int
    exit_code: int | None  #: negative: the signal that killed it; None: still running
    cpu_s: float  #: user and system time
    started_s: float | None = None  #: seconds of traffic, before it negative; None: there was none
    ended_s: float | None = None  #: the same: when its end was noticed

    @property
    def label(self) -> str:
        """Its name in messages, e.g. ``consumer of queue 0``."""
        return self.role if self.queue is None else f"{self.role} of queue {self.queue}"


#: Marks of a run at most.
MARKS_MAX = 256


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that befell a process."""

    t_s: float  #: seconds of traffic
    what: str  #: a fault's name, or how the process died
    queue: int | None


@dataclass(frozen=True, slots=True)
class QueueReport:
    """Counters of one queue, by who wrote them."""

    nic: Mapping[str, int]
    provider: Mapping[str, int]
    page_pool: Mapping[str, int]
    consumer: Mapping[str, int]
    places: Mapping[str, int]
    scrub: Mapping[str, int]  #: references taken back, buffers that came home by it
    movement: Mapping[str, Any] = field(default_factory=dict)  #: how it moved
    checker: Mapping[str, Any] | None = None  #: what it says of a consumer in C; None: it is none
    areas: Sequence[int] = ()  #: the buffers of each area that was there at the end


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a run did and what it proved."""

    ok: bool
    seed: int
    config: Mapping[str, Any]
    elapsed_s: float  #: of traffic, from the first packet's offer to the last
    ended: str  #: why the run ended: duration, packets, finished, interrupted, died …
    problems: tuple[str, ...]  #: findings, one line each; empty if ok
    processes: tuple[Process, ...]
    statements: tuple[Statement, ...]
    reconciliation: Reconciliation
    queues: tuple[QueueReport, ...]
    netlink: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    explanations: tuple[Explanation, ...] = ()  #: of the findings, the first one first
    flight: str | None = None  #: file with what happened around the first finding
    flight_lines: tuple[str, ...] = ()  #: those events of it that are nearest to the finding
    run_dir: str | None = None
    capture: Mapping[str, Any] | None = None  #: what became of its frames; None: no such traffic
    series: Mapping[str, Any] = field(default_factory=dict)  #: how it went, in some points of time
    marks: tuple[Mark, ...] = ()  #: what befell processes meanwhile
    #: what the flight recorders have: of a run with a finding, or that was asked to keep it
    flight_log: FlightLog | None = None
    unwritten: str | None = None  #: what could not be written into the run's folder, and why
    versions: Mapping[str, str] = field(default_factory=dict)

    def total(self, group: str, name: str) -> int:
        """Sum of a counter over all queues; ``group`` is a field of :class:`QueueReport`."""
        return sum(getattr(queue, group)[name] for queue in self.queues)

    @property
    def verdicts(self) -> dict[str, int]:
        """Verdict label: how many RQEs earned it."""
        names = [
            "accepted",
            "still_referenced",
            "other_pool",
            "bad_pad",
            "bad_area",
            "bad_index",
            "no_user_ref",
        ]
        return {name: self.total("provider", name) for name in names}

    def as_dict(self) -> dict[str, Any]:
        """The contents of ``run.json``."""
        rows = self.reconciliation.rows
        return {
            "schema": SCHEMA,
            "ok": self.ok,
            "seed": self.seed,
            "config": dict(self.config),
            "versions": dict(self.versions),
            "elapsed_s": round(self.elapsed_s, 6),
            "ended": self.ended,
            "problems": list(self.problems),
            "explanation": [asdict(item) for item in self.explanations],
            "flight": self.flight,
            "folder": None if self.run_dir is None else absolute(self.run_dir),
            "notes": list(self.notes),
            "capture": None if self.capture is None else dict(self.capture),
            "packets": {
                "offered": self.total("nic", "packets_offered"),
                "delivered": self.total("nic", "packets_delivered"),
                "dropped": self.total("nic", "packets_dropped"),
                "copied": self.total("nic", "copied_packets"),
                "placed": self.total("nic", "copies_placed"),
            },
            "bytes": {
                "offered": self.total("nic", "bytes_offered"),
                "delivered": self.total("nic", "bytes_delivered"),
                "received": self.total("consumer", "bytes"),
            },
            "fragments": {
                "delivered": self.total("nic", "fragments_delivered"),
                "received": self.total("consumer", "fragments"),
                "dropped": self.total("nic", "fragments_dropped"),
            },
            "rqe": {
                "submitted": self.total("consumer", "rqe_submitted"),
                "consumed": self.total("provider", "consumed"),
                "unconsumed": self.reconciliation.unconsumed,
                "aliases": self.total("provider", "aliases"),
                "verdicts": self.verdicts,
            },
            "faults": {
                "injected": _by_fault(rows[1:], "injected"),
                "consequences": _by_fault(rows[1:], "consequences"),
                "details": [
                    {**asdict(item), "text": str(item)} for item in self.reconciliation.consequences
                ],
            },
            "reconciliation": {
                "ok": self.reconciliation.ok,
                "checked": self.reconciliation.checked,
                "after_scrub": self.reconciliation.after_scrub,
                "credits": asdict(self.reconciliation.credits),
                "lost": self.reconciliation.lost,
                "mismatch_count": self.reconciliation.mismatch_count,
                "mismatches": [asdict(item) for item in self.reconciliation.mismatches],
                "table": [asdict(row) for row in rows],
            },
            "audit": {
                **{statement.name: statement.holds for statement in self.statements},
                "details": {statement.name: statement.text for statement in self.statements},
            },
            "rests_on": {item.name: item.rests_on for item in self.statements if item.rests_on},
            "queues": [asdict(queue) for queue in self.queues],
            "netlink": dict(self.netlink),
            "processes": [asdict(process) for process in self.processes],
            "series": dict(self.series),
            "marks": [asdict(mark) for mark in self.marks],
        }


def _by_fault(rows: Iterable[ReconciledRow], field: str) -> dict[str, int]:
    """Sum a field up by fault: several rules may be about the same one."""
    sums: dict[str, int] = {}
    for row in rows:
        sums[row.name] = sums.get(row.name, 0) + int(getattr(row, field))
    return sums


def versions() -> dict[str, str]:
    """Versions of what decides a run's behaviour."""
    import importlib.metadata  # here: it brings the parser of e-mail with it

    found = {"python": platform.python_version(), "kernel": platform.release()}
    for name in ("zcrx-emu", "cffi", "faker"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file so that a reader sees all of it or nothing.

    Raises:
        EnvironmentProblem: The file cannot be written.
    """
    write_text(path, json_text(value))


def json_text(value: Mapping[str, Any]) -> str:
    """A value as the text of a file."""
    return json.dumps(value, indent=2) + "\n"


def write_text(path: Path, text: str) -> None:
    """Write a text file so that a reader sees all of it or nothing.

    Links are followed and a regular file is replaced with its mode kept. What is neither a file
    nor a folder (a device, a FIFO) is never replaced: it is written into.

    Raises:
        EnvironmentProblem: It cannot be written; a file that was there is as it was.
    """
    data = text.encode("utf-8", "backslashreplace")
    try:
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file() and not target.is_dir():
            target.write_bytes(data)
        else:
            _replace(target, data)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = error.strerror if isinstance(error, OSError) else error
        raise EnvironmentProblem(f"{path}: cannot be written ({why})") from None


def _replace(target: Path, data: bytes) -> None:
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    temporary = target.with_name(f".zcrx-emu.{os.getpid()}.part")
    try:
        temporary.write_bytes(data)
        with contextlib.suppress(FileNotFoundError):
            shutil.copymode(target, temporary)
        temporary.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def write_last_word(run_dir: str | None, config: Mapping[str, Any]) -> None:
    """Say in the run's folder and on stderr that the control process died.

    Called by the provider process, the only one that survives it for a moment.
    """
    text = "the control process died; the run was not judged"
    if run_dir is not None:
        with contextlib.suppress(EnvironmentProblem):
            write_json(
                Path(run_dir) / "run.json",
                {
                    "schema": SCHEMA,
                    "ok": False,
                    "seed": config.get("seed"),
                    "config": dict(config),
                    "ended": "control process died",
                    "problems": [text],
                },
            )
    with contextlib.suppress(OSError):
        print(f"zcrx-emu: FAIL: {text}", file=sys.stderr, flush=True)


def failures(statements: Iterable[Statement]) -> list[str]:
    """The statements that do not hold, as problem lines."""
    return [f"{item.name}: {item.text}" for item in statements if item.holds is False]
