"""What a run is: one frozen value, checked when it is made."""

from __future__ import annotations

import copy
import enum
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import PurePath
from typing import Any

from emu.areas import Areas, parse_areas
from emu.contract import HAS_AREAS, HAS_RX_BUF_LEN, SEED, Contract, check_level
from emu.core import FLIGHT_ENTRIES, QUEUES_MAX, Shape
from emu.errors import ConfigError
from emu.host.places import absolute
from faults import Actor, Plan, PlanError, UnknownFaultError, parse_plan
from faults.custom import modules_in

RQ_ENTRIES_MAX = 32768  #: IO_RQ_MAX_ENTRIES
AREA_BUFFERS_MAX = 2**20
DURATION_MAX_S = 86400 * 366
FRAGMENTS_MAX = 16  #: buffers of 4096 bytes that the largest payload needs
NIOV_SIZE = 4096  #: bytes of a buffer, unless they are larger
RX_BUF_LEN_MAX = 32768
RAW_LOG_ENTRIES = 1 << 17  #: of a consumer in C, at most: 90 bytes are noted of each RQE


class Default(int):
    """A number that nobody chose: it may be adapted to the others, with a note."""


AREA_BUFFERS = Default(1024)
ONE_AREA = "1"
ADD_AREA_MS = 100  #: between two areas that are added, if no rule says when
COPY_AREA_BUFFERS = 8192  #: so many that the freelist, where copies go, does not run empty
HOLD = Default(32)  #: fragments
GRANT_ENTRIES = Default(128)


class Pace(enum.StrEnum):
    """When packets are offered."""

    FAST = "fast"  #: as soon as there is room
    ORIGINAL = "original"  #: at the times they carry


class Overload(enum.StrEnum):
    """What the NIC does with a packet that finds no buffer or no room in the CQ."""

    WAIT = "wait"  #: keep it for up to ``wait_ms``, then drop and count it
    DROP = "drop"  #: drop and count it at once, as hardware does


class Verify(enum.StrEnum):
    """What the consumer does with the bytes it is given."""

    NONE = "none"
    TOUCH = "touch"  #: read one byte of each fragment
    CRC = "crc"  #: compare the CRC32C of all bytes with what the NIC sent


class GrantOrder(enum.StrEnum):
    """In which order the NIC takes the buffers that it is granted."""

    RING = "ring"  #: the first that was posted, as hardware does
    NEWEST = "newest"


class ReturnOrder(enum.StrEnum):
    """In which order a consumer gives fragments back."""

    FIFO = "fifo"
    LIFO = "lifo"
    SHUFFLE = "shuffle"


def round_up_power_of_two(value: int) -> int:
    """The smallest power of two that is not below ``value``."""
    return 1 << max(0, value - 1).bit_length()


def _check(name: str, value: int, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError.of(name, value, f"it must be a whole number of {low} to {high}")
    if not low <= value <= high:
        raise ConfigError.of(name, value, f"it must be {low} to {high}")


def _check_duration(value: float | None) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (value is None or (is_number and 0 < value <= DURATION_MAX_S)):
        raise ConfigError.of(
            "duration", value, f"it must be above 0 and at most {DURATION_MAX_S} seconds"
        )


def _check_buffers(text: str, areas: Areas) -> None:
    if areas.niovs(areas.start) <= FRAGMENTS_MAX or areas.niovs(areas.count) > AREA_BUFFERS_MAX:
        raise ConfigError.of(
            "areas",
            text,
            f"those that it begins with must have {FRAGMENTS_MAX + 1} buffers together, and all "
            f"of them {AREA_BUFFERS_MAX} at most",
        )


_CONSUMERS = (
    "'builtin', MODULE:FUNCTION, or the C source (*.c) or shared library (*.so) of a consumer"
)

#: Fields that are neither numbers nor choices.
_KINDS: tuple[tuple[str, type, str], ...] = (
    ("traffic", str, "text that names a source"),
    ("strict_alias", bool, "True or False"),
    ("pin", bool, "True or False"),
    ("plan", Plan, "a faults.Plan"),
    ("consumer", str, _CONSUMERS),
    ("poison", bool, "True or False"),
    ("respawn", bool, "True or False"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """Everything that decides a run, apart from the machine it runs on.

    Sizes that must be a power of two are rounded up; :attr:`roundings` says which were.

    Raises:
        ConfigError: A value is out of range; the message names it and what is allowed.
    """

    seed: int = 0  #: decides traffic, faults and return order; 0 to 2**64-1
    traffic: str = "synthetic"  #: SOURCE text, see :func:`emu.traffic.parse_source`
    duration_s: float | None = None  #: seconds of traffic; None = no limit
    packets: int = 0  #: packets to offer, over all queues; 0 = no limit
    laps: int = 0  #: how often the traffic is replayed; 0 = no limit
    queues: int = 1  #: receive queues, each with a consumer process; 1 to 64
    #: buffers (niovs) of each queue's area; left alone, more where packets are copied
    area_buffers: int = AREA_BUFFERS
    #: areas of each queue, N[+MORE][:BUFFERS,...]: N to begin with, and MORE that are added while
    #: the run is on; more than one since 7.3. Those whose buffers are not named have
    #: ``area_buffers``
    areas: str = ONE_AREA
    rq_entries: int = 4096  #: refill ring, power of two, 1 to 32768
    cq_entries: int = 4096  #: completion queue, power of two, 16 to 32768
    ptr_ring_size: int = 1024  #: slots of a page pool's ptr ring, 1 to 32768
    grant_entries: int = GRANT_ENTRIES  #: buffers posted to the NIC, power of two, 16 to 4096
    #: buffers that go round as long as they come back at once, beside those that are held; 0 = all
    in_flight: int = 128
    grant_order: GrantOrder = GrantOrder.RING
    log_entries: int = 1 << 21  #: RQEs that may wait for reconciliation, power of two
    initial_index: int = 0  #: where the rings' indices start, u32
    pace: Pace = Pace.FAST
    overload: Overload = Overload.WAIT
    wait_ms: int = 1000  #: how long a packet waits for room, 0 to 60000
    copy_every: int = 0  #: every n-th packet takes the copy fallback; 0 = none
    verify: Verify = Verify.CRC
    return_order: ReturnOrder = ReturnOrder.SHUFFLE
    #: fragments a consumer keeps before the first goes back: 0 to 65536, and fewer than the area
    #: has buffers; left alone, fewer where the area or the traffic is small
    hold: int = HOLD
    recheck_every: int = 16  #: verify every n-th fragment again when it goes back; 0 = none
    kernel: str = SEED  #: level whose provider is played, see docs/levels.md
    rx_buf_len: int = NIOV_SIZE  #: bytes of a buffer, a power of two up to 32768; since 7.1
    strict_alias: bool = False  #: reject an index whose upper bits would vanish
    pin: bool = True  #: bind the processes to cores
    plan: Plan = field(default_factory=Plan)  #: faults to inject
    provider: str | None = None  #: C source or library in the place of our provider; made absolute
    #: ``builtin``, ``MODULE:FUNCTION`` called with a Consumer, or a C source or library that is
    #: given the raw rings; made absolute
    consumer: str = "builtin"
    poison: bool = True  #: a consumer of one's own that touches what it gave back is found out
    respawn: bool = False  #: a killed consumer is replaced by a new one, and the run goes on
    connections: int = 0  #: tcp: stop listening after that many; 0 = no limit
    #: folder in which modules of consumers and faults are looked for, beside the installed ones;
    #: None: the working directory, if there are such modules
    modules_from: str | None = None
    roundings: tuple[str, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        check_level(self.kernel)
        self._adapt()
        self._round("rq_entries", 1, RQ_ENTRIES_MAX)
        self._round("cq_entries", FRAGMENTS_MAX, RQ_ENTRIES_MAX)
        self._round("grant_entries", FRAGMENTS_MAX, 4096)
        self._round("log_entries", 65536, 1 << 30)
        self._fit_grants()
        _check("seed", self.seed, 0, 2**64 - 1)
        _check_duration(self.duration_s)
        _check("packets", self.packets, 0, 2**63)
        _check("laps", self.laps, 0, 2**32)
        _check("queues", self.queues, 1, QUEUES_MAX)
        _check("area_buffers", self.area_buffers, FRAGMENTS_MAX + 1, AREA_BUFFERS_MAX)
        _check("in_flight", self.in_flight, 0, AREA_BUFFERS_MAX)
        _check("ptr_ring_size", self.ptr_ring_size, 1, RQ_ENTRIES_MAX)
        _check("initial_index", self.initial_index, 0, 2**32 - 1)
        _check("wait_ms", self.wait_ms, 0, 60000)
        _check("copy_every", self.copy_every, 0, 2**31)
        _check("hold", self.hold, 0, 65536)
        _check("recheck_every", self.recheck_every, 0, 2**31)
        _check("connections", self.connections, 0, 2**31)
        self._choose("pace", Pace)
        self._choose("overload", Overload)
        self._choose("verify", Verify)
        self._choose("return_order", ReturnOrder)
        self._choose("grant_order", GrantOrder)
        _check("rx_buf_len", self.rx_buf_len, NIOV_SIZE, RX_BUF_LEN_MAX)
        if self.rx_buf_len & (self.rx_buf_len - 1):
            raise ConfigError.of("rx_buf_len", self.rx_buf_len, "it must be a power of two")
        if self.rx_buf_len != NIOV_SIZE and self.kernel not in HAS_RX_BUF_LEN:
            raise ConfigError.of(
                "rx_buf_len", self.rx_buf_len, f"with the kernel {self.kernel} it is {NIOV_SIZE}"
            )
        for name, kind, allowed in _KINDS:
            if not isinstance(getattr(self, name), kind):
                raise ConfigError.of(name, getattr(self, name), f"it must be {allowed}")
        try:
            self.plan.check_queues(self.queues)
        except PlanError as error:
            raise ConfigError(str(error)) from None
        if self.initial_index and any(r.fault.name == "index-wrap" for r in self.plan.rules):
            raise ConfigError.of(
                "initial_index",
                self.initial_index,
                "the plan's index-wrap decides where the indices start; leave it at 0",
            )
        self._check_areas()
        self._check_provider()
        self._check_consumer()
        self._name_places()

    def _adapt(self) -> None:
        """Fit what was left alone to what was chosen, so that the queue does not starve."""
        _check("area_buffers", self.area_buffers, FRAGMENTS_MAX + 1, AREA_BUFFERS_MAX)
        _check("packets", self.packets, 0, 2**63)
        _check("queues", self.queues, 1, QUEUES_MAX)
        _check("copy_every", self.copy_every, 0, 2**31)
        if self.copy_every and isinstance(self.area_buffers, Default):
            why = "packets are copied into buffers that are free"
            self._replace_default("area_buffers", AREA_BUFFERS, COPY_AREA_BUFFERS, why)
        _check_buffers(self.areas, self.area_plan)
        if not isinstance(self.hold, Default):
            return
        spare = self.buffers - FRAGMENTS_MAX - 1
        if spare < HOLD:
            why = f"of {self.buffers} buffers a large packet needs {FRAGMENTS_MAX}"
            self._replace_default("hold", HOLD, spare, why)
        if 0 < self.packets <= self.hold * self.queues:
            why = f"of {self.packets} packets on {self.queues} queues some are to come back"
            self._replace_default("hold", HOLD, self.packets // (2 * self.queues), why)

    def _fit_grants(self) -> None:
        """A grant ring that the whole area cannot fill is never full: no better than a smaller."""
        fitting = 1 << self.buffers.bit_length() - 1
        if self.grant_entries > fitting:
            why = f"the area has {self.buffers} buffers"
            self._replace_default("grant_entries", self.grant_entries, fitting, why)

    def _replace_default(self, name: str, default: int, value: int, why: str) -> None:
        object.__setattr__(self, name, Default(value))
        self._note(f"{name}: {value} instead of {default}: {why}")

    def fitted_to(self, packets: Sequence[int]) -> RunConfig:
        """This configuration for a replay of so many packets a queue and lap.

        A default hold that would keep all that ever comes on a queue gets smaller, with a
        rounding: nothing would go back, so nothing would be judged.
        """
        fewest = self.laps * min((count for count in packets if count), default=0)
        if not isinstance(self.hold, Default) or not 0 < fewest <= self.hold:
            return self
        fitted = copy.copy(self)
        why = f"a queue gets {fewest} packets, and some are to come back"
        fitted._replace_default("hold", HOLD, (fewest - 1) // 2, why)
        return fitted

    def check_traffic(self, buffers_max: int, packets: Sequence[int] = ()) -> None:
        """Refuse what starves with this traffic.

        Args:
            buffers_max: Buffers that its largest packet takes.
            packets: How many there are of each queue in a lap; empty: nobody knows.

        Raises:
            ConfigError: The consumer would keep more than such a packet leaves, or all that ever
                comes.
        """
        spare = self.buffers - buffers_max - 1
        if self.hold > spare:
            raise ConfigError.of(
                "hold",
                self.hold,
                f"of {self.buffers} buffers the largest packet of {self.traffic} needs "
                f"{buffers_max}, and one is being filled, so it must be 0 to {spare}",
            )
        most = self._fragments_max(buffers_max, packets)
        if most is not None and 0 < most <= self.hold:
            raise ConfigError.of(
                "hold",
                self.hold,
                f"no queue gets more than {most} fragments, so it must be 0 to {most - 1}, "
                "or nothing comes back and nothing is judged",
            )

    def _fragments_max(self, buffers_max: int, packets: Sequence[int]) -> int | None:
        """Fragments that any queue can get at most, None if there is no end to them."""
        if not packets or any(rule.fault.actor is Actor.NIC for rule in self.plan.rules):
            return None
        limits = [limit for limit in (self.packets, self.laps * max(packets)) if limit]
        return min(limits) * buffers_max if limits else None

    def _note(self, text: str) -> None:
        object.__setattr__(self, "roundings", (*self.roundings, text))

    def _round(self, name: str, low: int, high: int) -> None:
        value = getattr(self, name)
        _check(name, value, low, high)
        rounded = round_up_power_of_two(value)
        if rounded != value:
            object.__setattr__(self, name, rounded)
            self._note(f"{name}: {value} rounded up to {rounded}, a power of two")

    def _choose(self, name: str, kind: type[enum.StrEnum]) -> None:
        """Take a choice by its name, too: as JSON has it, a str would pass for the member."""
        value = getattr(self, name)
        names = [str(member) for member in kind]
        if not (isinstance(value, str) and value in names):
            raise ConfigError.of(name, value, f"it must be one of {', '.join(map(repr, names))}")
        object.__setattr__(self, name, kind(value))

    def _check_areas(self) -> None:
        """Can there be so many at this level, and is it said when those to come are added?"""
        areas = self.area_plan
        if areas.count > 1 and self.kernel not in HAS_AREAS:
            raise ConfigError.of("areas", self.areas, f"with the kernel {self.kernel} there is 1")
        if areas.count > 1 and self.provider is not None:
            raise ConfigError.of("areas", self.areas, "a provider of somebody else's has 1")
        adds = any(rule.fault.name == "add-area" for rule in self.plan.rules)
        if adds and not areas.more:
            allowed = "the plan's add-area needs areas to add, so it must be 1+1, say"
            raise ConfigError.of("areas", self.areas, allowed)
        if areas.more and not adds:
            rule = f"add-area:every={ADD_AREA_MS}:limit={areas.more * self.queues}"
            plan = Plan((*self.plan.rules, *parse_plan(rule).rules))
            object.__setattr__(self, "plan", plan)
            self._note(f"plan: {rule} added: {areas.more} areas of each queue are to be added")

    def _check_provider(self) -> None:
        if self.provider is None:
            return
        if not isinstance(self.provider, str) or not self.provider or "\0" in self.provider:
            raise ConfigError.of(
                "provider", self.provider, "name a C source or a shared library, or None"
            )
        object.__setattr__(self, "provider", os.path.abspath(self.provider))

    def _check_consumer(self) -> None:
        """Is it of one of the three kinds? A path is made absolute, and so differs from a name."""
        if self.consumer == "builtin":
            return
        module, _, function = self.consumer.partition(":")
        if module and function and "/" not in self.consumer:
            return
        if "\0" in self.consumer or not {".c", ".so"} & set(PurePath(self.consumer).suffixes):
            raise ConfigError.of("consumer", self.consumer, f"it must be {_CONSUMERS}")
        for rule in self.plan.rules:
            if rule.fault.actor is Actor.CONSUMER:
                raise ConfigError.of(
                    "plan",
                    rule.fault.name,
                    "a consumer in C writes its rings itself, so the faults must be of nic, "
                    "provider, process or setup",
                )
        object.__setattr__(self, "consumer", absolute(self.consumer))

    @property
    def has_raw_consumer(self) -> bool:
        """Is the consumer somebody's C code, which is given the raw rings?"""
        return "/" in self.consumer

    @property
    def brings_code(self) -> bool:
        """Do consumers import somebody's Python: their own, or that of a plan's faults?"""
        is_module = self.consumer != "builtin" and not self.has_raw_consumer
        return is_module or any(rule.fault.source for rule in self.plan.rules)

    def _name_places(self) -> None:
        """Name files and folders so that they are found from whatever folder."""
        kind, _, path = self.traffic.partition(":")
        if kind == "pcap" and path:
            object.__setattr__(self, "traffic", f"pcap:{absolute(path)}")
        folder = self.modules_from
        if folder is None and self.brings_code:
            folder = absolute("")
        if folder is not None and not (isinstance(folder, str) and folder and "\0" not in folder):
            raise ConfigError.of("modules_from", folder, "it must be a folder, or None")
        object.__setattr__(self, "modules_from", None if folder is None else absolute(folder))

    @property
    def area_plan(self) -> Areas:
        """The areas of each queue."""
        return parse_areas(self.areas, self.area_buffers)

    @property
    def buffers(self) -> int:
        """Buffers of the areas that each queue begins with."""
        return self.area_plan.niovs(self.area_plan.start)

    @property
    def buffers_max(self) -> int:
        """Buffers of each queue when all areas are there."""
        return self.area_plan.niovs(self.area_plan.count)

    @property
    def niov_shift(self) -> int:
        """log2 of a buffer's size."""
        return self.rx_buf_len.bit_length() - 1

    @property
    def contract(self) -> Contract:
        """What the provider is obliged to do."""
        return Contract(level=self.kernel, strict_alias=self.strict_alias)

    def shape(self, flows_max: int) -> Shape:
        """Each queue's sizes, for traffic of ``flows_max`` flows a queue, and its contract."""
        return Shape(
            num_niovs=self.buffers_max,
            areas_max=self.area_plan.count,
            areas=self.area_plan.start,
            area_niovs=self.area_plan.sizes,
            niov_shift=self.niov_shift,
            rq_entries=self.rq_entries,
            cq_entries=self.cq_entries,
            ptr_ring_size=self.ptr_ring_size,
            grant_entries=self.grant_entries,
            log_entries=(
                min(self.log_entries, RAW_LOG_ENTRIES)
                if self.has_raw_consumer
                else self.log_entries
            ),
            flows_max=flows_max,
            initial_index=self.initial_index,
            flight_entries=FLIGHT_ENTRIES,
            contract=self.contract,
            is_witnessed=self.has_raw_consumer,
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; the plan in its compact form."""
        skip = {"roundings"}
        plain: dict[type, Callable[[Any], Any]] = {Plan: str, Default: int}
        result: dict[str, Any] = {}
        for item in fields(self):
            if item.name in skip:
                continue
            value = getattr(self, item.name)
            result[item.name] = plain.get(type(value), lambda same: same)(value)
        return result

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> RunConfig:
        """Read back what :meth:`as_dict` gave.

        Raises:
            ConfigError: A field is unknown or its value is not allowed.
        """
        if not isinstance(plain, Mapping):
            raise ConfigError.of("config", plain, "it must be an object with a run's fields")
        known = {item.name for item in fields(cls) if item.init}
        for name in plain:
            if name not in known:
                raise ConfigError.of("config", name, "it is not a field of a run's configuration")
        values = dict(plain)
        if "plan" in values:
            text = values["plan"]
            if not isinstance(text, str):
                raise ConfigError.of("plan", text, "it must be the text of a plan")
            try:
                with modules_in(_text_or_none(values.get("modules_from"))):
                    values["plan"] = parse_plan(text)
            except (PlanError, UnknownFaultError) as error:
                raise ConfigError(f"plan: {error}") from None
        return cls(**values)


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None
