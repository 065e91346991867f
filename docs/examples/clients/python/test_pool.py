# SPDX-License-Identifier: MIT
"""The pool's test with libzcrx_emu as the kernel: the fixture zcrx comes with zcrx-emu."""

import os
import random

import pytest
from pool import Pool, export, may_go_on

from emu.library import Shape

LEVELS = ["6.15", "6.18", "7.1", "7.3"]
at_each_level = pytest.mark.parametrize(
    "level", [pytest.param(level, marks=pytest.mark.zcrx(kernel=level)) for level in LEVELS]
)


@pytest.fixture
def queue(zcrx):
    queue = zcrx.register(buffers=128, rq_entries=4)
    queue.arm()
    return queue


@pytest.fixture
def pool(queue):
    return Pool(
        queue.area,
        queue.region,
        head_at=queue.head_at,
        tail_at=queue.tail_at,
        rqes_at=queue.rqes_at,
        entries=queue.rq_entries,
    )


@at_each_level
@pytest.mark.zcrx(cq_entries=8, plan="alloc-fail:1%,cq-full:5%,recv-late:5%,nic-drop:2%")
def test_stream_arrives_whole(zcrx, queue, pool, level):
    rng = random.Random(zcrx.seed)
    sent, got = rng.randbytes(200_000), bytearray()
    unsent = memoryview(sent)
    while len(got) < len(sent):
        shape = Shape(fragment_max=rng.randint(500, 4096), per_buffer=rng.randint(1, 4))
        unsent = unsent[queue.deliver(unsent[:6000], shape=shape) :]
        zcrx.step()
        for one in zcrx.completions():
            if one.res > 0:
                with pool.fragment(one.off, one.res) as data:
                    got += data
                    zcrx.step()  # a reader takes its time, and the kernel does not wait
                    queue.drain()
                    assert bytes(data) == got[-one.res :]
            elif may_go_on(one.res):
                queue.arm()
    assert got == sent
    while pool.flush():
        queue.drain()


def test_reader_that_fails_returns_what_it_had(zcrx, queue, pool):
    queue.deliver(b"no number")
    zcrx.step()
    (one,) = zcrx.completions()
    with pytest.raises(ValueError, match="no number"), pool.fragment(one.off, one.res) as data:
        int(bytes(data))


def test_many_are_returned_at_once(zcrx, queue, pool):
    queue.deliver(b"x" * 50_000)
    zcrx.step()
    for one in list(zcrx.completions()):
        with pool.fragment(one.off, one.res):
            pass
    while pool.flush():
        queue.drain()


@pytest.mark.zcrx(kernel="7.3")
def test_queue_is_exported(zcrx, queue):
    os.close(export(zcrx.register_raw, queue.zcrx_id))
