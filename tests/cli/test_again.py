"""The line that repeats a run: read back by the command itself, it makes the same configuration."""

from __future__ import annotations

import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from emu.cli import app, commands
from emu.cli.again import WITHOUT_OPTION, options
from emu.config import GrantOrder, Overload, Pace, ReturnOrder, RunConfig, Verify
from faults import parse_plan


def read_back(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> RunConfig:
    """What the command makes of its options; nothing is run."""
    made: list[RunConfig] = []

    def note(_console: Any, config: RunConfig, _folder: Path | None, **_options: object) -> None:
        made.append(config)

    monkeypatch.setattr(commands, "run_stress", note)
    monkeypatch.setattr(commands, "finish", lambda *_: None)
    app(["stress", *words], standalone_mode=False)
    (config,) = made
    return config


#: Of each field that has an option, a value that is not its default.
OTHER: dict[str, Any] = {
    "seed": 2**64 - 1,
    "traffic": "synthetic:flows=3,kind=raw,size=64-1448",
    "duration_s": 2.25,
    "packets": 10**6,
    "laps": 7,
    "queues": 3,
    "area_buffers": 4096,
    "areas": "1:5000",
    "rq_entries": 64,
    "cq_entries": 128,
    "ptr_ring_size": 5,
    "grant_entries": 16,
    "grant_order": GrantOrder.NEWEST,
    "in_flight": 7,
    "initial_index": 2**32 - 5,
    "pace": Pace.ORIGINAL,
    "overload": Overload.DROP,
    "wait_ms": 0,
    "copy_every": 9,
    "verify": Verify.NONE,
    "return_order": ReturnOrder.LIFO,
    "hold": 1,
    "kernel": "7.3",
    "rx_buf_len": 16384,
    "strict_alias": True,
    "pin": False,
    "plan": parse_plan("bad-pad:0.25:queue=0,slow:at=1+3+7:us=5"),
    "provider": "/some where/it's mine.so",
    "consumer": "buggy:double",
    "poison": False,
    "respawn": True,
}


def test_every_field_has_an_option_or_is_known_to_have_none() -> None:
    assert {item.name for item in fields(RunConfig) if item.init} == {*OTHER, *WITHOUT_OPTION}


@pytest.mark.parametrize("name", [*OTHER, "all of them"])
def test_options_are_read_back_as_the_same_configuration(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    chosen: dict[str, Any] = {"seed": 3, "duration_s": 1.0}
    if name == "rx_buf_len":
        chosen["kernel"] = "7.1"  # others have no such thing
    chosen |= OTHER if name == "all of them" else {name: OTHER[name]}
    config = RunConfig(**chosen)
    again = read_back(monkeypatch, shlex.split(options(config.as_dict())))
    assert again.as_dict() == config.as_dict()


def test_what_is_at_its_default_is_left_out() -> None:
    assert options(RunConfig(seed=5, packets=9000).as_dict()) == "--seed 5 --packets 9000"


def test_receiver_is_not_told_what_it_decides_by_itself() -> None:
    config = RunConfig(seed=5, traffic="tcp:127.0.0.1:0", connections=1, rq_entries=64)
    assert options(config.as_dict()) == "--seed 5 --rq-entries 64"
