"""The judgement of a finished run: reconciled, audited, explained, and written down.

It is made when every process has ended, from what they left in memory and from
what the control process noticed meanwhile (:class:`FinishedRun`).
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from emu.config import RunConfig
from emu.core import CounterGroup, JournalActor, Observer, Places, Queue, Reconciler
from emu.errors import EmuError, EnvironmentProblem
from emu.runtime.channel import printable
from emu.runtime.process_faults import ProcessFaults
from emu.runtime.processes import Worker
from emu.runtime.setup_faults import SetupFaults
from emu.spec.state import Verdict
from emu.verdict.audit import Evidence, OwnMistakes, ProvenMistakes, audit, by_its_word
from emu.verdict.explain import Case, Death, explain, why_mismatch
from emu.verdict.flight import FlightLog
from emu.verdict.progress import Movement, QueueMovement
from emu.verdict.received import STATEMENT, Output, Reception, check
from emu.verdict.report import (
    MARKS_MAX,
    Explanation,
    Mark,
    Process,
    QueueReport,
    Report,
    Statement,
    failures,
    versions,
)
from emu.verdict.rundir import FLIGHT, TRACEBACKS, write_run
from emu.verdict.watch import Noticed, Watch
from faults import Actor, ReconciledConsequence, Reconciliation, reconcile
from faults.journal import Journal

_REPORTS_MAX = 64  #: of a queue's checker that are written down


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedRun:
    """What a run left behind; its processes have ended.

    Of a run whose set-up failed on purpose ``queues``, ``reconcilers`` and ``workers`` are empty.
    """

    config: RunConfig
    run_dir: Path | None  #: the run's folder; None: nothing is written
    ended: str  #: why the traffic was over; ``died``: the first death says it
    elapsed_s: float  #: of traffic
    queues: Sequence[Queue]
    reconcilers: Sequence[Reconciler]  #: one a queue, in the same order
    observers: Sequence[Observer]  #: the same, where consumers are in C; else empty
    workers: Sequence[Worker]  #: all that were ever started
    deaths: Sequence[Death]  #: those of them whose end nobody wanted
    timeouts: Sequence[str]  #: what took too long
    scribbles: Sequence[str]  #: what consumers wrote that means nothing, in words
    stalled: bool  #: nothing moved any more
    movement: Movement  #: how the queues moved
    left_early: Sequence[str]  #: consumers that nobody had asked to leave, in words
    replaced: frozenset[int]  #: queues whose user was taken away while the run went on
    scrubs: Sequence[tuple[int, int]]  #: of each queue: references taken back, buffers home by it
    process_faults: ProcessFaults
    setup: SetupFaults
    watch: Watch | None  #: None: set-up failed before there was anything to watch
    netlink: Mapping[str, Any]
    notes: Sequence[str]
    capture: Mapping[str, Any] | None = None  #: what became of the frames of its traffic
    series: Mapping[str, Any] = field(default_factory=dict)  #: how it went
    output: Output | None = None  #: of a reception; None: it was no such run
    connections: int = 0  #: that it waited for
    started_at: float | None = None  #: when traffic began, by time.monotonic(); None: it did not
    keeps_flight: bool = False  #: the flight recorders are wanted without a finding, too

    @property
    def undrained(self) -> frozenset[int]:
        """Queues whose consumer left before it had read everything."""
        killed = {
            worker.queue
            for worker in self.workers
            if worker.role == "consumer" and worker.exit_code != 0 and worker.queue is not None
        }
        unread = {queue.index for queue in self.queues if queue.places().in_flight}
        return frozenset(killed | unread | self.replaced)


def judge(run: FinishedRun) -> Report:
    """Judge a finished run, and write what belongs into its folder.

    There is a verdict whatever happens: a mistake of ours in judging is one as well, and says so;
    a folder that cannot be written takes nothing from it (:attr:`Report.unwritten`).
    """
    try:
        return _judge(run)
    except Exception as error:
        return unjudged(run, error, "the run could not be judged")


def unjudged(run: FinishedRun, error: Exception, what: str) -> Report:
    """The report of a run whose control process met an exception that it should not have met."""
    lines = [str(error)] if isinstance(error, EmuError) else traceback.format_exception_only(error)
    said = printable(" ".join("".join(lines).split()))
    where = "" if run.run_dir is None else f"; traceback in {run.run_dir / TRACEBACKS}"
    problem = f"{what}: {said}{where}"
    names = ("conservation", "integrity", "exactness", "ownership", "order", "progress")
    report = Report(
        ok=False,
        seed=run.config.seed,
        config=run.config.as_dict(),
        elapsed_s=run.elapsed_s,
        ended=run.ended,
        problems=(problem, *(death.text for death in run.deaths), *run.timeouts),
        processes=_processes(run),
        statements=tuple(
            Statement(name, None, f"not judged: {what}") for name in (*names, "all_home", "records")
        ),
        reconciliation=reconcile(
            run.config.plan,
            fired=[0] * (len(run.config.plan.rules) + 1),
            tables=[],
            wrong=[0] * (len(run.config.plan.rules) + 1),
            led_to=[0] * len(run.config.plan.rules),
            submitted=0,
            consumed=0,
            checked=0,
            after_scrub=0,
            lost=0,
            mismatch_count=0,
            mismatches=[],
        ),
        queues=_queue_reports_if_any(run),
        netlink=run.netlink,
        notes=tuple(run.notes),
        run_dir=None if run.run_dir is None else str(run.run_dir),
        capture=run.capture,
        series=run.series,
        marks=_marks(run),
        versions=versions(),
    )
    own = f"control process:\n{''.join(traceback.format_exception(error))}"
    return _written(run, report, tracebacks=[own, *_tracebacks(run)])


def _marks(run: FinishedRun) -> tuple[Mark, ...]:
    """What was done to whole processes, and which ended, in the order in which it was noticed."""
    names = [rule.fault.name for rule in run.config.plan.rules]
    done = [Mark(ms / 1000, names[rule], queue) for rule, queue, ms in run.process_faults.journal]
    died = [Mark(death.at_s, death.text, death.queue) for death in run.deaths]
    return tuple(sorted(done + died, key=lambda mark: mark.t_s)[:MARKS_MAX])


def _written(
    run: FinishedRun,
    report: Report,
    *,
    journal: str | None = None,
    log: FlightLog | None = None,
    tracebacks: Sequence[str],
) -> Report:
    """Write the run's folder, if it has one; the report says if that was not possible."""
    if run.run_dir is None:
        return report
    try:
        write_run(run.run_dir, report, journal=journal, log=log, tracebacks=tracebacks)
    except EnvironmentProblem as error:
        return replace(report, unwritten=str(error))
    return report


def _queue_reports_if_any(run: FinishedRun) -> tuple[QueueReport, ...]:
    """The counters as far as they can be read: what went wrong may be in reading them."""
    try:
        return tuple(_queue_reports(run))
    except Exception:
        return ()


def _tracebacks(run: FinishedRun) -> list[str]:
    return [f"{w.label}:\n{w.traceback}" for w in run.workers if w.traceback]


def _processes(run: FinishedRun) -> tuple[Process, ...]:
    def of_traffic(at: float | None) -> float | None:
        return None if at is None or run.started_at is None else round(at - run.started_at, 6)

    return tuple(
        Process(
            w.role,
            w.queue,
            w.pid,
            w.exit_code,
            w.cpu_s,
            of_traffic(w.started_at),
            of_traffic(w.ended_at),
        )
        for w in run.workers
    )


def _judge(run: FinishedRun) -> Report:
    if run.watch is not None:
        run.watch.look()  # what was reconciled last is found like the first
    journal = _journal(run) if run.config.plan.rules else None
    notes = [*run.notes]
    if journal is not None:
        notes += [f"journal: {note}" for note in journal.notes]
    queues = _queue_reports(run)
    reconciliation = _reconciliation(run, queues)
    buffers = [queue.audit() for queue in run.queues]
    evidence = Evidence(
        queues=queues,
        buffers=buffers,
        niovs=sum(queue.buffers for queue in run.queues),
        reconciliation=reconciliation,
        stalled=run.stalled,
        movement=run.movement,
        left_early=run.left_early,
        has_deaths=bool(run.deaths) or bool(run.timeouts),
        is_tcp=run.config.traffic.startswith("tcp:"),
        undrained=run.undrained,
        kernel_side_died=any(death.is_kernel_side for death in run.deaths),
        scribbles=_scribbles(run),
        unread_max=_unread_max(run),
        # Whoever was killed while it was late may have been between a reference and its log.
        balances=() if run.timeouts else [r.balance() for r in run.reconcilers],
        own=_own_mistakes(run),
        proven=_proven_mistakes(queues),
    )
    statements = run.setup.statements(audit(evidence))
    if evidence.own is not None or any(r.fault.source for r in run.config.plan.rules):
        statements = by_its_word(statements)
    if run.output is not None and run.queues:
        statements = (*statements, _completeness(run, run.output, reconciliation, queues))
    deaths = [death.text + _where_more(run, death) for death in run.deaths]
    problems = (*deaths, *run.timeouts, *failures(statements))
    log = _flight_log(run.watch, statements) if problems and run.watch is not None else None
    kept = log
    if kept is None and run.keeps_flight and run.watch is not None:
        kept = run.watch.log_to_the_end()
    report = Report(
        ok=not problems,
        seed=run.config.seed,
        config=run.config.as_dict(),
        elapsed_s=run.elapsed_s,
        ended=run.deaths[0].text if run.ended == "died" else run.ended,
        problems=problems,
        processes=_processes(run),
        statements=statements,
        reconciliation=reconciliation,
        queues=tuple(queues),
        netlink=run.netlink,
        notes=(
            *(*notes, *_placed(queues), *_kept(run, queues)),
            *(*run.movement.notes, *run.setup.notes, *run.process_faults.notes),
        ),
        explanations=_explain(run, log, evidence, statements),
        flight=None if log is None or run.run_dir is None else str(run.run_dir / FLIGHT),
        flight_lines=() if log is None else tuple(log.around(8, 4)),
        flight_log=kept,
        run_dir=None if run.run_dir is None else str(run.run_dir),
        capture=run.capture,
        series=run.series,
        marks=_marks(run),
        versions=versions(),
    )
    return _written(
        run,
        report,
        journal=None if journal is None else journal.as_toml(_journal_comments(run.config)),
        log=log,
        tracebacks=_tracebacks(run),
    )


def _completeness(
    run: FinishedRun,
    output: Output,
    reconciliation: Reconciliation,
    queues: Sequence[QueueReport],
) -> Statement:
    """Is the output all that came? Asked of the NIC and the file, not of the consumer."""
    rows = [row for row in reconciliation.rows if row.injected and row.name != "valid"]
    led_to = [row for row in rows if row.consequences]
    replacing = [row for row in rows if row.name in ("kill-consumer", "churn")]
    plausible = [*led_to, *replacing] if output.gaps or not rows else led_to or rows
    faults = dict.fromkeys(row.name for row in (plausible if output.is_file else led_to))
    holds, text = check(
        Reception(
            account=run.queues[0].stream(),
            output=output,
            connections=run.connections,
            ended=run.deaths[0].text if run.ended == "died" and run.deaths else run.ended,
            read=sum(queue.consumer["bytes"] for queue in queues),
            faults=tuple(faults),
        )
    )
    return Statement(STATEMENT, holds, text)


def _where_more(run: FinishedRun, death: Death) -> str:
    """Where the whole of an exception stands of which the problem line has the last line."""
    if not death.has_traceback or run.run_dir is None:
        return ""
    return f"; traceback in {run.run_dir / TRACEBACKS}"


def _own_mistakes(run: FinishedRun) -> OwnMistakes | None:
    """What consumers that are not ours say of themselves; of a queue's users together."""
    if run.config.consumer == "builtin" or run.config.has_raw_consumer:
        return None
    counts = [queue.own_mistakes() for queue in run.queues]
    return OwnMistakes(
        strays=sum(strays for strays, _touches in counts),
        touches=sum(touches for _strays, touches in counts),
        told=tuple(
            word.text if len(run.queues) == 1 else f"{worker.label}: {word.text}"
            for worker in run.workers
            for word in worker.mistakes
        ),
        is_poisoned=_is_poisoned(run),
    )


def _proven_mistakes(queues: Sequence[QueueReport]) -> ProvenMistakes | None:
    """What the checker proved of consumers in C, over all queues."""
    checked = [(at, queue.checker) for at, queue in enumerate(queues) if queue.checker is not None]
    if not checked:
        return None
    counts: dict[str, int] = {}
    for _at, checker in checked:
        for kind, count in checker["counts"].items():
            counts[kind] = counts.get(kind, 0) + count
    of = "queue {}: " if len(queues) > 1 else ""
    return ProvenMistakes(
        counts=counts,
        told=tuple(
            of.format(at) + f"{report['text']} ({report['advice']})"
            for at, checker in checked
            for report in _first_of_each(checker["reports"])
        ),
        blind=[at for at, checker in checked if checker["is_blind"]],
    )


def _first_of_each(reports: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The first report of each kind, in the order in which they came."""
    first: dict[str, Mapping[str, Any]] = {}
    for report in reports:
        first.setdefault(report["kind"], report)
    return list(first.values())


def _chosen(reports: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """As many as are written down, in their order; the first of each kind is among them."""
    must = {id(report) for report in _first_of_each(reports)}
    spare = _REPORTS_MAX - len(must)
    others = [report for report in reports if id(report) not in must][:spare]
    kept = must | {id(report) for report in others}
    return [report for report in reports if id(report) in kept]


def _checker_of(observer: Observer) -> dict[str, Any]:
    """What the checker says of one queue's consumer."""
    said = observer.reports()
    out, oldest = observer.out()
    return {
        "counts": {kind: count for kind, count in said["counts"].items() if count},
        "reports": _chosen(said["reports"]),
        "never_returned": out,
        "oldest": oldest,
        "is_blind": observer.is_blind,
    }


def _is_poisoned(run: FinishedRun) -> bool:
    """Were touches looked for? One that was killed may not have come to it."""
    lived = [w for w in run.workers if w.role == "consumer" and not w.was_killed]
    return bool(lived) and all(worker.is_poisoned for worker in lived)


def _placed(queues: Sequence[QueueReport]) -> list[str]:
    copied = sum(queue.nic["copied_packets"] for queue in queues)
    placed = sum(queue.nic["copies_placed"] for queue in queues)
    if not placed:
        return []
    return [
        f"copies: {placed} of {copied + placed} packets that were to be copied found no free "
        "buffer, and were placed instead"
    ]


def _kept(run: FinishedRun, queues: Sequence[QueueReport]) -> list[str]:
    return [
        f"{worker.label}: {worker.kept.number} completions were never given back; the oldest is "
        f"{worker.kept.text}"
        for worker in run.workers
        if worker.kept is not None
    ] + [
        f"consumer of queue {at}: {checker['never_returned']} fragments were never given back; "
        f"the oldest is {checker['oldest']}"
        for at, queue in enumerate(queues)
        if (checker := queue.checker) is not None and checker["never_returned"]
    ]


def _unread_max(run: FinishedRun) -> int:
    """Entries of one queue that nobody judged, at most: each user may leave a log full behind."""
    users = [worker.queue for worker in run.workers if worker.role == "consumer"]
    return run.config.log_entries * max((users.count(queue) for queue in users), default=1)


# ---- what was counted ------------------------------------------------------------------


def _queue_reports(run: FinishedRun) -> list[QueueReport]:
    return [
        QueueReport(
            nic=queue.counters(CounterGroup.NIC),
            provider=queue.counters(CounterGroup.PROVIDER),
            page_pool={
                f"rx_pp_{name}": count for name, count in queue.counters(CounterGroup.POOL).items()
            },
            consumer=queue.counters(CounterGroup.CONSUMER),
            places={name: getattr(queue.places(), name) for name in Places.__slots__},
            scrub=dict(zip(("references", "buffers"), run.scrubs[queue.index], strict=True)),
            movement=moved.as_dict(),
            areas=tuple(run.config.area_plan.size(number) for number in range(queue.areas)),
            checker=_checker_of(run.observers[queue.index]) if run.observers else None,
        )
        for queue, moved in zip(
            run.queues, run.movement.queues or [QueueMovement()] * len(run.queues), strict=True
        )
    ]


def _reconciliation(run: FinishedRun, queues: Sequence[QueueReport]) -> Reconciliation:
    rules = len(run.config.plan.rules)
    injected = [queue.injected(rules) for queue in run.queues]
    led_to = [queue.consequences(rules) for queue in run.queues]
    return reconcile(
        run.config.plan,
        fired=[
            sum(queue.consumer["rqe_valid"] for queue in queues),
            *(
                sum(counts[rule] for counts in injected)
                + run.process_faults.fired[rule]
                + run.setup.fired[rule]
                for rule in range(rules)
            ),
        ],
        tables=[
            [{verdict.label: n for verdict, n in row.items()} for row in reconciler.table]
            for reconciler in run.reconcilers
        ],
        wrong=[sum(r.wrong[intent] for r in run.reconcilers) for intent in range(rules + 1)],
        led_to=[sum(counts[rule] for counts in led_to) for rule in range(rules)],
        submitted=sum(queue.consumer["rqe_submitted"] for queue in queues),
        consumed=sum(queue.provider["consumed"] for queue in queues),
        checked=sum(r.checked - r.lost for r in run.reconcilers),
        after_scrub=sum(r.after_scrub for r in run.reconcilers),
        lost=sum(r.lost for r in run.reconcilers),
        mismatch_count=sum(r.mismatch_count for r in run.reconcilers),
        mismatches=[
            (
                *(item.queue, item.position, item.index, item.intent, _label(item.verdict)),
                tuple(sorted(verdict.label for verdict in item.legal)),
                why_mismatch(item),
            )
            for reconciler in run.reconcilers
            for item in reconciler.mismatches
        ],
        consequences=[
            ReconciledConsequence(
                queue=item.queue,
                fault=run.config.plan.rules[item.rule].fault.name,
                kind=item.kind.name.lower(),
                niov=item.niov,
                flow=item.flow,
                seq=item.seq,
                generation_held=item.generation_held,
                generation_now=item.generation_now,
                position=item.position,
            )
            for queue in run.queues
            for item in queue.consequence_list(rules)
        ],
        strays=[sum(r.strays[intent] for r in run.reconcilers) for intent in range(rules + 1)],
        scrubbed=sum(references for references, _buffers in run.scrubs),
        after_stray=sum(r.after_stray for r in run.reconcilers),
    )


def _label(verdict: Verdict | None) -> str:
    return "unknown" if verdict is None else verdict.label


# ---- what fired ------------------------------------------------------------------------


_ACTORS = {
    JournalActor.CONSUMER: Actor.CONSUMER,
    JournalActor.NIC: Actor.NIC,
    JournalActor.PROVIDER: Actor.PROVIDER,
}


def _rules_of(config: RunConfig, actor: Actor) -> frozenset[int]:
    """Positions in the plan of the rules that an actor carries out."""
    rules = config.plan.rules
    return frozenset(at for at, rule in enumerate(rules) if rule.fault.actor is actor)


def _scribbles(run: FinishedRun) -> tuple[str, ...]:
    """What consumers wrote that means nothing; once all of it has been read."""
    found = [*run.scribbles]
    for queue, reconciler in zip(run.queues, run.reconcilers, strict=True):
        queue.check_words(_rules_of(run.config, Actor.CONSUMER))
        found += queue.scribbles.values()
        if reconciler.unplanned:
            found.append(
                f"queue {queue.index}: {reconciler.unplanned} intents name a rule that the plan "
                f"does not have (it has {len(run.config.plan.rules)})"
            )
        found += _miscounted(run, queue)
    return tuple(found)


def _miscounted(run: FinishedRun, queue: Queue) -> list[str]:
    """What a consumer says that it read, against what the NIC says that it delivered.

    Where faults are injected or something was left unread, the two may differ.
    """
    if run.config.plan.rules or queue.index in run.undrained:
        return []
    delivered = queue.counters(CounterGroup.NIC)["fragments_delivered"]
    read = queue.counters(CounterGroup.CONSUMER)["fragments"]
    if read == delivered:
        return []
    return [
        f"queue {queue.index}: counter fragments is {read}; {delivered} were delivered, and none "
        "is left unread"
    ]


def _journal(run: FinishedRun) -> Journal:
    """What fired, of all actors."""
    journal = Journal(run.config.plan)
    for queue in run.queues:
        for actor in JournalActor:
            part = queue.journal(actor, _rules_of(run.config, _ACTORS[actor]))
            for rule, ordinal in part.firings:
                journal.note(rule, queue.index, (ordinal,))
            if part.missing_from is not None:
                who = f"queue {queue.index}, {actor.name.lower()}"
                journal.cut(who, len(part.firings), part.count, part.missing_from)
    for rule, victim, ms in run.process_faults.journal:
        journal.note(rule, victim, (ms,))
    if run.process_faults.missing_from is not None:
        noted = len(run.process_faults.journal)
        journal.cut(
            "processes", noted, sum(run.process_faults.fired), run.process_faults.missing_from
        )
    return journal


def _journal_comments(config: RunConfig) -> list[str]:
    return [
        "What fired in a run of zcrx-emu, as a plan: the same faults again, at the same",
        "ordinals and with the same content, given the same seed and traffic.",
        f"seed {config.seed}, traffic {config.traffic}, {config.queues} queue(s)",
        "",
        "The same configuration and seed with this plan: zcrx-emu replay RUN_FOLDER --journal",
        "As any other plan, with the run's other options:",
        f"zcrx-emu stress --seed {config.seed} --faults RUN_FOLDER/journal.toml",
        "",
        "Rules and ordinals may be taken out: what stays is the same. Milliseconds of process",
        "faults are only as exact as a clock is.",
    ]


# ---- what was found --------------------------------------------------------------------


def _flight_log(watch: Watch, statements: Sequence[Statement]) -> FlightLog:
    """What the recorders have around the first finding, which may be the audit's."""
    for statement in statements:
        if statement.holds is False:
            text = f"{statement.name}: {statement.text}"
            watch.found(Noticed(statement.name, None, text))
    log = watch.log()
    assert log is not None, statements
    return log


def _explain(
    run: FinishedRun, log: FlightLog | None, evidence: Evidence, statements: Sequence[Statement]
) -> tuple[Explanation, ...]:
    if log is None or run.watch is None:
        return ()
    return explain(
        Case(
            config=run.config,
            run_dir=None if run.run_dir is None else str(run.run_dir),
            findings=run.watch.findings,
            broken=[item.name for item in statements if item.holds is False],
            movement=run.movement,
            left_early=run.left_early,
            timeouts=run.timeouts,
            deaths=run.deaths,
            queues=evidence.queues,
            buffers=evidence.buffers,
            balances=evidence.balances,
            own=evidence.own,
            proven=evidence.proven,
            flows={
                at: queue.flow(result.first_flow_wrong)
                for at, (queue, result) in enumerate(zip(run.queues, evidence.buffers, strict=True))
                if result.first_flow_wrong is not None
            },
            undrained=evidence.undrained,
            reconciliation=evidence.reconciliation,
            events=log.events,
        )
    )
