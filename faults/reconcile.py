"""Reconciliation: what was injected against what the provider said, one to one.

The counting is done in C, entry by entry (``cext/reconcile.c``); here the
counts of all queues become one table with a row for each fault.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from faults.plan import Plan


@dataclass(frozen=True, slots=True)
class ReconciledRow:
    """One intent: the valid entries, or one rule of the plan."""

    name: str  #: ``valid``, or the fault's name
    injected: int  #: entries written with this intent
    judged: int  #: of these, consumed by the provider
    earned: Mapping[str, int]  #: verdict label: how often, zeros left out
    expected: tuple[str, ...]  #: verdict labels that are legal
    mismatches: int  #: judged entries with another verdict


@dataclass(frozen=True, slots=True)
class ReconciledMismatch:
    """One entry that earned what it must not."""

    queue: int
    position: int  #: RQEs of this queue before it
    index: int  #: ring index, u32
    intent: str
    verdict: str

    def __str__(self) -> str:
        return (
            f"queue {self.queue}: RQE {self.position} (ring index {self.index}), written as "
            f"{self.intent}, earned {self.verdict}"
        )


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The outcome for a whole run."""

    rows: tuple[ReconciledRow, ...]
    checked: int  #: entries compared
    unconsumed: int  #: entries that were still in the ring when the queue went down
    after_scrub: int  #: valid entries whose reference a scrub had taken first (legal)
    lost: int  #: entries that could not be compared (must be 0)
    mismatch_count: int
    mismatches: tuple[ReconciledMismatch, ...]  #: the first ones

    @property
    def ok(self) -> bool:
        """Did every judged entry earn a legal verdict, and was every one compared?"""
        return self.mismatch_count == 0 and self.lost == 0


def reconcile(
    plan: Plan,
    *,
    written: Sequence[int],
    tables: Sequence[Sequence[Mapping[str, int]]],
    submitted: int,
    after_scrub: int,
    lost: int,
    mismatch_count: int,
    mismatches: Sequence[tuple[int, int, int, int, str]],
) -> Reconciliation:
    """Sum the queues' counts up.

    Args:
        plan: The plan that was applied.
        written: Entries written by intent: valid ones first, then each rule's.
        tables: For each queue and intent, how often each verdict was earned.
        submitted: Entries written in all.
        after_scrub: Valid entries that legally came too late.
        lost: Entries that were not compared.
        mismatch_count: Entries with an illegal verdict.
        mismatches: The first of them: queue, position, ring index, intent, verdict label.
    """
    names = ["valid", *(rule.fault.name for rule in plan.rules)]
    rows = []
    for intent, (name, legal) in enumerate(zip(names, plan.legal, strict=True)):
        earned: dict[str, int] = {}
        for table in tables:
            for verdict, count in table[intent].items():
                if count:
                    earned[verdict] = earned.get(verdict, 0) + count
        wrong = sum(count for verdict, count in earned.items() if verdict not in legal)
        rows.append(
            ReconciledRow(
                name=name,
                injected=written[intent],
                judged=sum(earned.values()),
                earned=earned,
                expected=tuple(sorted(legal)),
                mismatches=wrong - after_scrub if intent == 0 else wrong,
            )
        )
    checked = sum(row.judged for row in rows)
    return Reconciliation(
        rows=tuple(rows),
        checked=checked,
        unconsumed=submitted - checked,
        after_scrub=after_scrub,
        lost=lost,
        mismatch_count=mismatch_count,
        mismatches=tuple(
            ReconciledMismatch(
                queue, position, index, names[intent] if intent < len(names) else "?", verdict
            )
            for queue, position, index, intent, verdict in mismatches
        ),
    )
