"""Bugs of the racing kind: mistakes that show only in some interleavings."""

from __future__ import annotations

from emu.bugs import Bug

_BUGS = (
    Bug(
        "cve-2026-43121",
        "the user's reference is read first and decremented in a second step: against a scrub "
        "in between, the same buffer is returned twice (CVE-2026-43121)",
        "area.h",
        "\tdo {\n"
        "\t\tcount = now < max ? now : max;\n"
        "\t\tif (count == 0)\n"
        "\t\t\treturn 0;\n"
        "\t} while (!shm_cas_u32(refs, &now, now - count, POINT_USER_REF_CAS));\n"
        "\treturn count;\n",
        "\tcount = now < max ? now : max;\n"
        "\tif (count == 0)\n"
        "\t\treturn 0;\n"
        "\tshm_fetch_sub_u32(refs, count, POINT_USER_REF_CAS);\n"
        "\treturn count;\n",
    ),
)

#: By name.
RACING_BUGS: dict[str, Bug] = {bug.name: bug for bug in _BUGS}
