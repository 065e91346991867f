"""A fuzzing campaign: workers are started, watched and replaced; findings are cut down and kept."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from emu.compile.records import records_of
from emu.errors import ConfigError, EnvironmentProblem
from emu.fuzz.account import signal_name
from emu.fuzz.coverage import Coverage, CoverageMeter
from emu.fuzz.engine import BEFORE_MAX, EngineName, EngineProcess, Order, collect_afl, prepare
from emu.fuzz.finding import Finding
from emu.fuzz.harness import Execution, Harness, Target, trial_of_end, unpacked
from emu.host.descriptors import OF_BUILD, OF_JOB, need
from emu.host.scratch import scratch
from emu.verdict.points import Points

#: A worker whose program makes no progress for so long is taken to hang.
HANG_S = 10.0
#: One that dies so often in a row without a program to show for it is not started again.
_DEATHS_MAX = 5
_TICK_S = 0.25
_COVERAGE_EVERY_S = 3.0
#: Programs that are made up and counted beside the corpus, for the report of coverage.
_GENERATED = 20_000
#: A hang takes a timeout for each trial: fewer of them.
_HANG_TRIALS = 60
#: One that others run before takes as long as all of them.
_BEHIND_TRIALS = 400
#: At the end of a campaign, one that makes none for so long.
_STUCK_S = 1.0
#: All hangs have this outcome, and this signature.
_HANG = "hang"
_CRASH = "crash"


@dataclass(frozen=True, slots=True)
class CampaignPlan:
    """What a campaign is to do.

    Attributes:
        target: What is attacked.
        engine: Who makes programs up.
        corpus: Folder of programs; engines with feedback add to it.
        findings: Folder for findings.
        seconds: How long; 0 = until somebody ends it.
        jobs: Processes of the engine.
        seed: Of the first worker; the others follow from it.
        findings_max: End after so many different ones; 0 = go on.
    """

    target: Target
    engine: EngineName
    corpus: Path
    findings: Path
    seconds: float
    jobs: int
    seed: int
    findings_max: int = 0


@dataclass(frozen=True, slots=True)
class _Case:
    """What a worker has seen.

    Attributes:
        program: In which it saw it.
        before: The programs before that one in the same process.
        death: What became of the worker, "crash" or "hang"; empty if it goes on.
        said: The worker's own account.
        is_foul: Whether somebody else may have done it to the worker.
    """

    program: bytes
    before: tuple[bytes, ...]
    said: Execution
    death: str = ""
    is_foul: bool = False


@dataclass(slots=True)
class CampaignProgress:
    """Where a campaign stands."""

    seconds: float = 0.0
    executions: int = 0
    per_second: float = 0.0
    edges: int = 0
    edge_age_s: float = 0.0  #: since the last new edge
    corpus: int = 0  #: programs
    coverage: Coverage | None = None
    findings: list[tuple[Finding, Path]] = field(default_factory=list)
    cut: set[str] = field(default_factory=set)  #: signatures of those that are as short as can be
    fatal: list[str] = field(default_factory=list)  #: crashes and hangs that are looked at now
    repeats: int = 0  #: programs that showed what is known already
    killed: int = 0  #: workers that somebody else ended or stopped
    deaths: int = 0  #: workers that died or hung and were replaced
    workers: int = 0
    unwritten: str | None = None  #: the first finding whose file could not be written, and why
    interrupted: bool = False  #: somebody asked it to end before its time
    points: Points[tuple[int, int, int, int]] = field(  #: executions, edges, programs, findings
        default_factory=lambda: Points(0.25)
    )

    def note(self) -> None:
        """Keep where it stands, if there is room for it now."""
        if self.points.is_due(self.seconds):
            row = (self.executions, self.edges, self.corpus, self.found)
            self.points.add(self.seconds, row)

    @property
    def found(self) -> int:
        """How many different findings there are.

        A worker that died or hung is one as soon as that is seen. What it died of may be known
        already, which is not told before its program was run alone: so a crash counts as another
        one only while there is none, and a hang likewise.
        """
        known = {finding.trial.outcome for finding, _ in self.findings}
        return len(self.findings) + len(set(self.fatal) - known)


class Campaign:
    """One campaign; a context manager, so that no process and no file of it is left.

    Raises:
        EnvironmentProblem: An engine cannot be built, or cannot run.
        ConfigError: The provider's library is of no use.
    """

    def __init__(self, plan: CampaignPlan) -> None:
        self.plan = plan
        self.progress = CampaignProgress()
        self._stopped = False
        self._workers: list[EngineProcess] = []
        self._harness = Harness(plan.target)
        self._signatures: set[str] = set()
        self._seen: set[str] = set()
        self._vague: dict[str, int] = {}  #: findings that did not show again, by signature
        self._started = 0
        self._silent_deaths = 0
        self._spent = 0  #: executions of workers that are gone
        self._marks: dict[int, tuple[int, float, float]] = {}

    def __enter__(self) -> Self:
        need(OF_BUILD + OF_JOB * self.plan.jobs, f"a campaign of {self.plan.jobs} worker(s)")
        self._harness.check()
        prepare(self.plan.engine, self.plan.target)
        with contextlib.ExitStack() as undo:
            self._scratch = undo.enter_context(scratch())
            self._prepare()
            self._undo = undo.pop_all()
        return self

    def _prepare(self) -> None:
        self._raw = self._scratch / "raw"
        self._raw.mkdir()
        self._fatal = self._scratch / "fatal"
        self._fatal.mkdir()
        # What was found counts at once; to cut it down takes its time.
        self._judges = concurrent.futures.ThreadPoolExecutor(1)
        self._cutters = concurrent.futures.ThreadPoolExecutor(1)
        self._judging: list[concurrent.futures.Future[None]] = []
        self._meter: CoverageMeter | None = None
        with contextlib.suppress(EnvironmentProblem):  # then coverage is not shown
            self._meter = CoverageMeter(self.plan.target, self._scratch)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._end_workers()
            if kind is not None:  # nobody waits for what is still being cut down
                self._harness.kill()
            self._judges.shutdown(wait=True, cancel_futures=True)
            self._cutters.shutdown(wait=True, cancel_futures=True)
            if self.plan.engine is EngineName.AFL:
                collect_afl(self.plan.corpus, [f"w{number}" for number in range(self._started)])
        finally:
            self._undo.close()

    def stop(self) -> None:
        """Let the campaign end in order; from a signal handler, too."""
        self._stopped = True

    @property
    def is_stopped(self) -> bool:
        """Whether somebody has asked it to end."""
        return self._stopped

    # ---- workers --------------------------------------------------------------------------

    def _start_worker(self) -> None:
        if self.plan.engine is EngineName.AFL and not any(self.plan.corpus.iterdir()):
            # AFL++ does not start from nothing; an empty program is the nearest to it.
            (self.plan.corpus / "empty").write_bytes(b"\0")
        order = Order(
            target=self.plan.target,
            seed=self.plan.seed + self._started,
            corpus=self.plan.corpus,
            scratch=self._scratch,
            folder_of_findings=self._raw,
            folder_of_fatal=self._fatal,
        )
        self._workers.append(EngineProcess(self.plan.engine, self._started, order))
        self._started += 1

    def _end_workers(self) -> None:
        for worker in self._workers:
            self._spent += worker.executions
            worker.stop()
        self._workers.clear()

    def _replace(self, worker: EngineProcess) -> None:
        self._spent += worker.executions
        self.progress.edges = max(self.progress.edges, worker.edges)
        worker.stop()
        self._workers.remove(worker)
        self._start_worker()

    def _bury(self, worker: EngineProcess, *, hung: bool = False) -> None:
        """A worker has ended: keep what it died of, start another one."""
        program = worker.program_at_work()
        self.progress.deaths += 1
        if program:
            self._silent_deaths = 0
            (self._fatal / hashlib.sha256(program).hexdigest()).write_bytes(program)
            self._judge(self._death_of(worker, program, hung=hung))
        else:
            self._silent_deaths += 1
            if self._silent_deaths >= _DEATHS_MAX:
                words = [line for line in worker.last_words() if line.strip()] or ["no message"]
                raise EnvironmentProblem(
                    f"engine: {self.plan.engine} ended with code {worker.exit_code} "
                    f"{_DEATHS_MAX} times in a row: {words[-1]}"
                )
        self._replace(worker)

    def _death_of(self, worker: EngineProcess, program: bytes, *, hung: bool) -> _Case:
        code = worker.exit_code
        how = signal_name(-code) if code is not None and code < 0 else f"exit-{code}"
        said = Execution(
            outcome=_HANG if hung else _CRASH,
            signature=_HANG if hung else f"crash:{how}",
            what="the worker did not come back" if hung else f"the worker ended: {how}",
            expected="the operation ends",
            actual="it was cut off" if hung else "it ended the process",
        )
        before = tuple(worker.programs_before(program))
        return _Case(program, before, said, said.outcome, not hung and code == -signal.SIGKILL)

    def _is_hung(self, worker: EngineProcess, now: float) -> bool:
        """Whether its program goes on for ever, or waits for ever.

        One that is stopped, or that gets no CPU since others have it, does neither.
        """
        executions, since, spent = self._marks.get(worker.number, (-1, now, 0.0))
        state, cpu_s = worker.activity()
        if worker.executions != executions or not worker.program_at_work() or state == "T":
            self._marks[worker.number] = (worker.executions, now, cpu_s)
            return False
        return now - since > HANG_S and (state in "SD" or cpu_s - spent > HANG_S / 2)

    def _watch(self, now: float) -> None:
        for worker in list(self._workers):
            worker.refresh()
            if worker.exit_code is not None:
                self._bury(worker)
            elif self._is_hung(worker, now):
                worker.kill()
                self._bury(worker, hung=True)

    def _judge_stuck(self, now: float) -> None:
        """The time is up: what workers stand still at may hang, and is tried once more."""
        for worker in self._workers:
            executions, since, _ = self._marks.get(worker.number, (-1, now, 0.0))
            program = worker.program_at_work()
            if program and worker.executions == executions and now - since > _STUCK_S:
                case = self._death_of(worker, program, hung=True)
                self._judge(dataclasses.replace(case, is_foul=True))

    # ---- findings -------------------------------------------------------------------------

    def _collect_fatal(self) -> None:
        for worker in self._workers:
            for path, hung in worker.fatal_programs():
                program = path.read_bytes()
                # AFL++ takes for a hang what was slow once: only what shows again is one.
                case = dataclasses.replace(self._death_of(worker, program, hung=hung), is_foul=hung)
                self._judge(case)

    def _collect(self) -> None:
        self._collect_fatal()
        for path in sorted(self._raw.glob("*.program")):
            before, said = path.with_suffix(".before"), path.with_suffix(".said")
            (record,) = records_of(said.read_text(errors="replace"))
            programs = tuple(unpacked(before.read_bytes())[-BEFORE_MAX:])
            self._judge(_Case(path.read_bytes(), programs, trial_of_end(record)))
            for done in (path, before, said):
                done.unlink()

    def _judge(self, case: _Case) -> None:
        digest = hashlib.sha256(case.program).hexdigest()
        if digest in self._seen:
            return
        self._seen.add(digest)
        if case.death and not case.is_foul:
            self.progress.fatal.append(case.death)
        self._judging.append(self._judges.submit(self._confirm, case))

    def _confirm(self, case: _Case) -> None:
        """Run a program anew; what it shows is a finding from now on, if it is a new one.

        Alone, then behind those that ran before it. What a worker saw was there even if it does
        not show again: it is kept as it was seen.
        """
        try:
            known = self._signatures
            if 0 < self.plan.findings_max <= len(self.progress.findings):
                return  # nobody asked for more, and to cut each down would take its time
            if case.death == _HANG and _HANG in known:  # it takes a timeout to see that again
                self.progress.repeats += 1
                return
            before: tuple[bytes, ...] = ()
            trial = self._harness.run(case.program)
            if trial.is_clean and not case.is_foul and case.said.signature in known:
                self.progress.repeats += 1
                return
            if trial.is_clean and case.before:
                before = case.before
                trial = self._harness.run(case.program, before)
            is_shown = not trial.is_clean
            if not is_shown and case.is_foul:
                self.progress.killed += 1
                return
            if not is_shown:
                trial, before = case.said, case.before
            # One that shows again takes the place of one that did not.
            if trial.signature in known and not (is_shown and trial.signature in self._vague):
                self.progress.repeats += 1
            else:
                self._keep(case.program, before, trial, is_shown=is_shown)
        finally:
            if case.death and not case.is_foul:
                self.progress.fatal.remove(case.death)

    def _keep(
        self, program: bytes, before: tuple[bytes, ...], trial: Execution, *, is_shown: bool
    ) -> None:
        """Write a finding as it was found, and have it cut down."""
        self._signatures.add(trial.signature)
        finding = Finding(
            program,
            self.plan.target,
            trial,
            before,
            is_shown,
            {
                "engine": str(self.plan.engine),
                "seed": self.plan.seed,
                "seconds": round(self.progress.seconds, 2),
                "executions": self.progress.executions,
            },
        )
        path = self._write(finding)
        if trial.signature in self._vague:
            at = self._vague.pop(trial.signature)
            self.progress.findings[at][1].unlink(missing_ok=True)
            self.progress.findings[at] = (finding, path)
            self.progress.cut.discard(trial.signature)
        else:
            at = len(self.progress.findings)
            self.progress.findings.append((finding, path))
        if is_shown:
            self._judging.append(self._cutters.submit(self._cut_down, at))
        else:
            self._vague[trial.signature] = at
            self.progress.cut.add(trial.signature)

    def _write(self, finding: Finding) -> Path:
        """A finding stands, be there room for its file or not."""
        try:
            return finding.write(self.plan.findings)
        except EnvironmentProblem as error:
            self.progress.unwritten = self.progress.unwritten or str(error)
            return finding.path_in(self.plan.findings)

    def _cut_down(self, at: int) -> None:
        """Put the shortest program that shows the same in a finding's place."""
        finding, path = self.progress.findings[at]
        is_hang = finding.trial.outcome == _HANG
        trials = {"trials": _HANG_TRIALS, "timeout_s": 1} if is_hang else {}
        if finding.before:
            trials = {"trials": _BEHIND_TRIALS, **trials}
        short, before, trial = self._harness.minimise(finding.program, finding.before, **trials)
        if trial.signature != finding.trial.signature:  # now it shows, now it does not
            return
        cut = dataclasses.replace(finding, program=short, before=before, trial=trial)
        self.progress.findings[at] = (cut, self._write(cut))
        self.progress.cut.add(trial.signature)
        if self.progress.findings[at][1] != path:
            path.unlink(missing_ok=True)

    def _finish_judging(self) -> None:
        """Raise what went wrong with a finding; forget those that are done."""
        for future in [future for future in self._judging if future.done()]:
            self._judging.remove(future)
            future.result()

    # ---- the campaign ---------------------------------------------------------------------

    def _measure(self) -> None:
        if self._meter is None:
            return
        # What was found was run, too, and its program is in no corpus.
        found = self._meter.add_programs([finding.program for finding, _ in self.progress.findings])
        if self.plan.engine is EngineName.GENERATE and not found:
            return
        if self._meter.add(self.plan.corpus) or found:
            self.progress.coverage = self._meter.measure()

    def _update(self, began: float) -> None:
        progress, now = self.progress, time.monotonic()
        executions = self._spent + sum(worker.executions for worker in self._workers)
        seconds = now - began
        passed = seconds - progress.seconds
        if passed > 0:
            progress.per_second = (executions - progress.executions) / passed
        progress.executions, progress.seconds = executions, seconds
        edges = max([progress.edges, *(worker.edges for worker in self._workers)])
        if edges > progress.edges:
            progress.edges, self._edge_at = edges, now
        progress.edge_age_s = now - self._edge_at
        progress.corpus = sum(1 for path in self.plan.corpus.iterdir() if path.is_file())
        progress.workers = len(self._workers)
        progress.note()

    def _is_over(self) -> bool:
        plan, progress = self.plan, self.progress
        return (
            self._stopped
            or (plan.seconds > 0 and progress.seconds >= plan.seconds)
            or (0 < plan.findings_max <= progress.found)
        )

    def run(self, watch: Callable[[CampaignProgress], None]) -> CampaignProgress:
        """Fuzz until the time is up; ``watch`` is called several times a second.

        Raises:
            EnvironmentProblem: Workers end again and again without a program to show for it.
        """
        began = self._edge_at = time.monotonic()
        measured = began
        for _ in range(self.plan.jobs):
            if self._stopped:  # many workers take a while to start
                break
            self._start_worker()
        while not self._is_over():
            time.sleep(_TICK_S)  # nothing waits for us: counters are sampled
            now = time.monotonic()
            self._watch(now)
            self._collect()
            self._finish_judging()
            self._update(began)
            if now - measured > _COVERAGE_EVERY_S:
                self._measure()
                measured = time.monotonic()
            watch(self.progress)
        self._collect()
        self._judge_stuck(time.monotonic())
        self._end_workers()
        self._collect()
        while self._judging:  # one that is confirmed is cut down next
            concurrent.futures.wait(self._judging)
            self._finish_judging()
        self._measure()
        watch(self.progress)
        return self.progress

    def open_meter(self) -> CoverageMeter:
        """What measures the coverage; asked for early, it says early why there is none.

        Raises:
            EnvironmentProblem: It cannot be measured on this machine.
        """
        if self._meter is None:
            self._meter = CoverageMeter(self.plan.target, self._scratch)
        return self._meter

    def meter(self) -> CoverageMeter:
        """The coverage of this campaign, for a report.

        Raises:
            EnvironmentProblem: It cannot be measured on this machine.
        """
        meter = self.open_meter()
        meter.add(self.plan.corpus)
        # What a compiler makes branchless no engine takes for something new, and none keeps.
        meter.add_generated(self.plan.seed, _GENERATED)
        return meter


def fresh_seed() -> int:
    """A seed for whoever gave none."""
    return secrets.randbits(31)


def folder_for(field_name: str, folder: Path) -> Path:
    """A folder that is there and can be written; it is made.

    Raises:
        ConfigError: It cannot be made or written.
    """
    with _writable(field_name, folder):
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.write_bytes(b"")
        probe.unlink()
    return folder


def findings_folder(given: Path | None, default: Path) -> Path:
    """The folder for findings; it is made.

    Raises:
        ConfigError: It cannot be made or written.
    """
    return folder_for("findings", given or default)


@contextlib.contextmanager
def _writable(field_name: str, folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"{field_name}: {str(folder)!r} cannot be written ({error.strerror}); "
            "name a writable folder"
        ) from None
