"""One rule of a plan: a fault, when it fires, and where.

What a rule may say is declared once, as the attributes of :class:`PlanRule`: each has with it how
plans name it, what is allowed, and how it is written and compiled. Whatever reads or writes rules
goes by that.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from faults.fault import PARAMS_MAX, Fault, shown

AT_MAX = 65536  #: ordinals of one rule, at most
QUEUES_MAX = 64
FLOWS_MAX = 2**24
ORDINAL_MAX = 2**64 - 1  #: as ``last``: no end
NO_ORDINAL = ORDINAL_MAX  #: as a compiled ``at``: none

_ENDINGS = {1: "st", 2: "nd", 3: "rd"}
_AT_SHOWN = 8  #: of a long list: so many ordinals are shown, and how many there are
_PROBABILITY_ALLOWED = "it must be a number from 0 to 1, or 0% to 100%"


class PlanError(ValueError):
    """A plan that cannot be; the message names the rule, the value and what is allowed."""

    def __init__(self, text: str, *, field: str = "", position: int | None = None) -> None:
        super().__init__(f"faults: {text}")
        self.text = text  #: without the word in front
        self.field = field  #: the field or parameter that it is about, if it is about one
        self.position = position  #: the rule's place in the plan, if known


def refuse(fault: Fault, field: str, value: object, allowed: str) -> PlanError:
    """The error of a value that is not allowed."""
    text = f"{fault.name}: {field}: {shown(value)} is not allowed; it must be {allowed}"
    return PlanError(text, field=field)


# ---- What a field is -------------------------------------------------------------------------


def _check_number(rule: PlanRule, field: Field, value: Any) -> None:
    if value is None and field.unset is None:
        return
    is_int = isinstance(value, int) and not isinstance(value, bool)
    if not (is_int and 0 <= value <= field.high):
        raise refuse(rule.fault, field.name, value, f"a whole number of 0 to {field.high}")
    scope, why = field.scope
    if scope and not getattr(rule.fault, scope):
        text = f"{rule.fault.name}: {field.name}: {why}; leave {field.name} out"
        raise PlanError(text, field=field.name)


def _check_probability(rule: PlanRule, field: Field, value: Any) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (is_number and 0 <= value <= 1):
        text = f"{rule.fault.name}: probability {shown(value)} is out of range; "
        raise PlanError(text + _PROBABILITY_ALLOWED, field=field.name)
    object.__setattr__(rule, "probability", float(value))


def _check_at(rule: PlanRule, field: Field, value: Any) -> None:
    """Check the ordinals and keep them in order; a list of one is that one."""
    if value is not None:
        given = value if isinstance(value, tuple) else (value,)
        for ordinal in given:
            # No list has None in it, although a rule may have no list.
            _check_number(rule, dataclasses.replace(field, unset=0), ordinal)
        ordinals = sorted(given)
        if not 1 <= len(ordinals) <= AT_MAX:
            text = f"{rule.fault.name}: at: {len(ordinals)} ordinals are not allowed; "
            raise PlanError(f"{text}there must be 1 to {AT_MAX}", field="at")
        for one, other in itertools.pairwise(ordinals):
            if one == other:
                text = f"{rule.fault.name}: at: {one} is given twice; give it once"
                raise PlanError(text, field="at")
        object.__setattr__(rule, "at", tuple(ordinals) if len(ordinals) > 1 else ordinals[0])
    if (rule.probability != 0) + (rule.every != 0) + (rule.at is not None) > 1:
        raise PlanError(f"{rule.fault.name} has two triggers; give a probability, every or at")


def _check_window(rule: PlanRule, field: Field, value: Any) -> None:
    _check_number(rule, field, value)
    if rule.first > rule.last:
        raise refuse(rule.fault, "from", rule.first, f"at most until, {rule.last}")
    for ordinal in rule.ordinals:
        if not rule.first <= ordinal <= rule.last:
            window = f"{rule.first} to {rule.last}, as from and until say"
            raise refuse(rule.fault, "at", ordinal, window)


def _check_nothing(_rule: PlanRule, _field: Field, _value: Any) -> None:
    """The plan does: it knows the other rules."""


def number_or_word(text: str) -> int | str:
    """Digits as a number; anything else stays as it is, for those who check to refuse it."""
    return int(text) if re.fullmatch(r"[0-9]{1,20}", text) else text


def _read_probability(text: str) -> float:
    try:
        value = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise ValueError(f"{shown(text)} is not a probability; {_PROBABILITY_ALLOWED}") from None
    if not (math.isfinite(value) and 0 <= value <= 1):
        raise ValueError(f"probability {text[:40]} is out of range; {_PROBABILITY_ALLOWED}")
    return value


def _read_ordinals(text: str) -> int | str | list[int | str]:
    """One ordinal, or several with ``+`` in between."""
    if "+" not in text:
        return number_or_word(text)
    return [number_or_word(part.strip()) for part in text.split("+")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """What is to be known of one thing that a rule may say."""

    name: str  #: in plans
    unset: Any  #: the value of a rule that does not say it
    compact: str = ""  #: its name in the compact form, if that is another
    flag: str = ""  #: a word that stands for a value of 1
    is_trigger: bool = False  #: a rule has exactly one of them
    is_list: bool = False  #: plans may say several at once; a tuple in Python
    is_name: bool = False  #: it is the name of a fault, not a number
    least: int = 0  #: that a plan may say; 0 may still mean "unset" from Python
    high: int = ORDINAL_MAX  #: greatest number
    scope: tuple[str, str] = ("", "")  #: what the fault must be, and what it is otherwise
    read: Callable[[str], object] = number_or_word  #: its text in the compact form; ValueError
    check: Callable[[PlanRule, Field, Any], None] = _check_number  #: PlanError
    compile: Callable[[Any], int | float] = lambda value: value
    words: Callable[[Any], str] = str  #: for people
    words_unset: str = ""  #: for people, if it is unset and the fault has that scope


def _said(name: str, unset: Any, **what: Any) -> Any:
    field = Field(name=name, unset=unset, **what)
    return dataclasses.field(default=unset, metadata={"field": field})


def _trigger(name: str, unset: Any, **what: Any) -> Any:
    return _said(name, unset, is_trigger=True, **what)


def _limit_words(limit: int) -> str:
    return ", once" if limit == 1 else f", at most {limit} times"


def _first_of(at: int | tuple[int, ...] | None) -> int:
    return at[0] if isinstance(at, tuple) else NO_ORDINAL if at is None else at


# ---- The rule --------------------------------------------------------------------------------


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
    #: at each ordinal, 0..1
    probability: float = _trigger(
        "probability", 0.0, compact="p", read=_read_probability, check=_check_probability
    )
    every: int = _trigger("every", 0, least=1)  #: fire at each n-th ordinal; 0 = not this trigger
    #: fire at this ordinal, counted from 0, or at each of these; None = not this trigger
    at: int | tuple[int, ...] | None = _trigger(
        "at",
        None,
        is_list=True,
        high=NO_ORDINAL - 1,
        read=_read_ordinals,
        check=_check_at,
        compile=_first_of,
    )
    #: the rule is asleep before this ordinal
    first: int = _said("from", 0, words=", from number {}".format)
    #: and after this one
    last: int = _said("until", ORDINAL_MAX, words=", until number {}".format, check=_check_window)
    #: firings at most; 0 = no limit
    limit: int = _said("limit", 0, words=_limit_words, least=1, flag="once")
    #: asleep until this other fault of the plan has fired
    after: str | None = _said(
        "after",
        None,
        is_name=True,
        words=", after {} has fired".format,
        read=str,
        check=_check_nothing,
    )
    #: this queue only; None = each
    queue: int | None = _said(
        "queue",
        None,
        words=", on queue {}".format,
        words_unset=", on each queue",
        high=QUEUES_MAX - 1,
        scope=("per_queue", "it concerns all queues"),
        compile=lambda queue: -1 if queue is None else queue,
    )
    #: where it is about this flow of the queue only; None = each
    flow: int | None = _said(
        "flow",
        None,
        words=", where it is of flow {}".format,
        high=FLOWS_MAX - 1,
        scope=("per_flow", "it is about no flow"),
        compile=lambda flow: 0 if flow is None else flow + 1,
    )
    params: tuple[int, ...] = ()  #: as compiled, in the order in which the fault declares them

    def __post_init__(self) -> None:
        for attribute, field in FIELDS.items():
            field.check(self, field, getattr(self, attribute))
        if self.fault.asked_once:
            self._check_asked_once()
        self._fill_params()

    def _check_asked_once(self) -> None:
        """Such a fault has one ordinal, 0: what can never be due then is a mistake."""
        only = "0: it is asked once, when the instance is set up"
        for field, value in (("at", self.at or 0), ("from", self.first)):
            if value != 0:
                raise refuse(self.fault, field, value, only)
        if self.after is not None:
            text = f"{self.fault.name}: after: it is asked before all others; leave after out"
            raise PlanError(text, field="after")

    def _fill_params(self) -> None:
        declared = self.fault.params
        if not isinstance(self.params, tuple) or len(self.params) > len(declared):
            raise refuse(self.fault, "params", self.params, f"a tuple of up to {len(declared)}")
        for param, value in zip(declared, self.params, strict=False):
            is_int = isinstance(value, int) and not isinstance(value, bool)
            if not (is_int and param.is_compiled(value)):
                raise refuse(self.fault, param.name, value, param.allowed)
        rest = self.fault.defaults[len(self.params) :]
        object.__setattr__(self, "params", self.params + rest)

    @property
    def ordinals(self) -> tuple[int, ...]:
        """All that ``at`` says; empty if it says nothing."""
        if isinstance(self.at, tuple):
            return self.at
        return () if self.at is None else (self.at,)

    def said(self) -> Iterator[tuple[Field, Any]]:
        """The trigger (a probability if there is none), then what else is not unset."""
        trigger = "at" if self.at is not None else "every" if self.every else "probability"
        for attribute, field in FIELDS.items():
            value = getattr(self, attribute)
            if attribute == trigger or not (field.is_trigger or value == field.unset):
                yield field, value

    def __str__(self) -> str:
        """The compact form, without what is left at its default."""
        return self._text(AT_MAX)

    @property
    def brief(self) -> str:
        """The same, but of many ordinals only the first: for people, not to be read back."""
        return self._text(_AT_SHOWN)

    def _text(self, at_shown: int) -> str:
        items = [self.fault.name]
        for field, value in self.said():
            # repr() and not a rounded form: what is read back must be the same rule.
            text = repr(value) if isinstance(value, float) else str(value)
            if isinstance(value, tuple):
                text = "+".join(map(str, value[:at_shown]))
                more = len(value) - at_shown
                text += f"+({more} more)" if more > 0 else ""
            items.append(text if field.compact else f"{field.name}={text}")
        for param, value in zip(self.fault.params, self.params, strict=True):
            if value != param.default:
                items.append(f"{param.name}={param.text(value)}")
        return ":".join(items)

    @property
    def words(self) -> str:
        """When and where it fires, in words."""
        text = self._when()
        for attribute, field in FIELDS.items():
            value = getattr(self, attribute)
            if value != field.unset:
                text += "" if field.is_trigger else field.words(value)
            elif field.words_unset and getattr(self.fault, field.scope[0]):
                text += field.words_unset
        return text

    def _when(self) -> str:
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
        said = {field.name: value for field, value in self.said()}
        return {
            "fault": self.fault.name,
            **dict.fromkeys(field.name for field in FIELDS.values()),
            "from": 0,
            **{name: list(v) if isinstance(v, tuple) else v for name, v in said.items()},
            "params": self.named_params,
            "verdicts": sorted(self.fault.verdicts),
            "text": str(self),
            "words": self.words,
        }

    def compiled(self, after: int) -> CompiledRule:
        """The rule in numbers; ``after`` is that rule's position in the plan + 1, or 0."""
        numbers = {name: field.compile(getattr(self, name)) for name, field in FIELDS.items()}
        return CompiledRule(
            **numbers | {"after": after},
            number=self.fault.number,
            actor=self.fault.actor,
            at_list=self.at if isinstance(self.at, tuple) else (),
            params=(*self.params, *(0,) * (PARAMS_MAX - len(self.params))),
        )


#: What a rule may say besides the parameters of its fault, by the attribute of the rule.
FIELDS: dict[str, Field] = {
    item.name: item.metadata["field"]
    for item in dataclasses.fields(PlanRule)
    if "field" in item.metadata
}

#: The same by the names that plans use, as a file has them, and as the compact form does.
FIELD_NAMES = tuple(name for f in FIELDS.values() for name in (f.name, f.flag) if name)
COMPACT_NAMES = tuple(
    name for f in FIELDS.values() for name in (f.compact or f.name, f.flag) if name
)


class CompiledRule(SimpleNamespace):
    """One rule in numbers only: what plans decide of ``struct zcrx_fault_rule``, by its names.

    Besides, ``number`` and ``actor`` are those of the fault. 0 stands for "not said", but for
    ``at`` and ``last`` (:data:`NO_ORDINAL`) and ``queue`` (-1); ``after`` is the other rule's
    position + 1, ``flow`` the flow's number + 1; ``params`` are four, and ``at_list`` is empty
    if there is at most one ordinal.
    """


def _nth(number: int) -> str:
    """``1000th`` and a space; nothing for 1."""
    if number == 1:
        return ""
    ending = "th" if number % 100 in (11, 12, 13) else _ENDINGS.get(number % 10, "th")
    return f"{number}{ending} "
