"""The catalogue of faults: each with what it does and the verdict it must earn.

A fault is described by values, not by code: the C applier knows it by its
number. Verdicts are named by their labels (``bad_pad`` …), so that this package
needs nothing but the wire ABI.
"""

from __future__ import annotations

import difflib
import enum
from dataclasses import dataclass


class UnknownFaultError(ValueError):
    """No fault of that name; the message offers the nearest."""


class Actor(enum.Enum):
    """Who misbehaves."""

    CONSUMER = "consumer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way to be wrong."""

    name: str  #: as typed in a plan
    number: int  #: as compiled: ``enum zcrx_fault_kind`` in ``cext/fault.h``
    actor: Actor
    summary: str  #: one line
    explanation: str  #: what is written, and why the kernel answers as it does
    verdicts: frozenset[str]  #: the verdicts that an entry of this fault may earn
    survives: frozenset[str]  #: statements of the audit that hold despite it

    @property
    def breaks_contract(self) -> bool:
        """Does it make any statement of the audit void?"""
        return self.survives != AUDIT_STATEMENTS


#: What the audit states about a run.
AUDIT_STATEMENTS = frozenset(
    {"conservation", "integrity", "exactness", "ownership", "order", "progress"}
)

#: What a valid RQE may earn from a provider whose user keeps to the rules.
VALID_VERDICTS = frozenset({"accepted", "still_referenced", "other_pool"})

_ALL = (
    Fault(
        name="bad-pad",
        number=1,
        actor=Actor.CONSUMER,
        summary="an RQE whose __pad is not zero",
        explanation=(
            "A valid return with a random nonzero __pad. The provider looks at __pad before "
            "anything else and rejects the entry; it is consumed all the same."
        ),
        verdicts=frozenset({"bad_pad"}),
        survives=AUDIT_STATEMENTS,
    ),
    Fault(
        name="bad-area",
        number=2,
        actor=Actor.CONSUMER,
        summary="an RQE whose offset names an area that does not exist",
        explanation=(
            "A valid return with a random area id of 1 to 65535 in offset bits 48 to 63. An "
            "instance of the first version has area 0 only, so the entry is rejected."
        ),
        verdicts=frozenset({"bad_area"}),
        survives=AUDIT_STATEMENTS,
    ),
    Fault(
        name="bad-index",
        number=3,
        actor=Actor.CONSUMER,
        summary="an RQE whose niov index is not below the number of buffers",
        explanation=(
            "The niov index (offset bits 12 to 47) is random and out of range in its low 32 bits, "
            "so that it stays out of range when the kernel truncates it before the bound check. "
            "An index that is out of range only above bit 31 would be an alias, and accepted."
        ),
        verdicts=frozenset({"bad_index"}),
        survives=AUDIT_STATEMENTS,
    ),
)

CATALOGUE: dict[str, Fault] = {fault.name: fault for fault in _ALL}


def find(name: str) -> Fault:
    """Return the fault of that name.

    Raises:
        UnknownFaultError: There is none; the message offers the nearest names.
    """
    fault = CATALOGUE.get(name)
    if fault is not None:
        return fault
    near = difflib.get_close_matches(name, CATALOGUE, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(CATALOGUE))}"
    raise UnknownFaultError(f"faults: {name!r} is not a fault; {hint}")
