"""Fault plans: which faults, how often.

The compact form is ``NAME:PROBABILITY,NAME:PROBABILITY,…``, for example
``bad-pad:0.01,bad-index:5%``. The probability is per valid RQE; each firing
puts one malformed entry in front of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from faults.catalogue import VALID_VERDICTS, Fault, find

RULES_MAX = 64


class PlanError(ValueError):
    """A plan that cannot be; the message names the rule, the value and what is allowed."""


@dataclass(frozen=True, slots=True)
class PlanRule:
    """One rule: a fault and when it fires."""

    fault: Fault
    probability: float  #: per valid RQE, 0..1


@dataclass(frozen=True, slots=True)
class Plan:
    """A list of rules, in the order in which they are asked."""

    rules: tuple[PlanRule, ...] = ()

    def __str__(self) -> str:
        """The compact form; ``none`` for the empty plan."""
        # repr() and not a rounded form: what is read back must be the same plan.
        return ",".join(f"{r.fault.name}:{r.probability!r}" for r in self.rules) or "none"

    @property
    def legal(self) -> tuple[frozenset[str], ...]:
        """Verdict labels that each intent may earn: valid entries first, then each rule."""
        return (VALID_VERDICTS, *(rule.fault.verdicts for rule in self.rules))


def _parse_probability(name: str, text: str) -> float:
    allowed = "it must be a number from 0 to 1, or 0% to 100%"
    try:
        value = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise PlanError(f"faults: {name}: {text!r} is not a probability; {allowed}") from None
    if not (math.isfinite(value) and 0 <= value <= 1):
        raise PlanError(f"faults: {name}: probability {text} is out of range; {allowed}")
    return value


def parse_plan(text: str) -> Plan:
    """Parse the compact form; the empty string and ``none`` are the empty plan.

    Raises:
        PlanError: A rule is malformed, a probability out of range, or a fault named twice.
        UnknownFaultError: No such fault.
    """
    if text.strip() in ("", "none"):
        return Plan()
    rules: list[PlanRule] = []
    for part in text.split(","):
        name, colon, probability = part.strip().partition(":")
        if not name:
            raise PlanError(f"faults: {text!r} has an empty rule; write NAME:PROBABILITY,…")
        fault = find(name)
        if not colon:
            raise PlanError(f"faults: {name} has no probability; write {name}:0.01")
        if any(rule.fault is fault for rule in rules):
            raise PlanError(f"faults: {name} is named twice; name each fault once")
        rules.append(PlanRule(fault, _parse_probability(name, probability)))
    if len(rules) > RULES_MAX:
        raise PlanError(f"faults: {len(rules)} rules are too many; at most {RULES_MAX}")
    return Plan(tuple(rules))
