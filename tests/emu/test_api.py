"""The public surface is what the documentation lists."""

import re
from pathlib import Path

import emu

DOCS = Path(__file__).parents[2] / "docs" / "api.md"


def test_all_is_sorted_and_exists() -> None:
    assert sorted(emu.__all__) == emu.__all__
    assert all(hasattr(emu, name) for name in emu.__all__)


def test_documentation_lists_exactly_what_is_exported() -> None:
    text = DOCS.read_text()
    listed = set(re.findall(r"`([A-Z][a-z]\w+)`s?", text)) - {"True"}
    listed |= {name for name in ("run", "interruptible") if f"`{name}`" in text}
    assert listed - set(emu.__all__) == set()
    assert set(emu.__all__) - listed == set()
