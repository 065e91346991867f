"""Which lines and branches of the provider a corpus reaches: by clang's source coverage."""

from __future__ import annotations

import collections
import hashlib
import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from emu.compile.ondemand import core_sources
from emu.compile.provider_file import is_source
from emu.compile.toolchain import libfuzzer_compiler, llvm_tool
from emu.contract import LEVELS, SEED
from emu.errors import EnvironmentProblem
from emu.fuzz.build import Kind
from emu.fuzz.harness import Harness, Target

#: What of the core is the provider's business: its own files and what is inline in them.
_ROOM = "kernel"
_COUNTED = ("provider.c", "page_pool.c", "area.c", "area.h", "page_pool.h", "provider.h")
_BATCH = 2000


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much is reached."""

    lines: int
    lines_reached: int
    branches: int  #: each outcome of each condition
    branches_reached: int

    @property
    def text(self) -> str:
        """Both as percentages."""

        def percent(part: int, whole: int) -> str:
            return f"{100 * part / whole:.1f} %" if whole else "-"

        return (
            f"lines {percent(self.lines_reached, self.lines)}, "
            f"branches {percent(self.branches_reached, self.branches)}"
        )


@dataclass(frozen=True, slots=True)
class Gap:
    """An outcome of a condition that was never seen."""

    file: str
    line: int
    function: str
    condition: str  #: as it stands in the source, in one line
    outcome: bool  #: which one is missing
    reason: str  #: why it cannot be reached, or empty


class _Condition(NamedTuple):
    """Where a condition stands; in the order of the source."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int
    function: str

    def text(self, lines: Sequence[str]) -> str:
        """It, in one line."""
        stretch = list(lines[self.line - 1 : self.end_line])
        stretch[-1] = stretch[-1][: self.end_column - 1]
        stretch[0] = stretch[0][self.column - 1 :]
        return " ".join(" ".join(stretch).split())


_ALONE = "it takes another process at the same moment: a matter of races"
_FOREIGN = "only with a provider of one's own"
_AT_ONCE = "would be a finding at once"
_ALWAYS = "the harness always"
_WATCHED = "only where a consumer of somebody else's is watched"
_HANDED_OVER = "at refs-cache, an experimental level that the fuzzer does not play"
_POSSIBLE = f"{_ALWAYS} adds what can be, and has room for it"
_TOLD = "only what is told of a state asks for it"
#: Why some outcomes cannot come up: function, condition, the missing outcome (None: either).
UNREACHABLE: tuple[tuple[str, str, bool | None, str], ...] = (
    ("zcrx_area_pop_free", "!zcrx_lock(&shared->freelist_lock, area->aborted)", True, _ALONE),
    ("zcrx_area_push_free", "!zcrx_lock(&shared->freelist_lock, area->aborted)", True, _ALONE),
    ("zcrx_area_push_free", "free_count < stack.size", False, _AT_ONCE),
    ("zcrx_area_add", "!area->extents", True, _POSSIBLE),
    ("zcrx_area_add", "num_niovs == 0", True, _POSSIBLE),
    (
        "zcrx_area_add",
        "(uint64_t)num_niovs << area->niov_shift > (uint64_t)1 << IORING_ZCRX_AREA_SHIFT",
        True,
        _POSSIBLE,
    ),
    ("zcrx_area_add", "num_niovs > area->num_niovs - first", True, _POSSIBLE),
    ("zcrx_area_add", "!zcrx_lock(&shared->freelist_lock, area->aborted)", True, _ALONE),
    (
        "zcrx_ifq_add_area",
        "!zcrx_lock(&ifq->shared->rq_lock, ifq->area->aborted)",
        True,
        _ALONE,
    ),
    ("zcrx_area_offset", "area->extents", None, _TOLD),
    ("zcrx_area_free_snapshot", "id-- > 0", None, _TOLD),
    ("zcrx_area_free_snapshot", "i < free_count", None, _TOLD),
    ("zcrx_area_free_snapshot", "i < stack.size", None, _TOLD),
    ("zcrx_area_free_snapshot", "count < max", None, _TOLD),
    (
        "zcrx_user_ref_take",
        "!shm_cas_u32(refs, &now, now - count, POINT_USER_REF_CAS)",
        True,
        _ALONE,
    ),
    ("zcrx_area_note_scrubbed", "area->scrubbed", False, f"{_ALWAYS} counts what is scrubbed"),
    ("zcrx_pp_ref_put", "before < count", True, _AT_ONCE),
    ("zcrx_pp_ref_put", "before != count", False, _ALONE),
    (
        "zcrx_pp_refuse_ring",
        "!zcrx_lock(&shared->producer_lock, pool->area->aborted)",
        True,
        _ALONE,
    ),
    ("ptr_ring_put", "!zcrx_lock(&shared->producer_lock, pool->area->aborted)", True, _ALONE),
    ("zcrx_pp_ring_snapshot", "count < max", False, "whoever looks has room for the whole ring"),
    ("trace_all", "trace->count == trace->capacity", True, "the harness has room for all"),
    ("note_batch", "ifq->trace", False, f"{_ALWAYS} has each entry traced"),
    ("note_batch", "ifq->niov_log", False, f"{_ALWAYS} has a log of buffers"),
    ("zcrx_ifq_may_read", "ifq->detached", None, _FOREIGN),
    (
        "refill_ring",
        "!zcrx_lock(&ifq->shared->rq_lock, ifq->area->aborted)",
        True,
        _ALONE,
    ),
    (
        "zcrx_user_ref_take_run",
        "!shm_cas_u32(refs, &now, now - count, POINT_USER_REF_CAS)",
        True,
        _ALONE,
    ),
    (
        "refill_by_runs",
        "!zcrx_lock(&ifq->shared->rq_lock, ifq->area->aborted)",
        True,
        _ALONE,
    ),
    (
        "zcrx_ifq_flush_rq",
        "!zcrx_level_of(ifq->area->contract.level)->has_flush",
        True,
        f"{_ALWAYS} asks where there is one",
    ),
    ("zcrx_ifq_flush_rq", "ifq->plugin", True, _FOREIGN),
    (
        "zcrx_ifq_flush_rq",
        "!zcrx_lock(&ifq->shared->rq_lock, ifq->area->aborted)",
        True,
        _ALONE,
    ),
    ("refill_watched", "is_watched", True, _WATCHED),
    ("refill_locked", "ifq->witness", True, _WATCHED),
    ("witness", "ifq->witness", True, _WATCHED),
    ("take_handed_over", "ifq->handoff.slots", True, _HANDED_OVER),
    ("take_refs", "ifq->handoff.counts", True, _HANDED_OVER),
    ("take_refs", "!handed", False, _HANDED_OVER),
    ("take_refs", "*handed < count", None, _HANDED_OVER),
    ("take_refs", "own < count", False, _HANDED_OVER),
    ("take_refs", "own", True, _HANDED_OVER),
    (
        "scrub_handed_over",
        "zcrx_lock(&ifq->shared->rq_lock, ifq->area->aborted)",
        None,
        _HANDED_OVER,
    ),
    ("zcrx_ifq_setup", "zcrx_contract_hands_over(ifq->area->contract)", True, _HANDED_OVER),
    ("end_pool", "before", True, _ALONE),
    ("end_pool", "destroyed", None, _ALONE),
)

#: What only programs of another kernel than ``seed`` can reach: functions, and outcomes.
OF_OTHER_KERNELS = frozenset(
    {
        "zcrx_user_ref_take_run",
        "refill_ring_of_empty",
        "take_handed_over",
        "take_refs",
        "judge_stretch",
        "judge_by_runs",
        "refill_by_runs_locked",
        "refill_by_runs",
        "flush_batch",
        "zcrx_ifq_flush_rq",
        "zcrx_area_add",
        ("zcrx_area_format", "area->extents", True),
        ("zcrx_area_niovs", "!area->extents", False),
        ("zcrx_area_niovs", "count == 0", True),
        ("zcrx_area_niovs", "count == 0", False),
        ("zcrx_area_id", "high - low > 1", True),
        ("zcrx_area_id", "first_of(&area->extents[middle]) <= niov", True),
        ("zcrx_area_id", "first_of(&area->extents[middle]) <= niov", False),
        ("stack_of", "area->extents", True),
        ("stack_of", "extent", True),
        ("zcrx_area_pop_free", "count < max", False),
        ("zcrx_area_count", "area->extents", True),
        ("zcrx_area_size", "area->extents", True),
        ("judge_elsewhere", "id >= zcrx_area_count(area)", False),
        ("judge_elsewhere", "verdict >= WELL_FORMED", True),
        ("judge_elsewhere", "verdict >= WELL_FORMED", False),
        ("zcrx_ifq_add_area", "!ifq->area->extents", False),
        ("zcrx_ifq_add_area", "!zcrx_lock(&ifq->shared->rq_lock, ifq->area->aborted)", False),
        ("witness", "ifq->witness", False),
        ("end_pool", "!zcrx_level_of(ifq->area->contract.level)->checks_destroy", True),
        ("zcrx_ifq_restart", "ifq->has_no_device", True),
        ("zcrx_ifq_setup", "level->checks_destroy", False),
    }
)


class CoverageMeter:
    """Runs programs in a build that counts, and reads the counts.

    Args:
        target: What is attacked.
        scratch: A folder for the counts; its owner removes it.

    Raises:
        EnvironmentProblem: There is no clang with its llvm tools.
    """

    def __init__(self, target: Target, scratch: Path) -> None:
        clang = libfuzzer_compiler()
        if clang is None:
            raise EnvironmentProblem("coverage: it needs clang, which is not installed")
        tools = [llvm_tool(name, clang) for name in ("llvm-profdata", "llvm-cov")]
        if tools[0] is None or tools[1] is None:
            raise EnvironmentProblem(
                "coverage: it needs llvm-profdata and llvm-cov of clang's version; on Debian: "
                "apt install llvm"
            )
        self._profdata, self._cov = tools[0], tools[1]
        if target.provider is not None and not is_source(target.provider):
            raise EnvironmentProblem(
                "coverage: a library says nothing of its source; give the provider as a .c file"
            )
        self._harness = Harness(target, Kind.COVERAGE)
        self._executable = self._harness.prepare()
        library = target.library(Kind.COVERAGE)
        #: What llvm-cov is to look at, and the sources that count.
        self._objects = [str(self._executable)] + ([f"-object={library}"] if library else [])
        sources = [core_sources() / _ROOM / name for name in _COUNTED]
        if target.provider is not None:
            sources = [target.provider.resolve()]
        self._sources = {path.name: path for path in sources}
        self._provider = target.provider
        self._total = scratch / "total.profdata"
        self._scratch = scratch
        self._counted: set[str] = set()

    def _tool(self, *arguments: str) -> str:
        process = subprocess.run(
            arguments, capture_output=True, text=True, check=False, errors="replace"
        )
        if process.returncode:
            lines = process.stderr.strip().splitlines() or ["no message"]
            raise EnvironmentProblem(f"coverage: {Path(arguments[0]).name}: {lines[0]}")
        return process.stdout

    def _merge(self, raw: Path) -> None:
        if not raw.exists():  # a program ended the process past all handlers
            return
        inputs = [str(raw)] + ([str(self._total)] if self._total.exists() else [])
        part = self._total.with_suffix(".part")
        self._tool(self._profdata, "merge", "-sparse", *inputs, "-o", str(part))
        os.replace(part, self._total)
        raw.unlink()

    def _execute(self, arguments: Sequence[str], kernel: str = SEED) -> None:
        raw = self._scratch / "counts.profraw"
        environment = self._harness.environment(findings=str(self._scratch), counts="1")
        environment["LLVM_PROFILE_FILE"] = str(raw)
        environment["ZCRX_FUZZ_KERNEL"] = str(LEVELS.index(kernel))
        subprocess.run(
            [str(self._executable), *arguments],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        self._merge(raw)

    def add(self, corpus: Path) -> bool:
        """Count what the programs of a folder reach that were not counted yet; were there any?"""
        files = [
            path for path in sorted(corpus.iterdir())
            if path.is_file() and path.name not in self._counted
        ]  # fmt: skip
        for at in range(0, len(files), _BATCH):
            self._execute(["execute", *map(str, files[at : at + _BATCH])])
        self._counted.update(path.name for path in files)
        return bool(files)

    def add_programs(self, programs: Sequence[bytes]) -> bool:
        """Count what these programs reach; were there any that were not counted yet?

        One by one: what comes behind a program that ends its process would not be run.
        """
        folder = self._scratch / "counted"
        folder.mkdir(exist_ok=True)
        fresh = False
        for program in programs:
            path = folder / hashlib.sha256(program).hexdigest()
            if not path.exists():
                path.write_bytes(program)
                self._execute(["execute", str(path)])
                fresh = True
        return fresh

    def add_generated(self, seed: int, programs: int, kernel: str = SEED) -> None:
        """Count what programs reach that were made up, for a level of the kernel."""
        self._execute(["generate", str(seed), "0", str(programs), "0"], kernel)

    def _is_counted(self, file: Path) -> bool:
        """Whether a file counts: a provider of the user's may have the name of one of ours."""
        if self._provider is not None:
            return file == self._sources.get(file.name)
        # By name only: with a seeded bug a copy was compiled.
        return file.name in self._sources and file.parent.name == _ROOM

    def _functions(self) -> list[dict[str, Any]]:
        if not self._total.exists():
            return []
        text = self._tool(self._cov, "export", *self._objects, f"-instr-profile={self._total}")
        functions: list[dict[str, Any]] = json.loads(text)["data"][0]["functions"]
        return functions

    def functions(self) -> dict[str, tuple[str, int, int]]:
        """Of each function: its file's name, the line where it begins, how often it was entered."""
        found = {}
        for function in self._functions():
            file = Path(function["filenames"][0])
            if self._is_counted(file):
                name = function["name"].rpartition(":")[2]  # a static one has its file before it
                found[name] = (file.name, function["regions"][0][0], function["count"])
        return found

    def lines(self) -> dict[tuple[str, int], int]:
        """How often each line was run, by file and line; headers once, as below."""
        if not self._total.exists():
            return {}
        lines: collections.Counter[tuple[str, int]] = collections.Counter()
        where = Path()
        for record in self._tool(
            self._cov, "export", "-format=lcov", *self._objects, f"-instr-profile={self._total}"
        ).splitlines():
            kind, _, rest = record.partition(":")
            if kind == "SF":
                where = Path(rest)
            elif kind == "DA" and self._is_counted(where):
                line, count = rest.split(",")[:2]
                lines[where.name, int(line)] += int(count)
        return dict(lines)

    def _outcomes(self) -> dict[tuple[_Condition, bool], int]:
        """How often each outcome of each condition was seen.

        What is inline in a header is counted once for each file that has it; here it is one.
        """
        outcomes: collections.Counter[tuple[_Condition, bool]] = collections.Counter()
        for function in self._functions():
            files = [Path(name) for name in function["filenames"]]
            name = function["name"].rpartition(":")[2]  # a static one has its file before it
            for line, column, end_line, end_column, true, false, file, *_ in function["branches"]:
                if self._is_counted(files[file]):
                    at = _Condition(files[file].name, line, column, end_line, end_column, name)
                    outcomes[at, True] += true
                    outcomes[at, False] += false
        return dict(outcomes)

    def measure(self) -> Coverage:
        """Read the counts."""
        lines = self.lines()
        outcomes = self._outcomes()
        return Coverage(
            len(lines),
            sum(map(bool, lines.values())),
            len(outcomes),
            sum(map(bool, outcomes.values())),
        )

    def gaps(self) -> list[Gap]:
        """Each outcome that was not seen, with the reason if there is one."""
        sources = {name: path.read_text().splitlines() for name, path in self._sources.items()}
        return [
            Gap(at.file, at.line, at.function, text, outcome, _reason(at.function, text, outcome))
            for (at, outcome), count in sorted(self._outcomes().items())
            if count == 0
            for text in [at.text(sources[at.file])]
        ]

    def write_report(self, folder: Path) -> Path:
        """Write the annotated sources as HTML; the page to open. Nothing else there is touched."""
        sources = [str(path) for path in self._sources.values()]
        self._tool(
            self._cov, "show", *self._objects, f"-instr-profile={self._total}",
            "-format=html", "-show-branches=count", "-show-line-counts",
            f"-output-dir={folder}", *sources,
        )  # fmt: skip
        return folder / "index.html"


def _reason(function: str, condition: str, outcome: bool) -> str:
    for name, text, missing, reason in UNREACHABLE:
        if (name, text) == (function, condition) and missing in (None, outcome):
            return reason
    if not OF_OTHER_KERNELS.isdisjoint({function, (function, condition, outcome)}):
        return "of another kernel: see --kernel"
    return ""
