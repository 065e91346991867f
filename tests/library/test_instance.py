"""``emu.library``: a Python program's ring whose kernel is libzcrx_emu."""

from __future__ import annotations

import ctypes
import errno
import gc
import os
import struct
import weakref
from collections.abc import Iterator

import pytest

from emu.contract import LEVELS
from emu.errors import ConfigError, EmuError, KernelRefused, StateError
from emu.library import Completion, Instance, LibraryReport, Queue, Shape

RQE = struct.Struct("<QII")


@pytest.fixture
def ring() -> Iterator[Instance]:
    with Instance() as instance:
        yield instance


class Returns:
    """A right program's side of the refill ring."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        words = queue.region[: queue.rqes_at].cast("I")
        self.head, self.tail = words[queue.head_at // 4 :], words[queue.tail_at // 4 :]
        self.rqes = queue.region[queue.rqes_at :]

    def put(self, off: int, length: int, pad: int = 0) -> None:
        slot = self.tail[0] % self.queue.rq_entries
        RQE.pack_into(self.rqes, slot * RQE.size, off, length, pad)
        self.tail[0] = (self.tail[0] + 1) & 0xFFFFFFFF

    def give_back(self, completion: Completion) -> None:
        self.put(completion.off, completion.res)


def _receive(ring: Instance, queue: Queue, data: bytes, **shape: int) -> list[Completion]:
    assert queue.deliver(data, shape=Shape(**shape)) == len(data)
    ring.step()
    return list(ring.completions())


def _kinds(reports: tuple[LibraryReport, ...]) -> list[str]:
    return [report.kind for report in reports]


@pytest.mark.parametrize("kernel", LEVELS)
def test_what_arrives_is_completed_at_each_level(kernel: str) -> None:
    with Instance(kernel=kernel) as ring:
        queue = ring.register(buffers=8, rq_entries=8)
        queue.arm(user_data=7)
        returns = Returns(queue)
        data = bytes(range(256)) * 32
        for _ in range(10):
            got = b""
            for one in _receive(ring, queue, data, fragment_max=1000, per_buffer=4):
                assert (one.user_data, one.more) == (7, True)
                got += queue.area[one.off : one.off + one.res]
                returns.give_back(one)
                queue.drain()
            assert got == data
        ring.end()
        ring.step()
        (last,) = ring.completions()
        assert (last.res, last.more) == (0, False)
        assert ring.finish() == ()
        assert ring.report_text() == "nothing found\n"


@pytest.mark.parametrize("kernel", LEVELS[2:])
def test_completions_of_two_sizes_are_told_apart(kernel: str) -> None:
    """Three places: of the two that a payload needs the second is sometimes where the first is."""
    with Instance(kernel=kernel, mixed=True, cq_entries=4) as ring:
        queue = ring.register(buffers=8)
        returns = Returns(queue)
        for number in range(20):
            queue.arm(user_data=number, limit=10)
            (one,) = _receive(ring, queue, b"x" * 10)[:1]
            assert (one.user_data, one.res) == (number, 10)
            assert queue.area[one.off : one.off + 10] == b"x" * 10
            returns.give_back(one)
            ring.step()
            rest = [*ring.completions()]
            assert [(last.user_data, last.res, last.more, last.off) for last in rest] in (
                [],
                [(number, 0, False, 0)],
            )
        assert ring.finish() == ()


def test_ring_of_two_sizes_is_of_later_kernels() -> None:
    with (
        Instance(kernel="6.15", mixed=True) as ring,
        pytest.raises(KernelRefused, match=r"EINVAL: .*CQE32"),
    ):
        ring.register()


@pytest.mark.parametrize("kernel", LEVELS[3:])
def test_queue_is_used_by_two_rings(kernel: str) -> None:
    """Each receives what comes by it; what one was given the other one returns."""
    with Instance(kernel=kernel) as first:
        queue = first.register(buffers=4, rq_entries=4)
        returns = Returns(queue)
        payload = b"abc"
        with first.another(mixed=True, seed=3) as second:
            same = second.import_queue(queue)
            assert (same.zcrx_id, second.kernel) == (0, kernel)
            for _ in range(10):
                for ring, its in ((first, queue), (second, same)):
                    its.arm(flow=2, limit=3)
                    assert its.deliver(payload, flow=2) == 3
                    ring.step()
                    for one in ring.completions():
                        if one.res:
                            assert same.area[one.off : one.off + one.res] == payload
                            returns.give_back(one)
            assert [*first.rings] == [*second.rings] == [first, second]
            assert second.finish() == ()
        assert [*first.rings] == [first]
        assert first.finish() == ()


def test_queue_outlives_the_ring_that_registered_it() -> None:
    first = Instance(kernel="7.3")
    queue = first.register(buffers=4)
    second = first.another()
    same = second.import_queue(queue)
    first.close()
    del first, queue
    gc.collect()
    same.arm()
    (one,) = _receive(second, same, b"x" * 100)
    assert same.area[one.off] == ord("x")
    assert _kinds(second.finish()) == ["not-returned"]
    second.close()


def test_export_that_stays_open_is_told() -> None:
    with Instance(kernel="7.2") as ring:
        descriptor = ring.register().export()
        try:
            assert _kinds(ring.finish()) == ["export-open"]
        finally:
            os.close(descriptor)


def test_queues_are_shared_by_rings_of_one_kernel_of_late() -> None:
    with Instance() as old, pytest.raises(KernelRefused, match=r"op: 1|opcode: 36"):
        old.register().export()
    with Instance(kernel="7.3") as one, Instance(kernel="7.3") as stranger:
        with pytest.raises(KernelRefused, match=r"^EBADF: if_idx: .* no descriptor that an export"):
            stranger.import_queue(one.register())
        with pytest.raises(TypeError):
            one.another(kernel="7.2")


def test_report_has_all_that_the_text_says(ring: Instance) -> None:
    queue = ring.register(buffers=4)
    queue.arm(flow=3)
    assert queue.deliver(b"x" * 100, flow=3) == 100
    ring.step()
    (one,) = ring.completions()
    Returns(queue).put(one.off, one.res, pad=7)
    pad, left = ring.finish()
    assert (pad.kind, pad.entry, pad.text) == ("bad-pad", 0, "entry 0 has __pad 0x7")
    assert (left.kind, left.niov, left.completion, left.flow) == ("not-returned", 0, 1, 3)
    for report in (pad, left):
        assert f"{report.kind}: queue 0: {report.text}\n    do: {report.advice}\n" in (
            ring.report_text()
        )


def test_many_reports_are_all_told(ring: Instance) -> None:
    queue = ring.register(buffers=16, rq_entries=16)
    returns = Returns(queue)
    for _ in range(5):
        for _ in range(16):
            returns.put(0, 0, pad=1)
        queue.drain()
    assert _kinds(ring.finish()) == ["bad-pad"] * 80


def test_completions_leave_room_as_they_are_read() -> None:
    with Instance(cq_entries=2) as ring:
        queue = ring.register(buffers=8)
        queue.arm()
        assert queue.deliver(b"x" * 5 * 4096) == 5 * 4096
        ring.step()
        completions = ring.completions()
        assert next(completions).res == next(completions).res == 4096
        # The one that says that there was no room has none itself before both have left.
        ring.step()
        assert next(completions).res == -errno.ENOSPC
        assert list(completions) == []


def test_same_seed_cuts_alike() -> None:
    def sizes(seed: int) -> list[int]:
        with Instance(seed=seed) as ring:
            queue = ring.register()
            queue.arm()
            got = _receive(ring, queue, b"x" * 9000, fragment_min=1, fragment_max=1000)
            return [one.res for one in got]

    assert sizes(1) == sizes(1) != sizes(2)


def test_copies_and_buffers_of_other_sizes() -> None:
    with Instance(kernel="7.3") as ring:
        queue = ring.register(buffers=128, rx_buf_len=16384)
        assert queue.buffer_size == 16384
        assert len(queue.area) == 128 * 16384
        queue.arm()
        assert [one.res for one in _receive(ring, queue, b"x" * 16384)] == [16384]
        (copied,) = _receive(ring, queue, b"y" * 100, linear_min=100, linear_max=100)
        assert queue.area[copied.off : copied.off + 100] == b"y" * 100


def test_nic_that_keeps_more_than_there_is_is_told() -> None:
    with Instance(rx_descriptors=64, mtu=9000) as ring:
        ring.register(buffers=64).arm()
        assert _kinds(ring.finish()) == ["standing-buffers"]


def test_plan_has_the_nic_drop_what_its_journal_says() -> None:
    def dropped(plan: str) -> tuple[list[int], str]:
        with Instance(plan=plan, seed=3) as ring:
            queue = ring.register()
            queue.arm()
            taken = [queue.deliver(b"x" * 100) for _ in range(20)]
            return [at for at, size in enumerate(taken) if size == 0], ring.journal()

    fired, journal = dropped("nic-drop:30%")
    assert 0 < len(fired) < 20
    assert dropped(journal) == (fired, journal)
    assert dropped("") == ([], "none")


@pytest.mark.parametrize(("late_head", "head"), [(False, 1), (True, 0)])
def test_head_may_come_late(late_head: bool, head: int) -> None:
    with Instance(late_head=late_head) as ring:
        queue = ring.register(buffers=1)
        queue.arm()
        returns = Returns(queue)
        (one,) = _receive(ring, queue, b"x")
        returns.give_back(one)
        _receive(ring, queue, b"x")  # there is one buffer: its return was judged
        assert returns.head[0] == head


def test_returned_buffer_is_poisoned_unless_that_is_not_wanted() -> None:
    for poison, byte in ((True, 0xDB), (False, ord("x"))):
        with Instance(poison=poison, eager=True) as ring:
            queue = ring.register(buffers=1)
            queue.arm()
            (one,) = _receive(ring, queue, b"x")
            Returns(queue).give_back(one)
            ring.step()
            assert queue.area[one.off] == byte


def test_thread_of_the_library_steps() -> None:
    with Instance(eager=True) as ring:
        queue = ring.register(buffers=8)
        queue.arm()
        returns = Returns(queue)
        ring.start()
        with pytest.raises(KernelRefused, match="it has been started"):
            ring.start()
        sent = got = 0
        while got < 100_000:
            sent += queue.deliver(b"x" * min(3000, 100_000 - sent))
            for one in ring.completions():
                got += one.res
                returns.give_back(one)
        ring.stop()
        assert ring.finish() == ()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kernel": "9.9"}, "kernel: '9.9' is not allowed; must be one of seed, 6.15"),
        ({"seed": -1}, "seed: -1 is not allowed; must be 0 to"),
        ({"cq_entries": 3}, "cq_entries: 3 is not allowed; must be a power of two"),
        ({"cq_entries": 0}, "cq_entries: 0 is not allowed"),
        ({"plan": "nic-drop:2"}, "^plan: nic-drop: probability '2' is out of range"),
        ({"plan": "bad-pad:1%"}, "bad-pad"),
        ({"mtu": -1}, "mtu: -1 is not allowed; must be 0 to 65536"),
        ({"rx_descriptors": 65537}, "rx_descriptors: 65537 is not allowed"),
    ],
)
def test_wrong_instance_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Instance(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"buffers": 0}, "buffers: 0 is not allowed"),
        ({"rq_entries": 32769}, "rq_entries: 32769 is not allowed; must be 1 to 32768"),
        ({"rx_buf_len": -1}, "rx_buf_len: -1 is not allowed"),
        ({"buffers": 1 << 20, "rx_buf_len": 1 << 30}, r"area: \d+ bytes: Cannot allocate"),
    ],
)
def test_wrong_queue_is_refused(ring: Instance, fields: dict[str, int], message: str) -> None:
    with pytest.raises(EmuError, match=message):
        ring.register(**fields)


def test_kernel_that_refuses_says_why(ring: Instance) -> None:
    with pytest.raises(KernelRefused, match=r"^EINVAL: rx_buf_len: 8192; at level seed") as refused:
        ring.register(rx_buf_len=8192)
    assert refused.value.errno == errno.EINVAL
    queue = ring.register()
    with pytest.raises(KernelRefused, match="EINVAL: fragment_min 5000"):
        queue.deliver(b"x", shape=Shape(fragment_min=5000, fragment_max=5000))
    ring.end()
    with pytest.raises(KernelRefused, match="EPIPE: flow 1"):
        queue.deliver(b"x")


class _AreaReg(ctypes.Structure):
    _fields_ = (
        ("addr", ctypes.c_uint64),
        ("len", ctypes.c_uint64),
        ("rq_area_token", ctypes.c_uint64),
        ("flags", ctypes.c_uint32),
        ("dmabuf_fd", ctypes.c_uint32),
        ("resv", ctypes.c_uint64 * 2),
    )


def test_structs_of_the_programs_own(ring: Instance) -> None:
    """As a program has them that calls the kernel by itself."""
    area_reg = bytearray(_AreaReg(addr=1, len=4096))
    region = bytearray(64)
    reg = bytearray(96)
    struct.pack_into(
        "<4I2Q", reg, 0, 1, 0, 8, 0, ring.address_of(area_reg), ring.address_of(region)
    )
    assert ring.register_raw(32, reg, 1) == -errno.EINVAL
    assert ring.why.startswith("region")
    assert ring.register_raw(99, reg, 1) == -errno.EINVAL
    assert ring.why.startswith("opcode: 99")
    with pytest.raises(BufferError):
        region.clear()  # the kernel may still look there


def test_closed_ring_answers_no_more(ring: Instance) -> None:
    queue = ring.register()
    ring.close()
    ring.close()
    for call in (ring.step, ring.finish, ring.reports, ring.register, queue.arm, queue.drain):
        with pytest.raises(StateError, match="instance: it is closed"):
            call()
    with pytest.raises(StateError):
        next(ring.completions())
    assert len(queue.area) == 64 * 4096


def test_memory_outlives_the_instance_that_knows_it() -> None:
    ring = Instance()
    queue = ring.register()
    cycle: list[object] = [ring, queue]
    cycle.append(cycle)
    gone = weakref.ref(ring)
    del ring, queue, cycle
    gc.collect()
    assert gone() is None
