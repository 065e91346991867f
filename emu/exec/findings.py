"""What the checker said of a program, what was refused to it, and what a plan did to it."""

from __future__ import annotations

import errno
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from emu.exec.gateway import Message

#: Of each kind so many are shown; all are counted, and the first 1000 are in the JSON.
SHOWN_MAX = 10


@dataclass(slots=True)
class Findings:
    """All that was heard, in its order."""

    reports: list[Message] = field(default_factory=list)
    refusals: list[Message] = field(default_factory=list)
    fired: Counter[str] = field(default_factory=Counter)  #: faults of the plan
    journals: dict[int, str] = field(default_factory=dict)  #: by ring: a plan that does the same
    _counts: Counter[str] = field(default_factory=Counter)

    def hear(self, message: Message) -> list[str]:
        """Note a message of the gateway; what a person is told of it at once."""
        about = {key: value for key, value in message.items() if key != "event"}
        match message["event"]:
            case "report":
                return self._report(about)
            case "refusal":
                self.refusals.append(about)
                name = errno.errorcode.get(-about["error"], str(about["error"]))
                return [f"{_where(about, 'io_uring_register')}: {name}: {about['why']}"]
            case "journal":
                self.journals[about["ring"]] = self.journals.get(about["ring"], "") + about["text"]
            case "found":
                self._counts[about["name"]] = about["count"]
            case "fired":
                self.fired[about["name"]] = about["count"]
        return []

    def _report(self, about: Message) -> list[str]:
        kind = about["kind"]
        self.reports.append(about)
        self._counts[kind] += 1
        if self._counts[kind] > SHOWN_MAX:
            return []
        age = f" (given {_duration(about['age_ms'])} ago)" if about["completion"] else ""
        lines = [f"{_where(about, about['call'])}: {kind}: {about['text']}{age}"]
        if self._counts[kind] == 1:
            lines.append(f"    do: {about['advice']}")
        if self._counts[kind] == SHOWN_MAX:
            lines.append(f"    more of {kind}: only counted from here on, and in --json")
        return lines

    def summary(self, seed: int) -> list[str]:
        """What was found and what went wrong by the plan, in a line each; none if nothing."""
        lines = []
        if self.fired:
            lines.append(f"by the plan (--seed {seed}): {_counted(self.fired)}")
        if self._counts:
            lines.append(f"{self._counts.total()} found: {_counted(self._counts)}")
        return lines

    def as_json(self) -> dict[str, Any]:
        """All of it for a program."""
        return {
            "counts": dict(self._counts),
            "fired": dict(self.fired),
            "journals": [
                {"ring": ring, "plan": text} for ring, text in sorted(self.journals.items())
            ],
            "reports": self.reports,
            "refusals": self.refusals,
        }


def _where(message: Message, call: str) -> str:
    thread = f"thread {message['thread']} in {call}" if message["thread"] else f"at its {call}"
    return f"ring {message['ring']}, {thread}"


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _duration(milliseconds: int) -> str:
    return f"{milliseconds} ms" if milliseconds < 10_000 else f"{milliseconds / 1000:.0f} s"
