"""The ready scenarios, each small enough for a complete search."""

from __future__ import annotations

from emu.race.scenario import Scenario, Shape

_SCENARIOS = (
    Scenario(
        "refill-vs-scrub",
        "The provider judges the return of a buffer while the instance is scrubbed: one of the "
        "two takes the user's reference, and the buffer comes home once (CVE-2026-43121).",
        {"provider": "alloc 1", "control": "scrub"},
        setup="alloc 1; deliver 1 1; return 0",
        end="scrub; flush; expect-home",
    ),
    Scenario(
        "refill-vs-rewrite",
        "The user writes over an entry while the provider reads it: what was read is judged, "
        "once, whatever it is.",
        {"provider": "refill", "user": "write 0 0x1000; write 0 0 7"},
        shape=Shape(niovs=2),
        setup="alloc 2; deliver 2 1; return 0",
        end="scrub; flush",
    ),
    Scenario(
        "return-vs-refill",
        "The user publishes an entry while the provider looks for one: it is judged as it was "
        "written, or later.",
        {"provider": "refill; refill", "user": "push 0x0 64; push 0x1000 64"},
        shape=Shape(niovs=2),
        setup="alloc 2; deliver 2 1",
        end="flush; expect-home; expect-verdict 0 2",
        honest=True,
    ),
    Scenario(
        "full-ring",
        "The refill ring is full: the user may write into a slot only when the provider has read "
        "what stood there.",
        {"provider": "refill; refill", "user": "return 1; return 0"},
        shape=Shape(niovs=2, rq=1),
        setup="alloc 2; deliver 2 1; return 0",
        end="scrub; flush",
        honest=True,
    ),
    Scenario(
        "deliver-vs-refill",
        "The NIC hands a buffer to the user while the provider judges a return of it that came "
        "too early: it is rejected, or it takes the reference that it finds.",
        {"nic": "deliver 1 1", "provider": "refill"},
        setup="alloc 1; push 0x0",
        end="scrub; flush; expect-home",
    ),
    Scenario(
        "send-vs-take",
        "The NIC cuts a buffer and publishes completions while the user reads, and gives back "
        "what it has read: references are taken before a completion is seen.",
        {"nic": "send 2", "user": "take 2; give 2", "provider": "refill"},
        shape=Shape(niovs=1, cq=2),
        setup="grant 1",
        end="scrub; flush; expect-home",
        honest=True,
    ),
    Scenario(
        "grant-vs-send",
        "The provider grants a buffer while the NIC takes one.",
        {"provider": "grant 1; grant 1", "nic": "send 1; send 1"},
        shape=Shape(niovs=2),
        end="scrub; expect-home",
        honest=True,
    ),
    Scenario(
        "release-vs-freelist",
        "A full ptr ring sends buffers to the freelist while the provider fills its cache from it.",
        {"nic": "drop 2", "provider": "alloc 2"},
        shape=Shape(niovs=3, ptr_ring=1),
        setup="alloc 3; drop 1",
    ),
    Scenario(
        "copy-vs-release",
        "The NIC takes a buffer for a copy while another one is released to the freelist.",
        {"nic": "drop 1", "copier": "copy 1", "control": "scrub"},
        shape=Shape(niovs=2, ptr_ring=1),
        setup="alloc 2; deliver 1 1",
    ),
    Scenario(
        "two-scrubs",
        "Two scrubs at once: each reference is taken back by one of them.",
        {"control": "scrub", "other": "scrub"},
        shape=Shape(niovs=2),
        setup="alloc 2; deliver 2 2",
        end="expect-home; destroy 0",
    ),
    Scenario(
        "scrub-vs-send",
        "The instance is scrubbed while the NIC delivers: what is scrubbed may be gone before the "
        "user reads of it, and comes home once.",
        {"nic": "send 1", "control": "scrub"},
        setup="grant 1",
        end="scrub; expect-home; destroy 0",
    ),
    Scenario(
        "teardown-vs-drop",
        "The queue is torn down while the stack drops its last references.",
        {"nic": "drop 1", "provider": "destroy 1; retry"},
        shape=Shape(niovs=2),
        setup="alloc 2",
    ),
    Scenario(
        "restart-vs-drop",
        "The queue gets a new pool while buffers of the old one come home.",
        {"nic": "drop 1", "provider": "restart; retry; alloc 1"},
        shape=Shape(niovs=2),
        setup="alloc 1",
    ),
    Scenario(
        "ptr-ring",
        "Buffers come into the ptr ring from two sides while the provider takes them out.",
        {"nic": "drop 1", "provider": "alloc 2", "control": "scrub"},
        shape=Shape(niovs=2, ptr_ring=2),
        setup="alloc 2; deliver 1 1",
    ),
    Scenario(
        "cq-full",
        "The completion queue is full: nothing is handed out, and nothing is lost.",
        {"nic": "send 1; send 1", "user": "take 1"},
        shape=Shape(niovs=2, cq=1),
        setup="grant 2",
        end="scrub; expect-home",
        honest=True,
    ),
    Scenario(
        "doorbell",
        "The provider goes to sleep while the user returns a buffer: it is woken, or it has seen "
        "the entry.",
        {"provider": "await-rqes; refill", "user": "return 0"},
        setup="alloc 1; deliver 1 1",
        end="flush; expect-home",
    ),
    Scenario(
        "doorbell-cq",
        "The user goes to sleep while the NIC delivers.",
        {"user": "await-cqes; take 1", "nic": "send 1"},
        setup="grant 1",
        end="scrub; expect-home",
    ),
    Scenario(
        "late-return",
        "A return of the old user comes while the ring is given to a new one.",
        {"provider": "follow-detach; reset-ring; refill", "old": "return 0", "control": "scrub"},
        setup="alloc 1; deliver 1 1",
        end="scrub; flush; expect-home",
    ),
    Scenario(
        "cut-vs-scrub",
        "The instance is scrubbed between two fragments of a buffer: the stack's own reference "
        "keeps it until the NIC is done.",
        {"nic": "cut 1; close", "control": "scrub"},
        setup="grant 1",
        end="scrub; expect-home; destroy 0",
    ),
    Scenario(
        "cut-vs-refill",
        "The NIC delivers two fragments of a buffer while the provider judges a return of it that "
        "came too early: it takes one reference at most, and the buffer stays until both are back.",
        {"nic": "cut 1; cut 1; close", "provider": "refill"},
        setup="grant 1; push 0x0",
        end="scrub; flush; expect-home",
    ),
    Scenario(
        "second-fragment",
        "The NIC delivers the second fragment of a buffer while the provider judges the return of "
        "the first, which the user was given: it must be accepted.",
        {"nic": "cut 1; cut 1; close", "user": "take 1; give 1", "provider": "refill"},
        setup="grant 1",
        end="expect-verdict 6 0; scrub; flush; expect-home",
        honest=True,
    ),
    Scenario(
        "copied-again",
        "A buffer is freed, taken for a copy and delivered while the provider judges a return of "
        "it that came too early: without a page pool it goes back to the freelist.",
        {"nic": "drop 1; copy 1; deliver 1 1", "provider": "refill"},
        shape=Shape(niovs=2, ptr_ring=1),
        setup="alloc 2; drop 1; push 0x1000",
        end="scrub; flush; expect-home",
    ),
    Scenario(
        "never-given-vs-scrub",
        "A buffer that the stack holds is returned by a user that was never given it, while what "
        "the user does hold is scrubbed: the return is rejected in every interleaving.",
        {"provider": "refill", "control": "scrub"},
        shape=Shape(niovs=2),
        setup="alloc 2; deliver 1 1; push 0x1000",
        end="flush; expect-verdict 6 1; expect-verdict 0 0; expect-home",
    ),
    Scenario(
        "give-at-once",
        "The user gives a fragment back as soon as it sees it: its reference is there already.",
        {"nic": "send 1", "user": "take 1; give 1", "provider": "refill"},
        setup="grant 1",
        end="expect-verdict 6 0; scrub; flush; expect-home",
        honest=True,
    ),
    Scenario(
        "payload",
        "The user reads the bytes of each fragment: they were written before the completion was "
        "seen, and belong to it.",
        {"nic": "send-bytes 1; send-bytes 1", "user": "take-bytes 1; take-bytes 1"},
        shape=Shape(niovs=2, cq=1),
        setup="grant 2",
        end="scrub; expect-home",
        honest=True,
    ),
    Scenario(
        "recycle",
        "A buffer goes round: the NIC writes into it again only when the user's reading is over.",
        {
            "nic": "send-bytes 1; send-bytes 1",
            "user": "take-bytes 1; give 1",
            "provider": "grant 1",
        },
        setup="grant 1",
        end="scrub; flush; expect-home",
        honest=True,
    ),
    Scenario(
        "each-entry-once",
        "The refill ring is full, and the user returns one more buffer as soon as there is room: "
        "each return is judged once.",
        {"provider": "refill; refill", "user": "return 1"},
        shape=Shape(niovs=2, rq=1),
        setup="alloc 2; deliver 2 1; return 0",
        end="expect-verdict 6 0; scrub; flush; expect-home",
        honest=True,
    ),
    Scenario(
        "entry-then-tail",
        "The user publishes two entries while the provider reads them: each is what was written "
        "there, not what stood there before.",
        {"provider": "refill; refill", "user": "push 0x1000; push 0x0"},
        shape=Shape(niovs=2),
        setup="alloc 2; deliver 2 1",
        end="expect-verdict 6 0; scrub; flush; expect-home",
        honest=True,
    ),
    Scenario(
        "rewrite-bound",
        "The user makes an entry name a buffer that there is not, while the provider reads it: it "
        "is judged by what was read.",
        {"provider": "refill", "user": "write 0 0x5000"},
        shape=Shape(niovs=2),
        setup="alloc 1; deliver 1 1; return 0",
        end="expect-verdict 6 0; scrub; flush",
    ),
    Scenario(
        "grants-full",
        "The grant ring is full: the provider may write into a slot only when the NIC has read it.",
        {"provider": "grant 1; grant 1", "nic": "send 1; send 1"},
        shape=Shape(niovs=3, grants=1),
        setup="grant 1",
        end="scrub; expect-home",
        honest=True,
    ),
    Scenario(
        "two-releases",
        "The ptr ring is full, and two sides give a buffer up at once: the pool counts both.",
        {"nic": "drop 1", "control": "scrub"},
        shape=Shape(niovs=3, ptr_ring=1),
        setup="alloc 3; deliver 1 1; drop 1",
        end="destroy 0",
    ),
    Scenario(
        "teardown-vs-release",
        "The queue is torn down while a full ptr ring sends the last buffer to the freelist: the "
        "pool is gone only when the buffer is there.",
        {"nic": "drop 1", "provider": "teardown 1"},
        shape=Shape(niovs=2, ptr_ring=1),
        setup="alloc 2; drop 1",
    ),
    Scenario(
        "release-vs-bind",
        "A buffer is unbound and freed by one side, taken and bound by the other: in this order.",
        {"nic": "drop 1", "provider": "alloc 2"},
        shape=Shape(niovs=2, ptr_ring=1),
        setup="alloc 2; drop 1",
        end="expect-bound",
    ),
    Scenario(
        "look-vs-restart",
        "Somebody looks for the page pool in charge while the queue gets a new one.",
        {"provider": "restart", "control": "look"},
        setup="alloc 1; drop 1",
    ),
    Scenario(
        "read-log",
        "The control process reads verdicts while the provider writes them.",
        {"provider": "refill", "control": "read-log"},
        setup="alloc 1; deliver 1 1; return 0; push 0x9000",
        end="flush; expect-home",
    ),
    Scenario(
        "doorbell-twice",
        "The provider sleeps twice while the user returns two buffers: a ring is for one sleep.",
        {"provider": "await-rqes 1; await-rqes 2", "user": "return 0; return 1"},
        shape=Shape(niovs=2),
        setup="alloc 2; deliver 2 1",
        end="flush; expect-home",
    ),
    Scenario(
        "reset-vs-scrub",
        "The ring is given to a new user, who finds it empty, while what the old one held is "
        "scrubbed.",
        {"provider": "follow-detach; reset-ring; refill", "control": "scrub"},
        setup="alloc 1; deliver 1 1; return 0",
        end="expect-verdict 0 0; expect-verdict 6 0; expect-home",
    ),
    Scenario(
        "scrub-of-the-living",
        "A living user is scrubbed while the NIC delivers to it: when the NIC is quiet, the user "
        "can see all that was taken from it.",
        {"nic": "send 1", "control": "scrub-quiet"},
        setup="grant 1",
        end="scrub; expect-home",
    ),
    Scenario(
        "run-vs-scrub",
        "Two fragments of a buffer come back as one run while the instance is scrubbed: the "
        "references are taken by one of the two, all of them.",
        {"provider": "alloc 1", "control": "scrub"},
        setup="alloc 1; deliver 1 2; return 0 2",
        end="scrub; flush; expect-home",
        kernel="7.3",
    ),
    Scenario(
        "run-vs-deliver",
        "A run of two returns that came too early is judged while the NIC delivers the two "
        "fragments: both count, or none.",
        {"nic": "cut 1; cut 1; close", "provider": "refill"},
        setup="grant 1; push 0x0; push 0x0",
        end="scrub; flush; expect-home",
        kernel="7.3",
    ),
    Scenario(
        "run-vs-return",
        "The user returns the second fragment of a buffer while the first is judged: they are one "
        "run or two, and both count.",
        {"provider": "refill; refill", "user": "return 0"},
        setup="alloc 1; deliver 1 2; return 0",
        end="flush; expect-home; expect-verdict 6 0",
        honest=True,
        kernel="7.3",
    ),
    Scenario(
        "reject-in-run-vs-scrub",
        "A run with a malformed entry in its middle is judged while the instance is scrubbed: it "
        "is one run all the same, and counts whole or not at all.",
        {"provider": "refill", "control": "scrub"},
        shape=Shape(rq=4),
        setup="alloc 1; deliver 1 2; return 0; push 0 0 1; push 0",
        end="expect-verdict 3 1; scrub; flush; expect-home",
        kernel="7.3",
    ),
    Scenario(
        "add-area-vs-scrub",
        "The user adds an area while the instance is scrubbed: the scrub goes through all areas "
        "that there are, and misses no reference for one that is not whole yet.",
        {"user": "add-area 1", "control": "scrub"},
        shape=Shape(more=1),
        setup="alloc 1; deliver 1 1",
        end="expect-home; destroy 0",
        kernel="7.3",
    ),
    Scenario(
        "add-area-vs-refill",
        "The provider judges an entry for an area that the user adds meanwhile: it is not there "
        "yet, or it is there with all its buffers.",
        {"user": "add-area 1", "provider": "refill"},
        shape=Shape(more=1),
        setup="alloc 1; deliver 1 1; return 0; push 0x1000000000000",
        end="expect-verdict 0 1; expect-verdict 5 0; expect-home",
        kernel="7.3",
    ),
    Scenario(
        "add-area-vs-alloc",
        "The provider asks for a buffer when all are out while the user adds an area: it is given "
        "the new one's, or none.",
        {"user": "add-area 1", "provider": "alloc 1"},
        shape=Shape(more=1),
        setup="alloc 1",
        end="alloc 1; destroy 1",
        kernel="7.3",
    ),
    Scenario(
        "flush-vs-scrub",
        "The user has the refill ring flushed while the instance is scrubbed: each buffer comes "
        "home once.",
        {"provider": "flush-rq", "control": "scrub"},
        shape=Shape(niovs=2),
        setup="alloc 2; deliver 2 1; return 0; return 1",
        end="scrub; expect-home; destroy 0",
        kernel="7.1",
    ),
    Scenario(
        "flush-vs-return",
        "The user returns a buffer while the ring is flushed: it is judged as it was written, "
        "then or later.",
        {"provider": "flush-rq; flush-rq", "user": "return 1"},
        shape=Shape(niovs=2, rq=1),
        setup="alloc 2; deliver 2 1; return 0",
        end="expect-verdict 6 0; scrub; flush; expect-home",
        honest=True,
        kernel="7.1",
    ),
    Scenario(
        "flush-vs-deliver",
        "The ring is flushed while the NIC hands the user a buffer that was returned too early: "
        "the entry is rejected, or it takes the reference that it finds.",
        {"nic": "deliver 1 1", "provider": "flush-rq"},
        setup="alloc 1; push 0x0",
        end="scrub; flush; expect-home",
        kernel="7.1",
    ),
    Scenario(
        "handed-over-vs-return",
        "The user gives a fragment back as soon as it sees it: the note of its reference is taken "
        "before the return is judged.",
        {"nic": "send 1", "user": "take 1; give 1", "provider": "refill"},
        setup="grant 1",
        end="expect-verdict 6 0; scrub; flush; expect-home",
        honest=True,
        kernel="refs-cache",
    ),
    Scenario(
        "handed-over-vs-scrub",
        "The NIC leaves a note of a reference while the instance is scrubbed: the reference is "
        "scrubbed then or later, and the buffer comes home once.",
        {"nic": "send 1", "control": "scrub"},
        setup="grant 1",
        end="scrub; expect-home; destroy 0",
        kernel="refs-cache",
    ),
    Scenario(
        "cached-vs-scrub",
        "References that were handed over are counted where the refill is while the instance is "
        "scrubbed: a return takes them, or the scrub does.",
        {"provider": "refill", "control": "scrub"},
        setup="alloc 1; deliver 1 2; return 0",
        end="scrub; flush; expect-home; destroy 0",
        kernel="refs-cache",
    ),
)

#: By name.
SCENARIOS: dict[str, Scenario] = {scenario.name: scenario for scenario in _SCENARIOS}
