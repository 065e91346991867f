"""What a fault is: the value types that the catalogue is written in.

A fault is described by values, not by code: the C applier knows it by its
number and finds its parameters as up to four u32 values in the order in which
they are declared. Verdicts are named by their labels (``bad_pad`` …), so that
this package needs nothing but the wire ABI.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PARAMS_MAX = 4  #: parameters of a fault, at most
U32_MAX = 2**32 - 1
_SHOWN_MAX = 60

#: What the audit states about a run.
AUDIT_STATEMENTS = frozenset(
    {"conservation", "integrity", "exactness", "ownership", "order", "progress"}
)

#: What a valid RQE may earn from a provider whose user keeps to the rules.
VALID_VERDICTS = frozenset({"accepted", "still_referenced", "other_pool"})
#: A well-formed entry earns one of these, depending on the references there are.
REFERENCE_VERDICTS = VALID_VERDICTS | {"no_user_ref"}
EVERY_VERDICT = REFERENCE_VERDICTS | {"bad_pad", "bad_area", "bad_index"}
#: Of a buffer that is taken away from under its reader: integrity and ownership are void for it.
NOT_THE_READERS = AUDIT_STATEMENTS - {"integrity", "ownership"}


def shown(value: object) -> str:
    """Show a value that somebody else wrote: one line, whatever it is, and not a long one."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an int of thousands of digits; a deep nesting
        text = f"a huge {type(value).__name__}"
    return text if len(text) <= _SHOWN_MAX else f"{text[: _SHOWN_MAX - 1]}…"


class Actor(enum.Enum):
    """Who misbehaves."""

    CONSUMER = "consumer"
    NIC = "nic"
    PROVIDER = "provider"  #: the kernel side runs short of something
    PROCESS = "process"  #: something happens to a whole process, from outside
    SETUP = "setup"  #: something is wrong when an instance is set up

    @property
    def ordinal(self) -> str:
        """What the triggers of a rule count."""
        return _ORDINALS[self]


_ORDINALS = {
    Actor.CONSUMER: "valid RQE",
    Actor.NIC: "packet",
    Actor.PROVIDER: "allocation",
    Actor.PROCESS: "millisecond of traffic",
    Actor.SETUP: "set-up step",
}


class Group(enum.Enum):
    """What a fault is about."""

    CONTENT = "content"  #: the bytes of an RQE
    STRAY = "stray"  #: well-formed returns that the consumer's contract forbids
    RING = "ring"  #: the index words of the rings
    AREA = "area"  #: the buffers themselves
    PACE = "pace"  #: when the consumer does what it must do
    NIC = "nic"  #: what the NIC does with packets
    RESOURCE = "resource"  #: what the kernel side runs out of
    PROCESS = "process"  #: life and death of processes
    SETUP = "setup"  #: how an instance starts
    CUSTOM = "custom"  #: what users think of: :mod:`faults.custom`


@dataclass(frozen=True, slots=True, kw_only=True)
class Param:
    """One parameter of a fault: a whole number in a range, or one of a few words.

    It is kept as compiled: the number itself, or the position of the word.
    """

    name: str  #: as typed in a plan
    doc: str  #: what it decides; the unit is in it
    default: int  #: as compiled
    low: int = 0  #: least number; of no meaning with choices
    high: int = U32_MAX  #: greatest number; of no meaning with choices
    choices: tuple[str, ...] = ()  #: the words; empty for a number

    @property
    def allowed(self) -> str:
        """What may be given, in words."""
        return ", ".join(self.choices) if self.choices else f"{self.low} to {self.high}"

    def compile(self, value: object) -> int:
        """Turn a value of a plan (a word, or a number) into its compiled form.

        Raises:
            ValueError: It is not allowed; the message says what is.
        """
        if self.choices:
            if isinstance(value, str) and value in self.choices:
                return self.choices.index(value)
            raise ValueError(f"{shown(value)} is not allowed; it must be one of {self.allowed}")
        if isinstance(value, int) and not isinstance(value, bool) and self.is_compiled(value):
            return value
        raise ValueError(f"{shown(value)} is not allowed; it must be {self.allowed}")

    def is_compiled(self, value: int) -> bool:
        """Is this a compiled value?"""
        low, high = (0, len(self.choices) - 1) if self.choices else (self.low, self.high)
        return low <= value <= high

    def text(self, value: int) -> str:
        """Turn a compiled value back into what is typed."""
        return self.choices[value] if self.choices else str(value)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        bounds: dict[str, Any] = (
            {"choices": list(self.choices)}
            if self.choices
            else {"low": self.low, "high": self.high}
        )
        default: str | int = self.text(self.default) if self.choices else self.default
        return {"name": self.name, "doc": self.doc, "default": default, **bounds}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way to be wrong."""

    name: str  #: as typed in a plan
    number: int  #: as compiled: ``enum zcrx_fault_kind`` in ``cext/fault.h``
    actor: Actor
    group: Group
    summary: str  #: one line
    explanation: str  #: what is done, and why the kernel answers as it does
    params: tuple[Param, ...] = ()  #: in the order in which they are compiled
    verdicts: frozenset[str] = frozenset()  #: what its entries may earn; empty: it writes none
    modifies: bool = False  #: it changes a valid return, instead of standing beside it
    survives: frozenset[str] = AUDIT_STATEMENTS  #: statements of the audit that hold despite it
    consequences: str = ""  #: what it may do to the consumer itself; empty: nothing
    per_queue: bool = True  #: a rule may be about one queue only
    #: Buffers that one firing may keep from its queue for good: a number, or the parameter that
    #: says it. It bounds an excuse.
    keeps: int | str = 0
    #: The parameter that says for how long one firing may keep its queue still …
    pauses: str = ""
    pause_us: int = 1  #: … and the microseconds that one of its unit may take
    asked_once: bool = False  #: a rule is asked once a run, when the instance is set up
    source: str = ""  #: of a user's own: where its class is, ``MODULE:CLASS``

    @property
    def ordinal(self) -> str:
        """What the triggers of a rule count."""
        return "set-up" if self.asked_once else self.actor.ordinal

    @property
    def per_flow(self) -> bool:
        """May a rule be about one flow only? A packet or a return belongs to one."""
        return self.actor in (Actor.CONSUMER, Actor.NIC)

    @property
    def breaks_contract(self) -> bool:
        """Does it make any statement of the audit void?"""
        return self.survives != AUDIT_STATEMENTS

    @property
    def writes_entries(self) -> bool:
        """Does it put something into the refill ring that earns a verdict of its own?"""
        return bool(self.verdicts)

    def buffers_kept(self, params: Mapping[str, int]) -> int:
        """How many buffers one firing may keep from its queue, given its parameters."""
        return params[self.keeps] if isinstance(self.keeps, str) else self.keeps

    def pause_s(self, params: Mapping[str, int]) -> float:
        """For how many seconds one firing may keep its queue still, given its parameters."""
        return params[self.pauses] * self.pause_us / 1e6 if self.pauses else 0.0

    @property
    def defaults(self) -> tuple[int, ...]:
        """The compiled parameters of a rule that gives none."""
        return tuple(param.default for param in self.params)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "name": self.name,
            "number": self.number,
            "actor": self.actor.value,
            "group": self.group.value,
            "summary": self.summary,
            "explanation": self.explanation,
            "params": [param.as_dict() for param in self.params],
            "verdicts": sorted(self.verdicts),
            "modifies": self.modifies,
            "survives": sorted(self.survives),
            "consequences": self.consequences,
            "keeps": self.keeps,
            "pauses": self.pauses or None,
            "per_queue": self.per_queue,
            "asked_once": self.asked_once,
            "source": self.source or None,
        }
