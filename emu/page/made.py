"""Pages made from files: of whatever kind a file is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emu.campaign.store import FILE as STORE
from emu.campaign.summary import FORMAT as CAMPAIGN
from emu.campaign.summary import read_summary
from emu.errors import ConfigError, EmuError, cut
from emu.fuzz.finding import FORMAT as FUZZ_FINDING
from emu.page.campaign_page import pieces_page
from emu.page.check_page import check_page
from emu.page.fuzz_page import campaign_page, finding_page
from emu.page.race_page import Pictured, race_page, search_page
from emu.page.run_page import comparison_page, run_page
from emu.race.artifact import FORMAT as RACE_FINDING
from emu.race.artifact import Artifact, read_artifact
from emu.race.build import build_simulation
from emu.race.timeline import Place, find_places
from emu.verdict.finding_file import read_json

#: What a folder has in it that a page can be made of, what is looked for first in front.
_REPORTS = ("run.json", "check.json")
_ALLOWED = "name the folder of a run, a check or a campaign, a report in JSON, or a finding"


def _read(path: Path) -> tuple[Path, Mapping[str, Any]]:
    """The file that was meant, and what is in it.

    Raises:
        ConfigError: It cannot be read, or is none of ours.
    """
    file = path
    try:
        if path.is_dir():
            file = next((path / name for name in _REPORTS if (path / name).is_file()), path)
        value = read_json(file)
    except OSError as error:
        raise ConfigError(
            f"report: {cut(repr(str(path)))} cannot be read ({error.strerror}); {_ALLOWED}"
        ) from None
    except ValueError:
        raise ConfigError(f"report: {cut(repr(str(file)))} is no JSON; {_ALLOWED}") from None
    if not isinstance(value, dict):
        raise ConfigError(f"report: {cut(repr(str(file)))} is no report; {_ALLOWED}")
    return file, value


def search_text(summary: Mapping[str, Any]) -> str:
    """The page of a search: its scenarios, and the picture of the first mistake."""
    first, unread = None, []
    for item in summary["scenarios"]:
        if item["finding"] is not None and first is None:
            try:
                first = picture_of(read_artifact(Path(item["finding"]["file"])))
            except EmuError as error:
                unread.append(str(error))
    return search_page(summary, first, unread)


def picture_of(artifact: Artifact) -> Pictured:
    """A finding of race with the lines of its source, where they can be had."""
    places: dict[int, Place] = {}
    without = None
    try:
        executable = build_simulation(artifact.bug, artifact.provider)
        places = find_places(executable, artifact.found.places)
    except EmuError as error:
        without = str(error)
    return Pictured(artifact, places, without)


def campaign_text(summary: Mapping[str, Any]) -> str:
    """The page of a campaign, with those of its findings whose files can be read."""
    values: list[Mapping[str, Any]] = []
    unread = []
    for item in summary["findings"]:
        try:
            value = read_json(Path(item["file"]))
            if not isinstance(value, dict):
                raise ValueError("no finding")
            values.append(value)
        except (OSError, ValueError) as error:
            unread.append(f"{item['file']}: {error}")
    return campaign_page(summary, values, unread)


def page_of(path: Path) -> str:
    """The page of a file, or of a folder's report.

    Raises:
        ConfigError: It cannot be read, or is none of ours.
    """
    if (path / STORE).is_file():
        return pieces_page(read_summary(path))
    file, value = _read(path)
    if value.get("format") == RACE_FINDING:
        return race_page(picture_of(read_artifact(file)))
    if value.get("format") == FUZZ_FINDING:
        return finding_page(value, str(file))
    if value.get("format") == CAMPAIGN:
        return pieces_page(value)
    if "tools" in value:
        return check_page(value)
    if "scenarios" in value and "memory" in value:
        return search_text(value)
    if "executions" in value and "engine" in value:
        return campaign_text(value)
    if "config" not in value and "problems" not in value:
        raise ConfigError(f"report: {cut(repr(str(file)))} is no report; {_ALLOWED}")
    return run_page(value, file.parent)


def page_of_two(first: Path, second: Path) -> str:
    """The page of two runs beside each other.

    Raises:
        ConfigError: One of them cannot be read, or is no run.
    """
    values = []
    for path in (first, second):
        file, value = _read(path)
        if "config" not in value:
            raise ConfigError(f"report: {cut(repr(str(file)))} is no run: two runs are compared")
        values.append(value)
    return comparison_page(*values)
