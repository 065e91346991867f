"""A campaign's plan: a TOML file, and the pieces that it comes to.

A piece is one call of a command with one seed. It has its name from what decides what it does:
command, options, seed, and the contents of its files. So the same piece of a changed plan is the
same, and one that was done need not be done again.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from emu.campaign.kinds import KINDS, Kind, Options, Value, find_kind
from emu.cli.rehearsal import rehearse
from emu.errors import ConfigError, EmuError
from emu.host.descriptors import explained

PIECES_MAX = 1_000_000
CELLS_MAX = 20_000
#: Of all files that pieces are given: they go to every worker that needs them.
FILES_MAX = 256 << 20
_TIMES_MAX = 1_000_000
_LIMIT_S = 1800.0
_NAME = 20  #: digits of a piece's name

_SEEDS = 'a count, a list as [1, 2], or a range as "1-100"'
#: What is allowed, of fields whose type says it badly.
_ALLOWED = {
    "seeds": _SEEDS,
    "options": "a table of options by their long names: true, false, a number or a text",
    "matrix": "a table: of each option, a list of at least one value",
    "files": "a list of patterns of files beside the plan",
    "job": "at least one [[job]]",
    "name": "letters, digits and . _ -, 40 at most",
    "command": f"one of {', '.join(KINDS)}",
}


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class JobTable(_Table):
    """``[[job]]``: calls of a command that differ in seed and in what the matrix lists."""

    command: Literal["stress", "fuzz", "race", "check"]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,40}$")] | None = None
    options: dict[str, Value] = {}
    matrix: dict[str, Annotated[list[Value], Field(min_length=1)]] = {}
    seeds: int | str | list[int] = 1
    times: Annotated[int, Field(ge=1, le=_TIMES_MAX)] = 1
    limit: Annotated[float, Field(gt=0, le=1e7)] = _LIMIT_S
    files: list[str] = []


class PlanTable(_Table):
    """The whole file."""

    job: Annotated[list[JobTable], Field(min_length=1, max_length=1000)]
    seconds: Annotated[float, Field(ge=0, le=1e9)] = 0.0
    findings: Annotated[int, Field(ge=0)] = 0


@dataclass(frozen=True, slots=True)
class Input:
    """A file that a piece is given.

    Attributes:
        place: Where it lies in the piece's folder.
        sha256: Of its contents.
    """

    place: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Piece:
    """One call of a command.

    Attributes:
        name: From what decides what it does.
        job: The first job that has it.
        command: Its name.
        words: Its options, but for the seed and what the campaign gives it.
        seed: Of all that it chooses.
        cell: What it has of the matrix.
        inputs: Files that it is given.
        limit_s: Longer than so many seconds it may not take.
        needs_compiler: Whether something is compiled for it.
        subject: The provider, consumer, file or bug that it is about; empty if it is ours.
        target: Of fuzz: whose corpus it is about; else empty.
        merges: It is no piece of a plan: it makes a corpus smaller.
    """

    name: str
    job: str
    command: str
    words: tuple[str, ...]
    seed: int
    cell: Mapping[str, Value]
    inputs: tuple[Input, ...]
    limit_s: float
    needs_compiler: bool
    subject: str
    target: str = ""
    merges: bool = False

    @property
    def again(self) -> str:
        """The command that does it, in the plan's folder."""
        import shlex

        return shlex.join(["zcrx-emu", self.command, *self.words, f"--seed={self.seed}"])


@dataclass(frozen=True, slots=True)
class Plan:
    """What a campaign is to do.

    Attributes:
        path: Its file.
        pieces: By name, in the order in which they are begun.
        repeated: How many more there would be if none were in two jobs.
        files: Contents of inputs, by SHA-256.
        seconds: Of one call of the campaign at most; 0 = until all is done.
        findings: End after so many different ones; 0 = go on.
    """

    path: Path
    pieces: Mapping[str, Piece]
    repeated: int
    files: Mapping[str, bytes]
    seconds: float
    findings: int


def read_plan(path: Path) -> Plan:
    """Read a plan and ask the commands whether they could be called so.

    Raises:
        ConfigError: It cannot be read, or something in it is not allowed.
    """
    table = _table(path)
    files = _Files(path.absolute().parent)
    pieces: dict[str, Piece] = {}
    names: set[str] = set()
    count = 0
    for number, job in enumerate(table.job, 1):
        where = f"job {number}" if job.name is None else f"job {number} ({job.name})"
        name = job.name or f"{job.command}-{number}"
        try:
            if name in names:
                raise ConfigError.of("name", name, "another job has it")
            names.add(name)
            found = _JobReader(job, name, files).pieces()
            for piece in found:
                pieces.setdefault(piece.name, piece)
                count += 1
                if count > PIECES_MAX:
                    raise ConfigError(f"pieces: no more than {PIECES_MAX} are allowed in all")
        except EmuError as error:
            raise ConfigError(f"{where}: {error}") from None
    ordered = _mixed(list(pieces.values()))
    return Plan(
        path=path,
        pieces={piece.name: piece for piece in ordered},
        repeated=count - len(pieces),
        files=files.contents,
        seconds=table.seconds,
        findings=table.findings,
    )


def _mixed(pieces: Sequence[Piece]) -> list[Piece]:
    """In the order of the seeds' places: whatever ends a campaign, each cell had its share."""
    seen: dict[tuple[str, tuple[str, ...]], int] = {}
    ranked = []
    for at, piece in enumerate(pieces):
        cell = (piece.command, piece.words)
        seen[cell] = seen.get(cell, 0) + 1
        ranked.append((seen[cell], at, piece))
    return [piece for _, _, piece in sorted(ranked, key=lambda item: item[:2])]


def _table(path: Path) -> PlanTable:
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"plan: {str(path)!r} cannot be read ({explained(error)})") from None
    except ValueError as error:  # no TOML, no UTF-8
        raise ConfigError(f"plan: {str(path)!r} is no TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"plan: {str(path)!r} is nested too deeply") from None
    try:
        return PlanTable.model_validate(values)
    except ValidationError as error:
        raise _explained(error.errors()[0]) from None


def _explained(error: Any) -> ConfigError:
    """The first thing that is wrong, in the one form that all messages have."""
    where = ""
    table: type[_Table] = PlanTable
    field_name = ""
    for word in error["loc"]:
        if isinstance(word, int) and field_name == "job" and table is PlanTable:
            where, table, field_name = f"job {word + 1}: ", JobTable, ""
        elif not field_name:
            field_name = str(word)
    kind = error["type"]
    if kind == "extra_forbidden":
        allowed = f"known here are {', '.join(table.model_fields)}"
        return ConfigError(f"{where}{ConfigError.of('key', field_name, allowed)}")
    allowed = _ALLOWED.get(field_name, "")
    if kind == "missing":
        return ConfigError(f"{where}{field_name}: it is missing; {allowed or error['msg']}")
    allowed = allowed or error["msg"].removeprefix("Input should ").replace("be ", "it must be ", 1)
    return ConfigError(f"{where}{ConfigError.of(field_name, error['input'], allowed)}")


def seeds_of(value: int | str | list[int], most: int) -> Sequence[int]:
    """The seeds that a job names.

    Raises:
        ConfigError: It is no count, list or range, or one is too large.
    """
    seeds: Sequence[int]
    if isinstance(value, int):
        seeds = range(1, value + 1)
    elif isinstance(value, list):
        seeds = value
    else:
        first, dash, last = value.partition("-")
        if not (dash and first.isdecimal() and last.isdecimal() and len(last) <= 20):
            raise ConfigError.of("seeds", value, _SEEDS)
        seeds = range(int(first), int(last) + 1)
    if not seeds:
        raise ConfigError.of("seeds", value, f"{_SEEDS}: at least one")
    if min(seeds) < 0 or max(seeds) > most:
        raise ConfigError.of("seeds", value, f"each must be 0 to {most}")
    if len(seeds) > PIECES_MAX:
        raise ConfigError.of("seeds", value, f"no more than {PIECES_MAX}")
    return seeds


class _Files:
    """Files that pieces are given, each read once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.contents: dict[str, bytes] = {}
        self._known: dict[Path, str] = {}
        self._size = 0

    def _digest(self, field_name: str, path: Path) -> str:
        if path not in self._known:
            try:
                self._size += path.stat().st_size
                if self._size > FILES_MAX:
                    raise ConfigError.of(field_name, str(path), f"at most {FILES_MAX} bytes in all")
                data = path.read_bytes()
            except (OSError, ValueError) as error:
                why = explained(error) if isinstance(error, OSError) else error
                raise ConfigError.of(field_name, str(path), f"name a file ({why})") from None
            self._known[path] = digest = hashlib.sha256(data).hexdigest()
            self.contents[digest] = data
        return self._known[path]

    def named(self, field_name: str, text: str) -> Input:
        """A file by its name as it stands in a plan."""
        path = Path(os.path.normpath(self.folder / text))
        digest = self._digest(field_name, path)
        if path.is_relative_to(self.folder):
            return Input(PurePosixPath(path.relative_to(self.folder)).as_posix(), digest)
        return Input(f"elsewhere-{digest[:8]}/{path.name}", digest)

    def matching(self, pattern: str) -> list[Input]:
        """Files beside the plan, by a pattern."""
        try:
            found = sorted(path for path in self.folder.glob(pattern) if path.is_file())
        except (ValueError, NotImplementedError, OSError):
            found = []
        if not found:
            raise ConfigError.of("files", pattern, "a pattern of files beside the plan")
        return [self.named("files", str(path)) for path in found]

    def module(self, name: str) -> Input | None:
        """A module beside the plan, if it is there."""
        path = self.folder / f"{name}.py"
        return self.named("module", str(path)) if path.is_file() else None


@dataclass(frozen=True, slots=True)
class _Cell:
    """A combination of a matrix's values.

    Attributes:
        values: The combination itself.
        typed: All options, with files as the plan names them.
        options: All options, with files as they lie in a piece's folder.
        inputs: Those files.
    """

    values: Mapping[str, Value]
    typed: Options
    options: Options
    inputs: tuple[Input, ...]


class _JobReader:
    """Makes pieces of a job."""

    def __init__(self, job: JobTable, name: str, files: _Files) -> None:
        self._job = job
        self._name = name
        self._files = files
        self._kind: Kind = find_kind(job.command)

    def pieces(self) -> Iterator[Piece]:
        seeds = seeds_of(self._job.seeds, self._kind.seed_max)
        cells = [self._prepared(values) for values in self._combinations()]
        for cell in cells:
            self._check(cell, min(seeds), max(seeds))
        for cell in cells:
            words = self._kind.words(cell.options)
            head = json.dumps([self._kind.name, words, [[i.place, i.sha256] for i in cell.inputs]])
            for seed, nth in itertools.product(seeds, range(self._job.times)):
                yield self._piece(cell, words, f"{head}/{seed}/{nth}", seed)

    def _piece(self, cell: _Cell, words: tuple[str, ...], content: str, seed: int) -> Piece:
        kind = self._kind
        target = kind.target(cell.options) if kind.name == "fuzz" else ""
        if target and (provider := kind.named_files(cell.options).get("provider")) is not None:
            # Another provider of the same name has a corpus of its own.
            digest = next(item.sha256 for item in cell.inputs if item.place == provider)
            target = f"{target}-{digest[:8]}"
        return Piece(
            name=hashlib.sha256(content.encode()).hexdigest()[:_NAME],
            job=self._name,
            command=kind.name,
            words=words,
            seed=seed,
            cell=cell.values,
            inputs=cell.inputs,
            limit_s=self._job.limit,
            needs_compiler=kind.needs_compiler(cell.options),
            subject=kind.subject(cell.options),
            target=target,
        )

    def _combinations(self) -> list[dict[str, Value]]:
        names = list(self._job.matrix)
        for name in names:
            if name in self._job.options:
                raise ConfigError.of("matrix", name, "it is among the options, too")
        count = 1
        for name in names:
            count *= len(self._job.matrix[name])
        if count > CELLS_MAX:
            raise ConfigError.of("matrix", count, f"no more than {CELLS_MAX} combinations")
        lists = [self._job.matrix[name] for name in names]
        return [dict(zip(names, values, strict=True)) for values in itertools.product(*lists)]

    def _prepared(self, values: dict[str, Value]) -> _Cell:
        """A combination with its files, each named as it lies in the piece's folder."""
        typed = {**self._job.options, **values}
        options = dict(typed)
        self._kind.check(options)
        inputs = [item for pattern in self._job.files for item in self._files.matching(pattern)]
        for name, path in self._kind.named_files(options).items():
            found = self._files.named(name, path)
            options[name] = str(options[name]).replace(path, found.place)
            inputs.append(found)
        modules = map(self._files.module, self._kind.modules(options))
        inputs += [found for found in modules if found is not None]
        unique = {item.place: item for item in inputs}
        return _Cell(values, typed, options, tuple(unique[place] for place in sorted(unique)))

    def _check(self, cell: _Cell, *seeds: int) -> None:
        """Ask the command, in the folder that the plan's files are named from."""
        for seed in dict.fromkeys(seeds):
            words = [*self._kind.words(cell.typed), f"--seed={seed}"]
            with contextlib.chdir(self._files.folder):
                rehearse(self._kind.name, words)
