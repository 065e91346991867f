"""Building on demand: where the sources are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from emu.bugs import CONTENT_BUGS
from emu.compile import ondemand
from emu.compile.ondemand import core_files, core_sources, headers_of, sources_with
from emu.errors import EnvironmentProblem


@pytest.mark.parametrize("layout", ["emu/cext", "cext"], ids=["installed", "checkout"])
def test_sources_are_beside_the_package(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = tmp_path / layout
    (sources / "fuzz").mkdir(parents=True)
    (sources / "fuzz" / "main.c").touch()
    monkeypatch.setattr(ondemand, "__file__", str(tmp_path / "emu" / "compile" / "ondemand.py"))
    assert core_sources() == sources


def test_missing_sources_are_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ondemand, "__file__", str(tmp_path / "emu" / "compile" / "ondemand.py"))
    with pytest.raises(
        EnvironmentProblem, match=r"^sources: the C sources are missing beside '.*'$"
    ):
        core_sources()


def test_sources_have_what_is_built_from_them() -> None:
    for name in ("wire/shm.h", "build_core.py", "delays/delays.c", "sim/main.c", "fuzz/main.c"):
        assert (core_sources() / name).is_file(), name


def test_bug_changes_a_copy_of_its_own_files_alone() -> None:
    bug = CONTENT_BUGS["bound-off-by-one"]
    before = {path: path.read_bytes() for path in core_sources().rglob("*.[ch]")}
    with sources_with(bug) as sources:
        for path, text in before.items():
            name = path.relative_to(core_sources())
            assert ((sources / name).read_bytes() == text) is (str(name) not in bug.files), name
        assert len(headers_of(sources)) == sum(path.suffix == ".h" for path in before)
    assert {path: path.read_bytes() for path in before} == before


def test_module_is_made_of_the_same_files_on_demand() -> None:
    """Or a core with delays lacks what the product's has, and no live race begins."""
    build = (core_sources() / "meson.build").read_text()
    listed = re.search(r"^core_sources = files\((.*?)^\)", build, re.MULTILINE | re.DOTALL)
    assert listed
    files = [str(path.relative_to(core_sources())) for path in core_files(core_sources())]
    assert sorted(files) == sorted(re.findall(r"'(\S+)'", listed[1]))
