"""Life, death and pace of whole processes."""

from __future__ import annotations

from faults.fault import NOT_THE_READERS, Actor, Fault, Group, Param

_STARVED = (
    "For so long both are bound to the same core, and the starved one is made nice. When the "
    "priority could not be taken back afterwards (that needs CAP_SYS_NICE or an RLIMIT_NICE that "
    "reaches it), it is left alone, and the report says so. On a machine with one core binding has "
    "no effect. Nobody waits for anybody: a starved process only makes others wait for work."
)
_STARVE_PARAMS = (
    Param(name="ms", doc="milliseconds", default=50, low=1, high=10_000),
    Param(name="nice", doc="niceness", default=0, low=0, high=19),
)

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
        pauses="ms",
        pause_us=1000,
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
        pauses="ms",
        pause_us=1000,
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
        pauses="ms",
        pause_us=1000,
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
    Fault(
        name="starve-consumer",
        number=65,
        actor=Actor.PROCESS,
        group=Group.PROCESS,
        summary="the consumer must share one core with the busiest other process",
        explanation=(
            f"{_STARVED} Completions are read and returned late: the completion queue fills up, "
            "buffers run short, and packets wait or are dropped."
        ),
        params=_STARVE_PARAMS,
        consequences="Packets of this queue may wait or be dropped meanwhile.",
        pauses="ms",
        pause_us=1000,
    ),
    Fault(
        name="starve-provider",
        number=66,
        actor=Actor.PROCESS,
        group=Group.PROCESS,
        summary="the provider must share one core with the busiest other process",
        explanation=(
            f"{_STARVED} Buffers are granted late: the NIC uses up what it has, the refill ring "
            "fills up, and the consumers keep what finds no room in it."
        ),
        params=_STARVE_PARAMS,
        consequences="Packets of all queues may wait or be dropped meanwhile.",
        per_queue=False,
        pauses="ms",
        pause_us=1000,
    ),
    Fault(
        name="starve-nic",
        number=67,
        actor=Actor.PROCESS,
        group=Group.PROCESS,
        summary="the NIC must share one core with the busiest other process",
        explanation=f"{_STARVED} Less is received; no buffer is touched by it.",
        params=_STARVE_PARAMS,
        consequences="Less throughput of all queues.",
        per_queue=False,
        pauses="ms",
        pause_us=1000,
    ),
    Fault(
        name="queue-restart",
        number=69,
        actor=Actor.PROCESS,
        group=Group.PROCESS,
        summary="the queue gets a new page pool in the middle of traffic",
        explanation=(
            "The provider makes a new pool and tears the old one down, which lingers until its "
            "buffers are home. Those that the user returns meanwhile are handed to a pool that "
            "they are not bound to: they earn other_pool, go to the old pool's ptr ring and from "
            "there to the freelist. (In this emulator that is what buffers handed to another "
            "queue's page pool are: each queue has an area of its own.) Buffers that the NIC was "
            "granted before stay granted. The destroy check of the old pool covers the whole "
            "area, so it warns while the new pool has buffers, and the reference on the instance "
            "is kept: the audit expects exactly these warnings. With a pool in every slot the "
            "restart waits until one is gone."
        ),
    ),
    Fault(
        name="add-area",
        number=74,
        actor=Actor.PROCESS,
        group=Group.PROCESS,
        summary="the queue gets one area more in the middle of traffic",
        explanation=(
            "The NIC process adds the next area of --areas in the place of the system call "
            "(ADD_AREA), under the refill ring's lock, which the provider takes for each refill. "
            "Its buffers are granted once the areas before it are empty. An entry that names it "
            "may be judged before it is there and after. From kernel 7.3 on; once all areas are "
            "there nothing happens any more."
        ),
    ),
)
