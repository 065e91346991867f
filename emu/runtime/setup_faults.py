"""Faults of setting up: what an instance starts with, and steps that fail on purpose.

Everything that makes something for a run asks :meth:`SetupFaults.step` first. A
step that a rule refuses raises, as if the machine had refused it; the session
then takes everything back, and what this process holds afterwards is compared
with what it held before.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import random
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

from emu.core import Shape, Trigger
from emu.errors import RefusedStep
from emu.host.proc import PARENT, stat_words
from emu.runtime.role import rules_of
from emu.runtime.segment import PREFIX, SHM_DIR
from emu.verdict.report import Statement
from faults import Actor, Plan

_SHOWN_MAX = 8


# ---- what a process holds ----------------------------------------------------------


def _names() -> Iterator[str]:
    """Names in shared memory that this process made."""
    own = f"{PREFIX}.{os.getpid()}."
    for name in os.listdir(SHM_DIR):
        if name.removeprefix("sem.").startswith(own):
            yield name


def _descriptors() -> Iterator[str]:
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the listing's own is closed by now
            yield f"{number} ({os.readlink(f'/proc/self/fd/{number}')})"


def _mappings() -> Iterator[str]:
    """Mappings of shared memory, a semaphore's too (it is made under a name of libc's own)."""
    for line in Path("/proc/self/maps").read_text(errors="replace").splitlines():
        where, _, path = line.partition(f" {SHM_DIR}/")
        if path:
            yield f"{path} at {where.split()[0]}"


def _children() -> Iterator[str]:
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with contextlib.suppress(OSError):  # gone meanwhile
            if int(stat_words(int(entry.name))[PARENT]) == os.getpid():
                name = (entry / "comm").read_text(errors="replace").rstrip("\n")
                yield f"{entry.name} ({name})"


@dataclass(frozen=True, slots=True)
class Holdings:
    """What this process holds of the kinds that a run makes, each by a name that tells it apart."""

    names: frozenset[str]  #: in shared memory, semaphores included
    descriptors: frozenset[str]
    mappings: frozenset[str]  #: of shared memory
    processes: frozenset[str]  #: children, dead ones that nobody waited for too
    threads: frozenset[str]

    @classmethod
    def now(cls) -> Holdings:
        """Look at this process."""
        return cls(
            frozenset(_names()),
            frozenset(_descriptors()),
            frozenset(_mappings()),
            frozenset(_children()),
            frozenset(os.listdir("/proc/self/task")),
        )

    def beyond(self, earlier: Holdings) -> dict[str, list[str]]:
        """What is held now and was not then, by kind; kinds without any are left out."""
        more = {
            item.name: sorted(getattr(self, item.name) - getattr(earlier, item.name))
            for item in fields(self)
        }
        return {kind: found for kind, found in more.items() if found}


def _listed(parts: Iterable[str]) -> str:
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last


def _counted(more: dict[str, list[str]]) -> str:
    singular = {"names": "name", "processes": "process"}
    return _listed(
        f"{len(found)} {kind if len(found) > 1 else singular.get(kind, kind[:-1])}"
        for kind, found in more.items()
    )


# ---- the faults --------------------------------------------------------------------


def _garbage(kind: str, size: int, shape: Shape, rng: random.Random) -> bytes:
    """Bytes for fresh memory: random ones, all bits set, or RQEs that look like returns."""
    if kind == "ones":
        return b"\xff" * size
    if kind == "random":
        return rng.randbytes(size)
    entries = (
        struct.pack("<QII", rng.randrange(shape.num_niovs) << shape.niov_shift, 4096, 0)
        for _ in range(-(-size // 16))
    )
    return b"".join(entries)[:size]


class SetupFaults:
    """The set-up faults of a plan; does nothing for a plan without any.

    Args:
        plan: The plan of the run.
        seed: Of the run: decides what is drawn.
    """

    def __init__(self, plan: Plan, seed: int) -> None:
        self.fired = [0] * len(plan.rules)  #: how often each rule of the plan fired
        self.refused: str | None = None  #: the step that failed on purpose, in words
        self._plan = plan
        self._seed = seed
        self._trigger = Trigger(rules_of(plan, Actor.SETUP), seed)
        self._steps = [at for at, rule in enumerate(plan.rules) if rule.fault.name == "setup-fail"]
        self._asked: dict[str, tuple[int, dict[str, int]] | None] = {}
        self._done: list[str] = []
        self._count = 0
        self._is_over = False
        self._before: Holdings | None = None
        self._made: dict[str, list[str]] = {}
        self._left: dict[str, list[str]] = {}

    def _rng(self, position: int, what: object) -> random.Random:
        return random.Random(f"{self._seed}/setup/{position}/{what}")

    def _fires(self, position: int, ordinal: int) -> bool:
        """Is a rule due at this ordinal? Then it has fired, and others may be due at what comes."""
        due = ordinal >= self._trigger.next(position)
        if due:
            self._trigger.fire(position, self._count)
            self.fired[position] += 1
        return due

    # ---- what is asked once a run ---------------------------------------------------

    def _ask(self, name: str) -> tuple[int, dict[str, int]] | None:
        """The first rule about a fault that fires: its position and parameters."""
        if name not in self._asked:
            self._asked[name] = None
            for at, rule in enumerate(self._plan.rules):
                if rule.fault.name == name and self._fires(at, 0):
                    params = (param.name for param in rule.fault.params)
                    self._asked[name] = at, dict(zip(params, rule.params, strict=True))
                    break
        return self._asked[name]

    def shape(self, shape: Shape) -> Shape:
        """The shape of the run's queues, with what the plan makes of it."""
        wrap = self._ask("index-wrap")
        if wrap is not None:
            shape = replace(shape, initial_index=-wrap[1]["distance"] % 2**32)
            self._done.append(f"index-wrap: the rings' indices start at {shape.initial_index}")
        layout = self._ask("header-layout")
        if layout is not None:
            drawn = self._rng(layout[0], "layout").randrange(1, 2**32)
            shape = replace(shape, ring_layout=drawn)
            self._done.append(f"header-layout: the rings stand as layout {drawn} says")
        return shape

    def fill_rings(self, shape: Shape, queue: int, rings: mmap.mmap) -> None:
        """Leave garbage in a queue's rings object before it is formatted, if the plan says so."""
        asked = self._ask("header-garbage")
        if asked is not None:
            at, params = asked
            (value,) = self._plan.rules[at].fault.params
            kind = value.text(params[value.name])
            rings[:] = _garbage(kind, len(rings), shape, self._rng(at, queue))

    # ---- steps ------------------------------------------------------------------------

    @property
    def may_refuse(self) -> bool:
        """May a step fail?"""
        return bool(self._steps)

    def begin(self) -> None:
        """Setting up begins: note what this process holds, if a step may fail."""
        if self.may_refuse:
            self._before = Holdings.now()

    def step(self, name: str) -> None:
        """A step is about to be taken.

        Raises:
            RefusedStep: A rule makes it fail.
        """
        if self._before is None or self._is_over:
            return
        number = self._count
        self._count += 1
        for at in self._steps:
            if self._fires(at, number):
                self._made = Holdings.now().beyond(self._before)
                self.refused = f"step {number} ({name})"
                raise RefusedStep(f"set-up: {self.refused} failed on purpose (ENOMEM)")

    def finish(self) -> None:
        """Everything is set up: what is made later on is no step."""
        self._is_over = True

    def judge_unwinding(self) -> None:
        """After a step was refused and everything was closed: look at what is left.

        Not before the exception is dealt with: its traceback holds what was being made.
        """
        if self.refused is None or self._before is None:
            return
        self._left = Holdings.now().beyond(self._before)

    # ---- the report ---------------------------------------------------------------------

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done, and rules about steps that never came."""
        asleep = [
            f"{self._plan.rules[at]} did not fire: setting up had {self._count} steps"
            for at in self._steps
            if self._is_over and not self.fired[at]
        ]
        return (*self._done, *asleep)

    def statements(self, audited: Iterable[Statement]) -> tuple[Statement, ...]:
        """What the run proves: as audited; of one that never began, whether all was undone."""
        if self.refused is None:
            return tuple(audited)
        silent = [
            replace(item, holds=None, text="not judged: the run did not begin") for item in audited
        ]
        return (*silent, self._unwinding(self.refused))

    def _unwinding(self, refused: str) -> Statement:
        text = f"{refused} failed on purpose"
        if self._left:
            left = [
                f"{kind}: {', '.join(found[:_SHOWN_MAX])}" for kind, found in self._left.items()
            ]
            text += f" and left {_counted(self._left)}; {'; '.join(left)}"
            return Statement("unwind", False, text)
        made = f"{_counted(self._made)} undone" if self._made else "nothing had been made"
        return Statement("unwind", True, f"{text}; {made}, nothing is left")
