"""A TAB in real shells, and what they are told."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest
import typer

from emu.cli.completing import answer
from emu.cli.completion import Shell
from emu.cli.root import COMPLETING, app

NOTHING_LEFT_OUT = "ZCRX_EMU_NOTHING_LEFT_OUT"
Offer = Callable[..., list[str]]


@pytest.fixture
def offers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Offer:
    """What stands for the last of some words, in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)

    def ask(*words: str) -> list[str]:
        monkeypatch.setenv("_ZCRX_EMU_WORDS", "\x1f".join(["zcrx-emu", *words]))
        said = answer("zsh", typer.main.get_command(app))
        return [line.partition("\t")[0] for line in said.splitlines()]

    return ask


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["str"], ["stress"]),
        (["stress", "--fau"], ["--faults"]),
        (["stress", "--kernel", "7."], ["7.1", "7.2", "7.3"]),
        (["stress", "--kernel=7.3"], ["--kernel=7.3"]),
        (["race", "--kernel", "refs"], ["refs-cache"]),
        (["stress", "--faults", "hos"], ["hostile"]),
        (["stress", "--faults", "bad-p"], ["bad-pad:"]),
        (["stress", "--faults", "hoard:1%,bad-pa"], ["hoard:1%,bad-pad:"]),
        (["stress", "--faults=hoard:1%,bad-pa"], ["--faults=hoard:1%,bad-pad:"]),
        (["stress", "--faults", "hoard:1%:m"], ["hoard:1%:max="]),
        (["stress", "--faults", "hoard:1%:queue=1:que"], []),
        (["stress", "--faults", "no-such:1%:m"], []),
        (["stress", "--traffic", "synthetic:flows=2,kind=r"], ["synthetic:flows=2,kind=raw"]),
        (["stress", "--pace", "o"], ["original"]),
        (["fuzz", "--bug", "bound-off"], ["bound-off-by-one"]),
        (["fuzz", "--engine", ""], ["libfuzzer", "afl", "generate"]),
        (["race", "--bug", "cve-2026-43121"], ["cve-2026-43121", "cve-2026-43121-unbounded"]),
        (["race", "--scenario", "refill-vs-s"], ["refill-vs-scrub"]),
        (["race", "--memory", ""], ["sc", "tso", "c11"]),
        (["race", "--strategy", "e"], ["exhaustive"]),
        (["exec", "--shape", "copy:3,per"], ["copy:3,per-buffer:"]),
        (["exec", "--exp"], ["--explain"]),
        (["exec", "./program", "--exp"], []),
        (["faults", "sh"], ["show"]),
        (["faults", "show", "tail-b"], ["tail-back"]),
        (["completion", ""], ["bash", "zsh", "fish"]),
        (["stress", "--duration", ""], []),
        (["no-such", "--x"], []),
    ],
    ids=" ".join,
)
def test_what_may_stand_there(offers: Offer, words: list[str], wanted: list[str]) -> None:
    assert offers(*words) == wanted


def test_files_of_the_kind_that_is_wanted(offers: Offer, tmp_path: Path) -> None:
    for name in ("mine.c", "mine.so", "mine.toml", "mine.pcap", "mine.py", ".hidden.c"):
        (tmp_path / name).write_text("")
    (tmp_path / "more").mkdir()
    assert offers("check", "m") == ["mine.c", "mine.so", "more/"]
    assert offers("stress", "--provider", "") == ["mine.c", "mine.so", "more/"]
    assert offers("stress", "--faults", "min") == ["mine.toml"]
    assert offers("stress", "--traffic", "pcap:mi") == ["pcap:mine.pcap"]
    assert offers("race", "--scenario", "mi") == ["mine.py"]
    assert offers("check", "nowhere/m") == []


def test_runs_the_newest_first(offers: Offer, tmp_path: Path) -> None:
    for name in ("20261124-081304-7", "20261125-081304-7"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    (tmp_path / "a.finding.json").write_text("{}")
    newest_first = ["runs/20261125-081304-7", "runs/20261124-081304-7"]
    assert offers("replay", "") == [*newest_first, "a.finding.json"]
    assert offers("report", "runs/20261125-081304-7", "runs/2") == newest_first


def test_nothing_heavy_is_loaded() -> None:
    script = (
        "import sys\nfrom emu.cli.root import main\nsys.argv = ['zcrx-emu']\n"
        "try: main()\nfinally: print(*sys.modules, file=sys.stderr)"
    )
    words = "\x1f".join(["zcrx-emu", "stress", "--kern"])
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, COMPLETING: "fish", "_ZCRX_EMU_WORDS": words},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("--kernel\t")
    assert not {"pydantic", "faker", "emu.cli.sheet", "emu.race"} & {*done.stderr.split()}


# ---- In shells ----------------------------------------------------------------------------------

#: What is typed, and what stands there when TAB was pressed.
TYPED = [
    ("zcrx-emu stre", "zcrx-emu stress "),
    ("zcrx-emu stress --faults bad-pad:1%,hoa", "zcrx-emu stress --faults bad-pad:1%,hoard:"),
    ("zcrx-emu stress --faults hoard:1%:ma", "zcrx-emu stress --faults hoard:1%:max="),
    ("zcrx-emu stress --kernel=7.3", "zcrx-emu stress --kernel=7.3 "),
    ("zcrx-emu exec ./some", "zcrx-emu exec ./some_file "),
]


def _shell(name: str) -> str:
    """It is there, or the test is left out, which CI does not do."""
    path = shutil.which(name)
    if path is None:
        say = pytest.fail if os.environ.get(NOTHING_LEFT_OUT) else pytest.skip
        say(f"there is no {name}")
    assert path is not None
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a shell starts: its settings, and a file."""
    load = {
        ".bashrc": 'PS1="ready> "; eval "$(zcrx-emu completion bash)"',
        ".zshrc": 'PS1="ready> "; autoload -U compinit; compinit -u -D; '
        'eval "$(zcrx-emu completion zsh)"',
    }
    for name, text in load.items():
        (tmp_path / name).write_text(f"bind 'set enable-bracketed-paste off' 2>/dev/null\n{text}\n")
    (tmp_path / "some_file").write_text("")
    return tmp_path


@pytest.fixture(params=["bash", "zsh"])
def terminal(request: pytest.FixtureRequest, folder: Path) -> Iterator[pexpect.spawn]:
    """A shell at its prompt, in a terminal."""
    words = {
        "bash": ["--noprofile", "--rcfile", str(folder / ".bashrc"), "-i"],
        "zsh": ["-d", "-i"],
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    child = pexpect.spawn(
        _shell(request.param),
        words[request.param],
        cwd=folder,
        env={**os.environ, "PATH": path, "TERM": "dumb", "ZDOTDIR": str(folder)},
        encoding="utf-8",
        timeout=120,
        dimensions=(24, 200),
    )
    child.expect("ready> ")
    yield child
    child.close(force=True)


def test_a_tab_completes(terminal: pexpect.spawn) -> None:
    for number, (typed, wanted) in enumerate(TYPED):
        # What is typed behind it comes when the shell has done what the TAB asked for.
        terminal.send(f"{typed}\t'|'")
        terminal.expect("'\\|'")
        shown = re.sub("\x1b\\[[?0-9]*[a-z]|\x07", "", terminal.before)
        terminal.sendcontrol("u")
        # A prompt of its own for each line; what is typed here does not look like it.
        terminal.sendline(f'PS1="ready""{number}> "')
        terminal.expect(f"ready{number}> ")
        assert _typed(shown) == wanted


def _typed(shown: str) -> str:
    """What a terminal has at the end, of what it was sent."""
    line: list[str] = []
    for character in shown.rpartition("\r")[2]:
        line.pop() if character == "\b" else line.append(character)
    return "".join(line)


def test_fish_completes(folder: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ask = "zcrx-emu completion fish | source; for line in $argv; complete -C $line; echo; end"
    done = subprocess.run(
        [_shell("fish"), "--no-config", "-c", ask, *(typed for typed, _ in TYPED)],
        cwd=folder,
        env={**os.environ, "PATH": path, "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    offered = [line.partition("\t")[0] for line in done.stdout.split("\n\n") if line]
    assert offered == [wanted.split(" ")[-1] or wanted.split(" ")[-2] for _, wanted in TYPED]


@pytest.mark.parametrize("shell", Shell)
def test_script_is_one_that_its_shell_reads(
    call: Callable[..., Any], tmp_path: Path, shell: Shell
) -> None:
    ended = call("completion", str(shell))
    file = tmp_path / "script"
    file.write_text(ended.stdout)
    done = subprocess.run([_shell(str(shell)), "-n", file], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_shell_without_a_script_is_wrong_use(call: Callable[..., Any]) -> None:
    ended = call("completion", "tcsh")
    assert ended.code == 2
    assert "'bash', 'zsh', 'fish'" in ended.stderr
