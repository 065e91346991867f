"""libzcrx_emu in this process (``cext/lib/zcrx_emu.h``), opened by what its own headers declare."""

from __future__ import annotations

import functools
import itertools
import json
import mmap
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from cffi import FFI

from emu.errors import ConfigError, EnvironmentProblem, KernelRefused, StateError

_HEADERS = ("zcrx_emu_uapi.h", "zcrx_emu.h")
_FOR_CPLUSPLUS = re.compile(r"^#ifdef __cplusplus$.*?^#endif$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_DIRECTIVE = re.compile(r"^#.*\n", re.MULTILINE)
#: Words of the completion queue's own memory, each on a cache line; then its entries.
_CQ_HEAD, _CQ_TAIL, _CQ_FLAGS, _CQ_ENTRIES = 0, 64, 128, 256
_CQE_SIZE = 32
_WHY_MAX = 1024
_REGISTER_IFQ, _REGISTER_CTRL = 32, 36
_REGION_OF_USER = 1
_IMPORT = 2**0  #: a registration's flag
_EXPORT = 1  #: an operation of the control call
_DEFER_TASKRUN, _CQE_MIXED = 1 << 13, 1 << 18  #: what a ring was made with
#: Of a ring of mixed sizes: an entry that takes two places, and a place without an entry.
_F_32, _F_SKIP = 1 << 15, 1 << 5


class CompletionEntry(NamedTuple):
    """A completion as it stood in the queue."""

    user_data: int
    res: int
    flags: int
    off: int


class RegisteredQueue(NamedTuple):
    """What a registration told."""

    zcrx_id: int
    rq_entries: int
    area_token: int
    rx_buf_len: int
    head: int
    tail: int
    rqes: int


@dataclass(frozen=True, slots=True)
class LibraryReport:
    """One thing that the checker has to say."""

    kind: str  #: its name: ``"bad-pad"`` …
    zcrx_id: int
    entry: int  #: of the refill ring, not masked, if it is about one
    niov: int  #: the buffer, if it is about one
    completion: int  #: which gave it, counted from 1; 0: none
    flow: int
    text: str  #: what happened, one sentence
    advice: str  #: what to do about it


def _declared(headers: Path) -> str:
    """What the headers declare, without what is for a compiler alone."""
    text = "".join((headers / name).read_text(encoding="utf-8") for name in _HEADERS)
    text = _FOR_CPLUSPLUS.sub("", _COMMENT.sub("", text))
    return _DIRECTIVE.sub("", text).replace("ZCRX_EMU_API ", "")


@functools.cache
def _open(library: Path, headers: Path) -> tuple[Any, Any]:
    ffi = FFI()
    ffi.cdef(_declared(headers))
    try:
        return ffi, ffi.dlopen(str(library))
    except OSError as error:
        raise EnvironmentProblem(f"library: {error}") from None


class Machine:
    """What rings have in common that may share queues; gone with the last of them.

    The memory that they were given lives as long: a queue may outlive the ring that registered it.
    """

    def __init__(self, library: Path, headers: Path) -> None:
        ffi, self._lib = _open(library, headers)
        result = ffi.new("struct zcrx_emu_machine **")
        error = self._lib.zcrx_emu_machine_create(result)
        if error:
            raise KernelRefused(-error, f"machine: {os.strerror(-error)}")
        self.ptr = result[0]
        self.memory: list[Any] = []
        self._rings = 0

    def destroyer(self) -> Any:
        """What a ring of it calls when it is closed, or forgotten."""
        self._rings += 1

        def destroy(ptr: Any) -> None:
            self._lib.zcrx_emu_destroy(ptr)
            self._rings -= 1
            if self._rings == 0:
                self._lib.zcrx_emu_machine_destroy(self.ptr)
                self.memory.clear()

        return destroy


class Emulator:
    """One ``struct zcrx_emu``, and the completion queue that it fills.

    Args:
        library: The shared object.
        headers: The folder of the headers that it was made with.
        kernel: The level that is played; one of :meth:`levels`.
        cq_entries: Of the completion queue: a power of two.
        mixed: Its entries have 16 bytes, those of data take two.
        machine: Whose ring it is; None: of one of its own.
        options: The other members of ``struct zcrx_emu_options`` that are numbers.
    """

    def __init__(
        self,
        library: Path,
        headers: Path,
        *,
        kernel: str,
        cq_entries: int,
        mixed: bool = False,
        machine: Machine | None = None,
        **options: int,
    ) -> None:
        self._ffi, self._lib = _open(library, headers)
        name = self._ffi.new("char[]", kernel.encode())
        size = self._ffi.sizeof("struct zcrx_emu_options")
        #: Whose ring it is.
        self.machine = Machine(library, headers) if machine is None else machine
        asked = {"size": size, "kernel": name, "machine": self.machine.ptr, **options}
        if mixed:
            asked["ring_flags"] = _DEFER_TASKRUN | _CQE_MIXED
        result = self._ffi.new("struct zcrx_emu **")
        error = self._lib.zcrx_emu_create(self._ffi.new("struct zcrx_emu_options *", asked), result)
        if error:
            raise KernelRefused(-error, f"create: {os.strerror(-error)}")
        self._ptr = self._ffi.gc(result[0], self.machine.destroyer())
        self.is_open = True
        self._is_mixed = mixed
        self._set_cq(cq_entries)

    @staticmethod
    def levels(library: Path, headers: Path) -> tuple[str, ...]:
        """The levels that a library plays, oldest first."""
        ffi, lib = _open(library, headers)
        names = map(lib.zcrx_emu_level, itertools.count())
        known = itertools.takewhile(lambda name: name != ffi.NULL, names)
        return tuple(ffi.string(name).decode() for name in known)

    def _raw(self) -> Any:
        if not self.is_open:
            raise StateError("instance: it is closed")
        return self._ptr

    def _checked(self, result: int) -> int:
        if result >= 0:
            return result
        raise KernelRefused(-result, self.why)

    def _address(self, memory: Any) -> int:
        """Of memory that may be written and does not move until the machine is gone."""
        view = self._ffi.from_buffer(memory, require_writable=True)
        self.machine.memory.append(view)
        return int(self._ffi.cast("uintptr_t", view))

    @property
    def why(self) -> str:
        """Why the last call that failed did."""
        return str(self._ffi.string(self._lib.zcrx_emu_why(self._raw())).decode())

    def plan(self, text: str) -> None:
        """Have the kernel's side and the NIC go wrong by a plan.

        Raises:
            ConfigError: The text is no plan.
        """
        why = self._ffi.new("char[]", _WHY_MAX)
        if self._lib.zcrx_emu_plan(self._raw(), text.encode(), why, _WHY_MAX):
            raise ConfigError(self._ffi.string(why).decode(errors="replace"))

    def journal(self) -> str:
        """What has fired, as a plan that has it happen again."""
        return self._text_of(self._lib.zcrx_emu_journal)

    # ---- the completion queue -------------------------------------------------------------------

    def _set_cq(self, entries: int) -> None:
        self._cqe_size = _CQE_SIZE // 2 if self._is_mixed else _CQE_SIZE
        memory = mmap.mmap(-1, _CQ_ENTRIES + entries * self._cqe_size)
        address = self._address(memory)
        words = self._ffi.cast("uint32_t *", address)
        cq = self._ffi.new("struct zcrx_emu_cq *")
        cq.head, cq.tail = words + _CQ_HEAD // 4, words + _CQ_TAIL // 4
        cq.sq_flags = words + _CQ_FLAGS // 4
        cq.cqes = self._ffi.cast("void *", address + _CQ_ENTRIES)
        cq.entries = entries
        self._checked(self._lib.zcrx_emu_set_cq(self._ptr, cq))
        self._words, self._cq_entries = words, entries
        self._cqes = self._ffi.cast("uint8_t *", cq.cqes)

    def _fence(self) -> None:
        """Python has no ordered accesses: the instance's lock, which completions are posted under.

        What stands in memory before a word that was read before this is seen after it, and what was
        read before this was read before the instance sees a word that is written after it.
        """
        self._lib.zcrx_emu_count(self._ptr, 0)

    def completions(self) -> Iterator[CompletionEntry]:
        """Those that wait; each has left the queue when the next is asked for."""
        self._raw()
        head = self._words[_CQ_HEAD // 4]
        while self.is_open and head != self._words[_CQ_TAIL // 4]:
            self._fence()
            at = self._cqes + (head & (self._cq_entries - 1)) * self._cqe_size
            raw = self._ffi.cast("struct zcrx_emu_cqe *", at)
            is_large = not self._is_mixed or bool(raw.flags & _F_32)
            is_none = self._is_mixed and bool(raw.flags & _F_SKIP)
            # What is behind a small one is another one's, or nobody's.
            entry = CompletionEntry(raw.user_data, raw.res, raw.flags, raw.off if is_large else 0)
            self._fence()
            head = (head + (2 if self._is_mixed and is_large else 1)) & 0xFFFFFFFF
            self._words[_CQ_HEAD // 4] = head
            if not is_none:
                yield entry

    # ---- registering ----------------------------------------------------------------------------

    def register(self, opcode: int, argument: Any, nr_args: int) -> int:
        """io_uring_register(2) of this ring with the program's own struct; 0 or -errno."""
        pointer = self._ffi.from_buffer(argument, require_writable=True)
        return int(self._lib.zcrx_emu_register(self._raw(), opcode, pointer, nr_args))

    def keep(self, memory: Any) -> int:
        """The address of memory to be named in such a struct; it is kept with the instance."""
        self._raw()
        return self._address(memory)

    def register_queue(
        self, area: memoryview, region: memoryview, rq_entries: int, rx_buf_len: int, rxq: int
    ) -> RegisteredQueue:
        """Register an interface queue, with all of the memory given.

        Raises:
            KernelRefused: The kernel of that level does not take it.
        """
        self._raw()
        new = self._ffi.new
        area_reg = new("struct io_uring_zcrx_area_reg *")
        area_reg.addr, area_reg.len = self._address(area), len(area)
        desc = new("struct io_uring_region_desc *")
        desc.user_addr, desc.size = self._address(region), len(region)
        desc.flags = _REGION_OF_USER
        reg = new("struct io_uring_zcrx_ifq_reg *")
        reg.if_idx, reg.if_rxq, reg.rq_entries, reg.rx_buf_len = 1, rxq, rq_entries, rx_buf_len
        reg.area_ptr = int(self._ffi.cast("uintptr_t", area_reg))
        reg.region_ptr = int(self._ffi.cast("uintptr_t", desc))
        self._checked(self._lib.zcrx_emu_register(self._ptr, _REGISTER_IFQ, reg, 1))
        offsets = reg.offsets
        return RegisteredQueue(
            reg.zcrx_id,
            reg.rq_entries,
            area_reg.rq_area_token,
            reg.rx_buf_len,
            offsets.head,
            offsets.tail,
            offsets.rqes,
        )

    def export(self, zcrx_id: int) -> int:
        """A descriptor that stands for a queue of this ring.

        Raises:
            KernelRefused: The kernel of that level has no such thing.
        """
        ctrl = self._ffi.new("struct zcrx_ctrl *", {"zcrx_id": zcrx_id, "op": _EXPORT})
        self._checked(self._lib.zcrx_emu_register(self._raw(), _REGISTER_CTRL, ctrl, 0))
        return int(self._ffi.cast("uint32_t *", ctrl.payload)[0])

    def import_queue(self, descriptor: int) -> int:
        """Use a queue of another ring, too; its number here.

        Raises:
            KernelRefused: The descriptor stands for none.
        """
        reg = self._ffi.new("struct io_uring_zcrx_ifq_reg *")
        reg.if_idx, reg.flags = descriptor, _IMPORT
        self._checked(self._lib.zcrx_emu_register(self._raw(), _REGISTER_IFQ, reg, 1))
        return int(reg.zcrx_id)

    # ---- receiving ------------------------------------------------------------------------------

    def arm(self, zcrx_id: int, flow: int, user_data: int, limit: int) -> None:
        """A multishot receive."""
        recv = self._ffi.new("struct zcrx_emu_recv *", (zcrx_id, flow, user_data, limit))
        self._checked(self._lib.zcrx_emu_arm(self._raw(), recv))

    def deliver(self, zcrx_id: int, flow: int, data: Any, shape: Mapping[str, int]) -> int:
        """Bytes of a flow arrive; how many the NIC had buffers for."""
        how = self._ffi.new("struct zcrx_emu_shape *", dict(shape))
        view = self._ffi.from_buffer(data)
        return self._checked(
            self._lib.zcrx_emu_deliver(self._raw(), zcrx_id, flow, view, len(view), how)
        )

    def end(self, flow: int) -> None:
        """The flow's sender ends it."""
        self._checked(self._lib.zcrx_emu_end(self._raw(), flow))

    def close_flow(self, flow: int) -> None:
        """The program closes the flow's socket."""
        self._checked(self._lib.zcrx_emu_close(self._raw(), flow))

    # ---- driving, and the end -------------------------------------------------------------------

    def step(self) -> int:
        """The kernel works until it has nothing to do; how many completions that made."""
        return self._checked(self._lib.zcrx_emu_step(self._raw()))

    def drain(self, zcrx_id: int) -> int:
        """All that waits in the refill ring is judged; how many entries."""
        return self._checked(self._lib.zcrx_emu_drain(self._raw(), zcrx_id))

    def start(self) -> None:
        """A thread of the library's own steps from now on."""
        self._checked(self._lib.zcrx_emu_start(self._raw()))

    def stop(self) -> None:
        """No more."""
        self._checked(self._lib.zcrx_emu_stop(self._raw()))

    def finish(self) -> int:
        """The program is done; how much was found of all."""
        return self._checked(self._lib.zcrx_emu_finish(self._raw()))

    def _text_of(self, write: Any) -> str:
        size = write(self._raw(), self._ffi.NULL, 0)
        while True:
            room = self._ffi.new("char[]", size + 1)
            needed = write(self._ptr, room, size + 1)
            if needed <= size:
                return str(self._ffi.string(room).decode())
            size = needed  # a thread of the library found more meanwhile

    def reports(self) -> tuple[LibraryReport, ...]:
        """What was found so far, oldest first."""
        found = json.loads(self._text_of(self._lib.zcrx_emu_report_json))["reports"]
        names = LibraryReport.__slots__
        return tuple(LibraryReport(**{name: one[name] for name in names}) for one in found)

    def report_text(self) -> str:
        """The same in words."""
        return self._text_of(self._lib.zcrx_emu_report_text)

    def close(self) -> None:
        """The ring is closed."""
        if self.is_open:
            self.is_open = False
            self._ffi.release(self._ptr)
