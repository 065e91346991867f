"""Plans as they are typed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from emu.errors import ConfigError
from faults import Plan, PlanError, UnknownFaultError, load_plan


@contextlib.contextmanager
def plan_errors() -> Iterator[None]:
    """Let the fault layer's errors be answered like any other wrong use."""
    try:
        yield
    except (PlanError, UnknownFaultError) as error:
        raise ConfigError(str(error)) from None


def plan_of(text: str, queues: int | None) -> Plan:
    """Load a plan, for a run of that many queues if it is known."""
    with plan_errors():
        plan = load_plan(text)
        if queues is not None and queues > 0:  # what is no number of queues is refused elsewhere
            plan.check_queues(queues)
        return plan
