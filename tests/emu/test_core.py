"""The C core as Python sees it: checksums, hashes, sizes, mutations, and one queue at rest."""

from __future__ import annotations

import ast
import ipaddress
import mmap
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from emu import core
from emu.config import RunConfig
from emu.core import (
    COUNTER_NAMES,
    RULES_MAX,
    CounterGroup,
    JournalActor,
    Mapping,
    Queue,
    Reconciler,
    Shape,
    bells_size,
    crc32c,
    crc32c_kind,
    crc32c_portable,
    layout_sizes,
    mutate,
    rss_hash,
    run_size,
)
from emu.core.faults import _verdict
from emu.errors import ConfigError
from emu.spec.state import Judgement, Verdict
from emu.spec.stepping import StepProvider
from faults import CATALOGUE, Fault, Group
from faults.catalogue import VALID_VERDICTS

SHAPE = RunConfig(area_buffers=40, rq_entries=8, initial_index=2**32 - 1).shape(flows_max=3)

# ---- the package --------------------------------------------------------------------------------

ROOT = Path(__file__).parents[2]


def imported(path: Path) -> set[str]:
    """Modules that a file imports, and names that it imports from them."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_only_the_package_reaches_for_cffi() -> None:
    """Others import what ``emu.core`` exports, and none of its modules."""
    package = ROOT / "emu" / "core"
    for folder in ("emu", "faults", "tools"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if package in path.parents:
                continue
            inner = {
                name
                for name in imported(path)
                if name.split(".")[0] == "cffi"
                or name.startswith(("emu._core", "emu.core._"))
                or (name.startswith("emu.core.") and name.split(".")[2] not in core.__all__)
            }
            assert inner == set(), path


def test_core_exports_no_object_of_cffi() -> None:
    assert sorted(core._HOME) == sorted(core.__all__)
    for name in core.__all__:
        assert type(getattr(core, name)).__module__ not in ("_cffi_backend", "emu._core"), name


# ---- CRC32C -------------------------------------------------------------------------------------


@pytest.mark.parametrize("compute", [crc32c, crc32c_portable])
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(reversed(range(32))), 0x113FDB5C),
    ],
)
def test_crc32c_of_known_data(compute: Callable[[bytes], int], data: bytes, expected: int) -> None:
    """The examples of RFC 3720, appendix B.4, and the usual check value."""
    assert compute(data) == expected


@settings(deadline=None)
@given(data=st.binary(max_size=5000), start=st.integers(0, 70))
def test_crc32c_of_the_processor_is_the_portable_one(data: bytes, start: int) -> None:
    """Of any length and from any address."""
    assert crc32c(memoryview(data)[start:]) == crc32c_portable(data[start:])


@settings(deadline=None)
@given(data=st.binary(min_size=1, max_size=300), bit=st.integers(0))
def test_crc32c_sees_each_bit(data: bytes, bit: int) -> None:
    other = bytearray(data)
    other[bit // 8 % len(data)] ^= 1 << bit % 8
    assert crc32c(other) != crc32c(data)


def test_crc32c_says_what_computes_it() -> None:
    assert crc32c_kind() in ("avx512-vpclmulqdq", "sse4.2", "armv8-crc", "portable")


# ---- The Toeplitz hash --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dst", "dport", "src", "sport", "by_address", "by_port"),
    [
        ("161.142.100.80", 1766, "66.9.149.187", 2794, 0x323E8FC2, 0x51CCC178),
        ("65.69.140.83", 4739, "199.92.111.2", 14230, 0xD718262A, 0xC626B0EA),
        ("12.22.207.184", 38024, "24.19.198.95", 12898, 0xD2D0A5DE, 0x5C2B394A),
        ("209.142.163.6", 2217, "38.27.205.30", 48228, 0x82989176, 0xAFC7327F),
        ("202.188.127.2", 1303, "153.39.163.191", 44251, 0x5D1809C5, 0x10E828A2),
        ("3ffe:2501:200:3::1", 1766, "3ffe:2501:200:1fff::7", 2794, 0x2CC18CD5, 0x40207D3D),
        ("ff02::1", 4739, "3ffe:501:8::260:97ff:fe40:efab", 14230, 0x0F0C461C, 0xDDE51BBF),
        (
            *("fe80::200:f8ff:fe21:67cf", 38024),
            *("3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251),
            *(0x4B61E985, 0x02D1FEEF),
        ),
    ],
)
def test_rss_hash_of_the_verification_suite(
    dst: str, dport: int, src: str, sport: int, by_address: int, by_port: int
) -> None:
    """Microsoft's "Verifying the RSS hash calculation"."""
    addresses = ipaddress.ip_address(src).packed + ipaddress.ip_address(dst).packed
    assert rss_hash(addresses) == by_address
    assert rss_hash(addresses + struct.pack("!HH", sport, dport)) == by_port


# ---- Mutations ----------------------------------------------------------------------------------

CONTENT = [fault for fault in CATALOGUE.values() if fault.group is Group.CONTENT]
REJECTED = [fault for fault in CONTENT if not fault.verdicts & VALID_VERDICTS]
LEGAL = [fault for fault in CONTENT if fault.modifies]
CASES = [
    (fault, value)
    for fault in CONTENT
    for value in range(max([len(param.choices) for param in fault.params], default=1))
]


def judge(num_niovs: int, niov: int, *rqes: tuple[int, int, int]) -> list[Judgement]:
    """Let the provider judge entries of a user who holds one fragment of that buffer."""
    provider = StepProvider(num_niovs=num_niovs, rq_entries=2)
    (given_out,) = provider.alloc()
    assert given_out == niov
    provider.deliver(niov)
    for rqe in rqes:
        provider.push_rqe(*rqe)
    provider.alloc(num_niovs)  # the ring is read once nothing else is left, 64 buffers a time
    return provider.take_verdicts()


def first_niov(num_niovs: int) -> int:
    """The buffer that a fresh provider hands out first."""
    return StepProvider(num_niovs=num_niovs, rq_entries=2).alloc()[0]


@settings(deadline=None)
@given(
    case=st.sampled_from([(fault, value) for fault, value in CASES if fault in REJECTED]),
    seed=st.integers(0, 2**64 - 1),
    num_niovs=st.integers(1, 300) | st.just(2**16),
    in_niov=st.integers(0, 4095),
    length=st.integers(0, 2**32 - 1),
)
def test_mutated_entry_earns_what_the_catalogue_says(
    case: tuple[Fault, int], seed: int, num_niovs: int, in_niov: int, length: int
) -> None:
    """A valid return and its mutation, judged by the provider: only the latter is refused."""
    fault, value = case
    niov = first_niov(num_niovs)
    valid = (niov << 12 | in_niov, length, 0)
    mutated = mutate(fault.number, seed, valid, num_niovs, 12, value)
    assert mutated != valid
    wrong, right = judge(num_niovs, niov, mutated, valid)
    assert {wrong.verdict.label} == fault.verdicts
    assert not wrong.alias
    assert right.verdict is Verdict.ACCEPTED


@settings(deadline=None)
@given(
    case=st.sampled_from([(fault, value) for fault, value in CASES if fault in LEGAL]),
    seed=st.integers(0, 2**64 - 1),
    num_niovs=st.integers(1, 300) | st.just(2**16),
    in_niov=st.integers(0, 4095),
)
def test_entry_that_is_only_written_differently_stays_a_valid_return(
    case: tuple[Fault, int], seed: int, num_niovs: int, in_niov: int
) -> None:
    fault, value = case
    niov = first_niov(num_niovs)
    valid = (niov << 12 | in_niov, 100, 0)
    (judged,) = judge(num_niovs, niov, mutate(fault.number, seed, valid, num_niovs, 12, value))
    assert judged.verdict is Verdict.ACCEPTED
    assert judged.niov == niov
    assert judged.alias == (fault.name == "alias")


@pytest.mark.parametrize(
    ("value", "verdict"), [(1, Verdict.BAD_AREA), (2, Verdict.BAD_INDEX)], ids=["ones", "max48"]
)
def test_offset_of_ones_is_refused_for_what_is_looked_at_first(
    value: int, verdict: Verdict
) -> None:
    niov = first_niov(40)
    number = CATALOGUE["bad-offset"].number
    (judged,) = judge(40, niov, mutate(number, 1, (niov << 12, 100, 0), 40, 12, value))
    assert judged.verdict is verdict


@settings(deadline=None)
@given(seed=st.integers(0, 2**64 - 1), niov=st.integers(0, 39))
def test_legal_mutation_changes_only_what_the_fault_is_about(seed: int, niov: int) -> None:
    valid = (niov << 12 | 64, 1448, 0)
    off, length, pad = mutate(CATALOGUE["alias"].number, seed, valid, 40, 12)
    assert (off & ((1 << 44) - 1), length, pad) == valid
    assert 0 < off >> 44 < 16
    off, length, pad = mutate(CATALOGUE["mid-buffer"].number, seed, valid, 40, 12)
    assert (off >> 12, length, pad) == (niov, 1448, 0)
    off, length, pad = mutate(CATALOGUE["len-garbage"].number, seed, valid, 40, 12)
    assert (off, pad) == (valid[0], 0)


@pytest.mark.parametrize(("fault", "value"), CASES, ids=[f"{f.name}-{v}" for f, v in CASES])
def test_named_value_is_what_it_says(fault: Fault, value: int) -> None:
    off, length, pad = mutate(fault.number, 9, (5 << 12, 100, 0), 40, 12, value)
    (word,) = [param.choices[value] for param in fault.params] or ["-"]
    exact = {
        ("bad-pad", "ones"): pad == 2**32 - 1,
        ("bad-pad", "one-bit"): pad.bit_count() == 1,
        ("bad-area", "one"): off >> 48 == 1,
        ("bad-area", "max"): off >> 48 == 0xFFFF,
        ("bad-index", "count"): off >> 12 == 40,
        ("bad-index", "count+1"): off >> 12 == 41,
        ("bad-index", "far"): off >> 12 == 2**31,
        ("bad-index", "max"): off >> 12 == 2**36 - 1,
        ("bad-offset", "ones"): off == 2**64 - 1,
        ("bad-offset", "max48"): off == 2**48 - 1,
        ("len-garbage", "zero"): length == 0,
        ("len-garbage", "max"): length == 2**32 - 1,
    }
    assert exact.get((fault.name, word), (off, length, pad) != (5 << 12, 100, 0))


@pytest.mark.parametrize(
    "fault", [f for f in CATALOGUE.values() if f not in CONTENT], ids=lambda fault: fault.name
)
def test_fault_that_is_not_about_content_leaves_the_bytes_alone(fault: Fault) -> None:
    valid = (5 << 12, 100, 0)
    assert mutate(fault.number, 1, valid, 40, 12) == valid


@settings(deadline=None)
@given(seed=st.integers(0, 2**64 - 1), niov=st.integers(0, 39))
def test_mutation_changes_only_what_the_fault_is_about(seed: int, niov: int) -> None:
    valid = (niov << 12 | 64, 1448, 0)
    area = 0xFFFF << 48
    off, length, pad = mutate(CATALOGUE["bad-pad"].number, seed, valid, 40, 12)
    assert (off, length) == valid[:2]
    assert 0 < pad < 2**32
    off, length, pad = mutate(CATALOGUE["bad-area"].number, seed, valid, 40, 12)
    assert (off & ~area, length, pad) == valid
    assert off & area
    off, length, pad = mutate(CATALOGUE["bad-index"].number, seed, valid, 40, 12)
    assert (off & 4095, length, pad) == (64, 1448, 0)
    assert not off & area
    assert (off >> 12) % 2**32 >= 40


def test_mutation_is_decided_by_its_seed() -> None:
    valid = (5 << 12, 100, 0)
    for fault in CONTENT:
        once, again = (
            [mutate(fault.number, seed, valid, 40, 12) for seed in range(20)] for _ in range(2)
        )
        assert once == again
        assert len(set(once)) > 1


# ---- Layout and one queue -----------------------------------------------------------------------


def test_sizes_are_whole_cache_lines_and_grow_with_the_shape() -> None:
    sizes = layout_sizes(SHAPE)
    assert sizes.area == 40 * 4096
    for size in (sizes.kern, sizes.rings, sizes.notes, run_size(), bells_size()):
        assert size > 0
        assert size % 64 == 0
    larger = layout_sizes(replace(SHAPE, rq_entries=16, flows_max=100, num_niovs=80))
    assert larger.kern > sizes.kern
    assert larger.rings == sizes.rings + 8 * 16
    assert larger.notes > sizes.notes


@pytest.mark.parametrize(
    "change",
    [
        {"num_niovs": 0},
        {"niov_shift": 5},
        {"niov_shift": 31},
        {"rq_entries": 0},
        {"rq_entries": 3},
        {"rq_entries": 65536},
        {"cq_entries": 100},
        {"ptr_ring_size": 0},
        {"grant_entries": 3},
        {"log_entries": 1000},
        {"flows_max": 0},
    ],
)
def test_impossible_shape_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"^shape: "):
        layout_sizes(replace(SHAPE, **change))
    with pytest.raises(ConfigError, match=r"^shape: "):
        Queue(replace(SHAPE, **change), 0, Mapping())


def fresh_queue(shape: Shape = SHAPE, notes: mmap.mmap | None = None) -> Queue:
    """A queue in memory of this process alone."""
    sizes = layout_sizes(shape)
    queue = Queue(
        shape,
        0,
        Mapping(
            run=mmap.mmap(-1, run_size()),
            bells=mmap.mmap(-1, bells_size()),
            kern=mmap.mmap(-1, sizes.kern),
            rings=mmap.mmap(-1, sizes.rings),
            notes=notes or mmap.mmap(-1, sizes.notes),
        ),
    )
    queue.format()
    queue.create_pool()
    return queue


def test_fresh_queue_has_all_buffers_on_the_freelist() -> None:
    queue = fresh_queue()
    places = queue.places()
    assert places.freelist == 40
    assert sum(getattr(places, name) for name in places.__slots__) == 40
    result = queue.audit()
    assert result.places == places
    assert (result.lost, result.doubled, result.user_refs, result.flows_wrong) == (0, 0, 0, 0)
    assert (result.first_lost, result.first_doubled, result.first_flow_wrong) == (None,) * 3


def test_fresh_queue_has_counted_nothing() -> None:
    queue = fresh_queue()
    for group in (CounterGroup.NIC, CounterGroup.POOL, CounterGroup.CONSUMER):
        assert set(queue.counters(group).values()) == {0}
    provider = queue.counters(CounterGroup.PROVIDER)
    counted = {name: count for name, count in provider.items() if count}
    # The instance holds one reference on itself, its page pool another.
    assert counted == {"free_count": 40, "instance_refs": 2}
    assert queue.injected(3) == queue.consequences(3) == [0, 0, 0]
    assert queue.consequence_list() == []
    assert queue.consumed() == 0
    assert queue.scrub() == (0, 0)


# ---- what a consumer may have scribbled ----------------------------------------------------------

WORDS = len(COUNTER_NAMES[CounterGroup.CONSUMER])
INJECTED = 8 * WORDS
CONSEQUENCES = INJECTED + 8 * RULES_MAX
COUNT = CONSEQUENCES + 8 * RULES_MAX
CONSEQUENCE = struct.Struct("<8IQ")
LIST = COUNT + 8
ASTRAY = -(-(LIST + 256 * CONSEQUENCE.size + 4 * RULES_MAX) // 64) * 64 + 8


def scribbled(at: int, raw: bytes) -> Queue:
    """A queue whose consumer has written a few bytes into its records."""
    notes = mmap.mmap(-1, layout_sizes(SHAPE).notes)
    queue = fresh_queue(notes=notes)
    notes[at : at + len(raw)] = raw
    return queue


def one_consequence(**changed: int) -> Queue:
    fields = {"rule": 1, "kind": 1, "niov": 2, "flow": 0, "seq": 5, "held": 1, "now": 2}
    fields |= {"reserved": 0, "position": 9} | changed
    return scribbled(COUNT, struct.pack("<Q", 1) + CONSEQUENCE.pack(*fields.values()))


def test_consequence_that_can_be_is_read() -> None:
    queue = one_consequence()
    (read,) = queue.consequence_list(2)
    assert (read.rule, read.niov, read.seq, read.position) == (1, 2, 5, 9)
    assert queue.scribbles == {}


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("rule", 2),
        ("rule", 2**32 - 1),
        ("kind", 0),
        ("kind", 77),
        ("niov", SHAPE.num_niovs),
        ("flow", SHAPE.flows_max),
        ("position", 2**64 - 1),
    ],
)
def test_consequence_that_cannot_be_is_noted_and_left_out(word: str, value: int) -> None:
    queue = one_consequence(**{word: value})
    assert queue.consequence_list(2) == []
    (text,) = queue.scribbles.values()
    assert text.startswith(f"queue 0: consequence[0].{word} is {value}; ")


def test_more_consequences_than_there_is_room_for_are_none() -> None:
    queue = scribbled(COUNT, b"\xff" * 8)
    assert queue.consequence_list(2) == []
    assert len(queue.scribbles) == 256


@pytest.mark.parametrize("value", [2**48 + 1, 2**63, 2**64 - 1])
def test_counts_that_no_run_can_come_to_count_as_nothing(value: int) -> None:
    raw = struct.pack("<Q", value)
    for at in range(WORDS):
        queue = scribbled(8 * at, raw)
        assert set(queue.counters(CounterGroup.CONSUMER).values()) == {0}
        assert len(queue.scribbles) == 1
    queue = scribbled(INJECTED + 8, raw)
    assert queue.injected(3) == [0, 0, 0]
    assert list(queue.scribbles) == ["injected[1]"]
    queue = scribbled(CONSEQUENCES + 16, raw)
    assert queue.consequences(3) == [0, 0, 0]
    assert list(queue.scribbles) == ["consequences[2]"]


def test_rule_that_led_astray_must_be_one_of_the_consumers() -> None:
    for number, is_noted in ((0, False), (3, False), (2, True), (2**32 - 1, True)):
        queue = scribbled(ASTRAY, struct.pack("<I", number))
        queue.check_words({2})
        assert bool(queue.scribbles) is is_noted


def test_journal_leaves_out_rules_that_are_not_its_actors() -> None:
    sizes = layout_sizes(SHAPE)
    notes = mmap.mmap(-1, sizes.notes)
    queue = fresh_queue(notes=notes)
    at = _journal_in(queue, notes)
    notes[at : at + 8] = struct.pack("<Q", 3)
    notes[at + 16 : at + 40] = struct.pack("<3Q", 200 << 56 | 5, 1 << 56 | 6, 2**64 - 1)
    assert queue.journal(JournalActor.CONSUMER, {1}).firings == ((1, 6),)
    assert list(queue.scribbles) == ["journal[0].rule", "journal[2].rule"]
    notes[at : at + 8] = b"\xff" * 8
    assert queue.journal(JournalActor.CONSUMER, {1}).count == 0
    assert "journal.count" in queue.scribbles


def _journal_in(queue: Queue, notes: mmap.mmap) -> int:
    """Where the consumer's journal stands: its first word is how much it holds."""
    for at in range(ASTRAY, len(notes) - 8, 8):
        before = notes[at : at + 8]
        notes[at : at + 8] = struct.pack("<Q", 3)
        if queue.journal(JournalActor.CONSUMER).count == 3:
            return at
        notes[at : at + 8] = before
    raise AssertionError("it is not in notes")


def test_fresh_queue_has_nothing_to_reconcile() -> None:
    reconciler = Reconciler(fresh_queue(), 1)
    assert reconciler.step() == 0
    reconciler.note_new_user()
    assert reconciler.balance().wrong == 0
    assert reconciler.table == [dict.fromkeys(Verdict, 0)] * 2
    assert reconciler.wrong == [0, 0]
    assert (reconciler.checked, reconciler.mismatch_count) == (0, 0)
    assert (reconciler.after_scrub, reconciler.lost, reconciler.mismatches) == (0, 0, [])


def test_number_in_the_log_that_is_no_verdict_is_none() -> None:
    assert [_verdict(number) for number in range(8)] == [*Verdict, None]


def test_each_verdict_is_a_counter_of_the_provider() -> None:
    assert {verdict.label for verdict in Verdict} < set(COUNTER_NAMES[CounterGroup.PROVIDER])
    for names in COUNTER_NAMES.values():
        assert len(set(names)) == len(names)
