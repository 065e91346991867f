"""What takes many of one kind: repetitions, thousands of fragments, large instances."""

from __future__ import annotations

import importlib
import struct
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from emu.fuzz.differential import compare
from emu.fuzz.harness import Harness, Target

ROOT = Path(__file__).parents[2]
ALLOC, DELIVER, RETURN, PUSH, SCRUB, REFILL, DELIVER_MANY, REPEAT = 0, 1, 4, 5, 10, 11, 24, 25
KEEP, ALL = 4, 1

pytestmark = pytest.mark.skipif(not (ROOT / "tools").exists(), reason="not a checkout")


def shape(niovs: int = 1, rq_entries: int = 1, index: int = 0) -> bytes:
    """An instance's shape, of any size."""
    order = rq_entries.bit_length() - 1
    if niovs <= 256 and rq_entries <= 256:
        return bytes([niovs - 1, order, 7, 0]) + struct.pack("<I", index)
    large = struct.pack("<IHBB", niovs - 1, 7, order, 0x4C)
    return bytes([0, 0, 0, 0xA0]) + struct.pack("<I", index) + large


def push(count: int, niov: int, pad: int = 0) -> bytes:
    return bytes([PUSH, count - 1]) + struct.pack("<QII", niov << 12, 0, pad)


def deliver_many(fragments: int, mode: int = 0) -> bytes:
    return bytes([DELIVER_MANY, 0, mode]) + struct.pack("<I", fragments - 1)


def repeat(stretch: int, times: int) -> bytes:
    return bytes([REPEAT, stretch - 1]) + struct.pack("<I", times - 1)


def one(kind: int, count: int = 1, mode: int = 0) -> bytes:
    """An operation from buffer 0 on."""
    arguments = {ALLOC: [count - 1], DELIVER: [count - 1, 0, mode], RETURN: [count - 1, 0, mode]}
    return bytes([kind, *arguments.get(kind, [mode] if kind == SCRUB else [])])


#: By mistake of tests/broken/provider.c: a program that shows it.
SHOWN = {
    2: shape() + one(ALLOC) + deliver_many(256) + one(RETURN) + one(ALLOC),
    3: shape() + one(ALLOC) + deliver_many(65536) + one(RETURN) + one(ALLOC),
    19: shape(65600, 4) + one(ALLOC) + one(DELIVER) + one(RETURN) + one(REFILL),
    25: shape(1, 512) + push(256, 9) + push(256, 0, pad=1) + one(REFILL) + repeat(1, 7),
    29: shape() + push(1, 9) + one(REFILL) + repeat(2, 70000),
    30: shape() + push(1, 9) + one(REFILL) + repeat(2, 70000),
    31: shape(1, 512) + push(256, 9) + push(100, 9) + one(REFILL) + repeat(1, 7),
    39: shape(1, 1) + push(1, 9) + one(REFILL) + repeat(2, 65540),
    67: shape(65600, 4) + one(ALLOC) + one(DELIVER) + one(SCRUB),
}  # fmt: skip


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The tool's module; ``tools`` is not installed."""
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("tools.broken")


@pytest.fixture(scope="module")
def correct(tmp_path_factory: pytest.TempPathFactory) -> Harness:
    """Harness of the broken provider without a mistake."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        wrapper = importlib.import_module("tools.broken").wrapper(
            0, tmp_path_factory.mktemp("correct")
        )
    return Harness(Target(provider=wrapper, sanitize=False))


@pytest.mark.parametrize("mistake", SHOWN)
def test_mistake_that_takes_many_is_shown(
    mistake: int, broken: ModuleType, fast_harness: Harness, correct: Harness, tmp_path: Path
) -> None:
    """And only by the mistake: ours, the correct one and the specification agree."""
    program = SHOWN[mistake]
    assert fast_harness.run(program).is_clean
    difference = compare(fast_harness, program)
    assert difference is None, difference.text
    wrong = Harness(Target(provider=broken.wrapper(mistake, tmp_path), sanitize=False))
    assert correct.run(program).is_clean
    assert not wrong.run(program).is_clean
    assert compare(wrong, program) is not None or mistake == 29  # at the end all is well again


def test_minimised_repetition_has_as_few_rounds_as_it_takes(
    broken: ModuleType, tmp_path: Path
) -> None:
    """The first refill and 65535 more: the 65536th one goes wrong."""
    harness = Harness(Target(provider=broken.wrapper(30, tmp_path), sanitize=False))
    short, _, trial = harness.minimise(SHOWN[30] + one(SCRUB) + push(3, 0))
    assert not trial.is_clean
    assert trial.operations == 3
    assert trial.steps[2].operation == "repeat the last 2 operation(s) 65535 more time(s)"
    assert "(in repetition 65535)" in trial.what
    assert harness.minimise(short)[0] == short


def test_minimised_area_is_as_small_as_it_can_be(broken: ModuleType, tmp_path: Path) -> None:
    """The first 64 buffers that are taken come out from the last one on: it is number 65536."""
    harness = Harness(Target(provider=broken.wrapper(67, tmp_path), sanitize=False))
    _, _, trial = harness.minimise(shape(131072, 512) + SHOWN[67][16:])
    assert not trial.is_clean
    assert trial.shape.startswith("1 queue(s) of 65600 buffer(s), refill ring of 1 ")


@pytest.mark.parametrize("mistake", [2, 25])
def test_what_takes_many_is_made_up(mistake: int, broken: ModuleType, tmp_path: Path) -> None:
    harness = Harness(Target(provider=broken.wrapper(mistake, tmp_path), sanitize=False))
    process = harness.call(["generate", "3", "0", "20000", "0"], findings=str(tmp_path))
    assert process.returncode == 1, process.stdout


def test_repetitions_have_a_bound(fast_harness: Harness) -> None:
    """However many there are, and whatever they repeat."""
    many = b"".join([one(ALLOC, 256), one(RETURN, 256, ALL), repeat(2, 131072)] * 30)
    trial = fast_harness.run(shape(256, 256) + many)
    assert trial.is_clean, trial
    assert fast_harness.run(shape() + repeat(16, 131072) + repeat(1, 131072)).is_clean


def test_kept_reference_outlives_many_returns(fast_harness: Harness) -> None:
    """70 deliveries of 4 fragments while the stack keeps its own; then all of them come back."""
    program = (
        shape(1, 512) + one(ALLOC) + one(DELIVER, 1, KEEP + 3) + repeat(1, 69)
        + one(RETURN, 1, ALL) + one(REFILL) + repeat(1, 5)
    )  # fmt: skip
    assert fast_harness.run(program).is_clean
    states = fast_harness.states(program)[1:-1]
    assert states[2].numbers("user_refs") == [280]
    assert states[-1].numbers("user_refs") == [0]
    assert states[-1].numbers("pp_refs") == [1]
    assert compare(fast_harness, program) is None


def test_program_of_the_corpus_may_be_large(corpus_of: Callable[..., Path]) -> None:
    """Those above run with all others, sanitized and beside the specification."""
    kept = {path.read_bytes() for path in corpus_of().iterdir()}
    assert {SHOWN[3], SHOWN[31], SHOWN[67]} <= kept
