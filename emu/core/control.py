"""The states of a run, and how the control process publishes them."""

from __future__ import annotations

import enum
import mmap

from emu.core._lib import ffi, lib


class RunState(enum.IntEnum):
    """States of a run, in order; the control process publishes them."""

    STARTING = 0
    TRAFFIC = 1
    QUIESCE = 2
    DRAIN = 3
    DESTROY = 4
    EXIT = 5


class RunControl:
    """The run object and the doorbells, as the control process uses them."""

    def __init__(self, run: mmap.mmap, bells: mmap.mmap) -> None:
        self._keep = (ffi.from_buffer(run), ffi.from_buffer(bells))
        self._run = ffi.cast("struct zcrx_run_shared *", self._keep[0])
        self._bells = ffi.cast("struct zcrx_bells *", self._keep[1])

    def format(self, queues: int) -> None:
        """Write the run object's first state."""
        lib.zcrx_run_format(self._run, queues)

    def set_state(self, state: RunState) -> None:
        """Publish a state and wake everyone."""
        lib.zcrx_run_set_state(self._run, self._bells, int(state))

    def abort(self) -> None:
        """Say that a kernel-side process is dead: its locks are not waited for."""
        lib.zcrx_run_abort(self._run)

    @property
    def nic_ack(self) -> int:
        """The last state that the NIC has carried out."""
        return int(lib.zcrx_run_nic_ack(self._run))

    @property
    def provider_ack(self) -> int:
        """The last state that the provider has carried out."""
        return int(lib.zcrx_run_provider_ack(self._run))

    def prepare(self) -> int:
        """Announce a sleep; look once more at what is waited for before :meth:`sleep`."""
        return int(lib.zcrx_control_prepare(self._bells))

    def sleep(self, seq: int, timeout_s: float) -> None:
        """Sleep until an acknowledgement rings, at most ``timeout_s``."""
        lib.zcrx_control_sleep(self._bells, seq, int(timeout_s * 1e6))
