"""A provider as C source or as a library: every command takes it, or says what to do."""

from __future__ import annotations

import json
import shlex
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emu.compile.provider_file import library_of
from emu.errors import ConfigError, EnvironmentProblem
from emu.spec.stepping import StepProvider

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
Call = Callable[..., Any]


@pytest.fixture(params=["source", "library"])
def mine(request: pytest.FixtureRequest, tmp_path: Path, plain_provider: str) -> str:
    """The plain example in the folder of the test, in either form; its name there."""
    name = "mine.c" if request.param == "source" else "mine.so"
    wanted = EXAMPLES / "plain_provider.c" if request.param == "source" else plain_provider
    shutil.copy(wanted, tmp_path / name)
    return name


def test_stress_takes_it_and_replay_does_from_elsewhere(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mine: str
) -> None:
    ended = call("stress", "--packets", "2000", "--provider", mine, "--run-dir", "one")
    path = str(tmp_path / mine)
    assert (ended.code, ended.stderr) == (0, "")
    assert f"note: the provider is plain, from {path}" in ended.stdout
    one = tmp_path / "one"
    assert json.loads((one / "run.json").read_text())["config"]["provider"] == path
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    ended = call("replay", str(one), "--run-dir", "two")
    assert (ended.code, ended.stderr) == (0, "")
    assert f"note: the provider is plain, from {path}" in ended.stdout


def test_recv_takes_it(script: Any, mine: str) -> None:
    running = script.start(
        *("recv", "--listen", "127.0.0.1:0", "--output", "got", "--provider", mine)
    )
    host, port = running.expect(r"^listening on \S+:\d+$").group().split()[2].split(":")
    with socket.create_connection((host, int(port))) as sender:
        sender.sendall(b"x" * 100_000)
    ended = running.finish()
    assert ended.code == 0
    assert f"note: the provider is plain, from {script.folder / mine}" in ended.stdout
    assert (script.folder / "got").read_bytes() == b"x" * 100_000


def test_fuzz_takes_it(call: Call, mine: str) -> None:
    ended = call(
        *("fuzz", "--provider", mine, "--engine", "generate", "--fast"),
        *("--jobs", "1", "--time", "0.3"),
    )
    assert ended.code == 0
    assert f"provider {mine}" in ended.stdout


@pytest.mark.long
def test_live_race_takes_it(script: Any, mine: str) -> None:
    """With the core that dawdles: the accessors of its header dawdle, too."""
    ended = script.run(
        *("race", "--live", "--scenario", "refill-vs-scrub", "--provider", mine),
        *("--time", "1", "--json", "out.json"),
    )
    assert ended.code == 0
    assert f"live: refill-vs-scrub, provider {mine}, real processes for 1 s" in ended.stdout
    result = json.loads((script.folder / "out.json").read_text())
    assert result["provider"] == str(script.folder / mine)
    assert result["returned"] > 0


@pytest.mark.long
def test_live_race_finds_a_broken_one(script: Any) -> None:
    source = EXAMPLES / "broken_provider.c"
    ended = script.run(
        *("race", "--live", "--scenario", "never-given-vs-scrub", "--provider", source),
        *("--time", "4", "--seed", "1"),
    )
    assert ended.code == 1
    assert f" --provider {shlex.quote(str(source))} --seed " in ended.stdout


def test_race_takes_a_source_and_says_who_takes_a_library(call: Call, mine: str) -> None:
    ended = call(
        *("race", "--provider", mine, "--scenario", "refill-vs-scrub", "--schedules", "10")
    )
    if mine.endswith(".c"):
        assert ended.code == 0
        assert f"provider {mine}" in ended.stdout
    else:
        assert ended.code == 2
        assert len(ended.stderr.splitlines()) == 1
        assert "name the C source of one" in ended.stderr
        assert "'race --live', 'fuzz' and 'stress' take one" in ended.stderr


def test_steps_are_taken_with_a_source() -> None:
    provider = StepProvider(num_niovs=4, rq_entries=8, provider=str(EXAMPLES / "plain_provider.c"))
    assert len(provider.alloc()) == 1


@pytest.mark.parametrize("name", ["missing.c", "missing.so", "", "folder.c", "x" * 5000])
@pytest.mark.parametrize(
    "command",
    [
        ("stress", "--packets", "10"),
        ("recv", "--listen", "127.0.0.1:0", "--output", "got"),
        ("fuzz", "--time", "1", "--engine", "generate"),
        ("race", "--schedules", "1"),
        ("race", "--live", "--time", "1", "--scenario", "refill-vs-scrub"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_what_is_not_there_is_refused_alike(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.c").mkdir()
    ended = call(*command, "--provider", name)
    assert ended.code == 2
    assert len(ended.stderr.splitlines()) == 1
    assert "provider: " in ended.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) in (["folder.c"], ["folder.c", "got"])


def test_source_that_does_not_compile_is_refused_with_its_first_error(
    call: Call, tmp_path: Path
) -> None:
    source = tmp_path / "wrong.c"
    source.write_text("int x = unknown;\n")
    ended = call("stress", "--packets", "10", "--provider", source)
    assert ended.code == 2
    assert len(ended.stderr.splitlines()) == 1
    assert "wrong.c:1:9: error: " in ended.stderr


def test_source_without_a_provider_in_it_is_refused_by_its_own_name(
    call: Call, tmp_path: Path
) -> None:
    source = tmp_path / "empty.c"
    source.write_text("int x;\n")
    ended = call("stress", "--packets", "10", "--provider", source)
    assert ended.code == 2
    assert f"provider: {str(source)!r}" in ended.stderr
    assert "zcrx_provider" in ended.stderr


def test_what_is_compiled_is_said_once(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    options = ("stress", "--packets", "100", "--provider", EXAMPLES / "plain_provider.c")
    said = f"compiling (once; kept in {tmp_path / 'cache' / 'zcrx-emu'})"
    assert script.run(*options).stdout.splitlines().count(said) == 1
    assert script.run(*options).stdout.splitlines().count(said) == 0


def test_library_is_compiled_once_for_each_text(tmp_path: Path) -> None:
    source = tmp_path / "a.c"
    source.write_text("int x;\n")
    first = library_of(source)
    assert library_of(source) == first
    source.write_text("int y;\n")
    assert library_of(source) != first
    with pytest.raises(ConfigError, match="there is no such file"):
        library_of(tmp_path / "b.c")
    source.write_text("#error no\n")
    with pytest.raises(EnvironmentProblem, match="no"):
        library_of(source)
