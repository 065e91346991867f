"""The index words of the rings, and entries that change while they are read."""

from __future__ import annotations

from faults.fault import EVERY_VERDICT, NOT_THE_READERS, Actor, Fault, Group, Param

FAULTS = (
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
        verdicts=EVERY_VERDICT,
        survives=NOT_THE_READERS,
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
