"""The contract: which kernel's provider is played, and where it deviates from that on purpose.

One value, decided where a run (or a provider to be stepped) is made, and handed to all who act by
it or judge by it. What it means each of them says for itself: the core in ``cext/kernel/``, the
specification in :mod:`emu.spec.model`, the judges in their own words.
"""

from __future__ import annotations

from dataclasses import dataclass

from emu.errors import ConfigError

SEED = "seed"  #: the first version of Linux's zero-copy receive (6.15), known bugs fixed
#: All levels, oldest first.
LEVELS = (SEED, "6.15", "6.18", "7.1", "7.2", "7.3")
REFS_CACHE = "refs-cache"  #: user references are handed over, and cached where the refill is
#: Experimental: not merged, with the level that they are put on top of.
EXPERIMENTAL = {REFS_CACHE: "7.3"}
#: Levels at which buffers may be larger than a page, and an instance may have no device.
HAS_RX_BUF_LEN = HAS_NO_DEVICE = frozenset({"7.1", "7.2", "7.3"})
#: Levels at which areas may be added to an instance.
HAS_AREAS = frozenset({"7.3"})
#: Levels that take entries in a row that name the same buffer together, all or none.
BY_RUNS = frozenset({"7.3"})


def check_level(level: str, *, experimental: bool = False) -> None:
    """Refuse what is no level.

    Args:
        level: Its name.
        experimental: Whether the caller plays those that are experimental, too.

    Raises:
        ConfigError: There is no such one, or it is not played here.
    """
    is_experimental = isinstance(level, str) and level in EXPERIMENTAL
    if level in LEVELS or (experimental and is_experimental):
        return
    if is_experimental:
        allowed = "it is experimental: only 'race' without --live, and our own provider, play it"
    else:
        allowed = f"it must be one of {', '.join(LEVELS)}"
    raise ConfigError.of("kernel", level, allowed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What a provider is obliged to do.

    A level is looked up by whoever has a meaning for it; who has none refuses it.
    """

    level: str = SEED  #: of the kernel
    strict_alias: bool = False  #: reject an index whose upper bits would vanish
