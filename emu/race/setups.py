"""Ready scenarios as real processes: which run makes the same accesses meet often.

A set-up has small memory, faults that bring the racing paths about again and again, and the
points at which the processes dawdle more than elsewhere. What else disturbs a run (which cores,
which priorities, who is stopped, how hostile the users are) is drawn from the run's seed.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from emu.config import FRAGMENTS_MAX, RunConfig
from faults import parse_plan

_REFERENCES = (
    "USER_REF_LOAD",
    "USER_REF_STORE",
    "USER_REF_ADD",
    "USER_REF_CAS",
    "USER_REF_XCHG",
    "PP_REF_LOAD",
    "PP_REF_STORE",
    "PP_REF_ADD",
    "PP_REF_SUB",
)
_RQ = ("RQ_TAIL_LOAD", "RQ_TAIL_STORE", "RQ_HEAD_LOAD", "RQ_HEAD_STORE", "RQE_LOAD", "RQE_STORE")
_CQ = ("CQ_TAIL_LOAD", "CQ_TAIL_STORE", "CQ_HEAD_LOAD", "CQ_HEAD_STORE", "CQE_LOAD", "CQE_STORE")
_GRANTS = (
    "GRANT_TAIL_LOAD",
    "GRANT_TAIL_STORE",
    "GRANT_HEAD_LOAD",
    "GRANT_HEAD_STORE",
    "GRANT_SLOT",
)
_HOME = ("NIOV_POOL", "PTR_RING_SLOT", "PTR_RING_INDEX", "POOL_COUNT", "PP_REF_LOAD", "PP_REF_SUB")
_FREELIST = ("FREELIST", "FREE_COUNT", "LOCK_TAKE", "LOCK_RELEASE")

#: Process faults that any run may have on top; the seed picks some of them.
_STOPS = (
    "stop-consumer:every=67:ms=4",
    "stop-provider:every=83:ms=4",
    "stop-nic:every=97:ms=4",
)
_HOSTILE = "double-return:0.5%,stale-return:0.5%,early-return:0.2%,bad-index:0.5%,never-given:0.5%"


@dataclass(frozen=True, slots=True)
class LiveSetup:
    """How a scenario is run by real processes.

    Attributes:
        faults: The plan that makes it happen; text.
        points: Where the processes dawdle most, by name.
        config: Fields of the run's configuration that the scenario needs.
        hostile: Whether the users may be hostile beyond ``faults``, as the seed has it.
    """

    faults: str
    points: tuple[str, ...]
    config: Mapping[str, Any] = field(default_factory=dict)
    hostile: bool = True


_FULL_RING = LiveSetup("bad-pad:20%,slow:1%", _RQ, {"rq_entries": 2, "hold": 8})
_PUBLISH = LiveSetup("tail-early:0.5%:limit=64", _RQ)
_REWRITE = LiveSetup("rqe-rewrite:2%:limit=12", ("RQE_LOAD", "RQE_STORE"))
# Small packets and small bursts: a buffer is delivered in many steps, and returns come between.
_MANY_STEPS: dict[str, Any] = {
    "traffic": "synthetic:flows=16,packets=512,kind=raw,size=1-200",
    "cq_entries": 16,
    "hold": 0,
}
_CUT = LiveSetup("nic-tiny:1%", _REFERENCES, _MANY_STEPS)
_SCRUB = LiveSetup("scrub-midway:every=1", _REFERENCES)
_SCRUB_CUT = LiveSetup(
    "scrub-midway:every=1,nic-tiny:1%", (*_REFERENCES, "CQ_TAIL_STORE", "USER"), _MANY_STEPS
)
_DELIVER = LiveSetup("nic-tiny:1%", (*_CQ, *_REFERENCES), _MANY_STEPS)
_GRANT = LiveSetup("nic-burst:1%:packets=16", _GRANTS, {"grant_entries": 16})
_RELEASE = LiveSetup(
    "nic-drop:10%,scrub-midway:every=2", (*_FREELIST, *_HOME), {"ptr_ring_size": 1}
)
_RESTART = LiveSetup("queue-restart:every=2,nic-drop:5%,nic-hold:1%", _HOME)
_NEW_USER = LiveSetup(
    "kill-consumer:every=120,churn:every=310", (*_RQ, "USER", "USER_REF_CAS", "USER_REF_XCHG")
)

#: By the name of the ready scenario.
SETUPS: dict[str, LiveSetup] = {
    "refill-vs-scrub": _SCRUB,
    "scrub-vs-send": _SCRUB_CUT,
    "cut-vs-scrub": _SCRUB_CUT,
    "run-vs-scrub": _SCRUB_CUT,
    "reject-in-run-vs-scrub": replace(_SCRUB_CUT, faults=f"{_SCRUB_CUT.faults},bad-pad:10%"),
    "scrub-of-the-living": _SCRUB_CUT,
    "refill-vs-rewrite": _REWRITE,
    "rewrite-bound": _REWRITE,
    "return-vs-refill": _PUBLISH,
    "entry-then-tail": _PUBLISH,
    "run-vs-return": replace(_PUBLISH, config=_MANY_STEPS),
    "full-ring": _FULL_RING,
    "each-entry-once": _FULL_RING,
    "deliver-vs-refill": _CUT,
    "cut-vs-refill": _CUT,
    "run-vs-deliver": _CUT,
    "second-fragment": _CUT,
    "never-given-vs-scrub": LiveSetup("scrub-midway:every=1,never-given:1%", _REFERENCES),
    "copied-again": LiveSetup(
        "nic-drop:10%,early-return:1%", (*_FREELIST, *_HOME), {"ptr_ring_size": 1}
    ),
    "send-vs-take": _DELIVER,
    # A buffer for each fragment, and no more buffers than one burst: returns are read at once.
    "give-at-once": LiveSetup(
        "nic-drop:1%",
        ("CQ_TAIL_STORE", "USER_REF_STORE", "USER_REF_ADD"),
        {
            "traffic": "synthetic:flows=16,packets=512,kind=raw,size=3000-4000",
            "area_buffers": 17,
            "cq_entries": 16,
            "hold": 0,
        },
    ),
    "payload": _DELIVER,
    "recycle": _DELIVER,
    "grant-vs-send": _GRANT,
    "grants-full": _GRANT,
    "release-vs-freelist": _RELEASE,
    "two-releases": _RELEASE,
    "release-vs-bind": _RELEASE,
    "copy-vs-release": replace(_RELEASE, config={"ptr_ring_size": 1, "copy_every": 3}),
    "teardown-vs-drop": _RESTART,
    "restart-vs-drop": _RESTART,
    "look-vs-restart": _RESTART,
    "teardown-vs-release": replace(
        _RESTART, points=(*_HOME, *_FREELIST), config={"ptr_ring_size": 1}
    ),
    "ptr-ring": LiveSetup(
        "scrub-midway:every=1,nic-drop:30%",
        ("PTR_RING_SLOT", "PTR_RING_INDEX", "LOCK_TAKE", "LOCK_RELEASE"),
        {"ptr_ring_size": 4, "traffic": "synthetic:flows=16,packets=512,kind=raw,size=1-2000"},
    ),
    "cq-full": LiveSetup("cq-full:0.5%,cq-stall:0.1%:us=300,slow:1%", _CQ, {"cq_entries": 16}),
    "late-return": _NEW_USER,
    "reset-vs-scrub": _NEW_USER,
    "read-log": LiveSetup("bad-pad:10%", ("LOG", "RQ_HEAD_STORE")),
}

_SLEEPS = "every sleep of a process has a bound: a lost wake-up costs time, and is no finding"
#: Ready scenarios that real processes cannot show, and why.
NOT_LIVE: dict[str, str] = {
    "two-scrubs": "one process scrubs, one queue at a time",
    **dict.fromkeys(
        ("flush-vs-scrub", "flush-vs-return", "flush-vs-deliver"),
        "no process of a run has the refill ring flushed",
    ),
    **dict.fromkeys(
        ("add-area-vs-scrub", "add-area-vs-refill", "add-area-vs-alloc"),
        "no set-up has areas added",
    ),
    **dict.fromkeys(
        ("handed-over-vs-return", "handed-over-vs-scrub", "cached-vs-scrub"),
        "refs-cache is experimental, and no run plays it",
    ),
    "doorbell": _SLEEPS,
    "doorbell-cq": _SLEEPS,
    "doorbell-twice": _SLEEPS,
}


@dataclass(frozen=True, slots=True)
class LiveRun:
    """One run: a function of its set-up and its seed."""

    config: RunConfig
    everywhere: float  #: probability to dawdle at a point
    at: dict[str, float]  #: at those that the scenario is about
    sleeps: float  #: share of it that sleeps
    yields: float  #: share that yields
    placement: str  #: ``one core``, ``spread``, ``anywhere`` or ``moving``
    is_reniced: bool  #: whether priorities change


def draw(setup: LiveSetup, seed: int) -> LiveRun:
    """Draw a run from its seed, u64."""
    rng = random.Random(f"live:{seed}")
    faults = [setup.faults, *(stop for stop in _STOPS if rng.random() < 0.25)]
    if setup.hostile and rng.random() < 0.3:
        faults.append(_HOSTILE)
    placement = rng.choice(("one core", "spread", "anywhere", "moving"))
    values: dict[str, Any] = {
        "queues": rng.choice((1, 1, 2, 3)),
        "area_buffers": rng.choice((17, 24, 32, 64)),
        "rq_entries": rng.choice((4, 16, 64)),
        "cq_entries": rng.choice((16, 64)),
        "ptr_ring_size": rng.choice((4, 64)),
        "grant_entries": 16,
        "log_entries": 65536,
        "hold": rng.choice((0, 4, 8)),
        "wait_ms": 20,
        "traffic": "synthetic:flows=16,packets=512",
        **setup.config,
    }
    # What a consumer keeps must leave room for the largest packet, or the queue stands still.
    values["hold"] = min(values["hold"], values["area_buffers"] - FRAGMENTS_MAX - 1)
    config = RunConfig(
        seed=seed,
        duration_s=rng.choice((0.3, 0.5, 0.8)),
        pin=placement == "spread",
        plan=parse_plan(",".join(faults)),
        **values,
    )
    often = rng.choice((0.02, 0.1, 0.3))
    return LiveRun(
        config,
        everywhere=rng.choice((0.0, 0.0005, 0.002)),
        at=dict.fromkeys(setup.points, often),
        sleeps=rng.choice((0.02, 0.1, 0.3)),
        yields=0.2,
        placement=placement,
        is_reniced=rng.random() < 0.5,
    )
