"""What goes wrong while an instance is set up."""

from __future__ import annotations

from faults.fault import Actor, Fault, Group, Param

FAULTS = (
    Fault(
        name="index-wrap",
        number=70,
        actor=Actor.SETUP,
        group=Group.SETUP,
        summary="the rings' indices start just below 2^32, so that they wrap at once",
        explanation=(
            "Head and tail of the refill ring and of the completion queue start at 2^32 less the "
            "distance, instead of 0. They are u32 and run freely: what is to be read is the "
            "difference, modulo 2^32, and a slot is the index modulo the entries. Nothing but "
            "code that compares indices by size notices the wrap. It takes the place of "
            "--initial-index."
        ),
        params=(
            Param(
                name="distance",
                doc="entries before the wrap; 0: the indices start right behind it",
                default=16,
                low=0,
                high=65535,
            ),
        ),
        per_queue=False,
        asked_once=True,
    ),
    Fault(
        name="header-layout",
        number=71,
        actor=Actor.SETUP,
        group=Group.SETUP,
        summary="head, tail and slots of the rings stand elsewhere than usual",
        explanation=(
            "Their order in the rings object and the empty cache lines between them are drawn "
            "from the seed, for each queue anew. The kernel says where they stand in struct "
            "io_uring_zcrx_offsets and may change its mind with each version: a consumer that "
            "goes by the offsets does not notice."
        ),
        per_queue=False,
        asked_once=True,
    ),
    Fault(
        name="header-garbage",
        number=72,
        actor=Actor.SETUP,
        group=Group.SETUP,
        summary="the rings' memory holds garbage before it is formatted",
        explanation=(
            "Linux has cleared head and tail on registration since 7.1; before, a region that the "
            "user supplied kept what it held. Head, tail and header are written here whatever "
            "stood there, so nothing is consumed at once. Slots keep their garbage, which only a "
            "wrong index brings to light (tail-ahead): it is judged by its bytes."
        ),
        params=(
            Param(
                name="value",
                doc="what stands there; entries: RQEs that look like returns",
                default=0,
                choices=("random", "ones", "entries"),
            ),
        ),
        per_queue=False,
        asked_once=True,
    ),
    Fault(
        name="setup-fail",
        number=73,
        actor=Actor.SETUP,
        group=Group.SETUP,
        summary="a step of setting up fails as if memory were short (ENOMEM)",
        explanation=(
            "Each shared object made or mapped, each queue formatted, each page pool created, each "
            "process started, watched, handed its memory and awaited is a step. The one that the "
            "rule is due at is not taken, and everything made before must be undone, as a failed "
            "registration leaves nothing in the kernel. The run ends there: its report says "
            "which step it was and whether anything is left. A consumer that is replaced later "
            "on takes no such steps."
        ),
        per_queue=False,
    ),
)
