# SPDX-License-Identifier: MIT
"""Generate the C source of the extension module ``emu._core`` (cffi, API mode, abi3).

Run by the build with the path of the file to write, and that of a depfile if it keeps one.
Nothing is declared here: the headers beside this file are read, and say it once.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import cffi

#: What Python can reach: a header in whole, or names of it. Whoever holds another is below it.
HEADERS: dict[str, str | None] = {
    "zcrx_provider.h": "zcrx_provider_ops",
    "wire/abi.h": "IORING_ZCRX_AREA_SHIFT io_uring_zcrx_rqe",
    "wire/crc32c.h": None,
    "wire/flight.h": (
        "ZCRX_FLIGHT_ENTRIES zcrx_flight_has_counter zcrx_flight_read_clocks zcrx_writer"
    ),
    "wire/journal.h": "ZCRX_JOURNAL_MAX zcrx_journal_actor",
    "wire/rng.h": "zcrx_rng",
    "wire/sigbus.h": None,
    "kernel/provider.h": (
        "ZCRX_POOLS_MAX ZCRX_VERDICT_COUNT zcrx_judgement zcrx_nl_dump zcrx_nl_fill"
    ),
    "kernel/contract.h": (
        "ZCRX_AREAS_MAX ZCRX_CONTRACT_REFS_CACHE ZCRX_CONTRACT_STRICT_ALIAS zcrx_contract"
        " zcrx_kernel_level zcrx_level zcrx_level_of"
    ),
    "kernel/plugin.h": "zcrx_caller zcrx_plugin_call zcrx_plugin_open",
    "run/layout.h": (
        "ZCRX_AREA_SIZES ZCRX_LAYOUT_VERSION ZCRX_QUEUES_MAX ZCRX_RULES_MAX zcrx_consequence"
        " zcrx_layout_sizes zcrx_mapping zcrx_queue_attach zcrx_queue_create_pool"
        " zcrx_queue_format_objects zcrx_shape zcrx_sizes"
    ),
    "run/areas.h": "zcrx_areas_first",
    "run/control.h": None,
    "run/sibling.h": None,
    "run/step.h": None,
    "faults/fault.h": (
        "zcrx_fault_area zcrx_fault_fire zcrx_fault_free zcrx_fault_kind zcrx_fault_mutate"
        " zcrx_fault_new zcrx_fault_next zcrx_fault_rule"
    ),
    "faults/injection.h": "ZCRX_CUSTOM_ENTRIES_MAX ZCRX_HISTORY zcrx_custom_call",
    "judge/audit.h": None,
    "judge/reconcile.h": None,
    "judge/standing.h": None,
    "judge/trail.h": None,
    "zcrx_consumer.h": "zcrx_consumer_ops",
    "raw/consumer.h": "zcrx_raw_open zcrx_raw_run",
    "raw/observer.h": None,
    "actors/consumer.h": None,
    "actors/provider_loop.h": None,
    "actors/nic.h": None,
    "actors/poison.h": None,
    "actors/rss.h": None,
}

#: What C calls and Python defines.
CALLED = """
extern "Python" int zcrx_custom_ask_python(void *context, struct zcrx_custom_call *call);
"""

_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
#: As clang-format leaves them, each begins a line: a constant, a type, a function.
_DECLARATION = re.compile(
    r"^#define (?P<constant>\w+)[ \t]+[^\n]*$"
    r"|^(?:struct|enum) (?P<type>\w+)(?: \{[^}]*\})?;"
    r"|^(?:static inline )?(?P<prototype>(?!static|extern|typedef)\w[\w \*]*?(?P<function>\w+)"
    r"\([^;{}]*\))(?:;|\n\{\n.*?^\})",
    re.MULTILINE | re.DOTALL,
)
_DIRECTIVE = re.compile(r"^#.*$", re.MULTILINE)
#: An array's size that is no number: the compiler knows it.
_SIZE = re.compile(r"\[[^\]]*[A-Z][^\]]*\]")


def declarations(header: Path, names: str | None) -> list[str]:
    """What a header declares, as cffi reads it: all of it, or what has one of the names."""
    text = _COMMENT.sub("", header.read_text(encoding="utf-8"))
    found: dict[str, str] = {}
    for match in _DECLARATION.finditer(text):
        if match["constant"]:
            found[match["constant"]] = f"#define {match['constant']} ..."
        elif match["type"]:
            found[match["type"]] = _SIZE.sub("[...]", match[0])
        else:
            found[match["function"]] = f"{match['prototype']};"
    if names is not None:
        missing = [name for name in names.split() if name not in found]
        if missing:
            sys.exit(f"{header}: does not declare {', '.join(missing)}")
        return [found[name] for name in names.split()]
    left = _DIRECTIVE.sub("", _DECLARATION.sub("", text)).strip()
    if left:
        sys.exit(f"{header}: declares what is not understood here: {left.splitlines()[0]}")
    return list(found.values())


def main() -> None:
    """Write the C source, and which headers it was made of."""
    folder = Path(__file__).parent
    builder = cffi.FFI()
    for header, names in HEADERS.items():
        builder.cdef("\n".join(declarations(folder / header, names)))
    builder.cdef(CALLED)
    includes = "\n".join(f'#include "{header}"' for header in HEADERS)
    builder.set_source("emu._core", includes, py_limited_api=True)
    builder.emit_c_code(sys.argv[1])
    if len(sys.argv) > 2:
        made_of = " ".join(str(folder / header).replace(" ", "\\ ") for header in HEADERS)
        Path(sys.argv[2]).write_text(f"{sys.argv[1]}: {made_of}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
