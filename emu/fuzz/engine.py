"""The engines that make programs up: libFuzzer, AFL++ and our own generator.

Each runs as worker processes; what they find, and what they were at when they died, they leave
in files (``cext/fuzz/reporter.h``), the same for all of them.
"""

from __future__ import annotations

import collections
import contextlib
import enum
import hashlib
import mmap
import os
import re
import shutil
import signal
import struct
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emu.compile.toolchain import libfuzzer_compiler
from emu.errors import EnvironmentProblem
from emu.fuzz.build import Kind, build_mutator
from emu.fuzz.harness import Target, fuzz_environment, unpacked
from emu.host.proc import STATE, cpu_ticks, stat_words

#: Of the longest program (``FUZZ_PROGRAM_BYTES``).
PROGRAM_BYTES = 16 + 128 * 20
#: ``struct fuzz_current``: executions, findings, size, half; the bytes follow, then how much of
#: each half of the history is used, and the halves.
_CURRENT = struct.Struct("<QQII")
_USED = struct.Struct("<II")
_HISTORY_BYTES = 1 << 18
_USED_AT = _CURRENT.size + PROGRAM_BYTES
_HISTORY_AT = _USED_AT + _USED.size
#: So many programs before one are tried with it, at most.
BEFORE_MAX = 4096
_KEPT_LINES = 200
_COVERAGE = re.compile(r"\bcov: (\d+)")
_END_S = 3.0


class EngineName(enum.StrEnum):
    """What ``--engine`` takes."""

    LIBFUZZER = "libfuzzer"
    AFL = "afl"
    GENERATE = "generate"


def default_engine() -> EngineName:
    """The best engine of this machine."""
    return EngineName.LIBFUZZER if libfuzzer_compiler() else EngineName.GENERATE


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker is to do.

    Attributes:
        target: What is attacked.
        seed: Of this worker.
        corpus: Folder of programs: read, and added to by engines with feedback.
        scratch: Folder of the campaign's own; each worker has its files in it.
        folder_of_findings: Where workers leave programs in which something was found.
        folder_of_fatal: Programs that workers died of; they are not run again.
        operations: Operations of a program that is made up; 0 = as it comes.
    """

    target: Target
    seed: int
    corpus: Path
    scratch: Path
    folder_of_findings: Path
    folder_of_fatal: Path
    operations: int = 0


def _kind(engine: EngineName) -> Kind:
    return {
        EngineName.LIBFUZZER: Kind.LIBFUZZER,
        EngineName.AFL: Kind.AFL,
        EngineName.GENERATE: Kind.TOOL,
    }[engine]


def prepare(engine: EngineName, target: Target) -> None:
    """Build all that workers of an engine need.

    Raises:
        EnvironmentProblem: Something cannot be built on this machine.
    """
    target.executable(_kind(engine))
    target.library(_kind(engine))
    if engine is EngineName.AFL:
        if shutil.which("afl-fuzz") is None:
            raise EnvironmentProblem("engine: afl-fuzz is not installed; use another engine")
        build_mutator()


class EngineProcess:
    """One process of an engine, and the files through which it is watched."""

    def __init__(self, engine: EngineName, number: int, order: Order) -> None:
        self.number = number
        self.edges = 0  #: as the engine counts them
        self._lines: collections.deque[str] = collections.deque(maxlen=_KEPT_LINES)
        self._engine = engine
        current = order.scratch / f"current-{number}"
        with current.open("wb") as empty:
            empty.truncate(_HISTORY_AT + 2 * _HISTORY_BYTES)
        with current.open("r+b") as file:
            self._current = mmap.mmap(file.fileno(), 0)
        self._afl_out = order.corpus.parent / ".afl" if engine is EngineName.AFL else None
        environment = fuzz_environment(
            order.target.library(_kind(engine)),
            symbolize=False,  # what it dies of is run again, for a report that somebody reads
            current=str(current),
            findings=str(order.folder_of_findings),
            fatal=str(order.folder_of_fatal),
            **order.target.settings,
            **{"afl_parent" if engine is EngineName.AFL else "parent": str(os.getpid())},
        )
        self._process = subprocess.Popen(
            self._command(order, environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
            errors="replace",
            # Its own group: Ctrl-C is the campaign's business, and AFL has children.
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _command(self, order: Order, environment: dict[str, str]) -> list[str]:
        executable = str(order.target.executable(_kind(self._engine)))
        seed = str(order.seed)
        if self._engine is EngineName.GENERATE:
            files = sorted(str(path) for path in order.corpus.iterdir() if path.is_file())
            return [executable, "generate", seed, "0", "0", str(order.operations), *files[:4096]]
        if self._engine is EngineName.LIBFUZZER:
            return [
                executable,
                str(order.corpus),
                f"-seed={order.seed % 2**31 or 1}",
                f"-max_len={PROGRAM_BYTES}",
                "-len_control=0",
                "-print_funcs=0",  # a symbolizer would have to be started for that
                "-reload=1",
                "-timeout=60",
                "-print_final_stats=0",
                f"-artifact_prefix={order.scratch}/",
            ]
        environment.update(
            AFL_NO_UI="1",
            AFL_SKIP_CPUFREQ="1",
            AFL_NO_AFFINITY="1",
            AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES="1",
            AFL_CUSTOM_MUTATOR_LIBRARY=str(build_mutator()),
            AFL_CUSTOM_MUTATOR_ONLY="1",
            AFL_AUTORESUME="1",
            AFL_DISABLE_TRIM="1",
            # AFL insists on these when a sanitizer is in.
            ASAN_OPTIONS="abort_on_error=1:symbolize=0:detect_leaks=0",
            UBSAN_OPTIONS="halt_on_error=1:abort_on_error=1",
        )
        role = ["-M", f"w{self.number}"] if self.number == 0 else ["-S", f"w{self.number}"]
        out = str(self._afl_out)
        return ["afl-fuzz", "-i", str(order.corpus), "-o", out, *role, "-s", seed, "-m", "none",
                "--", executable]  # fmt: skip

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._lines.append(line.rstrip())
            found = _COVERAGE.search(line)
            if found:
                self.edges = max(self.edges, int(found[1]))

    def _numbers(self) -> tuple[int, int, int, int]:
        numbers: tuple[int, int, int, int] = _CURRENT.unpack(self._current[: _CURRENT.size])
        return numbers

    @property
    def executions(self) -> int:
        """Programs run so far."""
        return self._numbers()[0]

    @property
    def findings(self) -> int:
        """Programs in which something was found, each time."""
        return self._numbers()[1]

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs."""
        return self._process.poll()

    def program_at_work(self) -> bytes:
        """The program that is being run, or that the process died of; empty if none is."""
        size = self._numbers()[2]
        return bytes(self._current[_CURRENT.size : _CURRENT.size + min(size, PROGRAM_BYTES)])

    def programs_before(self, program: bytes) -> list[bytes]:
        """The programs that ran before one in the same process, as far as they are still known."""
        half = self._numbers()[3] & 1
        used = _USED.unpack_from(self._current, _USED_AT)
        known: list[bytes] = []
        for which in (1 - half, half):
            at = _HISTORY_AT + which * _HISTORY_BYTES
            known += unpacked(self._current[at : at + min(used[which], _HISTORY_BYTES)])
        while known and known[-1] != program:
            known.pop()
        return known[-1 - BEFORE_MAX : -1]

    def activity(self) -> tuple[str, float]:
        """State of the process, as ``/proc`` has it, and the seconds of CPU that it has had."""
        try:
            pid = self._process.pid
            return stat_words(pid)[STATE], cpu_ticks(pid) / os.sysconf("SC_CLK_TCK")
        except OSError:
            return "X", 0.0

    def last_words(self) -> list[str]:
        """The last lines that it wrote."""
        self._reader.join(timeout=_END_S)
        return list(self._lines)

    def refresh(self) -> None:
        """Read what the engine publishes in files of its own."""
        if self._afl_out is None:
            return
        with contextlib.suppress(OSError):
            text = (self._afl_out / f"w{self.number}" / "fuzzer_stats").read_text()
            found = re.search(r"edges_found\s*:\s*(\d+)", text)
            self.edges = int(found[1]) if found else self.edges

    def fatal_programs(self) -> list[tuple[Path, bool]]:
        """Programs that AFL++ has kept because its process died of them, or hung (True).

        Those of other engines are at work when their worker ends.
        """
        if self._afl_out is None:
            return []
        own = self._afl_out / f"w{self.number}"
        return [
            (path, name == "hangs")
            for name in ("crashes", "hangs")
            for path in sorted((own / name).glob("id:*"))
        ]

    def kill(self) -> None:
        """End it at once, with all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """Ask it to end, wait a little, then end it."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=_END_S)
        self.kill()
        self._reader.join(timeout=_END_S)
        if self._process.stderr is not None:
            self._process.stderr.close()
        self._current.close()


def collect_afl(corpus: Path, names: Sequence[str]) -> None:
    """Copy what AFL++ kept into the corpus, and forget its own folders."""
    out = corpus.parent / ".afl"
    for name in names:
        for path in sorted((out / name / "queue").glob("id:*")):
            # By content: AFL++ counts from 0 each time, and links what it was given.
            program = path.read_bytes()
            (corpus / hashlib.sha1(program, usedforsecurity=False).hexdigest()).write_bytes(program)
    shutil.rmtree(out, ignore_errors=True)
