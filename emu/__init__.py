"""Linux io_uring zero-copy receive in user space: real processes, real shared memory.

- a whole run: :class:`RunConfig`, :func:`run`, :class:`Session`, :class:`Report`
- a consumer of one's own: :class:`Consumer`, :class:`Completion`
- the provider step by step: :class:`StepProvider`, and its specification :class:`ModelProvider`
- what they answer in: :class:`Verdict`, :class:`Judgement`, :class:`ProviderState`
- what goes wrong: :class:`EmuError` and its kinds
"""

from emu.config import Overload, Pace, ReturnOrder, RunConfig, Verify
from emu.consumer import Completion, Consumer
from emu.errors import (
    ConfigError,
    EmuError,
    EnvironmentProblem,
    LayoutError,
    StateError,
    TrafficError,
)
from emu.model import ModelProvider
from emu.report import Report, Statement
from emu.sample import Sample
from emu.session import Session, interruptible, run
from emu.state import Judgement, PoolPhase, PoolState, ProviderState, Verdict
from emu.stepping import StepProvider

__all__ = [
    "Completion",
    "ConfigError",
    "Consumer",
    "EmuError",
    "EnvironmentProblem",
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
