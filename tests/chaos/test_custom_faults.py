"""Faults of one's own in runs with real processes: what they write, change, and break.

The classes stand in this module too: the consumer processes import it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emu.config import RunConfig
from emu.consumer import Consumer
from emu.runtime.session import run
from emu.verdict.report import Report
from faults import VALID_VERDICTS, parse_plan
from faults.custom import Context, CustomFault, Param, Rqe
from faults.fault import REFERENCE_VERDICTS

pytestmark = pytest.mark.long

HERE = "test_custom_faults"
DOCS = Path(__file__).parents[2] / "docs" / "faults.md"


class PadAndArea(CustomFault):
    """Pad is looked at before the area id: one verdict is earned, not both."""

    summary = "an RQE whose pad and area id are both wrong"
    verdicts = frozenset({"bad_pad"})
    params = (Param(name="copies", doc="how many", default=1, low=1, high=16),)

    def mutate(self, rqe: Rqe, context: Context) -> list[Rqe]:
        pad = context.random.randrange(1, 2**32)
        return [rqe._replace(off=rqe.off | 1 << 48, pad=pad)] * int(context.params["copies"])


class Misjudged(PadAndArea):
    summary = "the same, with a wrong idea of what it earns"
    verdicts = frozenset({"bad_area"})


class Elsewhere(CustomFault):
    summary = "another place in the same buffer is returned"
    verdicts = VALID_VERDICTS
    modifies = True

    def mutate(self, rqe: Rqe, context: Context) -> Rqe:
        low = (1 << context.niov_shift) - 1
        return rqe._replace(off=rqe.off & ~low | context.random.randrange(low + 1))


class Again(CustomFault):
    summary = "the last return but a few is returned again"
    verdicts = REFERENCE_VERDICTS
    survives = frozenset({"conservation", "exactness", "order", "progress"})

    def mutate(self, rqe: Rqe, context: Context) -> Rqe | None:
        return context.earlier[-20] if len(context.earlier) >= 20 else None


class Scribble(CustomFault):
    summary = "64 bytes at the start of any buffer are overwritten"

    def act(self, context: Context) -> None:
        at = context.random.randrange(context.num_niovs) << context.niov_shift
        assert len(context.area) == context.num_niovs << context.niov_shift
        context.area[at : at + 64] = context.random.randbytes(64)


class Kept(CustomFault):
    summary = "the fragment is never returned"
    verdicts = VALID_VERDICTS
    modifies = True

    def mutate(self, rqe: Rqe, context: Context) -> list[Rqe]:
        return []


class Raises(CustomFault):
    summary = "raises"

    def act(self, context: Context) -> None:
        raise OSError(f"no\nordinal {context.ordinal}")


class Nonsense(CustomFault):
    summary = "answers nonsense"
    verdicts = frozenset({"bad_pad"})

    def mutate(self, rqe: Rqe, context: Context) -> Any:
        return [rqe] * 17


class Writes(CustomFault):
    """What it is told and draws goes into a file of its queue."""

    summary = "writes down what it draws"

    def act(self, context: Context) -> None:
        path = Path("drawn") / str(context.queue)
        with path.open("a") as file:
            file.write(f"{context.ordinal} {context.random.getrandbits(64)}\n")


def reader(consumer: Consumer) -> None:
    """A consumer of one's own."""
    for completion in consumer:
        if not completion.is_end:
            consumer.give_back(completion)


def swallower(consumer: Consumer) -> None:
    """One that goes on whatever happens."""
    for completion in consumer:
        if not completion.is_end:
            try:
                consumer.give_back(completion)
            except Exception:
                return


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.chdir(tmp_path)


def test_entries_earn_what_the_fault_says(survive: Callable[..., Report]) -> None:
    report = survive(f"{HERE}:PadAndArea:every=100:copies=3,bad-area:0.01", queues=2)
    row = report.reconciliation.rows[1]
    assert row.name == f"{HERE}:PadAndArea"
    assert row.injected > 100
    assert row.earned == {"bad_pad": row.judged}
    assert 0 <= 3 * row.injected - row.judged <= report.reconciliation.unconsumed


def test_wrong_idea_of_a_verdict_is_found_out() -> None:
    report = run(
        RunConfig(seed=1, packets=2000, plan=parse_plan(f"{HERE}:Misjudged:every=100:limit=3"))
    )
    assert not report.ok
    assert [row.mismatches for row in report.reconciliation.rows] == [0, 3]
    (explained,) = report.explanations
    assert "then that declaration is wrong, and not the provider" in explained.text
    told = str(report.reconciliation.mismatches[0])
    assert told.endswith(f"written as {HERE}:Misjudged, earned bad_pad instead of bad_area")


def test_entry_in_the_place_of_a_return_is_that_return(survive: Callable[..., Report]) -> None:
    report = survive(f"{HERE}:Elsewhere:0.1,neighbour-return:0.002,mid-buffer:0.1")
    row = report.reconciliation.rows[1]
    assert row.injected > 1000
    assert row.consequences == 0
    assert set(row.earned) <= {*VALID_VERDICTS, "no_user_ref"}


def test_stray_entry_is_blamed_on_its_fault(survive: Callable[..., Report]) -> None:
    report = survive(f"{HERE}:Again:0.002")
    row = report.reconciliation.rows[1]
    assert row.injected > 20
    assert row.consequences > 0
    assert {item.fault for item in report.reconciliation.consequences} == {f"{HERE}:Again"}


def test_changed_bytes_are_blamed_on_the_fault_that_changed_them(
    survive: Callable[..., Report],
) -> None:
    report = survive(f"{HERE}:Scribble:0.01")
    row = report.reconciliation.rows[1]
    assert row.injected > 100
    assert row.judged == 0
    assert row.consequences > 0
    assert {item.kind for item in report.reconciliation.consequences} == {"bytes_changed"}


def test_kept_fragments_come_home_with_the_scrub(survive: Callable[..., Report]) -> None:
    report = survive(f"{HERE}:Kept:every=100:limit=20")
    assert report.queues[0].consumer["hoarded"] == 20
    assert report.queues[0].scrub["references"] >= 20


def test_consumer_of_ones_own_goes_with_faults_of_ones_own(
    survive: Callable[..., Report],
) -> None:
    plan = f"{HERE}:PadAndArea:every=100,{HERE}:Scribble:0.002"
    report = survive(plan, packets=10_000, consumer=f"{HERE}:reader")
    assert [row.injected > 0 for row in report.reconciliation.rows[1:]] == [True, True]


def test_place_in_a_list_is_kept_across_consumers(survive: Callable[..., Report]) -> None:
    plan = f"{HERE}:PadAndArea:at=5+50+500:copies=2,kill-consumer:every=150"
    report = survive(plan, packets=0, duration_s=0.7)
    own, kill = report.reconciliation.rows[1:]
    assert own.injected == 3
    assert kill.injected > 0


@pytest.mark.parametrize("consumer", ["builtin", f"{HERE}:reader", f"{HERE}:swallower"])
def test_fault_that_raises_ends_the_run_with_its_traceback(tmp_path: Path, consumer: str) -> None:
    plan = parse_plan(f"bad-pad:0.1,{HERE}:Raises:at=50")
    config = RunConfig(seed=1, packets=5000, plan=plan, consumer=consumer)
    report = run(config, run_dir=tmp_path)
    assert not report.ok
    (problem,) = report.problems
    assert problem == (
        f"consumer of queue 0: fault {HERE}:Raises at valid RQE 50: OSError('no\\nordinal 50'); "
        f"traceback in {tmp_path / 'tracebacks.txt'}"
    )
    assert "raise OSError" in (tmp_path / "tracebacks.txt").read_text()
    assert (
        'fault = "test_custom_faults:Raises"\nat = 50\n' in (tmp_path / "journal.toml").read_text()
    )


def test_nonsense_of_a_fault_ends_the_run_in_one_line(call: Callable[..., Any]) -> None:
    ended = call("stress", "--packets", "3000", "--faults", f"{HERE}:Nonsense:at=9", "--json", "-")
    assert ended.code == 1
    (problem,) = json.loads(ended.stdout)["problems"]
    assert f"fault {HERE}:Nonsense at valid RQE 9: mutate returned 17 entries" in problem


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ("nosuch_module:Torn:1%", "'nosuch_module:Torn' cannot be imported"),
        (f"{HERE}:reader:1%", "must be importable and name a subclass"),
        (f"{HERE}:PadAndArea:1%:copies=17", "copies: 17 is not allowed; it must be 1 to 16"),
    ],
)
def test_fault_that_cannot_be_used_is_a_wrong_use(
    call: Callable[..., Any], plan: str, words: str
) -> None:
    ended = call("stress", "--packets", "10", "--faults", plan)
    assert (ended.code, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert words in line
    assert not Path("runs").exists()


@pytest.mark.skipif(not DOCS.exists(), reason="not a checkout")
def test_example_of_the_documentation_works(call: Callable[..., Any]) -> None:
    """The class, and the commands below it, as they stand there."""
    _, _, rest = DOCS.read_text().partition("<!-- example: begin -->\n")
    example, _, _ = rest.partition("<!-- example: end -->")
    (code,) = re.findall(r"```python\n(.*?)```", example, re.DOTALL)
    Path("my_faults.py").write_text(code)
    show, stress = re.findall(r"^    zcrx-emu (.*)$", example, re.MULTILINE)
    assert "my_faults:TornEntry" in call(*show.split()).stdout
    ended = call(*stress.split(), "--seed", "1", "--json", "-")
    assert ended.code == 0
    row = json.loads(ended.stdout)["reconciliation"]["table"][1]
    assert row["name"] == "my_faults:TornEntry"
    assert row["injected"] > 100
    assert row["earned"] == {"bad_pad": row["judged"]}


def test_what_it_draws_depends_on_seed_queue_fault_and_ordinal_alone(
    call: Callable[..., Any],
) -> None:
    """Drawn under a probability, and again under the journal of that run, among other faults."""
    Path("drawn").mkdir()
    plan = f"bad-pad:0.1,{HERE}:PadAndArea:0.1,{HERE}:Writes:0.02"
    traffic = "synthetic:kind=raw,size=1000,flows=8,packets=64"
    options = ["--laps", "80", "--traffic", traffic, "--queues", "2", "--seed", "7"]

    def drawn() -> list[str]:
        texts = [(Path("drawn") / queue).read_text() for queue in ("0", "1")]
        for queue in ("0", "1"):
            (Path("drawn") / queue).unlink()
        return texts

    assert call("stress", *options, "--faults", plan, "--run-dir", "a").code == 0
    first = drawn()
    assert all(len(text.splitlines()) > 10 for text in first)
    assert len({line.split()[1] for text in first for line in text.splitlines()}) == sum(
        len(text.splitlines()) for text in first
    )
    assert call("replay", "a", "--journal", "--run-dir", "b").code == 0
    assert drawn() == first
    ordinals = "+".join(line.split()[0] for line in first[0].splitlines())
    alone = f"{HERE}:Writes:at={ordinals}:queue=0,{HERE}:Writes:at=1:queue=1"
    assert call("stress", *options, "--faults", alone, "--run-dir", "c").code == 0
    assert drawn()[0] == first[0]
