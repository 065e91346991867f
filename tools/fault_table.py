"""The table of all faults in ``docs/faults.md``, written from the catalogue.

    python -m tools.fault_table            prints it
    python -m tools.fault_table --write    replaces it in docs/faults.md

Run from a checkout. Ends with 0, or with 2 for a wrong use.
"""

from __future__ import annotations

import sys
from pathlib import Path

from faults import CATALOGUE, PROFILES, Fault, Group
from faults.tables import verdict_words, void_words

DOCS = Path(__file__).parents[1] / "docs" / "faults.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
_TITLES = {
    Group.CONTENT: "The bytes of an RQE",
    Group.STRAY: "Returns that the contract forbids",
    Group.RING: "Ring indices",
    Group.AREA: "The area",
    Group.PACE: "Pace",
    Group.NIC: "The NIC",
    Group.RESOURCE: "Resources of the kernel side",
    Group.PROCESS: "Processes and time",
    Group.SETUP: "Setting up",
}


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("__pad", "`__pad`")


def _params(fault: Fault) -> str:
    return "; ".join(
        f"`{param.name}`: {param.allowed} ({param.text(param.default)})" for param in fault.params
    )


def _rows(group: Group) -> list[str]:
    lines = [
        f"### {_TITLES[group]}",
        "",
        "| fault | what | parameters (default) | its entries earn | not held to | consequences |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for fault in CATALOGUE.values():
        if fault.group is group:
            cells = (
                f"`{fault.name}`",
                fault.summary,
                _params(fault),
                verdict_words(fault),
                void_words(fault),
                fault.consequences,
            )
            lines.append("| " + " | ".join(map(_cell, cells)) + " |")
    return [*lines, ""]


def fault_table() -> str:
    """The tables of all groups, and that of the profiles, in Markdown."""
    lines = [line for group in _TITLES for line in _rows(group)]
    lines += ["### Profiles", "", "| profile | what | plan |", "| --- | --- | --- |"]
    for profile in PROFILES.values():
        plan = str(profile.plan).replace(",", ", ")
        lines.append(f"| `{profile.name}` | {profile.summary} | `{plan}` |")
    return "\n".join(lines) + "\n"


def _replaced(text: str) -> str:
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"fault_table: {DOCS.name} has no place for it; write {BEGIN} and {END}")
    return f"{head}{begin}\n{fault_table()}{end}{tail}"


def main(arguments: list[str]) -> int:
    """Print the table, or write it into the documentation."""
    if arguments == ["--write"]:
        DOCS.write_text(_replaced(DOCS.read_text()))
    elif arguments:
        print(f"fault_table: {arguments[0]!r} is not known; --write is", file=sys.stderr)
        return 2
    else:
        print(fault_table(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
