"""The kinds of mistakes that there are, each with a name that stays: SARIF's rules.

A rule is a kind of mistake, never a run: whoever mutes one, or counts them, does so by its name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from emu.fuzz.program import MEANINGS
from emu.race.sentences import FINDINGS, OF_BUFFERS

_BY_FUZZ = (
    "A program of operations of NIC, stack, user and control process was run by the provider and "
    "by a judge who knows the contract, and the two were compared after each operation."
)
_BY_RACE = (
    "Several actors ran the code under an interleaving that was chosen, and under a memory model; "
    "the finding has each step of it."
)
_BY_RUN = (
    "Real processes moved traffic with faults injected, and everything was accounted for "
    "afterwards."
)
#: What can become of a process that runs somebody's code.
_OF_FUZZ = {
    "crash": "an operation ended the process",
    "hang": "an operation does not end",
    "sanitizer": "a sanitizer stopped an operation",
}
#: The simulation may die of what it runs, and has no name for it then.
_OF_RACE = {
    "crash": "the code did what the machine forbids",
    "wrong": "what a scenario counts on does not hold",
}
_BUFFERS = "buffers"
#: The statements of the audit, and what else ends a run.
_OF_RUNS = {
    "conservation": "a buffer is in no place or in two, or references do not add up",
    "all-home": "not all buffers are home at the end, or the destroy check says otherwise",
    "integrity": "bytes that arrived are not those that were sent",
    "ownership": "a buffer was granted to the NIC while the user held it",
    "order": "what arrived of a flow is out of order, or misses a part",
    "progress": "a queue stands still, and no fault explains it",
    "substance": "nothing was delivered, or nothing came back: nothing is shown",
    "exactness": "an entry of the refill ring earned a verdict that it must not earn",
    "records": "a consumer wrote nonsense into its own records",
    "consumer": "a consumer misuses its rings or its completions",
    "death": "a process died, or did not do in time what it was asked for",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """A kind of mistake.

    Attributes:
        name: ``TOOL/KIND``; it never changes.
        short: In a sentence.
        full: With how it is found.
    """

    name: str
    short: str
    full: str


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _rule(tool: str, kind: str, text: str, how: str) -> Rule:
    return Rule(f"{tool}/{kind}", _sentence(text), f"{_sentence(text)} {how}")


def _plain(template: str) -> str:
    """A sentence of a finding without the numbers of one."""
    return re.sub(r"\{(\w+)\}", lambda field: field[1].replace("_", " ").upper(), template)


def _all() -> list[Rule]:
    rules = [_rule("fuzz", kind, text, _BY_FUZZ) for kind, text in (MEANINGS | _OF_FUZZ).items()]
    named = {name.lower().replace("_", "-"): _plain(text) for name, text in FINDINGS.items()
             if name not in OF_BUFFERS}  # fmt: skip
    where = "a buffer is in two places or in none, or has references that nobody holds"
    rules += [
        _rule("race", kind, text, _BY_RACE)
        for kind, text in (named | {_BUFFERS: where} | _OF_RACE).items()
    ]
    return rules + [_rule("run", kind, text, _BY_RUN) for kind, text in _OF_RUNS.items()]


#: All there are, by name.
RULES = {rule.name: rule for rule in _all()}


def rule_of_fuzz(signature: str) -> str:
    """The rule of what a program showed, by its signature: ``verdict:accepted:no_user_ref``."""
    kind = signature.partition(":")[0]
    if kind == "asan" or signature.startswith("crash:exit-"):
        kind = "sanitizer"  # it ends the process by an exit code
    return f"fuzz/{kind}" if f"fuzz/{kind}" in RULES else "fuzz/crash"


def rule_of_race(name: str, kind: str) -> str:
    """The rule of a finding of race testing.

    Args:
        name: Of its sentence; empty where the simulation died of it, and in files of before.
        kind: For those.
    """
    if name in OF_BUFFERS:
        return f"race/{_BUFFERS}"
    rule = f"race/{(name or kind).lower().replace('_', '-')}"
    return rule if rule in RULES else "race/wrong"


def rule_of_run(problem: str) -> str:
    """The rule of a problem of a run: it begins with the statement that fails, or with nobody's."""
    rule = f"run/{problem.partition(': ')[0].replace('_', '-')}"
    return rule if rule in RULES else "run/death"
