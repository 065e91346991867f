"""What must hold within an operation: the refill ring is used under its lock."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from emu.bugs import Bug
from emu.fuzz.harness import Harness, Target

from ..conftest import change

ROOT = Path(__file__).parents[2]
PUSH, ALLOC, REFILL, FLUSH, DETACH, ATTACH, CHECK = 5, 0, 11, 12, 17, 18, 19
CHECKED = 4

#: Ours without the lock around a refill, with the lock taken after the tail was looked at.
OURS = {
    "lock": Bug(
        "refill-unlocked", "of these tests",
        change("kernel/provider.c",
        "ifq->detached || !zcrx_lock(&ifq->shared->rq_lock, ifq->area->aborted)",
        "ifq->detached"),
    ),
    "late": Bug(
        "refill-locked-late", "of these tests",
        change("kernel/provider.c",
        "ifq->detached || !zcrx_lock(&ifq->shared->rq_lock, ifq->area->aborted)",
        "ifq->detached || !zcrx_ifq_available(ifq) || "
        "!zcrx_lock(&ifq->shared->rq_lock, ifq->area->aborted)"),
    ),
}  # fmt: skip


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The tool's module; ``tools`` is not installed."""
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("tools.broken")


def program(*operations: int, flags: int = 0) -> bytes:
    """A ring of 4 with two entries, and operations."""
    return bytes([3, 2, 7, flags]) + bytes(4) + bytes([PUSH, 1]) + bytes(16) + bytes(operations)


TAKING = [(ALLOC, 0), (REFILL,), (FLUSH,)]


@pytest.mark.skipif(not (ROOT / "tools").exists(), reason="not a checkout")
@pytest.mark.parametrize("operation", TAKING, ids=["alloc", "refill", "flush"])
@pytest.mark.parametrize(
    ("mistake", "what"), [(55, "load of tail"), (78, "load of tail"), (79, "store of head")]
)
def test_ring_used_without_its_lock_is_a_finding(
    mistake: int, what: str, operation: tuple[int, ...], broken: ModuleType, tmp_path: Path
) -> None:
    harness = Harness(Target(provider=broken.wrapper(mistake, tmp_path), sanitize=False))
    trial = harness.run(program(*operation))
    assert trial.signature.startswith("unlocked:")
    assert trial.what == what


@pytest.mark.parametrize("name", OURS)
def test_ours_without_its_lock_is_a_finding(name: str) -> None:
    trial = Harness(Target(bug=OURS[name], sanitize=False)).run(program(REFILL))
    assert (trial.signature, trial.what) == ("unlocked:refill", "load of tail")


@pytest.mark.skipif(not (ROOT / "tools").exists(), reason="not a checkout")
def test_host_may_look_without_the_lock(
    broken: ModuleType, fast_harness: Harness, tmp_path: Path
) -> None:
    """Detaching, attaching, asking how much there is; and what it shows when the log is full."""
    full = [PUSH, 255, *bytes(16), REFILL, REFILL, CHECK, REFILL, DETACH, REFILL, ATTACH, REFILL]
    correct = Harness(Target(provider=broken.wrapper(0, tmp_path), sanitize=False))
    for harness in (correct, fast_harness):
        for flags in (0, CHECKED):
            assert harness.run(program(*full, flags=flags)).is_clean
