"""The audit: what a finished run proves, statement by statement.

Every statement is computed from what the processes left in memory that the
consumer cannot reach, or from the consumer's own checks where only it can see
(integrity, order, ownership on its side).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from emu.core import AuditResult, Balance
from emu.verdict.progress import Movement
from emu.verdict.report import QueueReport, Statement
from faults import CATALOGUE, Reconciliation

_SCRIBBLES_SHOWN = 4
_READS_ITSELF = "the consumer reads its completions itself, and what they give"
_SHOWN_S = 0.1  #: a time without a delivery that is told


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnMistakes:
    """What the consumers of a run, which are not ours, say that they did wrong."""

    strays: int = 0  #: completions given back that were not out
    touches: int = 0  #: bytes read or written after their completion was given back
    told: tuple[str, ...] = ()  #: the first of them, a line each
    is_poisoned: bool = True  #: touches were looked for, in each of them


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenMistakes:
    """What the checker proved of consumers that write their rings themselves."""

    counts: Mapping[str, int]  #: by kind; those that were not found are left out
    told: tuple[str, ...] = ()  #: the first of them, a line each
    blind: Sequence[int] = ()  #: queues of which not everything could be looked at


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the audit judges."""

    queues: Sequence[QueueReport]
    buffers: Sequence[AuditResult]
    niovs: int  #: buffers of all queues
    reconciliation: Reconciliation
    stalled: bool  #: nothing moved any more, so the run was ended
    undrained: frozenset[int]  #: queues whose consumer left before it had read everything
    kernel_side_died: bool  #: NIC or provider were killed: their state is where they left it
    scribbles: Sequence[str] = ()  #: what consumers wrote that means nothing, in words
    movement: Movement = field(default_factory=Movement)  #: how the queues moved
    left_early: Sequence[str] = ()  #: consumers that nobody had asked to leave, in words
    has_deaths: bool = False  #: a process ended that should not have
    is_tcp: bool = False  #: what comes was sent by somebody else
    unread_max: int = 2**40  #: RQEs of one queue that may have been written and not judged
    balances: Sequence[Balance] = ()  #: of each queue's user references
    own: OwnMistakes | None = None  #: None: the consumers are ours, or in C
    proven: ProvenMistakes | None = None  #: None: the consumers are not in C

    def total(self, group: str, name: str) -> int:
        """Sum of a counter over all queues."""
        return sum(getattr(queue, group)[name] for queue in self.queues)


def _conservation(evidence: Evidence) -> Statement:
    name = "conservation"
    if evidence.kernel_side_died:
        return Statement(name, None, "not judged: a process that owned buffers was killed")
    problems = []
    for queue, result in enumerate(evidence.buffers):
        if result.lost:
            problems.append(f"queue {queue}: {result.lost} lost, first {result.first_lost}")
        if result.doubled:
            problems.append(
                f"queue {queue}: {result.doubled} in two places, first {result.first_doubled}"
            )
    for name_of in ("freelist_overflows", "ref_underflows"):
        count = evidence.total("provider", name_of)
        if count:
            problems.append(f"{count} {name_of.replace('_', ' ')}")
    problems += _unbalanced(evidence)
    if problems:
        return Statement(name, False, "; ".join(problems))
    return Statement(name, True, f"each of {evidence.niovs} buffers is in exactly one place")


def _unbalanced(evidence: Evidence) -> list[str]:
    """User references that were delivered and went nowhere, or went and were never delivered.

    What was not compared was not counted either, and one wrong verdict is one finding: where
    entries earned what they must not, their references need not add up.
    """
    if not evidence.reconciliation.ok:
        return []
    return [
        f"queue {queue}: the user references of {balance.wrong} buffers do not balance, first "
        f"buffer {balance.account}: {balance.delivered} delivered, {balance.taken} taken by "
        f"entries, {balance.scrubbed} scrubbed, {balance.held} held"
        for queue, balance in enumerate(evidence.balances)
        if balance.wrong
    ]


def _all_home(evidence: Evidence) -> Statement:
    name = "all_home"
    if evidence.kernel_side_died:
        return Statement(name, None, "not judged: the queue was not torn down")
    warnings = evidence.total("provider", "destroy_warnings")
    home = evidence.total("provider", "free_count")
    total = evidence.niovs
    text = f"{home} of {total} buffers are on the freelist, {warnings} destroy warnings"
    restarts = evidence.total("provider", "restarts")
    if restarts:
        due = evidence.total("provider", "warnings_due")
        text += f" ({due} are due to {restarts} restarts)"
    for number, queue in enumerate(evidence.queues):
        problem = _warnings_wrong(queue)
        if problem:
            return Statement(name, False, f"{text}; queue {number}: {problem}")
    return Statement(name, home == total, text)


def _warnings_wrong(queue: QueueReport) -> str | None:
    """What is wrong with a queue's destroy warnings and the references that they keep, if anything.

    Each restart leaves a pool behind, and each of these that goes while another pool has buffers
    must warn. One that goes while no pool has any may warn only because of a copied buffer, which
    is no pool's. The last pool must not. Each warning keeps one reference on the instance.
    """
    warnings, due = queue.provider["destroy_warnings"], queue.provider["warnings_due"]
    copied = queue.nic["copied_packets"] > 0
    most = queue.provider["restarts"] if copied else due
    if not due <= warnings <= most:
        expected = str(due) if most == due else f"{due} to {most}"
        return f"{warnings} destroy warnings instead of {expected}"
    references = queue.provider["instance_refs"]
    if references != 1 + warnings:
        return f"{references} references on the instance instead of {1 + warnings}"
    return None


def _exceptions(evidence: Evidence, statement: str) -> str:
    """What faults led to that are not held to a statement, as the end of its text.

    A fault that is not of the catalogue is taken to change bytes.
    """
    faults = []
    for row in evidence.reconciliation.rows:
        fault = CATALOGUE.get(row.name)
        is_void = statement == "integrity" if fault is None else statement not in fault.survives
        if row.consequences and is_void:
            faults.append(f"{row.consequences} of {row.name}")
    return f", but for the consequences of faults: {', '.join(faults)}" if faults else ""


def _integrity(evidence: Evidence) -> Statement:
    if evidence.proven is not None:
        return Statement("integrity", None, f"not judged: {_READS_ITSELF}")
    errors = evidence.total("consumer", "integrity_errors")
    bad = evidence.total("consumer", "bad_completions")
    fragments = evidence.total("consumer", "fragments")
    if errors or bad:
        return Statement(
            "integrity", False, f"{errors} fragments differ from what was sent, {bad} lie outside"
        )
    text = f"{fragments} fragments are what was sent" + _exceptions(evidence, "integrity")
    return Statement("integrity", True, text)


def _ownership(evidence: Evidence) -> Statement:
    granted = evidence.total("nic", "ownership_violations")
    delivered = evidence.total("consumer", "ownership_errors")
    holds = granted == 0 and delivered == 0
    grants = evidence.total("nic", "grants_taken")
    text = (
        f"none of {grants} granted buffers was the user's"
        if holds
        else f"{granted} buffers granted and {delivered} delivered while the user held them"
    )
    return Statement("ownership", holds, text)


def _order(evidence: Evidence) -> Statement:
    if evidence.proven is not None:
        return Statement("order", None, f"not judged: {_READS_ITSELF}")
    errors = evidence.total("consumer", "order_errors")
    problems = [f"{errors} fragments out of order"] if errors else []
    for queue, result in enumerate(evidence.buffers):
        if result.flows_wrong and queue not in evidence.undrained:
            text = f"queue {queue}: {result.flows_wrong} flows miss {result.fragments_missing} "
            text += f"fragments, first flow {result.first_flow_wrong}"
            if result.fragments_surplus:
                text += f", and {result.fragments_surplus} more were received than were sent"
            problems.append(text)
    if problems:
        return Statement("order", False, "; ".join(problems))
    dropped = evidence.total("nic", "fragments_dropped")
    text = f"each flow arrived in order, {dropped} dropped fragments are accounted for"
    text += _exceptions(evidence, "order")
    if evidence.undrained:
        text += f"; unread fragments of queue {sorted(evidence.undrained)} went to the scrub"
    return Statement("order", True, text)


def _progress(evidence: Evidence) -> Statement:
    findings = evidence.movement.findings
    if findings:
        text = findings[0].text
        if len(findings) > 1:
            numbers = ", ".join(str(item.queue) for item in findings[1:])
            text += f"; so do queues {numbers}" if len(findings) > 2 else f"; so does {numbers}"
        return Statement("progress", False, text)
    if evidence.stalled:
        return Statement("progress", False, "traffic was offered and nothing moved any more")
    text = "deliveries went on while buffers came back"
    longest = max((queue.longest_s for queue in evidence.movement.queues), default=0.0)
    if longest >= _SHOWN_S:
        text += f"; the longest time without one, while packets were offered, was {longest:.2f} s"
    return Statement("progress", True, text)


def _substance(evidence: Evidence) -> Statement:
    """Has anything been shown? What nobody tried holds for want of evidence."""
    name = "substance"
    if evidence.left_early:
        shown = "; ".join(evidence.left_early[:_SCRIBBLES_SHOWN])
        more = len(evidence.left_early) - _SCRIBBLES_SHOWN
        return Statement(name, False, shown + (f"; and {more} more" if more > 0 else ""))
    if evidence.has_deaths or evidence.stalled or evidence.movement.findings:
        return Statement(name, None, "not judged: the run did not get far, and it is said why")
    delivered = evidence.total("nic", "fragments_delivered")
    offered = evidence.total("nic", "packets_offered")
    judged = evidence.total("provider", "consumed")
    if delivered == 0 and not (evidence.is_tcp and evidence.total("nic", "connections")):
        text = f"{offered} packets were offered and none was delivered"
        return Statement(name, False, f"{text}: nothing was tried, so nothing is shown")
    if judged == 0 and not evidence.is_tcp:
        text = f"{delivered} fragments were delivered and no RQE was judged"
        return Statement(name, False, f"{text}: no buffer came back, so nothing is shown")
    return Statement(name, True, f"{delivered} fragments were delivered and {judged} RQEs judged")


def _misrecorded(evidence: Evidence) -> list[str]:
    """Queues where the entries judged and those written cannot both be counted rightly."""
    problems = []
    for number, queue in enumerate(evidence.queues):
        left = queue.consumer["rqe_submitted"] - queue.provider["consumed"]
        if left < 0:
            problems.append(
                f"queue {number}: {-left} more entries were judged than its consumers say that "
                "they wrote"
            )
        elif left > evidence.unread_max:
            problems.append(
                f"queue {number}: its consumers say that they wrote {left} entries more than were "
                f"judged, and no ring and no log holds that many"
            )
    return problems


def _exactness(evidence: Evidence) -> Statement:
    result = evidence.reconciliation
    problems = _misrecorded(evidence)
    if result.ok and not problems:
        text = f"each of {result.checked} verdicts is the one that its entry must earn"
        return Statement("exactness", True, text)
    if not result.ok:
        text = f"{result.mismatch_count} of {result.checked} verdicts are wrong"
        if result.lost:
            text += f", {result.lost} could not be compared"
        problems.insert(0, text)
    return Statement("exactness", False, "; ".join(problems))


def _records(evidence: Evidence) -> Statement:
    """What a consumer writes for the audit's sake is read with care, and nonsense is not read."""
    if not evidence.scribbles:
        return Statement("records", True, "what consumers wrote down can be read")
    shown = "; ".join(evidence.scribbles[:_SCRIBBLES_SHOWN])
    more = len(evidence.scribbles) - _SCRIBBLES_SHOWN
    if more > 0:
        shown += f"; and {more} more"
    return Statement("records", False, f"a consumer scribbled on its own records: {shown}")


def _consumer(own: OwnMistakes) -> Statement:
    """A consumer that is not ours: is what it did with its completions right, by its own word?"""
    problems = []
    if own.strays:
        problems.append(f"{own.strays} times a completion was given back that was not out")
    if own.touches:
        problems.append(f"{own.touches} times a completion was touched after it was given back")
    if not problems and not own.told:
        text = "each completion was given back once at most"
        text += ", and not touched afterwards" if own.is_poisoned else " (touches: not looked for)"
        return Statement("consumer", True, text)
    text = "; ".join(problems) or "mistakes of its own"
    return Statement("consumer", False, f"{text}: {own.told[0]}" if own.told else text)


def _proven(proven: ProvenMistakes, judged: int) -> Statement:
    """A consumer that writes its rings itself: is what it wrote right?"""
    name = "consumer"
    if proven.counts:
        text = ", ".join(f"{kind} {count}" for kind, count in proven.counts.items())
        return Statement(name, False, f"{text}: {proven.told[0]}" if proven.told else text)
    if proven.blind:
        queues = ", ".join(map(str, proven.blind))
        return Statement(
            name, None, f"not judged: deliveries of queue {queues} came faster than they were read"
        )
    text = f"no mistake in {judged} entries (what it reads and writes of the area is not looked at)"
    return Statement(name, True, text)


#: What a consumer can make hold by what it says of itself; see docs/trust.md.
BY_ITS_WORD = frozenset({"integrity", "order", "ownership", "exactness", "consumer"})


def by_its_word(statements: Iterable[Statement]) -> tuple[Statement, ...]:
    """Mark what rests on the word of a consumer that is not ours."""
    return tuple(
        replace(item, rests_on="the consumer's word")
        if item.name in BY_ITS_WORD and item.holds is not None
        else item
        for item in statements
    )


def audit(evidence: Evidence) -> tuple[Statement, ...]:
    """Judge a finished run."""
    checks = (
        _conservation,
        _integrity,
        _exactness,
        _ownership,
        _order,
        _progress,
        _all_home,
        _records,
        _substance,
    )
    statements = tuple(check(evidence) for check in checks)
    if evidence.proven is not None:
        return (_proven(evidence.proven, evidence.total("provider", "consumed")), *statements)
    return statements if evidence.own is None else (_consumer(evidence.own), *statements)
