"""When the consumer does what it must do, and what it does to the area."""

from __future__ import annotations

from faults.fault import NOT_THE_READERS, Actor, Fault, Group, Param

FAULTS = (
    Fault(
        name="cq-stall",
        number=24,
        actor=Actor.CONSUMER,
        group=Group.PACE,
        summary="completions are not read for a while",
        explanation=(
            "The completion queue fills up. A fragment that finds no room in it is not handed "
            "out, so no reference leaks; the packet waits or is dropped and counted. The "
            "stall ends with the run."
        ),
        params=(Param(name="us", doc="microseconds", default=1000, low=1, high=3_600_000_000),),
        consequences="Packets of this queue wait or are dropped meanwhile.",
        pauses="us",
    ),
    Fault(
        name="slow",
        number=25,
        actor=Actor.CONSUMER,
        group=Group.PACE,
        summary="the consumer pauses before a return",
        explanation=(
            "Buffers come back later than they could. The NIC goes on with those it has; when "
            "they are used up, packets wait or are dropped and counted."
        ),
        params=(Param(name="us", doc="microseconds", default=10, low=1, high=3_600_000_000),),
        consequences="Less throughput of this queue.",
        pauses="us",
    ),
    Fault(
        name="write-foreign",
        number=30,
        actor=Actor.CONSUMER,
        group=Group.AREA,
        summary="the consumer writes into a buffer of which it holds nothing",
        explanation=(
            "The whole area is mapped writable, so nothing stops it. In a free buffer the bytes "
            "are overwritten by the next packet; in one that the NIC is filling, or that waits in "
            "the completion queue, they replace what was received. No reference changes."
        ),
        params=(Param(name="bytes", doc="bytes written", default=64, low=1, high=4096),),
        survives=NOT_THE_READERS,
        consequences="A packet that is received into that buffer may be read with wrong bytes.",
    ),
)
