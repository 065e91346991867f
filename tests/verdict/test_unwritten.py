"""A finding stands, be there room for its file or not."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emu.verdict import report

#: Four buffers; one is allocated, delivered, and returned twice; then the ring is judged.
TWICE = bytes([3, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 11])


@pytest.fixture
def call(call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """The command, on a full file system."""

    def refuse(target: Path, _data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    monkeypatch.setattr(report, "_replace", refuse)
    return call


@pytest.mark.parametrize(
    "command",
    [
        "race --scenario refill-vs-scrub --bug cve-2026-43121 --memory sc",
        "fuzz --fast --engine generate --jobs 1 --seed 1 --time 60 --stop-at 1"
        " --bug user-ref-ignored",
        "fuzz --fast --minimize twice.program --bug user-ref-ignored",
    ],
)
def test_finding_without_room_for_its_file_is_one(
    call: Callable[..., Any], tmp_path: Path, command: str
) -> None:
    (tmp_path / "twice.program").write_bytes(TWICE)
    ended = call(*command.split(), "--findings", "found", "--json", "-")
    assert ended.code == 1, ended.stderr
    summary = json.loads(ended.stdout)
    assert summary["findings"]
    assert summary["unwritten"].endswith("cannot be written (No space left on device)")
    assert f"error: {summary['unwritten']}\n" in ended.stderr
    assert list((tmp_path / "found").iterdir()) == []
