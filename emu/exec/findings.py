"""What the checker said of a program, and which of its registrations were refused."""

from __future__ import annotations

import errno
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from emu.exec.gateway import Message

#: Of each kind so many are shown; all are counted, and all are in the JSON.
SHOWN_MAX = 10


@dataclass(slots=True)
class Findings:
    """All that was heard, in its order."""

    reports: list[Message] = field(default_factory=list)
    refusals: list[Message] = field(default_factory=list)
    _counts: Counter[str] = field(default_factory=Counter)

    def hear(self, message: Message) -> list[str]:
        """Note a message of the gateway; what a person is told of it at once."""
        is_report = message["event"] == "report"
        about = {key: value for key, value in message.items() if key != "event"}
        (self.reports if is_report else self.refusals).append(about)
        if not is_report:
            name = errno.errorcode.get(-about["error"], str(about["error"]))
            return [f"{_where(about, 'io_uring_register')}: {name}: {about['why']}"]
        self._counts[about["kind"]] += 1
        if self._counts[about["kind"]] > SHOWN_MAX:
            return []
        where = _where(about, about["call"])
        return [f"{where}: {about['kind']}: {about['text']}", f"    do: {about['advice']}"]

    def summary(self) -> str | None:
        """All of it in one line; None where there is nothing to say."""
        if not self.reports:
            return None
        kinds = (f"{kind} {count}" for kind, count in self._counts.items())
        return f"{len(self.reports)} found: {', '.join(kinds)}"

    def as_json(self) -> dict[str, Any]:
        """All of it for a program."""
        return {"counts": dict(self._counts), "reports": self.reports, "refusals": self.refusals}


def _where(message: Message, call: str) -> str:
    thread = f"thread {message['thread']} in {call}" if message["thread"] else f"at its {call}"
    return f"ring {message['ring']}, {thread}"
