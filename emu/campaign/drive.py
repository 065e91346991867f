"""A campaign from its first piece to its last: what is begun when, and what becomes of a result."""

from __future__ import annotations

import collections
import dataclasses
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from emu.campaign.artifacts import Artifacts
from emu.campaign.corpora import Corpora
from emu.campaign.plan import Piece, Plan
from emu.campaign.pool import Pool
from emu.campaign.result import Result, Sighting, State
from emu.campaign.store import Store, finding_folder
from emu.errors import EnvironmentProblem

_TICK_S = 0.2
#: Rates are of so many seconds.
_WINDOW_S = 30.0
#: How often it is noted that it is worked at.
_NOTE_S = 2.0
#: What makes a finding repeatable without the campaign.
_PIECE = "piece.json"


@dataclass(slots=True)
class Progress:
    """Where a campaign stands.

    Attributes:
        total: Pieces of the plan.
        counts: Of each state.
        running: Pieces that somebody has.
        workers: Those that may have pieces.
        findings: Different ones.
        programs: Of all corpora.
        edges: Of the corpus that reaches most.
        seconds: Since this call began.
        done_now: Pieces that were done since.
        rate: Pieces a second, lately.
        left_s: Until all is done, if it goes on so; None: nobody knows.
    """

    total: int
    counts: dict[State, int]
    running: int = 0
    workers: int = 0
    findings: int = 0
    programs: int = 0
    edges: int = 0
    seconds: float = 0.0
    done_now: int = 0
    rate: float = 0.0
    left_s: float | None = None

    @property
    def done(self) -> int:
        """Pieces that have passed or found something."""
        return self.counts[State.PASSED] + self.counts[State.FOUND]


@dataclass(slots=True)
class Ended:
    """How a call of a campaign ended.

    Attributes:
        why: ``done``, ``time``, ``findings``, ``interrupted`` or ``lost``.
        problem: Of ``lost``: what is the matter, in a line.
        unwritten: The first file that could not be written, and why; None: all were.
    """

    why: str
    problem: str = ""
    unwritten: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """When a call ends before all is done.

    Attributes:
        seconds: After so many; 0 = never.
        findings: After so many different ones; 0 = never.
    """

    seconds: float = 0.0
    findings: int = 0


@dataclass(slots=True)
class Drive:
    """Has the pieces of a plan done that were not done, and notes what came of them.

    Args:
        plan: The plan.
        store: Where it is noted; it knows the plan.
        artifacts: Where files are put.
        tell: Told of findings and of pieces that could not be done, in a line.
    """

    plan: Plan
    store: Store
    artifacts: Artifacts
    tell: Callable[[str], None] = lambda _line: None
    _corpora: Corpora = field(init=False)
    _running: set[str] = field(default_factory=set)
    _ends: collections.deque[float] = field(default_factory=collections.deque)
    _unwritten: str | None = None
    _began: float = 0.0
    _noted_s: float = 0.0

    def __post_init__(self) -> None:
        self._corpora = Corpora(self.store)

    def run(
        self,
        pool: Pool,
        limits: Limits,
        is_stopped: Callable[[], bool] = lambda: False,
        look: Callable[[Progress], None] = lambda _progress: None,
    ) -> Ended:
        """Go on until all is done, a limit is reached, or somebody wants it to end.

        Args:
            pool: Who does pieces.
            limits: When to end before.
            is_stopped: Whether somebody wants that.
            look: Told several times a second where it stands.

        Raises:
            EnvironmentProblem: The store cannot be written.
        """
        began, self._began = time.monotonic(), time.time()
        waiting = collections.deque(self.store.undone())
        self.store.forget_failures()
        progress = Progress(len(self.plan.pieces), self.store.counts())
        progress.findings = self.store.finding_count()
        self._count_programs(progress)
        ended = self._loop(pool, limits, is_stopped, look, waiting, progress, began)
        for target in sorted(self._corpora.changed):
            self._publish(target)
        ended.unwritten = self._unwritten
        self.store.note_call(self._began, time.monotonic() - began, progress.workers)
        return ended

    def _loop(
        self,
        pool: Pool,
        limits: Limits,
        is_stopped: Callable[[], bool],
        look: Callable[[Progress], None],
        waiting: collections.deque[str],
        progress: Progress,
        began: float,
    ) -> Ended:
        while True:
            progress.seconds = time.monotonic() - began
            is_last = not waiting and not self._running
            for merge, programs in self._corpora.due(is_last=is_last):
                self._running.add(merge.name)
                pool.submit(merge, programs)
            if (why := self._why_over(limits, is_stopped(), waiting, progress)) is not None:
                look(progress)
                return Ended(why)
            while waiting and len(self._running) < pool.room:
                piece = self.plan.pieces[waiting.popleft()]
                self._running.add(piece.name)
                pool.submit(piece, self._corpora.programs_for(piece))
            try:
                results = pool.results(_TICK_S)
            except EnvironmentProblem as error:
                look(progress)
                return Ended("lost", str(error))
            for result in results:
                self._note(result, progress)
            self._update(pool, progress)
            look(progress)

    def _why_over(
        self,
        limits: Limits,
        is_stopped: bool,
        waiting: collections.deque[str],
        progress: Progress,
    ) -> str | None:
        if 0 < limits.findings <= progress.findings:
            return "findings"
        if not waiting and not self._running:
            return "done"
        if is_stopped:
            return "interrupted"
        return "time" if 0 < limits.seconds <= progress.seconds else None

    # ---- a result -------------------------------------------------------------------------

    def _note(self, result: Result, progress: Progress) -> None:
        self._running.discard(result.piece)
        if self._corpora.is_merge(result.piece):
            self._note_merge(result, progress)
            return
        piece = self.plan.pieces[result.piece]
        if self.store.is_done(piece.name):
            return
        seen = self._seen(piece, result)
        self.store.add(result, seen, piece.target)
        progress.programs += self._corpora.take(piece, result)
        progress.counts[State.WAITING] -= 1
        progress.counts[result.state] += 1
        progress.done_now += 1
        progress.findings = self.store.finding_count() if seen else progress.findings
        progress.edges = max(progress.edges, int(result.figures.get("edges", 0)))
        self._ends.append(time.monotonic())
        if result.state is State.FAILED:
            self.tell(f"piece {piece.name} could not be done: {result.why} ({piece.again})")

    def _note_merge(self, result: Result, progress: Progress) -> None:
        merge, fewer = self._corpora.merged(result)
        progress.programs -= fewer
        if result.state is State.FAILED:
            self.tell(f"corpus {merge.last.target}: it could not be merged: {result.why}")
        elif result.sightings:  # by a program that was no finding before: it is out of the corpus
            self.store.add_sightings(merge.last.name, self._seen(merge.last, result))
            progress.counts = self.store.counts()
            progress.findings = self.store.finding_count()

    def _seen(self, piece: Piece, result: Result) -> dict[str, Sighting]:
        """Findings by their signature in the store; of new ones the files are kept."""
        seen: dict[str, Sighting] = {}
        for sighting in result.sightings:
            signature = ": ".join(
                word for word in (piece.command, piece.subject, sighting.signature) if word
            )
            is_new = not self.store.is_known(signature)
            seen[signature] = self._kept(piece, signature, sighting) if is_new else sighting
            if is_new:
                self.tell(f"finding: {signature}: {sighting.what}")
                self.tell(f"    again: {piece.again}")
        return seen

    def _kept(self, piece: Piece, signature: str, sighting: Sighting) -> Sighting:
        """Put a finding's files where they are kept; a finding stands, be there room or not."""
        files = {
            **{item.place: self.plan.files[item.sha256] for item in piece.inputs},
            **sighting.files,
            _PIECE: json.dumps(
                {"piece": piece.name, "again": piece.again, "signature": signature,
                 "what": sighting.what, "left_out": sighting.left_out},
                indent=2,
            ).encode(),
        }  # fmt: skip
        try:
            self.artifacts.keep_finding(finding_folder(signature), files)
        except EnvironmentProblem as error:
            self._unwritten = self._unwritten or str(error)
            return dataclasses.replace(sighting, replay="")
        return sighting

    # ---- corpora --------------------------------------------------------------------------

    def _publish(self, target: str) -> None:
        try:
            self.artifacts.keep_corpus(target, self._corpora.of(target))
        except EnvironmentProblem as error:
            self._unwritten = self._unwritten or str(error)

    def _count_programs(self, progress: Progress) -> None:
        targets = self.store.targets()
        progress.programs = sum(item["programs"] for item in targets)
        progress.edges = max((item["edges"] for item in targets), default=0)

    # ---- where it stands ------------------------------------------------------------------

    def _update(self, pool: Pool, progress: Progress) -> None:
        now = time.monotonic()
        while self._ends and now - self._ends[0] > _WINDOW_S:
            self._ends.popleft()
        window = min(max(progress.seconds, 1.0), _WINDOW_S)
        progress.rate = len(self._ends) / window
        progress.running, progress.workers = len(self._running), pool.workers
        left = progress.counts[State.WAITING]
        progress.left_s = left / progress.rate if progress.rate else None
        if progress.seconds - self._noted_s > _NOTE_S:
            self._noted_s = progress.seconds
            self.store.note_call(self._began, progress.seconds, progress.workers)
