"""The only module that touches cffi: the C core as Python types.

Each class here owns one C object and what it needs to stay alive. Loops run in
C with the GIL released. Nothing of ``ffi`` leaves this module.
"""

from __future__ import annotations

import enum
import errno
import importlib
import importlib.util
import mmap
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from emu.errors import ConfigError, EmuError, StateError
from emu.state import POOLS_MAX, Judgement, PoolPhase, PoolState, ProviderState, Verdict


def _load_core() -> Any:
    """Import the extension; ``ZCRX_EMU_CORE`` names another build of it (sanitizers)."""
    path = os.environ.get("ZCRX_EMU_CORE")
    if path is None:
        return importlib.import_module("emu._core")
    spec = importlib.util.spec_from_file_location("emu._core", path)
    if spec is None or spec.loader is None:
        raise ConfigError.of("ZCRX_EMU_CORE", path, "it must name an extension module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_core = _load_core()
_ffi = _core.ffi
_lib = _core.lib

QUEUES_MAX: int = _lib.ZCRX_QUEUES_MAX
RULES_MAX: int = _lib.ZCRX_RULES_MAX
PACKET_MAX: int = _lib.ZCRX_PACKET_MAX
LAYOUT_VERSION: int = _lib.ZCRX_LAYOUT_VERSION

assert _lib.ZCRX_POOLS_MAX == POOLS_MAX
assert len(Verdict) == _lib.ZCRX_VERDICT_COUNT


class RunState(enum.IntEnum):
    """States of a run, in order; the control process publishes them."""

    STARTING = 0
    TRAFFIC = 1
    QUIESCE = 2
    DRAIN = 3
    DESTROY = 4
    EXIT = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of one queue; all powers of two but ``num_niovs`` and ``ptr_ring_size``."""

    num_niovs: int
    niov_shift: int
    rq_entries: int
    cq_entries: int
    ptr_ring_size: int
    grant_entries: int
    log_entries: int
    flows_max: int
    initial_index: int = 0


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of one queue's shared objects."""

    kern: int
    rings: int
    area: int
    lab: int


def _struct(kind: str, values: dict[str, Any]) -> Any:
    return _ffi.new(f"struct {kind} *", values)


def _shape(shape: Shape) -> Any:
    return _struct("zcrx_shape", asdict(shape))


def core_path() -> str:
    """The file of the extension module that is in use."""
    return str(_core.__file__)


def layout_sizes(shape: Shape) -> Sizes:
    """Compute the sizes of a queue's shared objects; ConfigError for an impossible shape."""
    sizes = _ffi.new("struct zcrx_sizes *")
    if _lib.zcrx_layout_sizes(_shape(shape), sizes):
        raise ConfigError.of("shape", shape, "sizes must be powers of two within their limits")
    return Sizes(sizes.kern, sizes.rings, sizes.area, sizes.lab)


def run_size() -> int:
    """Bytes of the run object."""
    return int(_lib.zcrx_run_size())


def bells_size() -> int:
    """Bytes of the object with the doorbells."""
    return int(_lib.zcrx_bells_size())


def crc32c(data: bytes | bytearray | memoryview) -> int:
    """CRC32C of ``data``."""
    return int(_lib.zcrx_crc32c(_ffi.from_buffer(data), len(data)))


def crc32c_portable(data: bytes) -> int:
    """The same, computed without special instructions."""
    return int(_lib.zcrx_crc32c_portable(_ffi.from_buffer(data), len(data)))


def crc32c_kind() -> str:
    """What computes CRC32C here: ``sse4.2``, ``armv8-crc`` or ``portable``."""
    text: bytes = _ffi.string(_lib.zcrx_crc32c_kind())
    return text.decode()


def rss_hash(data: bytes) -> int:
    """Toeplitz hash of a flow's addresses and ports, u32."""
    return int(_lib.zcrx_rss_hash(_ffi.from_buffer("uint8_t[]", data), len(data)))


class NetlinkDump(enum.IntEnum):
    """Which netdev dump a provider is asked to describe itself in."""

    QUEUE_GET = 0
    PAGE_POOL_GET = 1


def nl_fill(dump: NetlinkDump) -> bytes:
    """The provider's netlink attribute in a dump: an empty ``io-uring`` nest."""
    buffer = _ffi.new("uint8_t[64]")
    size = _lib.zcrx_nl_fill(int(dump), buffer, 64)
    return bytes(_ffi.buffer(buffer, size))


# ---- mapped objects -----------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """Where a process has mapped a queue's objects; None for what it must not map."""

    run: mmap.mmap | None = None
    bells: mmap.mmap | None = None
    kern: mmap.mmap | None = None
    rings: mmap.mmap | None = None
    area: mmap.mmap | None = None
    lab: mmap.mmap | None = None


_MAPPED = tuple(field.name for field in fields(Mapping))


def _fill_mapping(target: Any, mapping: Mapping, keep: list[Any]) -> None:
    for name in _MAPPED:
        memory = getattr(mapping, name)
        if memory is not None:
            view = _ffi.from_buffer(memory)
            keep.append(view)
            setattr(target, name, _ffi.cast("void *", view))


class CounterGroup(enum.IntEnum):
    """Who writes a group of counters."""

    NIC = 0
    PROVIDER = 1
    POOL = 2
    CONSUMER = 3


def _counter_names(group: CounterGroup) -> tuple[str, ...]:
    count = _lib.zcrx_counters_size(int(group))
    return tuple(_ffi.string(_lib.zcrx_counters_name(int(group), i)).decode() for i in range(count))


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
    fragments_missing: int


CONSEQUENCES_MAX = 256


class ConsequenceKind(enum.IntEnum):
    """What a fault did to the consumer that committed it."""

    BYTES_CHANGED = 1  #: a fragment was overwritten while it was held
    GIVEN_AGAIN = 2  #: its buffer was delivered again while it was held
    CORRUPT_FOUND = 3  #: a payload that the NIC corrupted was found out


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


class Queue:
    """The control process's view of one queue."""

    def __init__(self, shape: Shape, index: int, mapping: Mapping) -> None:
        self._keep: list[Any] = []
        self._memory = _ffi.new("char[]", int(_lib.zcrx_queue_size()) + 64)
        address = int(_ffi.cast("uintptr_t", self._memory))
        self._ptr = _ffi.cast("struct zcrx_queue *", (address + 63) & ~63)
        self.index = index
        self.shape = shape
        target = _ffi.new("struct zcrx_mapping *")
        _fill_mapping(target, mapping, self._keep)
        if _lib.zcrx_queue_attach(self._ptr, _shape(shape), index, target):
            raise ConfigError.of("shape", shape, "sizes must be powers of two within their limits")

    def format(self) -> None:
        """Give fresh objects their first state."""
        result = _lib.zcrx_queue_format(self._ptr)
        if result:
            raise EmuError(f"queue {self.index}: {os.strerror(-result)} while it was set up")

    def stop_consumer(self) -> None:
        """Ask the consumer to read what is left and leave."""
        _lib.zcrx_queue_stop_consumer(self._ptr)

    def set_user(self, user: int) -> None:
        """Say who the user is: 0 = nobody, n = the n-th; NIC and provider follow."""
        _lib.zcrx_queue_set_user(self._ptr, user)

    def user_is(self, user: int) -> bool:
        """Have NIC and provider both followed?"""
        return bool(_lib.zcrx_queue_user_is(self._ptr, user))

    def scrub(self) -> tuple[int, int]:
        """Take back all user references; (references, buffers that came home by it)."""
        buffers = _ffi.new("uint64_t *")
        return int(_lib.zcrx_queue_scrub(self._ptr, buffers)), int(buffers[0])

    def scrub_begin(self, rule: int) -> None:
        """Announce a scrub of a living user, on behalf of a rule of the plan."""
        _lib.zcrx_queue_scrub_begin(self._ptr, rule + 1)

    def nic_is_quiet(self) -> bool:
        """Are all fragments that have their references visible to the user?"""
        return bool(_lib.zcrx_queue_nic_is_quiet(self._ptr))

    def scrub_end(self) -> None:
        """Tell the user that the announced scrub is over."""
        _lib.zcrx_queue_scrub_end(self._ptr)

    def scrub_seen(self) -> int | None:
        """RQEs that the user had written when it took note of the last scrub; None: not yet."""
        position = _ffi.new("uint64_t *")
        seen = _lib.zcrx_queue_scrub_seen(self._ptr, position)
        return int(position[0]) if seen else None

    def claim(self, *, strict_alias: bool) -> int:
        """Account for what was consumed beyond what a gone user wrote; how many entries."""
        return int(_lib.zcrx_queue_claim(self._ptr, strict_alias))

    def consumed(self) -> int:
        """RQEs the provider has taken so far."""
        return int(_lib.zcrx_queue_consumed(self._ptr))

    def counters(self, group: CounterGroup) -> dict[str, int]:
        """A sample of one group of counters."""
        names = COUNTER_NAMES[group]
        values = _ffi.new("uint64_t[]", len(names))
        _lib.zcrx_counters_read(self._ptr, int(group), values)
        return dict(zip(names, values, strict=True))

    def injected(self, rules: int) -> list[int]:
        """Malformed entries put in so far, by rule of the plan."""
        values = _ffi.new("uint64_t[]", RULES_MAX)
        _lib.zcrx_injected_read(self._ptr, values)
        return [int(values[i]) for i in range(rules)]

    def consequences(self, rules: int) -> list[int]:
        """What the faults led to, by rule of the plan."""
        values = _ffi.new("uint64_t[]", RULES_MAX)
        _lib.zcrx_consequences_read(self._ptr, values)
        return [int(values[i]) for i in range(rules)]

    def consequence_list(self) -> list[Consequence]:
        """The first of them, in the order in which they were noticed."""
        raw = _ffi.new("struct zcrx_consequence[]", CONSEQUENCES_MAX)
        count = _lib.zcrx_consequence_list(self._ptr, raw, CONSEQUENCES_MAX)
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
            for item in raw[0:count]
        ]

    def places(self) -> Places:
        """Buffers by place, now."""
        places = _ffi.new("struct zcrx_places *")
        _lib.zcrx_places_read(self._ptr, places)
        return _places(places)

    def audit(self) -> AuditResult:
        """Find every buffer; only when provider, NIC and consumer have stopped."""
        result = _ffi.new("struct zcrx_audit *")
        if _lib.zcrx_audit_run(self._ptr, result):
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
        )


def _places(raw: Any) -> Places:
    return Places(*(int(getattr(raw, field.name)) for field in fields(Places)))


class RunControl:
    """The run object and the doorbells, as the control process uses them."""

    def __init__(self, run: mmap.mmap, bells: mmap.mmap) -> None:
        self._keep = (_ffi.from_buffer(run), _ffi.from_buffer(bells))
        self._run = _ffi.cast("struct zcrx_run_shared *", self._keep[0])
        self._bells = _ffi.cast("struct zcrx_bells *", self._keep[1])

    def format(self, queues: int) -> None:
        """Write the run object's first state."""
        _lib.zcrx_run_format(self._run, queues)

    def set_state(self, state: RunState) -> None:
        """Publish a state and wake everyone."""
        _lib.zcrx_run_set_state(self._run, self._bells, int(state))

    def abort(self) -> None:
        """Say that a kernel-side process is dead: its locks are not waited for."""
        _lib.zcrx_run_abort(self._run)

    @property
    def nic_ack(self) -> int:
        """The last state that the NIC has carried out."""
        return int(_lib.zcrx_run_nic_ack(self._run))

    @property
    def provider_ack(self) -> int:
        """The last state that the provider has carried out."""
        return int(_lib.zcrx_run_provider_ack(self._run))

    def prepare(self) -> int:
        """Announce a sleep; look once more at what is waited for before :meth:`sleep`."""
        return int(_lib.zcrx_control_prepare(self._bells))

    def sleep(self, seq: int, timeout_s: float) -> None:
        """Sleep until an acknowledgement rings, at most ``timeout_s``."""
        _lib.zcrx_control_sleep(self._bells, seq, int(timeout_s * 1e6))


# ---- faults -------------------------------------------------------------------


#: An ordinal that never comes.
NEVER = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a compiled fault plan."""

    kind: int  #: number of the fault, as in ``faults.catalogue``; 0 = not this actor's
    probability: float = 0.0  #: for each ordinal, 0..1
    every: int = 0  #: at each multiple of it; 0 = not so
    at: int = NEVER  #: once, at this ordinal
    first: int = 0  #: only from this ordinal …
    last: int = NEVER  #: … to this one
    limit: int = 0  #: at most that often; 0 = no limit
    after: int = 0  #: only once that rule has fired: its position + 1
    queue: int = -1  #: only on that queue; -1 = on each
    params: tuple[int, ...] = ()  #: at most 4, u32


def _rules(rules: Sequence[Rule]) -> Any:
    if not rules:
        return _ffi.NULL
    return _ffi.new(
        "struct zcrx_fault_rule[]",
        [asdict(rule) for rule in rules],
    )


@dataclass(frozen=True, slots=True)
class Mismatch:
    """An RQE that earned a verdict which its intent does not allow."""

    queue: int
    position: int  #: RQEs before it since the run began
    index: int  #: ring index, u32
    intent: int  #: 0 = valid, r + 1 = rule r of the plan
    legal: frozenset[Verdict]  #: what it might have earned
    verdict: Verdict


class Reconciler:
    """Compares intents with verdicts of one queue, incrementally."""

    def __init__(self, queue: Queue, rules: int) -> None:
        """For a plan of that many rules."""
        self._queue = queue
        self._raw = _ffi.new("struct zcrx_reconciler *")
        self._raw.scrubbed_from = NEVER
        self._raw.scrubbed_until = NEVER
        self._intents = rules + 1

    def step(self) -> int:
        """Compare what was consumed since the last call; how many entries."""
        return int(_lib.zcrx_reconcile(self._raw, self._queue._ptr))

    def note_new_user(self) -> None:
        """The rings were emptied for a new user: from here on every reference is its own."""
        self._raw.scrubbed_from = NEVER

    def note_scrub(self) -> None:
        """A scrub begins: valid entries from here on may find their reference gone."""
        self.step()
        # An earlier scrub's excuse goes on while entries wait that it may have robbed.
        is_open = self._raw.scrubbed_from != NEVER and (
            self._raw.scrubbed_until > self._raw.checked
        )
        earlier = self._raw.scrubbed_from if is_open else NEVER
        self._raw.scrubbed_from = min(earlier, self._queue.consumed())
        self._raw.scrubbed_until = NEVER

    def note_scrub_seen(self, position: int) -> None:
        """The living user knows of the scrub since that RQE: what it writes now counts again."""
        self._raw.scrubbed_until = position

    @property
    def table(self) -> list[dict[Verdict, int]]:
        """By intent: how often each verdict was earned."""
        return [
            {verdict: int(self._raw.table[intent][int(verdict)]) for verdict in Verdict}
            for intent in range(self._intents)
        ]

    @property
    def wrong(self) -> list[int]:
        """Mismatches, by intent: valid returns first, then each rule's."""
        return [int(self._raw.wrong[intent]) for intent in range(self._intents)]

    @property
    def checked(self) -> int:
        """Entries compared so far."""
        return int(self._raw.checked)

    @property
    def mismatch_count(self) -> int:
        """Entries whose verdict was not legal."""
        return int(self._raw.mismatch_count)

    @property
    def after_scrub(self) -> int:
        """Valid entries that came after the scrub had taken their reference (legal)."""
        return int(self._raw.after_scrub)

    @property
    def lost(self) -> int:
        """Entries whose log was overwritten before it was compared (must be 0)."""
        return int(self._raw.lost)

    @property
    def mismatches(self) -> list[Mismatch]:
        """The first 64 of them."""
        return [
            Mismatch(
                queue=self._queue.index,
                position=int(raw.position),
                index=int(raw.index),
                intent=int(raw.intent) & 0xFF,
                legal=frozenset(v for v in Verdict if raw.intent >> (8 + int(v)) & 1),
                verdict=Verdict(raw.verdict & 7),
            )
            for raw in self._raw.mismatches[0 : min(self.mismatch_count, 64)]
        ]


def mutate(
    kind: int,
    seed: int,
    rqe: tuple[int, int, int],
    num_niovs: int,
    niov_shift: int,
    value: int = 0,
) -> tuple[int, int, int]:
    """Apply a content fault's mutation to an RQE ``(off, len, pad)``, as the C applier does."""
    area = _struct("zcrx_fault_area", {"num_niovs": num_niovs, "niov_shift": niov_shift})
    rng = _ffi.new("struct zcrx_rng *", {"state": seed % 2**64})
    valid = _struct("io_uring_zcrx_rqe", {"off": rqe[0], "len": rqe[1], "__pad": rqe[2]})
    result = _lib.zcrx_fault_mutate(kind, value, rng, valid, area)
    return int(result.off), int(result.len), int(getattr(result, "__pad"))


# ---- the three loops -----------------------------------------------------------


class _Loop:
    """A C object with a ``run`` function; freed when closed or collected."""

    _ptr: Any

    def _own(self, ptr: Any, free: Any) -> None:
        if ptr == _ffi.NULL:
            raise MemoryError(f"{type(self).__name__}: no memory, or an impossible shape")
        self._ptr = _ffi.gc(ptr, free)

    def close(self) -> None:
        """Free the C object now."""
        if self._ptr is not None:
            _ffi.release(self._ptr)
            self._ptr = None


def _mappings(mappings: Sequence[Mapping], keep: list[Any]) -> Any:
    array = _ffi.new("struct zcrx_mapping[]", len(mappings))
    for target, mapping in zip(array, mappings, strict=True):
        _fill_mapping(target, mapping, keep)
    return array


@dataclass(frozen=True, slots=True, kw_only=True)
class NicParams:
    """What the NIC process is told; see ``struct zcrx_nic_params``."""

    packets_max: int = 0
    laps_max: int = 0
    wait_max_ns: int = 0
    paced: int = 0
    copy_every: int = 0
    listen_fd: int = -1
    seed: int = 0
    connections_max: int = 0


class NicLoop(_Loop):
    """The NIC process's loop over all queues."""

    def __init__(
        self,
        shape: Shape,
        mappings: Sequence[Mapping],
        arena: mmap.mmap | None,
        params: NicParams,
        rules: Sequence[Rule] = (),
    ) -> None:
        self._keep: list[Any] = []
        view = _ffi.NULL
        if arena is not None:
            view = _ffi.from_buffer(arena)
            self._keep.append(view)
        array = _mappings(mappings, self._keep)
        self._own(
            _lib.zcrx_nic_new(
                _shape(shape),
                len(mappings),
                array,
                view,
                _struct("zcrx_nic_params", asdict(params)),
                _rules(rules),
                len(rules),
            ),
            _lib.zcrx_nic_free,
        )

    def run(self, slice_ms: int) -> bool:
        """Run for a while; True when the run is over."""
        return bool(_lib.zcrx_nic_run(self._ptr, slice_ms))


class ProviderLoop(_Loop):
    """The provider process's loop over all queues."""

    def __init__(self, shape: Shape, mappings: Sequence[Mapping], *, strict_alias: bool) -> None:
        self._keep: list[Any] = []
        array = _mappings(mappings, self._keep)
        self._own(
            _lib.zcrx_grantor_new(_shape(shape), len(mappings), array, strict_alias),
            _lib.zcrx_grantor_free,
        )

    def run(self, slice_ms: int) -> bool:
        """Run for a while; True when the run is over."""
        return bool(_lib.zcrx_grantor_run(self._ptr, slice_ms))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerParams:
    """What a consumer process is told; see ``struct zcrx_consumer_params``."""

    verify: int
    return_order: int
    hold: int
    recheck_every: int
    stop_at_end: int = 0
    output_fd: int = -1
    seed: int = 0
    position: int = 0
    strict_alias: int = 0
    queues: int = 1


@dataclass(frozen=True, slots=True)
class RawFragment:
    """One completion as the C side checked it."""

    off: int
    user_data: int
    res: int
    flags: int
    crc: int
    seq: int
    generation: int
    mark: int


_FRAGMENT_FIELDS = tuple(field.name for field in fields(RawFragment))


class ConsumerLoop(_Loop):
    """A queue's consumer: run as a whole, or driven completion by completion."""

    BATCH_MAX = 1024

    def __init__(
        self,
        shape: Shape,
        index: int,
        mapping: Mapping,
        params: ConsumerParams,
        rules: Sequence[Rule],
    ) -> None:
        self._keep: list[Any] = []
        array = _mappings([mapping], self._keep)
        self._own(
            _lib.zcrx_consumer_new(
                _shape(shape),
                index,
                array,
                _struct("zcrx_consumer_params", asdict(params)),
                _rules(rules),
                len(rules),
            ),
            _lib.zcrx_consumer_free,
        )
        self._batch = _ffi.new("struct zcrx_fragment[]", self.BATCH_MAX)

    def run(self, slice_ms: int) -> bool:
        """Run for a while; True when finished. OSError when the output cannot be written."""
        result = _lib.zcrx_consumer_run(self._ptr, slice_ms)
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        return bool(result)

    def take(self, count: int) -> list[RawFragment]:
        """Take up to ``count`` completions that are there now."""
        taken = _lib.zcrx_consumer_take(self._ptr, self._batch, min(count, self.BATCH_MAX))
        return [
            RawFragment(*(int(getattr(raw, name)) for name in _FRAGMENT_FIELDS))
            for raw in self._batch[0:taken]
        ]

    def wait(self, timeout_us: int) -> None:
        """Sleep until there may be completions."""
        _lib.zcrx_consumer_wait(self._ptr, timeout_us)

    def give_back(self, fragments: Sequence[RawFragment]) -> None:
        """Return fragments through the refill ring."""
        raw = _ffi.new("struct zcrx_fragment[]", [asdict(fragment) for fragment in fragments])
        _lib.zcrx_consumer_give_back(self._ptr, raw, len(fragments))

    def flush(self) -> int:
        """Push returns that wait for room; how many still wait."""
        return int(_lib.zcrx_consumer_flush(self._ptr))

    @property
    def should_stop(self) -> bool:
        """Has the control process asked this consumer to finish?"""
        return bool(_lib.zcrx_consumer_should_stop(self._ptr))


# ---- the arena -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ArenaPacket:
    """One packet to be laid into an arena."""

    payload: bytes
    time_ns: int
    flow: int  #: number of the flow within its queue


def _align(size: int) -> int:
    return (size + 63) & ~63


def build_arena(queues: Sequence[Sequence[ArenaPacket]], niov_shift: int, lap_ns: int) -> bytearray:
    """Lay packets out as the NIC loop replays them, with the CRC32C of each piece.

    Args:
        queues: Packets of each queue, in the order in which they are offered.
        niov_shift: Buffer size as a shift; a payload is cut at its multiples.
        lap_ns: From the first packet of one lap to the first of the next.

    Returns:
        The arena, ready to be written into its shared object.
    """
    niov_size = 1 << niov_shift
    packet_size = _ffi.sizeof("struct zcrx_packet")
    cursor = _align(_ffi.sizeof("struct zcrx_arena"))
    packets_off = []
    for packets in queues:
        packets_off.append(cursor)
        cursor = _align(cursor + packet_size * len(packets))
    crcs_off = cursor
    pieces = sum(-(-len(p.payload) // niov_size) for packets in queues for p in packets)
    cursor = _align(cursor + 4 * pieces)
    data_off = cursor
    total = data_off + sum(_align(len(p.payload)) for packets in queues for p in packets)

    arena = bytearray(total)
    view = _ffi.from_buffer("char[]", arena)
    header = _ffi.cast("struct zcrx_arena *", view)
    header.version = LAYOUT_VERSION
    header.queues = len(queues)
    header.niov_shift = niov_shift
    header.crcs_off = crcs_off
    header.lap_ns = lap_ns
    crcs = _ffi.cast("uint32_t *", view + crcs_off)
    crc_at, data_at = 0, data_off
    for number, packets in enumerate(queues):
        header.queue[number].packets_off = packets_off[number]
        header.queue[number].packet_count = len(packets)
        table = _ffi.cast("struct zcrx_packet *", view + packets_off[number])
        for i, packet in enumerate(packets):
            size = len(packet.payload)
            entry = table[i]
            entry.data_off, entry.time_ns, entry.len = data_at, packet.time_ns, size
            entry.flow, entry.crc_first = packet.flow, crc_at
            _ffi.memmove(view + data_at, packet.payload, size)
            for start in range(0, size, niov_size):
                length = min(niov_size, size - start)
                crcs[crc_at] = _lib.zcrx_crc32c(view + data_at + start, length)
                crc_at += 1
            data_at += _align(size)
    return arena


# ---- stepping --------------------------------------------------------------------


class Step:
    """The provider in this process, operation by operation (``cext/step.h``)."""

    def __init__(self, shape: Shape, *, strict_alias: bool) -> None:
        ptr = _lib.zcrx_step_new(_shape(shape), strict_alias)
        if ptr == _ffi.NULL:
            raise ConfigError.of("shape", shape, "sizes must be within their limits")
        self._ptr = _ffi.gc(ptr, _lib.zcrx_step_free)
        self.shape = shape
        self._judgements = _ffi.new("struct zcrx_judgement[]", 256)

    def alloc(self) -> int | None:
        """One buffer for the NIC, None if there is none; StateError without a page pool."""
        niov = int(_lib.zcrx_step_alloc(self._ptr))
        if niov == -errno.ENOENT:
            raise StateError("alloc: no page pool serves the queue; restart it first")
        return niov if niov >= 0 else None

    def deliver(self, niov: int, fragments: int) -> None:
        """Give the user ``fragments`` references."""
        _lib.zcrx_step_deliver(self._ptr, niov, fragments)

    def drop(self, niov: int) -> None:
        """The stack drops one page-pool reference."""
        _lib.zcrx_step_drop(self._ptr, niov)

    def write_rqe(self, slot: int, off: int, length: int, pad: int) -> None:
        """Write a slot of the refill ring without publishing it."""
        _lib.zcrx_step_write_rqe(self._ptr, slot, off, length, pad)

    @property
    def tail(self) -> int:
        """The tail word as it stands in the ring."""
        return int(_lib.zcrx_step_tail(self._ptr))

    def set_head(self, value: int) -> None:
        """Scribble on the head word."""
        _lib.zcrx_step_set_head(self._ptr, value)

    def set_tail(self, value: int) -> None:
        """Set the tail word."""
        _lib.zcrx_step_set_tail(self._ptr, value)

    def scrub(self) -> int:
        """Take back all user references; how many."""
        return int(_lib.zcrx_step_scrub(self._ptr))

    def copy_fallback(self) -> int | None:
        """A buffer straight from the freelist, or None."""
        niov = int(_lib.zcrx_step_copy_fallback(self._ptr))
        return niov if niov >= 0 else None

    def restart(self) -> int:
        """Put a new page pool in charge; its slot."""
        slot = int(_lib.zcrx_step_restart(self._ptr))
        if slot < 0:
            raise StateError("restart_queue: every pool slot holds a pool that waits for buffers")
        return slot

    def retry_release(self, slot: int) -> bool:
        """Look again at a dying pool; True if it is gone."""
        result = int(_lib.zcrx_step_retry_release(self._ptr, slot))
        if result < 0:
            raise StateError(f"retry_release: pool {slot} is not dying")
        return bool(result)

    def destroy(self) -> bool:
        """Tear the queue down; True if every buffer is home."""
        result = int(_lib.zcrx_step_destroy(self._ptr))
        if result == -errno.ENOENT:
            raise StateError("destroy: no page pool serves the queue")
        return result == 0

    def take_verdicts(self) -> list[Judgement]:
        """Verdicts of the RQEs consumed since the last call, in order."""
        judgements: list[Judgement] = []
        while True:
            count = _lib.zcrx_step_take_verdicts(self._ptr, self._judgements, 256)
            judgements.extend(_judgement(raw) for raw in self._judgements[0:count])
            if count < 256:
                return judgements

    def _pool(self, slot: int) -> PoolState:
        raw = _ffi.new("struct zcrx_step_pool *")
        cache = _ffi.new("uint32_t[128]")
        ring = _ffi.new("uint32_t[]", self.shape.ptr_ring_size)
        _lib.zcrx_step_pool_read(self._ptr, slot, raw, cache, ring)
        return PoolState(
            phase=PoolPhase(raw.phase),
            alloc_cache=tuple(cache[0 : raw.cache_count]),
            ptr_ring=tuple(ring[0 : raw.ring_count]),
            inflight=raw.inflight,
        )

    def state(self) -> ProviderState:
        """Everything there is to know, as a value."""
        count = self.shape.num_niovs
        niovs = _ffi.new("uint32_t[]", count)
        free_count = int(_lib.zcrx_step_freelist(self._ptr, niovs))
        user_refs, pp_refs, pools = (_ffi.new("uint32_t[]", count) for _ in range(3))
        _lib.zcrx_step_buffers(self._ptr, user_refs, pp_refs, pools)
        current = int(_lib.zcrx_step_current_pool(self._ptr))
        names = COUNTER_NAMES[CounterGroup.PROVIDER]
        values = _ffi.new("uint64_t[]", len(names))
        _lib.zcrx_counters_read(_lib.zcrx_step_queue(self._ptr), int(CounterGroup.PROVIDER), values)
        counters = dict(zip(names, values, strict=True))
        return ProviderState(
            rq_head=int(_lib.zcrx_step_head(self._ptr)),
            rq_tail=self.tail,
            cached_rq_head=int(_lib.zcrx_step_cached_head(self._ptr)),
            free_count=free_count,
            freelist=tuple(niovs[0:free_count]),
            user_refs=tuple(user_refs),
            pp_refs=tuple(pp_refs),
            niov_pool=tuple(pool - 1 if pool else None for pool in pools),
            pools=tuple(self._pool(slot) for slot in range(POOLS_MAX)),
            current_pool=current - 1 if current else None,
            instance_refs=counters["instance_refs"],
            verdicts={verdict: counters[verdict.label] for verdict in Verdict},
            aliases=counters["aliases"],
            alloc_failures=counters["alloc_failures"],
            destroy_warnings=counters["destroy_warnings"],
        )

    def pool_counters(self) -> dict[str, int]:
        """Page-pool counters under their ``ethtool -S`` names (without ``rx_pp_``)."""
        names = COUNTER_NAMES[CounterGroup.POOL]
        values = _ffi.new("uint64_t[]", len(names))
        _lib.zcrx_counters_read(_lib.zcrx_step_queue(self._ptr), int(CounterGroup.POOL), values)
        return dict(zip(names, values, strict=True))


def _judgement(raw: Any) -> Judgement:
    verdict = Verdict(raw.verdict)
    named = verdict not in (Verdict.BAD_PAD, Verdict.BAD_AREA)
    return Judgement(
        index=raw.index,
        verdict=verdict,
        niov=raw.niov if named else None,
        alias=bool(raw.alias),
    )
