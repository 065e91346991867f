"""The files of the C core know each other in one direction only: by inclusion, and by calls."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from emu.compile.ondemand import compile_core, core_files, core_sources
from emu.compile.toolchain import any_compiler

CEXT = core_sources()
_INCLUDE = re.compile(r'^#include "([^"]+)"', re.MULTILINE)
_FLAGS = ["-std=gnu11", "-O0", "-fPIC", '-DZCRX_LIB_VERSION=""']


def knots_of(graph: Mapping[str, set[str]]) -> list[set[str]]:
    """The sets of more than one node of which each leads to each other one (Tarjan's)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    open_nodes: list[str] = []
    found: list[set[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        open_nodes.append(node)
        for other in graph.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in open_nodes:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            knot = set(open_nodes[open_nodes.index(node) :])
            del open_nodes[open_nodes.index(node) :]
            if len(knot) > 1:
                found.append(knot)

    for node in graph:
        if node not in index:
            visit(node)
    return found


def _included(path: Path) -> set[str]:
    """What a file includes of ours, as paths below ``cext/``."""
    found = set()
    for name in _INCLUDE.findall(path.read_text()):
        beside, below = path.parent / name, CEXT / name
        assert beside.is_file() != below.is_file() or path.parent == CEXT, (path, name)
        found.add(str((beside if beside.is_file() else below).relative_to(CEXT)))
    return found


def _sources() -> list[Path]:
    return sorted([*CEXT.rglob("*.h"), *CEXT.rglob("*.c")])


def test_a_circle_is_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}
    assert knots_of(graph) == [{"b", "c"}]
    assert knots_of({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_circle_of_inclusions() -> None:
    graph = {str(path.relative_to(CEXT)): _included(path) for path in _sources()}
    assert len(graph) > 80
    assert knots_of(graph) == []


def test_every_inclusion_is_by_room_or_of_the_same_room() -> None:
    """Who reads a file knows at once from where it has what."""
    for path in _sources():
        for name in _INCLUDE.findall(path.read_text()):
            assert ".." not in name, (path, name)
            if "/" in name:
                assert not name.startswith(f"{path.parent.name}/"), (path, name)


@pytest.mark.skipif(shutil.which("nm") is None, reason="nm is not installed")
def test_no_circle_of_calls() -> None:
    """Calls and data: what one object file lacks and another one has."""
    compiler = any_compiler()
    defined: dict[str, str] = {}
    lacking: dict[str, set[str]] = {}
    beside = [path for room in ("lib", "exec") for path in sorted((CEXT / room).glob("*.c"))]
    for path in {*core_files(CEXT), *beside}:
        name = str(path.relative_to(CEXT))
        built = compile_core(compiler, CEXT, path, _FLAGS)
        listing = subprocess.run(["nm", "-P", built], capture_output=True, text=True, check=True)
        lacking[name] = set()
        for line in listing.stdout.splitlines():
            symbol, kind = line.split()[:2]
            if kind == "U":
                lacking[name].add(symbol)
            elif kind.isupper():
                defined[symbol] = name
    graph = {
        name: {defined[symbol] for symbol in symbols if symbol in defined}
        for name, symbols in lacking.items()
    }
    assert sum(map(len, graph.values())) > 50
    assert knots_of(graph) == []
