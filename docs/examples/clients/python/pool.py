# SPDX-License-Identifier: MIT
"""A pool of received buffers: fragments are read in place, and returned when they are left.

It is given its memory; who gets that from the kernel, and how, is not its business. The environment
variable ``MISTAKE`` makes it make one of the mistakes that were seen in programs.
"""

import os
import struct
from collections import deque
from contextlib import contextmanager
from errno import ENOMEM, ENOSPC

RQE = struct.Struct("<QII")
CTRL = struct.Struct("<II16xI44x")  # zcrx_id, op, and of an export the descriptor
REGISTER_ZCRX_CTRL, EXPORT = 36, 1
AREA_MASK = (1 << 48) - 1
MISTAKE = os.environ.get("MISTAKE", "")


class Pool:
    """The buffers of one queue.

    Args:
        area: The buffers' memory.
        ring: The refill ring's.
        head_at, tail_at, rqes_at: Where in it the kernel says that things are.
        entries: How many the ring has.
    """

    def __init__(self, area, ring, *, head_at, tail_at, rqes_at, entries):
        self._area = area
        words = ring[:rqes_at].cast("I")
        self._head, self._tail = words[head_at // 4 :], words[tail_at // 4 :]
        self._rqes = ring[rqes_at : rqes_at + entries * RQE.size]
        self._entries = entries
        self._my_tail = 0
        self._waiting = deque()

    @contextmanager
    def fragment(self, off, length):
        """The bytes of a completion, until this is left."""
        at = off & AREA_MASK
        if MISTAKE == "returns_first":
            self._give_back(off, length)
            yield self._area[at : at + length]
            return
        is_read = False
        try:
            yield self._area[at : at + length]
            is_read = True
        finally:
            if is_read or MISTAKE != "keeps_on_error":
                self._give_back(off, length)

    def _give_back(self, off, length):
        self._waiting.append((off, length))
        self.flush()

    def flush(self):
        """Write into the ring what waits for room in it; how much still waits."""
        while self._waiting and self._has_room():
            off, length = self._waiting.popleft()
            pad = length if MISTAKE == "dirty_pad" else 0
            RQE.pack_into(self._rqes, self._my_tail % self._entries * RQE.size, off, length, pad)
            self._my_tail = (self._my_tail + 1) & 0xFFFFFFFF
        self._tail[0] = self._my_tail
        return len(self._waiting)

    def _has_room(self):
        used = (self._my_tail - self._head[0]) & 0xFFFFFFFF
        return used < self._entries or MISTAKE == "ignores_head"


def may_go_on(res):
    """Whether a receive that ended with this is to be armed again."""
    return res in (-ENOSPC, -ENOMEM)


def export(register, zcrx_id):
    """A descriptor of a queue, for another ring; ``register`` is this one's io_uring_register()."""
    ctrl = bytearray(CTRL.pack(zcrx_id, EXPORT, 0))
    error = register(REGISTER_ZCRX_CTRL, ctrl, 0)
    if error < 0:
        raise OSError(-error, os.strerror(-error))
    if MISTAKE == "export_returns_fd":
        return error
    return CTRL.unpack(ctrl)[2]
