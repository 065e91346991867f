"""What runs out on the kernel side, although it is there."""

from __future__ import annotations

from faults.fault import Fault

FAULTS: tuple[Fault, ...] = ()
