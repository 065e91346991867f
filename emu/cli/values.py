"""What may stand behind an option, for a shell that completes it.

Each function is told what was typed so far, and returns whole values that begin with it, with a
word about each or an empty one. A value that ends in one of ``:=,/`` goes on. What is not offered
may still be right. Shells wait for these: each imports what it needs when it is called.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

Offer = tuple[str, str]

_PROVIDERS = (".c", ".so")
#: Newest of a folder of runs: a person wants one of the last.
_RUNS_MAX = 50


def _beginning(typed: str, offers: Iterable[Offer]) -> list[Offer]:
    return [(value, text) for value, text in offers if value.startswith(typed)]


def files(typed: str, wanted: Callable[[str], bool], head: str = "") -> Iterator[Offer]:
    """Folders, and files whose names are wanted, that begin as typed; behind a head."""
    folder, name = os.path.split(typed)
    try:
        entries = sorted(os.scandir(folder or "."), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if not entry.name.startswith(name) or (entry.name.startswith(".") and not name):
            continue
        path = os.path.join(folder, entry.name)
        try:
            is_folder = entry.is_dir()
        except OSError:
            continue
        if is_folder:
            yield f"{head}{path}/", ""
        elif wanted(entry.name):
            yield f"{head}{path}", ""


def levels(incomplete: str) -> list[Offer]:
    """Kernel levels, and those that ``race`` has besides."""
    from emu.contract import LEVELS

    return _beginning(incomplete, ((level, "") for level in LEVELS))


def all_levels(incomplete: str) -> list[Offer]:
    """The same with experimental ones."""
    from emu.contract import EXPERIMENTAL

    more = ((name, f"experimental, on {base}") for name, base in EXPERIMENTAL.items())
    return levels(incomplete) + _beginning(incomplete, more)


def providers(incomplete: str) -> list[Offer]:
    """A provider's source, or a library."""
    return list(files(incomplete, lambda name: name.endswith(_PROVIDERS)))


def consumers(incomplete: str) -> list[Offer]:
    """Ours, or one in C."""
    return [*_beginning(incomplete, [("builtin", "ours")]), *providers(incomplete)]


def traffic(incomplete: str) -> list[Offer]:
    """A source, and what it is told."""
    if incomplete.startswith("pcap:"):
        is_capture = (".pcap", ".pcapng", ".cap", ".gz")
        typed = incomplete.removeprefix("pcap:")
        return list(files(typed, lambda name: name.endswith(is_capture), "pcap:"))
    kind = "synthetic:"
    if not incomplete.startswith(kind):
        offers = [
            ("synthetic", "made from the seed"),
            (kind, "the same, with keys"),
            ("pcap:", "a capture"),
            ("tcp:", "HOST:PORT to listen on"),
        ]
        return _beginning(incomplete, offers)
    from emu.traffic.synthetic import Kind

    before, comma, _ = incomplete.removeprefix(kind).rpartition(",")
    head = f"{kind}{before}{comma}"
    keys = [(f"{head}{key}=", "") for key in ("flows", "packets", "size", "pps")]
    return _beginning(incomplete, [*keys, *((f"{head}kind={each}", "") for each in Kind)])


def faults(incomplete: str) -> list[Offer]:
    """Names of faults."""
    from faults import CATALOGUE

    return _beginning(incomplete, ((item.name, item.summary) for item in CATALOGUE.values()))


def plans(incomplete: str) -> list[Offer]:
    """A profile, a file, or rules one after the other, each with what it may say."""
    before, comma, rule = incomplete.rpartition(",")
    name, *items = rule.split(":")
    if items:
        head = f"{before}{comma}{':'.join([name, *items[:-1]])}:"
        return _beginning(incomplete, _said_of(head, name, items[:-1]))
    head = before + comma
    rules = [(f"{head}{value}:", text) for value, text in faults(name)]
    return rules if head else [*_plans_with_names(incomplete), *rules]


def _plans_with_names(typed: str) -> Iterator[Offer]:
    from faults import PROFILES

    profiles = [(item.name, item.summary) for item in PROFILES.values()]
    yield from _beginning(typed, [*profiles, ("none", "no faults")])
    yield from files(typed, lambda name: name.endswith(".toml"))


def _said_of(head: str, name: str, said: list[str]) -> Iterator[Offer]:
    """Fields and parameters of a rule that it does not have yet."""
    from faults import CATALOGUE
    from faults.rule import FIELDS

    if name not in CATALOGUE:
        return
    fault = CATALOGUE[name]
    given = {item.partition("=")[0] for item in said}
    for field in FIELDS.values():
        key = field.compact or field.name
        if key != "probability" and key not in given:
            yield f"{head}{key}=", ""
        if field.flag and field.flag not in given:
            yield f"{head}{field.flag}", ""
    for param in fault.params:
        if param.name not in given:
            for word in param.choices or ("",):
                yield f"{head}{param.name}={word}", param.doc


def shapes(incomplete: str) -> list[Offer]:
    """What ``exec --shape`` is made of."""
    from emu.exec.shape import WORDS

    before, comma, _ = incomplete.rpartition(",")
    bounds = ((f"{before}{comma}{word}:", f"{a} to {b}") for word, (a, b) in WORDS.items())
    return _beginning(incomplete, bounds)


def content_bugs(incomplete: str) -> list[Offer]:
    """Seeded bugs for ``fuzz``."""
    from emu.bugs import CONTENT_BUGS

    bugs = ((bug.name, bug.explanation) for bug in CONTENT_BUGS.values())
    return _beginning(incomplete, [("list", "show them"), *bugs])


def racing_bugs(incomplete: str) -> list[Offer]:
    """Seeded bugs for ``race``."""
    from emu.bugs import RACING_BUGS

    return _beginning(incomplete, ((bug.name, bug.explanation) for bug in RACING_BUGS.values()))


def scenarios(incomplete: str) -> list[Offer]:
    """Ready ones, or a Python file."""
    from emu.race.library import SCENARIOS

    ready = ((item.name, item.explanation) for item in SCENARIOS.values())
    own = files(incomplete, lambda name: name.endswith(".py"))
    return [*_beginning(incomplete, ready), *own]


def strategies(incomplete: str) -> list[Offer]:
    """Of a search."""
    from emu.race.runner import STRATEGY_WORDS

    return _beginning(incomplete, ((str(name), text) for name, text in STRATEGY_WORDS.items()))


def memories(incomplete: str) -> list[Offer]:
    """Models of memory."""
    from emu.race.runner import MEMORY_WORDS

    return _beginning(incomplete, ((str(name), text) for name, text in MEMORY_WORDS.items()))


def folders(incomplete: str) -> list[Offer]:
    """Folders alone."""
    return list(files(incomplete, lambda name: False))


def schemas(incomplete: str) -> list[Offer]:
    """Forms of JSON."""
    from emu.schemas import names

    return _beginning(incomplete, ((name, "") for name in names()))


def done_before(incomplete: str) -> list[Offer]:
    """Folders of runs, the newest first, and files of findings and reports."""
    found: list[Offer] = []
    if "runs/".startswith(incomplete) or incomplete.startswith("runs/"):
        folders = sorted((path for path in Path("runs").glob("*") if path.is_dir()), reverse=True)
        found = _beginning(incomplete, ((str(path), "") for path in folders[:_RUNS_MAX]))
    known = {value for value, _ in found}
    others = files(incomplete, lambda name: name.endswith(".json"))
    is_known = known | {f"{value}/" for value in known} | ({"runs/"} if found else set())
    return [*found, *(offer for offer in others if offer[0] not in is_known)]
