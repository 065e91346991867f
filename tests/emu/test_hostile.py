"""Each hostile consumer earns the verdict that it must, in time, and leaves nothing."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from emu.verdict.report import Report

_SPEC = importlib.util.spec_from_file_location("hostile", Path(__file__).with_name("hostile.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
hostile = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(hostile)

#: Shown elsewhere, or the same for this process; ``python -m tools.attack --hostile`` has them all.
CHOSEN = (
    "consequence_kind",
    "consequence_rule",
    "counter_too_large",
    "scribble_lab",
    "says_list",
    "says_nothing",
    "says_zeros",
    "raises_surrogates",
    "raises_what_cannot_be_shown",
    "closes_everything",
    "takes_an_odd_name",
)


@pytest.mark.parametrize("kind", CHOSEN)
def test_hostile_consumer_gets_its_verdict(
    run_small: Callable[..., Report], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    report = run_small(consumer=f"hostile:{kind}", packets=2000)
    assert report.ok is (hostile.KINDS[kind] == hostile.PASS), report.problems
    json.dumps(report.as_dict()).encode()
    assert all(problem.isprintable() for problem in report.problems)


def test_every_kind_is_there() -> None:
    assert set(hostile.kinds()) == set(hostile.KINDS)
    assert set(CHOSEN) <= set(hostile.KINDS)
