"""One io_uring ring whose kernel is libzcrx_emu."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from emu.core import Emulator, LibraryReport
from emu.errors import ConfigError
from emu.library.files import LIBRARY, header_folder, library_folder
from emu.library.queue import Queue

CQ_ENTRIES_MAX = 1 << 16
_NIC_MAX = 1 << 16  #: descriptors, and bytes of a packet
_F_MORE = 2
_NO_POISON, _EAGER, _LATE_HEAD = 2, 4, 8


@dataclass(frozen=True, slots=True)
class Completion:
    """A completion of a receive."""

    user_data: int
    res: int  #: bytes, or -errno, or 0 at the end
    flags: int
    off: int  #: area id << 48 | offset in the area

    @property
    def more(self) -> bool:
        """The receive goes on."""
        return bool(self.flags & _F_MORE)


class Instance:
    """One ring. A context manager; whatever it was given lives as long as it.

    Args:
        kernel: The level that is played, one of :meth:`levels`; None: the first version, its known
            bugs fixed.
        seed: Of all that is chosen at random; 0 to 2**64 - 1.
        plan: What goes wrong on the kernel's side and in the NIC: docs/library.md, "Faults".
        cq_entries: Of the completion queue: a power of two, 1 to 65536.
        poison: Overwrite buffers when their last reference is taken back.
        eager: Each step judges all that waits in the refill rings.
        late_head: Their heads are published late: who never reads them overruns.
        rx_descriptors: Of the NIC, in each of which buffers stand; 0: none stand.
        mtu: Bytes of a packet; 0: no packet is cut.
        mixed: The completion queue has entries of 16 bytes, of which those of data take two
            (IORING_SETUP_CQE_MIXED, from 6.18 on).

    Raises:
        ConfigError: A value is not allowed.
        EnvironmentProblem: This installation has no library.
    """

    def __init__(
        self,
        *,
        kernel: str | None = None,
        seed: int = 0,
        plan: str = "",
        cq_entries: int = 64,
        poison: bool = True,
        eager: bool = False,
        late_head: bool = False,
        rx_descriptors: int = 0,
        mtu: int = 0,
        mixed: bool = False,
        _beside: Instance | None = None,
    ) -> None:
        levels = self.levels()
        if kernel is not None and kernel not in levels:
            raise ConfigError.of("kernel", kernel, f"must be one of {', '.join(levels)}")
        if not 0 <= seed < 1 << 64:
            raise ConfigError.of("seed", seed, "must be 0 to 2**64 - 1")
        if not 1 <= cq_entries <= CQ_ENTRIES_MAX or cq_entries & (cq_entries - 1):
            raise ConfigError.of(
                "cq_entries", cq_entries, f"must be a power of two, 1 to {CQ_ENTRIES_MAX}"
            )
        for field, value in (("rx_descriptors", rx_descriptors), ("mtu", mtu)):
            if not 0 <= value <= _NIC_MAX:
                raise ConfigError.of(field, value, f"must be 0 to {_NIC_MAX}")
        #: The level that is played.
        self.kernel = kernel if kernel is not None else levels[0]
        self.seed = seed
        #: The plan, as it was given.
        self.plan = plan
        #: True once :meth:`finish` was called.
        self.is_finished = False
        self._emulator: Emulator = Emulator(
            library_folder() / LIBRARY,
            header_folder(),
            kernel=self.kernel,
            seed=seed,
            flags=_NO_POISON * (not poison) | _EAGER * eager | _LATE_HEAD * late_head,
            cq_entries=cq_entries,
            rx_descriptors=rx_descriptors,
            mtu=mtu,
            mixed=mixed,
            machine=None if _beside is None else _beside._emulator.machine,
        )
        #: The first of its machine keeps the others; so one that is alone is in no circle.
        self._first: Instance | None = None if _beside is None else _beside._first or _beside
        self._made: list[Instance] = []
        if self._first is not None:
            self._first._made.append(self)
        if plan:
            self._emulator.plan(plan)

    @staticmethod
    def levels() -> tuple[str, ...]:
        """The kernel levels that the library plays, oldest first."""
        return Emulator.levels(library_folder() / LIBRARY, header_folder())

    def __enter__(self) -> Instance:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the ring: all references are taken back. Nothing is reported any more."""
        self._emulator.close()

    def another(self, **options: Any) -> Instance:
        """One ring more of the same kernel, which may import queues of this one.

        Args:
            options: As of :class:`Instance`, but for the level, which is this one's.
        """
        return Instance(kernel=self.kernel, _beside=self, **options)

    @property
    def rings(self) -> tuple[Instance, ...]:
        """All that are open of this kernel, the first made first."""
        first = self._first or self
        return tuple(ring for ring in (first, *first._made) if ring.is_open)

    @property
    def is_open(self) -> bool:
        """Has :meth:`close` not been called?"""
        return self._emulator.is_open

    # ---- registering ----------------------------------------------------------------------------

    def register(
        self, *, buffers: int = 64, rq_entries: int = 64, rx_buf_len: int = 0, rxq: int = 0
    ) -> Queue:
        """Register an interface queue with memory made for it.

        Args:
            buffers: Of the area.
            rq_entries: Of the refill ring; the kernel rounds them up to a power of two.
            rx_buf_len: Bytes of a buffer; 0: a page.
            rxq: The NIC's receive queue.

        Raises:
            ConfigError: A value is not allowed at any level.
            KernelRefused: The level that is played refuses it.
        """
        return Queue.registered(
            self._emulator, buffers=buffers, rq_entries=rq_entries, rx_buf_len=rx_buf_len, rxq=rxq
        )

    def import_queue(self, queue: Queue) -> Queue:
        """Use a queue of another ring of this kernel, too: it is exported and imported.

        There is one refill ring; who writes into it is for the two programs to arrange. What one
        ring was given another one may return.

        Raises:
            KernelRefused: The level that is played has no such thing (before 7.1), or the queue
                is another kernel's.
        """
        return queue.imported(self._emulator)

    def register_raw(self, opcode: int, argument: bytearray | memoryview, nr_args: int) -> int:
        """io_uring_register(2) of this ring, for programs that fill the kernel's structs.

        Returns:
            What the kernel answers: 0 or -errno; :attr:`why` says why.
        """
        return self._emulator.register(opcode, argument, nr_args)

    def address_of(self, memory: bytearray | memoryview) -> int:
        """The address of memory, to be named in such a struct; it is kept with the instance."""
        return self._emulator.keep(memory)

    @property
    def why(self) -> str:
        """Why the last call that failed did, in words; "" if none has."""
        return self._emulator.why

    # ---- what happens ---------------------------------------------------------------------------

    def end(self, flow: int = 1) -> None:
        """The flow's sender ends it: its receive ends with 0 when all bytes are read."""
        self._emulator.end(flow)

    def close_flow(self, flow: int = 1) -> None:
        """The program closes the flow's socket: what waits in it is gone."""
        self._emulator.close_flow(flow)

    def step(self) -> int:
        """Let the kernel work until it has nothing to do; how many completions that made."""
        return self._emulator.step()

    def completions(self) -> Iterator[Completion]:
        """Those that wait in the queue; each has left it when the next is asked for."""
        return (Completion(*entry) for entry in self._emulator.completions())

    def start(self) -> None:
        """Have a thread of the library's own step from now on.

        Python has no ordered accesses: a refill ring that is written from Python is for machines
        whose stores keep their order (x86) then.
        """
        self._emulator.start()

    def stop(self) -> None:
        """End that thread."""
        self._emulator.stop()

    # ---- what was found -------------------------------------------------------------------------

    def finish(self) -> tuple[LibraryReport, ...]:
        """The program is done: judge what waits, and what it still holds. All that was found."""
        self.is_finished = True
        self._emulator.finish()
        return self.reports()

    def reports(self) -> tuple[LibraryReport, ...]:
        """What was found so far, oldest first."""
        return self._emulator.reports()

    def journal(self) -> str:
        """What of the plan has fired, as a plan that has it happen at the same places."""
        return self._emulator.journal()

    def report_text(self) -> str:
        """The same in words, each with what to do about it."""
        return self._emulator.report_text()
