"""The journal of a run: every firing written down, as a plan that makes them happen again.

What a fault draws when it fires depends on the run's seed, queue, fault and ordinal alone. So
a plan that names the ordinals injects the same faults with the same content, whatever triggered
them in the first place, and can be cut down to those that matter.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from faults.fault import Actor
from faults.plan import RULES_MAX, Plan
from faults.rule import AT_MAX, PlanRule

_PER_LINE = 12  #: ordinals


@dataclass(slots=True)
class Journal:
    """What fired, by rule of the plan and queue (None: all queues)."""

    plan: Plan
    fired: dict[tuple[int, int | None], set[int]] = field(default_factory=dict)
    cuts: list[str] = field(default_factory=list)  #: what is missing, one line each

    def note(self, rule: int, queue: int | None, ordinals: Iterable[int]) -> None:
        """Add firings of a rule on a queue."""
        if not self.plan.rules[rule].fault.per_queue:
            queue = None
        self.fired.setdefault((rule, queue), set()).update(ordinals)

    def cut(self, who: str, noted: int, count: int, missing_from: int) -> None:
        """Say that an actor could not note all of its firings."""
        self.cuts.append(
            f"{who}: {noted} of {count} firings were noted; "
            f"those from ordinal {missing_from} on are missing"
        )

    def as_plan(self) -> Plan:
        """The firings as ``at`` rules, one for each rule and queue, in the order of the plan.

        What waits for another rule, or has a window or a limit, needs none of that any more. A
        rule that never fired stays, with probability 0; one about the set-up stays as it is.
        A plan has room for so many rules: if they are too many, the last queues are left out.
        """
        queues = sorted({queue for _, queue in self.fired if queue is not None})
        while True:
            rules = [
                new
                for position, rule in enumerate(self.plan.rules)
                for new in self._replayed(position, rule, {None, *queues})
            ]
            if len(rules) <= RULES_MAX:
                return Plan(tuple(rules))
            queues.pop()

    def _replayed(self, position: int, rule: PlanRule, queues: set[int | None]) -> list[PlanRule]:
        if rule.fault.actor is Actor.SETUP:
            return [rule]
        found = sorted(
            ((queue, ordinals) for (at, queue), ordinals in self.fired.items() if at == position),
            key=lambda item: -1 if item[0] is None else item[0],
        )
        return [
            PlanRule(
                rule.fault, at=tuple(sorted(ordinals)[:AT_MAX]), queue=queue, params=rule.params
            )
            for queue, ordinals in found
            if queue in queues and ordinals
        ] or [PlanRule(rule.fault, queue=rule.queue, params=rule.params)]

    @property
    def notes(self) -> list[str]:
        """What is missing in :meth:`as_plan`, one line each; empty if nothing is."""
        kept = {rule.queue for rule in self.as_plan().rules}
        lost = sorted({queue for _, queue in self.fired if queue is not None} - kept)
        if not lost:
            return list(self.cuts)
        text = f"a plan has room for {RULES_MAX} rules; queues {lost[0]} to {lost[-1]} are left out"
        return [*self.cuts, text]

    def as_toml(self, comments: Sequence[str]) -> str:
        """The plan file, with lines of comment in front."""
        lines = [f"# {' '.join(comment.split())}".rstrip() for comment in comments]
        lines += [f"# INCOMPLETE: {note}" for note in self.notes]
        return "\n".join([*lines, "", *map(_rule_text, self.as_plan().rules)])


def _rule_text(rule: PlanRule) -> str:
    lines = ["[[rule]]", f"fault = {_value(rule.fault.name)}"]
    lines += [f"{field.name} = {_value(value)}" for field, value in rule.said()]
    params = [
        f"{param.name} = {_value(param.text(value)) if param.choices else value}"
        for param, value in zip(rule.fault.params, rule.params, strict=True)
        if value != param.default
    ]
    if params:
        lines.append(f"params = {{{', '.join(params)}}}")
    return "\n".join(lines) + "\n"


def _value(value: float | str | tuple[int, ...]) -> str:
    """As TOML has it."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if not isinstance(value, tuple):
        return repr(value)
    rows = [value[at : at + _PER_LINE] for at in range(0, len(value), _PER_LINE)]
    body = "".join(f"    {', '.join(map(str, row))},\n" for row in rows)
    return f"[\n{body}]"
