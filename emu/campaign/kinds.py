"""What a campaign knows of the commands that it calls: what it decides for them, their files.

What else a command takes, and what of it is allowed, the command is asked itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from emu.errors import ConfigError
from faults.near import near_to

Value = bool | int | float | str
Options = Mapping[str, Value]

#: Of check: the file that it is about, which is no option there.
FILE = "file"
#: What writes somewhere: of a piece only what the campaign reads is kept.
_OF_OUTPUT = frozenset({"json", "report", "sarif", "ktap", "help"})
#: What a piece's command is asked to write, in its folder.
RESULT = "result.json"
RUN, FINDINGS, CORPUS, MERGED = "run", "findings", "corpus", "given"
#: Seconds after which a merge keeps what it has not looked at.
MERGE_S = 60
_U64, _INT31, _INT63 = 2**64 - 1, 2**31 - 1, 2**63 - 1
_MODULE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*):[A-Za-z_]")


@dataclass(frozen=True, slots=True)
class Kind:
    """A command as a campaign calls it.

    Attributes:
        name: Of the command.
        given: Options that the campaign gives itself, as words.
        refused: Options that a plan may not have: the campaign's own, or those of other work.
        seed_max: The largest seed.
        files: Options that name a file.
    """

    name: str
    given: tuple[str, ...]
    refused: frozenset[str]
    seed_max: int
    files: tuple[str, ...] = ()
    positional: frozenset[str] = field(default=frozenset())

    def words(self, options: Options) -> tuple[str, ...]:
        """Options as words of a command line."""
        words = [str(value) for name, value in options.items() if name in self.positional]
        for name, value in options.items():
            if name in self.positional:
                continue
            if isinstance(value, bool):
                words.append(f"--{name}" if value else f"--no-{name}")
            else:
                words.append(f"--{name}={value}")
        return tuple(words)

    def check(self, options: Options) -> None:
        """Refuse what cannot be a piece, whatever the command would say.

        Raises:
            ConfigError: An option of this name, or with this value, makes no piece.
        """
        for name in options:
            if name in self.refused:
                raise ConfigError.of("option", name, "the campaign decides it for each piece")
        if self.name == "fuzz" and options.get("time") == 0:
            raise ConfigError.of("time", 0, "a piece must come to an end")
        if str(options.get("traffic", "")).startswith("tcp:"):
            raise ConfigError.of("traffic", options["traffic"], "no program would connect")
        for name in self.positional - options.keys():
            raise ConfigError(f"{name}: it is missing; {self.name} is asked about a file")

    def named_files(self, options: Options) -> dict[str, str]:
        """The files that options name, by the option."""
        found = {}
        for name in self.files:
            value = options.get(name)
            if isinstance(value, str) and (path := _path_in(name, value)) is not None:
                found[name] = path
        return found

    def modules(self, options: Options) -> list[str]:
        """Python modules that options name: consumers and faults of somebody's own."""
        texts = [str(options.get(name, "")) for name in ("consumer", "faults")]
        return sorted({match[1] for text in texts for match in _MODULE.finditer(text)})

    def needs_compiler(self, options: Options) -> bool:
        """Whether something is compiled for it, on the worker."""
        if self.name != "stress":
            return True
        return any(str(options.get(name, "")).endswith(".c") for name in ("provider", "consumer"))

    def subject(self, options: Options) -> str:
        """What it is about, where that is not our own provider as it is."""
        names = ("provider", "consumer", FILE, "bug")
        return " ".join(str(options[name]) for name in names if name in options)

    def words_to_merge(self, words: Sequence[str]) -> tuple[str, ...]:
        """Of a fuzz piece's words, those that say whose programs they are."""
        names = ("--provider", "--bug", "--kernel", "--fast")
        about = [word for word in words if word.partition("=")[0] in names]
        return (*about, f"--merge={MERGED}", f"--time={MERGE_S}")

    def target(self, options: Options) -> str:
        """Of a fuzz piece: what is attacked, as far as a corpus of programs is about it."""
        parts = [str(options[name]) for name in ("provider", "bug", "kernel") if name in options]
        return re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(parts)) or "ours"


def _path_in(name: str, value: str) -> str | None:
    """The file that an option's value names; None if it names none."""
    if name == "traffic":
        return value.removeprefix("pcap:") if value.startswith("pcap:") else None
    if name == "faults":
        return value if value.endswith(".toml") else None
    if name == "scenario":
        return value if value.endswith(".py") else None
    if name == "consumer":
        return value if {".c", ".so"} & set(PurePath(value).suffixes) else None
    return value


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "stress",
            (f"--run-dir={RUN}", f"--json={RESULT}"),
            _OF_OUTPUT | {"run-dir", "seed"},
            _U64,
            ("provider", "consumer", "traffic", "faults"),
        ),
        Kind(
            "fuzz",
            (f"--corpus={CORPUS}", f"--findings={FINDINGS}", f"--json={RESULT}"),
            _OF_OUTPUT
            | {
                "corpus",
                "findings",
                "seed",
                "minimize",
                "differential",
                "cover",
                "emit-test",
                "merge",
            },
            _INT31,
            ("provider",),
        ),
        Kind(
            "race",
            (f"--findings={FINDINGS}", f"--json={RESULT}"),
            _OF_OUTPUT | {"findings", "seed", "list", "operations", "perfetto", "all-steps"},
            _INT63,
            ("provider", "scenario"),
        ),
        Kind(
            "check",
            (f"--dir={RUN}", f"--json={RESULT}"),
            _OF_OUTPUT | {"dir", "seed", "corpus"},
            _INT31,
            (FILE,),
            frozenset({FILE}),
        ),
    )
}


def find_kind(name: str) -> Kind:
    """Look a command up that can be a piece.

    Raises:
        ConfigError: There is none of that name.
    """
    if name in KINDS:
        return KINDS[name]
    near = near_to(name, KINDS) or list(KINDS)
    raise ConfigError.of("command", name, f"a campaign is made of {', '.join(near)}")
