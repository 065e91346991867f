"""``zcrx-emu examples``: what the documents show, in a folder of one's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from emu.cli.examples import examples_folder

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def test_all_of_them_are_written(call: Callable[..., Any], tmp_path: Path) -> None:
    ended = call("examples", "mine")
    assert (ended.code, ended.stderr) == (0, "")
    there = {path.relative_to(EXAMPLES) for path in EXAMPLES.rglob("*.[ch]*") if path.is_file()}
    written = {path.relative_to("mine") for path in map(Path, ended.stdout.splitlines())}
    assert there <= written
    assert Path("clients/python/test_pool.py") in written
    for name in written:
        assert (tmp_path / "mine" / name).read_bytes() == (examples_folder() / name).read_bytes()


def test_nothing_that_is_there_is_written_over(call: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    ended = call("examples", "mine")
    assert (ended.code, ended.stdout) == (2, "")
    assert ended.stderr.startswith("zcrx-emu: error: folder: 'mine' is not allowed;")
    (tmp_path / "file").touch()
    ended = call("examples", "file/under")
    assert ended.code == 2
    assert ended.stderr.count("\n") == 1
