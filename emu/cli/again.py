"""The options that repeat a run: made from its configuration, so that none can be forgotten."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from emu.config import RunConfig
from faults import PROFILES

#: How an option is called where it is not the field's name.
_CALLED = {"duration_s": "duration", "plan": "faults"}
#: What a receiver's command decides by itself.
_RECEIVERS = frozenset(
    {"seed", "plan", "area_buffers", "areas", "rq_entries", "kernel", "pin", "provider"}
)
#: Fields that only Python can set: no command has an option for them.
WITHOUT_OPTION = frozenset({"log_entries", "recheck_every", "connections", "modules_from"})


def options(config: Mapping[str, Any]) -> str:
    """Write the options of ``stress`` (of ``recv``, for its runs) that make a configuration.

    Args:
        config: As :meth:`RunConfig.as_dict` has it.

    Returns:
        Words as a shell reads them. The seed comes first; what is at its default is left out, and
        so is what no option can say (:data:`WITHOUT_OPTION`).
    """
    plain = RunConfig(seed=0).as_dict()
    is_receiver = bool(config.get("connections"))
    words = ["--seed", str(config["seed"])]
    for item in fields(RunConfig):
        name = item.name
        if name in WITHOUT_OPTION or name == "seed" or name not in config:
            continue
        if config[name] == plain[name] or (is_receiver and name not in _RECEIVERS):
            continue
        value = config[name]
        if name == "plan":  # a profile is a plan of a page, and its name says the same
            value = {str(item.plan): item.name for item in PROFILES.values()}.get(value, value)
        words += _option(_CALLED.get(name, name).replace("_", "-"), value)
    return shlex.join(words)


def _option(name: str, value: object) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return [f"--{name}", str(value)]
