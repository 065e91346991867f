"""What goes wrong while an instance is set up."""

from __future__ import annotations

from faults.fault import Fault

FAULTS: tuple[Fault, ...] = ()
