"""A provider of somebody else's, as a shared library: run, stepped, refused, crashing.

That the plain one does what the specification says is in test_stepping_property.py.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emu.config import RunConfig
from emu.core.library import ProviderLibrary
from emu.errors import ConfigError, EnvironmentProblem
from emu.runtime import keeper, session
from emu.spec.state import Verdict
from emu.spec.stepping import StepProvider
from emu.verdict.report import Report
from faults import parse_plan
from faults.profiles import PROFILES

Build = Callable[[str, str], str]
Call = Callable[..., Any]
EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"

#: plain_provider.c under another name, to take its operations from.
PLAIN = """
#include "zcrx_provider.h"
#define zcrx_provider plain_operations
#include "plain_provider.c"
#undef zcrx_provider
"""
TABLE = """
const struct zcrx_provider_ops zcrx_provider = {{
    .abi = {abi}, .size = {size},
    .init = {init}, .alloc_netmems = {alloc_netmems}, .release_netmem = {release_netmem},
    .destroy = {destroy}, .scrub = {scrub}, .copy_buffer = {copy_buffer},
}};
"""
OPERATIONS = ("init", "alloc_netmems", "release_netmem", "destroy", "scrub", "copy_buffer")


def table(**changed: str) -> str:
    """The plain provider with some of its table's members replaced."""
    members = {name: f"plain_{name}" for name in OPERATIONS}
    members |= {"abi": "ZCRX_PROVIDER_ABI", "size": "sizeof(struct zcrx_provider_ops)"}
    return TABLE.format(**{**members, **changed})


# ---- in whole runs --------------------------------------------------------------------------


def test_plain_provider_serves_a_run(run_sound: Callable[..., Report], plain_provider: str) -> None:
    report = run_sound(provider=plain_provider, queues=2)
    assert report.config["provider"] == plain_provider
    assert f"the provider is plain, from {plain_provider}" in report.notes
    assert report.total("provider", "accepted") > 0


@pytest.mark.long
@pytest.mark.parametrize("profile", ["malformed", "hostile", "chaos"])
def test_plain_provider_stands_what_ours_does(
    run_small: Callable[..., Report], plain_provider: str, profile: str
) -> None:
    report = run_small(provider=plain_provider, packets=100_000, plan=PROFILES[profile].plan)
    assert report.problems == ()
    assert report.ok


@pytest.mark.parametrize("fault", ["alloc-fail", "freelist-empty", "ptr-ring-full"])
def test_faults_within_the_provider_work_with_another(
    run_sound: Callable[..., Report], plain_provider: str, fault: str
) -> None:
    report = run_sound(
        provider=plain_provider, plan=parse_plan(f"{fault}:every=200"), area_buffers=4096
    )
    assert sum(row.injected for row in report.reconciliation.rows if row.name == fault) > 0


def test_hidden_freelist_is_hidden_from_another_provider(
    run_sound: Callable[..., Report], plain_provider: str
) -> None:
    """Buffers then come from the refill ring alone, and sooner or later it is empty."""
    plan = parse_plan("freelist-empty:at=600:count=1000")
    report = run_sound(provider=plain_provider, plan=plan, area_buffers=4096, copy_every=50)
    assert report.total("provider", "alloc_failures") > 0


def test_scrub_counts_the_buffers_that_came_home(
    run_sound: Callable[..., Report], plain_provider: str
) -> None:
    """A consumer that keeps 200 fragments has them taken back; each filled a buffer."""
    scrub = (
        run_sound(provider=plain_provider, hold=200, traffic="synthetic:kind=raw,size=4096")
        .queues[0]
        .scrub
    )
    assert scrub["references"] >= 200
    assert scrub["buffers"] == scrub["references"]


def test_strict_alias_reaches_another_provider(
    run_sound: Callable[..., Report], plain_provider: str
) -> None:
    report = run_sound(provider=plain_provider, plan=parse_plan("alias:0.1"), strict_alias=True)
    assert report.total("provider", "bad_index") > 0


def test_broken_provider_is_found_when_consumers_lie(
    run_small: Callable[..., Report], broken_provider: str
) -> None:
    report = run_small(provider=broken_provider, plan=PROFILES["hostile"].plan)
    assert not report.ok
    assert "ownership" in {item.name for item in report.statements if item.holds is False}


def test_run_with_a_provider_can_be_replayed(
    call: Call, tmp_path: Path, plain_provider: str
) -> None:
    """By its folder alone, from anywhere: the path in it is absolute."""
    shutil.copy(plain_provider, tmp_path / "mine.so")
    ended = call("stress", "--packets", "2000", "--provider", "mine.so", "--run-dir", "one")
    path = str(tmp_path / "mine.so")
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[1].endswith(f", provider {path}")
    assert f"note: the provider is plain, from {path}" in ended.stdout
    ended = call("replay", "one", "--run-dir", "two")
    assert ended.code == 0
    for folder in ("one", "two"):
        report = json.loads((tmp_path / folder / "run.json").read_text())
        assert report["config"]["provider"] == path


# ---- libraries that crash -------------------------------------------------------------------

CRASH = (
    PLAIN
    + """
#include <signal.h>
static bool crashing_alloc_netmems(struct zcrx_provider_queue *queue, uint32_t pool)
{
    static int calls;
    if (++calls > 20)
        raise(SIGSEGV);
    return plain_alloc_netmems(queue, pool);
}
static int64_t lying_copy_buffer(struct zcrx_provider_queue *queue)
{
    return queue->num_niovs;
}
"""
)


@pytest.mark.parametrize(
    ("changed", "options", "death"),
    [
        ({"alloc_netmems": "crashing_alloc_netmems"}, (), "provider was killed by SIGSEGV"),
        (
            {"copy_buffer": "lying_copy_buffer"},
            ("--copy-every", "10"),
            "nic was killed by SIGABRT",
        ),
    ],
)
def test_crash_ends_the_run_with_a_verdict(
    script: Any,
    build_provider: Build,
    changed: dict[str, str],
    options: tuple[str, ...],
    death: str,
) -> None:
    library = build_provider("crash", _unused(CRASH) + table(**changed))
    ended = script.run("stress", "--provider", library, "--duration", "60", "--seed", "5", *options)
    assert ended.code == 1
    assert f"FAIL: {death}" in ended.stdout
    (again,) = [line for line in ended.stdout.splitlines() if line.startswith("same again: ")]
    assert again.startswith("same again: --seed 5 --duration 60 ")
    assert again.endswith(f" --provider {library}")
    assert script.leftovers() == []


#: The plain provider, but for what it does in one of its operations.
DOES = (
    PLAIN
    + """
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static int wrapped_init(struct zcrx_provider_queue *queue, uint32_t pool)
{
    if (!strcmp(IN, "init")) { DO; }
    return plain_init(queue, pool);
}
static uint64_t wrapped_scrub(struct zcrx_provider_queue *queue)
{
    if (!strcmp(IN, "scrub")) { DO; }
    return plain_scrub(queue);
}
static int wrapped_destroy(struct zcrx_provider_queue *queue, uint32_t pool)
{
    if (!strcmp(IN, "destroy")) { DO; }
    return plain_destroy(queue, pool);
}
static void wrapped_release_netmem(struct zcrx_provider_queue *queue, uint32_t pool, uint32_t niov)
{
    if (!strcmp(IN, "release")) { VOID_DO; }
    plain_release_netmem(queue, pool, niov);
}
static bool wrapped_alloc_netmems(struct zcrx_provider_queue *queue, uint32_t pool)
{
    if (!strcmp(IN, "alloc")) { DO; }
    return plain_alloc_netmems(queue, pool);
}
"""
)
WRAPPED = table(
    **{
        name: f"wrapped_{name}"
        for name in ("init", "alloc_netmems", "release_netmem", "destroy", "scrub")
    }
)


@pytest.fixture
def build_doing(build_provider: Build) -> Build:
    """A provider that does something, C statements, in an operation."""

    def build(operation: str, does: str) -> str:
        void = "(void)0" if "return" in does else does
        head = f'#define IN "{operation}"\n#define DO {does}\n#define VOID_DO {void}\n'
        return build_provider("doing", _unused(head + DOES + WRAPPED))

    return build


@pytest.mark.parametrize(
    ("operation", "does", "finding"),
    [
        ("scrub", "exit(0)", "keeper ended with exit code 0 in scrub() of queue 0"),
        ("scrub", "_exit(0)", "keeper ended with exit code 0 in scrub() of queue 0"),
        ("scrub", "raise(SIGSEGV)", "keeper was killed by SIGSEGV in scrub() of queue 0"),
        (
            "scrub",
            "queue->services->free_push(queue, 1 << 30)",
            "keeper was killed by SIGABRT in scrub() of queue 0",
        ),
        ("alloc", "exit(0)", "provider ended with exit code 0 in alloc_netmems() of queue 0"),
        ("alloc", "raise(SIGBUS)", "provider was killed by SIGBUS in alloc_netmems() of queue 0"),
        ("destroy", "_exit(0)", "provider ended with exit code 0 in destroy() of queue 0"),
        ("release", "abort()", "provider was killed by SIGABRT in release_netmem() of queue 0"),
    ],
)
def test_whatever_another_provider_does_later_is_a_finding(
    run_small: Callable[..., Report],
    build_doing: Build,
    capfd: pytest.CaptureFixture[str],
    operation: str,
    does: str,
    finding: str,
) -> None:
    """That this process is there to judge it is half of the test."""
    report = run_small(provider=build_doing(operation, does), packets=500)
    assert not report.ok
    assert report.problems[0] == finding
    said = capfd.readouterr().err
    assert "free_push() was called with 1073741824" in said or "free_push" not in does


@pytest.mark.parametrize(
    ("does", "why"),
    [
        ("exit(0)", "provider: keeper ended with exit code 0 in init() of queue 0"),
        ("raise(SIGSEGV)", "provider: keeper was killed by SIGSEGV in init() of queue 0"),
        ("return -5", "provider: init() of queue 0: Input/output error"),
        ("return 7", "provider: init() of queue 0: Protocol error"),
    ],
)
def test_provider_that_does_not_begin_is_a_wrong_set_up(
    run_small: Callable[..., Report], build_doing: Build, does: str, why: str
) -> None:
    with pytest.raises(EnvironmentProblem) as caught:
        run_small(provider=build_doing("init", does))
    assert str(caught.value) == why


@pytest.mark.parametrize("operation", ["init", "scrub"])
def test_call_that_does_not_come_back_has_an_end(
    run_small: Callable[..., Report],
    build_doing: Build,
    monkeypatch: pytest.MonkeyPatch,
    operation: str,
) -> None:
    monkeypatch.setattr(session, "CALL_TIMEOUT_S", 1.0)
    library = build_doing(operation, "for (;;) pause()")
    problem = f"{operation}() of queue 0 took longer than 1 s"
    if operation == "init":
        with pytest.raises(EnvironmentProblem, match=re.escape(problem)):
            run_small(provider=library)
    else:
        assert run_small(provider=library, packets=500).problems[0] == problem


@pytest.mark.parametrize(
    ("does", "why"),
    [
        ("exit(0)", "exit code 0"),
        ("abort()", "SIGABRT"),
        ("for (;;) pause()", "opening it takes over"),
    ],
)
def test_constructor_that_ends_or_holds_up_its_process_is_refused(
    build_provider: Build, monkeypatch: pytest.MonkeyPatch, does: str, why: str
) -> None:
    monkeypatch.setattr(keeper, "LOOK_TIMEOUT_S", 1.0 if "pause" in does else 30.0)
    source = f"""
#include <stdlib.h>
#include <unistd.h>
__attribute__((constructor)) static void load(void) {{ {does}; }}
"""
    with pytest.raises(ConfigError, match=re.escape(why)):
        keeper.look_at(build_provider("loads", source))


def test_control_process_never_opens_the_library(
    run_sound: Callable[..., Report], build_provider: Build
) -> None:
    library = build_provider("unopened", '#include "plain_provider.c"\n')
    run_sound(provider=library, packets=500)
    assert library not in Path("/proc/self/maps").read_text()


def _unused(source: str) -> str:
    """What a variant does not use is no mistake in it."""
    return '#pragma GCC diagnostic ignored "-Wunused-function"\n' + source


# ---- what they are called ---------------------------------------------------------------------


def test_library_is_called_by_its_name_or_else_by_its_file(
    build_provider: Build, plain_provider: str
) -> None:
    nameless = build_provider("nameless", PLAIN + table())
    assert ProviderLibrary(plain_provider).name == "plain"
    assert ProviderLibrary(nameless).name == "nameless.so"


# ---- libraries that are refused -------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("int x;\n", "it does not define the symbol zcrx_provider"),
        (PLAIN + table(abi="2"), "its ABI version is 2; this program speaks 1"),
        (PLAIN + table(size="8"), "its struct zcrx_provider_ops has 8 bytes; ABI 1 has 64"),
        *((PLAIN + table(**{name: "0"}), f"it has no {name}()") for name in OPERATIONS),
    ],
)
def test_library_that_cannot_be_used_is_refused(
    call: Call, build_provider: Build, source: str, why: str
) -> None:
    library = build_provider("wrong", _unused(source))
    refuse(call, library, why)


def test_file_that_is_no_library_is_refused(call: Call, tmp_path: Path) -> None:
    (tmp_path / "text.so").write_text("not a library\n")
    refuse(call, "text.so", "it cannot be opened: ")
    refuse(call, str(tmp_path), "it is no regular file")
    refuse(call, "libc.so.6", "there is no such file")  # it is not searched for


def test_library_that_ends_the_process_is_refused(call: Call, build_provider: Build) -> None:
    """As one with AddressSanitizer does that finds no runtime of it."""
    source = """
#include <stdio.h>
#include <stdlib.h>
__attribute__((constructor)) static void leave(void)
{
    fputs("first words\\nnot here\\n", stderr);
    _Exit(1);
}
"""
    library = build_provider("leaves", source)
    ended = call("stress", "--provider", library, "--packets", "10")
    assert ended.code == 2
    assert ended.stderr == (
        f"zcrx-emu: error: provider: {library!r} is not allowed; "
        "opening it ends the process (not here)\n"
    )


def refuse(call: Call, library: str, why: str) -> None:
    ended = call("stress", "--provider", library, "--packets", "10")
    assert ended.code == 2
    (line,) = ended.stderr.splitlines()
    path = str(Path.cwd() / library)
    assert line.startswith(f"zcrx-emu: error: provider: {path!r} is not allowed; name ")
    assert f" shared library made for zcrx_provider.h ({why}" in line
    assert not Path("runs").exists()


@pytest.mark.parametrize("value", ["", 7, b"x.so", True, "x\0.so"])
def test_provider_that_is_no_path_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match=r"^provider: .* is not allowed; name a C source or a"):
        RunConfig(provider=value)  # type: ignore[arg-type]


def test_name_with_a_zero_byte_is_no_file(plain_provider: str) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        StepProvider(num_niovs=1, rq_entries=1, provider=f"{plain_provider}\0")


# ---- step by step ---------------------------------------------------------------------------


def test_broken_provider_believes_a_return_of_what_was_never_given(broken_provider: str) -> None:
    provider = StepProvider(num_niovs=4, rq_entries=8, provider=broken_provider)
    assert provider.alloc(4) == [0, 1, 2, 3]
    provider.push_rqe(2 << 12)  # the NIC has it
    assert provider.alloc() == [2]
    assert [judgement.verdict for judgement in provider.take_verdicts()] == [Verdict.ACCEPTED]


def test_provider_that_rejects_a_good_return_now_and_then_is_found_among_all_faults(
    run_small: Callable[..., Report], build_provider: Callable[[str, str], str]
) -> None:
    """Stray entries take references all the time: each excuses one return, and no more."""
    source = (EXAMPLES / "plain_provider.c").read_text(encoding="utf-8")
    loop = "\twhile (seen > 0) {\n"
    assert source.count(loop) == 1
    rare = "\tstatic uint32_t good;\n\n\tif (seen > 0 && ++good % 20011 == 0)\n\t\treturn false;\n"
    provider = build_provider("rare", source.replace(loop, rare + loop))
    report = run_small(provider=provider, packets=200_000, plan=PROFILES["hostile"].plan)
    assert not {item.name: item.holds for item in report.statements}["exactness"]
    found = report.reconciliation.mismatches
    assert 3 <= len(found) <= 20
    assert {(item.intent, item.verdict) for item in found} >= {("valid", "no_user_ref")}


#: Takes all references at once, and gives the buffers back a good while later.
SLOW_SCRUB = """
#include <stdlib.h>
#include <unistd.h>

static uint64_t slow_scrub(struct zcrx_provider_queue *queue)
{
    uint32_t *refs = calloc(queue->num_niovs, sizeof(*refs));
    uint64_t taken = 0;

    for (uint32_t niov = 0; refs && niov < queue->num_niovs; niov++)
        refs[niov] = zcrx_exchange_u32(queue, ZCRX_PROVIDER_USER_REF,
                           &queue->niovs[niov].user_refs, 0);
    usleep(100000);
    for (uint32_t niov = 0; refs && niov < queue->num_niovs; niov++) {
        taken += refs[niov];
        if (refs[niov] && queue->services->pp_ref_put(queue, niov, refs[niov]))
            queue->services->return_niov(queue, niov);
    }
    free(refs);
    return taken;
}
"""


def test_returns_are_judged_rightly_while_a_provider_is_at_its_scrub(
    run_small: Callable[..., Report], build_provider: Build
) -> None:
    """Their references are gone before anybody has said that it was the scrub that took them."""
    provider = build_provider("slow", PLAIN + SLOW_SCRUB + table(scrub="slow_scrub"))
    plan = parse_plan("scrub-midway:every=250")
    report = run_small(provider=provider, packets=0, duration_s=1.5, plan=plan, hold=64)
    assert {item.name: item.holds for item in report.statements}["exactness"], report.problems
    assert report.reconciliation.rows[1].injected > 0
    used = report.reconciliation.credits
    assert used.scrubbed > 0
    assert used.used_of_scrubs > 0
