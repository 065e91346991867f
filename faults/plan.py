"""Fault plans: which faults, when, and where.

A plan is a list of rules. In its compact form rules are separated by commas,
and what a rule consists of by colons::

    bad-index:0.01:value=count:queue=1,early-return:every=1000:delay=128,double-return:at=500

Triggers count *ordinals*: the valid RQEs of a queue, the packets of a queue, or
milliseconds of traffic, depending on who misbehaves (:attr:`Actor.ordinal`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from faults.custom import find, split_items
from faults.fault import VALID_VERDICTS, Fault, shown
from faults.near import did_you_mean
from faults.rule import (
    COMPACT_NAMES,
    FIELD_NAMES,
    FIELDS,
    CompiledRule,
    Field,
    PlanError,
    PlanRule,
    number_or_word,
    refuse,
)

RULES_MAX = 254  #: an RQE's intent has a byte for its rule


@dataclass(frozen=True, slots=True)
class Plan:
    """A list of rules, in the order in which they are asked; told apart by position.

    Raises:
        PlanError: Too many rules, or an ``after`` that can never come true.
    """

    rules: tuple[PlanRule, ...] = ()

    def __post_init__(self) -> None:
        if len(self.rules) > RULES_MAX:
            raise PlanError(f"{len(self.rules)} rules are too many; at most {RULES_MAX}")
        for position, rule in enumerate(self.rules):
            self._check_after(position, rule)

    def _find(self, name: str) -> int | None:
        """The position of a fault's first rule."""
        return next((i for i, rule in enumerate(self.rules) if rule.fault.name == name), None)

    def _check_after(self, position: int, rule: PlanRule) -> None:
        def wrong(why: str) -> PlanError:
            text = f"rule {position + 1}: {rule.fault.name}: after: {shown(rule.after)} {why}"
            return PlanError(text, field="after", position=position)

        if rule.after is None:
            return
        if rule.after == rule.fault.name:
            raise wrong("is the rule's own fault; name another one")
        names = [other.fault.name for other in self.rules if other.fault != rule.fault]
        if not isinstance(rule.after, str) or rule.after not in names:
            hint = did_you_mean(str(rule.after), names) or (
                f"name one of {', '.join(dict.fromkeys(names))}" if names else "it has no other one"
            )
            raise wrong(f"is no fault of this plan; {hint}")
        seen: set[int | None] = {position}
        other = self._find(rule.after)
        assert other is not None
        if self.rules[other].fault.actor is not rule.fault.actor:
            raise wrong("acts in another process; name a fault of the same actor")
        while other is not None and other not in seen:
            seen.add(other)
            name = self.rules[other].after
            other = None if name is None else self._find(name)
        if other == position:
            raise wrong("waits for this rule in turn, so neither can ever fire")

    def __str__(self) -> str:
        """The compact form; ``none`` for the empty plan."""
        return ",".join(map(str, self.rules)) or "none"

    @property
    def brief(self) -> str:
        """The compact form for people, with long lists of ordinals cut short."""
        return ",".join(rule.brief for rule in self.rules) or "none"

    @property
    def legal(self) -> tuple[frozenset[str], ...]:
        """Verdict labels that each intent may earn: valid entries first, then each rule."""
        return (VALID_VERDICTS, *(rule.fault.verdicts for rule in self.rules))

    def compiled(self) -> tuple[CompiledRule, ...]:
        """The rules in numbers, in the same order."""
        return tuple(self._compile(rule) for rule in self.rules)

    def _compile(self, rule: PlanRule) -> CompiledRule:
        after = None if rule.after is None else self._find(rule.after)
        return rule.compiled(0 if after is None else after + 1)

    def check_queues(self, count: int) -> None:
        """Hold the rules' scopes against the number of queues of a run.

        Raises:
            PlanError: A rule is about a queue that the run does not have.
        """
        for position, rule in enumerate(self.rules):
            if rule.queue is not None and rule.queue >= count:
                allowed = f"0 to {count - 1}" if count > 1 else "0: the run has one queue"
                error = refuse(rule.fault, "queue", rule.queue, allowed)
                text = f"rule {position + 1}: {error.text}"
                raise PlanError(text, field="queue", position=position)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"text": str(self), "rules": [rule.as_dict() for rule in self.rules]}


# ---- Reading ------------------------------------------------------------------------------------


def make_rule(fault: Fault, said: Mapping[str, object], params: Mapping[str, object]) -> PlanRule:
    """Make a rule of what a plan says, by the names that plans use (:data:`FIELD_NAMES`).

    Raises:
        PlanError: An unknown name, no trigger or two, or what :class:`PlanRule` refuses.
    """
    name = fault.name
    for field in said:
        if field not in FIELD_NAMES:
            known = [*FIELD_NAMES, "params"]
            hint = did_you_mean(field, known) or f"known are {', '.join(known)}"
            text = f"{name}: {shown(field)} is no field of a rule; {hint}"
            raise PlanError(text, field=field)
    given = [field.name for field in FIELDS.values() if field.is_trigger and field.name in said]
    if not given:
        raise PlanError(
            f"{name} has no trigger; write {name}:0.01 (a probability), every=N or at=N"
        )
    if len(given) > 1:
        text = f"{name} has two triggers, {' and '.join(given)}; give one of them"
        raise PlanError(text, field=given[1])
    values = {key: _value_of(fault, field, said) for key, field in FIELDS.items()}
    return PlanRule(fault, params=_compile_params(fault, params), **values)


def _value_of(fault: Fault, field: Field, said: Mapping[str, object]) -> Any:
    """What a plan says of a field; what of it only the rule can know is judged there."""
    value = said.get(field.name, field.unset)
    if field.least and field.name in said and value == 0:
        allowed = f"a whole number of {field.least} to {field.high}"
        raise refuse(fault, field.name, value, allowed)
    if field.is_name and value is not None and not isinstance(value, str):
        raise refuse(fault, field.name, value, "the name of another fault of the plan")
    flag = said.get(field.flag, False)
    if not isinstance(flag, bool):
        raise refuse(fault, field.flag, flag, "true or false")
    if flag and field.name in said:
        text = f"{fault.name} has {field.flag} and {field.name}; give one of them"
        raise PlanError(text, field=field.flag)
    if flag:
        return 1
    return tuple(value) if field.is_list and isinstance(value, list) else value


def _compile_params(fault: Fault, given: Mapping[str, object]) -> tuple[int, ...]:
    declared = {param.name: param for param in fault.params}
    for name in given:
        if name not in declared:
            known = f"it has {', '.join(declared)}" if declared else "it has none"
            text = f"{fault.name}: {shown(name)} is no parameter of it; "
            raise PlanError(text + (did_you_mean(name, declared) or known), field=name)
    values = []
    for param in fault.params:
        try:
            values.append(
                param.compile(given[param.name]) if param.name in given else param.default
            )
        except ValueError as error:
            raise PlanError(f"{fault.name}: {param.name}: {error}", field=param.name) from None
    return tuple(values)


_COMPACT = {field.compact or field.name: field for field in FIELDS.values()}
_FLAGS = {field.flag for field in FIELDS.values() if field.flag}


def _parse_rule(text: str) -> PlanRule:
    name, *items = split_items(text)
    fault = find(name)
    said: dict[str, object] = {}
    params: dict[str, object] = {}
    for item in items:
        key, equals, value = (part.strip() for part in item.partition("="))
        target = said
        parsed: object
        if item in _FLAGS:
            parsed = True
        elif not equals or key in _COMPACT:
            field = _COMPACT[key] if equals else FIELDS["probability"]
            key = field.name
            try:
                parsed = field.read(value if equals else item)
            except ValueError as error:
                raise PlanError(f"{name}: {error}") from None
        elif any(param.name == key for param in fault.params):
            target, parsed = params, number_or_word(value)
        else:
            known = [*COMPACT_NAMES, *(param.name for param in fault.params)]
            hint = did_you_mean(key, known) or f"known are {', '.join(known)}"
            raise PlanError(f"{name}: {shown(key)} is neither a field nor a parameter; {hint}")
        if key in target:
            raise PlanError(f"{name}: {key} is given twice; give it once")
        target[key] = parsed
    return make_rule(fault, said, params)


def parse_plan(text: str) -> Plan:
    """Parse the compact form; the empty string and ``none`` are the empty plan.

    Raises:
        PlanError: A rule is malformed, or the rules contradict each other.
        UnknownFaultError: No such fault.
    """
    if text.strip() in ("", "none"):
        return Plan()
    parts = [part.strip() for part in text.split(",")]
    rules: list[PlanRule] = []
    for position, part in enumerate(parts):
        if not part.partition(":")[0].strip():
            raise PlanError(f"{shown(text)} has an empty rule; write NAME:PROBABILITY,…")
        try:
            rules.append(_parse_rule(part))
        except PlanError as error:
            where = f"rule {position + 1}: " if len(parts) > 1 else ""
            raise PlanError(where + error.text, field=error.field, position=position) from None
    return Plan(tuple(rules))
