"""Findings as files: what was attacked, the program, and what it showed.

A finding is a JSON file that a person can read and ``zcrx-emu replay`` can run. It carries the
program's bytes and a digest of them, so that a file that was cut or edited is noticed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from emu.bugs import CONTENT_BUGS, find_bug
from emu.errors import ConfigError
from emu.fuzz.harness import CODEC, Execution, Target, packed
from emu.host.places import absolute, found_again
from emu.verdict.finding_file import claims_format, read_content, wrong_file
from emu.verdict.report import write_text

FORMAT = "zcrx-emu fuzz finding"
VERSION = 1
SUFFIX = ".finding.json"
#: Columns of a test that is written out.
_LINE = 100


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding.

    Attributes:
        program: The program, in its canonical bytes.
        target: What was attacked.
        trial: What came of it when it was written.
        before: Programs that must run first, in the same process: without them nothing shows.
        is_shown: Whether it showed once more when it was run anew.
        found_by: Engine, seed, seconds and executions: for people.
    """

    program: bytes
    target: Target
    trial: Execution
    before: tuple[bytes, ...] = ()
    is_shown: bool = True
    found_by: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """A file name made from the signature and the program."""
        slug = re.sub(r"[^a-z0-9]+", "-", self.trial.signature.lower()).strip("-")
        return f"{slug}-{_digest(self.program, self.before)[:8]}"

    def path_in(self, folder: Path) -> Path:
        """Its file in a folder."""
        return folder / f"{self.name}{SUFFIX}"

    def write(self, folder: Path) -> Path:
        """Write it into a folder; the file.

        Raises:
            EnvironmentProblem: It cannot be written.
        """
        path = self.path_in(folder)
        provider = self.target.provider
        trial = {key: value for key, value in asdict(self.trial).items() if key != "steps"}
        content = {
            "format": FORMAT,
            "version": VERSION,
            "codec": CODEC,
            "target": {
                "bug": self.target.bug.name if self.target.bug else None,
                "provider": absolute(str(provider)) if provider else None,
                "sanitize": self.target.sanitize,
            },
            "folder": absolute(str(folder)),
            "program": self.program.hex(),
            "sha256": _digest(self.program, self.before),
            "before": [program.hex() for program in self.before],
            "is_shown": self.is_shown,
            **trial,
            "steps": [asdict(step) for step in self.trial.steps],
            "found_by": self.found_by,
        }
        write_text(path, json.dumps(content, indent=2) + "\n")
        return path


def _digest(program: bytes, before: Sequence[bytes]) -> str:
    return hashlib.sha256(program + packed(before)).hexdigest()


def finding_as_dict(finding: Finding, path: Path) -> dict[str, Any]:
    """What a command's summary says of a finding, and of its file."""
    return {
        "signature": finding.trial.signature,
        "operations": finding.trial.operations,
        "programs_before": len(finding.before),
        "is_shown": finding.is_shown,
        "file": str(path),
    }


def is_finding(path: Path) -> bool:
    """Whether a file claims to be a finding (which need not be a sound one)."""
    return claims_format(path, SUFFIX, FORMAT)


#: No text has these bytes; each program has some: counts and indices are binary.
_OF_NO_TEXT = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b"))


def is_program(path: Path) -> bool:
    """Whether a file is a program in plain bytes, as engines leave them, rather than a text."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return bool(set(file.read(1 << 16)) & set(_OF_NO_TEXT))
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return False


def _typed(content: dict[str, Any], name: str, *types: type) -> Any:
    """A value of a file that anybody may have edited.

    Raises:
        ValueError: It is not there, or of another type.
    """
    if name not in content:
        raise ValueError(f"{name!r} is missing")
    if not isinstance(content[name], types):
        raise ValueError(f"{name!r} is of the wrong type")
    return content[name]


def _texts(content: dict[str, Any], name: str) -> list[str]:
    found = _typed({name: [], **content}, name, list)
    if not all(isinstance(item, str) for item in found):
        raise ValueError(f"{name!r} is of the wrong type")
    return list(found)


def read_finding(path: Path) -> Finding:
    """Read a finding.

    Raises:
        ConfigError: The file cannot be read, was cut off, is of another version, or names a
            bug that does not exist.
    """
    content = read_content(path, FORMAT, version=VERSION, codec=CODEC)
    try:
        program = bytes.fromhex(_typed(content, "program", str))
        # Files of an earlier version have none of these two.
        before = [bytes.fromhex(item) for item in _texts(content, "before")]
        is_shown = _typed({"is_shown": True, **content}, "is_shown", bool)
        digest = _typed(content, "sha256", str)
        target = _typed(content, "target", dict)
        bug = _typed(target, "bug", str, type(None))
        provider = _typed(target, "provider", str, type(None))
        sanitize = _typed(target, "sanitize", bool)
        trial = Execution(
            outcome=_typed(content, "outcome", str),
            shape=_typed(content, "shape", str),
            signature=_typed(content, "signature", str),
            what=_typed(content, "what", str),
            operations=_typed(content, "operations", int),
        )
    except ValueError as error:
        raise wrong_file(path, f"is damaged: {error}") from None
    if _digest(program, before) != digest:
        raise wrong_file(path, "is damaged: the program is not the one that its digest is of")
    return Finding(
        program,
        Target(
            bug=find_bug(bug, CONTENT_BUGS) if bug is not None else None,
            provider=(
                None
                if provider is None
                else Path(found_again(provider, content.get("folder"), path.parent))
            ),
            sanitize=sanitize,
        ),
        trial,
        tuple(before),
        is_shown,
    )


def read_program(path: Path) -> tuple[bytes, tuple[bytes, ...], Target | None]:
    """Read a program: of a finding, with those before it and its target, or as plain bytes.

    Raises:
        ConfigError: It cannot be read.
    """
    if is_finding(path):
        finding = read_finding(path)
        return finding.program, finding.before, finding.target
    try:
        return path.read_bytes(), (), None
    except OSError as error:
        raise ConfigError(
            f"file: {str(path)!r} cannot be read ({error.strerror}); name a program or a finding"
        ) from None


def emitted_test(finding: Finding, folder: Path | None = None) -> str:
    """A pytest test that holds the program against its target again, in a file of its own.

    Args:
        finding: What was found.
        folder: The folder that the test will be in: a provider is named as seen from there, so that
            both can be kept in a repository. None: by its absolute path.
    """
    trial, target = finding.trial, finding.target
    name = re.sub(r"[^a-z0-9]+", "_", finding.name).strip("_")
    told = [f"{trial.signature}: {trial.meaning or trial.what}.", "", trial.shape, ""]
    told += [f"    {step.number:3} {step.operation}" for step in trial.steps]
    told += ["", f"{trial.what}: expected {trial.expected}, got {trial.actual}."]
    arguments = ["PROGRAM", f"sanitize={target.sanitize}"]
    if finding.before:
        told += ["", f"{len(finding.before)} program(s) must run before it in the same process."]
        arguments.append("before=BEFORE")
    if target.provider:
        arguments.append("provider=PROVIDER")
    if target.bug:
        arguments.append(f"bug={json.dumps(target.bug.name)}")
    imports = "from pathlib import Path\n\n" if target.provider else ""
    return (
        f'"""{_docstring(told)}\n"""\n\n'
        f"{imports}"
        "from emu.fuzz import check_program\n\n"
        f"{_provider_line(target.provider, folder) if target.provider else ''}"
        f"{_call('PROGRAM = bytes.fromhex', _hex_lines(finding.program), ' ')}\n"
        f"{_before_lines(finding.before)}\n\n"
        f"def test_{name}() -> None:\n"
        f"    {_call('check_program', arguments, ', ', '    ')}\n"
    )


def _before_lines(before: Sequence[bytes]) -> str:
    """The programs before it as a constant, one below the other; nothing if there are none."""
    if not before:
        return ""
    rows = "".join(
        f"    {_call('bytes.fromhex', _hex_lines(program, 8), ' ', '    ')},\n"
        for program in before
    )
    return f"BEFORE = [\n{rows}]\n"


def _provider_line(provider: Path, folder: Path | None) -> str:
    path, made = absolute(str(provider)), "Path"
    if folder is not None:
        path, made = os.path.relpath(path, folder), "Path(__file__).parent.joinpath"
    parts = [json.dumps(part) for part in Path(path).parts]
    return _call(f"PROVIDER = {made}", parts, ", ") + "\n"


def _docstring(lines: Sequence[str]) -> str:
    """Lines of text as they may stand in a docstring."""
    wrapped: list[str] = []
    for line in lines:
        indent = " " * (len(line) - len(line.lstrip()))
        text = line.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
        wrapped += textwrap.wrap(text, _LINE - 3, subsequent_indent=indent + "    ") or [""]
    return "\n".join(wrapped)


def _hex_lines(program: bytes, indent: int = 4) -> list[str]:
    digits, width = program.hex(), _LINE - indent - len('""')
    return [f'"{digits[at : at + width]}"' for at in range(0, len(digits), width)] or ['""']


def _call(function: str, arguments: Sequence[str], separator: str, indent: str = "") -> str:
    """A call as the formatter has it: in one line if there is room."""
    line = f"{function}({separator.join(arguments)})"
    if len(indent) + len(line) <= _LINE:
        return line
    end = separator.strip()
    inner = "".join(f"{indent}    {argument}{end}\n" for argument in arguments)
    return f"{function}(\n{inner}{indent})"
