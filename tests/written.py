"""What commands wrote, held against its schema: of whatever tests run, all that it leaves."""

from __future__ import annotations

import contextlib
import functools
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema_rs

from emu.schemas import text_of

#: What has a schema is known by what it says of itself …
_FORMATS = {
    "zcrx-emu fuzz finding": "finding",
    "zcrx-emu race finding": "race-finding",
    "zcrx-emu campaign": "campaign",
}
#: … or by fields that nothing else has.
_FIELDS = {
    "run": {"schema", "config", "ended"},
    "check": {"schema", "kind", "tools"},
    "flight": {"schema", "zero_ns", "events"},
    "fuzz": {"engine", "target", "executions"},
    "fuzz-merge": {"given", "kept", "unread"},
    "fuzz-differential": {"programs", "findings"},
    "race": {"memory", "mistakes", "scenarios"},
    "race-list": {"scenarios", "strategies", "memories"},
    "race-live": {"scenario", "dawdled", "hits"},
    "runs": {"schema", "folder", "runs"},
    "campaign-dry-run": {"pieces", "repeated"},
    "exec": {"program", "exit_code", "reports"},
    "replay": {"still_shows", "was"},
    "doctor": {"ok", "checks"},
    "faults": {"faults", "installed", "profiles"},
    "fault": {"number", "actor", "explanation"},
    "plan": {"text", "rules"},
}


def schema_for(value: object) -> str | None:
    """Name of the schema that a value must meet; None: it is none of ours."""
    if not isinstance(value, Mapping):
        return None
    if "format" in value:
        return _FORMATS.get(str(value["format"]))
    for name, fields in _FIELDS.items():
        if fields <= value.keys():
            return name
    return None


@functools.cache
def _validator(name: str) -> Any:
    return jsonschema_rs.validator_for(json.loads(text_of(name)))


def meets(name: str, value: object) -> bool:
    """Does a value meet a schema?"""
    return bool(_validator(name).is_valid(value))


def complaints(name: str, value: object) -> list[str]:
    """Where a value does not meet a schema."""
    validator = _validator(name)
    if validator.is_valid(value):
        return []
    return [f"{name}: {list(e.instance_path)}: {e.message}" for e in validator.iter_errors(value)]


def check_value(value: object) -> None:
    """Assert that a value meets its schema, if it is one of ours."""
    name = schema_for(value)
    if name is not None:
        found = complaints(name, value)
        assert not found, found[:5]


def check_text(text: str) -> None:
    """The same of what was written to stdout, if that is one value."""
    with contextlib.suppress(json.JSONDecodeError):
        check_value(json.loads(text))


Seen = dict[Path, int]


def seen(folder: Path) -> Seen:
    """The files of a folder that are looked at, each with the time at which it was written."""
    return {
        path: path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if (path.suffix == ".json" or path.name == "journal.toml") and path.is_file()
    }


def check_files(folder: Path, before: Seen) -> None:
    """Assert that all that was written into a folder meets its schema.

    Args:
        folder: With those in it.
        before: What was there already: a test's own files, damaged ones for instance.
    """
    for path, when in seen(folder).items():
        if before.get(path) == when:
            continue
        if path.suffix == ".toml":
            found = complaints("journal", tomllib.loads(path.read_text()))
            assert not found, (path, found[:5])
        else:
            check_value(json.loads(path.read_text()))
