"""What lies in a folder of runs: each in a line's worth of facts, whatever became of it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from emu.verdict.head import CutOffError, members

#: What a folder was named after when nobody gave it a name: when it was begun, and by whom.
_NAMED = re.compile(r"(?:check-)?(\d{8}-\d{6})(?:-(\d+))?(?:-\d+)?")
_OF_RUN = ("ok", "seed", "config", "elapsed_s", "ended", "problems", "packets")
_OF_CHECK = ("file", "kind", "kernel", "seed", "seconds", "interrupted", "findings", "failed")
_OF_FUZZ = ("signature", "target")
_OF_RACE = ("name", "memory", "bug", "provider")
_FINDINGS = {".finding.json": "fuzz", ".race.json": "race"}


@dataclass(frozen=True, slots=True)
class Entry:
    """A run, a check, a finding, or what is left of one."""

    name: str
    path: str
    command: str | None  #: stress, recv, check, fuzz or race; None: nobody knows
    when: str  #: local time, ISO 8601, to the second
    is_begin: bool  #: the time at which it began, by its name; else its file's
    verdict: str  #: pass, fail, finding, unjudged, running, unfinished or damaged
    why: str = ""  #: the first finding of several, or what is wrong with the file
    more: int = 0  #: findings beside that one
    seed: int | None = None
    options: Mapping[str, Any] | None = None  #: of a run: its configuration, as in ``run.json``
    subject: str = ""  #: of others: what was looked at
    seconds: float | None = None
    packets: int | None = None  #: delivered

    def as_dict(self) -> dict[str, Any]:
        """As values for JSON."""
        return asdict(self)


def entries(folder: Path) -> list[Entry]:
    """All that lies in a folder, the newest first; the folder itself if it is a run's.

    Raises:
        OSError: It cannot be read.
    """
    if _report_in(folder) is not None:
        return [_of_folder(folder)]
    found = []
    with os.scandir(folder) as items:
        for item in items:
            if item.is_dir():
                found.append(_of_folder(Path(item.path)))
            elif kind := next((k for end, k in _FINDINGS.items() if item.name.endswith(end)), None):
                found.append(_read(Path(item.path), Path(item.path), _FROM[kind]))
    return sorted(found, key=lambda entry: (entry.when, entry.name), reverse=True)


def _report_in(folder: Path) -> Path | None:
    return next((f for n in ("run.json", "check.json") if (f := folder / n).is_file()), None)


def _of_folder(folder: Path) -> Entry:
    try:
        file = _report_in(folder)
        if file is not None:
            return _read(folder, file, _FROM[file.name])
        return _without_report(folder)
    except OSError as error:
        return _damaged(folder, folder, f"it cannot be read ({error.strerror})")


def _without_report(folder: Path) -> Entry:
    named = _NAMED.fullmatch(folder.name)
    pid = None if named is None or folder.name.startswith("check-") else named[2]
    if pid is not None and _is_ours(pid):
        return Entry(verdict="running", **_common(folder, folder), why=f"process {pid}")
    what = "no report in it" if any(folder.iterdir()) else "it is empty"
    return Entry(verdict="unfinished", **_common(folder, folder), why=what)


def _is_ours(pid: str) -> bool:
    """Is a process at work that may write into its folder yet?"""
    try:
        words = Path("/proc", pid, "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"emu" in words or any(word.endswith(b"zcrx-emu") for word in words)


def _common(place: Path, file: Path, command: str | None = None) -> dict[str, Any]:
    named = _NAMED.fullmatch(place.name)
    try:
        when = None if named is None else datetime.strptime(named[1], "%Y%m%d-%H%M%S")
    except ValueError:  # digits that are no time
        when = None
    is_begin = when is not None
    if when is None:
        try:
            when = datetime.fromtimestamp(file.stat().st_mtime)
        except OSError:
            when = datetime.fromtimestamp(0)
    return {
        "name": place.name,
        "path": str(place),
        "command": command,
        "when": when.isoformat(timespec="seconds"),
        "is_begin": is_begin,
    }


def _damaged(place: Path, file: Path, why: str) -> Entry:
    return Entry(verdict="damaged", **_common(place, file), why=why)


def _read(place: Path, file: Path, make: Callable[[Path, Path], Entry]) -> Entry:
    try:
        return make(place, file)
    except OSError as error:
        return _damaged(place, file, f"{file.name} cannot be read ({error.strerror})")
    except CutOffError as error:
        return _damaged(place, file, f"{file.name}: {error}")
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return _damaged(place, file, f"{file.name} is not as it was written")


def _run(place: Path, file: Path) -> Entry:
    value = members(file, _OF_RUN)
    config, problems, ok = value["config"], value["problems"], value["ok"]
    if not isinstance(config, dict) or not isinstance(ok, bool):
        raise TypeError
    # A control process that died leaves its last word: nobody judged.
    verdict = "unjudged" if "packets" not in value else "pass" if ok else "fail"
    return Entry(
        **_common(place, file, "recv" if config.get("connections") else "stress"),
        verdict=verdict,
        why=str(problems[0]) if problems else "",
        more=max(len(problems) - 1, 0),
        seed=_whole(value["seed"]),
        options=config,
        seconds=float(value["elapsed_s"]) if "elapsed_s" in value else None,
        packets=_whole(value["packets"]["delivered"]) if "packets" in value else None,
    )


def _check(place: Path, file: Path) -> Entry:
    value = members(file, _OF_CHECK)
    count, failed = _whole(value["findings"]), _whole(value["failed"])
    verdict, why = "pass", ""
    if count:
        verdict, why = "fail", f"{count} finding{'s' if count > 1 else ''}"
    elif failed or value["interrupted"]:
        verdict = "unjudged"
        why = "interrupted" if value["interrupted"] else f"{failed} of its tools could not look"
    return Entry(
        **_common(place, file, "check"),
        verdict=verdict,
        why=why,
        seed=_whole(value["seed"]),
        subject=f"{value['kind']} {value['file']}, kernel {value['kernel']}",
        seconds=float(value["seconds"]),
    )


def _fuzz(place: Path, file: Path) -> Entry:
    value = members(file, _OF_FUZZ)
    return Entry(
        **_common(place, file, "fuzz"),
        verdict="finding",
        why=str(value["signature"]),
        subject=_attacked(value["target"]),
    )


def _race(place: Path, file: Path) -> Entry:
    value = members(file, _OF_RACE)
    return Entry(
        **_common(place, file, "race"),
        verdict="finding",
        why=str(value["name"]),
        subject=f"{_attacked(value)}, memory {value['memory']}",
    )


def _attacked(target: Mapping[str, Any]) -> str:
    if target.get("provider"):
        return f"provider {target['provider']}"
    return f"our provider with {target['bug']}" if target.get("bug") else "our provider"


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return value


_FROM = {"run.json": _run, "check.json": _check, "fuzz": _fuzz, "race": _race}
