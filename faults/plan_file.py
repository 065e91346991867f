"""Fault plans in TOML: one ``[[rule]]`` table for each rule.

    [[rule]]
    fault = "bad-index"
    probability = 0.01
    queue = 1
    params = {value = "count"}

Errors say where: file, rule, and the line if the text shows it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from faults.catalogue import UnknownFaultError
from faults.custom import find
from faults.fault import shown
from faults.near import did_you_mean
from faults.plan import Plan, make_rule
from faults.rule import PlanError, PlanRule

_DOTS_MAX = 100  #: in a line
SIZE_MAX = 1 << 25  #: bytes of a plan file, at most
_HEADER = re.compile(r"[ \t]*\[\[[ \t]*(rule|'rule'|\"rule\")[ \t]*\]\]")


class _Places:
    """Finds the lines of rules and their fields again, by a search of the text."""

    def __init__(self, text: str, rules: int) -> None:
        self._lines = text.split("\n")
        headers = [number for number, line in enumerate(self._lines) if _HEADER.match(line)]
        # Another number of headers: they are written differently, or stand inside a string too.
        self._starts = [*headers, len(self._lines)] if len(headers) == rules else []

    def say(self, position: int, field: str) -> str:
        """``rule 2 (line 7)``: the field's line, or that of the rule's header."""
        where = f"rule {position + 1}"
        if not self._starts:
            return where
        start, end = self._starts[position : position + 2]
        word = re.escape(field)
        as_key = re.compile(rf"""[ \t]*(params[ \t]*\.[ \t]*)?['"]?{word}['"]?[ \t]*=""")
        inline = re.compile(rf"""[ \t]*params[ \t]*=.*[{{,][ \t]*['"]?{word}['"]?[ \t]*=""")
        for pattern in (as_key, inline) if field else ():
            for number in range(start + 1, end):
                if pattern.match(self._lines[number]):
                    return f"{where} (line {number + 1})"
        return f"{where} (line {start + 1})"


def _read_rule(table: object) -> PlanRule:
    if not isinstance(table, Mapping):
        raise PlanError(f"{shown(table)} is not a table; write [[rule]]")
    if "fault" not in table:
        raise PlanError('it names no fault; write fault = "NAME"')
    name = table["fault"]
    if not isinstance(name, str):
        raise PlanError(f"fault: {shown(name)} is not the name of a fault", field="fault")
    try:
        fault = find(name)
    except UnknownFaultError as error:
        text = str(error).removeprefix("faults: ")
        raise PlanError(f"fault: {text}", field="fault") from None
    params = table.get("params", {})
    if not isinstance(params, Mapping):
        text = f"{fault.name}: params: {shown(params)} is not a table"
        raise PlanError(f"{text}; write params = {{NAME = VALUE}}", field="params")
    fields = {field: value for field, value in table.items() if field not in ("fault", "params")}
    return make_rule(fault, fields, params)


def parse_toml(text: str, name: str) -> Plan:
    """Parse the text of a plan file.

    Args:
        text: The whole file.
        name: What it is called in messages.

    Raises:
        PlanError: It is no TOML, or no plan; the message says where.
    """
    name = name[:300] if name.isprintable() else repr(name)[:300]
    for number, line in enumerate(text.splitlines(), 1):
        if line.count(".") > _DOTS_MAX:  # a key of so many parts takes the parser for ever
            raise PlanError(f"{name}: line {number}: more than {_DOTS_MAX} dots; that is no plan")
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError; absurd numbers and nestings
        why = " ".join(str(error).split())[:200]
        raise PlanError(f"{name}: it is no TOML: {why}") from None
    for key in document:
        if key != "rule":
            hint = did_you_mean(key, ["rule"]) or "only [[rule]] tables are known"
            raise PlanError(f"{name}: {shown(key)} is not known; {hint}")
    tables = document.get("rule", [])
    if not isinstance(tables, list):
        raise PlanError(f"{name}: rule is not a list of tables; write [[rule]]")
    if not tables:
        raise PlanError(f"{name}: it has no [[rule]]; write at least one")
    places = _Places(text, len(tables))
    rules = []
    for position, table in enumerate(tables):
        try:
            rules.append(_read_rule(table))
        except PlanError as error:
            where = places.say(position, error.field)
            raise PlanError(f"{name}: {where}: {error.text}", position=position) from None
    try:
        return Plan(tuple(rules))
    except PlanError as error:
        if error.position is None:
            raise PlanError(f"{name}: {error.text}") from None
        where = places.say(error.position, error.field)
        text = error.text.removeprefix(f"rule {error.position + 1}: ")
        raise PlanError(f"{name}: {where}: {text}", position=error.position) from None


def read_plan(path: Path) -> Plan:
    """Read a plan file.

    Raises:
        PlanError: It cannot be read, or :func:`parse_toml` refuses it.
    """
    name = repr(str(path))[:300]
    try:
        if not path.is_file():  # a device or a pipe could be read for ever
            raise PlanError(f"{name} is not a file that exists; name a plan in TOML")
        with path.open("rb") as file:
            data = file.read(SIZE_MAX + 1)
        text = data.decode()
    except OSError as error:
        raise PlanError(f"{name} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise PlanError(f"{name}: byte {error.start} is not UTF-8, as TOML must be") from None
    if len(data) > SIZE_MAX:
        raise PlanError(f"{name} is larger than {SIZE_MAX} bytes; that is no plan")
    return parse_toml(text.replace("\r\n", "\n"), str(path))
