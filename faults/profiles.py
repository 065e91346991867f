"""Ready-made plans, and the one way in which a plan is named: profile, file or compact string."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults.catalogue import CATALOGUE, UnknownFaultError
from faults.custom import installed
from faults.fault import shown
from faults.near import did_you_mean
from faults.plan import Plan, parse_plan
from faults.plan_file import read_plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A plan with a name."""

    name: str
    summary: str  #: one line
    text: str  #: the plan in its compact form

    @property
    def plan(self) -> Plan:
        """The plan itself."""
        return parse_plan(self.text)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"name": self.name, "summary": self.summary, **self.plan.as_dict()}


_MALFORMED = (
    "bad-pad:1%,bad-area:1%,bad-index:1%,bad-offset:1%,alias:1%,mid-buffer:1%,len-garbage:1%"
)
# Rates are such that each fault fires many times a second at full speed, and that what
# costs time (stalls, a tail far ahead) leaves most of it to the traffic.
_HOSTILE = (
    f"{_MALFORMED},"
    "double-return:0.1%,stale-return:0.1%,early-return:0.1%,neighbour-return:0.1%,"
    "never-given:0.1%,wrong-area:0.1%,hoard:0.01%,wrong-ring:0.01%,"
    "tail-ahead:0.001%,head-scribble:0.1%,cq-head-scribble:0.01%,tail-back:0.01%,"
    "tail-random:0.001%,tail-early:0.01%:limit=64,tail-stall:0.001%,"
    "rqe-rewrite:0.01%:limit=64,rq-overrun:0.01%:limit=4,drop-when-full:0.01%:limit=4,"
    "cq-stall:0.001%,slow:0.01%,write-foreign:0.1%"
)
_NIC = (
    "nic-drop:0.1%,nic-corrupt:0.01%,nic-duplicate:0.1%,nic-reorder:0.1%:distance=8,"
    "nic-truncate:0.01%,nic-stall:0.001%,nic-burst:0.01%:packets=256,nic-hold:0.01%,"
    "nic-tiny:0.01%,cq-full:0.01%,clock-jump:0.001%:ms=10"
)
_CHAOS = (
    f"{_HOSTILE},{_NIC},"
    "alloc-fail:0.001%,freelist-empty:0.001%,ptr-ring-full:0.001%,"
    "kill-consumer:every=200,stop-consumer:every=330:ms=10,stop-provider:every=770:ms=10,"
    "stop-nic:every=1030:ms=10,churn:every=1710,scrub-midway:every=430,"
    "starve-consumer:every=1130:ms=100,starve-provider:every=1370:ms=100,"
    "starve-nic:every=1490:ms=100:nice=10,queue-restart:every=130,"
    # Each run starts in one of eight ways. Not setup-fail: it ends a run before it begins.
    "index-wrap:50%,header-layout:50%,header-garbage:50%"
)

#: All profiles by name, the mildest first.
PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile(
            name="smoke",
            summary="the three malformed RQEs that every provider must reject",
            text="bad-pad:1%,bad-area:1%,bad-index:1%",
        ),
        Profile(
            name="malformed",
            summary="all that the 16 bytes of an RQE can get wrong",
            text=_MALFORMED,
        ),
        Profile(
            name="hostile",
            summary="all that a consumer can do, its contract broken",
            text=_HOSTILE,
        ),
        Profile(
            name="chaos",
            summary="everything: consumer, NIC, provider, odd starts, and whole processes",
            text=_CHAOS,
        ),
    )
}


def plan_name(plan: Plan) -> str:
    """A plan in a word, where it is a profile's; else its rules."""
    text = str(plan)
    return next((item.name for item in PROFILES.values() if str(item.plan) == text), plan.brief)


def load_plan(text: str) -> Plan:
    """Return the plan that a profile's name, a ``.toml`` file or a compact string stands for.

    They are tried in this order. In a compact string a profile's name stands for its rules.

    Raises:
        PlanError: The file cannot be read, or there is a mistake in the plan.
        UnknownFaultError: A compact string names a fault that does not exist.
    """
    word = text.strip()
    if word in PROFILES:
        return PROFILES[word].plan
    if word.endswith(".toml"):
        return read_plan(Path(word))
    known = [*CATALOGUE, *installed(), *PROFILES]
    if re.fullmatch(r"[^:,=]+", word) and word not in ("none", *known):
        hint = did_you_mean(word, known) or "'zcrx-emu faults list' shows what there is"
        raise UnknownFaultError(f"faults: {shown(word)} is neither a fault nor a profile; {hint}")
    parts = [part.strip() for part in text.split(",")]
    return parse_plan(",".join(PROFILES[p].text if p in PROFILES else p for p in parts))
