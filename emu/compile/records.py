"""What programs that are built on demand say: a line each, a word and values by name.

They speak numbers and the names of their enumerators; words and JSON are made here. A line is
``WORD<tab>NAME=VALUE<tab>…``, a list in it has spaces.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Record:
    """One line.

    Attributes:
        event: Its word.
        values: By name, as they stand there.
    """

    event: str
    values: dict[str, str]

    @classmethod
    def of(cls, line: str) -> Record:
        """Take a line apart; what is none of ours has a word that nobody asks for."""
        event, *fields = line.split("\t")
        pairs = (field.partition("=") for field in fields)
        return cls(event, {name: value for name, _, value in pairs})

    def number(self, name: str) -> int:
        """A value that is a number."""
        return int(self.values[name])

    def numbers(self, name: str) -> list[int]:
        """A value that is a list of numbers."""
        return [int(value) for value in self.values[name].split()]

    def flag(self, name: str) -> bool:
        """A value that is 0 or 1."""
        return self.values[name] == "1"


def records_of(output: str) -> list[Record]:
    """All lines of an output."""
    return [Record.of(line) for line in output.split("\n") if line]
