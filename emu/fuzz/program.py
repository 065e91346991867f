"""Programs in words: the shape of an instance, an operation, an answer, a kind of finding.

The harness speaks numbers (``cext/fuzz/main.c``); the names of operations and kinds of findings
are those of ``cext/fuzz/program.h`` and ``finding.h``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from emu.compile.records import Record
from emu.contract import LEVELS, SEED
from emu.spec.state import POOLS_MAX, Verdict

FRAGMENTS_MAX = 1 << 20  #: of one ``deliver-many``
_STRETCH_MAX = 16
_ROUNDS_MAX = 1 << 17
_ROUNDS_FEW = 64
#: An answer is told up to so many characters of values, and then of entries.
_VALUES_END, _ENTRIES_END = 992, 976

MEANINGS = {
    "result": "an operation answered something else",
    "verdict": "an entry earned another verdict",
    "niov": "an entry was taken for another buffer's",
    "alias": "an alias was not noticed, or seen where none is",
    "consumed": "too many or too few entries were consumed",
    "read-twice": "a word of an entry was loaded twice in one refill",
    "read-late": "an entry was read after head had been published",
    "unlocked": "the refill ring was used without its lock",
    "head": "the ring's indices are wrong",
    "user-refs": "user references are wrong",
    "pp-refs": "page-pool references are wrong",
    "binding": "a buffer is bound to the wrong pool",
    "freelist": "the freelist is wrong: buffers lost, doubled or out of order",
    "cache": "an alloc cache is wrong",
    "ptr-ring": "a ptr ring is wrong",
    "pool": "a page pool's phase or count of buffers is wrong",
    "counter": "something was counted wrongly",
    "lock": "a lock was left taken",
    "verdict-log": "the verdict log says something else",
    "red-zone": "somebody wrote outside of an array",
}  #: what each kind of finding is

_TAILS = ("moves by", "is behind the head by", "=")
_TAIL_ABSOLUTE = 2
_RETURNS = (
    "a fragment each",
    "all fragments",
    "a fragment each, from inside the buffer",
    "a fragment each, as an alias",
)
_WRONG_POOLS = ("of another device", "that maps for DMA", "of order 1", "without an ifq")


@dataclass(frozen=True, slots=True)
class Shape:
    """The instance that a program is for."""

    num_niovs: int
    rq_entries: int
    ptr_ring_size: int
    initial_index: int
    queues: int
    kernel: str  #: level that is played
    has_no_device: bool
    strict_alias: bool
    is_checked: bool  #: verdicts wait for somebody to look at them
    records: bool  #: a flight recorder runs

    @classmethod
    def of(cls, record: Record) -> Self:
        """What a record says."""
        return cls(
            num_niovs=record.number("num_niovs"),
            rq_entries=record.number("rq_entries"),
            ptr_ring_size=record.number("ptr_ring_size"),
            initial_index=record.number("initial_index"),
            queues=record.number("queues"),
            kernel=LEVELS[record.number("kernel")],
            has_no_device=record.flag("has_no_device"),
            strict_alias=record.flag("strict_alias"),
            is_checked=record.flag("is_checked"),
            records=record.flag("records"),
        )

    @property
    def text(self) -> str:
        """In one line."""
        return (
            f"{self.queues} queue(s) of {self.num_niovs} buffer(s), refill ring of "
            f"{self.rq_entries} from index {self.initial_index}, ptr ring of {self.ptr_ring_size}"
            + f", kernel {self.kernel}" * (self.kernel != SEED)
            + ", without a device" * self.has_no_device
            + ", strict about aliases" * self.strict_alias
            + ", verdicts are checked" * self.is_checked
            + ", with a flight recorder" * self.records
        )


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation; arguments that its kind does not have are 0."""

    kind: str
    queue: int
    mode: int
    pick: int
    count: int
    value: int
    off: int  #: of an entry of the refill ring, as are the next two
    len: int
    pad: int

    @classmethod
    def of(cls, record: Record) -> Self:
        """What a record says."""
        numbers = ("queue", "mode", "pick", "count", "value", "off", "len", "pad")
        return cls(record.values["kind"], *map(record.number, numbers))

    @property
    def text(self) -> str:
        """In words, but for the queue."""
        if self.kind == "scrub":
            return "scrub, counting buffers" if self.mode else "scrub"
        return f"{self.kind} {self._arguments()}".rstrip()

    def _arguments(self) -> str:
        buffers = f"{self.count} buffer(s) from niov {self.pick} on"
        match self.kind:
            case "alloc" | "copy":
                return str(self.count)
            case "deliver":
                kept = ", stack keeps its own" if self.mode >= 4 else ""
                return f"{buffers}, {1 + self.mode % 4} fragment(s) each{kept}"
            case "deliver-many":
                kept = ", stack keeps its own" if self.mode else ""
                fragments = 1 + self.value % FRAGMENTS_MAX
                return f"the next buffer from niov {self.pick} on, {fragments} fragments{kept}"
            case "drop":
                return buffers
            case "return":
                return f"{buffers}, {_RETURNS[self.mode]}"
            case "push":
                return f"{self.count} times {self._entry}" if self.count > 1 else self._entry
            case "write":
                return f"slot {self.pick}: {self._entry}"
            case "rewrite":
                return (
                    f"before load {self.count} of the ring, the slot {self.pick} further on: "
                    f"{self._entry}"
                )
            case "tail":
                is_signed = self.mode != _TAIL_ABSOLUTE and self.value >= 1 << 31
                return f"{_TAILS[self.mode]} {self.value - (1 << 32) * is_signed}"
            case "head":
                return f"= {self.value}"
            case "retry":
                return "all dying pools" if self.mode else f"pool {self.pick % POOLS_MAX}"
            case "hide":
                return f"the freelist for {self.count} call(s)"
            case "refuse":
                return f"the next {self.count} in the ptr ring"
            case "wrong-pool":
                return _WRONG_POOLS[self.mode]
            case "netlink":
                dump = "page-pool-get" if self.mode else "queue-get"
                return f"{dump}, room for {self.pick} bytes"
            case "add-area":
                return f"of {self.count} buffer(s)"
            case "repeat":
                few = self.value if self.value < _ROUNDS_MAX else self.value % _ROUNDS_FEW
                stretch = 1 + self.pick % _STRETCH_MAX
                return f"the last {stretch} operation(s) {1 + few} more time(s)"
            case _:
                return ""

    @property
    def _entry(self) -> str:
        length = f" len={self.len}" if self.len else ""
        return f"off=0x{self.off:x}{length}" + (f" pad=0x{self.pad:x}" if self.pad else "")


def entries_of(numbers: Sequence[int]) -> list[tuple[int, int, int, int]]:
    """Entries that were judged: index, verdict, niov and whether it is an alias, of each."""
    return list(zip(*[iter(numbers)] * 4, strict=True))


def answer_text(values: Sequence[int], entries: Sequence[tuple[int, int, int, int]]) -> str:
    """What an operation answered and what its entries earned, as much as is read at once."""
    text = ""
    for value in values:
        if len(text) >= _VALUES_END:
            break
        text += f" {value}" if text else str(value)
    separator = "; entries: " if values else "entries: "
    for _, number, niov, _ in entries:
        if len(text) >= _ENTRIES_END:
            break
        label = Verdict(number).label if number < len(Verdict) else "?"
        named = number not in (Verdict.BAD_PAD, Verdict.BAD_AREA)
        text += f"{separator}{label}" + (f" (niov {niov})" if named else "")
        separator = ", "
    return text
