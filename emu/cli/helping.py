"""``--help``: what :mod:`emu.cli.sheet` collects, as text that fits the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping

from emu.cli.sheet import Row, Sheet, called

#: Of an option and its value beside what is said of it; a longer one has a line of its own.
_COLUMN = 28
_BOLD, _NAME, _PLAIN = "\x1b[1m", "\x1b[36m", "\x1b[0m"
#: A space at which no line is broken.
_FIXED = "\N{NO-BREAK SPACE}"


def help_text(sheet: Sheet, width: int, *, is_coloured: bool = False) -> str:
    """Make a command's help.

    Args:
        sheet: What there is to say.
        width: Of a line, in columns. Lines for a shell are left as they are.
        is_coloured: With the escape sequences of a terminal.
    """
    page = _Page(width, is_coloured)
    page.usage(" ".join(sheet.words), sheet.usage)
    for paragraph in (sheet.summary, *sheet.about):
        page.paragraph(paragraph)
    for panel in sheet.panels:
        page.rows(panel.title, panel.rows)
    guide = sheet.guide
    if guide.examples:
        page.heading("Examples")
        for example in guide.examples:
            page.example(example.run, example.what)
    page.table("Exit code", guide.exit)
    page.table("Files", guide.files)
    page.table("Environment", guide.environment)
    if guide.see:
        page.heading("See also")
        page.text(", ".join(called(name).replace(" ", _FIXED) for name in guide.see), "  ")
    return page.made()


class _Page:
    def __init__(self, width: int, is_coloured: bool) -> None:
        self._width = width
        self._is_coloured = is_coloured
        self._lines: list[str] = []

    def made(self) -> str:
        return "\n".join(self._lines).replace(_FIXED, " ")

    def _styled(self, style: str, text: str) -> str:
        return f"{style}{text}{_PLAIN}" if self._is_coloured and text else text

    def _wrapped(self, text: str, width: int) -> list[str]:
        """Lines; neither an option nor a default is broken."""
        text = text.replace("[default: ", f"[default:{_FIXED}")
        return textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False)

    def usage(self, name: str, rest: str) -> None:
        self._lines.append(f"{self._styled(_BOLD, 'Usage:')} {name} {rest}")

    def paragraph(self, text: str) -> None:
        self._lines += ["", *self._wrapped(text, self._width)]

    def heading(self, title: str) -> None:
        self._lines += ["", self._styled(_BOLD, f"{title}:")]

    def text(self, text: str, indent: str) -> None:
        self._lines += [indent + line for line in self._wrapped(text, self._width - len(indent))]

    def rows(self, title: str, rows: Iterable[Row]) -> None:
        """A heading, and rows below it."""
        self.heading(title)
        self._beside([(row.names, row.value, row.text) for row in rows])

    def table(self, title: str, rows: Mapping[str, str]) -> None:
        """The same; nothing if there are none."""
        if rows:
            self.heading(title)
            self._beside([(name, "", text) for name, text in rows.items()])

    def _beside(self, rows: list[tuple[str, str, str]]) -> None:
        lengths = [len(f"{names} {value}".rstrip()) for names, value, _ in rows]
        column = max((length for length in lengths if length <= _COLUMN), default=0) + 4
        for (names, value, text), length in zip(rows, lengths, strict=True):
            term = f"  {self._styled(_NAME, names)} {value}".rstrip()
            said = self._wrapped(text, self._width - column)
            first = said.pop(0) if said and length <= column - 4 else ""
            self._lines.append(f"{term}{' ' * (column - 2 - length)}{first}" if first else term)
            self._lines += [" " * column + line for line in said]

    def example(self, run: str, what: str) -> None:
        """A line as it is: one that was wrapped could not be copied."""
        self.text(what if what.endswith("?") else f"{what}:", "  ")
        self._lines.append(f"    {self._styled(_NAME, run)}")
