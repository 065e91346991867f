"""The bytes of an RQE."""

from __future__ import annotations

from faults.fault import REFERENCE_VERDICTS, VALID_VERDICTS, Actor, Fault, Group, Param

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
            "A valid return with an area id of 1 to 65535 in offset bits 48 to 63. An "
            "instance of the first version has area 0 only, so the entry is rejected."
        ),
        params=(
            Param(
                name="value",
                doc="the area id: random, 1, or 65535",
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
            "The niov index (offset bits 12 to 47) is out of range in its low 32 bits, "
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
