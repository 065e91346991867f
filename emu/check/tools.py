"""The tools that are asked, each as its own command asks it, and what their answers mean."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from emu.check.outcome import Answer, Found, Outcome, Part
from emu.check.subject import Kind, Subject
from emu.cli.closing import print_report
from emu.cli.commands import run_stress
from emu.cli.plan import plan_of
from emu.cli.render import compiling_shown
from emu.config import RunConfig
from emu.fuzz.cli import fuzz
from emu.fuzz.harness import Target
from emu.race.build import build_simulation
from emu.race.cli import race
from emu.race.library import SCENARIOS
from emu.race.runner import Runner, Search

#: Findings after which fuzzing ends: the first ones are what somebody mends first.
_FUZZ_FINDINGS = 3


@dataclass(frozen=True, slots=True)
class Frame:
    """What all tools are told.

    Attributes:
        subject: The file.
        kernel: The level that is played.
        seed: Of everything that is chosen.
        folder: Where findings, runs and logs are kept.
        corpus: Programs of before, read and added to; None: there are none, and none are kept
            apart from the folder.
    """

    subject: Subject
    kernel: str
    seed: int
    folder: Path
    corpus: Path | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool in one way of asking it.

    Attributes:
        name: For the table, and of its log.
        share: Of the time that there is.
        blind: What it does not see.
        ask: Does it: told the frame, the seconds and a console for its words.
    """

    name: str
    share: float
    blind: str
    ask: Callable[[Frame, float, Console], Answer]

    def outcome(self, seconds: float, answer: Answer, log: Path) -> Outcome:
        """What came of it, with all that is known beforehand."""
        return Outcome(
            self.name,
            answer.looked_at,
            self.blind,
            seconds,
            tuple(answer.found),
            interrupted=answer.interrupted,
            log=str(log),
            parts=tuple(answer.parts),
        )


def _replay(path: str) -> str:
    return f"zcrx-emu replay {shlex.quote(path)}"


def _fuzz(frame: Frame, seconds: float, console: Console) -> Answer:
    summary = fuzz(
        console,
        seconds=max(seconds, 1.0),
        jobs=min(len(os.sched_getaffinity(0)), 4),
        engine=None,
        corpus=frame.corpus or frame.folder / "corpus",
        findings=frame.folder / "fuzz",
        target=Target(bug=None, provider=frame.subject.path, sanitize=True, kernel=frame.kernel),
        seed=frame.seed,
        findings_max=_FUZZ_FINDINGS,
        cover=None,
        tests=None,
    )
    found = [
        Found(item["signature"], item["file"], _replay(item["file"]))
        for item in summary["findings"]
    ]
    looked_at = f"{summary['executions']} programs of operations, {summary['engine']}"
    return Answer(looked_at, found, summary["interrupted"])


def _race(frame: Frame, seconds: float, console: Console) -> Answer:
    scenarios = [item.at(frame.kernel) for item in SCENARIOS.values()]
    search = Search(seed=frame.seed, seconds=max(1, math.floor(seconds / len(scenarios))))
    with compiling_shown(console):
        runner = Runner(build_simulation(None, frame.subject.path))
    summary = race(
        console,
        runner,
        scenarios,
        search,
        strategy=None,
        bug=None,
        provider=frame.subject.path,
        findings=frame.folder / "race",
        all_steps=False,
        perfetto=None,
    )
    done: list[dict[str, Any]] = summary["scenarios"]
    complete = sum(item["complete"] for item in done)
    looked_at = f"{len(done)} of {len(scenarios)} scenarios, {complete} of them completely"
    parts = [
        *map(_part, done),
        *(Part(one["scenario"], None, one["why"]) for one in summary["untried"]),
    ]
    return Answer(looked_at, _of_race(done), summary["interrupted"], parts)


def _part(item: dict[str, Any]) -> Part:
    """A scenario that was searched."""
    how = "all of it" if item["complete"] else f"about {100 * item['share']:.2g} % of it"
    text = f"{item['schedules']} executions, {how}"
    if item["finding"] is not None:
        return Part(item["scenario"], False, f"{item['finding']['text']} ({text})")
    if item["interrupted"] or not item["schedules"]:
        why = "interrupted before its time" if item["interrupted"] else "nothing was looked at"
        return Part(item["scenario"], None, f"{why} ({text})")
    return Part(item["scenario"], True, text)


def _of_race(scenarios: Sequence[dict[str, Any]]) -> list[Found]:
    """One for each kind of mistake: several scenarios may show the same."""
    first: dict[str, Found] = {}
    for item in scenarios:
        if item["finding"] is not None:
            path, what = item["finding"]["file"], item["finding"]["text"]
            first.setdefault(
                item["finding"]["kind"], Found(f"{item['scenario']}: {what}", path, _replay(path))
            )
    return list(first.values())


def _stress(name: str, plan: str, **fields: Any) -> Callable[..., Answer]:
    def ask(frame: Frame, seconds: float, console: Console) -> Answer:
        queues = fields.get("queues", 1)
        config = RunConfig(
            **{
                "seed": frame.seed,
                "duration_s": max(seconds, 0.5),
                "plan": plan_of(plan, queues),
                "kernel": frame.kernel,
                str(frame.subject.kind): str(frame.subject.path),
                **fields,
            }
        )
        folder = frame.folder / f"stress-{name}"
        report = run_stress(console, config, folder)
        print_report(console, report)
        looked_at = (
            f"{report.total('nic', 'packets_delivered')} packets, "
            f"{report.total('provider', 'consumed')} entries judged"
        )
        found = [Found(text, str(folder), _replay(str(folder))) for text in report.problems]
        return Answer(looked_at, found, report.ended == "interrupted")

    return ask


_PROVIDER = (
    Tool(
        "fuzz",
        0.4,
        "what takes another process at the same moment",
        _fuzz,
    ),
    Tool(
        "race",
        0.3,
        "what takes many entries, such as a counter that overflows",
        _race,
    ),
    Tool(
        "stress: hostile",
        0.15,
        "a race that is lost seldom",
        _stress("hostile", "hostile", queues=2),
    ),
    Tool(
        "stress: chaos",
        0.15,
        "a race that is lost seldom; what its excuses for killed processes cover",
        _stress("chaos", "chaos", queues=2, respawn=True),
    ),
)

_NIC = "nic-drop:0.1%,nic-duplicate:0.1%,nic-reorder:0.1%,nic-tiny:0.1%,nic-hold:0.1%,cq-full:0.1%"
_STARVED = "alloc-fail:0.1%,freelist-empty:0.1%,ptr-ring-full:0.1%"
_CONSUMER = (
    Tool(
        "stress: plain",
        0.25,
        "whether the bytes that it took were used rightly",
        _stress("plain", "none"),
    ),
    Tool(
        "stress: small",
        0.25,
        "what only large rings show",
        _stress(
            "small",
            "index-wrap:100%,header-layout:100%,header-garbage:100%",
            area_buffers=64,
            rq_entries=16,
            cq_entries=32,
            grant_entries=32,
            hold=0,
        ),
    ),
    Tool(
        "stress: nic",
        0.25,
        "what this NIC does not do",
        _stress("nic", f"{_NIC},{_STARVED}"),
    ),
    Tool(
        "stress: disturbed",
        0.25,
        "a race that is lost seldom",
        _stress("disturbed", "kill-consumer:every=300,churn:every=700,scrub-midway:every=430"),
    ),
)


def tools_for(subject: Subject) -> tuple[list[Tool], list[Outcome]]:
    """Who can be asked about a file, and of the others why not."""
    if subject.kind is Kind.CONSUMER:
        return list(_CONSUMER), []
    if subject.is_source:
        return list(_PROVIDER), []
    why = "a library cannot be built with a call at each access; name its source"
    race = next(tool for tool in _PROVIDER if tool.ask is _race)
    others = [tool for tool in _PROVIDER if tool is not race]
    return others, [Outcome(race.name, "", race.blind, 0.0, why_not=why)]
