"""What the NIC does with packets and with buffers that it was granted."""

from __future__ import annotations

from faults.fault import AUDIT_STATEMENTS, Actor, Fault, Group, Param

FAULTS = (
    Fault(
        name="nic-drop",
        number=40,
        actor=Actor.NIC,
        group=Group.NIC,
        summary="a packet is dropped",
        explanation=(
            "The NIC takes the packet and delivers nothing of it. It is counted as dropped, and "
            "the sequence numbers of its flow go on behind the gap."
        ),
        consequences="The consumer never sees that packet.",
    ),
    Fault(
        name="nic-corrupt",
        number=41,
        actor=Actor.NIC,
        group=Group.NIC,
        summary="one byte of a packet's payload is flipped",
        explanation=(
            "The byte is changed in the area after the checksum was noted. Nothing on the kernel's "
            "side looks at payloads, so the packet is delivered, and the consumer's check must "
            "find it: every corrupted packet exactly once, and no other."
        ),
        survives=AUDIT_STATEMENTS - {"integrity"},
        consequences="The consumer reads a byte that was not sent.",
    ),
    Fault(
        name="nic-stall",
        number=45,
        actor=Actor.NIC,
        group=Group.NIC,
        summary="the NIC pauses before a packet",
        explanation="Nothing is received for a while; no buffer changes its place meanwhile.",
        params=(Param(name="us", doc="microseconds", default=1000, low=1, high=1_000_000),),
        consequences="Less throughput of all queues.",
    ),
)
