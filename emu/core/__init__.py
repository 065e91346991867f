"""The C core as Python types: the only package that touches cffi.

``layout``    the shape and contract of a queue, sizes of its shared objects, where they are mapped
``control``   the states of a run
``queue``     a queue as the control process sees it
``faults``    rules and their reconciliation
``loops``     what NIC, provider and consumer processes run
``raw``       a consumer of somebody else's in C, and the observer of one
``arena``     traffic to replay; ``checksum``, ``netlink``: what the core computes alone
``sigbus``    memory that is taken away under a process; ``sibling``: one that is forked beside it
``step``      the provider in this process; ``emulator``: libzcrx_emu in it

Each class here owns one C object and what it needs to stay alive. Nothing of
``ffi`` (module ``_lib``) leaves the package.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emu.core._lib import core_path
    from emu.core.arena import ArenaPacket, build_arena
    from emu.core.checksum import crc32c, crc32c_kind, crc32c_more, crc32c_portable, rss_hash
    from emu.core.control import RunControl, RunState
    from emu.core.emulator import Emulator, LibraryReport
    from emu.core.faults import Balance, Mismatch, MismatchWhy, Reconciler, Rule, Trigger, mutate
    from emu.core.layout import (
        AREA_SIZES,
        FLIGHT_ENTRIES,
        JOURNAL_MAX,
        LAYOUT_VERSION,
        LEVELS,
        PACKET_MAX,
        QUEUES_MAX,
        RULES_MAX,
        Caller,
        Mapping,
        Shape,
        Sizes,
        bells_size,
        layout_sizes,
        run_size,
    )
    from emu.core.library import ProviderLibrary
    from emu.core.loops import (
        ConsumerLoop,
        ConsumerParams,
        CustomAnswer,
        CustomCall,
        NicLoop,
        NicParams,
        ProviderLoop,
        RawFragment,
    )
    from emu.core.netlink import NetlinkDump, nl_fill
    from emu.core.poison import Poison, Touch
    from emu.core.queue import (
        CONSEQUENCES_MAX,
        COUNTER_NAMES,
        Alarm,
        AuditResult,
        Consequence,
        ConsequenceKind,
        CounterGroup,
        Delivered,
        FlightClock,
        FlightWriter,
        JournalActor,
        JournalPart,
        Places,
        PluginCall,
        Queue,
        SlotView,
        StandingView,
        StreamAccount,
    )
    from emu.core.raw import ConsumerLibrary, Observer
    from emu.core.sibling import fork_sibling
    from emu.core.sigbus import MemoryGuard, watched_objects
    from emu.core.step import Stepper

__all__ = [
    "AREA_SIZES",
    "CONSEQUENCES_MAX",
    "COUNTER_NAMES",
    "FLIGHT_ENTRIES",
    "JOURNAL_MAX",
    "LAYOUT_VERSION",
    "LEVELS",
    "PACKET_MAX",
    "QUEUES_MAX",
    "RULES_MAX",
    "Alarm",
    "ArenaPacket",
    "AuditResult",
    "Balance",
    "Caller",
    "Consequence",
    "ConsequenceKind",
    "ConsumerLibrary",
    "ConsumerLoop",
    "ConsumerParams",
    "CounterGroup",
    "CustomAnswer",
    "CustomCall",
    "Delivered",
    "Emulator",
    "FlightClock",
    "FlightWriter",
    "JournalActor",
    "JournalPart",
    "LibraryReport",
    "Mapping",
    "MemoryGuard",
    "Mismatch",
    "MismatchWhy",
    "NetlinkDump",
    "NicLoop",
    "NicParams",
    "Observer",
    "Places",
    "PluginCall",
    "Poison",
    "ProviderLibrary",
    "ProviderLoop",
    "Queue",
    "RawFragment",
    "Reconciler",
    "Rule",
    "RunControl",
    "RunState",
    "Shape",
    "Sizes",
    "SlotView",
    "StandingView",
    "Stepper",
    "StreamAccount",
    "Touch",
    "Trigger",
    "bells_size",
    "build_arena",
    "core_path",
    "crc32c",
    "crc32c_kind",
    "crc32c_more",
    "crc32c_portable",
    "fork_sibling",
    "layout_sizes",
    "mutate",
    "nl_fill",
    "rss_hash",
    "run_size",
    "watched_objects",
]

#: Where each is. They are imported when they are asked for: a worker needs few of them.
_HOME = {
    name: f"emu.core.{module}"
    for module, names in {
        "_lib": "core_path",
        "arena": "ArenaPacket build_arena",
        "checksum": "crc32c crc32c_kind crc32c_more crc32c_portable rss_hash",
        "control": "RunControl RunState",
        "emulator": "Emulator LibraryReport",
        "faults": "Balance Mismatch MismatchWhy Reconciler Rule Trigger mutate",
        "layout": (
            "AREA_SIZES FLIGHT_ENTRIES JOURNAL_MAX LAYOUT_VERSION LEVELS PACKET_MAX QUEUES_MAX "
            "RULES_MAX Caller Mapping Shape Sizes bells_size layout_sizes run_size"
        ),
        "library": "ProviderLibrary",
        "loops": (
            "ConsumerLoop ConsumerParams CustomAnswer CustomCall NicLoop NicParams "
            "ProviderLoop RawFragment"
        ),
        "netlink": "NetlinkDump nl_fill",
        "poison": "Poison Touch",
        "queue": (
            "CONSEQUENCES_MAX COUNTER_NAMES Alarm AuditResult Consequence ConsequenceKind "
            "CounterGroup Delivered FlightClock FlightWriter PluginCall JournalActor JournalPart "
            "Places Queue SlotView StandingView StreamAccount"
        ),
        "raw": "ConsumerLibrary Observer",
        "sibling": "fork_sibling",
        "sigbus": "MemoryGuard watched_objects",
        "step": "Stepper",
    }.items()
    for name in names.split()
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
