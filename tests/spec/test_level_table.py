"""The tables of ``docs/levels.md``: each cell is looked at, in core, specification and library."""

from __future__ import annotations

import errno
import mmap
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emu.core import LEVELS
from emu.errors import ConfigError, StateError
from emu.library import Instance
from emu.spec.model import ModelProvider
from emu.spec.stepping import StepProvider

ROOT = Path(__file__).parents[2]
COLUMNS = LEVELS[1:]  #: ``seed`` is none of them
PAGE = 4096
NOT_THERE = "\N{EN DASH}"  #: what the tables write where there is no such thing

Provider = ModelProvider | StepProvider
Make = Callable[..., Provider]
Value = int | bool | str | None


# ---- what the core and the specification do -------------------------------------------------


def _lent(make: Make, niovs: int = 4, entries: int = 8, fragments: int = 1) -> Provider:
    """All buffers are the user's, and the alloc cache is empty."""
    provider = make(num_niovs=niovs, rq_entries=entries)
    for niov in provider.alloc(niovs):
        provider.deliver(niov, fragments)
    return provider


def _labels(provider: Provider) -> str:
    return " ".join(judgement.verdict.label for judgement in provider.take_verdicts())


def _does(act: Callable[..., object], **arguments: object) -> bool:
    try:
        act(**arguments)
    except (ConfigError, StateError):
        return False
    return True


def _entries_of_a_refill(make: Make) -> int:
    provider = _lent(make, 64, 1024)
    for _ in range(1000):
        provider.push_rqe(0, pad=1)
    provider.alloc()
    return len(provider.take_verdicts())


def _entries_of_buffers_in_halves(make: Make) -> int:
    """Each buffer comes back by two entries."""
    provider = _lent(make, 128, 256, fragments=2)
    for niov in range(128):
        provider.push_rqe(niov << 12)
        provider.push_rqe(niov << 12)
    provider.alloc()
    return len(provider.take_verdicts())


def _entries_of_a_corrected_tail(make: Make) -> int:
    provider = _lent(make, 64, 1024)
    for slot in range(1024):
        provider.write_rqe(slot, 0, pad=1)
    provider.set_tail(600)
    provider.alloc()
    provider.set_tail(len(provider.take_verdicts()))  # the truth: no more were written
    provider.alloc()
    return len(provider.take_verdicts())


def _duplicate(make: Make) -> str:
    provider = _lent(make)
    provider.push_rqe(0)
    provider.push_rqe(0)
    provider.alloc()
    return _labels(provider)


def _reject_in_between(make: Make) -> str:
    provider = _lent(make)
    provider.push_rqe(0)
    provider.push_rqe(0, pad=1)
    provider.push_rqe(0)
    provider.alloc()
    return _labels(provider)


def _head_after_a_scribble(make: Make) -> int:
    provider = _lent(make)
    provider.set_head(77)
    provider.alloc()
    return provider.state().rq_head


def _warnings_of_a_pool_that_goes(make: Make) -> int:
    provider = make(num_niovs=4, rq_entries=8)
    provider.copy_fallback()
    provider.destroy()
    return provider.state().destroy_warnings


def _areas(make: Make) -> int:
    """How many there can be, of one, two, 1024 and 1025."""
    sizes = (1, 2, 1024, 1025)
    return max(n for n in sizes if _does(make, num_niovs=1, rq_entries=8, areas=n))


def _freelists(make: Make) -> str:
    """The order of buffers for copies, with a second area where there can be one."""
    provider = make(num_niovs=2, rq_entries=8)
    _does(lambda: provider.add_area(2))
    taken = iter(provider.copy_fallback, None)
    return " ".join(map(str, taken))


def _rx_buf_lens(make: Make) -> str:
    sizes = (2048, 4096, 5000, 8192, 2**20)
    can = [size for size in sizes if _does(make, num_niovs=2, rq_entries=8, rx_buf_len=size)]
    return " ".join(map(str, can))


# ---- what the library's registration does ---------------------------------------------------


def _register(
    ring: Instance,
    *,
    flags: int = 0,
    if_idx: int = 1,
    rxq: int = 0,
    header: bytes = b"",
    events: int = 0,
) -> tuple[int, bytearray, memoryview]:
    """The kernel's own structs: what it answers, and the registration as it left it."""
    area, region = (memoryview(mmap.mmap(-1, size)) for size in (4 * PAGE, PAGE))
    region[: len(header)] = header
    area_reg, region_reg, reg = bytearray(48), bytearray(64), bytearray(96)
    struct.pack_into("<QQ", area_reg, 0, ring.address_of(area), len(area))
    struct.pack_into("<QQI", region_reg, 0, ring.address_of(region), len(region), 1)
    struct.pack_into("<4I", reg, 0, if_idx, rxq, 8, flags)
    struct.pack_into("<QQ", reg, 16, ring.address_of(area_reg), ring.address_of(region_reg))
    struct.pack_into("<Q", reg, 72, events)
    return ring.register_raw(32, reg, 1), reg, region


def _offsets(ring: Instance) -> str:
    queue = ring.register()
    assert queue.head_at == 0
    return f"{queue.tail_at}, {queue.rqes_at}"


def _tail_that_stood_there(ring: Instance) -> int:
    result, reg, region = _register(ring, header=struct.pack("<I", 7) * 32)
    assert result == 0
    (tail_at,) = struct.unpack_from("<I", reg, 36)
    return int(struct.unpack_from("<I", region, tail_at)[0])


def _second_queue(ring: Instance) -> int:
    assert _register(ring)[0] == 0
    return _register(ring, rxq=1)[0]


def _flags(ring: Instance) -> str:
    """Each flag by itself, in a registration that is right but for it."""
    names = {1: "import", 2: "no device"}
    known = []
    for flag, name in names.items():
        result = _register(ring, flags=flag, if_idx=0)[0]
        if result == 0 or not ring.why.startswith("flags"):
            known.append(name)
    return ", ".join(known)


def _operations(ring: Instance) -> str:
    known = []
    for opcode, name in ((32, "queues"), (35, "queries"), (36, "control")):
        ring.register_raw(opcode, bytearray(256), 0)
        if not ring.why.startswith("opcode"):
            known.append(name)
    return ", ".join(known)


def _control_operations(ring: Instance) -> int:
    assert _register(ring)[0] == 0
    known = 0
    for op in range(6):
        ctrl = bytearray(72)
        struct.pack_into("<II", ctrl, 0, 0, op)
        result = ring.register_raw(36, ctrl, 0)
        known += result != -errno.EOPNOTSUPP and not ring.why.startswith("opcode")
    return known


def _events(ring: Instance) -> bool:
    described = bytearray(96)
    struct.pack_into("<QI", described, 0, 77, 1)
    return _register(ring, events=ring.address_of(described))[0] == 0


def _mixed(kernel: str) -> bool:
    with Instance(kernel=kernel, mixed=True) as ring:
        return _register(ring)[0] == 0


# ---- the tables -----------------------------------------------------------------------------

#: What a fact's cells say, and what is seen where they say so; in core and specification.
BY_STEPS: dict[str, tuple[Callable[[Make], Value], dict[str, Value]]] = {
    "RQEs of a refill": (
        _entries_of_a_refill,
        {
            "as many as the alloc cache has room for under 64": 64,
            "64, for an empty cache only": 64,
            "256 by a look at the tail, two looks": 256,
        },
    ),
    "ends with": (
        _entries_of_buffers_in_halves,
        {"the count": 64, "63 buffers, and the run that waits then": 127},
    ),
    "tail is read": (
        _entries_of_a_corrected_tail,
        {"at every refill": 0, "when what it promised is used up": 256},
    ),
    "entries in a row of one buffer": (
        _duplicate,
        {
            "one by one": "accepted no_user_ref",
            "by one subtraction, all or none": "no_user_ref no_user_ref",
        },
    ),
    "a rejected entry in between": (
        _reject_in_between,
        {
            NOT_THERE: "accepted bad_pad no_user_ref",
            "does not end such a run": "no_user_ref bad_pad no_user_ref",
        },
    ),
    "head is stored for nothing": (_head_after_a_scribble, {"no": 77, "at every refill": 0}),
    'destroy check ("all buffers home")': (_warnings_of_a_pool_that_goes, {"warns": 1, "none": 0}),
    "flush of the refill ring": (
        lambda make: _does(make(num_niovs=1, rq_entries=8).flush),
        {NOT_THERE: False, "yes": True},
    ),
    "`rx_buf_len`": (
        _rx_buf_lens,
        {NOT_THERE: "4096", "a power of two, a page or more": "4096 8192 1048576"},
    ),
    "instance without a device": (
        lambda make: _does(make, num_niovs=1, rq_entries=8, device=False),
        {NOT_THERE: False, "yes, with buffers of a page": True},
    ),
    "areas": (
        _areas,
        {"one": 1, "up to 1024, added at any time, buffers of one size": 1024},
    ),
    "freelist gives out": (
        _freelists,
        {"the area's": "1 0", "the areas' one after the other": "1 0 3 2"},
    ),
}
#: The same of the library.
BY_REGISTERING: dict[str, tuple[Callable[[Instance], Value], dict[str, Value]]] = {
    "tail and RQEs stand at, from the head": (
        _offsets,
        {cell: cell for cell in ("4, 8", "4, 64", "64, 128")},
    ),
    "header of the ring": (_tail_that_stood_there, {"as it was": 7, "cleared": 0}),
    "queues of a ring": (_second_queue, {"one": -errno.EBUSY, "several": 0}),
    "flags": (_flags, {"none": "", "import, no device": "import, no device"}),
    "operations": (
        _operations,
        {
            "queues": "queues",
            "queues, queries": "queues, queries",
            "queues, queries, control": "queues, queries, control",
        },
    ),
    "operations of control": (
        _control_operations,
        {
            NOT_THERE: 0,
            "flush, export": 2,
            "flush, export, arm an event": 3,
            "flush, export, arm an event, add an area": 4,
        },
    ),
    "events and statistics": (_events, {NOT_THERE: False, "yes": True}),
    "entries of the completion queue": (
        lambda ring: _mixed(ring.kernel),
        {"32 bytes": False, "32 bytes, or of both sizes": True},
    ),
}
#: What no step shows: the tests in C that look at it, before and from the change on.
IN_C = {
    "asked with a cache that is not empty": (
        "one_refill_takes_what_fits_under_64_in_the_cache",
        "from_7_1_on_a_cache_that_is_not_empty_is_given_nothing",
    )
}


def _rows() -> Iterator[tuple[str, list[str]]]:
    """Each fact of the tables, with what its cells say; a cell that is the same says so in full."""
    text = (ROOT / "docs" / "levels.md").read_text()
    head = f"| fact | {' | '.join(COLUMNS)} |"
    tables = re.findall(rf"^{re.escape(head)}.*\n\| --- .*\n((?:\|.*\n)+)", text, re.MULTILINE)
    for line in "".join(tables).splitlines():
        fact, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        said = cells[: len(COLUMNS)]
        for at, cell in enumerate(said):
            if cell == "same":
                said[at] = said[at - 1]
        yield fact, said


ROWS = dict(_rows())
CELLS = [
    (fact, level, cell)
    for fact, said in ROWS.items()
    for level, cell in zip(COLUMNS, said, strict=True)
]


def test_each_fact_of_the_tables_is_looked_at() -> None:
    assert len(ROWS) > 20
    assert ROWS.keys() == BY_STEPS.keys() | BY_REGISTERING.keys() | IN_C.keys()


@pytest.mark.parametrize("implementation", [ModelProvider, StepProvider], ids=["model", "core"])
@pytest.mark.parametrize(("fact", "level", "cell"), [c for c in CELLS if c[0] in BY_STEPS])
def test_cell_says_what_is_done(
    implementation: type[Provider], fact: str, level: str, cell: str
) -> None:
    look, values = BY_STEPS[fact]

    def make(**shape: int) -> Provider:
        return implementation(**shape, kernel=level)  # type: ignore[arg-type]

    assert look(make) == values[cell]


@pytest.mark.parametrize(("fact", "level", "cell"), [c for c in CELLS if c[0] in BY_REGISTERING])
def test_cell_says_what_a_registration_answers(fact: str, level: str, cell: str) -> None:
    look, values = BY_REGISTERING[fact]
    with Instance(kernel=level) as ring:
        assert look(ring) == values[cell]


def test_cells_that_no_step_shows_have_tests_in_c() -> None:
    text = (ROOT / "tests" / "cext" / "test_provider.c").read_text()
    for names in IN_C.values():
        for name in names:
            assert f"static void {name}(void)" in text
            assert f"CASE({name})" in text
