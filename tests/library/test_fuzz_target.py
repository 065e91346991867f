"""``python -m tools.lib_fuzz``: what the library answers wrongly is found, and its input kept."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from emu.compile.toolchain import libfuzzer_compiler

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not (ROOT / "tools").exists(), reason="not a checkout"),
    pytest.mark.skipif(libfuzzer_compiler() is None, reason="clang with libFuzzer is missing"),
]

#: A check out of its order, and a struct that is read twice.
MISTAKES = {
    "order": (
        "level.c",
        ".looks_for_device_first = true",
        ".looks_for_device_first = false",
    ),
    "double-fetch": (
        "registration.c",
        "error = make_region(emu, queue, request);",
        "error = read_region(emu, request);\n\tif (!error)\n"
        "\t\terror = make_region(emu, queue, request);",
    ),
}


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The tool's module; ``tools`` is not installed."""
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("tools.lib_fuzz")


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_found_and_its_input_kept(
    tool: ModuleType, mistake: str, tmp_path: Path
) -> None:
    name, right, wrong = MISTAKES[mistake]
    cext = tmp_path / "cext"
    shutil.copytree(ROOT / "cext", cext)
    source = cext / "lib" / name
    assert right in source.read_text()
    source.write_text(source.read_text().replace(right, wrong))
    target = tool.build(tmp_path, cext)
    count, said = tool.run(target, "-runs=200000", seed=1, keep=tmp_path)
    assert count is None, said
    assert list(tmp_path.glob("lib-fuzz-*")), said


def test_library_as_it_is_answers_right(tool: ModuleType, tmp_path: Path) -> None:
    count, said = tool.run(tool.build(tmp_path), "-runs=2000", seed=1, keep=tmp_path)
    assert count == 2000, said
