"""The index words of the rings, and entries that change while they are read.

A word that lies loses no return: what was not published yet is written behind what the provider
took astray, and a head that was overwritten is known from before. So none of these keeps a buffer
from its queue; those that change entries do.
"""

from __future__ import annotations

from faults.fault import (
    EVERY_VERDICT,
    NOT_THE_READERS,
    REFERENCE_VERDICTS,
    Actor,
    Fault,
    Group,
    Param,
)

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
    Fault(
        name="tail-back",
        number=26,
        actor=Actor.CONSUMER,
        group=Group.RING,
        summary="the refill ring's tail is moved back",
        explanation=(
            "Behind a batch the tail is published again, some entries further back. If the head is "
            "already beyond that, their distance wraps and is clamped to the ring: the provider "
            "takes stale entries, one after the other, each judged by its bytes, until the tail "
            "is put right. Nothing else notices; the kernel has no way to."
        ),
        params=(Param(name="distance", doc="entries back", default=64, low=1, high=32768),),
        verdicts=EVERY_VERDICT,
        survives=NOT_THE_READERS,
        consequences=(
            "A stale entry whose buffer was delivered again takes the reference of the new "
            "fragment: the buffer may be filled under its reader."
        ),
    ),
    Fault(
        name="tail-random",
        number=27,
        actor=Actor.CONSUMER,
        group=Group.RING,
        summary="the refill ring's tail is any number",
        explanation=(
            "Behind a batch a random tail is published. Nearly always it is further from the head "
            "than the ring is long, so it counts as a full ring: the provider takes what stands in "
            "the slots, each judged by its bytes, until the tail is put right."
        ),
        verdicts=EVERY_VERDICT,
        survives=NOT_THE_READERS,
        consequences=(
            "A stale entry whose buffer was delivered again takes the reference of the new "
            "fragment: the buffer may be filled under its reader."
        ),
    ),
    Fault(
        name="tail-early",
        number=28,
        actor=Actor.CONSUMER,
        group=Group.RING,
        summary="the tail is published before its entry is written",
        explanation=(
            "What a missing release does: the tail covers a slot that still holds an old entry. A "
            "provider that is quick takes the old one, and never sees the return that is "
            "written afterwards; one that is slow takes the new one, or half of each. The verdict "
            "must be one that the old bytes, the new ones or a mixture of their words may earn."
        ),
        params=(
            Param(
                name="us",
                doc="microseconds for which the entry is waited with, if nobody takes it",
                default=5,
                low=0,
                high=10_000,
            ),
        ),
        verdicts=EVERY_VERDICT,
        modifies=True,
        survives=NOT_THE_READERS,
        consequences=(
            "The return may be lost, so that its user reference stays until the scrub; the old "
            "entry may take the reference of a fragment that is being read."
        ),
        keeps=1,
    ),
    Fault(
        name="tail-stall",
        number=29,
        actor=Actor.CONSUMER,
        group=Group.RING,
        summary="returns are written but not published for a while",
        explanation=(
            "The entries stand in the ring, the tail does not move. For the provider they do not "
            "exist: the queue runs out of buffers, and its packets wait or are dropped. Other "
            "queues do not notice. What is never published is the scrub's."
        ),
        params=(Param(name="us", doc="microseconds", default=1000, low=1, high=3_600_000_000),),
        consequences="Packets of this queue wait or are dropped meanwhile.",
        pauses="us",
    ),
    Fault(
        name="rqe-rewrite",
        number=32,
        actor=Actor.CONSUMER,
        group=Group.RING,
        summary="an entry is rewritten again and again while the provider reads it",
        explanation=(
            "A return is published alone; then its slot changes between the valid entry and a "
            "malformed one until the provider has taken it. Whatever it finds, it must judge one "
            "copy of each word: the valid entry or the malformed one, and never an index that was "
            "checked in one and used in the other."
        ),
        params=(
            Param(name="times", doc="changes, at most", default=1000, low=1, high=100_000_000),
            Param(
                name="value",
                doc="what is malformed in the other entry: its niov index, __pad or area id",
                default=0,
                choices=("index", "pad", "area"),
            ),
        ),
        verdicts=REFERENCE_VERDICTS | {"bad_index", "bad_pad", "bad_area"},
        modifies=True,
        survives=NOT_THE_READERS,
        consequences=(
            "If the malformed entry was taken the return is lost, and its user reference stays "
            "until the scrub: after so many of them as there are buffers this queue stands still. "
            "Give the rule a limit."
        ),
        keeps=1,
    ),
    Fault(
        name="rq-overrun",
        number=33,
        actor=Actor.CONSUMER,
        group=Group.RING,
        summary="returns are written although the refill ring is full",
        explanation=(
            "When it comes to a full ring (with few --rq-entries it does), entries are written "
            "over those that the provider has not taken. The distance of tail and head is clamped, "
            "so no index leaves the ring; but what was written over is lost, and what was written "
            "there is found twice. It counts as injected when it comes to that, which depends on "
            "timing; a rule that is due before the ring is full waits for it."
        ),
        params=(Param(name="count", doc="entries too many", default=16, low=1, high=32768),),
        verdicts=EVERY_VERDICT,
        survives=NOT_THE_READERS,
        consequences=(
            "The user references of lost returns stay until the scrub; what is found twice is a "
            "double return."
        ),
        keeps="count",
    ),
)
