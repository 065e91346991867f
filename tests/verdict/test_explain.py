"""Findings in words: what is said follows from what was seen, and from nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from emu.areas import Areas
from emu.config import RunConfig
from emu.contract import Contract
from emu.core import (
    COUNTER_NAMES,
    Alarm,
    AuditResult,
    Balance,
    CounterGroup,
    Mismatch,
    MismatchWhy,
    Places,
    SlotView,
)
from emu.spec.state import Verdict
from emu.verdict.audit import OwnMistakes
from emu.verdict.explain import Case, Death, explain, first_sentence, judge_bytes, writer_words
from emu.verdict.flight import Event, EventError, EventKind
from emu.verdict.report import QueueReport
from emu.verdict.watch import Noticed
from faults import Plan, ReconciledConsequence, parse_plan, reconcile
from faults.catalogue import CATALOGUE

NIOVS = 128
TAKEN = frozenset({Verdict.ACCEPTED, Verdict.STILL_REFERENCED, Verdict.OTHER_POOL})
PLAN = "bad-pad:0.01,bad-index:0.01,double-return:0.01"
PLACES = Places(NIOVS, 0, 0, 0, 0, 0, 0)
SOUND = AuditResult(PLACES, 0, 0, None, None, 0, 0, None, 0)


def queue_report(**changes: dict[str, int]) -> QueueReport:
    counters = {
        group.name.lower(): dict.fromkeys(COUNTER_NAMES[group], 0)
        for group in (CounterGroup.NIC, CounterGroup.PROVIDER, CounterGroup.CONSUMER)
    }
    counters["provider"] |= {"free_count": NIOVS}
    counters["places"] = {name: getattr(PLACES, name) for name in Places.__slots__}
    counters["scrub"] = {"references": 0, "buffers": 0}
    for group, values in changes.items():
        counters[group] |= values
    rest: Any = {**counters, "page_pool": {}}
    return QueueReport(**rest)


def reconciliation(config: RunConfig, **changes: Any) -> Any:
    rules = len(config.plan.rules)
    sound = reconcile(
        config.plan,
        fired=[0] * (rules + 1),
        tables=[[{}] * (rules + 1)],
        wrong=[0] * (rules + 1),
        led_to=[0] * rules,
        submitted=0,
        consumed=0,
        checked=0,
        after_scrub=0,
        lost=0,
        mismatch_count=0,
        mismatches=[],
    )
    return replace(sound, **changes)


def case(**changes: Any) -> Case:
    config = changes.pop("config", RunConfig(seed=9, area_buffers=NIOVS, rq_entries=4096))
    values: dict[str, Any] = {
        "config": config,
        "run_dir": "runs/1",
        "findings": {},
        "broken": [],
        "timeouts": [],
        "deaths": [],
        "queues": [queue_report(), queue_report()],
        "buffers": [SOUND, SOUND],
        "flows": {},
        "undrained": frozenset(),
        "reconciliation": reconciliation(config),
        "events": [],
    }
    return Case(**{**values, **changes})


def text_of(kind: str, given: Case) -> str:
    (only,) = [item for item in explain(given) if item.kind == kind]
    return only.text


# ---- Wrong verdicts -----------------------------------------------------------------------------


def slot(off: int = 5 << 12, pad: int = 0, tail: int = 250) -> SlotView:
    return SlotView(off, 4096, pad, tail, (off & (2**48 - 1)) >> 12 & 0xFFFFFFFF, 1, 2)


def wrong(
    verdict: Verdict | None,
    legal: frozenset[Verdict] = TAKEN,
    *,
    intent: int = 0,
    seen: SlotView | None = None,
    **config: Any,
) -> str:
    """The explanation of RQE 200 of queue 1."""
    made = RunConfig(
        seed=9, queues=2, area_buffers=NIOVS, rq_entries=4096, plan=parse_plan(PLAN), **config
    )
    mismatch = Mismatch(1, 200, 200, intent, legal, verdict)
    return text_of(
        "exactness",
        case(
            config=made,
            findings={
                "exactness": Noticed("exactness", 1, "", mismatch=mismatch, slot=seen or slot())
            },
            broken=["exactness"],
            reconciliation=reconciliation(made, mismatch_count=3),
        ),
    )


def test_mismatch_names_the_entry_its_writer_its_bytes_and_its_verdict() -> None:
    text = wrong(Verdict.NO_USER_REF)
    for words in (
        "RQE 200 of queue 1 (ring index 200, slot 200)",
        "written as a valid return, not by a fault",
        "Slot 200 held 00 50 00 00 00 00 00 00 00 10 00 00 00 00 00 00 (off 0x5000, len 4096",
        "names buffer 5, so the references decide",
        "buffer 5 had 1 user reference and 2 page-pool references",
        "had to earn accepted or other_pool or still_referenced: it gives back a fragment",
        "The provider said no_user_ref.",
        "the provider found the buffer's user references at 0",
        "zcrx-emu replay runs/1 runs seed 9",
    ):
        assert words in text
    assert "of which this kernel takes all or none" in wrong(Verdict.NO_USER_REF, kernel="7.3")


@pytest.mark.parametrize(
    ("verdict", "legal", "intent", "seen", "words"),
    [
        (
            Verdict.ACCEPTED,
            frozenset({Verdict.BAD_PAD}),
            1,
            slot(pad=7),
            "__pad first, and it is 0x7, not 0: bad_pad, whatever else",
        ),
        (
            Verdict.ACCEPTED,
            frozenset({Verdict.BAD_PAD}),
            1,
            slot(pad=7),
            "a malformed entry was honoured",
        ),
        (
            Verdict.ACCEPTED,
            frozenset({Verdict.BAD_INDEX}),
            2,
            slot(off=NIOVS << 12),
            "memory outside of the provider's arrays was touched",
        ),
        (Verdict.BAD_AREA, TAKEN, 0, slot(), "A well-formed return was rejected"),
        (
            Verdict.BAD_AREA,
            frozenset({Verdict.BAD_PAD}),
            1,
            slot(pad=7),
            "by another test than the first that it fails",
        ),
        (
            Verdict.NO_USER_REF,
            frozenset({Verdict.BAD_PAD}),
            1,
            slot(pad=7),
            "an earlier test should have rejected it",
        ),
        (
            Verdict.BAD_PAD,
            TAKEN | {Verdict.NO_USER_REF},
            3,
            slot(),
            "it could not be sure that the buffer still had a reference",
        ),
        (None, TAKEN, 0, slot(), "the number of no verdict"),
    ],
)
def test_mismatch_says_what_the_verdict_would_mean(
    verdict: Verdict | None, legal: frozenset[Verdict], intent: int, seen: SlotView, words: str
) -> None:
    assert words in wrong(verdict, legal, intent=intent, seen=seen)


def test_return_without_a_credit_is_explained_by_its_buffers_account() -> None:
    mismatch = Mismatch(
        *(1, 200, 200, 0, TAKEN, Verdict.NO_USER_REF),
        *(MismatchWhy.NO_CREDIT, 5, 3, 3),
    )
    given = case(
        findings={"exactness": Noticed("exactness", 1, "", mismatch=mismatch, slot=slot())},
        broken=["exactness"],
        reconciliation=reconciliation(RunConfig(), mismatch_count=1),
    )
    text = text_of("exactness", given)
    assert "3 references had been taken by entries that were nobody's return or by scrubs" in text
    assert "3 returns had found none for it; so its own reference was there" in text


def test_consumers_own_mistakes_are_explained_by_its_own_word() -> None:
    own = OwnMistakes(strays=1, touches=2, told=("completion 0 was given back twice",))
    config = RunConfig(seed=9, consumer="mine:main")
    text = text_of("consumer", case(config=config, broken=["consumer"], own=own))
    assert text.startswith("The consumer is mine:main, and what follows is its own process's word")
    assert "1 time it gave back a completion that was not out, and 2 times it touched one" in text
    assert "Completion 0 was given back twice." in text


def test_references_that_do_not_balance_are_explained_with_their_buffer() -> None:
    balances = [Balance(0, 0, 0, 0, 0, 0), Balance(1, 17, 501, 500, 2, 0)]
    text = text_of("conservation", case(broken=["conservation"], balances=balances))
    assert "Queue 1, buffer 17: the NIC delivered 501 user references" in text
    assert "So more were taken than there were" in text


def test_rule_is_explained_with_its_faults_own_words() -> None:
    text = writer_words(parse_plan(PLAN), 1)
    assert "rule 1 of the plan, bad-pad (at each valid RQE with probability 0.01" in text
    assert text.endswith("A valid return with a nonzero __pad.")
    assert "the plan does not have" in writer_words(Plan(), 4)


@pytest.mark.parametrize("fault", CATALOGUE.values(), ids=lambda fault: fault.name)
def test_first_sentence_of_each_fault_is_a_sentence(fault: Any) -> None:
    sentence = first_sentence(fault.explanation)
    assert sentence.endswith(".")
    assert len(sentence) > 20


@pytest.mark.parametrize("tail", [200, 200 + 4097, 100])
def test_slot_that_was_written_again_is_not_shown(tail: int) -> None:
    text = wrong(Verdict.BAD_PAD, seen=slot(tail=tail))
    assert "the entry's bytes are not known" in text
    assert "00 50" not in text


def test_slot_that_says_otherwise_was_changed_since() -> None:
    assert "has changed the bytes since" in wrong(Verdict.BAD_AREA, seen=slot(pad=1))
    assert "has changed the bytes since" not in wrong(Verdict.BAD_AREA)


def test_consumer_of_ones_own_may_be_the_cause() -> None:
    text = wrong(Verdict.NO_USER_REF, consumer="my:own")
    assert "The consumer is my:own: an entry that it writes outside of the plan" in text
    assert "received and not given back" not in text
    assert "The consumer is" not in wrong(Verdict.NO_USER_REF)


def test_counters_that_contradict_the_log_are_told() -> None:
    queues = [queue_report(), queue_report(provider={"accepted": 4})]
    mismatch = Mismatch(0, 0, 0, 0, TAKEN, Verdict.BAD_PAD)
    given = case(
        broken=["exactness"],
        queues=queues,
        findings={"exactness": Noticed("exactness", 0, "", mismatch=mismatch)},
    )
    assert "(accepted 4, in the log 0)" in text_of("exactness", given)
    same = replace(given, queues=[queue_report(), queue_report()])
    assert "counters" not in text_of("exactness", same)


def test_verdicts_that_were_not_compared_are_no_mismatch() -> None:
    config = RunConfig(seed=9, log_entries=65536)
    given = case(config=config, broken=["exactness"], reconciliation=reconciliation(config, lost=7))
    text = text_of("exactness", given)
    assert text.startswith("7 verdicts could not be compared")
    assert "65536" in text


def test_entries_that_do_not_add_up_are_no_verdicts_that_came_too_late() -> None:
    given = case(
        broken=["exactness"],
        queues=[queue_report(consumer={"rqe_submitted": 3}, provider={"consumed": 73})],
    )
    text = text_of("exactness", given)
    assert text.startswith("Queue 0: its consumers say that they wrote 3 entries, and 73 were")
    assert "log_entries" not in text


@pytest.mark.parametrize(
    ("off", "pad", "strict", "label", "by_references"),
    [
        (5 << 12, 0, False, "names buffer 5", True),
        ((5 << 12) + 77, 0, False, "names buffer 5", True),
        (5 << 12, 1, False, "bad_pad", False),
        (1 << 48 | 5 << 12, 1, False, "bad_pad", False),
        (3 << 48 | 5 << 12, 0, False, "the area id, tested next, is 3", False),
        (NIOVS << 12, 0, False, "bad_index", False),
        (1 << 44 | 5 << 12, 0, False, "names buffer 5 (as an alias)", True),
        (1 << 44 | 5 << 12, 0, True, "bad_index", False),
    ],
)
def test_bytes_are_judged_in_the_contracts_order(
    off: int, pad: int, strict: bool, label: str, by_references: bool
) -> None:
    words, references = judge_bytes(
        slot(off, pad), Areas(1, 0, (NIOVS,)), Contract(strict_alias=strict)
    )
    assert label in words
    assert references is by_references


# ---- The other findings -------------------------------------------------------------------------


def error(kind: EventError, b: int, c: int, queue: int = 1) -> Event:
    process = "nic" if kind is EventError.GRANTED_HELD else "consumer"
    return Event(5, process, queue, EventKind.ERROR, int(kind), b, c)


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        (
            "conservation",
            {"buffers": [SOUND, replace(SOUND, lost=2, first_lost=7)]},
            "Queue 1: 2 of 128 buffers are nowhere, the first is buffer 7.",
        ),
        (
            "conservation",
            {"buffers": [replace(SOUND, doubled=1, first_doubled=3), SOUND]},
            "Queue 0: 1 of 128 buffers are in two places at once, the first is buffer 3.",
        ),
        (
            "conservation",
            {"queues": [queue_report(), queue_report(provider={"freelist_overflows": 4})]},
            "4 buffers came to a freelist that held all of them already (first on queue 1)",
        ),
        (
            "conservation",
            {"queues": [queue_report(provider={"ref_underflows": 1}), queue_report()]},
            "1 page-pool reference too many were dropped (first on queue 0)",
        ),
        (
            "ownership",
            {
                "queues": [queue_report(), queue_report(nic={"ownership_violations": 8})],
                "findings": {"ownership": Noticed("ownership", 1, "", 0, Alarm.GRANTED_HELD)},
                "events": [error(EventError.GRANTED_HELD, 0, 77 << 32 | 2)],
            },
            "first one recorded: queue 1, buffer 77 with 2 user references",
        ),
        (
            "ownership",
            {"queues": [queue_report(nic={"ownership_violations": 8}), queue_report()]},
            "8 times a buffer was granted to the NIC while the user held references on it",
        ),
        (
            "ownership",
            {
                "queues": [queue_report(), queue_report(consumer={"ownership_errors": 9})],
                "findings": {"ownership": Noticed("ownership", 1, "", 0, Alarm.OWNERSHIP)},
                "events": [error(EventError.GIVEN_AGAIN, 3 << 32 | 9, 77 << 32 | 2)],
            },
            "queue 1, fragment 9 of flow 3 in buffer 77, grant 2 of that buffer",
        ),
        (
            "integrity",
            {
                "queues": [queue_report(), queue_report(consumer={"integrity_errors": 6})],
                "findings": {"integrity": Noticed("integrity", 1, "", 0, Alarm.INTEGRITY)},
                "events": [error(EventError.BYTES_CHANGED, 3 << 32 | 9, 77 << 32 | 2)],
            },
            "queue 1, fragment 9 of flow 3 in buffer 77",
        ),
        (
            "integrity",
            {"queues": [queue_report(), queue_report(consumer={"integrity_errors": 6})]},
            "not, or no longer, in the recorders",
        ),
        (
            "integrity",
            {
                "queues": [queue_report(), queue_report(consumer={"bad_completions": 1})],
                "findings": {"integrity": Noticed("integrity", 1, "", 0, Alarm.OUTSIDE)},
                "events": [error(EventError.OUTSIDE, 0x1000, 12)],
            },
            "queue 1, 12 bytes at offset 0x1000",
        ),
        (
            "order",
            {
                "queues": [queue_report(), queue_report(consumer={"order_errors": 1})],
                "findings": {"order": Noticed("order", 1, "", 0, Alarm.ORDER)},
                "events": [error(EventError.ORDER, 3 << 32 | 9, 11)],
            },
            "queue 1, fragment 9 of flow 3, when 11 was due",
        ),
        (
            "order",
            {
                "buffers": [SOUND, replace(SOUND, flows_wrong=2, first_flow_wrong=5)],
                "flows": {1: (100, 3, 90, 2)},
            },
            "the first is flow 5, of which 100 fragments were delivered and 90 received; 3 were",
        ),
        (
            "progress",
            {"queues": [queue_report(), queue_report(consumer={"rqe_submitted": 3})]},
            "Queue 1: 0 of 0 packets were delivered, 0 dropped for want of a buffer",
        ),
        (
            "all_home",
            {
                "queues": [
                    queue_report(),
                    queue_report(provider={"free_count": 127, "destroy_warnings": 1}),
                ],
                "buffers": [
                    SOUND,
                    replace(SOUND, places=Places(127, 0, 0, 0, 0, 1, 0), user_refs=4),
                ],
            },
            "Queue 1: after scrub and teardown 127 of 128 buffers are on the freelist, and the "
            "destroy check warned 1 time. Where they are: 127 on the freelist, 1 with the user; "
            "4 user references left",
        ),
    ],
)
def test_statement_is_explained_with_its_figures(
    kind: str, changes: dict[str, Any], words: str
) -> None:
    assert words in text_of(kind, case(broken=[kind], **changes))


def test_unread_queue_is_not_explained_as_reordered() -> None:
    buffers = [SOUND, replace(SOUND, flows_wrong=2, first_flow_wrong=5)]
    given = case(broken=["order"], buffers=buffers, undrained=frozenset({1}))
    assert "flow 5" not in text_of("order", given)


def test_death_of_a_consumer_says_what_the_scrub_found() -> None:
    given = case(
        deaths=[
            Death("consumer of queue 1", "consumer of queue 1 was killed by SIGKILL", 1, False, 0.5)
        ],
        queues=[queue_report(), queue_report(scrub={"references": 12, "buffers": 1})],
        events=[Event(1, "consumer", 1, EventKind.TAKEN, 64, 128)],
    )
    text = text_of("death", given)
    assert text.startswith("consumer of queue 1 was killed by SIGKILL, noticed 0.500 s after")
    assert "took 64 completions, CQ head now 128" in text
    assert "12 user references, and 1 buffer came home by it" in text


def test_death_of_the_kernel_side_says_what_cannot_be_judged() -> None:
    deaths = [
        Death("provider", "provider was killed by SIGKILL", None, True, 0.5),
        Death("nic", "nic ended with exit code 1", None, True, 0.6),
    ]
    text = text_of("death", case(deaths=deaths))
    assert "is not judged" in text
    assert "The flight recorder has nothing of the provider." in text
    assert "After it: nic ended with exit code 1." in text


def test_timeout_says_what_each_process_did_last() -> None:
    events = [
        Event(1, "provider", 1, EventKind.STARVED),
        Event(2, "provider", 0, EventKind.GRANT, 3, 4),
    ]
    text = text_of("timeout", case(timeouts=["the drain took longer than 10 s"], events=events))
    assert text.startswith("The drain took longer than 10 s.")
    assert "provider recorded was on queue 0: granted 3 buffers" in text
    assert "nothing of the nic" in text


def test_what_was_noticed_first_is_explained_first_and_says_what_to_do() -> None:
    given = case(
        broken=["integrity", "ownership", "all_home"],
        findings={"ownership": Noticed("ownership", 0, ""), "integrity": Noticed("x", 0, "")},
    )
    told = explain(given)
    assert [item.kind for item in told] == ["ownership", "integrity", "all_home"]
    assert ["replay" in item.text for item in told] == [True, False, False]


def test_run_of_live_traffic_is_not_told_to_be_replayed() -> None:
    given = case(config=RunConfig(seed=9, traffic="tcp:127.0.0.1:0"), broken=["progress"])
    assert "cannot be replayed" in text_of("progress", given)


def test_run_without_a_finding_needs_no_words() -> None:
    assert explain(case()) == ()


# ---- What comes first ---------------------------------------------------------------------------


def test_entry_that_its_bytes_decide_is_explained_before_what_came_of_it() -> None:
    """Ownership was noticed first, but it is a consequence: an entry was judged by nothing else."""
    mismatch = Mismatch(0, 7, 7, 1, frozenset({Verdict.BAD_PAD}), Verdict.ACCEPTED)
    found = {
        "ownership": Noticed("ownership", 0, ""),
        "exactness": Noticed("exactness", 0, "", mismatch=mismatch, slot=slot()),
    }
    given = case(findings=found, broken=["ownership", "exactness"])
    assert [item.kind for item in explain(given)] == ["exactness", "ownership"]
    assert "Next: " in explain(given)[0].text


def test_reference_that_never_was_is_explained_before_what_came_of_it() -> None:
    """A return that found none was noticed first; somebody else had taken its reference."""
    mismatch = Mismatch(0, 7, 7, 0, TAKEN, Verdict.NO_USER_REF)
    found = {"exactness": Noticed("exactness", 0, "", mismatch=mismatch, slot=slot())}
    result = replace(
        reconciliation(RunConfig(seed=9)),
        consequences=(
            *(consequence(niov=17, position=position) for position in (900, 300)),
            consequence(niov=4, position=100),
        ),
    )
    given = case(
        findings=found,
        broken=["exactness", "conservation"],
        balances=[Balance(1, 17, 501, 500, 2, 0), Balance(0, 0, 0, 0, 0, 0)],
        reconciliation=result,
    )
    first, second = explain(given)
    assert (first.kind, second.kind) == ("conservation", "exactness")
    assert "The first entry that is known to have done harm there: " in first.text
    assert "stale-return at RQE 300" in first.text
    fewer = replace(given, balances=[Balance(1, 17, 501, 400, 2, 0)])
    assert [item.kind for item in explain(fewer)] == ["exactness", "conservation"]
    died = replace(given, deaths=[Death("nic", "nic was killed", None, True, 0.5)])
    assert explain(died)[0].kind != "conservation"


def consequence(*, niov: int, position: int) -> ReconciledConsequence:
    return ReconciledConsequence(
        queue=0,
        fault="stale-return",
        kind="given_again",
        niov=niov,
        flow=1,
        seq=2,
        generation_held=3,
        generation_now=4,
        position=position,
    )
