"""Whoever watches a run being set up, as those see it who make its parts."""

from __future__ import annotations

import mmap
from typing import Protocol

from emu.core import Shape


class SetupSteps(Protocol):
    """Is told of each step before it is taken, and may have it fail."""

    def step(self, name: str) -> None:
        """A step is about to be taken.

        Raises:
            RefusedStep: It fails on purpose.
        """

    def fill_rings(self, shape: Shape, queue: int, rings: mmap.mmap) -> None:
        """Fresh memory of a queue's rings, before it is formatted."""
