"""One queue as the control process sees it: its users, counters, journals, recorders, its audit."""

from __future__ import annotations

import enum
import errno
import os
import struct
from collections.abc import Container
from dataclasses import dataclass, fields
from typing import Any

from emu.core._lib import ffi, lib
from emu.core.layout import (
    JOURNAL_MAX,
    RULES_MAX,
    Caller,
    Mapping,
    Shape,
    fill_mapping,
    raw_shape,
)
from emu.errors import ConfigError, EmuError


class CounterGroup(enum.IntEnum):
    """Who writes a group of counters."""

    NIC = 0
    PROVIDER = 1
    POOL = 2
    CONSUMER = 3


def _counter_names(group: CounterGroup) -> tuple[str, ...]:
    count = lib.zcrx_counters_size(int(group))
    return tuple(ffi.string(lib.zcrx_counters_name(int(group), i)).decode() for i in range(count))


COUNTER_NAMES = {group: _counter_names(group) for group in CounterGroup}


@dataclass(frozen=True, slots=True)
class Places:
    """Buffers by place; a fair sample while the run moves, exact when it rests."""

    freelist: int
    cache: int
    ptr_ring: int
    grant_ring: int
    nic: int
    user: int
    in_flight: int  #: completions not read yet (fragments, not buffers)


@dataclass(frozen=True, slots=True)
class StandingView:
    """What a queue's NIC waits for, and where every buffer is meanwhile: ``struct zcrx_standing``.

    Times are of CLOCK_MONOTONIC in ns. Each buffer is in one place.
    """

    since: int  #: packets are offered and none is delivered; 0 = they flow, or none is offered
    looks: int  #: how often the NIC looked for room since then, in vain
    longest: int  #: ns: the longest such time that has ended
    longest_since: int
    last_since: int  #: of the one with which the traffic ended, 0 = none
    last_until: int
    short_rounds: int  #: how often the provider was asked for more buffers than it had
    consumed: int  #: RQEs that the provider has taken
    waits_for_cq: int  #: the NIC waits for room in the completion queue, not for a buffer
    has_user: int
    consumer_sleeps: int  #: it waits for completions, by a word that it can write
    freelist: int
    cache: int
    ptr_ring: int
    grant_ring: int
    nic: int
    unread: int  #: with the user, in a completion that it has not read
    returned: int  #: with the user, and a published RQE that nobody has read names it
    kept: int  #: with the user, read, and no published RQE names it
    completions_unread: int
    rqes_unread: int
    oldest_niov: int  #: of those that are kept: the one whose last fragment is the oldest
    oldest_completion: int  #: completions before that one, u32
    oldest_flow: int
    oldest_seq: int


def _places(raw: Any) -> Places:
    return Places(*(int(getattr(raw, field.name)) for field in fields(Places)))


@dataclass(frozen=True, slots=True)
class StreamAccount:
    """What came out of a queue's sockets, by the NIC's own account."""

    size: int  #: bytes
    crc: int  #: CRC32C of all of them
    step: int  #: ``marks[i]`` is the CRC32C of the first ``(i + 1) * step`` bytes
    marks: tuple[int, ...]
    error: int  #: errno of the first connection that broke; 0 = none
    ends: int  #: connections that have ended


@dataclass(frozen=True, slots=True)
class AuditResult:
    """Where every buffer of a queue is, and whether each flow's fragments arrived."""

    places: Places
    lost: int
    doubled: int
    first_lost: int | None
    first_doubled: int | None
    user_refs: int
    flows_wrong: int
    first_flow_wrong: int | None
    fragments_missing: int  #: delivered and never received
    fragments_surplus: int = 0  #: received and never delivered


@dataclass(frozen=True, slots=True)
class Delivered:
    """What one completion named, by what stands in memory that its user can write."""

    niov: int | None  #: None: no buffer
    starts: bool  #: it lies at the buffer's start: it is the first of its grant
    flow: int
    seq: int
    generation: int  #: how often the buffer had been granted by then


CONSEQUENCES_MAX = 256
#: More than any counter can come to: what a consumer's says beyond it, it did not count.
COUNT_MAX = 1 << 48


class ConsequenceKind(enum.IntEnum):
    """What a fault did to the consumer that committed it."""

    BYTES_CHANGED = 1  #: a fragment was overwritten while it was held
    GIVEN_AGAIN = 2  #: its buffer was delivered again while it was held
    CORRUPT_FOUND = 3  #: a payload that the NIC corrupted was found out
    DUPLICATE_FOUND = 4  #: a fragment that was delivered before came again
    LATE_FOUND = 5  #: a fragment came after others that were received behind it
    TRUNCATED_FOUND = 6  #: a payload that the NIC cut short was found out


@dataclass(frozen=True, slots=True)
class Consequence:
    """One thing that a fault led to."""

    queue: int
    rule: int  #: of the plan
    kind: ConsequenceKind
    niov: int
    flow: int  #: of the fragment that suffered …
    seq: int  #: … and its sequence in the flow
    generation_held: int  #: how often the buffer had been granted when the fragment was delivered
    generation_now: int  #: and by now
    position: int  #: RQEs of the queue before the one that caused it


class JournalActor(enum.IntEnum):
    """Who notes which of its rules fired."""

    CONSUMER = 0
    NIC = 1
    PROVIDER = 2


@dataclass(frozen=True, slots=True)
class JournalPart:
    """What one actor noted on one queue."""

    firings: tuple[tuple[int, int], ...]  #: rule of the plan, ordinal; in the order of firing
    count: int  #: firings in all
    missing_from: int | None  #: ordinal of the first that was not noted; None if all were


class FlightWriter(enum.IntEnum):
    """Who writes a flight recorder."""

    NIC = 0
    PROVIDER = 1
    CONSUMER = 2


class FlightClock(enum.IntEnum):
    """Where the times of a flight recorder are from."""

    MONOTONIC = 0  #: ns
    COUNTER = 1  #: ticks of the CPU's counter

    @classmethod
    def available(cls) -> bool:
        """Does this build know a counter of the CPU?"""
        return bool(lib.zcrx_flight_has_counter())

    def read(self) -> tuple[int, int]:
        """This clock and CLOCK_MONOTONIC in ns, read as nearly at once as can be."""
        values = ffi.new("uint64_t[2]")
        lib.zcrx_flight_read_clocks(int(self), values, values + 1)
        return int(values[0]), int(values[1])


class PluginCall(enum.IntEnum):
    """Which of its operations such a provider is in."""

    NONE = 0
    INIT = 1
    ALLOC_NETMEMS = 2
    RELEASE_NETMEM = 3
    DESTROY = 4
    SCRUB = 5
    COPY_BUFFER = 6


assert len(Caller) + 1 == lib.ZCRX_CALLERS
assert len(PluginCall) == lib.ZCRX_CALLS


class Alarm(enum.IntEnum):
    """What makes a run a finding as soon as it is counted."""

    INTEGRITY = 0  #: fragments that differ from what was sent, no fault to blame
    OUTSIDE = 1  #: completions that do not lie in the area
    OWNERSHIP = 2  #: buffers delivered again while held, no fault to blame
    ORDER = 3  #: fragments out of order
    GRANTED_HELD = 4  #: buffers granted while the user held a reference
    FREELIST_OVERFLOW = 5
    REF_UNDERFLOW = 6
    DESTROY_WARNING = 7  #: more of them than restarts
    OWN_STRAY = 8  #: completions that a consumer of one's own gave back and that were not out
    OWN_TOUCH = 9  #: how often it touched what it had given back


assert len(Alarm) == lib.ZCRX_ALARMS
assert len(FlightWriter) == lib.ZCRX_WRITERS


@dataclass(frozen=True, slots=True)
class SlotView:
    """One slot of a refill ring as it stood at one moment, and the buffer that it names."""

    off: int
    len: int
    pad: int
    tail: int  #: of the ring, as published then, u32
    niov: int  #: that it names, through all areas; else as the kernel truncates it, u32
    user_refs: int  #: of that buffer, at that moment; 0 if there is none
    pp_refs: int
    areas: int = 1  #: that there were

    @property
    def raw(self) -> bytes:
        """The 16 bytes of the entry."""
        return struct.pack("<QII", self.off, self.len, self.pad)


class Queue:
    """The control process's view of one queue."""

    def __init__(self, shape: Shape, index: int, mapping: Mapping) -> None:
        self._keep: list[Any] = []
        self._memory = ffi.new("char[]", int(lib.zcrx_queue_size()) + 64)
        address = int(ffi.cast("uintptr_t", self._memory))
        # For this package only: the reconciler works on the same object.
        self._ptr = ffi.cast("struct zcrx_queue *", (address + 63) & ~63)
        self._alarms = ffi.new("uint64_t[]", len(Alarm))
        self.index = index
        self.shape = shape
        #: What the consumer wrote into its records that means nothing: word, and why not.
        self.scribbles: dict[str, str] = {}
        target = ffi.new("struct zcrx_mapping *")
        fill_mapping(target, mapping, self._keep)
        if lib.zcrx_queue_attach(self._ptr, raw_shape(shape), index, target):
            raise ConfigError.of("shape", shape, "sizes must be powers of two within their limits")

    def format(self) -> None:
        """Give fresh objects their first state, without a page pool."""
        lib.zcrx_queue_format_objects(self._ptr)

    def create_pool(self) -> None:
        """Put the first page pool in charge; EmuError when its provider refuses it."""
        self.check_pool(self.try_create_pool())

    def try_create_pool(self) -> int:
        """The same; 0 or -errno."""
        return int(lib.zcrx_queue_create_pool(self._ptr))

    def check_pool(self, result: int) -> None:
        """Raise EmuError for what :meth:`try_create_pool` answered, unless it is 0."""
        if result:
            raise EmuError(f"queue {self.index}: {os.strerror(-result)} while it was set up")

    def plugin_call(self, caller: Caller) -> PluginCall:
        """Which operation somebody else's provider is in, in one process."""
        number = int(lib.zcrx_queue_call(self._ptr, int(caller)))
        # Whoever's code runs in that process may have written anything there.
        return PluginCall(number) if number < len(PluginCall) else PluginCall.NONE

    def stop_consumer(self) -> None:
        """Ask the consumer to read what is left and leave."""
        lib.zcrx_queue_stop_consumer(self._ptr)

    def set_user(self, user: int) -> None:
        """Say who the user is: 0 = nobody, n = the n-th; NIC and provider follow."""
        lib.zcrx_queue_set_user(self._ptr, user)

    def user_is(self, user: int) -> bool:
        """Have NIC and provider both followed?"""
        return bool(lib.zcrx_queue_user_is(self._ptr, user))

    def restart(self) -> None:
        """Ask the provider for a new page pool on the queue; :meth:`restarted` is its answer."""
        lib.zcrx_queue_restart(self._ptr)

    def restarted(self) -> bool | None:
        """What came of the last :meth:`restart`.

        Returns:
            None while the provider has not seen to it; False when it had no slot left, since
            each holds a pool that waits for its buffers.
        """
        slot = int(lib.zcrx_queue_restarted(self._ptr))
        return None if slot == -errno.EAGAIN else slot >= 0

    def add_area(self) -> None:
        """Ask for the next of the planned areas; :meth:`area_added` says when it is there."""
        lib.zcrx_queue_add_area(self._ptr)

    def area_added(self) -> bool:
        """Is the area there that was asked for last? From then on its user knows."""
        return bool(lib.zcrx_queue_area_added(self._ptr))

    @property
    def areas(self) -> int:
        """How many areas there are."""
        return int(lib.zcrx_queue_areas(self._ptr))

    @property
    def buffers(self) -> int:
        """The buffers of the areas that are there."""
        return int(lib.zcrx_queue_niovs(self._ptr))

    def rq_available(self) -> int:
        """RQEs that the provider could take now: published tail less its private head.

        0 to the ring's entries, whatever the consumer wrote; 0 while the queue has no user.
        """
        return int(lib.zcrx_queue_rq_available(self._ptr))

    def scrub(self) -> tuple[int, int]:
        """Take back all user references; (references, buffers that came home by it)."""
        buffers = ffi.new("uint64_t *")
        return int(lib.zcrx_queue_scrub(self._ptr, buffers)), int(buffers[0])

    def scrub_begin(self, rule: int) -> None:
        """Announce a scrub of a living user, on behalf of a rule of the plan."""
        lib.zcrx_queue_scrub_begin(self._ptr, rule + 1)

    def nic_is_quiet(self) -> bool:
        """Are all fragments that have their references visible to the user?"""
        return bool(lib.zcrx_queue_nic_is_quiet(self._ptr))

    def scrub_end(self) -> None:
        """Tell the user that the announced scrub is over."""
        lib.zcrx_queue_scrub_end(self._ptr)

    def scrub_seen(self) -> int | None:
        """RQEs that the user had written when it took note of the last scrub; None: not yet."""
        position = ffi.new("uint64_t *")
        seen = lib.zcrx_queue_scrub_seen(self._ptr, position)
        return int(position[0]) if seen else None

    def claim(self) -> int:
        """Account for what was consumed beyond what a gone user wrote; how many entries."""
        return int(lib.zcrx_queue_claim(self._ptr))

    def set_flight_clock(self, clock: FlightClock) -> None:
        """Choose where the flight recorders take times from; before any of their writers starts."""
        lib.zcrx_queue_set_flight_clock(self._ptr, int(clock))

    def flight(self, writer: FlightWriter) -> tuple[int, bytes]:
        """Copy a flight recorder while its writer goes on.

        Returns:
            The number of the first event copied (how many came before it), and the events,
            32 bytes each, oldest first: u64 time, u16 kind, u16 reserved, u32 a, u64 b, u64 c.
        """
        first = ffi.new("uint64_t *")
        copies = ffi.new("char[]", 32 * max(self.shape.flight_entries, 1))
        count = lib.zcrx_queue_flight(self._ptr, int(writer), copies, first)
        return int(first[0]), bytes(ffi.buffer(copies, 32 * count))

    def alarms(self) -> tuple[int, ...]:
        """Counters that are 0 in a run without a finding, in the order of :class:`Alarm`."""
        lib.zcrx_alarms_read(self._ptr, self._alarms)
        return tuple(self._alarms)

    def delivered(self, tail: int, count: int) -> list[Delivered]:
        """What the last completions named; only when the NIC has stopped.

        Args:
            tail: An index of the completion queue behind the last of them, u32, as the NIC
                recorded it.
            count: How many, the entries of the queue at most.
        """
        count = min(count, self.shape.cq_entries)
        raw = ffi.new("struct zcrx_delivered[]", max(count, 1))
        lib.zcrx_trail_delivered(self._ptr, tail & 0xFFFFFFFF, count, raw)
        return [
            Delivered(
                None if item.niov == 0xFFFFFFFF else int(item.niov),
                bool(item.starts),
                *(int(item.flow), int(item.seq), int(item.generation)),
            )
            for item in raw[0:count]
        ]

    def judged(self, position: int, count: int) -> list[tuple[int, int]]:
        """Verdicts of consumed RQEs from a position on, and the buffers' accounts they name.

        Only when the provider has stopped. A verdict is a number of whoever judged, an account
        the buffer's number modulo 32768.
        """
        count = min(count, self.shape.log_entries)
        verdicts = ffi.new("uint8_t[]", max(count, 1))
        accounts = ffi.new("uint16_t[]", max(count, 1))
        lib.zcrx_trail_judged(self._ptr, position, count, verdicts, accounts)
        return list(zip(verdicts[0:count], accounts[0:count], strict=True))

    def flow(self, flow: int) -> tuple[int, int, int, int]:
        """Fragments of one flow: delivered, dropped, received, and the gaps its reader saw."""
        values = ffi.new("uint32_t[4]")
        lib.zcrx_flow_read(self._ptr, flow, values)
        return (int(values[0]), int(values[1]), int(values[2]), int(values[3]))

    def peek(self, index: int) -> SlotView:
        """What stands in the slot of a ring index (u32) now."""
        raw = ffi.new("struct zcrx_peek *")
        lib.zcrx_queue_peek(self._ptr, index, raw)
        return SlotView(*(int(getattr(raw, field.name)) for field in fields(SlotView)))

    def stream_ends(self) -> int:
        """Connections that have ended; their completions are visible then."""
        return int(lib.zcrx_stream_ends(self._ptr))

    def stream(self) -> StreamAccount:
        """What came out of the sockets; exact when nothing more comes."""
        raw = ffi.new("struct zcrx_stream *")
        lib.zcrx_stream_read(self._ptr, raw)
        return StreamAccount(
            size=raw.bytes,
            crc=raw.crc,
            step=raw.step,
            marks=tuple(raw.marks[0 : raw.mark_count]),
            error=raw.error,
            ends=raw.ends,
        )

    def consumed(self) -> int:
        """RQEs the provider has taken so far."""
        return int(lib.zcrx_queue_consumed(self._ptr))

    # ---- what a consumer writes: nonsense is noted, and read as nothing ------------------

    def _scribbled(self, word: str, value: object, allowed: str) -> None:
        self.scribbles.setdefault(word, f"queue {self.index}: {word} is {value}; {allowed}")

    def _count(self, word: str, value: int) -> int:
        if value <= COUNT_MAX:
            return value
        self._scribbled(word, value, "no run counts so far")
        return 0

    def check_words(self, rules: Container[int]) -> None:
        """Look at the words that nothing else reads here; ``rules`` are the consumer's own."""
        astray = int(lib.zcrx_notes_astray_rule(self._ptr))
        if astray and astray - 1 not in rules:
            self._scribbled("astray_rule", astray, "no rule of the consumer has that number")

    def counters(self, group: CounterGroup) -> dict[str, int]:
        """A sample of one group of counters."""
        names = COUNTER_NAMES[group]
        values = ffi.new("uint64_t[]", len(names))
        lib.zcrx_counters_read(self._ptr, int(group), values)
        if group is not CounterGroup.CONSUMER:
            return dict(zip(names, values, strict=True))
        return {
            name: self._count(f"counter {name}", value)
            for name, value in zip(names, values, strict=True)
        }

    def injected(self, rules: int) -> list[int]:
        """Malformed entries put in so far, by rule of the plan."""
        values = ffi.new("uint64_t[]", RULES_MAX)
        lib.zcrx_notes_injected_read(self._ptr, values)
        for rule in range(rules):
            self._count(f"injected[{rule}]", values[rule])
        lib.zcrx_injected_read(self._ptr, values)
        return [int(values[i]) for i in range(rules)]

    def consequences(self, rules: int) -> list[int]:
        """What the faults led to, by rule of the plan."""
        values = ffi.new("uint64_t[]", RULES_MAX)
        lib.zcrx_consequences_read(self._ptr, values)
        return [self._count(f"consequences[{i}]", values[i]) for i in range(rules)]

    def _is_consequence(self, at: int, item: Any, rules: int) -> bool:
        """Can it be one of a plan of so many rules?"""
        limits = {
            "rule": (0, rules - 1),
            "kind": (min(ConsequenceKind), max(ConsequenceKind)),
            "niov": (0, self.shape.num_niovs - 1),
            "flow": (0, self.shape.flows_max - 1),
            "position": (0, COUNT_MAX),
        }
        for name, (least, most) in limits.items():
            value = int(getattr(item, name))
            if not least <= value <= most:
                allowed = f"{int(least)} to {int(most)} is allowed" if most >= least else "no rules"
                self._scribbled(f"consequence[{at}].{name}", value, allowed)
                return False
        return True

    def consequence_list(self, rules: int = RULES_MAX) -> list[Consequence]:
        """The first of them, as they were noticed; of a plan of so many rules."""
        raw = ffi.new("struct zcrx_consequence[]", CONSEQUENCES_MAX)
        count = lib.zcrx_consequence_list(self._ptr, raw, CONSEQUENCES_MAX)
        return [
            Consequence(
                queue=self.index,
                rule=item.rule,
                kind=ConsequenceKind(item.kind),
                niov=item.niov,
                flow=item.flow,
                seq=item.seq,
                generation_held=item.generation_held,
                generation_now=item.generation_now,
                position=item.position,
            )
            for at, item in enumerate(raw[0:count])
            if self._is_consequence(at, item, rules)
        ]

    def own_mistakes(self) -> tuple[int, int]:
        """By its own word: how often the user returned what was not out, and touched it."""
        values = ffi.new("uint64_t[2]")
        lib.zcrx_own_mistakes_read(self._ptr, values)
        names = ("mistakes: returns", "mistakes: touches")
        returns, touches = (self._count(*pair) for pair in zip(names, values, strict=True))
        return returns, touches

    def journal(self, actor: JournalActor, rules: Container[int] | None = None) -> JournalPart:
        """What an actor noted of its firings; whole once it has stopped.

        Args:
            actor: Whose.
            rules: Positions in the plan of those that may be noted there; None: any.
        """
        entries = ffi.new("uint64_t[]", JOURNAL_MAX)
        count, missing_from = ffi.new("uint64_t *"), ffi.new("uint64_t *")
        noted = lib.zcrx_journal_read(self._ptr, int(actor), entries, count, missing_from)
        firings = []
        for at, entry in enumerate(entries[0:noted]):
            rule, ordinal = entry >> 56, entry & 2**56 - 1
            if rules is None or rule in rules:
                firings.append((rule, ordinal))
            else:
                allowed = f"no rule of the {actor.name.lower()} has that number"
                self._scribbled(f"journal[{at}].rule", rule, allowed)
        fired, missing = int(count[0]), int(missing_from[0])
        if actor is JournalActor.CONSUMER:
            fired = self._count("journal.count", fired)
            missing = self._count("journal.missing_from", missing) if fired > noted else 0
        return JournalPart(tuple(firings), fired, missing if fired > noted else None)

    def places(self) -> Places:
        """Buffers by place, now."""
        places = ffi.new("struct zcrx_places *")
        lib.zcrx_places_read(self._ptr, places)
        return _places(places)

    def still_since(self) -> int:
        """Since when packets are offered and none is delivered: ns, 0 = they flow."""
        return int(lib.zcrx_still_since(self._ptr))

    def standing(self) -> StandingView:
        """What the NIC waits for, and where every buffer is."""
        raw = ffi.new("struct zcrx_standing *")
        if lib.zcrx_standing_read(self._ptr, raw):
            raise MemoryError
        return StandingView(*(int(getattr(raw, field.name)) for field in fields(StandingView)))

    def audit(self) -> AuditResult:
        """Find every buffer; only when provider, NIC and consumer have stopped."""
        result = ffi.new("struct zcrx_audit *")
        if lib.zcrx_audit_run(self._ptr, result):
            raise MemoryError
        return AuditResult(
            places=_places(result.places),
            lost=result.lost,
            doubled=result.doubled,
            first_lost=result.first_lost if result.lost else None,
            first_doubled=result.first_doubled if result.doubled else None,
            user_refs=result.user_refs,
            flows_wrong=result.flows_wrong,
            first_flow_wrong=result.first_flow_wrong if result.flows_wrong else None,
            fragments_missing=result.fragments_missing,
            fragments_surplus=result.fragments_surplus,
        )
