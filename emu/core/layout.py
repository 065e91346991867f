"""The shape of a queue, sizes of its shared objects, and where a process has mapped them."""

from __future__ import annotations

import enum
import mmap
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from emu.contract import EXPERIMENTAL, REFS_CACHE, Contract, check_level
from emu.core._lib import ffi, lib, new_struct
from emu.core.library import ProviderLibrary
from emu.errors import ConfigError
from emu.spec.state import AREAS_MAX, POOLS_MAX, Verdict

AREA_SIZES: int = lib.ZCRX_AREA_SIZES  #: of areas that differ in size
QUEUES_MAX: int = lib.ZCRX_QUEUES_MAX
RULES_MAX: int = lib.ZCRX_RULES_MAX
JOURNAL_MAX: int = lib.ZCRX_JOURNAL_MAX
PACKET_MAX: int = lib.ZCRX_PACKET_MAX
LAYOUT_VERSION: int = lib.ZCRX_LAYOUT_VERSION
FLIGHT_ENTRIES: int = lib.ZCRX_FLIGHT_ENTRIES
_AREA_SHIFT: int = lib.IORING_ZCRX_AREA_SHIFT

#: Kernel levels that the core knows, oldest first.
LEVELS: tuple[str, ...] = tuple(
    ffi.string(lib.zcrx_level_of(number).name).decode() for number in range(lib.ZCRX_LEVELS)
)

assert lib.ZCRX_POOLS_MAX == POOLS_MAX
assert lib.ZCRX_AREAS_MAX == AREAS_MAX
assert len(Verdict) == lib.ZCRX_VERDICT_COUNT


class Caller(enum.IntEnum):
    """In which process a provider of somebody else's is called."""

    NIC = 1
    PROVIDER = 2
    KEEPER = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One queue: sizes, all powers of two but ``num_niovs`` and ``ptr_ring_size``; contract."""

    num_niovs: int  #: of all areas, those that may be added too
    niov_shift: int
    rq_entries: int
    cq_entries: int
    ptr_ring_size: int
    grant_entries: int
    log_entries: int
    flows_max: int
    initial_index: int = 0
    ring_layout: int = 0  #: of the rings object: 0 = the usual one, else what decides it, u32
    flight_entries: int = 0  #: events of each flight recorder; 0 = none
    contract: Contract = field(default_factory=Contract)
    has_no_device: bool = False  #: no page pool: all that comes is copied
    is_witnessed: bool = False  #: NIC and provider note what its user is given and gives back
    areas_max: int = 1  #: areas that there may be; 1: it has all the buffers
    areas: int = 1  #: areas to begin with, if there may be more than one …
    #: … and how many buffers each has; those behind the last are as the last
    area_niovs: tuple[int, ...] = ()

    @property
    def byte_of(self) -> Callable[[int], int]:
        """What says where the byte is, in the memory of all areas, that an offset names."""
        if self.areas_max == 1:
            return int
        raw, below = raw_shape(self), (1 << _AREA_SHIFT) - 1
        firsts = [
            int(lib.zcrx_areas_first(raw, area)) << self.niov_shift
            for area in range(self.areas_max)
        ]
        return lambda off: firsts[off >> _AREA_SHIFT] + (off & below)


def raw_shape(shape: Shape) -> Any:
    """The shape in C; ConfigError for a level that the core does not know."""
    contract = shape.contract
    check_level(contract.level, experimental=True)
    strict = lib.ZCRX_CONTRACT_STRICT_ALIAS if contract.strict_alias else 0
    cached = lib.ZCRX_CONTRACT_REFS_CACHE if contract.level == REFS_CACHE else 0
    raw = {
        "level": LEVELS.index(EXPERIMENTAL.get(contract.level, contract.level)),
        "deviations": strict | cached,
    }
    return new_struct("zcrx_shape", {**asdict(shape), "contract": raw})


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of one queue's shared objects."""

    kern: int
    rings: int
    area: int
    notes: int


def layout_sizes(shape: Shape) -> Sizes:
    """Compute the sizes of a queue's shared objects; ConfigError for an impossible shape."""
    sizes = ffi.new("struct zcrx_sizes *")
    if lib.zcrx_layout_sizes(raw_shape(shape), sizes):
        raise ConfigError.of("shape", shape, "sizes must be powers of two within their limits")
    return Sizes(sizes.kern, sizes.rings, sizes.area, sizes.notes)


def run_size() -> int:
    """Bytes of the run object."""
    return int(lib.zcrx_run_size())


def bells_size() -> int:
    """Bytes of the object with the doorbells."""
    return int(lib.zcrx_bells_size())


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """Where a process has mapped a queue's objects; None for what it must not map."""

    run: mmap.mmap | None = None
    bells: mmap.mmap | None = None
    kern: mmap.mmap | None = None
    rings: mmap.mmap | None = None
    area: mmap.mmap | None = None
    notes: mmap.mmap | None = None
    provider: ProviderLibrary | None = None  #: in the place of ours; not for a consumer
    caller: int = 0  #: of what is somebody else's: see :class:`emu.core.queue.Caller`


_MAPPED = tuple(field.name for field in fields(Mapping) if field.name not in ("provider", "caller"))


def fill_mapping(target: Any, mapping: Mapping, keep: list[Any]) -> None:
    """Write a mapping into its C struct; ``keep`` gets what must live as long as that is used."""
    for name in _MAPPED:
        memory = getattr(mapping, name)
        if memory is not None:
            view = ffi.from_buffer(memory)
            keep.append(view)
            setattr(target, name, ffi.cast("void *", view))
    if mapping.provider is not None:
        target.provider = mapping.provider.raw()
        target.caller = mapping.caller


def raw_mappings(mappings: Sequence[Mapping], keep: list[Any]) -> Any:
    """Several of them, as an array in C."""
    array = ffi.new("struct zcrx_mapping[]", len(mappings))
    for target, mapping in zip(array, mappings, strict=True):
        fill_mapping(target, mapping, keep)
    return array
