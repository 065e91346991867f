"""What a process of each role is told when it starts: its parameters, and its rules of the plan."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from emu.config import GrantOrder, Overload, Pace, ReturnOrder, RunConfig, Verify
from emu.runtime import custom_faults
from faults import Actor, Plan

_VERIFY = {Verify.NONE: 0, Verify.TOUCH: 1, Verify.CRC: 2}
_ORDER = {ReturnOrder.FIFO: 0, ReturnOrder.LIFO: 1, ReturnOrder.SHUFFLE: 2}


def nic_setup(config: RunConfig) -> dict[str, Any]:
    """What the NIC process is told."""
    wait_ms = config.wait_ms if config.overload is Overload.WAIT else 0
    return {
        "nic": {
            "packets_max": config.packets,
            "laps_max": config.laps,
            "wait_max_ns": wait_ms * 1_000_000,
            "paced": int(config.pace is Pace.ORIGINAL),
            "copy_every": config.copy_every,
            "connections_max": config.connections,
            "seed": config.seed,
            "newest_first": int(config.grant_order is GrantOrder.NEWEST),
        },
        "rules": rules_of(config.plan, Actor.NIC),
    }


def provider_setup(config: RunConfig, run_dir: Path | None) -> dict[str, Any]:
    """What the provider process is told; the folder is for its last word."""
    return {
        "window": config.in_flight and config.in_flight + config.hold,
        "seed": config.seed,
        "rules": rules_of(config.plan, Actor.PROVIDER),
        "run_dir": None if run_dir is None else str(run_dir),
        "config": config.as_dict(),
    }


def consumer_setup(
    config: RunConfig, queue: int, *, position: int, stop_at_end: int, library: str | None = None
) -> dict[str, Any]:
    """What a queue's consumer process is told.

    Args:
        config: The run's.
        queue: Which.
        position: RQEs of the queue that were consumed before.
        stop_at_end: It finishes after so many flows ended; 0 = never.
        library: Of a consumer in C; None: it is none.
    """
    return {
        "queue": queue,
        "consumer": {
            "verify": _VERIFY[config.verify],
            "return_order": _ORDER[config.return_order],
            "hold": config.hold,
            "recheck_every": config.recheck_every,
            "stop_at_end": stop_at_end,
            "seed": config.seed,
            "queues": config.queues,
            "position": position,
        },
        "rules": rules_of(config.plan, Actor.CONSUMER, queue),
        "custom": [
            custom_faults.as_message(at, rule)
            for at, rule in enumerate(config.plan.rules)
            if rule.fault.source and rule.queue in (None, queue)
        ],
        "function": config.consumer,
        "library": library,
        "poison": config.poison and config.consumer != "builtin",
        "sys_path": [*sys.path, config.modules_from or str(Path.cwd())],
    }


def rules_of(plan: Plan, actor: Actor, queue: int | None = None) -> list[dict[str, Any]]:
    """The plan as one actor gets it: the others' rules keep their place, and never fire."""
    rules = []
    for rule, compiled in zip(plan.rules, plan.compiled(), strict=True):
        message = vars(compiled).copy()
        number, is_mine = message.pop("number"), message.pop("actor") is actor
        is_mine = is_mine and (queue is None or compiled.queue in (-1, queue))
        rules.append(
            message
            | {
                "kind": number if is_mine else 0,
                # Long lists go only to whom they are about.
                "at_list": compiled.at_list if is_mine else (),
                "custom": custom_faults.identity(rule.fault),
                "custom_verdicts": custom_faults.verdict_mask(rule.fault),
            }
        )
    return rules
