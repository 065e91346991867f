"""Fault plans: which faults, when, and where.

A plan is a list of rules. In its compact form rules are separated by commas,
and what a rule consists of by colons::

    bad-index:0.01:value=count:queue=1,early-return:every=1000:delay=128,double-return:at=500

Triggers count *ordinals*: the valid RQEs of a queue, the packets of a queue, or
milliseconds of traffic, depending on who misbehaves (:attr:`Actor.ordinal`).
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from faults.custom import find, split_items
from faults.fault import FIELDS, PARAMS_MAX, VALID_VERDICTS, Actor, Fault, shown
from faults.near import did_you_mean

RULES_MAX = 254  #: an RQE's intent has a byte for its rule
AT_MAX = 65536  #: ordinals of one rule, at most
QUEUES_MAX = 64
FLOWS_MAX = 2**24
ORDINAL_MAX = 2**64 - 1  #: as ``last``: no end
NO_ORDINAL = ORDINAL_MAX  #: as a compiled ``at``: none

_TRIGGERS = ("probability", "every", "at")
_ENDINGS = {1: "st", 2: "nd", 3: "rd"}
_AT_SHOWN = 8  #: of a long list: so many ordinals are shown, and how many there are
_PROBABILITY_ALLOWED = "it must be a number from 0 to 1, or 0% to 100%"


def _nth(number: int) -> str:
    """``1000th`` and a space; nothing for 1."""
    if number == 1:
        return ""
    ending = "th" if number % 100 in (11, 12, 13) else _ENDINGS.get(number % 10, "th")
    return f"{number}{ending} "


class PlanError(ValueError):
    """A plan that cannot be; the message names the rule, the value and what is allowed."""

    def __init__(self, text: str, *, field: str = "", position: int | None = None) -> None:
        super().__init__(f"faults: {text}")
        self.text = text  #: without the word in front
        self.field = field  #: the field or parameter that it is about, if it is about one
        self.position = position  #: the rule's place in the plan, if known


def _refuse(fault: Fault, field: str, value: object, allowed: str) -> PlanError:
    text = f"{fault.name}: {field}: {shown(value)} is not allowed; it must be {allowed}"
    return PlanError(text, field=field)


@dataclass(frozen=True, slots=True)
class PlanRule:
    """One rule: a fault, when it fires, and where.

    At most one of ``probability``, ``every`` and ``at`` is given; a rule without
    any of them never fires. Missing ``params`` are filled up with the fault's
    defaults.

    Raises:
        PlanError: A value is out of range, or two of them contradict each other.
    """

    fault: Fault
    probability: float = 0.0  #: at each ordinal, 0..1
    every: int = 0  #: fire at each n-th ordinal; 0 = not this trigger
    #: fire at this ordinal, counted from 0, or at each of these; None = not this trigger
    at: int | tuple[int, ...] | None = None
    first: int = 0  #: the rule is asleep before this ordinal
    last: int = ORDINAL_MAX  #: and after this one
    limit: int = 0  #: firings at most; 0 = no limit
    after: str | None = None  #: asleep until this other fault of the plan has fired
    queue: int | None = None  #: this queue only; None = each
    flow: int | None = None  #: where it is about this flow of the queue only; None = each
    params: tuple[int, ...] = ()  #: as compiled, in the order in which the fault declares them

    def __post_init__(self) -> None:
        self._check_triggers()
        self._check_int("from", self.first, 0, ORDINAL_MAX)
        self._check_int("until", self.last, 0, ORDINAL_MAX)
        if self.first > self.last:
            raise _refuse(self.fault, "from", self.first, f"at most until, {self.last}")
        for ordinal in self.ordinals:
            if not self.first <= ordinal <= self.last:
                window = f"{self.first} to {self.last}, as from and until say"
                raise _refuse(self.fault, "at", ordinal, window)
        self._check_int("limit", self.limit, 0, ORDINAL_MAX)
        if self.queue is not None:
            self._check_int("queue", self.queue, 0, QUEUES_MAX - 1)
            if not self.fault.per_queue:
                text = f"{self.fault.name}: queue: it concerns all queues; leave queue out"
                raise PlanError(text, field="queue")
        if self.flow is not None:
            self._check_int("flow", self.flow, 0, FLOWS_MAX - 1)
            if not self.fault.per_flow:
                text = f"{self.fault.name}: flow: it is about no flow; leave flow out"
                raise PlanError(text, field="flow")
        if self.fault.asked_once:
            self._check_asked_once()
        self._fill_params()

    def _check_asked_once(self) -> None:
        """Such a fault has one ordinal, 0: what can never be due then is a mistake."""
        only = "0: it is asked once, when the instance is set up"
        for field, value in (("at", self.at or 0), ("from", self.first)):
            if value != 0:
                raise _refuse(self.fault, field, value, only)
        if self.after is not None:
            text = f"{self.fault.name}: after: it is asked before all others; leave after out"
            raise PlanError(text, field="after")

    def _check_int(self, field: str, value: object, low: int, high: int) -> None:
        is_int = isinstance(value, int) and not isinstance(value, bool)
        if not (is_int and low <= value <= high):  # type: ignore[operator]
            raise _refuse(self.fault, field, value, f"a whole number of {low} to {high}")

    def _check_triggers(self) -> None:
        value = self.probability
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (is_number and 0 <= value <= 1):
            text = f"{self.fault.name}: probability {shown(value)} is out of range; "
            raise PlanError(text + _PROBABILITY_ALLOWED, field="probability")
        object.__setattr__(self, "probability", float(value))
        self._check_int("every", self.every, 0, ORDINAL_MAX)
        if self.at is not None:
            self._check_at()
        if (self.probability != 0) + (self.every != 0) + (self.at is not None) > 1:
            raise PlanError(f"{self.fault.name} has two triggers; give a probability, every or at")

    def _check_at(self) -> None:
        """Check the ordinals and keep them in order; a list of one is that one."""
        given = self.at if isinstance(self.at, tuple) else (self.at,)
        for ordinal in given:
            self._check_int("at", ordinal, 0, NO_ORDINAL - 1)
        ordinals: list[int] = sorted(given)  # type: ignore[arg-type]
        if not 1 <= len(ordinals) <= AT_MAX:
            text = f"{self.fault.name}: at: {len(ordinals)} ordinals are not allowed; "
            raise PlanError(f"{text}there must be 1 to {AT_MAX}", field="at")
        for one, other in itertools.pairwise(ordinals):
            if one == other:
                text = f"{self.fault.name}: at: {one} is given twice; give it once"
                raise PlanError(text, field="at")
        object.__setattr__(self, "at", tuple(ordinals) if len(ordinals) > 1 else ordinals[0])

    @property
    def ordinals(self) -> tuple[int, ...]:
        """All that ``at`` says; empty if it says nothing."""
        if isinstance(self.at, tuple):
            return self.at
        return () if self.at is None else (self.at,)

    def _fill_params(self) -> None:
        declared = self.fault.params
        if not isinstance(self.params, tuple) or len(self.params) > len(declared):
            raise _refuse(self.fault, "params", self.params, f"a tuple of up to {len(declared)}")
        for param, value in zip(declared, self.params, strict=False):
            is_int = isinstance(value, int) and not isinstance(value, bool)
            if not (is_int and param.is_compiled(value)):
                raise _refuse(self.fault, param.name, value, param.allowed)
        rest = self.fault.defaults[len(self.params) :]
        object.__setattr__(self, "params", self.params + rest)

    def __str__(self) -> str:
        """The compact form, without what is left at its default."""
        return self._text("+".join(map(str, self.ordinals)))

    @property
    def brief(self) -> str:
        """The same, but of many ordinals only the first: for people, not to be read back."""
        ordinals = self.ordinals
        text = "+".join(map(str, ordinals[:_AT_SHOWN]))
        more = len(ordinals) - _AT_SHOWN
        return self._text(f"{text}+({more} more)" if more > 0 else text)

    def _text(self, at: str) -> str:
        items = [self.fault.name]
        if self.at is not None:
            items.append(f"at={at}")
        elif self.every:
            items.append(f"every={self.every}")
        else:
            # repr() and not a rounded form: what is read back must be the same rule.
            items.append(repr(self.probability))
        if self.first:
            items.append(f"from={self.first}")
        if self.last != ORDINAL_MAX:
            items.append(f"until={self.last}")
        if self.limit:
            items.append(f"limit={self.limit}")
        if self.after is not None:
            items.append(f"after={self.after}")
        if self.queue is not None:
            items.append(f"queue={self.queue}")
        if self.flow is not None:
            items.append(f"flow={self.flow}")
        for param, value in zip(self.fault.params, self.params, strict=True):
            if value != param.default:
                items.append(f"{param.name}={param.text(value)}")
        return ":".join(items)

    @property
    def words(self) -> str:
        """When and where it fires, in words."""
        what = self.fault.ordinal
        if self.fault.asked_once and (self.at is not None or self.every or self.probability):
            text = "when the instance is set up"
            if 0 < self.probability < 1:
                text += f", with probability {self.probability:.6g}"
        elif self.at is not None:
            ordinals = self.ordinals
            text = f"at {what} {', '.join(map(str, ordinals[:_AT_SHOWN]))}"
            if len(ordinals) > _AT_SHOWN:
                text += f", … ({len(ordinals)} in all)"
        elif self.every:
            text = f"at every {_nth(self.every)}{what}"
        elif self.probability:
            text = f"at each {what} with probability {self.probability:.6g}"
        else:
            text = "never"
        if self.first:
            text += f", from number {self.first}"
        if self.last != ORDINAL_MAX:
            text += f", until number {self.last}"
        if self.limit:
            text += ", once" if self.limit == 1 else f", at most {self.limit} times"
        if self.after is not None:
            text += f", after {self.after} has fired"
        if self.fault.per_queue:
            text += ", on each queue" if self.queue is None else f", on queue {self.queue}"
        if self.flow is not None:
            text += f", where it is of flow {self.flow}"
        return text

    @property
    def named_params(self) -> dict[str, str]:
        """The parameters as they are typed, defaults included."""
        return {
            param.name: param.text(value)
            for param, value in zip(self.fault.params, self.params, strict=True)
        }

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; None where nothing is said."""
        return {
            "fault": self.fault.name,
            "probability": None if self.every or self.at is not None else self.probability,
            "every": self.every or None,
            "at": list(self.at) if isinstance(self.at, tuple) else self.at,
            "from": self.first,
            "until": None if self.last == ORDINAL_MAX else self.last,
            "limit": self.limit or None,
            "after": self.after,
            "queue": self.queue,
            "flow": self.flow,
            "params": self.named_params,
            "verdicts": sorted(self.fault.verdicts),
            "text": str(self),
            "words": self.words,
        }


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """One rule in numbers only, as the C side takes it."""

    number: int  #: of the fault
    actor: Actor
    probability: float  #: 0 when another trigger is given
    every: int  #: 0 = not this trigger
    at: int  #: ``NO_ORDINAL`` = not this trigger; of a list, the first
    first: int
    last: int
    limit: int  #: 0 = no limit
    after: int  #: position of the other rule + 1; 0 = none
    queue: int  #: -1 = each
    flow: int  #: number + 1; 0 = each
    params: tuple[int, int, int, int]  #: those that the fault does not have are 0
    at_list: tuple[int, ...] = ()  #: ascending; empty = at most one ordinal


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
        def refuse(why: str) -> PlanError:
            text = f"rule {position + 1}: {rule.fault.name}: after: {shown(rule.after)} {why}"
            return PlanError(text, field="after", position=position)

        if rule.after is None:
            return
        if rule.after == rule.fault.name:
            raise refuse("is the rule's own fault; name another one")
        names = [other.fault.name for other in self.rules if other.fault != rule.fault]
        if not isinstance(rule.after, str) or rule.after not in names:
            hint = did_you_mean(str(rule.after), names) or (
                f"name one of {', '.join(dict.fromkeys(names))}" if names else "it has no other one"
            )
            raise refuse(f"is no fault of this plan; {hint}")
        seen: set[int | None] = {position}
        other = self._find(rule.after)
        assert other is not None
        if self.rules[other].fault.actor is not rule.fault.actor:
            raise refuse("acts in another process; name a fault of the same actor")
        while other is not None and other not in seen:
            seen.add(other)
            name = self.rules[other].after
            other = None if name is None else self._find(name)
        if other == position:
            raise refuse("waits for this rule in turn, so neither can ever fire")

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
        one, two, three, four = (*rule.params, *(0,) * (PARAMS_MAX - len(rule.params)))
        return CompiledRule(
            number=rule.fault.number,
            actor=rule.fault.actor,
            probability=rule.probability,
            every=rule.every,
            at=rule.ordinals[0] if rule.ordinals else NO_ORDINAL,
            first=rule.first,
            last=rule.last,
            limit=rule.limit,
            after=0 if after is None else after + 1,
            queue=-1 if rule.queue is None else rule.queue,
            flow=0 if rule.flow is None else rule.flow + 1,
            params=(one, two, three, four),
            at_list=rule.at if isinstance(rule.at, tuple) else (),
        )

    def check_queues(self, count: int) -> None:
        """Hold the rules' scopes against the number of queues of a run.

        Raises:
            PlanError: A rule is about a queue that the run does not have.
        """
        for position, rule in enumerate(self.rules):
            if rule.queue is not None and rule.queue >= count:
                allowed = f"0 to {count - 1}" if count > 1 else "0: the run has one queue"
                error = _refuse(rule.fault, "queue", rule.queue, allowed)
                text = f"rule {position + 1}: {error.text}"
                raise PlanError(text, field="queue", position=position)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"text": str(self), "rules": [rule.as_dict() for rule in self.rules]}


# ---- Reading ------------------------------------------------------------------------------------


def make_rule(fault: Fault, fields: Mapping[str, object], params: Mapping[str, object]) -> PlanRule:
    """Make a rule of what a plan says, by the names that plans use (:data:`FIELDS`).

    Raises:
        PlanError: An unknown name, no trigger or two, or what :class:`PlanRule` refuses.
    """
    name = fault.name
    for field in fields:
        if field not in FIELDS:
            known = [*FIELDS, "params"]
            hint = did_you_mean(field, known) or f"known are {', '.join(known)}"
            text = f"{name}: {shown(field)} is no field of a rule; {hint}"
            raise PlanError(text, field=field)
    given = [trigger for trigger in _TRIGGERS if trigger in fields]
    if not given:
        raise PlanError(
            f"{name} has no trigger; write {name}:0.01 (a probability), every=N or at=N"
        )
    if len(given) > 1:
        text = f"{name} has two triggers, {' and '.join(given)}; give one of them"
        raise PlanError(text, field=given[1])
    every = fields.get("every", 0)
    if "every" in fields and every == 0:
        raise _refuse(fault, "every", every, f"a whole number of 1 to {ORDINAL_MAX}")
    limit = fields.get("limit", 0)
    if "limit" in fields and limit == 0:
        raise _refuse(fault, "limit", limit, f"a whole number of 1 to {ORDINAL_MAX}")
    once = fields.get("once", False)
    if not isinstance(once, bool):
        raise _refuse(fault, "once", once, "true or false")
    if once and "limit" in fields:
        raise PlanError(f"{name} has once and limit; give one of them", field="once")
    after = fields.get("after")
    if after is not None and not isinstance(after, str):
        raise _refuse(fault, "after", after, "the name of another fault of the plan")
    values: dict[str, Any] = {
        "probability": fields.get("probability", 0.0),
        "every": every,
        "at": _plain_at(fields.get("at")),
        "first": fields.get("from", 0),
        "last": fields.get("until", ORDINAL_MAX),
        "limit": 1 if once else limit,
        "queue": fields.get("queue"),
        "flow": fields.get("flow"),
    }
    return PlanRule(fault, after=after, params=_compile_params(fault, params), **values)


def _plain_at(value: object) -> object:
    """A list, as files have it, as a tuple; everything else is judged by the rule."""
    return tuple(value) if isinstance(value, list) else value


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


def _parse_probability(name: str, text: str) -> float:
    try:
        value = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise PlanError(
            f"{name}: {shown(text)} is not a probability; {_PROBABILITY_ALLOWED}"
        ) from None
    if not (math.isfinite(value) and 0 <= value <= 1):
        raise PlanError(f"{name}: probability {text[:40]} is out of range; {_PROBABILITY_ALLOWED}")
    return value


def _number_or_word(text: str) -> int | str:
    """Digits as a number; anything else stays as it is, for those who check to refuse it."""
    return int(text) if re.fullmatch(r"[0-9]{1,20}", text) else text


def _ordinals(text: str) -> int | str | list[int | str]:
    """One ordinal, or several with ``+`` in between."""
    if "+" not in text:
        return _number_or_word(text)
    return [_number_or_word(part.strip()) for part in text.split("+")]


def _parse_rule(text: str) -> PlanRule:
    name, *items = split_items(text)
    fault = find(name)
    fields: dict[str, object] = {}
    params: dict[str, object] = {}
    for item in items:
        key, equals, value = (part.strip() for part in item.partition("="))
        target = fields
        parsed: object
        if item == "once":
            parsed = True
        elif not equals or key == "p":
            key = "probability"
            parsed = _parse_probability(name, value if equals else item)
        elif key == "after":
            parsed = value
        elif key == "at":
            parsed = _ordinals(value)
        elif key in FIELDS and key not in ("probability", "once"):
            parsed = _number_or_word(value)
        elif any(param.name == key for param in fault.params):
            target, parsed = params, _number_or_word(value)
        else:
            known = ["p", *FIELDS[1:], *(param.name for param in fault.params)]
            hint = did_you_mean(key, known) or f"known are {', '.join(known)}"
            raise PlanError(f"{name}: {shown(key)} is neither a field nor a parameter; {hint}")
        if key in target:
            raise PlanError(f"{name}: {key} is given twice; give it once")
        target[key] = parsed
    return make_rule(fault, fields, params)


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
