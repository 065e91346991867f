"""Findings of race testing as files that a person can read and ``zcrx-emu replay`` can follow."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from emu.bugs import RACING_BUGS, Bug, find_bug
from emu.errors import ConfigError
from emu.host.places import absolute, found_again
from emu.race.runner import Found, Memory, TimelineStep
from emu.race.scenario import Scenario
from emu.verdict.finding_file import claims_format, read_content, wrong_file
from emu.verdict.report import write_text

FORMAT = "zcrx-emu race finding"
VERSION = 1
SUFFIX = ".race.json"
_SCHEDULE = re.compile(r"\d+(:\d+)?( \d+(:\d+)?)*|")


@dataclass(frozen=True, slots=True)
class Artifact:
    """One finding.

    Attributes:
        name: Of the scenario.
        scenario: Its text, as the simulation reads it, with the fewest operations.
        actors: Names of the actors, in that order.
        memory: The memory model.
        bug: The seeded bug in the build, or None.
        provider: The C source of a provider in the place of ours, or None.
        found: What was found.
        found_by: Strategy, seed, executions: for people.
    """

    name: str
    scenario: str
    actors: tuple[str, ...]
    memory: Memory
    bug: Bug | None
    provider: Path | None
    found: Found
    found_by: dict[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Of what a replay needs: a file that was cut or edited does not have it any more."""
        bug = self.bug.name if self.bug else ""
        parts = [self.scenario, self.memory, bug, str(self.provider), self.found.schedule]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    @property
    def file_name(self) -> str:
        """A file name made from the scenario, the kind and the schedule."""
        return f"{self.name}-{self.found.kind}-{self.digest[:8]}{SUFFIX}"

    def write(self, folder: Path) -> Path:
        """Write it into a folder; the file.

        Raises:
            EnvironmentProblem: It cannot be written.
        """
        path = folder / self.file_name
        found = asdict(self.found)
        steps = found.pop("steps")
        content = {
            "format": FORMAT,
            "version": VERSION,
            "name": self.name,
            "scenario": self.scenario.splitlines(),
            "actors": self.actors,
            "memory": self.memory,
            "bug": self.bug.name if self.bug else None,
            "provider": str(self.provider) if self.provider else None,
            "folder": absolute(str(folder)),
            "sha256": self.digest,
            "finding": found,
            "found_by": self.found_by,
            "steps": steps,
        }
        write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        return path


def artifact_of(
    scenario: Scenario,
    memory: Memory,
    bug: Bug | None,
    provider: Path | None,
    found: Found,
    found_by: dict[str, Any],
) -> Artifact:
    """Make the artifact of a finding."""
    actors = tuple(scenario.actors)
    # It is replayed from whatever folder.
    provider = provider.resolve() if provider is not None else None
    return Artifact(scenario.name, scenario.text, actors, memory, bug, provider, found, found_by)


def is_race_finding(path: Path) -> bool:
    """Whether a file claims to be one (which need not be sound)."""
    return claims_format(path, SUFFIX, FORMAT)


def read_artifact(path: Path) -> Artifact:
    """Read a finding.

    Raises:
        ConfigError: The file cannot be read, was cut off or edited, is of another version, or
            names a bug that does not exist.
    """
    content = read_content(path, FORMAT, version=VERSION)
    try:
        bug, provider = content["bug"], content["provider"]
        artifact = Artifact(
            name=str(content["name"]),
            scenario="\n".join(content["scenario"]) + "\n",
            actors=tuple(str(name) for name in content["actors"]),
            memory=Memory(content["memory"]),
            bug=find_bug(str(bug), RACING_BUGS) if bug is not None else None,
            provider=Path(provider) if provider is not None else None,
            found=Found(
                **content["finding"], steps=tuple(TimelineStep(**step) for step in content["steps"])
            ),
            found_by=dict(content["found_by"]),
        )
        whole = bool(_SCHEDULE.fullmatch(artifact.found.schedule))
    except ConfigError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise wrong_file(path, f"is damaged: {error}") from None
    if not whole or artifact.digest != content.get("sha256"):
        raise wrong_file(
            path, "is damaged: scenario and schedule are not those that its digest is of"
        )
    if artifact.provider is None:
        return artifact
    place = found_again(str(artifact.provider), content.get("folder"), path.parent)
    return replace(artifact, provider=Path(place))
