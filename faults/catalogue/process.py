"""Life, death and pace of whole processes."""

from __future__ import annotations

from faults.fault import NOT_THE_READERS, Actor, Fault, Group, Param

FAULTS = (
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
    Fault(
        name="scrub-midway",
        number=68,
        actor=Actor.PROCESS,
        group=Group.PROCESS,
        summary="the scrub runs while the consumer lives and traffic goes on",
        explanation=(
            "Every user reference is taken back, concurrently with deliveries and refills, "
            "although the user goes on. Returns of what it held find no reference, and no buffer "
            "comes home twice (the race of CVE-2026-43121). The kernel scrubs when the last user "
            "is gone; requests of that user may still be running then."
        ),
        survives=NOT_THE_READERS,
        consequences=(
            "Buffers are handed out again that the consumer still reads; returns of them take the "
            "references of what is delivered next."
        ),
    ),
)
