"""Plans: what they come to, and what is refused before anything starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emu.campaign.kinds import KINDS, Kind
from emu.campaign.plan import Plan, read_plan, seeds_of
from emu.cli.root import load
from emu.errors import ConfigError

Reader = Callable[[str], Plan]
STRESS = '[[job]]\ncommand = "stress"\n'


def test_pieces_are_seeds_by_matrix_by_times(plan_of: Reader) -> None:
    plan = plan_of(
        STRESS + "seeds = 3\ntimes = 2\noptions = { packets = 10, pin = false }\n"
        'matrix = { kernel = ["6.15", "7.3"], queues = [1, 2] }\n'
    )
    assert len(plan.pieces) == 3 * 2 * 4
    assert {piece.seed for piece in plan.pieces.values()} == {1, 2, 3}
    first = next(iter(plan.pieces.values()))
    assert first.words == ("--packets=10", "--no-pin", "--kernel=6.15", "--queues=1")
    assert first.cell == {"kernel": "6.15", "queues": 1}
    assert first.again == (
        "zcrx-emu stress --packets=10 --no-pin --kernel=6.15 --queues=1 --seed=1"
    )
    # Whatever ends it, each combination had its share: one piece of each comes first.
    assert len({str(piece.cell) for piece in list(plan.pieces.values())[:4]}) == 4


def test_names_are_of_what_a_piece_does(plan_of: Reader) -> None:
    job = STRESS + 'name = "a"\noptions = { packets = 10 }\nseeds = [7]\n'
    (name,) = plan_of(job).pieces
    assert list(plan_of(job.replace('"a"', '"b"') + "limit = 5\n").pieces) == [name]
    assert list(plan_of(job.replace("10", "11")).pieces) != [name]
    assert list(plan_of(job.replace("[7]", "[8]")).pieces) != [name]
    assert len(plan_of(job + "times = 2\n").pieces.keys() | {name}) == 2
    both = plan_of(job + job.replace('"a"', '"b"'))
    assert (list(both.pieces), both.repeated) == ([name], 1)


def test_files_are_a_part_of_it_wherever_they_lie(plan_of: Reader, tmp_path: Path) -> None:
    folder = tmp_path / "there"
    folder.mkdir()
    (tmp_path / "mine.c").write_text("one")
    (tmp_path / "mine.h").write_text("header")
    text = STRESS + 'options = { provider = "mine.c", packets = 9 }\nfiles = ["*.h"]\n'
    (piece,) = plan_of(text).pieces.values()
    assert [item.place for item in piece.inputs] == ["mine.c", "mine.h"]
    (tmp_path / "mine.c").write_text("two")
    (changed,) = plan_of(text).pieces.values()
    assert changed.name != piece.name
    assert changed.needs_compiler

    elsewhere = folder / "plan.toml"
    elsewhere.write_text(text.replace('"mine.c"', '"../mine.c"').replace('["*.h"]', "[]"))
    plan = read_plan(elsewhere)
    (far,) = plan.pieces.values()
    (given,) = far.inputs
    assert far.words[0] == f"--provider={given.place}"
    assert not Path(given.place).is_absolute()
    assert plan.files[given.sha256] == b"two"


def test_modules_beside_the_plan_go_with_it(plan_of: Reader, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def main(consumer): pass\n")
    (piece,) = plan_of(STRESS + 'options = { consumer = "mine:main" }\n').pieces.values()
    assert [item.place for item in piece.inputs] == ["mine.py"]
    assert not piece.needs_compiler


def test_fuzz_has_a_corpus_for_each_target(plan_of: Reader, tmp_path: Path) -> None:
    (tmp_path / "p.c").write_text("one")
    job = '[[job]]\ncommand = "fuzz"\noptions = { time = 1 }\n'
    text = (
        job + job + 'matrix = { kernel = ["6.18"] }\n' + job + 'matrix = { provider = ["p.c"] }\n'
    )
    targets = [piece.target for piece in plan_of(text).pieces.values()]
    assert targets[:2] == ["ours", "6.18"]
    (tmp_path / "p.c").write_text("two")
    again = [piece.target for piece in plan_of(text).pieces.values()]
    assert targets[2].startswith("p.c-")
    assert (again[:2], again[2] == targets[2]) == (targets[:2], False)


@pytest.mark.parametrize(
    ("value", "seeds"),
    [(3, [1, 2, 3]), ([5, 1], [5, 1]), ("10-12", [10, 11, 12])],
)
def test_seeds(value: Any, seeds: list[int]) -> None:
    assert list(seeds_of(value, 100)) == seeds


@pytest.mark.parametrize("value", [0, -1, [], "", "9", "9-1", "a-b", "1-", [101], "1-101", [-1]])
def test_seeds_that_are_none(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"^seeds: .*allowed"):
        seeds_of(value, 100)


FUZZ = '[[job]]\ncommand = "fuzz"\n'
RACE = '[[job]]\ncommand = "race"\n'
CHECK = '[[job]]\ncommand = "check"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ["job: it is missing", "[[job]]"]),
        ("job = []", ["job: []", "[[job]]"]),
        ("job = 3", ["job: 3", "[[job]]"]),
        ("= 3", ["is no TOML"]),
        ("sekonds = 3\n" + STRESS, ["key: 'sekonds'", "known here are job, seconds, findings"]),
        ("seconds = -1\n" + STRESS, ["seconds: -1", "greater than or equal to 0"]),
        ("seconds = nan\n" + STRESS, ["seconds: nan"]),
        ("findings = 1.5\n" + STRESS, ["findings: 1.5", "integer"]),
        (STRESS + "seed = 1\n", ["job 1: key: 'seed'", "seeds"]),
        ("[[job]]\nseeds = 1\n", ["job 1: command: it is missing", "stress, fuzz, race, check"]),
        ('[[job]]\ncommand = "recv"\n', ["job 1: command: 'recv'", "stress, fuzz, race, check"]),
        (STRESS + "name = 'a b'\n", ["job 1: name: 'a b'"]),
        (STRESS + "name = 'a'\n" + STRESS + "name = 'a'\n", ["job 2 (a): name: 'a'", "another"]),
        (STRESS + "times = 0\n", ["job 1: times: 0"]),
        (STRESS + "limit = 0\n", ["job 1: limit: 0"]),
        (STRESS + "seeds = 1.5\n", ["job 1: seeds: 1.5", "a count, a list"]),
        (STRESS + 'seeds = "x"\n', ["job 1: seeds: 'x'", "a count, a list"]),
        (STRESS + "seeds = [18446744073709551616]\n", ["seeds", "18446744073709551615"]),
        (STRESS + "options = 3\n", ["job 1: options: 3", "a table"]),
        (STRESS + "options = { queues = [1] }\n", ["job 1: options: [1]", "a table"]),
        (STRESS + "matrix = { queues = 1 }\n", ["job 1: matrix: 1", "a list"]),
        (STRESS + "matrix = { queues = [] }\n", ["job 1: matrix: []"]),
        (STRESS + "matrix = { queues = [1, 65] }\n", ["job 1: queues: 65", "1 to 64"]),
        (STRESS + "options = { queues = 1 }\nmatrix = { queues = [1] }\n", ["matrix: 'queues'"]),
        (STRESS + "options = { nonsense = 1 }\n", ["job 1: ", "--nonsense"]),
        (STRESS + 'options = { queues = "x" }\n', ["job 1: ", "'--queues'", "'x'"]),
        (STRESS + 'options = { kernel = "5.0" }\n', ["job 1: kernel: '5.0'", "6.15"]),
        (STRESS + 'options = { faults = "bad-pat:1%" }\n', ["job 1: ", "bad-pat", "bad-pad"]),
        (STRESS + 'options = { faults = "no.toml" }\n', ["job 1: faults: ", "no.toml"]),
        (STRESS + 'options = { provider = "no.c" }\n', ["job 1: provider: ", "no.c"]),
        (STRESS + 'options = { traffic = "pcap:no.pcap" }\n', ["job 1: traffic: ", "no.pcap"]),
        (STRESS + 'options = { traffic = "tcp:h:1" }\n', ["traffic: 'tcp:h:1'", "connect"]),
        (STRESS + 'options = { traffic = "nonsense" }\n', ["traffic", "nonsense", "synthetic"]),
        (STRESS + 'options = { json = "x" }\n', ["job 1: option: 'json'", "the campaign decides"]),
        (STRESS + "options = { seed = 1 }\n", ["job 1: option: 'seed'"]),
        (STRESS + 'files = ["*.none"]\n', ["job 1: files: '*.none'"]),
        (STRESS + 'files = ["/"]\n', ["job 1: files: '/'"]),
        (STRESS + "name = 'deep'\noptions = { queues = 0 }\n", ["job 1 (deep): queues: 0"]),
        (FUZZ + "options = { time = 0 }\n", ["job 1: time: 0", "end"]),
        (FUZZ + 'options = { bug = "list" }\n', ["fuzz: ", "only show"]),
        (FUZZ + 'options = { bug = "bound" }\n', ["job 1: bug: 'bound'", "known are"]),
        (FUZZ + "seeds = [2147483648]\n", ["seeds", "2147483647"]),
        (FUZZ + 'options = { engine = "hammer" }\n', ["hammer", "libfuzzer"]),
        (RACE + 'options = { scenario = "refil" }\n', ["scenario: 'refil'", "near are"]),
        (RACE + "options = { live = true }\n", ["scenario: None", "--live needs one"]),
        (RACE + 'options = { live = true, scenario = "x" }\n', ["live: 'x'"]),
        (RACE + "options = { depth = 0 }\n", ["depth: 0"]),
        (CHECK, ["job 1: file: it is missing"]),
        (CHECK + 'options = { file = "no.c" }\n', ["job 1: file: ", "no.c"]),
    ],
)
def test_what_cannot_be_is_one_line(plan_of: Reader, text: str, said: list[str]) -> None:
    with pytest.raises(ConfigError) as refused:
        plan_of(text)
    line = str(refused.value)
    assert "\n" not in line
    assert [words for words in said if words not in line] == [], line


def test_plan_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(ConfigError, match=r"^plan: .* cannot be read"):
            read_plan(path)
    (tmp_path / "bytes.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"^plan: .* is no TOML"):
        read_plan(tmp_path / "bytes.toml")


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_what_is_known_of_a_command_is_so(kind: Kind) -> None:
    """Options that are given, refused or name files are options of the command."""
    command = load(kind.name)
    names = {name.removeprefix("--") for param in command.params for name in (*param.opts,)} | {
        "help"
    }
    given = {word.removeprefix("--").partition("=")[0] for word in kind.given}
    elsewhere = {"sarif", "ktap"}  # not all have these
    assert given | (kind.refused - elsewhere) | {*kind.files} <= names
    assert given <= kind.refused
