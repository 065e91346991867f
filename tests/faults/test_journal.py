"""The journal's plan: one rule for each rule and queue, in order, readable, and bounded."""

from __future__ import annotations

from faults import Plan, find, parse_plan
from faults.journal import Journal
from faults.plan import RULES_MAX
from faults.plan_file import parse_toml
from faults.rule import PlanRule


def journal(plan: str | Plan, *fired: tuple[int, int | None, tuple[int, ...]]) -> Journal:
    made = Journal(parse_plan(plan) if isinstance(plan, str) else plan)
    for rule, queue, ordinals in fired:
        made.note(rule, queue, ordinals)
    return made


def test_firings_become_ordinals_of_a_rule_and_queue() -> None:
    made = journal(
        "bad-index:0.1:value=far:from=2:limit=9,bad-pad:every=3:after=bad-index,stop-nic:at=5:ms=7",
        (1, 1, (9, 3)),
        (0, 1, (4,)),
        (0, 0, (7, 5)),
        (1, 1, (6, 3)),
        (2, None, (5,)),
    )
    assert str(made.as_plan()) == (
        "bad-index:at=5+7:queue=0:value=far,bad-index:at=4:queue=1:value=far,"
        "bad-pad:at=3+6+9:queue=1,stop-nic:at=5:ms=7"
    )
    assert made.notes == []


def test_a_fault_of_all_queues_has_none_of_its_own() -> None:
    assert str(journal("stop-nic:at=5", (0, 3, (6,))).as_plan()) == "stop-nic:at=6"


def test_text_is_the_plan_with_comments_in_front() -> None:
    made = journal("bad-index:0.1:value=count+1,hoard:1:max=5", (0, 0, tuple(range(0, 90, 3))))
    made.cut("queue 0, consumer", 30, 40, 91)
    text = made.as_toml(["one\nline", ""])
    assert text.startswith("# one line\n#\n# INCOMPLETE: queue 0, consumer: 30 of 40 firings")
    assert parse_toml(text, "x") == made.as_plan()
    assert max(map(len, text.splitlines())) <= 120


def test_longest_ordinals_and_many_of_them_are_read_back() -> None:
    made = journal("bad-pad:1", (0, 63, (2**56 - 1, *range(20_000))))
    assert parse_toml(made.as_toml([]), "x") == made.as_plan()


def test_queues_that_find_no_room_are_left_out_and_named() -> None:
    """Whole queues: those that stay do the same again."""
    rules = (PlanRule(find("bad-pad"), 0.5),) * 100
    made = journal(
        Plan(rules), *((rule, queue, (queue,)) for rule in range(100) for queue in range(5))
    )
    plan = made.as_plan()
    assert len(plan.rules) == 200 <= RULES_MAX
    assert {rule.queue for rule in plan.rules} == {0, 1}
    assert made.notes == ["a plan has room for 254 rules; queues 2 to 4 are left out"]
