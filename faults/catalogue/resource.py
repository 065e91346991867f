"""What runs out on the kernel side, although it is there."""

from __future__ import annotations

from faults.fault import Actor, Fault, Group, Param

_COUNT_MAX = 4096

FAULTS = (
    Fault(
        name="alloc-fail",
        number=52,
        actor=Actor.PROVIDER,
        group=Group.RESOURCE,
        summary="allocations fail although buffers are there",
        explanation=(
            "So many allocations in a row fail with ENOMEM before this one is made, and are "
            "counted like real ones. A driver whose allocation fails ends that round and tries "
            "again later: what it was granted before serves meanwhile, and its ring is filled "
            "then. No buffer changes its place. A failed allocation keeps its number, so that "
            "a rule never fires by its own effect."
        ),
        params=(Param(name="count", doc="allocations", default=16, low=1, high=_COUNT_MAX),),
        consequences="Packets of this queue may wait or be dropped meanwhile.",
        pauses="count",
        pause_us=5000,  # a retry, on a busy machine
    ),
    Fault(
        name="freelist-empty",
        number=53,
        actor=Actor.PROVIDER,
        group=Group.RESOURCE,
        summary="the freelist looks empty, so that only the refill ring supplies",
        explanation=(
            "For so many calls of the provider its freelist gives nothing; a round in which it "
            "need not be called counts, too. Buffers then come from the refill ring or not at "
            "all, as under pressure when all of them are on their way; without an RQE the "
            "allocation fails. A payload that must be copied takes its buffer from the freelist "
            "as well, and waits."
        ),
        params=(
            Param(name="count", doc="calls of the provider", default=16, low=1, high=_COUNT_MAX),
        ),
        consequences="Packets of this queue may wait or be dropped meanwhile.",
        pauses="count",
        pause_us=5000,
    ),
    Fault(
        name="ptr-ring-full",
        number=54,
        actor=Actor.PROVIDER,
        group=Group.RESOURCE,
        summary="buffers that come back from outside find the ptr ring full",
        explanation=(
            "So many buffers whose last reference is dropped outside the provider (by the NIC, "
            "by a scrub, by an RQE for another pool) take the slow way: the pool gives them up, "
            "they are unbound and pushed on the freelist, as when a real ptr ring has no room. "
            "They are counted as recycle_ring_full, and bound anew when the freelist supplies "
            "them. It is about the pool that serves the queue now; a later one starts afresh."
        ),
        params=(Param(name="count", doc="buffers", default=64, low=1, high=_COUNT_MAX),),
    ),
)
