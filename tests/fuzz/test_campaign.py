"""Whole campaigns of a few seconds: what they find, what they survive, what they leave behind."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emu.bugs import CONTENT_BUGS
from emu.compile.toolchain import afl_compiler, libfuzzer_compiler
from emu.errors import EnvironmentProblem
from emu.fuzz import campaign as campaign_module
from emu.fuzz.campaign import Campaign, CampaignPlan, CampaignProgress
from emu.fuzz.engine import EngineName
from emu.fuzz.finding import read_finding
from emu.fuzz.harness import Harness, Target
from emu.host.scratch import make_scratch, remove_scratch, scratch, sweep

from .conftest import fuzzers_of, wait_until

pytestmark = [pytest.mark.timeout(240), pytest.mark.long]
ENGINES = list(EngineName)
#: Long enough for the slowest engine on a busy machine; a campaign ends at what it looks for.
LONG_S = 90.0
#: A scrub that says one reference too many: an operation that every other program has.
SCRUB = "static uint64_t more(struct zcrx_provider_queue *q)\n{\n\treturn plain_scrub(q) + 1;\n}\n"
#: In an allocation before which more than 8 entries wait, something happens.
ASKING = {"alloc", "refill", "flush"}
ALLOC = """
static bool trapped(struct zcrx_provider_queue *queue, uint32_t pool)
{{
	if (*queue->rq_tail - *queue->cached_rq_head > 8)
		{what};
	return plain_alloc_netmems(queue, pool);
}}
"""


def _needs(engine: EngineName) -> None:
    if engine is EngineName.LIBFUZZER and libfuzzer_compiler() is None:
        pytest.skip("clang with libFuzzer is not installed")
    if engine is EngineName.AFL and (afl_compiler() is None or not shutil.which("afl-fuzz")):
        pytest.skip("AFL++ (afl-fuzz and afl-clang-fast) is not installed")


@pytest.fixture(params=ENGINES, ids=str)
def engine(request: pytest.FixtureRequest) -> EngineName:
    """Each engine in turn."""
    _needs(request.param)
    return EngineName(request.param)


@pytest.fixture
def make_plan(tmp_path: Path, corpus_of: Callable[..., Path]) -> Callable[..., CampaignPlan]:
    """A plan in folders of the test's own."""

    def make(**fields: Any) -> CampaignPlan:
        findings = tmp_path / "findings"
        findings.mkdir()
        given = {
            "target": Target(sanitize=False),
            "engine": EngineName.GENERATE,
            "corpus": fields.pop("corpus", None) or corpus_of(),
            "findings": findings,
            "seconds": LONG_S,
            "jobs": 1,
            "seed": 1,
        }
        plan = CampaignPlan(**{**given, **fields})
        print(plan)
        return plan

    return make


def run(
    plan: CampaignPlan, watch: Callable[[Campaign, CampaignProgress], None] | None = None
) -> CampaignProgress:
    """Run a campaign to its end."""
    with Campaign(plan) as campaign:
        progress = campaign.run(lambda now: watch(campaign, now) if watch else None)
    print(progress)
    return progress


def signatures(progress: CampaignProgress) -> set[str]:
    """The kinds of what was found: the first word of each signature."""
    return {finding.trial.signature.split(":")[0] for finding, _ in progress.findings}


# ---- what they find ---------------------------------------------------------------------------


def test_seeded_bug_is_found_and_replays(
    engine: EngineName, tmp_path: Path, corpus_of: Callable[..., Path], script: Any
) -> None:
    """From the command line, as a person would: exit code, summary, artifact, replay, test."""
    tests = tmp_path / "tests"
    tests.mkdir()
    ended = script.run(
        "fuzz", "--fast", "--bug", "bound-off-by-one", "--engine", engine, "--seed", 1,
        "--time", LONG_S, "--stop-at", 1, "--corpus", corpus_of(), "--findings", "found",
        "--json", "summary.json", "--emit-test", tests,
    )  # fmt: skip
    assert ended.code == 1
    assert ended.stderr == ""
    assert "seed 1" in ended.stdout
    assert "FINDINGS: " in ended.stdout
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["engine"] == engine
    assert summary["executions"] > 0
    assert summary["seconds"] < LONG_S
    paths = sorted((tmp_path / "found").iterdir())
    assert sorted(tmp_path / found["file"] for found in summary["findings"]) == paths
    assert len(list(tests.glob("test_*.py"))) == len(paths)
    finding = read_finding(paths[0])
    assert finding.trial.operations <= 3
    assert finding.target == Target(bug=CONTENT_BUGS["bound-off-by-one"], sanitize=False)
    replayed = script.run("replay", paths[0])
    assert replayed.code == 1
    assert finding.trial.signature in replayed.stdout


def test_ours_is_clean_and_the_corpus_is_resumed(
    engine: EngineName, tmp_path: Path, corpus_of: Callable[..., Path], script: Any
) -> None:
    corpus = corpus_of()
    seeds = {path.name for path in corpus.iterdir()}
    summaries: list[dict[str, Any]] = []
    kept: list[set[bytes]] = []
    for round_ in ("first", "second"):
        ended = script.run(
            "fuzz", "--fast", "--engine", engine, "--seed", 3, "--time", 3, "--corpus", corpus,
            "--json", f"{round_}.json", "--jobs", 2,
        )  # fmt: skip
        assert ended.code == 0
        assert ended.stderr == ""
        assert "no finding" in ended.stdout
        summaries.append(json.loads((tmp_path / f"{round_}.json").read_text()))
        kept.append({path.read_bytes() for path in corpus.iterdir()})
    first, second = summaries
    assert first["findings"] == second["findings"] == []
    assert first["workers_replaced"] == second["workers_replaced"] == 0
    assert second["executions"] > 0
    assert second["corpus"] >= first["corpus"] >= len(seeds)
    assert seeds <= {path.name for path in corpus.iterdir()}
    assert kept[0] <= kept[1]
    if engine is not EngineName.GENERATE:
        assert first["edges"] > 0
        assert second["edges"] >= first["edges"] * 0.9  # it starts from where the first one came to
        assert first["coverage"]["branches_reached"] > 0
    assert list((tmp_path / "fuzz" / "findings").iterdir()) == []
    assert not (tmp_path / ".afl").exists()


def test_same_seed_generates_the_same_findings(
    provider: Callable[..., Path], fast_harness: Harness, tmp_path: Path
) -> None:
    """The generator has no feedback: what it makes up depends on the seed alone."""
    harness = Harness(Target(provider=provider(SCRUB, scrub="more"), sanitize=False))
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        process = harness.call(["generate", "5", "0", "300", "0"], findings=str(folder))
        assert process.returncode == 1
    kept = [sorted(path.read_bytes() for path in (tmp_path / n).iterdir()) for n in ("one", "two")]
    assert kept[0] == kept[1] != []
    assert all(fast_harness.run(program).is_clean for program in kept[0])


# ---- what a provider keeps -----------------------------------------------------------------


#: A scrub that goes wrong from the fifth one on; WHERE is the count of them.
FIFTH = """
WHERE
static uint64_t more(struct zcrx_provider_queue *queue)
{
	return plain_scrub(queue) + (++*count() > LIMIT);
}
"""
KEPT = {
    "static": "static unsigned *count(void)\n{\n\tstatic unsigned n;\n\treturn &n;\n}",
    "data": "static unsigned n = 0x10000;\n"
    "static unsigned *count(void)\n{\n\tstatic unsigned m;\n\tm = n++ - 0x10000;\n\treturn &m;\n}",
    "thread-local": "static _Thread_local volatile unsigned n;\n"
    "static unsigned *count(void)\n{\n\treturn (unsigned *)&n;\n}",
    "allocated": "static unsigned *volatile n;\n"
    "static unsigned *count(void)\n{\n\tif (!n)\n\t\tn = calloc(1, 8);\n\treturn n;\n}",
}
CONSTRUCTED = (
    "static unsigned *volatile n;\n"
    "__attribute__((constructor)) static void make(void)\n{\n\tn = calloc(1, 8);\n}\n"
    "static unsigned *count(void)\n{\n\treturn n;\n}"
)


def _fifth(where: str, limit: int = 4) -> str:
    return FIFTH.replace("WHERE", where).replace("LIMIT", str(limit))


@pytest.mark.parametrize("sanitize", [False, True], ids=["fast", "sanitized"])
@pytest.mark.parametrize("where", KEPT)
def test_what_a_provider_keeps_is_put_back_before_each_program(
    where: str, sanitize: bool, provider: Callable[..., Path], tmp_path: Path
) -> None:
    """Four scrubs are good however many programs have four; the fifth is a finding alone."""
    target = Target(provider=provider(_fifth(KEPT[where]), scrub="more"), sanitize=sanitize)
    harness = Harness(target)
    paths: list[Path] = []
    for count in (4, 4, 4, 4, 5):
        paths.append(tmp_path / f"{len(paths)}.program")
        paths[-1].write_bytes(bytes(8) + bytes([10, 0]) * count)
    assert harness.call(["execute", *map(str, paths[:4])]).returncode == 0
    assert harness.call(["execute", *map(str, paths)], findings=str(tmp_path)).returncode == 1
    assert harness.run(paths[4].read_bytes()).signature == "result:scrub"


def test_finding_that_needs_programs_before_it_is_kept_with_them(
    provider: Callable[..., Path], make_plan: Callable[..., CampaignPlan], script: Any
) -> None:
    """What a constructor has allocated is not put back: only a row of programs shows it."""
    source = provider(_fifth(CONSTRUCTED, 12), scrub="more")
    plan = make_plan(target=Target(provider=source, sanitize=False), findings_max=1)
    progress = run(plan)
    ((finding, path),) = progress.findings
    assert finding.trial.signature == "result:scrub"
    assert finding.is_shown
    assert finding.before
    again = read_finding(path)
    assert (again.program, again.before) == (finding.program, finding.before)
    harness = Harness(again.target)
    assert harness.run(again.program, again.before).signature == "result:scrub"
    # As few as can be: without any one of them it takes more scrubs than there are.
    for left_out in range(len(again.before)):
        fewer = [program for at, program in enumerate(again.before) if at != left_out]
        assert harness.run(again.program, fewer).is_clean
    replayed = script.run("replay", path)
    assert replayed.code == 1
    assert f"it takes {len(again.before)} other program(s) before it" in replayed.stdout


def test_what_shows_only_once_is_a_finding_and_says_so(
    provider: Callable[..., Path], tmp_path: Path, script: Any
) -> None:
    """Whoever comes first makes a file, and goes wrong."""
    once = (
        "#include <fcntl.h>\n"
        "static uint64_t more(struct zcrx_provider_queue *queue)\n{\n"
        f'\tint fd = open("{tmp_path}/once", O_CREAT | O_EXCL | O_WRONLY, 0600);\n'
        "\tif (fd >= 0)\n\t\tclose(fd);\n"
        "\treturn plain_scrub(queue) + (fd >= 0);\n}\n"
    )
    ended = script.run(
        "fuzz", "--fast", "--provider", provider(once, scrub="more"), "--engine", "generate",
        "--seed", 1, "--time", LONG_S, "--stop-at", 1, "--json", "summary.json",
    )  # fmt: skip
    assert ended.code == 1
    assert "it has not shown again" in ended.stdout
    (found,) = json.loads((tmp_path / "summary.json").read_text())["findings"]
    assert found["signature"] == "result:scrub"
    assert not found["is_shown"]
    kept = read_finding(tmp_path / found["file"])
    assert len(kept.before) == found["programs_before"]
    assert not kept.is_shown


# ---- what they survive ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "signature"),
    [
        ("*(volatile int *)8 = 1", "crash:SEGV"),
        ("abort()", "crash:ABRT"),
        ("_exit(3)", "crash:exit-3"),
    ],
    ids=["segfault", "abort", "exit"],
)
def test_provider_that_dies_is_a_finding_beside_others(
    what: str, signature: str, engine: EngineName, provider: Callable[..., Path],
    make_plan: Callable[..., CampaignPlan],
) -> None:  # fmt: skip
    """The worker dies with it and is replaced; the other mistake is found all the same."""
    if engine is EngineName.AFL and signature != "crash:SEGV":
        pytest.skip("AFL++ has its own server for what dies; one way to die is enough")
    source = provider(ALLOC.format(what=what) + SCRUB, alloc_netmems="trapped", scrub="more")
    plan = make_plan(engine=engine, target=Target(provider=source, sanitize=False), findings_max=2)
    progress = run(plan)
    found = {finding.trial.signature: (finding, path) for finding, path in progress.findings}
    assert signature in found
    assert len(found) >= 2
    finding, path = found[signature]
    assert finding.trial.outcome == "crash"
    # 9 entries that wait, and something that asks the provider for buffers.
    assert finding.trial.operations <= 10
    assert finding.trial.steps[-1].operation.split()[0] in ASKING
    assert read_finding(path).program == finding.program
    if engine is not EngineName.AFL:  # which replaces what died by itself
        assert progress.deaths >= 1


def test_fatal_program_in_the_corpus_does_not_block_the_campaign(
    engine: EngineName, provider: Callable[..., Path], make_plan: Callable[..., CampaignPlan],
    tmp_path: Path,
) -> None:  # fmt: skip
    """A corpus that was made with one provider is used for another, which dies of some of it."""
    corpus = tmp_path / "fatal"
    corpus.mkdir()
    # 16 buffers, a ring of 16; 12 entries and an allocation; and the same with a scrub before.
    shape = bytes([15, 4, 7, 0, 0, 0, 0, 0])
    push, alloc = bytes([5, 11]) + bytes(16), bytes([0, 0])
    (corpus / "a").write_bytes(shape + push + alloc)
    (corpus / "b").write_bytes(shape + push + push + alloc)
    (corpus / "c").write_bytes(shape + alloc)
    source = provider(ALLOC.format(what="abort()") + SCRUB, alloc_netmems="trapped", scrub="more")
    plan = make_plan(
        engine=engine,
        corpus=corpus,
        target=Target(provider=source, sanitize=False),
        findings_max=2,
        seconds=60.0,
    )
    progress = run(plan)
    assert "crash" in signatures(progress)
    assert len(progress.findings) >= 2
    assert {"a", "b", "c"} <= {path.name for path in corpus.iterdir()}


def test_provider_that_hangs_is_a_finding_beside_others(
    provider: Callable[..., Path],
    make_plan: Callable[..., CampaignPlan],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(campaign_module, "HANG_S", 1.5)
    monkeypatch.setattr(campaign_module, "_HANG_TRIALS", 4)
    source = provider(
        ALLOC.format(what="for (;;)\n\t\t\tpause()") + SCRUB, alloc_netmems="trapped", scrub="more"
    )
    plan = make_plan(target=Target(provider=source, sanitize=False), findings_max=2, jobs=2)
    progress = run(plan)
    assert {"hang", "result"} <= signatures(progress)
    assert progress.deaths >= 1
    finding = next(f for f, _ in progress.findings if f.trial.outcome == "hang")
    assert finding.trial.steps[-1].operation.split()[0] in ASKING


def test_provider_that_dies_at_once_does_not_end_the_campaign(
    provider: Callable[..., Path], make_plan: Callable[..., CampaignPlan]
) -> None:
    """Not one program comes to its end; the finding is made nevertheless, and only once."""
    source = provider("static int dead(struct zcrx_provider_queue *q, uint32_t p)\n"
                      "{\n\t(void)q, (void)p;\n\tabort();\n}\n", init="dead")  # fmt: skip
    plan = make_plan(target=Target(provider=source, sanitize=False), seconds=4.0)
    progress = run(plan)
    assert [finding.trial.signature for finding, _ in progress.findings] == ["crash:ABRT"]
    assert progress.deaths >= 2


@pytest.mark.parametrize(
    ("what", "outcome"), [("abort()", "crash"), ("for (;;)\n\t\tpause()", "hang")]
)
def test_what_ends_a_worker_counts_at_once(
    what: str, outcome: str, provider: Callable[..., Path], make_plan: Callable[..., CampaignPlan],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Before anybody has run it again: the first death is a finding, and ends what ends at one."""
    monkeypatch.setattr(campaign_module, "HANG_S", 1.5)
    monkeypatch.setattr(campaign_module, "_HANG_TRIALS", 4)
    source = provider(
        f"static int dead(struct zcrx_provider_queue *q, uint32_t p)\n"
        f"{{\n\t(void)q, (void)p;\n\t{what};\n}}\n", init="dead"
    )  # fmt: skip
    found: list[tuple[int, int]] = []
    plan = make_plan(target=Target(provider=source, sanitize=False), findings_max=1)
    progress = run(plan, lambda _, now: found.append((now.deaths, now.found)))
    assert all(count == 1 for deaths, count in found if deaths)
    assert progress.deaths == 1
    assert [finding.trial.outcome for finding, _ in progress.findings] == [outcome]


def test_worker_that_stands_still_when_the_time_is_up_is_tried_again(
    provider: Callable[..., Path],
    make_plan: Callable[..., CampaignPlan],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A campaign may be shorter than what it takes to see a hang."""
    monkeypatch.setattr(campaign_module, "_HANG_TRIALS", 4)
    body = (
        "static int dead(struct zcrx_provider_queue *q, uint32_t p)\n"
        "{\n\t(void)q, (void)p;\n\tfor (;;)\n\t\tpause();\n}\n"
    )
    source = provider(body, init="dead")
    plan = make_plan(target=Target(provider=source, sanitize=False), seconds=4.0)
    progress = run(plan)
    assert [finding.trial.outcome for finding, _ in progress.findings] == ["hang"]
    assert progress.deaths == 0


@pytest.mark.usefixtures("needs_clang")
def test_sanitizers_find_what_a_fast_build_does_not(
    provider: Callable[..., Path], make_plan: Callable[..., CampaignPlan]
) -> None:
    """A provider given as source is sanitized, too: its own array, read one too far."""
    body = (
        "static bool far(struct zcrx_provider_queue *queue, uint32_t pool)\n{\n"
        "\tvolatile uint32_t own[4] = {1, 2, 3, 4};\n"
        "\tif (own[*queue->cached_rq_head & 7] == 77)\n\t\treturn false;\n"
        "\treturn plain_alloc_netmems(queue, pool);\n}\n"
    )
    plan = make_plan(
        target=Target(provider=provider(body, alloc_netmems="far")),
        engine=EngineName.LIBFUZZER,
        findings_max=1,
    )
    progress = run(plan)
    trial = progress.findings[0][0].trial
    assert trial.outcome == "crash"
    assert "provider.c" in trial.report
    assert trial.operations <= 3


def test_killed_worker_is_replaced(make_plan: Callable[..., CampaignPlan]) -> None:
    killed: list[int] = []

    def kill_one(campaign: Campaign, progress: CampaignProgress) -> None:
        fuzzers = fuzzers_of(os.getpid())
        if not killed and progress.executions:
            killed.extend(fuzzers)
            for pid in fuzzers:
                os.kill(pid, signal.SIGKILL)
        elif killed and progress.deaths and set(fuzzers) - set(killed):
            campaign.stop()

    progress = run(make_plan(), kill_one)
    assert killed
    assert progress.deaths == 1
    assert progress.findings == []
    assert progress.seconds < LONG_S


def test_workers_that_cannot_run_end_the_campaign_in_a_line(
    make_plan: Callable[..., CampaignPlan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "emu.fuzz.engine.EngineProcess._command",
        lambda *_: ["/bin/sh", "-c", "echo why >&2; exit 7"],
    )
    with pytest.raises(EnvironmentProblem) as error:
        run(make_plan())
    assert str(error.value) == "engine: generate ended with code 7 5 times in a row: why"


def test_failure_while_a_finding_is_judged_ends_the_campaign(
    provider: Callable[..., Path],
    make_plan: Callable[..., CampaignPlan],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What happens in the thread that judges must not be lost there."""

    def fail(*_: object, **__: object) -> None:
        raise EnvironmentProblem("trial: no more processes")

    monkeypatch.setattr("emu.fuzz.harness.Harness.run", fail)
    source = provider(SCRUB, scrub="more")
    with pytest.raises(EnvironmentProblem, match="no more processes"):
        run(make_plan(target=Target(provider=source, sanitize=False)))


# ---- how they end -----------------------------------------------------------------------------


def _start(script: Any, engine: EngineName, corpus: Path, jobs: int = 2) -> Any:
    """A campaign without an end, of which all workers are at work."""
    running = script.start(
        "fuzz", "--fast", "--engine", engine, "--time", 0, "--corpus", corpus, "--jobs", jobs,
        "--findings", "found", "--seed", 1,
    )  # fmt: skip
    running.expect("executions [1-9]")
    assert len(fuzzers_of(running.pid)) >= jobs
    return running


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda n: n.name
)
def test_signal_ends_a_campaign_in_order(
    number: signal.Signals, engine: EngineName, corpus_of: Callable[..., Path], script: Any
) -> None:
    if number is not signal.SIGINT and engine is not EngineName.GENERATE:
        pytest.skip("the signal is the campaign's business: one engine shows it")
    running = _start(script, engine, corpus_of())
    os.kill(running.pid, number)
    ended = running.finish()
    assert ended.code == 0
    assert ended.stderr == ""
    assert re.search(rf"^{engine}, seed 1: \d+ executions in ", ended.stdout, re.MULTILINE)
    assert "no finding" in ended.stdout
    assert fuzzers_of(running.pid) == {}


def test_killed_campaign_leaves_no_worker(
    engine: EngineName, corpus_of: Callable[..., Path], script: Any, temporary: Path
) -> None:
    """What it left in the place for temporary files goes when the next one starts."""
    corpus = corpus_of()
    running = _start(script, engine, corpus)
    os.kill(running.pid, signal.SIGKILL)
    assert running.process.wait() == -signal.SIGKILL
    assert wait_until(lambda: not fuzzers_of(running.pid)), fuzzers_of(running.pid)
    left = list(temporary.glob("zcrx-emu.*"))
    assert left
    ended = script.run(
        "fuzz", "--fast", "--engine", engine, "--time", 1, "--corpus", corpus, "--seed", 2
    )
    assert ended.code == 0
    assert list(temporary.iterdir()) == []


def test_sweep_takes_only_what_nobody_uses(temporary: Path) -> None:
    pid = os.getpid()
    with scratch() as used:
        stale = [temporary / "zcrx-emu.1.1.abc", temporary / f"zcrx-emu.{pid}.1.abc"]
        for folder in stale:
            (folder / "inside").mkdir(parents=True)
        others = [temporary / name for name in ("zcrx-emu.x.1.a", "zcrx-emu-1.1.a", "else")]
        for folder in others:
            folder.mkdir()
        target = temporary / "target"
        target.mkdir()
        link = temporary / "zcrx-emu.1.2.link"
        link.symlink_to(target)
        assert sorted(sweep()) == sorted(stale)
        assert sorted(temporary.iterdir()) == sorted([used, *others, target, link])
        for path in (*others, target):
            path.rmdir()
        link.unlink()
    assert not used.exists()


def test_scratch_names_its_owner() -> None:
    folder = make_scratch()
    assert folder.name.split(".")[:2] == ["zcrx-emu", str(os.getpid())]
    remove_scratch(folder)
    assert not folder.exists()


def test_sweep_knows_a_folder_in_use_by_its_lock(temporary: Path) -> None:
    """In another container pids are others: by its name alone the owner would be dead."""
    folder = temporary / "zcrx-emu.1.1.elsewhere"
    folder.mkdir()
    owner = os.open(folder, os.O_RDONLY)
    fcntl.flock(owner, fcntl.LOCK_EX)
    assert sweep() == []
    os.close(owner)
    assert sweep() == [folder]
