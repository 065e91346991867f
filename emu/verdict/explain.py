"""Findings in words: for the first of each kind, what was seen and what it means.

Everything said here follows from what was counted, logged or read; where a
thing cannot be known any more, the text says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from emu.areas import Areas
from emu.config import RunConfig
from emu.contract import BY_RUNS, Contract
from emu.core import Alarm, AuditResult, Balance, Mismatch, MismatchWhy, SlotView
from emu.spec.state import Verdict
from emu.verdict.audit import OwnMistakes, ProvenMistakes
from emu.verdict.flight import Event, EventError
from emu.verdict.progress import Movement
from emu.verdict.report import Explanation, QueueReport
from emu.verdict.watch import Noticed, error_events
from faults import Plan, Reconciliation

_TAKEN = frozenset({Verdict.ACCEPTED, Verdict.STILL_REFERENCED, Verdict.OTHER_POOL})
_REJECTED = frozenset({Verdict.BAD_PAD, Verdict.BAD_AREA, Verdict.BAD_INDEX})
_AREA_SHIFT = 48
_PLACES = {
    "freelist": "on the freelist",
    "cache": "in alloc caches",
    "ptr_ring": "in ptr rings",
    "grant_ring": "granted and not taken by the NIC",
    "nic": "with the NIC",
    "user": "with the user",
}


@dataclass(frozen=True, slots=True)
class Death:
    """A process that ended although nobody wanted it."""

    label: str
    text: str  #: how, in words
    queue: int | None
    is_kernel_side: bool
    at_s: float  #: of traffic, when it was noticed
    has_traceback: bool = False  #: it was an exception, and this is its last line


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What there is to explain, and what is known."""

    config: RunConfig
    run_dir: str | None
    findings: Mapping[str, Noticed]  #: noticed while the run was on, by kind
    broken: Sequence[str]  #: statements of the audit that do not hold
    movement: Movement = field(default_factory=Movement)  #: how the queues moved
    left_early: Sequence[str] = ()  #: consumers that nobody had asked to leave
    timeouts: Sequence[str]  #: what took too long
    deaths: Sequence[Death]
    queues: Sequence[QueueReport]
    buffers: Sequence[AuditResult]
    flows: Mapping[int, tuple[int, int, int, int]]  #: queue: first wrong flow as sent and received
    undrained: frozenset[int]
    reconciliation: Reconciliation
    events: Sequence[Event]  #: of the flight recorders
    balances: Sequence[Balance] = ()  #: of each queue's user references
    own: OwnMistakes | None = None  #: of consumers that are not ours
    proven: ProvenMistakes | None = None  #: of consumers in C

    def total(self, group: str, name: str) -> int:
        """Sum of a counter over all queues."""
        return sum(getattr(queue, group)[name] for queue in self.queues)

    def first_with(self, group: str, name: str) -> int:
        """The first queue whose counter is not 0."""
        return next(i for i, queue in enumerate(self.queues) if getattr(queue, group)[name])


def _times(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _next_step(case: Case) -> str:
    if case.config.traffic.startswith("tcp:"):
        return (
            "The traffic came from programs of its own time, so this run cannot be replayed; "
            "a run of synthetic traffic with the same --faults and --seed is the nearest to it."
        )
    run = case.run_dir or "RUN (give --run-dir to have one written)"
    return (
        f"Next: zcrx-emu replay {run} runs seed {case.config.seed} with the same traffic and "
        "the same faults again; how the processes interleave differs from run to run."
    )


# ---- a wrong verdict --------------------------------------------------------------------------


def first_sentence(text: str) -> str:
    """Up to the first full stop that ends a sentence."""
    end = text.find(". ")
    return text if end < 0 else text[: end + 1]


def writer_words(plan: Plan, intent: int) -> str:
    """Who wrote an entry: 0 = a valid return, r + 1 = rule r of the plan."""
    if intent == 0:
        return "It was written as a valid return, not by a fault."
    if intent > len(plan.rules):
        return (
            f"The intent log names rule {intent}, which the plan does not have: the consumer "
            "wrote over its own log, so who wrote the entry is not known."
        )
    rule = plan.rules[intent - 1]
    return (
        f"It was written by rule {intent} of the plan, {rule.fault.name} ({rule.words}): "
        f"{first_sentence(rule.fault.explanation)}"
    )


def judge_bytes(
    slot: SlotView, areas: Areas, contract: Contract, niov_shift: int = 12
) -> tuple[str, bool]:
    """What the bytes of an entry alone decide, by the contract's order of tests.

    Returns:
        The reasoning in words; and whether the references have the last word.
    """
    index = (slot.off & ((1 << _AREA_SHIFT) - 1)) >> niov_shift
    if slot.pad:
        return (
            f"The contract tests __pad first, and it is 0x{slot.pad:x}, not 0: bad_pad, "
            "whatever else the entry says",
            False,
        )
    area = slot.off >> _AREA_SHIFT
    if area >= slot.areas:
        there = f"are areas 0 to {slot.areas - 1} then" if slot.areas > 1 else "is only area 0"
        return (
            f"__pad is 0; the area id, tested next, is {area}, and there {there}: bad_area",
            False,
        )
    before = f"__pad is 0 and the area id {area} is there" if area else "__pad and area id are 0"
    low = index % 2**32
    if low >= areas.size(area):
        return (
            f"{before}; the niov index, tested next, is {low} in its low "
            f"32 bits, and the area has buffers 0 to {areas.size(area) - 1}: bad_index",
            False,
        )
    if index != low and contract.strict_alias:
        return (
            f"the niov index is {index}, which names buffer {low} only once its upper bits "
            "are gone, and this run is strict about such aliases: bad_index",
            False,
        )
    through = f", {slot.niov} through all areas" if areas.count > 1 else ""
    return (
        f"{before} and the niov index names buffer {low}{through}"
        f"{' (as an alias)' if index != low else ''}, so the references decide: the entry "
        "is taken if the user holds a reference, else it is no_user_ref",
        True,
    )


def _entry_bytes(case: Case, mismatch: Mismatch, slot: SlotView) -> str:
    entries = case.config.rq_entries
    further = (slot.tail - mismatch.index) % 2**32
    where = f"Slot {mismatch.index & (entries - 1)}"
    if not 0 < further <= entries:
        return (
            f"{where} was written again before it could be read (the tail is {further} entries "
            "further), so the entry's bytes are not known."
        )
    config = case.config
    reasoning, well_formed = judge_bytes(slot, config.area_plan, config.contract, config.niov_shift)
    text = (
        f"{where} held {slot.raw.hex(' ')} (off 0x{slot.off:x}, len {slot.len}, "
        f"__pad 0x{slot.pad:x}) when the finding was noticed; no later entry had been published "
        f"in it. {reasoning[0].upper()}{reasoning[1:]}."
    )
    rejects = {Verdict.BAD_PAD, Verdict.BAD_AREA, Verdict.BAD_INDEX}
    may_be_either = mismatch.legal & rejects and mismatch.legal - rejects
    if not may_be_either and well_formed != bool(mismatch.legal - rejects):
        return (
            f"{text} That does not agree with what was written: the consumer has changed the "
            "bytes since."
        )
    if well_formed:
        text += (
            f" At that moment, and not necessarily at the verdict, buffer {slot.niov} had "
            f"{_times(slot.user_refs, 'user reference')} and "
            f"{_times(slot.pp_refs, 'page-pool reference')}."
        )
    return text


def _own_fault(case: Case, mismatch: Mismatch) -> str:
    """The name of the user's own fault that wrote the entry; empty if none of these did."""
    rules = case.config.plan.rules
    if not 0 < mismatch.intent <= len(rules):
        return ""
    fault = rules[mismatch.intent - 1].fault
    return fault.name if fault.source else ""


def why_mismatch(mismatch: Mismatch) -> str:
    """What is wrong besides the verdict's name, in a clause; empty if nothing is."""
    if mismatch.why is MismatchWhy.NO_CREDIT:
        return (
            f"buffer {mismatch.niov}: nothing had taken its reference; {mismatch.put_down} of its "
            f"references were taken out of turn before, and {mismatch.spent} of its returns have "
            "found none because of that"
        )
    if mismatch.why is MismatchWhy.OTHER_BUFFER:
        return f"it was judged as an entry of buffer {mismatch.niov}, which it does not name"
    return ""


def _why_legal(case: Case, mismatch: Mismatch) -> str:
    labels = " or ".join(sorted(verdict.label for verdict in mismatch.legal)) or "nothing"
    own = _own_fault(case, mismatch)
    if own:
        return (
            f"It had to earn {labels}, since that is what {own} declares. If its bytes decide "
            "otherwise, then that declaration is wrong, and not the provider."
        )
    if mismatch.why is MismatchWhy.OTHER_BUFFER:
        return (
            f"The provider logged it as an entry of buffer {mismatch.niov}, which is not the one "
            "that it names: it read another entry, or another buffer was given back in its place."
        )
    if mismatch.why is MismatchWhy.NO_CREDIT:
        return (
            f"It had to earn {labels}: it gives back a fragment of buffer {mismatch.niov}. Of that "
            f"buffer {mismatch.put_down} references had been taken by entries that were nobody's "
            f"return or by scrubs, and {mismatch.spent} returns had found none for it; so its own "
            "reference was there."
        )
    if mismatch.legal == _TAKEN:
        certain = (
            "the consumer had received more fragments of the buffer than it had written entries "
            "for, so a reference was there"
        )
        if mismatch.intent == 0 and case.config.consumer == "builtin":
            certain = (
                "it gives back a fragment that the consumer had received and not given back, so "
                "a reference was there"
            )
        elif mismatch.intent == 0:
            certain = (
                "what a consumer gives back counts as a fragment that it holds, so a reference "
                "had to be there"
            )
        return f"It had to earn {labels}: {certain}."
    if Verdict.NO_USER_REF in mismatch.legal:
        return (
            f"It might earn {labels}: by what the consumer knew, it could not be sure that the "
            "buffer still had a reference."
        )
    return f"It had to earn {labels}."


def _what_it_means(case: Case, mismatch: Mismatch) -> str:
    verdict, legal = mismatch.verdict, mismatch.legal
    if verdict is None:
        return (
            "What the verdict log has is the number of no verdict: the log was written wrongly, "
            "or written over."
        )
    if verdict in _TAKEN:
        if Verdict.BAD_INDEX in legal:
            return (
                "Taking it means that a niov index beyond the area was looked up: memory outside "
                "of the provider's arrays was touched."
            )
        return (
            "Taking it means that a malformed entry was honoured: a buffer lost a user reference "
            "that nobody gave back, and may be filled again while the user still reads it."
        )
    if verdict is Verdict.NO_USER_REF:
        found = "the buffer's user references at 0"
        if case.config.kernel in BY_RUNS:
            found = (
                "fewer user references than entries in a row named the buffer, of which this "
                "kernel takes all or none"
            )
        text = (
            f"no_user_ref means that the provider found {found}: the "
            "reference was never taken at delivery, or was dropped twice. A buffer whose "
            "reference was dropped twice may have been given to the NIC while it was being read."
        )
        if mismatch.legal & {Verdict.BAD_PAD, Verdict.BAD_AREA, Verdict.BAD_INDEX}:
            text = (
                "no_user_ref means that the entry got as far as the references, although an "
                "earlier test should have rejected it."
            )
        elif case.config.consumer != "builtin":
            text += (
                f" The consumer is {case.config.consumer}: an entry that it writes outside of "
                "the plan, for a fragment that it gave back before or was never given, takes the "
                "reference of a later return, and is seen exactly so."
            )
        return text
    if legal & {Verdict.BAD_PAD, Verdict.BAD_AREA, Verdict.BAD_INDEX}:
        if _own_fault(case, mismatch):
            return "It was rejected, but by another test than the one that is declared."
        return (
            "It was rejected, but by another test than the first that it fails: the order of the "
            "tests, or one of them, is not the contract's."
        )
    return (
        "A well-formed return was rejected: its user reference was not dropped, so the buffer "
        "stays with the user until the scrub, and is lost to the traffic."
    )


def _exactness(case: Case) -> str:
    result = case.reconciliation
    finding = case.findings.get("exactness")
    lost = (
        f"{_times(result.lost, 'verdict')} could not be compared with what the entry meant: "
        "the control process came too late and the logs had been written over. Raise "
        f"log_entries ({case.config.log_entries}), or give the control process more of a core."
    )
    if finding is None or finding.mismatch is None:
        return lost if result.lost else _counted_wrongly(case)
    mismatch = finding.mismatch
    said = "no verdict at all" if mismatch.verdict is None else mismatch.verdict.label
    parts = [
        f"{_times(result.mismatch_count, 'verdict')} of {result.checked} must not be what they "
        f"are; the first is that of RQE {mismatch.position} of queue {mismatch.queue} (ring index "
        f"{mismatch.index}, slot {mismatch.index & (case.config.rq_entries - 1)}).",
        writer_words(case.config.plan, mismatch.intent),
    ]
    if finding.slot is not None:
        parts.append(_entry_bytes(case, mismatch, finding.slot))
    parts += [
        _why_legal(case, mismatch),
        f"The provider said {said}.",
        _what_it_means(case, mismatch),
    ]
    parts += _counted_otherwise(case)
    if result.lost:
        parts.append(f"Besides, {_times(result.lost, 'verdict')} could not be compared.")
    return " ".join(parts)


def _counted_wrongly(case: Case) -> str:
    """Every verdict is legal, and yet the entries do not add up."""
    parts = []
    for number, queue in enumerate(case.queues):
        submitted, consumed = queue.consumer["rqe_submitted"], queue.provider["consumed"]
        parts.append(
            f"Queue {number}: its consumers say that they wrote {submitted} entries, and "
            f"{consumed} were judged."
        )
    parts.append(
        "The first figure stands in memory that the consumer may write: it was written over, or "
        "several processes wrote to one refill ring."
    )
    return " ".join(parts)


def _counted_otherwise(case: Case) -> list[str]:
    """Where the provider's own counters contradict its verdict log."""
    differing = []
    for verdict in Verdict:
        logged = sum(row.earned.get(verdict.label, 0) for row in case.reconciliation.rows)
        counted = case.total("provider", verdict.label)
        if logged != counted:
            differing.append(f"{verdict.label} {counted}, in the log {logged}")
    if not differing or case.reconciliation.lost:
        return []
    return [
        "The provider's own counters say otherwise than its verdict log "
        f"({'; '.join(differing)}): the log was not left as the provider wrote it, or counters "
        "and log were written wrongly."
    ]


# ---- the other statements ---------------------------------------------------------------------


def _where(result: AuditResult) -> str:
    places = result.places
    found = [
        f"{getattr(places, name)} {words}"
        for name, words in _PLACES.items()
        if getattr(places, name)
    ]
    return ", ".join(found) or "none was found anywhere"


def _buffers_of(case: Case, queue: int) -> int:
    return sum(case.queues[queue].areas) or case.config.buffers


def _conservation(case: Case) -> str:
    parts = [_unbalanced(case, queue, b) for queue, b in enumerate(case.balances) if b.wrong]
    for queue, result in enumerate(case.buffers):
        total = _buffers_of(case, queue)
        if result.lost:
            parts.append(
                f"Queue {queue}: {result.lost} of {total} buffers are nowhere, the first is "
                f"buffer {result.first_lost}. It is not on the freelist, in no alloc cache, ptr "
                "ring or grant ring, not with the NIC, and the user has no reference on it: its "
                "last reference went without the buffer being put anywhere, and it can never be "
                "filled again."
            )
        if result.doubled:
            parts.append(
                f"Queue {queue}: {result.doubled} of {total} buffers are in two places at once, "
                f"the first is buffer {result.first_doubled}. It came home twice for one time "
                "that it was out, so two owners may get it."
            )
        if result.lost or result.doubled:
            parts.append(f"The others: {_where(result)}.")
    overflows = case.total("provider", "freelist_overflows")
    if overflows:
        parts.append(
            f"{_times(overflows, 'buffer')} came to a freelist that held all of them already "
            f"(first on queue {case.first_with('provider', 'freelist_overflows')}): a buffer was "
            "freed that was free. In a kernel this writes beyond the freelist's array."
        )
    underflows = case.total("provider", "ref_underflows")
    if underflows:
        parts.append(
            f"{_times(underflows, 'page-pool reference')} too many were dropped (first on queue "
            f"{case.first_with('provider', 'ref_underflows')}): somebody put a buffer back that "
            "it did not hold."
        )
    return " ".join(parts)


def _over_taken(balance: Balance) -> bool:
    """Were more references of a buffer taken than were ever delivered?"""
    return (
        bool(balance.wrong) and balance.taken + balance.scrubbed + balance.held > balance.delivered
    )


def _unbalanced(case: Case, queue: int, balance: Balance) -> str:
    text = (
        f"Queue {queue}, buffer {balance.account}: the NIC delivered {balance.delivered} user "
        f"references of it, and {balance.taken} were taken by entries that were judged, "
        f"{balance.scrubbed} by scrubs, {balance.held} are held. "
    )
    if _over_taken(balance):
        text += (
            "So more were taken than there were: an entry was believed although the user held no "
            "reference, or an entry and a scrub took the same one, or an entry that was judged to "
            "have taken one took none, or another buffer's."
        )
        known = [
            item
            for item in case.reconciliation.consequences
            if item.queue == queue and item.niov == balance.account
        ]
        if known:
            first = min(known, key=lambda item: item.position)
            text += f" The first entry that is known to have done harm there: {first}."
        return text
    return text + "A reference was taken by something that no verdict and no scrub tells of."


_MISSED = {
    EventError.CORRUPT_MISSED: ", corrupted on purpose and yet as sent",
    EventError.TRUNCATED_MISSED: ", cut short on purpose and yet as sent",
}


def _fragment(event: Event) -> str:
    return (
        f"fragment {event.b & 0xFFFFFFFF} of flow {event.b >> 32} in buffer {event.c >> 32}, "
        f"grant {event.c & 0xFFFFFFFF} of that buffer"
        + next((words for error, words in _MISSED.items() if event.a == error), "")
    )


def _first_recorded(case: Case, alarm: Alarm, tell: Callable[[Event], str]) -> str:
    found = error_events(case.events, alarm)
    if not found:
        return "Which one was first is not known: it is not, or no longer, in the recorders."
    return f"The first one recorded: queue {found[0].queue}, {tell(found[0])}."


def _ownership(case: Case) -> str:
    parts = []
    granted = case.total("nic", "ownership_violations")
    delivered = case.total("consumer", "ownership_errors")
    if granted:
        parts.append(
            f"{_times(granted, 'time')} a buffer was granted to the NIC while the user held "
            "references on it: its last page-pool reference went before its last user reference, "
            "which delivery takes together."
        )
        parts.append(
            _first_recorded(
                case,
                Alarm.GRANTED_HELD,
                lambda e: f"buffer {e.c >> 32} with {e.c & 0xFFFFFFFF} user references",
            )
        )
    if delivered:
        parts.append(
            f"{_times(delivered, 'time')} a consumer got a fragment in a buffer of which it held "
            "a fragment of an earlier grant: the buffer was filled again under its reader. No "
            "rule of the plan had returned that buffer out of turn, so no fault explains it."
        )
        parts.append(_first_recorded(case, Alarm.OWNERSHIP, _fragment))
        parts.append(_own_consumer(case, "gives a fragment back and reads on"))
    return " ".join(part for part in parts if part)


def _own_consumer(case: Case, how: str) -> str:
    if case.config.consumer == "builtin":
        return ""
    return f"The consumer is {case.config.consumer}; if it {how}, that is enough to cause this."


def _integrity(case: Case) -> str:
    parts = []
    errors = case.total("consumer", "integrity_errors")
    outside = case.total("consumer", "bad_completions")
    if errors:
        parts.append(
            f"{_times(errors, 'check')} of a fragment's bytes failed: their CRC32C is not what "
            "the NIC had noted, or is although the NIC had corrupted the payload on purpose. No "
            "rule of the plan had touched those buffers, so no fault explains it."
        )
        parts.append(_first_recorded(case, Alarm.INTEGRITY, _fragment))
        held = "ownership" not in case.broken
        parts.append(
            "Bytes change when the buffer is filled again while it is held"
            + (
                " (the audit saw no such thing: ownership holds)"
                if held
                else " (ownership, too, is broken in this run)"
            )
            + ", or when somebody else who maps the area writes into it: the NIC or the queue's "
            "own consumer."
        )
        parts.append(_own_consumer(case, "writes into the area, or reads after it gave back"))
    if outside:
        parts.append(
            f"{_times(outside, 'completion')} or return lies outside of the area or crosses its "
            "buffer; it was left alone."
        )
        parts.append(
            _first_recorded(case, Alarm.OUTSIDE, lambda e: f"{e.c} bytes at offset 0x{e.b:x}")
        )
    return " ".join(part for part in parts if part)


def _order(case: Case) -> str:
    parts = []
    errors = case.total("consumer", "order_errors")
    if errors:
        parts.append(
            f"{_times(errors, 'fragment')} came with a sequence number below the one that was "
            "due in its flow: it was delivered twice, or overtaken."
        )
        parts.append(
            _first_recorded(
                case,
                Alarm.ORDER,
                lambda e: f"fragment {e.b & 0xFFFFFFFF} of flow {e.b >> 32}, when {e.c} was due",
            )
        )
    for queue, result in enumerate(case.buffers):
        if not result.flows_wrong or queue in case.undrained:
            continue
        text = (
            f"Queue {queue}: in {_times(result.flows_wrong, 'flow')} what arrived is not what was "
            f"delivered; the first is flow {result.first_flow_wrong}"
        )
        if queue in case.flows:
            delivered, dropped, received, gaps = case.flows[queue]
            text += (
                f", of which {delivered} fragments were delivered and {received} received; "
                f"{dropped} were dropped, and the gaps in its sequence are {gaps}"
            )
        parts.append(text + ".")
    return " ".join(parts)


def _progress(case: Case) -> str:
    parts = [item.text[0].upper() + item.text[1:] + "." for item in case.movement.findings]
    if not parts:
        parts.append(
            "For long no packet was delivered on any queue, although traffic was offered and "
            "either buffers were spare or returns waited to be judged."
        )
    for queue, report in enumerate(case.queues):
        parts.append(
            f"Queue {queue}: {report.nic['packets_delivered']} of "
            f"{report.nic['packets_offered']} packets were delivered, "
            f"{report.nic['dropped_no_buffer']} dropped for want of a buffer and "
            f"{report.nic['dropped_cq_full']} for want of room in the completion queue; "
            f"{report.provider['consumed']} RQEs were judged."
        )
    return " ".join(parts)


def _substance(case: Case) -> str:
    if case.left_early:
        return (
            "A consumer serves its queue until it is asked to leave (its iteration ends then, and "
            "`should_stop` is true). One that returns, or ends its process, before that leaves "
            "what comes afterwards unread: nothing of it was checked, and no buffer of it came "
            f"back. {_last_event(case, 'consumer', None)}"
        )
    return (
        "What a run states, it states of what happened in it; in this one too little did. "
        f"{_last_event(case, 'nic', None)} {_last_event(case, 'provider', None)} "
        f"{_last_event(case, 'consumer', None)}"
    )


def _all_home(case: Case) -> str:
    parts = []
    for queue, (report, result) in enumerate(zip(case.queues, case.buffers, strict=True)):
        free, warnings = report.provider["free_count"], report.provider["destroy_warnings"]
        total = _buffers_of(case, queue)
        if free == total and not warnings:
            continue
        parts.append(
            f"Queue {queue}: after scrub and teardown {free} of {total} buffers are on the "
            f"freelist, and the destroy check warned {_times(warnings, 'time')}. Where they are: "
            f"{_where(result)}; {_times(result.user_refs, 'user reference')} left after the scrub."
        )
        if free < total:
            parts.append(
                "What is not on the freelist then is leaked: in a kernel the instance stays "
                "alive for it."
            )
    return " ".join(parts)


def _records(case: Case) -> str:
    return " ".join(
        [
            "What a consumer notes of its own deeds lies in memory that it can write (and what it "
            "says comes through a channel that it can write into). What stood there cannot have "
            "come from the code that keeps these records, so the consumer, or code that it runs, "
            "wrote over them: through a pointer of its own, or on purpose. It was left out; what "
            "rests on the consumer's word cannot be relied on.",
            _last_event(case, "consumer", None),
        ]
    )


def _proven(case: Case, proven: ProvenMistakes) -> str:
    counts = ", ".join(f"{kind} {count}" for kind, count in proven.counts.items())
    parts = [
        f"The consumer is {case.config.consumer}. What it wrote into its rings was held against "
        f"what the NIC had delivered and the provider had read: {counts}."
    ]
    parts += [f"{text[0].upper()}{text[1:]}." for text in proven.told]
    return " ".join(parts)


def _consumer(case: Case) -> str:
    if case.proven is not None:
        return _proven(case, case.proven)
    own = case.own
    assert own is not None, case.broken
    parts = [
        f"The consumer is {case.config.consumer}, and what follows is its own process's word: "
        f"{_times(own.strays, 'time')} it gave back a completion that was not out, and "
        f"{_times(own.touches, 'time')} it touched one that it had given back."
    ]
    parts += [f"{text[0].upper()}{text[1:]}." for text in own.told]
    if own.strays:
        parts.append(
            "Such a return goes into the refill ring like any other: if it takes a reference, it "
            "is that of another fragment of the buffer, which the NIC may then fill while it is "
            "being read."
        )
    if own.touches:
        parts.append(
            "What was given back belongs to the NIC, which may be filling it at that moment; that "
            "the bytes were right this time says nothing."
        )
    return " ".join(parts)


_STATEMENTS: dict[str, Callable[[Case], str]] = {
    "consumer": _consumer,
    "conservation": _conservation,
    "integrity": _integrity,
    "exactness": _exactness,
    "ownership": _ownership,
    "order": _order,
    "progress": _progress,
    "all_home": _all_home,
    "records": _records,
    "substance": _substance,
}


# ---- the rest ---------------------------------------------------------------------------------


def _last_event(case: Case, process: str, queue: int | None) -> str:
    own = [e for e in case.events if e.process == process and queue in (None, e.queue)]
    if not own:
        return f"The flight recorder has nothing of the {process}."
    rules = [rule.fault.name for rule in case.config.plan.rules]
    last = own[-1]
    return f"The last that the {process} recorded was on queue {last.queue}: {last.words(rules)}."


def _death(case: Case) -> str:
    first = case.deaths[0]
    parts = [f"{first.text}, noticed {first.at_s:.3f} s after the traffic began."]
    parts.append(_last_event(case, first.label.split()[0], first.queue))
    if first.is_kernel_side:
        parts.append(
            "It owned buffers, and only it knew which; so the run was ended at once, and whether "
            "every buffer is in one place and came home is not judged."
        )
    elif first.queue is not None:
        scrub = case.queues[first.queue].scrub
        parts.append(
            f"The scrub took back what the user of queue {first.queue} held: "
            f"{_times(scrub['references'], 'user reference')}, and "
            f"{_times(scrub['buffers'], 'buffer')} came home by it."
        )
    if len(case.deaths) > 1:
        parts.append(f"After it: {'; '.join(death.text for death in case.deaths[1:])}.")
    return " ".join(parts)


def _timeout(case: Case) -> str:
    return " ".join(
        [
            f"{case.timeouts[0][0].upper()}{case.timeouts[0][1:]}.",
            *(_last_event(case, process, None) for process in ("nic", "provider", "consumer")),
        ]
    )


def _cause(case: Case) -> str | None:
    """The statement that tells of the mistake itself, if others only tell what came of it.

    An entry whose bytes decide was judged by nothing else. And a reference that was taken and
    never was there is what makes later, honest returns find none, and buffers be granted twice.
    """
    finding = case.findings.get("exactness")
    mismatch = None if finding is None else finding.mismatch
    if mismatch is not None and mismatch.legal and not mismatch.legal - _REJECTED:
        return "exactness"
    return "conservation" if any(_over_taken(balance) for balance in case.balances) else None


def explain(case: Case) -> tuple[Explanation, ...]:
    """Explain the first finding of each kind, in the order in which they were noticed.

    Before them comes the one that tells of the mistake itself, where it can be told.
    """
    texts: dict[str, str] = {}
    if case.deaths:
        texts["death"] = _death(case)
    if case.timeouts:
        texts["timeout"] = _timeout(case)
    for name in case.broken:
        if name in _STATEMENTS:  # others say all there is in their own line
            texts[name] = _STATEMENTS[name](case)
    noticed = list(case.findings)
    order = sorted(texts, key=lambda kind: noticed.index(kind) if kind in noticed else len(noticed))
    cause = _cause(case)
    if cause in texts and not (case.deaths or case.timeouts):
        order = [cause, *(kind for kind in order if kind != cause)]
    step = _next_step(case)
    return tuple(
        Explanation(kind, f"{texts[kind]} {step}" if at == 0 else texts[kind])
        for at, kind in enumerate(order)
    )
