"""What a person sees of faults and plans: tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from faults.custom import Broken
from faults.fault import AUDIT_STATEMENTS, VALID_VERDICTS, Fault
from faults.plan import Plan
from faults.profiles import Profile


def _table(*columns: str) -> Table:
    table = Table(header_style="bold")
    for name in columns:
        table.add_column(name, overflow="fold", no_wrap=name in ("fault", "profile"))
    return table


def _row(table: Table, *cells: str) -> None:
    """Add cells as they are: brackets in them are no markup."""
    table.add_row(*(Text(cell) for cell in cells))


def verdict_words(fault: Fault) -> str:
    """The verdicts that its entries may earn, in words."""
    if not fault.writes_entries:
        return "no entry"
    words = sorted(fault.verdicts)
    if fault.verdicts >= VALID_VERDICTS:
        words = ["as a valid return", *sorted(fault.verdicts - VALID_VERDICTS)]
    return " or ".join(words)


def void_words(fault: Fault) -> str:
    """The audit's statements that need not hold, in words."""
    return ", ".join(sorted(AUDIT_STATEMENTS - fault.survives)) or "none"


def catalogue_table(faults: Iterable[Fault]) -> Table:
    """One row a fault."""
    table = _table("fault", "who", "what", "parameters", "verdicts")
    last = None
    for fault in faults:
        if last not in (None, fault.group):
            table.add_section()
        last = fault.group
        params = ", ".join(param.name for param in fault.params)
        _row(table, fault.name, fault.actor.value, fault.summary, params, verdict_words(fault))
    return table


def broken_table(faults: Iterable[Broken]) -> Table:
    """One row an installed fault that cannot be used."""
    table = _table("fault", "class", "why not")
    for item in faults:
        _row(table, item.name, item.source, item.why)
    return table


def profile_table(profiles: Iterable[Profile]) -> Table:
    """One row a profile."""
    table = _table("profile", "what", "rules")
    for profile in profiles:
        _row(table, profile.name, profile.summary, str(len(profile.plan.rules)))
    return table


def fault_table(fault: Fault) -> Table:
    """All about one fault, one row a property."""
    table = Table(show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    _row(table, "fault", fault.name)
    if fault.source:
        _row(table, "class", fault.source)
    _row(table, "what", fault.summary)
    _row(table, "why", fault.explanation)
    asked = "asked once a run" if fault.asked_once else f"triggers count: {fault.ordinal}"
    _row(table, "who", f"{fault.actor.value}; {asked}")
    for param in fault.params:
        text = f"{param.doc}: {param.allowed}; {param.text(param.default)} if not given"
        _row(table, f"{param.name}=", text)
    beside = "changes a valid return" if fault.modifies else "stands beside the valid return"
    verdicts = verdict_words(fault)
    _row(table, "verdicts", f"{verdicts}; {beside}" if fault.writes_entries else verdicts)
    _row(table, "not held to", void_words(fault))
    _row(table, "consequences", fault.consequences or "none")
    return table


def plan_table(plan: Plan) -> Table:
    """One row a rule, in words."""
    table = _table("rule", "fault", "when and where", "parameters", "verdicts")
    for position, rule in enumerate(plan.rules):
        params = ", ".join(f"{name}={value}" for name, value in rule.named_params.items())
        _row(
            table,
            str(position + 1),
            rule.fault.name,
            rule.words,
            params,
            verdict_words(rule.fault),
        )
    return table
