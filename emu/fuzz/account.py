"""What a program showed, in words: a signature, and who says what.

The harness tells a finding in numbers and names (``cext/fuzz/finding.h``), and of a process that
ended only how it did.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from emu.compile.records import Record
from emu.spec.state import PoolPhase, Verdict

#: A list is told up to so many characters.
_LIST_END = 144
_U64 = 1 << 64


@dataclass(frozen=True, slots=True)
class Account:
    """What was seen of a mistake.

    Attributes:
        signature: The same mistake has the same one, as a rule.
        what: What was wrong.
        expected: What it must be, as the judge has it.
        actual: What it is.
        kind: Of a finding, a key of ``emu.fuzz.program.MEANINGS``; empty for a crash or a hang.
    """

    signature: str
    what: str
    expected: str
    actual: str
    kind: str = ""


# ---- the two sides ----------------------------------------------------------------------


def _number(values: Sequence[int]) -> str:
    return str(values[0])


def _signed(values: Sequence[int]) -> str:
    return str(values[0] - _U64 if values[0] >= _U64 // 2 else values[0])


def _verdict(values: Sequence[int]) -> str:
    return Verdict(values[0]).label if values[0] < len(Verdict) else "?"


def _phase(values: Sequence[int]) -> str:
    return PoolPhase(values[0]).name.lower() if values[0] < len(PoolPhase) else str(values[0])


def _list(values: Sequence[int]) -> str:
    """As much of a list of niovs as is read at once."""
    text = ""
    for niov in values:
        if len(text) > _LIST_END:
            return text + "…"
        text += f" {niov}" if text else str(niov)
    return text or "empty"


_Side = Callable[[Sequence[int]], str]


@dataclass(frozen=True, slots=True)
class _Wording:
    """How something wrong is put.

    Attributes:
        what: With places for ``which``, ``niov``, ``op`` and ``verdict`` of the record.
        side: Makes what either side says of its numbers.
        sides: What they say, if that is always the same: expected, actual.
    """

    what: str
    side: _Side = _number
    sides: tuple[str, str] | None = None


def _zone(array: str) -> _Wording:
    return _Wording(f"memory behind: {array}", sides=("untouched", "written"))


def _unlocked(access: str) -> _Wording:
    return _Wording(access, sides=("under the refill ring's lock", "without it"))


#: By the names of ``FUZZ_WRONGS``.
WORDINGS = {
    "ANSWER": _Wording("answer of {op}", _signed),
    "BUFFERS_SCRUBBED": _Wording("buffers that came home by the scrub"),
    "NETLINK": _Wording("netlink attribute", sides=("the empty nest", "other bytes")),
    "VERDICT": _Wording("verdict of the entry at index {which} (niov {niov})", _verdict),
    "ENTRY_NIOV": _Wording("niov of the entry at index {which}"),
    "ENTRY_ALIAS": _Wording("alias flag of the entry at index {which}"),
    "ENTRY_INDEX": _Wording("ring index of the next entry judged"),
    "ENTRIES": _Wording("entries judged"),
    "READ_TWICE": _Wording("entry in slot {which}", sides=("loaded once", "loaded twice")),
    "READ_LATE": _Wording(
        "entry in slot {which}", sides=("read before head was published", "read afterwards")
    ),
    "TAIL_UNLOCKED": _unlocked("load of tail"),
    "HEAD_UNLOCKED": _unlocked("store of head"),
    "ENTRY_UNLOCKED": _unlocked("load of an entry"),
    "HEAD": _Wording("published head"),
    "OWN_HEAD": _Wording("the provider's own head"),
    "TAIL": _Wording("tail"),
    "USER_REFS": _Wording("user references of niov {which}"),
    "PP_REFS": _Wording("page-pool references of niov {which}"),
    "REF_UNDERFLOWS": _Wording("page-pool references dropped that nobody held"),
    "BINDING": _Wording("pool (+ 1) of niov {which}"),
    "FREELIST": _Wording("freelist (top last) of queue or pool {which}", _list),
    "FREE_COUNT": _Wording("buffers on the freelist"),
    "FREELIST_OVERFLOWS": _Wording("pushes on a full freelist"),
    "CACHE": _Wording("alloc cache (top last) of queue or pool {which}", _list),
    "PTR_RING": _Wording("ptr ring (oldest first) of queue or pool {which}", _list),
    "PTR_RING_HEAD": _Wording("head of ptr ring {which}"),
    "PHASE": _Wording("phase of pool {which}", _phase),
    "BOUND": _Wording("buffers bound to pool {which}"),
    "RQES_CONSUMED": _Wording("RQEs consumed"),
    "VERDICTS": _Wording("{verdict}"),
    "ALIASES": _Wording("aliases"),
    "ALLOC_FAILURES": _Wording("failed allocations"),
    "DESTROY_WARNINGS": _Wording("destroy warnings"),
    "INSTANCE_REFS": _Wording("references on the instance"),
    "SHOWN_HEAD": _Wording("head as shown to others"),
    "CURRENT_POOL": _Wording("current pool (+ 1)"),
    "FREELIST_LOCK": _Wording("freelist lock"),
    "RQ_LOCK": _Wording("lock of the refill ring"),
    "PRODUCER_LOCK": _Wording("producer lock of pool {which}"),
    "LOG_BYTE": _Wording("log byte of the entry at index {which}"),
    "NIOV_RESERVED": _Wording("reserved word of a niov", sides=("untouched", "written")),
    "ZONE_FIRST": _zone("what stands before everything"),
    "ZONE_IFQ": _zone("ifq"),
    "ZONE_AREA": _zone("area"),
    "ZONE_NIOVS": _zone("niovs"),
    "ZONE_FREELIST": _zone("freelist"),
    "ZONE_SCRUBBED": _zone("scrubbed references"),
    "ZONE_EXTENTS": _zone("areas"),
    "ZONE_VERDICT_LOG": _zone("verdict log"),
    "ZONE_NIOV_LOG": _zone("log of buffers"),
    "ZONE_RQ_INDICES": _zone("refill ring's indices"),
    "ZONE_RQES": _zone("refill ring"),
    "ZONE_FLIGHT": _zone("flight recorder"),
    "ZONE_POOL": _zone("page pool {which}"),
    "ZONE_PTR_RING": _zone("ptr ring {which}"),
}


def account_of_finding(record: Record) -> Account:
    """What a record says of a finding."""
    wording, which = WORDINGS[record.values["what"]], record.number("which")
    what = wording.what.format(
        which=which,
        niov=record.number("niov"),
        op=record.values["op"],
        verdict=_verdict([which]),
    )
    if record.number("round"):
        what += f" (in repetition {record.number('round')})"
    expected, actual = wording.sides or (
        wording.side(record.numbers("expected")),
        wording.side(record.numbers("actual")),
    )
    kind = record.values["kind"]
    # A verdict's signature is which for which: operations differ from program to program.
    details = f"{expected}:{actual}" if kind == "verdict" else record.values["op"]
    return Account(f"{kind}:{details}", what, expected, actual, kind)


def signal_name(number: int) -> str:
    """A signal's name without its SIG; ? if it has none."""
    try:
        return signal.Signals(number).name.removeprefix("SIG")
    except ValueError:
        return "?"


def _crash(signature: str, what: str) -> Account:
    return Account(signature, what, "the operation ends", "it ended the process")


def account_of_end(record: Record) -> Account:
    """What a record says of a process that did not come to its end."""
    number, code = record.number("signal"), record.number("code")
    sanitizer = record.values["sanitizer"]
    if record.values["outcome"] == "hang":
        return Account(
            "hang", "the operation did not end in time", "the operation ends", "it was cut off"
        )
    if number:
        name = signal_name(number)
        return _crash(f"crash:{name}", f"the process was killed by SIG{name}")
    if sanitizer:
        return _crash(f"asan:{sanitizer}", f"AddressSanitizer ended the process: {sanitizer}")
    return _crash(
        f"crash:exit-{code}",
        f"the process ended itself with code {code} (a sanitizer does so)",
    )
