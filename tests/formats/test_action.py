"""The action for hosted CI: valid, and its commands do what it says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from emu.cli.root import load

from .ktap_reader import read_ktap

ROOT = Path(__file__).parents[2]
ACTION = ROOT / "action.yml"
PROJECT = ROOT / "docs" / "examples" / "project"
WORKFLOW = PROJECT / ".github" / "workflows" / "test.yml"
EXAMPLES = ROOT / "docs" / "examples"


def action() -> dict[str, Any]:
    return dict(yaml.safe_load(ACTION.read_text()))


def steps() -> dict[str, dict[str, Any]]:
    return {step.get("name", step.get("uses")): step for step in action()["runs"]["steps"]}


def run_step(
    name: str, folder: Path, **given: str
) -> tuple[subprocess.CompletedProcess[str], Mapping[str, str]]:
    """Run a step as a runner does; what came of it, and its outputs."""
    step = steps()[name]
    values = {key: str(item.get("default", "")) for key, item in action()["inputs"].items()} | given
    environment = {
        key: re.sub(r"\$\{\{ inputs\.([a-z-]+) \}\}", lambda found: values[found[1]], str(text))
        for key, text in step.get("env", {}).items()
    }
    assert "${{" not in "".join(environment.values())
    (folder / "step.sh").write_text(step["run"])
    ended = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", folder / "step.sh"],
        cwd=folder,
        env={
            **os.environ,
            **environment,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "GITHUB_OUTPUT": str(folder / "output"),
            "GITHUB_STEP_SUMMARY": str(folder / "summary"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    said = (folder / "output").read_text().split() if (folder / "output").exists() else []
    return ended, dict(line.split("=", 1) for line in said)


@pytest.mark.parametrize(
    ("schema", "file"), [("github-actions", ACTION), ("github-workflows", WORKFLOW)]
)
def test_files_are_what_a_runner_takes(schema: str, file: Path) -> None:
    words = ["--builtin-schema", f"vendor.{schema}", str(file)]
    ended = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", *words],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout


def test_what_is_given_never_becomes_a_command() -> None:
    """A value goes through the environment: in a script it would be read as shell."""
    scripts = [step["run"] for step in steps().values() if "run" in step]
    assert len(scripts) >= 3
    for script in scripts:
        assert "${{" not in script
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_inputs_are_used_and_told() -> None:
    text = ACTION.read_text()
    docs = (ROOT / "docs" / "ci.md").read_text()
    for name in action()["inputs"]:
        assert f"inputs.{name}" in text
        assert f"`{name}`" in docs
    given = yaml.safe_load(WORKFLOW.read_text())["jobs"]["check"]["steps"][1]["with"]
    assert given.keys() <= action()["inputs"].keys()
    assert (PROJECT / given["file"]).is_file()


def test_installs_what_this_project_says_that_it_wants() -> None:
    script = steps()["Install"]["run"]
    (packages,) = re.findall(r"apt-get install -y -q (.*)", script)
    known = (ROOT / ".ci" / "run").read_text()
    for name in packages.split():
        assert re.search(rf"\b{re.escape(name)}\b", known), name


def test_wrong_use_is_its_exit_code(tmp_path: Path) -> None:
    ended, outputs = run_step("Check", tmp_path, file="absent $(touch gone).c")
    assert ended.returncode == 2
    assert outputs == {"exit-code": "2"}
    assert "there is no such file" in (tmp_path / "summary").read_text()
    assert not (tmp_path / "gone").exists()


@pytest.mark.long
def test_consumer_is_checked_and_everything_is_kept(tmp_path: Path) -> None:
    file = str(EXAMPLES / "plain_consumer.c")
    given = {"time": "2", "seed": "3", "corpus-key": "none"}
    ended, outputs = run_step("Check", tmp_path, file=file, **given)
    assert (ended.returncode, outputs) == (0, {"exit-code": "0"}), ended.stdout
    out = tmp_path / "zcrx-emu-check"
    kept = {path.name for path in out.iterdir()}
    assert kept == {f"check.{kind}" for kind in ("html", "json", "ktap", "sarif", "txt")} | {
        "tools"
    }
    assert all(test.is_ok for test in read_ktap((out / "check.ktap").read_text()))
    assert "PASS" in (tmp_path / "summary").read_text()


@pytest.mark.long
def test_corpus_is_made_small_and_a_wrong_one_is_kept(tmp_path: Path) -> None:
    programs = sorted((ROOT / "tests" / "fuzz" / "corpus").iterdir())[:3]
    corpus = tmp_path / "zcrx-emu-corpus"
    corpus.mkdir()
    for number, path in enumerate([*programs, *programs]):
        shutil.copy(path, corpus / f"p{number}")
    ended, _ = run_step("Make the corpus small", tmp_path, file=str(EXAMPLES / "plain_provider.c"))
    assert ended.returncode == 0, ended.stderr
    assert 0 < len(list(corpus.iterdir())) <= 3
    ended, _ = run_step("Make the corpus small", tmp_path, file="absent.c")
    assert ended.returncode == 0, ended.stderr
    assert 0 < len(list(corpus.iterdir())) <= 3


def shell_of_docs() -> list[str]:
    text = (ROOT / "docs" / "ci.md").read_text()
    (block,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [line.partition("  #")[0] for line in block.replace("\\\n", " ").splitlines() if line]


def test_recipe_is_read_by_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)
    lines = [line.split() for line in shell_of_docs()]
    assert [words[:2] for words in lines if words[0] == "zcrx-emu"] == [
        ["zcrx-emu", "check"],
        ["zcrx-emu", "fuzz"],
    ]
    for words in lines:
        if words[0] == "zcrx-emu":
            load(words[1]).make_context(words[1], words[2:])


@pytest.mark.long
def test_recipe_works_on_the_project(tmp_path: Path) -> None:
    """Each command of it, as it stands there but for the time."""
    folder = tmp_path / "project"
    shutil.copytree(PROJECT, folder)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for line in shell_of_docs():
        ended = subprocess.run(
            ["sh", "-c", line.replace("--time 300", "--time 1")],
            cwd=folder,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, f"{line}\n{ended.stdout}{ended.stderr}"
    for name in ("check.sarif", "check.ktap", "junit.xml"):
        assert (folder / name).is_file()
    (fuzz, race, *_) = read_ktap((folder / "check.ktap").read_text())
    assert fuzz.is_ok
    assert len(race.parts) > 40
    assert list((folder / "merged").iterdir())
