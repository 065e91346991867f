"""Users' own faults in a consumer process: from the core's question to their answer and back."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from emu.core import CustomAnswer, CustomCall
from emu.errors import ConfigError, FaultFailed
from emu.spec.state import Verdict
from faults import Fault, PlanRule
from faults.custom import (
    AnswerError,
    Context,
    CustomFault,
    LoadError,
    Rqe,
    answer,
    describe,
    load_class,
)


def identity(fault: Fault) -> int:
    """Tell a user's fault from others: u32, 0 for those of the catalogue."""
    return (crc32(fault.source.encode()) or 1) if fault.source else 0


def verdict_mask(fault: Fault) -> int:
    """What the entries of a user's fault may earn, a bit for each verdict."""
    if not fault.source:
        return 0
    return sum(1 << verdict for verdict in Verdict if verdict.label in fault.verdicts)


def as_message(position: int, rule: PlanRule) -> dict[str, Any]:
    """What a consumer process must know of a rule to carry it out."""
    return {
        "rule": position,
        "name": rule.fault.name,
        "source": rule.fault.source,
        "params": list(rule.params),
    }


class _Earlier(Sequence[Rqe]):
    def __init__(self, raw: Sequence[tuple[int, int, int]]) -> None:
        self._raw = raw

    def __len__(self) -> int:
        return len(self._raw)

    def __getitem__(self, index: Any) -> Any:
        found = self._raw[index]
        return [Rqe(*one) for one in found] if isinstance(index, slice) else Rqe(*found)


@dataclass(frozen=True, slots=True)
class _Rule:
    name: str
    fault: CustomFault
    params: Mapping[str, int | str]


class CustomFaults:
    """All of a plan, in one consumer process.

    Args:
        messages: What :func:`as_message` made of each rule.
        num_niovs: Buffers of the area.
        niov_shift: log2 of a buffer's size.

    Raises:
        ConfigError: A class cannot be imported here.
    """

    def __init__(
        self, messages: Sequence[Mapping[str, Any]], *, num_niovs: int, niov_shift: int
    ) -> None:
        self._num_niovs = num_niovs
        self._niov_shift = niov_shift
        self._rules = {message["rule"]: _made(message) for message in messages}

    def ask(self, call: CustomCall) -> CustomAnswer:
        """Let a rule fire.

        Raises:
            FaultFailed: The fault raised, or returned what it must not.
        """
        rule = self._rules[call.rule]
        context = Context(
            queue=call.queue,
            ordinal=call.ordinal,
            position=call.position,
            random=random.Random(call.seed),
            num_niovs=self._num_niovs,
            niov_shift=self._niov_shift,
            params=rule.params,
            earlier=_Earlier(call.earlier),
            _take_area=call.take_area,
        )
        try:
            entries = answer(rule.fault, Rqe(*call.valid), context)
        except BaseException as error:
            where = f"fault {rule.name} at valid RQE {call.ordinal}"
            what = str(error) if isinstance(error, AnswerError) else repr(error)
            raise FaultFailed(f"{where}: {' '.join(what.split())}") from error
        if entries is None:
            return CustomAnswer()
        return CustomAnswer(tuple(entries), rule.fault.modifies)


def _made(message: Mapping[str, Any]) -> _Rule:
    source = message["source"]
    try:
        cls = load_class(source)
        described = describe(cls, message["name"], source)
    except LoadError as error:
        raise ConfigError(str(error)) from None
    try:
        fault = cls()
    except Exception as error:
        raise ConfigError(
            f"faults: {source}: it cannot be made without arguments ({error!r}); "
            "leave __init__ out or give each argument a default"
        ) from None
    params = {
        param.name: param.choices[value] if param.choices else value
        for param, value in zip(described.params, message["params"], strict=True)
    }
    return _Rule(message["name"], fault, params)
