"""Talking to a built harness: one program in, what came of it out."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import struct
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from emu.bugs import Bug
from emu.compile.provider_file import check_provider, is_source
from emu.compile.records import Record, records_of
from emu.contract import LEVELS, SEED
from emu.errors import ConfigError, EnvironmentProblem
from emu.fuzz.account import Account, account_of_end, account_of_finding
from emu.fuzz.build import Kind, Recipe, build, build_provider
from emu.fuzz.program import MEANINGS, Operation, Shape, answer_text, entries_of
from emu.host.scratch import scratch

#: Of the byte format of programs (``FUZZ_CODEC`` in ``cext/fuzz/program.h``).
CODEC = 1
#: How many lines of a sanitizer's report are kept.
_REPORT_LINES = 60
MINIMISE_TRIALS = 6000
_TRIAL_TIMEOUT_S = 2
_SIZE = struct.Struct("<I")
#: For opening a library: a constructor of it may not return.
_LOAD_S = 10.0


@dataclass(frozen=True, slots=True)
class Target:
    """What is attacked.

    Attributes:
        bug: A seeded bug in our own provider, or None.
        provider: A provider of somebody else's: a shared library, or the C source of one.
        sanitize: Whether the harness (and a provider given as source) is sanitized.
        kernel: The level that it plays in programs that are made up; each program names its own.
    """

    bug: Bug | None = None
    provider: Path | None = None
    sanitize: bool = True
    kernel: str = SEED

    def executable(self, kind: Kind) -> Path:
        """Build the harness of a kind for this target."""
        return build(Recipe(kind, self.sanitize, self.bug))

    def library(self, kind: Kind) -> Path | None:
        """The provider's shared library as a harness of a kind takes it; None for ours.

        Raises:
            ConfigError: There is no such file.
            EnvironmentProblem: It is a source that does not compile.
        """
        if self.provider is None:
            return None
        path = check_provider(self.provider)
        if is_source(path):
            return build_provider(path, kind, sanitize=self.sanitize)
        return path.resolve()

    @property
    def settings(self) -> dict[str, str]:
        """What of it the harness is told when it begins."""
        return {"kernel": str(LEVELS.index(self.kernel))} if self.kernel != SEED else {}

    @property
    def label(self) -> str:
        """The target in a few words."""
        kernel = f" as kernel {self.kernel}" if self.kernel != SEED else ""
        if self.provider is not None:
            return f"provider {self.provider}{kernel}"
        with_bug = f" with the seeded bug {self.bug.name}" if self.bug else ""
        return f"our provider{with_bug}{kernel}"

    @property
    def slug(self) -> str:
        """The target as a file name: another provider has another one, wherever it lies."""
        kernel = f"-{self.kernel}" if self.kernel != SEED else ""
        if self.provider is None:
            return "ours" + (f"-{self.bug.name}" if self.bug else "") + kernel
        stem = re.sub(r"[^A-Za-z0-9._-]+", "-", self.provider.stem)[:40]
        place = os.fsencode(self.provider.resolve().with_suffix(""))
        return f"{stem}-{hashlib.sha256(place).hexdigest()[:8]}{kernel}"


@dataclass(frozen=True, slots=True)
class OperationRun:
    """One operation of a program that was run."""

    number: int
    operation: str
    expected: str  #: what the judge says it must answer, and what its entries must earn
    actual: str


@dataclass(frozen=True, slots=True)
class Execution:
    """What came of running one program.

    Attributes:
        outcome: ``clean``, ``finding``, ``crash`` or ``hang``.
        signature: The same mistake has the same signature, as a rule; empty if clean.
        step: The operation after which it showed.
        report: What the process said on stderr: a sanitizer's report, an assertion.
    """

    outcome: str
    shape: str = ""
    steps: tuple[OperationRun, ...] = ()
    signature: str = ""
    step: int = 0
    meaning: str = ""
    what: str = ""
    expected: str = ""
    actual: str = ""
    report: str = ""
    operations: int = 0

    @classmethod
    def of(cls, outcome: str, account: Account, step: int = 0) -> Self:
        """What somebody has to say of a program, without its operations."""
        return cls(
            outcome=outcome,
            signature=account.signature,
            step=step,
            meaning=MEANINGS.get(account.kind, account.what),
            what=account.what,
            expected=account.expected,
            actual=account.actual,
        )

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found."""
        return self.outcome == "clean"


@dataclass(slots=True)
class Harness:
    """The tool build of a target."""

    target: Target
    kind: Kind = Kind.TOOL
    _path: Path | None = field(default=None, repr=False)
    _library: Path | None = field(default=None, repr=False)
    _running: set[subprocess.Popen[str]] = field(default_factory=set, repr=False)

    def prepare(self) -> Path:
        """Build what is missing; the executable."""
        if self._path is None:
            self._library = self.target.library(self.kind)
            self._path = self.target.executable(self.kind)
        return self._path

    def environment(self, *, symbolize: bool = True, **more: str) -> dict[str, str]:
        """The environment in which any engine of this target runs."""
        self.prepare()
        more |= self.target.settings
        return fuzz_environment(self._library, symbolize=symbolize, **more)

    def check(self) -> None:
        """Load the provider: is its library of any use?

        Raises:
            ConfigError: It is not; says why.
        """
        try:
            process = self.call(["execute"], timeout_s=_LOAD_S)
        except subprocess.TimeoutExpired:
            raise self._refused("it hangs when it is loaded") from None
        if process.returncode == 2:
            lines = process.stderr.strip().splitlines() or ["no message"]
            raise ConfigError(lines[-1])
        if process.returncode != 0 or not process.stdout:
            raise self._refused("it ends the process that loads it")

    def _refused(self, why: str) -> ConfigError:
        return ConfigError.of("provider", str(self.target.provider), why)

    def call(
        self,
        arguments: Sequence[str],
        *,
        symbolize: bool = True,
        timeout_s: float | None = None,
        **environment: str,
    ) -> subprocess.CompletedProcess[str]:
        """Call the executable and wait for it."""
        command = [str(self.prepare()), *arguments]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=self.environment(symbolize=symbolize, parent=str(os.getpid()), **environment),
        )
        with process:
            self._running.add(process)
            try:
                output, words = process.communicate(timeout=timeout_s)
            except BaseException:
                process.kill()
                raise
            finally:
                self._running.discard(process)
        return subprocess.CompletedProcess(command, process.returncode, output, words)

    def kill(self) -> None:
        """End what is being called now, in whatever thread."""
        for process in list(self._running):
            process.kill()

    def _records(
        self, arguments: Sequence[str], *, symbolize: bool = True
    ) -> tuple[list[Record], str]:
        process = self.call(arguments, symbolize=symbolize)
        if process.returncode not in (0, 1):
            lines = process.stderr.strip().splitlines() or [f"exit code {process.returncode}"]
            raise EnvironmentProblem(f"harness: {lines[-1]}")
        return records_of(process.stdout), process.stderr

    def run(self, program: bytes, before: Sequence[bytes] = ()) -> Execution:
        """Run a program step by step, in a process of its own.

        Args:
            program: Any bytes.
            before: Programs that run first, in the same process; the oldest first.
        """
        with _program_file(program, before) as paths:
            return _trial_of(*self._records(["run", *paths]))

    def states(self, program: bytes) -> list[Record]:
        """Run a program; its shape, each step with the whole state after it, and how it ended."""
        with _program_file(program) as paths:
            return self._records(["state", *paths])[0]

    def minimise(
        self,
        program: bytes,
        before: Sequence[bytes] = (),
        *,
        trials: int = MINIMISE_TRIALS,
        timeout_s: int = _TRIAL_TIMEOUT_S,
    ) -> tuple[bytes, tuple[bytes, ...], Execution]:
        """Find the shortest program that does the same.

        A program in which nothing is found comes back as it is, in its canonical form.

        Returns:
            The program, those before it that it still needs, and its trial.
        """
        with _program_file(program, before) as paths:
            out = Path(paths[0]).with_suffix(".short")
            arguments = ["minimise", paths[0], str(out), str(trials), str(timeout_s), *paths[1:]]
            # Nobody reads the reports of its trials; to name their lines takes most of the time.
            records, _ = self._records(arguments, symbolize=False)
            short = out.read_bytes()
            left = tuple(unpacked(Path(paths[1]).read_bytes())) if before else ()
        if records[-1].values["outcome"] == "clean":
            return short, left, _trial_of(records, "")
        return short, left, self.run(short, left)


def packed(programs: Sequence[bytes]) -> bytes:
    """Programs in a row as the harness keeps them: each with its size before it."""
    return b"".join(_SIZE.pack(len(program)) + program for program in programs)


def unpacked(content: bytes) -> list[bytes]:
    """The programs again; what is cut off is left out."""
    programs, at = [], 0
    while at + _SIZE.size <= len(content):
        (size,) = _SIZE.unpack_from(content, at)
        at += _SIZE.size
        if at + size > len(content):
            break
        programs.append(content[at : at + size])
        at += size
    return programs


@contextlib.contextmanager
def _program_file(program: bytes, before: Sequence[bytes] = ()) -> Iterator[list[str]]:
    """Have a program in a file of its own, and those before it in another if there are any."""
    with scratch() as folder:
        path = folder / "a.program"
        path.write_bytes(program)
        paths = [str(path)]
        if before:
            (folder / "before").write_bytes(packed(before))
            paths.append(str(folder / "before"))
        yield paths


def fuzz_environment(
    library: Path | None, *, symbolize: bool = True, **more: str
) -> dict[str, str]:
    """Settings of the sanitizers and of the harness (``cext/fuzz/reporter.h``)."""
    names = f"symbolize={int(symbolize)}"
    environment = {
        **os.environ,
        # Leaks are of no interest: nothing is allocated but once.
        "ASAN_OPTIONS": f"detect_leaks=0:abort_on_error=0:handle_abort=0:{names}",
        "UBSAN_OPTIONS": f"print_stacktrace={int(symbolize)}:halt_on_error=1:{names}",
    }
    if library is not None:
        environment["ZCRX_FUZZ_PROVIDER"] = str(library)
    for name, value in more.items():
        environment[f"ZCRX_FUZZ_{name.upper()}"] = value
    return environment


def _step(record: Record, shape: Shape, said: Execution) -> OperationRun:
    operation = Operation.of(record)
    where = f"queue {operation.queue}: " if shape.queues > 1 else ""
    if "answers" in record.values:
        expected, actual = (
            answer_text(record.numbers(f"answers{of}"), entries_of(record.numbers(f"entries{of}")))
            for of in ("_due", "")
        )
    else:  # it did not end
        expected, actual = said.expected, said.actual
    return OperationRun(record.number("step"), where + operation.text, expected, actual)


def _without_shadow(lines: list[str]) -> list[str]:
    """Leave out of a sanitizer's report what is about its own memory."""
    for number, line in enumerate(lines):
        if line.startswith("SUMMARY:"):
            return lines[: number + 1]
    return lines


def trial_of_end(end: Record) -> Execution:
    """What the last record of a program's says."""
    outcome = end.values["outcome"]
    if outcome == "clean":
        return Execution(outcome)
    account = account_of_finding(end) if outcome == "finding" else account_of_end(end)
    return Execution.of(outcome, account, end.number("step"))


def _trial_of(records: Sequence[Record], report: str) -> Execution:
    said = trial_of_end(records[-1])
    of_shape = [record for record in records if record.event == "shape"]
    shape = Shape.of(of_shape[0]) if of_shape else None
    lines = _without_shadow(report.strip().splitlines())
    return replace(
        said,
        shape=shape.text if shape else "",
        operations=of_shape[0].number("operations") if of_shape else 0,
        steps=tuple(
            _step(record, shape, said) for record in records if shape and record.event == "step"
        ),
        report="\n".join(lines[:_REPORT_LINES]),
    )
