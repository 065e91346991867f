"""The catalogue of faults: each with what it does, the verdict it must earn, and what survives it.

Numbers are those of ``enum zcrx_fault_kind`` in ``cext/fault.h`` and are never
given to another fault.
"""

from __future__ import annotations

from faults.fault import (
    AUDIT_STATEMENTS,
    VALID_VERDICTS,
    Actor,
    Fault,
    Group,
    Param,
    nearest,
    shown,
)

__all__ = [
    "AUDIT_STATEMENTS",
    "CATALOGUE",
    "VALID_VERDICTS",
    "Actor",
    "Fault",
    "Group",
    "Param",
    "UnknownFaultError",
    "find",
]


class UnknownFaultError(ValueError):
    """No fault of that name; the message offers the nearest."""


_EVERY_VERDICT = VALID_VERDICTS | {"bad_pad", "bad_area", "bad_index", "no_user_ref"}
#: A well-formed entry earns one of these, depending on the references there are.
_REFERENCE_VERDICTS = VALID_VERDICTS | {"no_user_ref"}
#: A buffer that is taken away from under its reader: these two are void, for that reader.
_NOT_THE_READERS = AUDIT_STATEMENTS - {"integrity", "ownership"}

_CONTENT = (
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
        verdicts=_REFERENCE_VERDICTS | {"bad_area", "bad_index"},
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

_STRAY = (
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
        verdicts=_REFERENCE_VERDICTS,
        survives=_NOT_THE_READERS,
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
        verdicts=_REFERENCE_VERDICTS,
        survives=_NOT_THE_READERS,
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
        verdicts=_REFERENCE_VERDICTS,
        modifies=True,
        survives=_NOT_THE_READERS,
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
        verdicts=_REFERENCE_VERDICTS,
        survives=_NOT_THE_READERS,
        consequences=(
            "A fragment of the neighbour that is still being read loses its reference, and its "
            "own return finds none."
        ),
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
            "then it takes the reference of that fragment."
        ),
        verdicts=_REFERENCE_VERDICTS,
        survives=_NOT_THE_READERS,
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
    ),
)

_RING = (
    Fault(
        name="tail-ahead",
        number=20,
        actor=Actor.CONSUMER,
        group=Group.RING,
        summary="the refill ring's tail is published too far ahead",
        explanation=(
            "The distance of tail and head is clamped to the ring, whatever it says. The entries "
            "in between were not written for it: the provider reads what stands there, and each "
            "is judged by the bytes it holds. A slot never written reads as 'return buffer 0'."
        ),
        params=(Param(name="jump", doc="entries too far", default=64, low=1, high=32768),),
        verdicts=_EVERY_VERDICT,
        survives=_NOT_THE_READERS,
        consequences=(
            "A stale entry whose buffer was delivered again takes the reference of the new "
            "fragment: the buffer may be filled under its reader."
        ),
    ),
    Fault(
        name="head-scribble",
        number=21,
        actor=Actor.CONSUMER,
        group=Group.RING,
        summary="the refill ring's head word is overwritten",
        explanation=(
            "A random value in a word that only the kernel should write. The kernel keeps a head "
            "of its own and never reads the published one back; it is overwritten when the next "
            "entries are consumed."
        ),
        consequences="Until then the consumer may believe that the ring is full, or empty.",
    ),
    Fault(
        name="cq-head-scribble",
        number=22,
        actor=Actor.CONSUMER,
        group=Group.RING,
        summary="the completion queue's head word is overwritten",
        explanation=(
            "A random value in the word that says how far the consumer has read. A head that "
            "cannot be leaves no room, so nothing is delivered until the true one is published "
            "again; no reference is taken for a fragment that cannot be delivered."
        ),
        consequences="Packets of this queue wait or are dropped meanwhile.",
    ),
)

_PACE_AND_AREA = (
    Fault(
        name="cq-stall",
        number=24,
        actor=Actor.CONSUMER,
        group=Group.PACE,
        summary="completions are not read for a while",
        explanation=(
            "The completion queue fills up. A fragment that finds no room in it is not handed "
            "out, so no reference leaks; the packet waits or is dropped and counted."
        ),
        params=(Param(name="us", doc="microseconds", default=1000, low=1, high=1_000_000),),
        consequences="Packets of this queue wait or are dropped meanwhile.",
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
        params=(Param(name="us", doc="microseconds", default=10, low=1, high=1_000_000),),
        consequences="Less throughput of this queue.",
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
        survives=_NOT_THE_READERS,
        consequences="A packet that is received into that buffer may be read with wrong bytes.",
    ),
)

_NIC = (
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

_PROCESS = (
    Fault(
        name="kill-consumer",
        number=60,
        actor=Actor.PROCESS,
        group=Group.PROCESS,
        summary="the consumer is killed and replaced (kill -9)",
        explanation=(
            "It dies at any instruction, with fragments in its hands and RQEs half written. The "
            "scrub takes its user references back, entries that are found afterwards have none, "
            "and a new consumer takes over while traffic goes on."
        ),
        consequences="What the consumer held or had not read yet is lost to it.",
    ),
    Fault(
        name="stop-consumer",
        number=61,
        actor=Actor.PROCESS,
        group=Group.PROCESS,
        summary="the consumer is stopped for a while (SIGSTOP, SIGCONT)",
        explanation=(
            "It stops at any instruction, so an RQE may be written but not published. Nobody "
            "waits for it: the completion queue fills up, and packets wait or are dropped."
        ),
        params=(Param(name="ms", doc="milliseconds", default=50, low=1, high=10_000),),
        consequences="Packets of this queue wait or are dropped meanwhile.",
    ),
    Fault(
        name="stop-provider",
        number=62,
        actor=Actor.PROCESS,
        group=Group.PROCESS,
        summary="the provider is stopped for a while (SIGSTOP, SIGCONT)",
        explanation=(
            "No RQE is consumed and no buffer is granted. The NIC uses up what it was granted, "
            "the refill ring fills up, and the consumer keeps what finds no room in it."
        ),
        params=(Param(name="ms", doc="milliseconds", default=50, low=1, high=10_000),),
        consequences="Packets of all queues wait or are dropped meanwhile.",
        per_queue=False,
    ),
    Fault(
        name="stop-nic",
        number=63,
        actor=Actor.PROCESS,
        group=Group.PROCESS,
        summary="the NIC is stopped for a while (SIGSTOP, SIGCONT)",
        explanation=(
            "It stops at any instruction, between filling a buffer and delivering it too. "
            "Nothing is received meanwhile; consumers read and return what they have."
        ),
        params=(Param(name="ms", doc="milliseconds", default=50, low=1, high=10_000),),
        consequences="Nothing is received on any queue meanwhile.",
        per_queue=False,
    ),
    Fault(
        name="churn",
        number=64,
        actor=Actor.PROCESS,
        group=Group.PROCESS,
        summary="the consumer is detached in order and a new one attached",
        explanation=(
            "Delivery to the queue ends, the consumer leaves, the scrub takes back what it held, "
            "and a new consumer finds both rings empty. Other queues do not notice."
        ),
        consequences="What the consumer held or had not read yet is lost to it.",
    ),
)

#: All faults by name, in the order of their numbers.
CATALOGUE: dict[str, Fault] = {
    fault.name: fault for fault in (*_CONTENT, *_STRAY, *_RING, *_PACE_AND_AREA, *_NIC, *_PROCESS)
}


def find(name: str) -> Fault:
    """Return the fault of that name.

    Raises:
        UnknownFaultError: There is none; the message offers the nearest name.
    """
    fault = CATALOGUE.get(name)
    if fault is not None:
        return fault
    hint = nearest(name, CATALOGUE) or "'zcrx-emu faults list' shows what there is"
    raise UnknownFaultError(f"faults: {shown(name)} is not a fault; {hint}")
