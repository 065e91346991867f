"""A provider of somebody else's, from source, under chosen interleavings."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from emu.compile.records import Record, records_of
from emu.errors import ConfigError
from emu.race.build import build_simulation
from emu.race.library import SCENARIOS
from emu.race.script import read_script

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def search(executable: Path, name: str, memory: str, tmp_path: Path) -> list[Record]:
    """Search a ready scenario completely; what is said."""
    scenario = tmp_path / name
    scenario.write_text(read_script(name, SCENARIOS[name].text).numbers)
    command = [str(executable), str(scenario), "exhaustive", memory, "1", "0", "60", "3", "-"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode in (0, 1), process.stderr
    return records_of(process.stdout)


@pytest.mark.parametrize("memory", ["sc", "c11"])
@pytest.mark.parametrize("name", ["refill-vs-scrub", "deliver-vs-refill", "late-return"])
def test_plain_example_holds_in_every_interleaving(name: str, memory: str, tmp_path: Path) -> None:
    executable = build_simulation(provider=EXAMPLES / "plain_provider.c")
    end = search(executable, name, memory, tmp_path)[-1]
    assert end.event == "end"
    assert end.flag("complete")
    assert not end.flag("found")


def test_broken_example_is_found(tmp_path: Path) -> None:
    executable = build_simulation(provider=EXAMPLES / "broken_provider.c")
    finding = search(executable, "refill-vs-scrub", "sc", tmp_path)[-1]
    assert finding.event == "finding"
    assert finding.values["kind"] == "wrong"
    assert finding.values["found"] == "NOT_IN_ONE_PLACE"
    assert finding.number("switches") <= 2


@pytest.mark.parametrize(
    ("name", "said"), [("missing.c", "there is no such file"), ("provider.so", "of one \\(each")]
)
def test_only_sources_can_be_simulated(name: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name.endswith(".so"):
        path.write_bytes(b"")
    with pytest.raises(ConfigError, match=rf"provider: .* name the C source .*{said}"):
        build_simulation(provider=path)


PLAIN = f"""
#include <fcntl.h>
#include <stdlib.h>
#include "zcrx_provider.h"
#define zcrx_provider plain_operations
#include "{EXAMPLES / "plain_provider.c"}"
#undef zcrx_provider
"""
WHOLE = """
const struct zcrx_provider_ops zcrx_provider = {
	.abi = ZCRX_PROVIDER_ABI, .size = sizeof(struct zcrx_provider_ops),
	.init = plain_init, .alloc_netmems = ALLOC, .release_netmem = plain_release_netmem,
	.destroy = plain_destroy, .scrub = plain_scrub, .copy_buffer = plain_copy_buffer,
};
"""


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("int something;\n", "does not define the symbol zcrx_provider"),
        (WHOLE.replace("ZCRX_PROVIDER_ABI", "ZCRX_PROVIDER_ABI + 1"), "its ABI version is"),
        (WHOLE.replace("sizeof(struct zcrx_provider_ops)", "8"), "zcrx_provider_ops has 8 bytes"),
        (WHOLE.replace("plain_scrub", "NULL"), r"it has no scrub\(\)"),
        (WHOLE + "__attribute__((constructor)) static void end(void) { exit(0); }", "it ends when"),
    ],
)
def test_provider_that_cannot_be_called_is_refused(source: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "provider.c"
    path.write_text(
        PLAIN * ("plain_init" in source) + source.replace("ALLOC", "plain_alloc_netmems")
    )
    with pytest.raises(ConfigError, match=f"provider: .* is not allowed; .*{words}"):
        build_simulation(provider=path)


#: Each fails when it has been called more often than any single execution does.
KEEPERS = {
    "static": "static int n = 5; return ++n < 30",
    "zeroed static": "static int n; return ++n < 25",
    "thread-local": "static __thread int n; return ++n < 25",
    "heap": "static int *n; if (!n) n = calloc(1, sizeof(*n)); return ++*n < 25",
}
COUNTING = """
static bool may_go_on(void) { %s; }
static bool alloc(struct zcrx_provider_queue *queue, uint32_t pool)
{
	return may_go_on() && plain_alloc_netmems(queue, pool);
}
"""


@pytest.mark.parametrize("kind", KEEPERS)
def test_state_of_a_provider_ends_with_the_execution(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "provider.c"
    path.write_text(PLAIN + COUNTING % KEEPERS[kind] + WHOLE.replace("ALLOC", "alloc"))
    executable = build_simulation(provider=path)
    end = search(executable, "second-fragment", "sc", tmp_path)[-1]
    assert end.event == "end"
    assert end.flag("complete")
    assert end.flag("repeats")
    assert end.number("schedules") > 100


def test_state_that_cannot_be_put_back_is_noticed(tmp_path: Path) -> None:
    # Descriptors are no data of the provider's: there are more of them with each execution.
    counting = COUNTING % 'return open("/dev/null", 0) < 20'
    path = tmp_path / "provider.c"
    path.write_text(PLAIN + counting + WHOLE.replace("ALLOC", "alloc"))
    records = search(build_simulation(provider=path), "second-fragment", "sc", tmp_path)
    end = next(record for record in records if record.event == "end")
    assert end.flag("found") or not end.flag("repeats")
    assert not end.flag("complete")


@pytest.mark.parametrize("name", ["refill-vs-scrub", "return-vs-refill"])
def test_ring_that_is_read_without_its_lock_is_found(name: str, tmp_path: Path) -> None:
    source = (EXAMPLES / "plain_provider.c").read_text()
    path = tmp_path / "provider.c"
    path.write_text(
        source.replace("if (queue->services->rq_lock(queue)) {", "{").replace(
            "queue->services->rq_unlock(queue);", ""
        )
    )
    finding = search(build_simulation(provider=path), name, "sc", tmp_path)[-1]
    assert finding.event == "finding"
    assert finding.values["found"].endswith("_UNLOCKED")


LOCK, UNLOCK = "if (queue->services->rq_lock(queue)) {", "queue->services->rq_unlock(queue);"
#: What a standing check looks at: the changes that break it, where it shows, and what is found.
STANDING = {
    "load of the tail": (
        [
            (
                LOCK,
                "uint32_t early = zcrx_read_acquire_u32(queue, ZCRX_PROVIDER_TAIL_LOAD, "
                "queue->rq_tail);\n\t(void)early;\n\t" + LOCK,
            ),
        ],
        "refill-vs-scrub",
        "TAIL_UNLOCKED",
    ),
    "load of an entry": (
        [(LOCK, "(void)copy_rqe(queue, *queue->cached_rq_head);\n\t" + LOCK)],
        "refill-vs-scrub",
        "ENTRY_UNLOCKED",
    ),
    "store of the head": (
        [
            (
                UNLOCK,
                UNLOCK + "\n\t\tzcrx_write_release_u32(queue, ZCRX_PROVIDER_HEAD_STORE, "
                "queue->rq_head, *queue->cached_rq_head);",
            ),
        ],
        "refill-vs-scrub",
        "HEAD_UNLOCKED",
    ),
    "cache": (
        [
            (
                "if (__atomic_load_n(&queue->niovs[niov].pool, __ATOMIC_RELAXED) != pool + 1)",
                "if (pool > 99)",
            )
        ],
        "copied-again",
        "CACHED_UNBOUND",
    ),
    "ptr ring": (
        [
            (
                "\t\t\tqueue->services->return_niov(queue, niov);\n\t}\n\treturn taken;",
                "\t\t\tqueue->services->return_niov(queue, niov),\n"
                "\t\t\t\tqueue->services->unbind(queue, 0, niov);\n\t}\n\treturn taken;",
            )
        ],
        "refill-vs-scrub",
        "QUEUED_UNBOUND",
    ),
    "inflight count": (
        [
            (
                "queue->services->bind(queue, pool, niovs[i]);",
                "queue->services->bind(queue, pool, niovs[i]);\n"
                "\t\tqueue->services->bind(queue, pool, niovs[i]);",
            )
        ],
        "refill-vs-scrub",
        "INFLIGHT",
    ),
}


@pytest.mark.parametrize("what", STANDING)
def test_standing_check_finds_what_it_looks_for(what: str, tmp_path: Path) -> None:
    changes, scenario, found = STANDING[what]
    source = (EXAMPLES / "plain_provider.c").read_text()
    for old, new in changes:
        assert source.count(old) == 1
        source = source.replace(old, new)
    path = tmp_path / "provider.c"
    path.write_text(source)
    finding = search(build_simulation(provider=path), scenario, "sc", tmp_path)[-1]
    assert finding.event == "finding"
    assert finding.values["found"] == found


def test_scenario_that_does_not_fit_a_provider_hides_no_finding(script: Any) -> None:
    """Its refill takes buffers in the other order, which the set-up of the first counts on."""
    source = Path(__file__).parents[1] / "broken" / "provider.c"
    (script.folder / "provider.c").write_text(f'#define MISTAKE 52\n#include "{source}"\n')
    ended = script.start("race", "--provider", "provider.c", "--time", "1").finish()
    assert "rewrite-bound: not tried: scenario rewrite-bound: setup: " in ended.stdout
    assert "FINDINGS: " in ended.stdout
    assert ended.code == 1
