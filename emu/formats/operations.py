"""Where the operations of somebody's provider, or of a consumer, are in its source.

The library is opened in a process that is there for nothing else: opening it runs its code.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from emu.compile.provider_file import is_source, library_of
from emu.errors import EmuError
from emu.race.timeline import Place, find_places

#: Members of either table, behind its numbers and its name.
MEMBERS = {
    "provider": (
        "init",
        "alloc_netmems",
        "release_netmem",
        "destroy",
        "scrub",
        "copy_buffer",
    ),
    "consumer": ("run",),
}
#: A constructor of it may not return.
_OPEN_S = 10
#: A function's head has so many lines at most, up to its brace.
_HEAD = 8
_PR_SET_PDEATHSIG, _SIGKILL = 1, 9
#: Told the library, the symbol, how many members; it says offsets from where the library begins.
_ASK = f"""
import ctypes, json, sys
ctypes.CDLL(None).prctl({_PR_SET_PDEATHSIG}, {_SIGKILL})
class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("file", "base", "name", "symbol")]
library, count = ctypes.CDLL(sys.argv[1]), int(sys.argv[3])
table = (ctypes.c_void_p * (2 + count)).in_dll(library, sys.argv[2])
info = Info()
dladdr = ctypes.CDLL(None).dladdr
dladdr.argtypes = [ctypes.c_void_p, ctypes.POINTER(Info)]
offsets = []
for member in list(table)[2:]:
    known = member and dladdr(member, ctypes.byref(info))
    offsets.append(member - info.base if known else 0)
print(json.dumps(offsets))
"""


def operations_of(file: Path, kind: str) -> dict[str, Place]:
    """Find where each operation begins; those that nobody can tell of are not there.

    Args:
        file: C source or library.
        kind: ``provider`` or ``consumer``.
    """
    members = MEMBERS[kind]
    try:
        library = library_of(file, kind)
        words = [str(library), f"zcrx_{kind}", str(len(members))]
        answer = subprocess.run(
            [sys.executable, "-I", "-c", _ASK, *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=_OPEN_S,
        )
        offsets = json.loads(answer.stdout.splitlines()[-1]) if answer.returncode == 0 else []
    except (EmuError, OSError, ValueError, IndexError, subprocess.TimeoutExpired):
        return {}
    # Places are those of return addresses: a byte behind what is asked for.
    wanted = {name: offset + 1 for name, offset in zip(members, offsets, strict=False) if offset}
    places = find_places(library, wanted.values(), outermost=True)
    found = {name: places[offset] for name, offset in wanted.items() if places[offset].line}
    return {name: place for name, place in found.items() if _is_there(place)}


def _is_there(place: Place) -> bool:
    """Whether the lines up to it name the function: some symbolizers take one file for another."""
    try:
        lines = Path(place.path).read_text(errors="replace").splitlines()
    except OSError:
        return False
    return any(place.function in line for line in lines[max(place.line - _HEAD, 0) : place.line])


def table_line(file: Path, kind: str) -> int:
    """The line where a source defines its table; 0 if that cannot be seen."""
    if not is_source(file):
        return 0
    try:
        text = file.read_text(errors="replace")
    except OSError:
        return 0
    found = re.search(rf"\bzcrx_{kind}\s*=", text)
    return 1 + text.count("\n", 0, found.start()) if found else 0
