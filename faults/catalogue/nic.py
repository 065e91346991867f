"""What the NIC does with packets and with buffers that it was granted."""

from __future__ import annotations

from faults.fault import AUDIT_STATEMENTS, Actor, Fault, Group, Param

#: Of packets that come twice or late: for their flow the order is what is void.
_ORDER_IS_VOID = AUDIT_STATEMENTS - {"order"}

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
        name="nic-duplicate",
        number=42,
        actor=Actor.NIC,
        group=Group.NIC,
        summary="a packet is delivered twice",
        explanation=(
            "Right after the packet comes a copy of it, in other bytes of the area, with the same "
            "flow and sequence numbers; a network that delivers a datagram twice does the same. "
            "Each copy has references of its own and is returned like any fragment. The consumer "
            "must recognise every fragment of every copy, and no other. A copy that finds no room "
            "for as long as a packet may wait is not made, and not counted."
        ),
        survives=_ORDER_IS_VOID,
        consequences="The consumer is given the same payload a second time.",
    ),
    Fault(
        name="nic-reorder",
        number=43,
        actor=Actor.NIC,
        group=Group.NIC,
        summary="a packet is delivered after packets that came behind it",
        explanation=(
            "The NIC keeps the packet until `distance` further packets of its queue were dealt "
            "with, as if it had taken a longer way. Its sequence numbers are those of its own "
            "place, so the consumer first sees a gap in the flow and must recognise each late "
            "fragment, which closes it. One packet of a queue is kept at a time: a rule that "
            "fires meanwhile does nothing, and is not counted. At the end of the traffic the "
            "packet is delivered at once; if its user has gone it is dropped and counted so."
        ),
        params=(
            Param(
                name="distance",
                doc="packets of the queue that overtake it",
                default=3,
                low=1,
                high=63,
            ),
        ),
        survives=_ORDER_IS_VOID,
        consequences="The consumer is given a packet behind some that were sent after it.",
    ),
    Fault(
        name="nic-truncate",
        number=44,
        actor=Actor.NIC,
        group=Group.NIC,
        summary="a packet is delivered with fewer bytes than were sent",
        explanation=(
            "A random number of its bytes, at least `keep`, is delivered; the checksum that was "
            "noted stays that of the whole piece. Nothing on the kernel's side compares lengths, "
            "so the consumer's check must find it: the last fragment of every such packet exactly "
            "once, and no other. Pieces of which nothing is left are dropped and counted so. A "
            "packet that is not longer than `keep` is not touched and not counted, nor is one "
            "that could only be cut where a buffer ends, since that leaves no piece cut short."
        ),
        params=(Param(name="keep", doc="bytes delivered at least", default=16, low=1, high=65535),),
        survives=AUDIT_STATEMENTS - {"integrity"},
        consequences="The consumer reads less than was sent.",
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
        pauses="us",
    ),
    Fault(
        name="nic-burst",
        number=46,
        actor=Actor.NIC,
        group=Group.NIC,
        summary="packets are kept and then come back to back",
        explanation=(
            "This packet and those behind it, `packets` in all, are kept until the last of them "
            "is due (with --pace original; else they are due at once) and are then offered back "
            "to back: no other queue has a turn in between, unless one of them finds no room. A "
            "rule that fires during such a burst does nothing, and is not counted."
        ),
        params=(Param(name="packets", doc="packets of the burst", default=64, low=2, high=4096),),
        consequences=(
            "The queue's completions and buffers are used up faster than they come back; other "
            "queues wait."
        ),
    ),
    Fault(
        name="nic-hold",
        number=47,
        actor=Actor.NIC,
        group=Group.NIC,
        summary="the NIC keeps granted buffers back for a while",
        explanation=(
            "The NIC takes up to `count` buffers that were granted to it, at most half of those "
            "that it has, and fills none of them until `packets` further packets of the queue "
            "were dealt with; then they go back through the page pool, whose ptr ring takes them. "
            "If the queue runs short of buffers they go back at once. While held they are with "
            "the NIC, and the audit finds them there; at the end they are given back before the "
            "pool is drained. A rule that fires while some are held does nothing, and is not "
            "counted."
        ),
        params=(
            Param(name="count", doc="buffers held at most", default=16, low=1, high=4096),
            Param(
                name="packets",
                doc="packets of the queue until they go back",
                default=256,
                low=1,
                high=1_000_000,
            ),
        ),
        consequences="The provider has fewer buffers to grant meanwhile.",
    ),
    Fault(
        name="nic-tiny",
        number=48,
        actor=Actor.NIC,
        group=Group.NIC,
        summary="the first bytes of a packet come as fragments of one byte",
        explanation=(
            "Each of the packet's first bytes becomes a fragment of its own, `fragments` of them, "
            "and the rest follows as usual; all of it is delivered, or nothing. Fragments start at "
            "multiples of 64 bytes, so a buffer holds 64 of them, with as many user references. "
            "There are fewer if the packet is shorter, or if completion queue and grant ring could "
            "never take so many. A packet of one byte is not touched and not counted."
        ),
        params=(
            Param(
                name="fragments",
                doc="fragments of one byte at most",
                default=64,
                low=2,
                high=1024,
            ),
        ),
        consequences="Many completions and references for few bytes.",
    ),
    Fault(
        name="cq-full",
        number=49,
        actor=Actor.NIC,
        group=Group.NIC,
        summary="a packet meets a full completion queue, although there is room",
        explanation=(
            "What is done is what is done to a packet that waited for room in vain: it is not "
            "handed out, so no reference is taken and none can leak, it is counted as dropped for "
            "a full completion queue, and the sequence numbers of its flow go on behind the gap. "
            "It does not wait first, so nothing behind it is held up."
        ),
        consequences="The consumer never sees that packet.",
    ),
    Fault(
        name="clock-jump",
        number=50,
        actor=Actor.NIC,
        group=Group.NIC,
        summary="the clock by which packets are paced jumps",
        explanation=(
            "With --pace original the NIC offers packets by this clock: when it jumps forward, "
            "all that became due come at once; when it jumps back, on no queue is anything due "
            "until it has caught up. Only pacing may notice. Waits for room, time limits and "
            "verdicts go by the monotonic clock, which does not jump. With --pace fast no packet "
            "has a time, and the jump has no effect."
        ),
        params=(
            Param(name="ms", doc="milliseconds", default=100, low=1, high=3_600_000),
            Param(
                name="direction",
                doc="where the clock jumps to",
                default=0,
                choices=("forward", "back"),
            ),
        ),
        consequences="Packets come in a heap, or not for a while.",
    ),
)
