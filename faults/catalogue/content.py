"""The bytes of an RQE: the faults, and the same mutations in Python.

Runs apply them in C (``cext/faults/fault.c``). Those here are for tests, of this project and of
others, and need no C core.
"""

from __future__ import annotations

import random

from faults.fault import REFERENCE_VERDICTS, U32_MAX, VALID_VERDICTS, Actor, Fault, Group, Param
from faults.rqe import AREA_SHIFT, NIOV_SHIFT, NIOV_SIZE, Rqe

_INDEX_MAX = (1 << AREA_SHIFT - NIOV_SHIFT) - 1
_AREA_BYTES = (1 << AREA_SHIFT) - 1
_ALIAS_BITS = 0xF << 44

FAULTS = (
    Fault(
        name="bad-pad",
        number=1,
        actor=Actor.CONSUMER,
        group=Group.CONTENT,
        summary="an RQE whose __pad is not zero",
        explanation=(
            "A valid return with a nonzero __pad. The provider looks at __pad before "
            "anything else and rejects the entry; it is consumed all the same."
        ),
        params=(
            Param(
                name="value",
                doc="the __pad: random, a single bit set, or all ones",
                default=0,
                choices=("random", "one-bit", "ones"),
            ),
        ),
        verdicts=frozenset({"bad_pad"}),
    ),
    Fault(
        name="bad-area",
        number=2,
        actor=Actor.CONSUMER,
        group=Group.CONTENT,
        summary="an RQE whose offset names an area that does not exist",
        explanation=(
            "A valid return with an area id in offset bits 48 to 63 that no area of the queue has "
            "or will have. An instance of the first version has area 0 only; with --areas the ids "
            "of those that are still to come are left out (never-given names them). The entry is "
            "rejected."
        ),
        params=(
            Param(
                name="value",
                doc="the area id: random, one above the last (1, if there is one), or 65535",
                default=0,
                choices=("random", "one", "max"),
            ),
        ),
        verdicts=frozenset({"bad_area"}),
    ),
    Fault(
        name="bad-index",
        number=3,
        actor=Actor.CONSUMER,
        group=Group.CONTENT,
        summary="an RQE whose niov index is not below the number of buffers",
        explanation=(
            "The niov index (offset bits 12 to 47) is out of its area's range in its low 32 bits, "
            "so that it stays out of range when the kernel truncates it before the bound check. "
            "An index that is out of range only above bit 31 would be an alias, and accepted."
        ),
        params=(
            Param(
                name="value",
                doc=(
                    "the niov index: random, the number of buffers, one more, "
                    "far beyond the area, or 2^36-1"
                ),
                default=0,
                choices=("random", "count", "count+1", "far", "max"),
            ),
        ),
        verdicts=frozenset({"bad_index"}),
    ),
    Fault(
        name="bad-offset",
        number=4,
        actor=Actor.CONSUMER,
        group=Group.CONTENT,
        summary="an RQE whose whole offset is garbage",
        explanation=(
            "All 64 bits of the offset are replaced. The checks come in their order, area id, "
            "niov index, user reference, so the bytes alone decide up to the last of them: "
            "all ones name area 65535, 2^48-1 names area 0 and an index out of range, and a "
            "random offset names a buffer that exists at most once in 2^28 times."
        ),
        params=(
            Param(
                name="value",
                doc="the offset: random, all ones, or 2^48-1",
                default=0,
                choices=("random", "ones", "max48"),
            ),
        ),
        verdicts=REFERENCE_VERDICTS | {"bad_area", "bad_index"},
        consequences=(
            "A random offset that happens to name a buffer of which the consumer holds a "
            "fragment gives that fragment back."
        ),
    ),
    Fault(
        name="alias",
        number=5,
        actor=Actor.CONSUMER,
        group=Group.CONTENT,
        summary="a valid return with bits 44 to 47 of its offset set",
        explanation=(
            "The kernel keeps the niov index, offset bits 12 to 47, in 32 bits before the "
            "bound check, so bits 44 to 47 vanish and the entry returns the buffer that the rest "
            "names. It is accepted like any valid one and counted as an alias. With a strict "
            "provider (--strict-alias) it stands beside the valid return and earns bad_index."
        ),
        verdicts=VALID_VERDICTS | {"bad_index"},
        modifies=True,
        keeps=1,
    ),
    Fault(
        name="mid-buffer",
        number=6,
        actor=Actor.CONSUMER,
        group=Group.CONTENT,
        summary="a valid return whose offset points elsewhere into the same buffer",
        explanation=(
            "Offset bits 0 to 11 are replaced. They are ignored: a return is about a buffer, "
            "and any place in it names it. This is legal and accepted."
        ),
        verdicts=VALID_VERDICTS,
        modifies=True,
    ),
    Fault(
        name="len-garbage",
        number=7,
        actor=Actor.CONSUMER,
        group=Group.CONTENT,
        summary="a valid return with a len that means nothing",
        explanation=(
            "The len field is replaced. The provider never reads it, because a user reference "
            "has no size. This is legal and accepted."
        ),
        params=(
            Param(
                name="value",
                doc="the len: random, 0, or 2^32-1",
                default=0,
                choices=("random", "zero", "max"),
            ),
        ),
        verdicts=VALID_VERDICTS,
        modifies=True,
    ),
)


def _index(value: str, rng: random.Random, num_niovs: int) -> int:
    if value == "count":
        return num_niovs
    if value == "count+1":
        return num_niovs + 1
    if value == "max":
        return _INDEX_MAX
    # The low 32 bits must be out of range by themselves, whatever is above them.
    least = 2**31 if value == "far" else num_niovs
    return rng.randrange(16) << 32 | rng.randrange(least, 2**32)


def _other(rng: random.Random, limit: int, than: int) -> int:
    """A number below ``limit`` that is not ``than``."""
    value = rng.randrange(limit - 1)
    return value + 1 if value >= than else value


def mutate(
    fault: Fault, params: tuple[int, ...], rng: random.Random, valid: Rqe, num_niovs: int
) -> Rqe:
    """Apply a content fault to a valid return.

    Args:
        fault: One of :data:`FAULTS`.
        params: Compiled, as in :attr:`faults.PlanRule.params`.
        rng: Decides what is random.
        valid: The entry to start from; it names a buffer of the area.
        num_niovs: Buffers of the area: 1 to 2**20.

    Raises:
        ValueError: It is another fault.
    """
    value = fault.params[0].text(params[0]) if fault.params else ""
    off, in_niov = valid.off, valid.off % NIOV_SIZE
    if fault.name == "bad-pad":
        pads = {"one-bit": 1 << rng.randrange(32), "ones": U32_MAX}
        return valid._replace(pad=pads.get(value, rng.randrange(1, 2**32)))
    if fault.name == "bad-area":
        area = {"one": 1, "max": 0xFFFF}.get(value, rng.randrange(1, 0x10000))
        return valid._replace(off=area << AREA_SHIFT | off & _AREA_BYTES)
    if fault.name == "bad-index":
        return valid._replace(off=_index(value, rng, num_niovs) << NIOV_SHIFT | in_niov)
    if fault.name == "bad-offset":
        whole = {"ones": 2**64 - 1, "max48": _AREA_BYTES}
        return valid._replace(off=whole.get(value, rng.getrandbits(64)))
    if fault.name == "alias":
        return valid._replace(off=off & ~_ALIAS_BITS | rng.randrange(1, 16) << 44)
    if fault.name == "mid-buffer":
        return valid._replace(off=off - in_niov + _other(rng, NIOV_SIZE, in_niov))
    if fault.name == "len-garbage":
        lengths = {"zero": 0, "max": U32_MAX}
        return valid._replace(length=lengths.get(value, _other(rng, 2**32, valid.length)))
    raise ValueError(
        f"{fault.name} is no content fault; these are {', '.join(item.name for item in FAULTS)}"
    )
