"""Well-formed returns that the consumer's contract forbids."""

from __future__ import annotations

from faults.fault import NOT_THE_READERS, REFERENCE_VERDICTS, Actor, Fault, Group, Param

FAULTS = (
    Fault(
        name="double-return",
        number=10,
        actor=Actor.CONSUMER,
        group=Group.STRAY,
        summary="the same fragment is returned again at once",
        explanation=(
            "Copies of a valid RQE follow it. The provider counts fragments and cannot tell "
            "them apart: a copy is rejected when the user holds nothing of that buffer any "
            "more, and takes the reference of another fragment when the user does."
        ),
        params=(
            Param(name="count", doc="copies that follow the return", default=1, low=1, high=16),
        ),
        verdicts=REFERENCE_VERDICTS,
        survives=NOT_THE_READERS,
        consequences=(
            "If another fragment of the buffer is still held, its reference is taken: the "
            "buffer may be filled again under its reader, and the return of that fragment "
            "finds no reference."
        ),
    ),
    Fault(
        name="stale-return",
        number=11,
        actor=Actor.CONSUMER,
        group=Group.STRAY,
        summary="a fragment that was returned long ago is returned again",
        explanation=(
            "An RQE that was valid some RQEs ago is written once more. Meanwhile the buffer may "
            "have been handed out and delivered again; then the stale entry takes the reference "
            "of the new fragment, which nobody can tell from the old one (the ABA problem)."
        ),
        params=(
            Param(
                name="delay",
                doc="RQEs between the return and its repetition",
                default=256,
                low=1,
                high=4096,
            ),
        ),
        verdicts=REFERENCE_VERDICTS,
        survives=NOT_THE_READERS,
        consequences=(
            "A buffer that was delivered again may be filled under its reader, and the return "
            "of the new fragment finds no reference."
        ),
    ),
    Fault(
        name="early-return",
        number=12,
        actor=Actor.CONSUMER,
        group=Group.STRAY,
        summary="a fragment is returned while it is still being read",
        explanation=(
            "The return is well-formed and holds its reference, so the provider takes it "
            "like any other. The consumer goes on reading: its bytes are checked again some "
            "RQEs later, when the buffer may hold another packet."
        ),
        params=(
            Param(
                name="delay",
                doc="RQEs until the bytes are checked again",
                default=64,
                low=1,
                high=4096,
            ),
        ),
        verdicts=REFERENCE_VERDICTS,
        modifies=True,
        survives=NOT_THE_READERS,
        consequences="The bytes may change under the reader (use after return).",
    ),
    Fault(
        name="neighbour-return",
        number=13,
        actor=Actor.CONSUMER,
        group=Group.STRAY,
        summary="another buffer than the one that was read is returned",
        explanation=(
            "The niov index is moved on, round the end of the area. The entry is well-formed: it "
            "is rejected when the user holds nothing of that buffer, else it takes its reference."
        ),
        params=(Param(name="distance", doc="buffers further on", default=1, low=1, high=1024),),
        verdicts=REFERENCE_VERDICTS,
        survives=NOT_THE_READERS,
        consequences=(
            "A fragment of the neighbour that is still being read loses its reference, and its "
            "own return finds none."
        ),
        keeps=1,
    ),
    Fault(
        name="never-given",
        number=14,
        actor=Actor.CONSUMER,
        group=Group.STRAY,
        summary="a buffer of which the consumer holds nothing is returned",
        explanation=(
            "A random buffer that the consumer does not hold. Its user references are 0 and the "
            "entry is rejected, unless a delivery that the consumer has not read yet comes first: "
            "then it takes the reference of that fragment. With --areas it can be one of the area "
            "that was added last, held or not, or of the next one: until that is there, and if "
            "none comes, the entry earns bad_area."
        ),
        params=(
            Param(
                name="where",
                doc="the buffer: of any area, of the newest, or of the one that comes next",
                default=0,
                choices=("any", "newest", "next"),
            ),
        ),
        verdicts=REFERENCE_VERDICTS | {"bad_area"},
        survives=NOT_THE_READERS,
        consequences=(
            "A fragment that waits in the completion queue may lose its reference before it is "
            "read."
        ),
    ),
    Fault(
        name="hoard",
        number=15,
        actor=Actor.CONSUMER,
        group=Group.STRAY,
        summary="a fragment is kept until the scrub",
        explanation=(
            "The fragment is read and checked but never returned. Its user reference stays until "
            "the instance shuts down, when the scrub takes it back. No entry is written."
        ),
        params=(
            Param(
                name="max",
                doc="fragments kept at a time, at most",
                default=64,
                low=1,
                high=65536,
            ),
        ),
        consequences=(
            "The buffers are missing: with all of them kept, the NIC finds none, and this "
            "queue's packets are dropped."
        ),
        keeps=1,
    ),
    Fault(
        name="wrong-ring",
        number=16,
        actor=Actor.CONSUMER,
        group=Group.STRAY,
        summary="a fragment is returned through another queue's ring",
        explanation=(
            "An application with several queues mixes their rings up: the offset of this queue's "
            "fragment is written into the ring of another one. There it names a buffer of that "
            "queue's own area, and takes a reference of it or finds none. This queue never gets "
            "the return. With one queue nothing happens."
        ),
        params=(
            Param(name="by", doc="queues further on", default=1, low=1, high=63),
            Param(name="max", doc="fragments misdirected, at most", default=64, low=1, high=65536),
        ),
        verdicts=REFERENCE_VERDICTS,
        survives=NOT_THE_READERS,
        consequences=(
            "The fragment's user reference stays until the scrub of its own queue; in the other "
            "one a fragment that is being read may lose its reference."
        ),
        keeps=1,
    ),
    Fault(
        name="wrong-area",
        number=18,
        actor=Actor.CONSUMER,
        group=Group.STRAY,
        summary="a return with the token of another area stands beside the valid one",
        explanation=(
            "An application with several areas mixes their tokens up: the return's own index, "
            "with another area's id. There it names a buffer, and takes a reference of it or finds "
            "none, or it lies beyond the end of a smaller area. With one area there is none of "
            "that id."
        ),
        params=(Param(name="by", doc="areas further on", default=1, low=1, high=1023),),
        verdicts=REFERENCE_VERDICTS | {"bad_area", "bad_index"},
        survives=NOT_THE_READERS,
        consequences=(
            "A fragment of the other area that is still being read may lose its reference, and its "
            "own return finds none."
        ),
    ),
    Fault(
        name="drop-when-full",
        number=17,
        actor=Actor.CONSUMER,
        group=Group.STRAY,
        summary="returns that find the refill ring full are forgotten",
        explanation=(
            "When it comes to a full ring (with few --rq-entries it does), the consumer gives up "
            "on the returns that wait, instead of keeping them until there is room. No entry is "
            "written; their user references stay until the scrub."
        ),
        params=(
            Param(name="count", doc="returns forgotten at a time", default=16, low=1, high=4096),
        ),
        consequences="The buffers are missing, as if they were hoarded.",
        keeps="count",
    ),
)
