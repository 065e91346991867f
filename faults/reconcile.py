"""Reconciliation: what was injected against what the provider said, one to one.

The counting is done in C, entry by entry (``cext/reconcile.c``); here the
counts of all queues become one table with a row for each fault.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from faults.plan import Plan


@dataclass(frozen=True, slots=True)
class ReconciledRow:
    """One intent: the valid entries, or one rule of the plan."""

    name: str  #: ``valid``, or the fault's name
    injected: int  #: valid entries written, or how often the rule fired
    judged: int  #: entries written with this intent that the provider consumed
    earned: Mapping[str, int]  #: verdict label: how often, zeros left out
    expected: tuple[str, ...]  #: verdict labels that it may earn, the exact set entry by entry
    mismatches: int  #: judged entries with a verdict that was not legal for them
    consequences: int = 0  #: what the fault did to the consumer that committed it


@dataclass(frozen=True, slots=True)
class ReconciledMismatch:
    """One entry that earned what it must not."""

    queue: int
    position: int  #: RQEs of this queue before it
    index: int  #: ring index, u32
    intent: str
    verdict: str
    legal: tuple[str, ...] = ()  #: what it might have earned
    why: str = ""  #: what else than the verdict's name is wrong about it, in words

    def __str__(self) -> str:
        instead = f" instead of {' or '.join(self.legal)}" if self.legal else ""
        return (
            f"queue {self.queue}: RQE {self.position} (ring index {self.index}), written as "
            f"{self.intent}, earned {self.verdict}{instead}{self.why and f' ({self.why})'}"
        )


#: What a consumer finds of the NIC's faults, in words.
FOUND = {
    "corrupt_found": "was found corrupt on receipt",
    "duplicate_found": "was delivered twice",
    "late_found": "came late",
    "truncated_found": "was found cut short on receipt",
}


@dataclass(frozen=True, slots=True)
class ReconciledConsequence:
    """One thing that a fault led to, with who suffered and what caused it."""

    queue: int
    fault: str
    kind: str  #: ``bytes_changed``, ``given_again``, or one of what the NIC did (:data:`FOUND`)
    niov: int
    flow: int  #: of the fragment that suffered …
    seq: int  #: … and its sequence in the flow
    generation_held: int  #: how often the buffer had been granted when it was delivered
    generation_now: int  #: and by now
    position: int  #: RQEs of the queue before the one that caused it

    def __str__(self) -> str:
        fragment = f"fragment {self.seq} of flow {self.flow} in buffer {self.niov}"
        if self.kind in FOUND:
            return f"queue {self.queue}: {self.fault}: {fragment} {FOUND[self.kind]}"
        cause = f"{self.fault} at RQE {self.position}"
        if self.kind == "given_again":
            return (
                f"queue {self.queue}: {cause}: {fragment} (grant {self.generation_now}) was "
                f"delivered while a fragment of grant {self.generation_held} was still held"
            )
        return (
            f"queue {self.queue}: {cause}: {fragment} (grant {self.generation_held}) was "
            f"overwritten while it was held; the buffer is at grant {self.generation_now}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Credits:
    """Excuses, each with its bound: why a return by the rules found no user reference.

    Something took a reference that was not its own, and put down one credit for that buffer; each
    return of the buffer that found none spent one. Without a credit it is a mismatch.
    """

    scrubbed: int = 0  #: put down: references that scrubs took
    strays: Mapping[str, int] = field(default_factory=dict)
    """Put down: entries that were nobody's return and took a reference, by who wrote them."""
    used_of_scrubs: int = 0  #: spent
    used_of_strays: int = 0  #: spent


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The outcome for a whole run."""

    rows: tuple[ReconciledRow, ...]
    checked: int  #: entries compared
    unconsumed: int  #: entries that were still in the ring when the queue went down
    after_scrub: int  #: entries whose reference a scrub had taken first (legal)
    lost: int  #: entries that could not be compared (must be 0)
    mismatch_count: int
    mismatches: tuple[ReconciledMismatch, ...]  #: the first ones
    consequences: tuple[ReconciledConsequence, ...] = ()  #: the first ones of each queue
    credits: Credits = Credits()

    @property
    def ok(self) -> bool:
        """Did every judged entry earn a legal verdict, and was every one compared?"""
        return self.mismatch_count == 0 and self.lost == 0


def _writer(names: Sequence[str], intent: int, legal: tuple[str, ...]) -> str:
    if intent == 0 and not legal:
        return "nothing at all: it was never published"
    return names[intent] if intent < len(names) else "?"


def reconcile(
    plan: Plan,
    *,
    fired: Sequence[int],
    tables: Sequence[Sequence[Mapping[str, int]]],
    wrong: Sequence[int],
    led_to: Sequence[int],
    submitted: int,
    consumed: int,
    checked: int,
    after_scrub: int,
    lost: int,
    mismatch_count: int,
    mismatches: Sequence[tuple[int, int, int, int, str, tuple[str, ...], str]],
    consequences: Sequence[ReconciledConsequence] = (),
    strays: Sequence[int] = (),
    scrubbed: int = 0,
    after_stray: int = 0,
) -> Reconciliation:
    """Sum the queues' counts up.

    Args:
        plan: The plan that was applied.
        fired: Valid entries written, then how often each rule fired.
        tables: For each queue and intent, how often each verdict was earned.
        wrong: Mismatches by intent, over all queues.
        led_to: Consequences of each rule.
        submitted: Entries written in all, by their writers' word.
        consumed: Entries that the provider took.
        checked: Entries compared, those with an intent that the plan does not have included.
        after_scrub: Entries that legally came too late: a scrub had taken their reference.
        lost: Entries that were not compared.
        mismatch_count: Entries with an illegal verdict.
        mismatches: The first of them: queue, position, ring index, intent, verdict, legal ones,
            and what else is wrong about it.
        consequences: The first of them.
        strays: References that entries took which were nobody's return, by intent.
        scrubbed: References that scrubs took.
        after_stray: Entries that legally came too late: a stray had taken their reference.
    """
    names = ["valid", *(rule.fault.name for rule in plan.rules)]
    rows = []
    for intent, (name, legal) in enumerate(zip(names, plan.legal, strict=True)):
        earned: dict[str, int] = {}
        for table in tables:
            for verdict, count in table[intent].items():
                if count:
                    earned[verdict] = earned.get(verdict, 0) + count
        rows.append(
            ReconciledRow(
                name=name,
                injected=fired[intent],
                judged=sum(earned.values()),
                earned=earned,
                expected=tuple(sorted(legal)),
                mismatches=wrong[intent],
                consequences=led_to[intent - 1] if intent else 0,
            )
        )
    return Reconciliation(
        rows=tuple(rows),
        checked=checked,
        unconsumed=max(submitted - consumed, 0),
        after_scrub=after_scrub,
        lost=lost,
        mismatch_count=mismatch_count,
        mismatches=tuple(
            ReconciledMismatch(
                *(queue, position, index),
                _writer(names, intent, legal_ones),
                verdict,
                legal_ones,
                why,
            )
            for queue, position, index, intent, verdict, legal_ones, why in mismatches
        ),
        consequences=tuple(consequences),
        credits=Credits(
            scrubbed=scrubbed,
            strays=_by_name(names, strays),
            used_of_scrubs=after_scrub,
            used_of_strays=after_stray,
        ),
    )


def _by_name(names: Sequence[str], counts: Sequence[int]) -> dict[str, int]:
    """Counts by intent, summed up by who wrote them: several rules may be about one fault."""
    sums: dict[str, int] = {}
    for name, count in zip(names, counts, strict=False):
        if count:
            sums[name] = sums.get(name, 0) + count
    return sums
