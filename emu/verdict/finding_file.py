"""What files of findings share, whichever tool wrote them: JSON of a format and a version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from emu.errors import ConfigError


def claims_format(path: Path, suffix: str, form: str) -> bool:
    """Whether a file claims to be of a format (which need not be sound): by its name or text."""
    if path.name.endswith(suffix):
        return True
    try:
        return form in path.read_text(errors="replace")[:200] if path.is_file() else False
    except OSError:
        return False


def wrong_file(path: Path, why: str) -> ConfigError:
    """The one form that messages about such a file have."""
    return ConfigError(f"finding: {str(path)!r} {why}")


def read_json(path: Path) -> object:
    """Read a file that somebody else may have written.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no JSON, or none that can be read: nested too deeply, absurd numbers.
    """
    try:
        value: object = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value


def read_content(path: Path, form: str, **versions: int) -> dict[str, Any]:
    """Read a finding's file.

    Args:
        path: The file.
        form: Its format.
        versions: Fields that must have just these numbers.

    Raises:
        ConfigError: It cannot be read, was cut off, or is of another format or version.
    """
    try:
        content = read_json(path)
    except OSError as error:
        raise wrong_file(path, f"cannot be read ({error.strerror})") from None
    except ValueError:
        raise wrong_file(path, "is cut off, or no finding at all: it is not whole JSON") from None
    if not isinstance(content, dict) or content.get("format") != form:
        raise wrong_file(path, f"is no finding: its format is not {form!r}")
    for name, known in versions.items():
        if content.get(name) != known:
            raise wrong_file(
                path, f"has {name} {content.get(name)!r}; this program reads {name} {known}"
            )
    return content
