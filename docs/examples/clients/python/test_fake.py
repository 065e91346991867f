# SPDX-License-Identifier: MIT
"""The pool's test as one writes it by hand: memory, and a test that moves the head."""

from pool import RQE, Pool


def test_fragments_are_returned():
    area, ring = memoryview(bytearray(16 * 4096)), memoryview(bytearray(8 + 8 * 16))
    pool = Pool(area, ring, head_at=0, tail_at=4, rqes_at=8, entries=8)
    head_and_tail = ring[:8].cast("I")
    for i in range(20):
        off = i % 16 * 4096
        area[off : off + 5] = b"hello"
        with pool.fragment(off, 5) as data:
            assert data == b"hello"
        assert head_and_tail[1] == i + 1
        assert RQE.unpack_from(ring, 8 + i % 8 * 16)[:2] == (off, 5)
        head_and_tail[0] += 1
