"""Fault plans as the core is given them, and intents compared with verdicts."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from emu.core._lib import ffi, lib, new_struct
from emu.spec.state import Verdict

if TYPE_CHECKING:  # a worker has rules, and nothing to reconcile
    from emu.core.queue import Queue

#: One rule of a compiled fault plan: ``struct zcrx_fault_rule`` by the names of its members, but
#: for ``at_count``; ``at_list`` is a sequence.
Rule = Mapping[str, Any]


def raw_rules(rules: Sequence[Rule], keep: list[Any]) -> Any:
    """The rules in C; ``keep`` gets what must live as long as what is made of them."""
    if not rules:
        return ffi.NULL
    plain = []
    for rule in rules:
        ordinals = ffi.new("uint64_t[]", list(rule["at_list"])) if rule["at_list"] else ffi.NULL
        keep.append(ordinals)
        plain.append({**rule, "at_count": len(rule["at_list"]), "at_list": ordinals})
    return ffi.new("struct zcrx_fault_rule[]", plain)


class Trigger:
    """When rules are due that Python carries out: the plan that the core asks, too.

    Args:
        rules: As for a process; those whose kind is 0 are never due.
        seed: Of the run.
    """

    def __init__(self, rules: Sequence[Rule], seed: int) -> None:
        self._keep: list[Any] = []
        # Whose queue a rule is about is for those who carry it out.
        raw = raw_rules([{**rule, "queue": -1} for rule in rules], self._keep)
        made = lib.zcrx_fault_new(raw, len(rules), seed)
        if made == ffi.NULL:
            raise MemoryError
        self._raw = ffi.gc(made, lib.zcrx_fault_free)

    def next(self, rule: int) -> int:
        """The ordinal from which on a rule is due, by its position; 2^64-1: never."""
        return int(lib.zcrx_fault_next(self._raw, rule))

    def fire(self, rule: int, start: int) -> None:
        """A rule that was due has fired; what may be due next is so from ``start`` on."""
        lib.zcrx_fault_fire(self._raw, rule, start)


def mutate(
    kind: int,
    seed: int,
    rqe: tuple[int, int, int],
    num_niovs: int,
    niov_shift: int,
    value: int = 0,
) -> tuple[int, int, int]:
    """Apply a content fault's mutation to an RQE ``(off, len, pad)``, as the C applier does."""
    area = new_struct("zcrx_fault_area", {"num_niovs": num_niovs, "niov_shift": niov_shift})
    rng = ffi.new("struct zcrx_rng *", {"state": seed % 2**64})
    valid = new_struct("io_uring_zcrx_rqe", {"off": rqe[0], "len": rqe[1], "__pad": rqe[2]})
    result = lib.zcrx_fault_mutate(kind, value, rng, valid, area)
    return int(result.off), int(result.len), int(getattr(result, "__pad"))


class MismatchWhy(enum.IntEnum):
    """Why an entry is a mismatch."""

    ILLEGAL = 0  #: its intent does not allow the verdict
    NO_CREDIT = 1  #: a return found no reference, and nothing had taken it
    OTHER_BUFFER = 2  #: it was judged as an entry of a buffer that it did not name


@dataclass(frozen=True, slots=True)
class Mismatch:
    """An RQE that earned a verdict which its intent does not allow."""

    queue: int
    position: int  #: RQEs before it since the run began
    index: int  #: ring index, u32
    intent: int  #: 0 = valid, r + 1 = rule r of the plan
    legal: frozenset[Verdict]  #: what it might have earned
    verdict: Verdict | None  #: None: the log has a number that is none
    why: MismatchWhy = MismatchWhy.ILLEGAL
    niov: int = 0  #: the buffer that the provider found in it; modulo 32768
    put_down: int = 0  #: its credits until then: references that strays or scrubs took …
    spent: int = 0  #: … and returns that had found none


@dataclass(frozen=True, slots=True)
class Balance:
    """The user references of one buffer, when all is over."""

    wrong: int  #: buffers whose references do not balance; the rest is of the first of them
    account: int  #: its number; modulo 32768
    delivered: int  #: by the NIC's count, modulo 2^32, as all of these …
    taken: int  #: … by entries
    scrubbed: int
    held: int  #: the user still has them


def _verdict(number: int) -> Verdict | None:
    return Verdict(number) if number < len(Verdict) else None


class Reconciler:
    """Compares intents with verdicts of one queue, incrementally."""

    def __init__(self, queue: Queue, rules: int) -> None:
        """For a plan of that many rules."""
        self._queue = queue
        self._raw = ffi.gc(ffi.new("struct zcrx_reconciler *"), lib.zcrx_reconciler_destroy)
        if lib.zcrx_reconciler_init(self._raw, queue.shape.num_niovs):
            raise MemoryError
        self._intents = rules + 1

    def step(self) -> int:
        """Compare what was consumed since the last call; how many entries."""
        return int(lib.zcrx_reconcile(self._raw, self._queue._ptr))

    def note_new_user(self) -> None:
        """The rings were emptied for a new user: from here on every reference is its own."""
        lib.zcrx_reconcile_new_user(self._raw, self._queue._ptr)

    def balance(self) -> Balance:
        """Account for every user reference, once all processes have stopped."""
        raw = ffi.new("struct zcrx_balance *")
        lib.zcrx_reconcile_balance(self._raw, self._queue._ptr, raw)
        return Balance(*(int(getattr(raw, field.name)) for field in fields(Balance)))

    @property
    def table(self) -> list[dict[Verdict, int]]:
        """By intent: how often each verdict was earned."""
        return [
            {verdict: int(self._raw.table[intent][int(verdict)]) for verdict in Verdict}
            for intent in range(self._intents)
        ]

    @property
    def unplanned(self) -> int:
        """Entries whose intent names a rule that the plan does not have."""
        beyond = range(self._intents, len(self._raw.table))
        return sum(int(count) for intent in beyond for count in self._raw.table[intent])

    @property
    def wrong(self) -> list[int]:
        """Mismatches, by intent: valid returns first, then each rule's."""
        return [int(self._raw.wrong[intent]) for intent in range(self._intents)]

    @property
    def checked(self) -> int:
        """Entries compared so far."""
        return int(self._raw.checked)

    @property
    def mismatch_count(self) -> int:
        """Entries whose verdict was not legal."""
        return int(self._raw.mismatch_count)

    @property
    def after_scrub(self) -> int:
        """Returns that came after a scrub had taken their reference (legal)."""
        return int(self._raw.after_scrub)

    @property
    def after_stray(self) -> int:
        """Returns that came after an entry that was nobody's had taken their reference (legal)."""
        return int(self._raw.after_stray)

    @property
    def strays(self) -> list[int]:
        """Entries that were nobody's return and took a reference, by intent."""
        return [int(self._raw.strays[intent]) for intent in range(self._intents)]

    @property
    def lost(self) -> int:
        """Entries whose log was overwritten before it was compared (must be 0)."""
        return int(self._raw.lost)

    @property
    def mismatches(self) -> list[Mismatch]:
        """The first 64 of them."""
        return [
            Mismatch(
                queue=self._queue.index,
                position=int(raw.position),
                index=int(raw.index),
                intent=int(raw.intent) & 0xFF,
                why=MismatchWhy(raw.why),
                niov=int(raw.account),
                put_down=int(raw.put_down),
                spent=int(raw.spent),
                legal=frozenset(v for v in Verdict if raw.intent >> (8 + int(v)) & 1),
                verdict=_verdict(raw.verdict & 7),
            )
            for raw in self._raw.mismatches[0 : min(self.mismatch_count, 64)]
        ]
