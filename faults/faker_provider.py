"""A Faker provider: refill ring entries, malformed ones, ring indices, flows and payloads.

    from faker import Faker
    from faults.faker_provider import ZcrxProvider

    fake = Faker()
    fake.add_provider(ZcrxProvider)
    fake.malformed_rqe("bad-area").rqe.pack()

Everything is decided by Faker's own seed. The C core is not needed.
"""

from __future__ import annotations

import ipaddress
import random
from dataclasses import dataclass

from faker.providers import BaseProvider

from faults.catalogue.content import FAULTS, mutate
from faults.fault import shown
from faults.near import did_you_mean
from faults.rqe import NIOV_SHIFT, NIOV_SIZE, NIOVS_MAX, Rqe, legal_verdicts

CONTENT_FAULTS = {fault.name: fault for fault in FAULTS}
NUM_NIOVS = 1024  #: buffers of the area if a caller does not say
ENTRIES_MAX = 32768  #: of a refill ring
PAYLOAD_MAX = 65535
_U32 = 2**32


@dataclass(frozen=True, slots=True)
class MalformedRqe:
    """An RQE that is wrong in a way that has a name."""

    kind: str  #: the fault's name
    value: str  #: its variant, ``ones`` for example; empty if the fault has none
    rqe: Rqe
    valid: Rqe  #: the return that it was made of
    verdicts: frozenset[str]  #: what it may earn: one verdict, unless references decide


@dataclass(frozen=True, slots=True)
class RingIndices:
    """Head and tail of a refill ring, as they may stand at some moment."""

    head: int  #: u32, free-running
    tail: int  #: u32, free-running; at most ``entries`` ahead of the head
    entries: int  #: a power of two

    @property
    def count(self) -> int:
        """Entries that wait."""
        return (self.tail - self.head) % _U32


@dataclass(frozen=True, slots=True)
class Flow:
    """Who talks to whom."""

    source: str  #: address
    source_port: int
    destination: str  #: address of the same family
    destination_port: int
    protocol: str  #: ``tcp`` or ``udp``

    @property
    def is_ipv6(self) -> bool:
        """Are the addresses IPv6?"""
        return ":" in self.source


def _check(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name}: {shown(value)} is not allowed; it must be {low} to {high}")


class ZcrxProvider(BaseProvider):
    """Makes what a zero-copy receive consumer reads and writes."""

    @property
    def _rng(self) -> random.Random:
        # Faker exchanges it when it is seeded, so it is asked for each time.
        rng = self.generator.random
        assert isinstance(rng, random.Random)
        return rng

    def rqe(self, num_niovs: int = NUM_NIOVS) -> Rqe:
        """Return a well-formed RQE: a fragment of some buffer goes back.

        Args:
            num_niovs: Buffers of the area: 1 to 2**20.

        Raises:
            ValueError: ``num_niovs`` is out of range.
        """
        _check("num_niovs", num_niovs, 1, NIOVS_MAX)
        start = self._rng.randrange(NIOV_SIZE)
        length = self._rng.randint(1, NIOV_SIZE - start)
        return Rqe(self._rng.randrange(num_niovs) << NIOV_SHIFT | start, length)

    def malformed_rqe(
        self, kind: str | None = None, value: str | None = None, num_niovs: int = NUM_NIOVS
    ) -> MalformedRqe:
        """Return an RQE with a fault, and what it must earn.

        Args:
            kind: Name of a fault of the group ``content``; any of them if not given.
            value: Its variant, for those that have some; any if not given.
            num_niovs: Buffers of the area: 1 to 2**20.

        Raises:
            ValueError: No such kind or variant, or ``num_niovs`` is out of range.
        """
        if kind is None:
            kind = self._rng.choice(list(CONTENT_FAULTS))
        fault = CONTENT_FAULTS.get(kind)
        if fault is None:
            known = list(CONTENT_FAULTS)
            hint = did_you_mean(kind, known) or f"it must be one of {', '.join(known)}"
            raise ValueError(f"kind: {shown(kind)} is not allowed; {hint}")
        params: tuple[int, ...] = ()
        if fault.params:
            (param,) = fault.params
            if value is None:
                value = self._rng.choice(param.choices)
            try:
                params = (param.compile(value),)
            except ValueError as error:
                raise ValueError(f"value: {error}") from None
        elif value is not None:
            raise ValueError(f"value: {shown(value)} is not allowed; {kind} has no variants")
        valid = self.rqe(num_niovs)
        rqe = mutate(fault, params, self._rng, valid, num_niovs)
        return MalformedRqe(kind, value or "", rqe, valid, legal_verdicts(rqe, num_niovs))

    def ring_indices(
        self, near_wrap: bool | None = None, entries: int | None = None
    ) -> RingIndices:
        """Return head and tail of a ring that holds nothing, all, or something between.

        Args:
            near_wrap: True: the head is less than a ring before 2**32, or the tail just behind
                it; False: anywhere else; one of the two at random if not given.
            entries: A power of two, 1 to 32768; any if not given.

        Raises:
            ValueError: ``entries`` is not a power of two in that range.
        """
        rng = self._rng
        entries = 1 << rng.randrange(16) if entries is None else entries
        _check("entries", entries, 1, ENTRIES_MAX)
        if entries & (entries - 1):
            raise ValueError(f"entries: {entries} is not allowed; it must be a power of two")
        if near_wrap is None:
            near_wrap = rng.random() < 0.5
        count = rng.choice((0, 1, entries, rng.randint(0, entries)))
        if near_wrap:
            head = (_U32 - rng.randint(0, entries)) % _U32
        else:
            head = rng.randrange(1, _U32 - 2 * ENTRIES_MAX)
        return RingIndices(head, (head + count) % _U32, entries)

    def flow(self, ipv6: bool | None = None) -> Flow:
        """Return a flow between two private addresses.

        Args:
            ipv6: Which family; any if not given.
        """
        rng = self._rng
        if ipv6 is None:
            ipv6 = rng.random() < 0.5
        first, second = (self._address(ipv6) for _ in range(2))
        return Flow(
            first,
            rng.randint(1024, 65535),
            second,
            rng.randint(1, 65535),
            rng.choice(("tcp", "udp")),
        )

    def _address(self, ipv6: bool) -> str:
        if ipv6:  # fd00::/8, unique local
            return str(ipaddress.IPv6Address(0xFD << 120 | self._rng.getrandbits(120)))
        return str(ipaddress.IPv4Address(10 << 24 | self._rng.getrandbits(24)))

    def payload(self, size: int | None = None) -> bytes:
        """Return random bytes.

        Args:
            size: How many, 0 to 65535; if not given, a size at which something changes
                (one byte, one MTU, a whole buffer, …) or any up to two buffers.

        Raises:
            ValueError: ``size`` is out of range.
        """
        if size is None:
            edges = (0, 1, 64, 1448, 4095, 4096, 4097, self._rng.randint(0, 2 * NIOV_SIZE))
            size = self._rng.choice(edges)
        _check("size", size, 0, PAYLOAD_MAX)
        return self._rng.randbytes(size)
