"""Who imports whom: no module needs, by whatever way round, one that needs it.

Imports within functions and those for the type checker count too: a circle that is cut in two so
is one all the same, and decides which of the modules may be imported first.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import emu
import faults

PACKAGES = (emu, faults)


def _modules() -> dict[str, Path]:
    """All modules by name; a package is its ``__init__``."""
    found = {}
    for package in PACKAGES:
        root = Path(str(package.__file__)).parent
        for path in root.rglob("*.py"):
            words = path.relative_to(root.parent).with_suffix("").parts
            found[".".join(words[:-1] if words[-1] == "__init__" else words)] = path
    return found


def _named(tree: ast.AST, package: str) -> Iterator[tuple[str, str]]:
    """What a module imports, anywhere: a module, and what of it (which may be a module, too)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: -node.level + 1 or None] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            yield from ((base, alias.name) for alias in node.names)


def imports(modules: dict[str, Path]) -> dict[str, set[str]]:
    """Of each module, those that it imports itself."""
    graph = {}
    for name, path in modules.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        tree = ast.parse(path.read_text(encoding="utf-8"))
        wanted = {
            f"{base}.{item}" if f"{base}.{item}" in modules else base
            for base, item in _named(tree, package)
        }
        graph[name] = wanted & modules.keys() - {name}
    return graph


def test_there_is_no_circle() -> None:
    graph = imports(_modules())
    assert len(graph) > 100
    assert "emu.config" in graph["emu.runtime.session"]
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' <- '.join(error.args[1])}")


def test_circle_is_found_however_it_is_cut(tmp_path: Path) -> None:
    texts = {
        "p": "",
        "p.a": "def late():\n    from p import b\n",
        "p.b": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .q.c import C\n",
        "p.q": "import p.a\n",
        "p.q.c": "from . import d\nfrom .. import q\n",
        "p.q.d": "",
    }
    modules = {}
    for name, text in texts.items():
        is_package = name in ("p", "p.q")
        modules[name] = tmp_path.joinpath(*name.split("."), *["__init__"] * is_package)
        modules[name] = modules[name].with_suffix(".py")
        modules[name].parent.mkdir(parents=True, exist_ok=True)
        modules[name].write_text(text)
    graph = imports(modules)
    assert graph == {
        "p": set(),
        "p.a": {"p.b"},
        "p.b": {"p.q.c"},
        "p.q": {"p.a"},
        "p.q.c": {"p.q", "p.q.d"},
        "p.q.d": set(),
    }
    with pytest.raises(CycleError):
        TopologicalSorter(graph).prepare()


def test_command_begins_with_few_modules() -> None:
    """Until its signals and descriptors are looked after, nothing is loaded that takes time."""
    script = "import sys, emu.start; print(*sorted(m for m in sys.modules if m[:3] == 'emu'))"
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.split()
    host = ["emu.host", "emu.host.descriptors", "emu.host.ending", "emu.host.streams"]
    assert loaded == ["emu", "emu.errors", *host, "emu.start"]


def test_no_room_takes_a_public_name() -> None:
    """A module that is imported becomes a name of the package above it, in the place of ours."""
    assert not [name for name in emu.__all__ if f"emu.{name}" in _modules()]
