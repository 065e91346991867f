"""Bugs of the content kind: what a provider gets wrong without anybody racing it."""

from __future__ import annotations

from emu.bugs import Bug

_BUGS = (
    Bug(
        "bound-off-by-one",
        "the bound of the niov index is tested with > instead of >=: the entry that names the "
        "buffer behind the last one is believed",
        "provider.c",
        "if ((uint32_t)index >= num_niovs)",
        "if ((uint32_t)index > num_niovs)",
    ),
)

#: By name.
CONTENT_BUGS: dict[str, Bug] = {bug.name: bug for bug in _BUGS}
