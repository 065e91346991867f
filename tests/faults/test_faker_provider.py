"""The mutations in Python and the Faker provider: each entry earns what it says it earns."""

from __future__ import annotations

import ipaddress
import random
import struct
import subprocess
import sys

import hypothesis.strategies as st
import pytest
from faker import Faker
from hypothesis import given, settings

from emu.spec.model import ModelProvider
from faults import CATALOGUE, find
from faults.catalogue.content import mutate
from faults.faker_provider import CONTENT_FAULTS, MalformedRqe, ZcrxProvider
from faults.rqe import Rqe, judge_bytes

KINDS = [
    (fault.name, value)
    for fault in CONTENT_FAULTS.values()
    for value in (fault.params[0].choices if fault.params else (None,))
]
#: What each kind must earn of a provider whose user holds a fragment of every buffer.
EXPECTED = {
    "bad-pad": {"bad_pad"},
    "bad-area": {"bad_area"},
    "bad-index": {"bad_index"},
    "alias": {"accepted"},
    "mid-buffer": {"accepted"},
    "len-garbage": {"accepted"},
}


@pytest.fixture
def fake() -> Faker:
    """A Faker of its own, with a fixed seed."""
    return seeded(1)


def seeded(seed: int) -> Faker:
    made = Faker()
    made.add_provider(ZcrxProvider)
    made.seed_instance(seed)
    return made


def verdict_of(rqe: Rqe, num_niovs: int, *, fragments: int = 1) -> tuple[str, bool]:
    """What the executable specification says, and whether it was an alias."""
    provider = ModelProvider(num_niovs=num_niovs, rq_entries=1)
    for niov in provider.alloc(num_niovs):
        if fragments:
            provider.deliver(niov, fragments)
    provider.push_rqe(*rqe)
    provider.alloc()
    (judgement,) = provider.take_verdicts()
    return judgement.verdict.label, judgement.alias


# ---- Malformed entries --------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "value"), KINDS)
@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32), num_niovs=st.integers(1, 100))
def test_malformed_entry_earns_its_verdict(
    kind: str, value: str | None, seed: int, num_niovs: int
) -> None:
    made = seeded(seed).malformed_rqe(kind, value, num_niovs)
    verdict, alias = verdict_of(made.rqe, num_niovs)
    assert verdict in made.verdicts
    assert verdict in EXPECTED.get(kind, {verdict})
    assert made.verdicts <= CATALOGUE[kind].verdicts | {"no_user_ref"}
    assert alias == (kind == "alias")
    assert made.rqe != made.valid
    assert (made.kind, made.value) == (kind, value or "")


@settings(deadline=None)
@given(
    off=st.integers(0, 2**64 - 1) | st.integers(0, 2**18) | st.integers(2**44, 2**44 + 2**18),
    pad=st.sampled_from([0, 0, 0, 1, 2**32 - 1]),
    num_niovs=st.integers(1, 50),
)
def test_bytes_decide_as_in_the_specification(off: int, pad: int, num_niovs: int) -> None:
    """Any 16 bytes, against a provider that holds every reference itself."""
    rqe = Rqe(off, 0, pad)
    verdict, _ = verdict_of(rqe, num_niovs, fragments=0)
    assert verdict == (judge_bytes(rqe, num_niovs) or "no_user_ref")


def test_whole_offsets_have_their_exact_verdict(fake: Faker) -> None:
    assert fake.malformed_rqe("bad-offset", "ones").verdicts == {"bad_area"}
    assert fake.malformed_rqe("bad-offset", "max48").verdicts == {"bad_index"}


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("bad-pad", "ones", lambda made: made.rqe.pad == 2**32 - 1),
        ("bad-pad", "one-bit", lambda made: made.rqe.pad.bit_count() == 1),
        ("bad-area", "one", lambda made: made.rqe.off == made.valid.off | 1 << 48),
        ("bad-area", "max", lambda made: made.rqe.off >> 48 == 0xFFFF),
        ("bad-index", "count", lambda made: made.rqe.off >> 12 == 1024),
        ("bad-index", "count+1", lambda made: made.rqe.off >> 12 == 1025),
        ("bad-index", "far", lambda made: made.rqe.off >> 12 & 0xFFFFFFFF >= 2**31),
        ("bad-index", "max", lambda made: made.rqe.off >> 12 == 2**36 - 1),
        ("mid-buffer", None, lambda made: made.rqe.off >> 12 == made.valid.off >> 12),
        ("alias", None, lambda made: made.rqe.off % 2**44 == made.valid.off),
        ("len-garbage", "zero", lambda made: made.rqe.length == 0),
        ("len-garbage", "max", lambda made: made.rqe.length == 2**32 - 1),
    ],
)
def test_variant_is_what_it_is_called(
    fake: Faker, kind: str, value: str | None, expected: object
) -> None:
    assert callable(expected)
    for _ in range(50):
        assert expected(fake.malformed_rqe(kind, value))


def test_every_kind_comes_up(fake: Faker) -> None:
    made = [fake.malformed_rqe() for _ in range(1000)]
    assert all(isinstance(one, MalformedRqe) for one in made)
    assert {(one.kind, one.value or None) for one in made} == set(KINDS)


def test_fault_that_is_no_content_is_refused() -> None:
    with pytest.raises(ValueError, match="hoard is no content fault"):
        mutate(find("hoard"), (1,), random.Random(1), Rqe(0, 0), 4)


# ---- The rest -----------------------------------------------------------------------------------


def test_entry_is_a_fragment_of_a_buffer(fake: Faker) -> None:
    for _ in range(500):
        rqe = fake.rqe(3)
        assert rqe.off >> 12 < 3
        assert 1 <= rqe.length <= 4096 - rqe.off % 4096
        assert rqe.pad == 0
        assert struct.unpack("<QII", rqe.pack()) == rqe
        assert Rqe.unpack(rqe.pack()) == rqe
        assert verdict_of(rqe, 3)[0] == "accepted"


@pytest.mark.parametrize("size", [0, 15, 17])
def test_other_sizes_are_no_entry(size: int) -> None:
    with pytest.raises(ValueError, match=f"{size} bytes are no RQE"):
        Rqe.unpack(bytes(size))


def test_indices_are_possible_ones(fake: Faker) -> None:
    for _ in range(500):
        ring = fake.ring_indices()
        assert 0 <= ring.head < 2**32
        assert 0 <= ring.tail < 2**32
        assert ring.count <= ring.entries <= 32768
        assert ring.entries.bit_count() == 1


def test_indices_are_near_the_wrap_if_wanted(fake: Faker) -> None:
    near = [fake.ring_indices(near_wrap=True, entries=64) for _ in range(300)]
    assert all((-ring.head) % 2**32 <= 64 for ring in near)
    assert any(ring.tail < ring.head for ring in near)
    assert {0, 64} < {ring.count for ring in near}
    far = [fake.ring_indices(near_wrap=False) for _ in range(300)]
    assert all(0 < ring.head <= ring.tail for ring in far)


def test_flow_is_between_addresses_of_a_family(fake: Faker) -> None:
    flows = [fake.flow() for _ in range(200)]
    for flow in flows:
        ends = [ipaddress.ip_address(end) for end in (flow.source, flow.destination)]
        assert all(end.is_private for end in ends)
        assert {end.version for end in ends} == {6 if flow.is_ipv6 else 4}
        assert 0 < flow.destination_port < 65536
        assert 1024 <= flow.source_port < 65536
    assert {flow.protocol for flow in flows} == {"tcp", "udp"}
    assert {flow.is_ipv6 for flow in flows} == {True, False}
    assert not fake.flow(ipv6=False).is_ipv6
    assert fake.flow(ipv6=True).is_ipv6


def test_payload_has_its_size(fake: Faker) -> None:
    assert len(fake.payload(1448)) == 1448
    assert fake.payload(0) == b""
    assert {0, 1, 4096, 4097} <= {len(fake.payload()) for _ in range(300)}


def test_seed_decides_everything() -> None:
    def everything(fake: Faker) -> list[object]:
        return [
            made
            for _ in range(20)
            for made in (fake.rqe(), fake.malformed_rqe(), fake.ring_indices(), fake.flow())
        ] + [fake.payload()]

    assert everything(seeded(7)) == everything(seeded(7))
    assert everything(seeded(7)) != everything(seeded(8))


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        ("malformed_rqe", {"kind": "bad-pda"}, "kind: 'bad-pda' is not allowed; did you mean"),
        ("malformed_rqe", {"kind": "hoard"}, "kind: 'hoard' is not allowed; it must be one of"),
        ("malformed_rqe", {"kind": "bad-pad", "value": "x"}, "value: 'x' is not allowed"),
        ("malformed_rqe", {"kind": "alias", "value": "x"}, "alias has no variants"),
        ("malformed_rqe", {"num_niovs": 0}, "num_niovs: 0 is not allowed"),
        ("rqe", {"num_niovs": 2**20 + 1}, "num_niovs: 1048577 is not allowed"),
        ("ring_indices", {"entries": 3}, "entries: 3 is not allowed; it must be a power of two"),
        ("ring_indices", {"entries": 65536}, "entries: 65536 is not allowed"),
        ("payload", {"size": -1}, "size: -1 is not allowed; it must be 0 to 65535"),
    ],
)
def test_wrong_argument_is_refused(
    fake: Faker, method: str, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        getattr(fake, method)(**arguments)


def test_core_is_not_needed() -> None:
    """In a process of its own: nothing of ``emu`` is imported."""
    code = "import sys, faults.faker_provider; sys.exit('emu' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
