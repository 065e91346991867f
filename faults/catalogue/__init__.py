"""The catalogue of faults: each with what it does, the verdict it must earn, and what survives it.

There is one module for each kind of mischief. Numbers are those of
``enum zcrx_fault_kind`` in ``cext/fault.h`` and are never given to another fault.
"""

from __future__ import annotations

from faults.catalogue import content, nic, pace, process, resource, ring, setup, stray
from faults.fault import (
    AUDIT_STATEMENTS,
    VALID_VERDICTS,
    Actor,
    Fault,
    Group,
    Param,
    shown,
)
from faults.near import did_you_mean

__all__ = [
    "AUDIT_STATEMENTS",
    "CATALOGUE",
    "VALID_VERDICTS",
    "Actor",
    "Fault",
    "Group",
    "Param",
    "UnknownFaultError",
    "find",
]


class UnknownFaultError(ValueError):
    """No fault of that name; the message offers the nearest."""


#: All faults by name, in the order of their numbers.
CATALOGUE: dict[str, Fault] = {
    fault.name: fault
    for fault in sorted(
        (
            *content.FAULTS,
            *stray.FAULTS,
            *ring.FAULTS,
            *pace.FAULTS,
            *nic.FAULTS,
            *resource.FAULTS,
            *process.FAULTS,
            *setup.FAULTS,
        ),
        key=lambda fault: fault.number,
    )
}


def find(name: str) -> Fault:
    """Return the fault of that name.

    Raises:
        UnknownFaultError: There is none; the message offers the nearest name.
    """
    fault = CATALOGUE.get(name)
    if fault is not None:
        return fault
    hint = did_you_mean(name, CATALOGUE) or "'zcrx-emu faults list' shows what there is"
    raise UnknownFaultError(f"faults: {shown(name)} is not a fault; {hint}")
