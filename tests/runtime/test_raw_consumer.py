"""Consumers in C that are given the raw rings: real processes, and what is said of mistakes."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emu.compile.ondemand import core_sources
from emu.config import RunConfig
from emu.errors import ConfigError
from emu.runtime.session import Session, run
from emu.verdict.report import Report
from faults import parse_plan

SOURCE = Path(__file__).with_name("raw_consumer.c")
EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"

RunRaw = Callable[..., Report]
RunUntil = Callable[[RunConfig, Callable[[Session], object]], Report]


@pytest.fixture
def source_of(tmp_path: Path) -> Callable[[str], str]:
    """The test consumer's source with one mistake in it."""

    def make(mistake: str) -> str:
        path = tmp_path / f"{mistake}.c"
        path.write_text(f'#define MISTAKE {mistake}\n#include "{SOURCE}"\n')
        return str(path)

    return make


@pytest.fixture
def run_raw(source_of: Callable[[str], str], tmp_path: Path) -> RunRaw:
    """Run with it."""

    def run_it(mistake: str = "none", **fields: Any) -> Report:
        defaults: dict[str, Any] = {"seed": 1, "packets": 6000, "wait_ms": 60_000}
        config = RunConfig(**{**defaults, "consumer": source_of(mistake), **fields})
        return run(config, run_dir=tmp_path / "run")

    return run_it


def counts(report: Report) -> dict[str, int]:
    """What the checker counted, over all queues."""
    found: dict[str, int] = {}
    for queue in report.queues:
        assert queue.checker is not None
        for kind, count in queue.checker["counts"].items():
            found[kind] = found.get(kind, 0) + count
    return found


def statement(report: Report, name: str) -> bool | None:
    """Does a statement of the audit hold?"""
    return next(item.holds for item in report.statements if item.name == name)


# ---- right ones ---------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", ["seed", "7.1", "7.3"])
def test_right_consumer_passes_with_each_kernel(run_raw: RunRaw, kernel: str) -> None:
    report = run_raw(kernel=kernel)
    assert report.problems == ()
    assert counts(report) == {}
    assert statement(report, "consumer") is True
    assert statement(report, "exactness") is True
    delivered = report.total("nic", "fragments_delivered")
    assert report.total("consumer", "fragments") == delivered
    assert report.total("provider", "consumed") == delivered
    assert report.reconciliation.checked == delivered


def test_what_only_the_consumer_sees_is_not_said_to_hold(run_raw: RunRaw) -> None:
    report = run_raw()
    assert statement(report, "integrity") is None
    assert statement(report, "order") is None
    assert all(item.rests_on is None for item in report.statements)


def test_each_queue_has_a_process_of_its_own(run_raw: RunRaw) -> None:
    report = run_raw(queues=3, packets=9000)
    assert report.problems == ()
    assert all(queue.provider["consumed"] for queue in report.queues)


def test_example_is_right_and_its_twin_is_not(run_raw: RunRaw) -> None:
    good = run_raw(consumer=str(EXAMPLES / "plain_consumer.c"))
    assert good.problems == ()
    assert statement(good, "consumer") is True
    bad = run_raw(consumer=str(EXAMPLES / "broken_consumer.c"))
    assert not bad.ok
    assert statement(bad, "exactness") is True, "its mistakes are nobody else's"
    assert {"bad-pad", "twice"} <= counts(bad).keys()


@pytest.mark.parametrize(
    "plan",
    [
        "nic-drop:0.01,nic-duplicate:0.01,nic-reorder:0.01,nic-tiny:0.01,nic-hold:0.01,cq-full:0.01",
        "alloc-fail:0.01,freelist-empty:0.01,ptr-ring-full:0.01",
        "index-wrap:1,header-layout:1,header-garbage:1",
    ],
)
def test_faults_of_the_others_are_injected(run_raw: RunRaw, plan: str) -> None:
    report = run_raw(plan=parse_plan(plan))
    assert report.problems == ()
    assert counts(report) == {}
    assert all(row.injected for row in report.reconciliation.rows[1:])


@pytest.mark.parametrize("fault", ["kill-consumer", "churn", "scrub-midway", "queue-restart"])
@pytest.mark.parametrize("kernel", [pytest.param("seed", marks=pytest.mark.long), "7.3"])
def test_right_consumer_is_not_blamed_for_what_is_done_to_it(
    run_raw: RunRaw, fault: str, kernel: str
) -> None:
    """References are taken from it, or it is killed at any instruction: nothing is its mistake.

    Ten times and no more: where others keep a new consumer from its turn for longer than it lives,
    none would ever return anything, and the run rightly have shown nothing.
    """
    plan = parse_plan(f"{fault}:0.2:limit=10")
    report = run_raw(plan=plan, packets=60_000, kernel=kernel)
    assert report.problems == ()
    assert counts(report) == {}
    assert report.reconciliation.rows[1].injected


def test_provider_of_ones_own_serves_a_consumer_of_ones_own(run_raw: RunRaw) -> None:
    report = run_raw(provider=str(EXAMPLES / "plain_provider.c"))
    assert report.problems == ()
    assert statement(report, "consumer") is True


def test_provider_that_rejects_a_good_return_is_not_the_consumers_mistake(
    run_raw: RunRaw, tmp_path: Path
) -> None:
    provider = tmp_path / "rejects.c"
    provider.write_text(
        f"""#include "zcrx_provider.h"
#define zcrx_provider plain_operations
#define take_user_ref honest_take_user_ref
#define judge honest_judge
#include "{EXAMPLES / "plain_provider.c"}"
"""
    )
    text = (EXAMPLES / "plain_provider.c").read_text()
    old = "\twhile (seen > 0) {"
    assert text.count(old) == 1
    provider.write_text(
        text.replace(old, "\tif (seen == 1 && niov % 64 == 3)\n\t\treturn false;\n" + old)
    )
    report = run_raw(provider=str(provider))
    assert statement(report, "exactness") is False
    assert statement(report, "consumer") is True
    assert counts(report) == {}


def test_fragments_that_are_kept_are_a_note(run_raw: RunRaw) -> None:
    """One that ends with exit() gives nothing back any more."""
    report = run_raw("exits_with_0", packets=0, duration_s=60.0)
    assert any("fragments were never given back; the oldest is" in note for note in report.notes)


# ---- mistakes -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mistake", "kinds"),
    [
        ("bad_pad", {"bad-pad"}),
        ("bad_area", {"bad-area"}),
        ("bad_index", {"bad-index"}),
        ("alias", {"alias"}),
        ("never_given", {"never-given"}),
        ("tail_back", {"tail-back"}),
        ("overrun", {"ring-overrun"}),
        ("head_written", {"head-written"}),
        ("cq_head", {"cq-head"}),
    ],
)
def test_mistake_is_named(
    run_until: RunUntil, source_of: Callable[[str], str], mistake: str, kinds: set[str]
) -> None:
    config = RunConfig(seed=1, duration_s=0.3, area_buffers=4096, consumer=source_of(mistake))
    report = run_until(config, lambda on: kinds <= on._observers[0].reports()["counts"].keys())
    assert not report.ok
    assert kinds <= counts(report).keys()
    assert statement(report, "consumer") is False
    assert statement(report, "conservation") is True
    assert statement(report, "exactness") is True
    json.dumps(report.as_dict())


@pytest.mark.parametrize("mistake", ["bad_pad", "bad_area", "bad_index", "alias"])
def test_each_malformed_entry_is_counted_once_and_nothing_else(
    run_raw: RunRaw, mistake: str
) -> None:
    report = run_raw(mistake)
    kind = mistake.replace("_", "-")
    assert counts(report) == {kind: counts(report)[kind]}
    verdict = report.total("provider", "aliases" if mistake == "alias" else mistake)
    assert counts(report)[kind] == verdict > 0


def test_alias_is_counted_although_a_scrub_excuses_its_return(run_raw: RunRaw) -> None:
    report = run_raw("alias", packets=20_000, plan=parse_plan("scrub-midway:0.2:limit=10"))
    assert counts(report) == {"alias": report.total("provider", "aliases")}
    assert counts(report)["alias"] > 0


@pytest.mark.parametrize("mistake", ["twice", "keeps"])
@pytest.mark.parametrize("kernel", ["seed", "7.3"])
def test_return_too_many_is_the_consumers(run_raw: RunRaw, mistake: str, kernel: str) -> None:
    report = run_raw(mistake, kernel=kernel)
    assert not report.ok
    assert counts(report).keys() & {"twice", "early", "stale"}
    assert statement(report, "exactness") is True
    explained = next(item for item in report.explanations if item.kind == "consumer")
    assert "returns" in explained.text


# ---- worse --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mistake", "problem"),
    [
        ("crashes", "consumer of queue 0 was killed by SIGSEGV"),
        ("exits_with_3", "consumer of queue 0 ended with exit code 3"),
        ("exits_with_4", "consumer of queue 0 ended with exit code 4"),
        ("exits_with_0", "consumer of queue 0 left by itself"),
        ("answers_an_error", "consumer of queue 0: run() answered -5 (Input/output error)"),
        ("scribbles", "consumer of queue 0 ended with exit code 7"),
    ],
)
def test_end_of_a_consumer_is_a_finding(run_raw: RunRaw, mistake: str, problem: str) -> None:
    report = run_raw(mistake, packets=0, duration_s=60.0)
    assert any(problem in each for each in report.problems), report.problems
    assert report.elapsed_s < 50
    assert report.total("provider", "free_count") == report.config["area_buffers"]
    json.dumps(report.as_dict()).encode()


def test_consumer_that_never_returns_is_ended(run_raw: RunRaw) -> None:
    report = run_raw("hangs", packets=0, duration_s=0.3)
    assert any("did not leave within" in problem for problem in report.problems)
    assert statement(report, "conservation") is True


def test_processes_and_threads_that_it_started_end_with_it(run_raw: RunRaw) -> None:
    report = run_raw("forks")
    assert report.problems == ()
    assert any("left 1 processes that it had started" in note for note in report.notes)
    assert run_raw("starts_a_thread").problems == ()


def test_killed_consumer_is_replaced(
    run_until: RunUntil,
    source_of: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ZCRX_EMU_TEST_CRASHED", str(tmp_path / "crashed"))
    config = RunConfig(seed=1, duration_s=0.5, consumer=source_of("crashes_once"), respawn=True)
    report = run_until(config, lambda running: running._users[0] > 1)
    assert report.problems == ()
    assert sum("killed by SIGSEGV" in note for note in report.notes) == 1
    assert counts(report) == {}


def test_its_process_maps_no_records_and_nothing_of_the_kernels_side(
    source_of: Callable[[str], str],
) -> None:
    with Session(RunConfig(seed=1, packets=100, consumer=source_of("none"))) as session:
        maps = Path(f"/proc/{session.pids['consumer of queue 0']}/maps").read_text()
        session.run()
    # bells, rings, area
    assert sum("/dev/shm/zcrx-emu" in line for line in maps.splitlines()) == 3


# ---- what a user types ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("int nothing;\n", "does not define the symbol zcrx_consumer"),
        (
            '#include "zcrx_consumer.h"\nconst struct zcrx_consumer_ops zcrx_consumer = {2};\n',
            "its ABI version is 2; this program speaks 1",
        ),
        (
            '#include "zcrx_consumer.h"\n'
            "const struct zcrx_consumer_ops zcrx_consumer = {1, sizeof(zcrx_consumer)};\n",
            "it has no run()",
        ),
        (
            "#include <stdlib.h>\n__attribute__((constructor)) static void begin(void)\n"
            "{\n\texit(5);\n}\n",
            "opening it ends the process",
        ),
    ],
)
def test_library_that_cannot_be_used_is_refused(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "wrong.c"
    path.write_text(content)
    with (
        pytest.raises(ConfigError, match=r"consumer: .*wrong\.c") as raised,
        Session(RunConfig(packets=10, consumer=str(path))),
    ):
        pass
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("consumer", "words"),
    [
        ("nothing", "it must be 'builtin', MODULE:FUNCTION, or the C source"),
        ("./nothing", "it must be 'builtin', MODULE:FUNCTION, or the C source"),
        ("", "it must be"),
        (":", "it must be"),
        ("a\0.c", "it must be"),
    ],
)
def test_what_is_no_consumer_is_refused(consumer: str, words: str) -> None:
    with pytest.raises(ConfigError, match=r"^consumer: ") as raised:
        RunConfig(consumer=consumer)
    assert words in str(raised.value)


def test_faults_of_a_consumer_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^plan: 'bad-pad' is not allowed; a consumer in C"):
        RunConfig(consumer="mine.c", plan=parse_plan("nic-drop:0.1,bad-pad:0.1"))


def test_missing_file_is_refused_in_one_line(call: Callable[..., Any], tmp_path: Path) -> None:
    ended = call("stress", "--packets", "10", "--consumer", str(tmp_path / "no.c"))
    assert ended.code == 2
    assert ended.stderr.count("\n") == 1
    assert "there is no such file" in ended.stderr
    assert "zcrx_consumer.h" in ended.stderr


def test_no_exit_code_of_a_consumer_passes_for_one_of_ours(
    call: Callable[..., Any], source_of: Callable[[str], str], tmp_path: Path
) -> None:
    folder = str(tmp_path / "run")
    ended = call("stress", "--consumer", source_of("exits_with_4"), "--run-dir", folder)
    assert ended.code == 1
    assert "ended with exit code 4" in ended.stdout


def test_source_that_does_not_compile_is_refused_in_one_line(
    call: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "mine.c").write_text("int f(void) { return nothing; }\n")
    ended = call("stress", "--packets", "10", "--consumer", str(tmp_path / "mine.c"))
    assert ended.code == 2
    assert ended.stderr.count("\n") == 1
    assert "nothing" in ended.stderr


def test_run_can_be_replayed_after_its_folder_was_moved(
    call: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tmp_path / "first"
    first.mkdir()
    shutil.copy(EXAMPLES / "plain_consumer.c", first / "mine.c")
    monkeypatch.chdir(first)
    ended = call("stress", "--packets", "500", "--consumer", "mine.c", "--run-dir", "run")
    assert ended.code == 0, ended.stderr
    written = json.loads((first / "run" / "run.json").read_text())
    assert written["config"]["consumer"] == str(first / "mine.c")
    assert written["queues"][0]["checker"]["counts"] == {}
    first.rename(tmp_path / "second")
    again = call("replay", str(tmp_path / "second" / "run"), "--run-dir", str(tmp_path / "again"))
    assert again.code == 0, again.stderr
    repeated = json.loads((tmp_path / "again" / "run.json").read_text())
    assert repeated["config"]["consumer"] == str(tmp_path / "second" / "mine.c")
    assert repeated["fragments"]["delivered"] == written["fragments"]["delivered"]


# ---- the header -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("compiler", "standard"),
    [("gcc", "c11"), ("clang", "c11"), ("g++", "c++17"), ("clang++", "c++17")],
)
def test_header_is_clean_alone_and_beside_a_providers(compiler: str, standard: str) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    language = "c++" if standard.startswith("c++") else "c"
    subprocess.run(
        [
            *(compiler, f"-std={standard}", "-Wall", "-Wextra", "-Werror", "-pedantic"),
            *(f"-I{core_sources()}", "-fsyntax-only", f"-x{language}", "-"),
        ],
        input='#include "zcrx_consumer.h"\n#include "zcrx_provider.h"\n',
        text=True,
        check=True,
        env={**os.environ, "LC_ALL": "C"},
    )


def test_configuration_comes_back_from_its_plain_form(source_of: Callable[[str], str]) -> None:
    config = RunConfig(consumer=source_of("none"))
    assert RunConfig.from_dict(config.as_dict()) == dataclasses.replace(config)
    assert config.modules_from is None
