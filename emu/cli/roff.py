"""A command's sheet as a page of the manual, in the macros of man(7)."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping

from emu.cli.guide import WHOLE
from emu.cli.sheet import Sheet, called

#: What roff, or what a terminal's typography, would make something else of.
_ESCAPES = {"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti"}
#: Of a line before what is in it was escaped.
_WIDTH = 70


def name_of(sheet: Sheet) -> str:
    """Of its page: ``zcrx-emu-faults-list``."""
    return "-".join(sheet.words)


def page(sheet: Sheet, *, version: str, date: str, commands: Iterable[str] = ()) -> str:
    """Make the page; it is ASCII.

    Args:
        sheet: Of a command.
        version: Of this package.
        date: As ``2026-11-30``.
        commands: Names of pages that the page points to besides.
    """
    title = name_of(sheet).upper()
    lines = [
        f'.TH {_escaped(title)} 1 {date} "{WHOLE} {_escaped(version)}" "{WHOLE} manual"',
        ".SH NAME",
        f"{_escaped(name_of(sheet))} \\- {_escaped(_phrase(sheet))}",
        ".SH SYNOPSIS",
        f".B {_escaped(' '.join(sheet.words))}",
        *_text(sheet.usage),
        *_description(sheet),
        *_panels(sheet),
        *_table("EXIT STATUS", sheet.guide.exit),
        *_table("ENVIRONMENT", sheet.guide.environment),
        *_table("FILES", sheet.guide.files),
        *_examples(sheet),
        *_see_also(sheet, commands),
    ]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    text = "".join(_ESCAPES.get(character, character) for character in text)
    return "".join(c if c.isascii() else f"\\[u{ord(c):04X}]" for c in text)


def _phrase(sheet: Sheet) -> str:
    """As the list of all pages has it: no sentence."""
    text = sheet.summary.removesuffix(".")
    return text if len(sheet.words) == 1 else text[0].lower() + text[1:]


def _text(text: str) -> Iterator[str]:
    """Lines of running text: a sentence begins a new one, and none is taken for a request."""
    for sentence in re.split(r"(?<=[.?!]) +(?=[A-Z'])", text):
        for line in textwrap.wrap(sentence, _WIDTH, break_long_words=False, break_on_hyphens=False):
            escaped = _escaped(line)
            yield f"\\&{escaped}" if escaped.startswith(".") else escaped


def _description(sheet: Sheet) -> Iterator[str]:
    yield ".SH DESCRIPTION"
    for number, paragraph in enumerate([sheet.summary, *filter(None, sheet.about)]):
        if number:
            yield ".PP"
        yield from _text(paragraph)


def _panels(sheet: Sheet) -> Iterator[str]:
    arguments = [panel for panel in sheet.panels if panel.title == "Arguments"]
    others = [panel for panel in sheet.panels if panel.title != "Arguments"]
    for number, panel in enumerate([*arguments, *others]):
        if panel in arguments:
            yield ".SH ARGUMENTS"
        elif number == len(arguments):
            yield ".SH OPTIONS" if panel.rows[0].names.startswith("-") else ".SH COMMANDS"
        if len(others) > 1 and panel in others:
            yield f".SS {_escaped(panel.title)}"
        for row in panel.rows:
            yield ".TP"
            value = f" \\fI{_escaped(row.value)}\\fR" if row.value else ""
            yield f"\\fB{_escaped(row.names)}\\fR{value}"
            yield from _text(row.text)


def _table(title: str, rows: Mapping[str, str]) -> Iterator[str]:
    if rows:
        yield f".SH {title}"
    for name, text in rows.items():
        yield ".TP"
        yield f"\\fB{_escaped(name)}\\fR"
        yield from _text(text)


def _examples(sheet: Sheet) -> Iterator[str]:
    if sheet.guide.examples:
        yield ".SH EXAMPLES"
    for number, example in enumerate(sheet.guide.examples):
        if number:
            yield ".PP"
        yield from _text(example.what if example.what.endswith("?") else f"{example.what}:")
        yield from (".PP", ".RS 4", ".EX", _escaped(example.run), ".EE", ".RE")


def _see_also(sheet: Sheet, commands: Iterable[str]) -> Iterator[str]:
    names = [called(name) for name in sheet.guide.see]
    pages = [name.replace(" ", "-") for name in names if not name.endswith(".md")]
    pages += [WHOLE] if len(sheet.words) > 1 else []
    documents = [name for name in names if name.endswith(".md")]
    pages = sorted({*pages, *commands})
    if not (pages or documents):
        return
    yield ".SH SEE ALSO"
    for number, name in enumerate(pages, 1):
        yield f".BR {_escaped(name)} (1){',' if number < len(pages) else ''}"
    if documents:
        yield ".PP"
        yield from _text(f"In the sources: {', '.join(documents)}")
