"""Linux io_uring zero-copy receive in user space: real processes, real shared memory.

- a whole run: :class:`RunConfig`, :func:`run`, :class:`Session`, :class:`Report`
- a consumer of one's own: :class:`Consumer`, :class:`Completion`
- the provider step by step: :class:`StepProvider`, and its specification :class:`ModelProvider`
- what they answer in: :class:`Verdict`, :class:`Judgement`, :class:`ProviderState`
- what goes wrong: :class:`EmuError` and its kinds
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emu.config import GrantOrder, Overload, Pace, ReturnOrder, RunConfig, Verify
    from emu.consumer import Completion, Consumer
    from emu.errors import (
        ConfigError,
        EmuError,
        EnvironmentProblem,
        LayoutError,
        StateError,
        TrafficError,
    )
    from emu.runtime.sample import Sample
    from emu.runtime.session import Session, interruptible, run
    from emu.spec.model import ModelProvider
    from emu.spec.state import Judgement, PoolPhase, PoolState, ProviderState, Verdict
    from emu.spec.stepping import StepProvider
    from emu.verdict.report import Report, Statement

    __version__: str

__all__ = [
    "Completion",
    "ConfigError",
    "Consumer",
    "EmuError",
    "EnvironmentProblem",
    "GrantOrder",
    "Judgement",
    "LayoutError",
    "ModelProvider",
    "Overload",
    "Pace",
    "PoolPhase",
    "PoolState",
    "ProviderState",
    "Report",
    "ReturnOrder",
    "RunConfig",
    "Sample",
    "Session",
    "StateError",
    "Statement",
    "StepProvider",
    "TrafficError",
    "Verdict",
    "Verify",
    "interruptible",
    "run",
]

#: Where each is. They are imported when they are asked for: a command that begins must be able to
#: look after its descriptors and signals before anything else is loaded.
_HOME = {
    name: module
    for module, names in {
        "emu.config": ("GrantOrder", "Overload", "Pace", "ReturnOrder", "RunConfig", "Verify"),
        "emu.consumer": ("Completion", "Consumer"),
        "emu.errors": (
            "ConfigError",
            "EmuError",
            "EnvironmentProblem",
            "LayoutError",
            "StateError",
            "TrafficError",
        ),
        "emu.spec.model": ("ModelProvider",),
        "emu.verdict.report": ("Report", "Statement"),
        "emu.runtime.sample": ("Sample",),
        "emu.runtime.session": ("Session", "interruptible", "run"),
        "emu.spec.state": ("Judgement", "PoolPhase", "PoolState", "ProviderState", "Verdict"),
        "emu.spec.stepping": ("StepProvider",),
    }.items()
    for name in names
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("zcrx-emu")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
