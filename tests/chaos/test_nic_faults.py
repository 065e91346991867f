"""Faults of the NIC in real runs, by exact figures: all that was injected is found."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from emu.config import Pace, RunConfig
from emu.runtime.session import Session, _never_fire
from emu.verdict.report import Report
from faults import CATALOGUE, PROFILES, Actor, ReconciledRow, parse_plan

pytestmark = pytest.mark.long

#: One fragment a packet, each of 1000 bytes; and five a packet.
SMALL = "synthetic:kind=raw,size=1000,flows=4,packets=64"
LARGE = "synthetic:kind=raw,size=20000,flows=4,packets=64"
PIECES = {SMALL: 1, LARGE: 5}
PCAP = f"pcap:{Path(__file__).parents[1] / 'data' / 'loopback.pcap'}"
#: What a fault of the NIC is found as.
FOUND = {
    "nic-corrupt": "corrupt_found",
    "nic-duplicate": "duplicate_found",
    "nic-reorder": "late_found",
    "nic-truncate": "truncated_found",
}
#: All of them at rates at which several meet in one run.
ALL = (
    "nic-drop:0.2%,nic-corrupt:0.2%,nic-duplicate:1%,nic-reorder:1%:distance=8,nic-truncate:0.5%,"
    "nic-stall:0.01%:us=100,nic-burst:0.1%:packets=256,nic-hold:0.1%,nic-tiny:0.1%,cq-full:0.1%,"
    "clock-jump:0.1%:ms=1"
)
N = 20_000

each_size = pytest.mark.parametrize("traffic", [SMALL, LARGE], ids=["small", "large"])


def rows_of(report: Report) -> dict[str, ReconciledRow]:
    return {row.name: row for row in report.reconciliation.rows[1:]}


def check_nothing_else(report: Report) -> None:
    """Every fragment that was delivered was received, and only marked ones were remarkable."""
    received = report.total("consumer", "fragments")
    assert received == report.total("nic", "fragments_delivered")
    assert report.total("consumer", "order_errors") == 0
    assert report.total("consumer", "integrity_errors") == 0
    assert report.total("consumer", "order_gaps") <= report.total("nic", "fragments_dropped")
    for item in report.reconciliation.consequences:
        assert item.kind == FOUND[item.fault]


def offered(report: Report) -> tuple[int, int, int]:
    offered, delivered, dropped = (
        report.total("nic", f"packets_{name}") for name in ("offered", "delivered", "dropped")
    )
    return offered, delivered, dropped


@each_size
def test_each_copy_of_a_packet_is_found(survive: Callable[..., Report], traffic: str) -> None:
    report = survive("nic-duplicate:every=100", traffic=traffic, packets=N)
    row = rows_of(report)["nic-duplicate"]
    assert row.injected == N // 100
    assert row.consequences == N // 100 * PIECES[traffic]
    assert offered(report) == (N, N, 0)
    assert report.total("nic", "fragments_delivered") == (N + N // 100) * PIECES[traffic]
    check_nothing_else(report)
    (text,) = [item.text for item in report.statements if item.name == "order"]
    assert f"{row.consequences} of nic-duplicate" in text


@each_size
@pytest.mark.parametrize("distance", [1, 8, 63])
def test_each_late_packet_is_found_and_its_gap_closed(
    survive: Callable[..., Report], traffic: str, distance: int
) -> None:
    report = survive(f"nic-reorder:every=100:distance={distance}", traffic=traffic, packets=N)
    row = rows_of(report)["nic-reorder"]
    assert row.injected == N // 100
    assert row.consequences == N // 100 * PIECES[traffic]
    assert offered(report) == (N, N, 0)
    assert report.total("consumer", "order_gaps") == 0
    check_nothing_else(report)


def test_only_one_packet_is_late_at_a_time(survive: Callable[..., Report]) -> None:
    """Every packet is wanted, but only each fifth can be: it is held while four pass it."""
    report = survive("nic-reorder:1.0:distance=4", traffic=SMALL, packets=N)
    row = rows_of(report)["nic-reorder"]
    assert row.injected == row.consequences == N // 5
    assert report.total("consumer", "order_gaps") == 0


def test_gaps_that_stay_are_the_drops(survive: Callable[..., Report]) -> None:
    plan = "nic-reorder:every=7:distance=5,nic-drop:every=100:from=1,nic-duplicate:every=11"
    report = survive(plan, traffic=SMALL, packets=N)
    dropped = report.total("nic", "packets_dropped")
    assert dropped == rows_of(report)["nic-drop"].injected > 100
    # A drop at the very end of a flow leaves no gap behind it.
    assert dropped - 4 <= report.total("consumer", "order_gaps") <= dropped
    check_nothing_else(report)


@each_size
def test_each_packet_that_is_cut_short_is_found(
    survive: Callable[..., Report], traffic: str
) -> None:
    report = survive("nic-truncate:every=100", traffic=traffic, packets=N)
    row = rows_of(report)["nic-truncate"]
    assert row.injected == row.consequences == N // 100
    assert offered(report) == (N, N, 0)
    assert report.total("nic", "bytes_delivered") < report.total("nic", "bytes_offered")
    assert (report.total("nic", "fragments_dropped") > 0) == (traffic == LARGE)
    check_nothing_else(report)


def test_packet_that_is_not_longer_than_what_is_kept_is_not_cut(
    survive: Callable[..., Report],
) -> None:
    report = survive(
        "nic-truncate:every=100:keep=1000,nic-truncate:every=100:from=1:keep=999:limit=7",
        traffic=SMALL,
        packets=N,
    )
    none, some = report.reconciliation.rows[1:]
    assert (none.injected, none.consequences) == (0, 0)
    assert (some.injected, some.consequences) == (7, 7)
    assert report.total("nic", "bytes_delivered") == N * 1000 - 7


@each_size
@pytest.mark.parametrize("fragments", [2, 64, 1024])
def test_storm_of_tiny_fragments_is_exact(
    survive: Callable[..., Report], traffic: str, fragments: int
) -> None:
    report = survive(
        f"nic-tiny:every=100:fragments={fragments}", traffic=traffic, packets=N, area_buffers=256
    )
    assert rows_of(report)["nic-tiny"].injected == N // 100
    size = 1000 if traffic == SMALL else 20_000
    tiny = min(fragments, size)
    rest = -(-(size - tiny) // 4096)
    expected = (N - N // 100) * PIECES[traffic] + N // 100 * (tiny + rest)
    assert report.total("nic", "fragments_delivered") == expected
    assert report.total("nic", "bytes_delivered") == N * size
    assert offered(report) == (N, N, 0)
    check_nothing_else(report)


def test_storm_is_smaller_where_it_would_never_fit(survive: Callable[..., Report]) -> None:
    report = survive("nic-tiny:every=100:fragments=1024", traffic=SMALL, packets=N, cq_entries=16)
    assert rows_of(report)["nic-tiny"].injected == N // 100
    assert report.total("nic", "fragments_delivered") == N - N // 100 + N // 100 * 16
    assert report.total("nic", "packets_dropped") == 0


@each_size
def test_packet_that_finds_the_queue_full_is_dropped_at_once(
    survive: Callable[..., Report], traffic: str
) -> None:
    """Packets may wait for a minute here, so one that waited would be noticed."""
    report = survive("cq-full:every=100", traffic=traffic, packets=N)
    assert rows_of(report)["cq-full"].injected == N // 100
    assert offered(report) == (N, N - N // 100, N // 100)
    assert report.total("nic", "dropped_cq_full") == N // 100
    assert report.total("nic", "dropped_no_buffer") == 0
    assert report.total("nic", "fragments_dropped") == N // 100 * PIECES[traffic]
    check_nothing_else(report)


def test_held_buffers_come_home_through_the_pool(survive: Callable[..., Report]) -> None:
    """What was granted and not filled, and only that, comes back by the ptr ring.

    Packets fill whole buffers. What the scrub sent there is taken off on both sides.
    """
    traffic = "synthetic:kind=raw,size=4096,flows=4,packets=64"
    fields = {"traffic": traffic, "packets": N, "area_buffers": 1024, "grant_entries": 256}
    report = survive("nic-hold:every=1000:count=8:packets=100", **fields)
    injected = rows_of(report)["nic-hold"].injected
    (queue,) = report.queues
    pool = queue.page_pool
    granted = sum(pool[f"rx_pp_alloc_{way}"] for way in ("fast", "slow", "refill"))
    unfilled = granted - queue.nic["grants_taken"]
    assert 0 < injected <= N // 1000
    # A buffer whose user is quicker than the NIC's own reference comes home that way, too; its
    # entry found it still referenced.
    early = pool["rx_pp_recycle_ring"] - queue.scrub["buffers"] - unfilled
    assert 0 <= early <= queue.provider["still_referenced"]
    assert injected <= unfilled <= injected * 8 + 256
    assert pool["rx_pp_alloc_refill"] > 0, "held ones were granted again"
    assert offered(report) == (N, N, 0)


@pytest.mark.parametrize("area_buffers", [17, 128])
def test_nic_works_on_with_little_left_to_hold(
    survive: Callable[..., Report], area_buffers: int
) -> None:
    report = survive(
        "nic-hold:every=10:count=4096:packets=1000000",
        traffic=LARGE,
        packets=2000,
        area_buffers=area_buffers,
        grant_entries=16,
        hold=2,
    )
    assert rows_of(report)["nic-hold"].injected > 0
    assert offered(report) == (2000, 2000, 0)


def test_at_most_one_thing_is_done_to_a_packet(survive: Callable[..., Report]) -> None:
    """The first rule of the plan has the packet; those behind it do nothing to it."""
    names = ("nic-duplicate", "nic-drop", "nic-corrupt", "nic-truncate", "cq-full", "nic-tiny")
    plan = ",".join(f"{name}:every=100" for name in names)
    report = survive(plan, traffic=SMALL, packets=N)
    assert [rows_of(report)[name].injected for name in names] == [N // 100, 0, 0, 0, 0, 0]
    assert report.total("nic", "packets_dropped") == 0


@pytest.mark.parametrize("traffic", [SMALL, LARGE, PCAP, "synthetic"])
@pytest.mark.parametrize("fields", [{}, {"copy_every": 7, "wait_ms": 1}], ids=str)
def test_all_at_once_on_any_traffic(
    survive: Callable[..., Report], traffic: str, fields: dict[str, int]
) -> None:
    report = survive(ALL, traffic=traffic, packets=N, queues=2, **fields)
    rows = rows_of(report)
    assert {name for name, row in rows.items() if not row.injected} <= {"nic-stall"}
    for name in ("nic-corrupt", "nic-truncate"):
        assert rows[name].consequences == rows[name].injected
    check_nothing_else(report)


@pytest.mark.parametrize("traffic", [SMALL, LARGE], ids=["small", "large"])
def test_all_at_once_while_consumers_come_and_go(
    survive: Callable[..., Report], traffic: str
) -> None:
    plan = f"{ALL},kill-consumer:every=100,churn:every=170"
    report = survive(plan, traffic=traffic, packets=0, duration_s=1.0, queues=2)
    rows = rows_of(report)
    assert rows["kill-consumer"].injected > 0
    assert rows["nic-reorder"].injected > 0
    # Nobody is told of what the killed ones had not read.
    for name in ("nic-corrupt", "nic-truncate"):
        assert rows[name].consequences <= rows[name].injected
    assert report.total("consumer", "order_errors") == 0


def test_jump_of_the_clock_is_noticed_by_pacing_only(survive: Callable[..., Report]) -> None:
    """Ten packets a second would take for ever; an hour forward makes them all due."""
    traffic = "synthetic:kind=raw,size=1000,flows=1,packets=64,pps=10"
    report = survive(
        "clock-jump:at=1:ms=3600000", traffic=traffic, packets=2000, pace=Pace.ORIGINAL
    )
    assert rows_of(report)["clock-jump"].injected == 1
    assert offered(report) == (2000, 2000, 0)


def test_clock_that_jumped_back_leaves_the_run_to_its_own_limit(
    survive: Callable[..., Report],
) -> None:
    report = survive(
        "clock-jump:at=5:ms=3600000:direction=back",
        traffic=SMALL,
        packets=0,
        duration_s=0.3,
        pace=Pace.ORIGINAL,
        queues=2,
        hold=0,  # what comes before the jump comes back
    )
    assert report.ended == "duration"
    assert rows_of(report)["clock-jump"].injected == 1
    # The queue on which it jumped stands at its packet 5; the other one may be anywhere.
    assert min(queue.nic["packets_offered"] for queue in report.queues) <= 5


def test_note_says_what_a_tcp_source_cannot_do() -> None:
    names = {name for name, fault in CATALOGUE.items() if fault.actor is Actor.NIC}
    (note,) = _never_fire(PROFILES["chaos"].plan)
    assert set(note.partition(": not injected")[0].split(", ")) == names
    assert _never_fire(PROFILES["hostile"].plan) == []


def test_nic_faults_never_fire_on_a_tcp_source() -> None:
    config = RunConfig(
        traffic="tcp:127.0.0.1:0",
        plan=parse_plan("nic-drop:1.0,bad-pad:1.0"),
        connections=1,
        hold=0,
    )
    with Session(config, stop_at_end=1) as session:
        assert session.listener_address is not None
        host, _, port = session.listener_address.rpartition(":")

        def send() -> None:
            with socket.create_connection((host, int(port))) as connection:
                connection.sendall(b"x" * 100_000)

        sender = threading.Thread(target=send)
        sender.start()
        report = session.run()
        sender.join()
    assert report.ok
    assert rows_of(report)["nic-drop"].injected == 0
    assert rows_of(report)["bad-pad"].injected > 0
    assert [note.partition(": NIC")[0] for note in report.notes] == ["nic-drop: not injected"]
