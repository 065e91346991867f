"""The schemas: each describes what commands really write, all of it, and nothing else."""

from __future__ import annotations

import importlib.util
import json
import shutil
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import jsonschema_rs
import pytest

from emu.config import RunConfig
from emu.schemas import FOLDER, names, text_of
from emu.verdict.report import write_last_word
from faults import parse_plan

ROOT = Path(__file__).parents[2]
_SPEC = importlib.util.spec_from_file_location("written", Path(__file__).parents[1] / "written.py")
assert _SPEC is not None
assert _SPEC.loader is not None
written = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(written)

Make = Callable[[], Any]
#: Takes the place of a value: nothing that we write has it.
_WRONG = {"?": [None]}


def _validator(name: str) -> Any:
    return jsonschema.Draft202012Validator(json.loads(text_of(name)))


# ---- What there is ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", names())
def test_schema_is_one_and_says_which(name: str) -> None:
    schema = json.loads(text_of(name))
    jsonschema_rs.meta.validate(schema)
    assert schema["$id"] == f"urn:zcrx-emu:{name}:1"
    assert schema["title"]


def _objects(schema: Any) -> Iterator[dict[str, Any]]:
    """Each part of a schema that describes an object."""
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for value in schema.values():
            yield from _objects(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _objects(value)


@pytest.mark.parametrize("name", names())
def test_no_object_may_have_what_is_not_said(name: str) -> None:
    for part in _objects({k: v for k, v in json.loads(text_of(name)).items() if k != "if"}):
        said = part.get("additionalProperties")
        assert said is False or isinstance(said, dict) or part.get("maxProperties") == 0, part


def test_schema_is_shown(call: Callable[..., Any]) -> None:
    ended = call("schema", "run")
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.stdout == (FOLDER / "run.json").read_text()
    ended = call("schema")
    assert all(f" {name} " in ended.stdout for name in names())


def test_unknown_schema_is_wrong_use(call: Callable[..., Any]) -> None:
    ended = call("schema", "rum")
    assert (ended.code, ended.stdout) == (2, "")
    assert ended.stderr == "zcrx-emu: error: schema: 'rum' is not allowed; known are run, runs\n"


def test_each_schema_is_known_by_its_values() -> None:
    known = {*written._FIELDS, *written._FORMATS.values()}
    # A list of findings alone may be anything; a plan's file is TOML.
    assert known == {*names()} - {"fuzz-minimize", "journal"}
    assert written.schema_for({"findings": []}) is None


# ---- What is written ----------------------------------------------------------------------------


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the values in a value are; of a list the first two."""
    yield path
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value[:2])
    for key, inner in items:
        yield from _paths(inner, (*path, key))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def check_meets(name: str, value: Any, *, free: str = "") -> None:
    """Assert that a value meets a schema, and that it would not if anything in it were another.

    Args:
        name: Of the schema.
        value: What was written.
        free: The one field that somebody else describes.
    """
    value = json.loads(json.dumps(value))
    assert written.complaints(name, value) == []
    assert next(_validator(name).iter_errors(value), None) is None
    for path in list(_paths(value)):
        if free and free in path:
            continue
        if path:
            holder, key = _at(value, path[:-1]), path[-1]
            before, holder[key] = holder[key], _WRONG
            assert not written.meets(name, value), f"{path} may be anything"
            holder[key] = before
        if isinstance(here := _at(value, path), dict):
            here["no such field"] = _WRONG
            assert not written.meets(name, value), f"{path} may have any field"
            del here["no such field"]


def _json(call: Callable[..., Any], *words: str) -> Any:
    ended = call(*words, "--json", "-")
    assert ended.stdout, ended.stderr
    return json.loads(ended.stdout)


def test_run_that_passes(run_small: Callable[..., Any]) -> None:
    plan = parse_plan("bad-pad:1%,double-return:1%")
    check_meets("run", run_small(plan=plan, queues=2).as_dict())


def test_run_that_fails_and_its_flight(
    call: Callable[..., Any], broken_provider: str, tmp_path: Path
) -> None:
    words = ("stress", "--packets", "20000", "--faults", "hostile", "--provider", broken_provider)
    report = _json(call, *words, "--run-dir", "run")
    assert not report["ok"]
    assert report["reconciliation"]["mismatches"]
    check_meets("run", report)
    check_meets("flight", json.loads((tmp_path / "run" / "flight.json").read_text()))
    check_meets("journal", tomllib.loads((tmp_path / "run" / "journal.toml").read_text()))
    check_meets("runs", _json(call, "runs", "."), free="options")


def test_run_without_traffic(call: Callable[..., Any]) -> None:
    check_meets("run", _json(call, "stress", "--faults", "setup-fail:at=0"))


def test_last_word_of_a_run(tmp_path: Path) -> None:
    write_last_word(str(tmp_path), RunConfig(seed=1).as_dict())
    last = json.loads((tmp_path / "run.json").read_text())
    check_meets("run", last)
    assert written.complaints("run", last | {"ok": True})
    del last["config"]["areas"]
    assert written.complaints("run", last)


def test_plan_file_of_ones_own() -> None:
    text = """
        [[rule]]
        fault = "bad-pad"
        probability = "1%"
        [[rule]]
        fault = "bad-index"
        every = 1000
        once = true
        queue = 1
        params = {value = "count"}
    """
    check_meets("journal", tomllib.loads(text))
    assert written.complaints("journal", {"rule": [{"fault": "bad-pad", "every": 3, "at": 1}]})


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("faults", ("faults", "list")),
        ("fault", ("faults", "show", "bad-index")),
        ("plan", ("faults", "check", "chaos")),
        ("plan", ("faults", "check", "bad-pad:at=1+2:queue=3,alias:every=2")),
        ("doctor", ("doctor",)),
        ("race-list", ("race", "--list")),
    ],
)
def test_what_commands_say(call: Callable[..., Any], name: str, words: tuple[str, ...]) -> None:
    check_meets(name, _json(call, *words))


@pytest.mark.parametrize("path", sorted((ROOT / "tests/fuzz/findings").glob("*.json"))[::12])
def test_findings_that_are_kept(path: Path) -> None:
    check_meets("finding", json.loads(path.read_text()))


def test_search_its_finding_and_its_replay(call: Callable[..., Any], tmp_path: Path) -> None:
    words = ("race", "--scenario", "refill-vs-scrub", "--bug", "cve-2026-43121", "--findings", "f")
    check_meets("race", _json(call, *words))
    (found,) = (tmp_path / "f").iterdir()
    check_meets("race-finding", json.loads(found.read_text()))
    check_meets("replay", _json(call, "replay", f"f/{found.name}"))


@pytest.mark.long
def test_hunt_and_what_is_made_of_its_corpus(call: Callable[..., Any], tmp_path: Path) -> None:
    shutil.copytree(ROOT / "tests/fuzz/corpus", tmp_path / "c")  # a mistake may be found at once
    bug = ("fuzz", "--bug", "bound-off-by-one", "--corpus", "c")
    check_meets("fuzz", _json(call, *bug, "--stop-at", "1", "--time", "60", "--findings", "f"))
    found = next((tmp_path / "f").glob("*.finding.json"))
    check_meets("finding", json.loads(found.read_text()))
    check_meets("replay", _json(call, "replay", f"f/{found.name}"))
    check_meets("fuzz-minimize", _json(call, *bug, "--minimize", f"f/{found.name}"))
    check_meets("fuzz-differential", _json(call, "fuzz", "--differential", "--corpus", "c"))
    merged = _json(call, "fuzz", "--merge", "c", "--corpus", "merged", "--time", "20")
    check_meets("fuzz-merge", merged)


@pytest.mark.long
def test_campaign(call: Callable[..., Any], tmp_path: Path) -> None:
    plan = """
        [[job]]
        name = "levels"
        command = "stress"
        options = {packets = 2000}
        matrix = {kernel = ["6.15", "7.1"]}
        [[job]]
        name = "bug"
        command = "race"
        options = {scenario = "refill-vs-scrub", bug = "cve-2026-43121", time = 2}
    """
    (tmp_path / "plan.toml").write_text(plan)
    check_meets("campaign-dry-run", _json(call, "campaign", "plan.toml", "--dry-run"))
    summary = _json(call, "campaign", "plan.toml", "--workers", "1")
    assert summary["findings"]
    check_meets("campaign", summary)


@pytest.mark.long
def test_check_and_real_processes(call: Callable[..., Any], tmp_path: Path) -> None:
    provider = str(ROOT / "docs/examples/broken_provider.c")
    check_meets("check", _json(call, "check", provider, "--time", "6", "--dir", "d"))
    check_meets("check", json.loads((tmp_path / "d" / "check.json").read_text()))
    live = ("race", "--live", "--scenario", "refill-vs-scrub", "--time", "3")
    check_meets("race-live", _json(call, *live))
