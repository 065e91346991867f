"""An interface queue: the memory that a program under test works on, and what arrives at it."""

from __future__ import annotations

import copy
import mmap
import os
from dataclasses import asdict, dataclass

from emu.core import Emulator
from emu.errors import ConfigError, EnvironmentProblem

PAGE = 4096  #: the library's, whatever this machine's are
BUFFERS_MAX = 1 << 20
RQ_ENTRIES_MAX = 32768
RX_BUF_LEN_MAX = 1 << 30
_HEADER_MAX = 128  #: bytes before the entries, at any level
_RQE_SIZE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How the NIC cuts a payload; the default: whole buffers, nothing copied."""

    fragment_min: int = 0  #: bytes of a fragment; 0: as ``fragment_max``
    fragment_max: int = 0  #: 0: what the buffer holds
    offset_min: int = 0  #: where the first fragment of a buffer begins
    offset_max: int = 0
    per_buffer: int = 0  #: fragments a buffer, at most; 0: 1
    copy_percent: int = 0  #: of the fragments: they land outside of the area, and are copied
    linear_min: int = 0  #: bytes at the head of each packet that are copied as well, untold
    linear_max: int = 0


WHOLE_BUFFERS = Shape()


def _memory(what: str, size: int) -> memoryview:
    """Whole pages."""
    try:
        return memoryview(mmap.mmap(-1, -(-size // PAGE) * PAGE))
    except OSError as error:
        raise EnvironmentProblem(f"{what}: {size} bytes: {error.strerror}") from None


class Queue:
    """One interface queue, as a ring has it that registered or imported it.

    Made by :meth:`emu.library.Instance.register` and :meth:`emu.library.Instance.import_queue`.
    """

    _emulator: Emulator
    #: Its number in its ring: what a receive names.
    zcrx_id: int
    #: The area's number, in the upper 16 bits of each offset in it.
    area_token: int
    #: Entries of the refill ring, as the kernel rounded them.
    rq_entries: int
    #: Bytes of a buffer.
    buffer_size: int
    #: Where head, tail and entries of the refill ring are in :attr:`region`.
    head_at: int
    tail_at: int
    rqes_at: int
    #: The buffers. The NIC writes into them.
    area: memoryview
    #: The refill ring's memory: 32-bit words are written whole, as by ``cast("I")``.
    region: memoryview

    @classmethod
    def registered(
        cls, emulator: Emulator, *, buffers: int, rq_entries: int, rx_buf_len: int, rxq: int
    ) -> Queue:
        """One with memory made for it."""
        if not 1 <= buffers <= BUFFERS_MAX:
            raise ConfigError.of("buffers", buffers, f"must be 1 to {BUFFERS_MAX}")
        if not 1 <= rq_entries <= RQ_ENTRIES_MAX:
            raise ConfigError.of("rq_entries", rq_entries, f"must be 1 to {RQ_ENTRIES_MAX}")
        if not 0 <= rx_buf_len <= RX_BUF_LEN_MAX:
            raise ConfigError.of("rx_buf_len", rx_buf_len, f"must be 0 to {RX_BUF_LEN_MAX}")
        size = max(PAGE, rx_buf_len)
        area = _memory("area", (buffers + 1) * size)
        # The kernel wants large buffers in one piece each.
        area = area[-emulator.keep(area) % size :][: buffers * size]
        # The kernel makes a power of two of the entries: less than twice as many.
        region = _memory("refill ring", _HEADER_MAX + 2 * rq_entries * _RQE_SIZE)
        told = emulator.register_queue(area, region, rq_entries, rx_buf_len, rxq)
        queue = cls()
        queue._emulator = emulator
        queue.zcrx_id, queue.area_token = told.zcrx_id, told.area_token
        queue.rq_entries, queue.buffer_size = told.rq_entries, told.rx_buf_len or PAGE
        queue.head_at, queue.tail_at, queue.rqes_at = told.head, told.tail, told.rqes
        queue.area, queue.region = area, region
        return queue

    def imported(self, emulator: Emulator) -> Queue:
        """The same queue, used by another ring."""
        descriptor = self.export()
        try:
            zcrx_id = emulator.import_queue(descriptor)
        finally:
            os.close(descriptor)
        queue = copy.copy(self)
        queue._emulator, queue.zcrx_id = emulator, zcrx_id
        return queue

    def export(self) -> int:
        """A descriptor that stands for the queue, as the kernel gives one; to be closed by you.

        Raises:
            KernelRefused: The level that is played has no such thing.
        """
        return self._emulator.export(self.zcrx_id)

    def arm(self, *, flow: int = 1, user_data: int = 0, limit: int = 0) -> None:
        """Submit a multishot receive.

        Args:
            flow: The socket: a number of your choice.
            user_data: Comes back in its completions.
            limit: Bytes at most; 0: no limit.
        """
        self._emulator.arm(self.zcrx_id, flow, user_data, limit)

    def deliver(
        self,
        data: bytes | bytearray | memoryview,
        *,
        flow: int = 1,
        shape: Shape = WHOLE_BUFFERS,
    ) -> int:
        """Let bytes of a flow arrive. Completions come with the next step.

        Returns:
            How many bytes the NIC had buffers for; it drops the others.

        Raises:
            KernelRefused: The flow has ended, or the shape does not fit the buffers.
        """
        return self._emulator.deliver(self.zcrx_id, flow, data, asdict(shape))

    def drain(self) -> int:
        """Have all that waits in the refill ring judged now; how many entries."""
        return self._emulator.drain(self.zcrx_id)
