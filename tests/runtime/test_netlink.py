"""How the provider describes itself in netdev's netlink dumps."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from emu.core import NetlinkDump, nl_fill
from emu.runtime.netlink import decode_nests, dumps
from emu.verdict.report import Report

NESTED = 0x8000


@pytest.mark.parametrize(
    ("dump", "number"), [(NetlinkDump.QUEUE_GET, 6), (NetlinkDump.PAGE_POOL_GET, 8)]
)
def test_provider_adds_one_empty_nest(dump: NetlinkDump, number: int) -> None:
    assert nl_fill(dump) == struct.pack("<HH", 4, NESTED | number)
    assert decode_nests(dump, nl_fill(dump)) == {"io-uring": {}}


def test_attribute_numbers_mean_something_in_their_own_dump_only() -> None:
    assert decode_nests(NetlinkDump.PAGE_POOL_GET, nl_fill(NetlinkDump.QUEUE_GET)) == {"6": {}}


def test_decoder_walks_over_padding_and_plain_attributes() -> None:
    data = (
        struct.pack("<HHB3x", 5, 1, 7)  # one byte of payload, padded to four
        + struct.pack("<HH", 4, NESTED | 6)
        + struct.pack("<HH", 4, NESTED | 99)
    )
    assert decode_nests(NetlinkDump.QUEUE_GET, data) == {"io-uring": {}, "99": {}}


@pytest.mark.parametrize("data", [b"", b"\x04\x00\x06", struct.pack("<HH", 0, NESTED | 6)])
def test_decoder_stops_at_what_is_no_attribute(data: bytes) -> None:
    assert decode_nests(NetlinkDump.QUEUE_GET, data) == {}


def test_dumps_list_each_queue_and_its_page_pool() -> None:
    assert dumps([3, 0], 4096) == {
        "queue-get": [
            {"id": 0, "ifindex": 1, "type": "rx", "io-uring": {}},
            {"id": 1, "ifindex": 1, "type": "rx", "io-uring": {}},
        ],
        "page-pool-get": [
            {"id": 1, "ifindex": 1, "inflight": 3, "inflight-mem": 12288, "io-uring": {}},
            {"id": 2, "ifindex": 1, "inflight": 0, "inflight-mem": 0, "io-uring": {}},
        ],
    }


def test_run_reports_the_dumps_of_its_queues(run_sound: Callable[..., Report]) -> None:
    report = run_sound(packets=1000, queues=2, area_buffers=512)
    assert [entry["id"] for entry in report.netlink["queue-get"]] == [0, 1]
    for entry in report.netlink["page-pool-get"]:
        assert 0 < entry["inflight"] <= 512
        assert entry["inflight-mem"] == entry["inflight"] * 4096
