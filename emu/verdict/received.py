"""Whether an output file is all that came over a connection.

A file is held against the NIC's own account of the stream (``struct zcrx_stream_shared``), which
is kernel-side memory: what a consumer says of itself is not asked where the file can be read back.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass

from emu.core import StreamAccount, crc32c_more

_READ_SIZE = 1 << 20
STATEMENT = "complete"


@dataclass(frozen=True, slots=True)
class Gap:
    """Bytes of the stream that went with a consumer."""

    offset: int  #: in the stream
    size: int


class Output:
    """What a run writes its payload to; where it stood when the run began."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        status = os.fstat(fd)
        self.is_file = stat.S_ISREG(status.st_mode)
        self._base = 0
        self.gaps: list[Gap] = []
        if self.is_file:
            at_end = os.lseek(fd, 0, os.SEEK_CUR)
            appends = self._appends()
            self._base = status.st_size if appends else at_end

    def _appends(self) -> bool:
        return bool(fcntl.fcntl(self._fd, fcntl.F_GETFL) & os.O_APPEND)

    @property
    def size(self) -> int:
        """Bytes of the run in a file."""
        return max(0, os.fstat(self._fd).st_size - self._base)

    def note_user_gone(self, delivered: int) -> None:
        """A consumer is gone; what was delivered so far and is not in the file is gone with it."""
        if not self.is_file:
            return
        lost = sum(gap.size for gap in self.gaps)
        missing = delivered - self.size - lost
        if missing > 0:
            self.gaps.append(Gap(self.size + lost, missing))

    def first_difference(self, account: StreamAccount, until: int) -> tuple[int, int] | None:
        """Where the file first differs from what came: a stretch of bytes, from and to.

        Args:
            account: What came.
            until: Bytes behind this offset are not looked at.

        Raises:
            OSError: The file cannot be read.
        """
        ends = [(at + 1) * account.step for at in range(len(account.marks))]
        marks = list(zip(ends, account.marks, strict=True))
        if not marks or marks[-1][0] < account.size:
            marks.append((account.size, account.crc))
        fd = os.open(f"/proc/self/fd/{self._fd}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            crc = at = 0
            for end, expected in marks:
                if end > until:
                    return None
                began = at
                while at < end:
                    piece = os.pread(fd, min(_READ_SIZE, end - at), self._base + at)
                    if not piece:
                        return began, end
                    crc = crc32c_more(crc, piece)
                    at += len(piece)
                if crc != expected:
                    return began, end
            return None
        finally:
            os.close(fd)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reception:
    """What is known of a reception when it is over."""

    account: StreamAccount
    output: Output
    connections: int  #: that had to end
    ended: str  #: why the traffic was over
    read: int  #: bytes that the consumers say they read
    faults: Sequence[str]  #: that fired and may have done damage


def check(got: Reception) -> tuple[bool, str]:
    """Tell a whole file from a part: does the statement hold, and its text in one line."""
    account, output = got.account, got.output
    cuts = _cut_short(got)
    damage = _damage(got)
    if cuts or damage:
        return False, "; ".join([*cuts, *damage])
    if not output.is_file:
        return True, (
            f"all {account.size} bytes that came were read by the consumer; that it wrote them "
            "is its own word (the output cannot be read back)"
        )
    return True, f"the output is the {account.size} bytes that came (read back; CRC32C agrees)"


def _cut_short(got: Reception) -> list[str]:
    account = got.account
    if account.ends < got.connections:
        return [
            f"the connection had not ended when the run did ({got.ended}): what the sender had "
            f"beyond offset {account.size} is missing"
        ]
    if account.error:
        name = errno.errorcode.get(account.error, str(account.error))
        return [
            f"the connection broke ({os.strerror(account.error)}, {name}): what the sender had "
            f"beyond offset {account.size} is missing"
        ]
    return []


def _damage(got: Reception) -> list[str]:
    account, output = got.account, got.output
    blame = f" (injected: {', '.join(got.faults)})" if got.faults else ""
    if not output.is_file:
        if got.read != account.size:
            missing = account.size - got.read
            return [
                f"{missing} of {account.size} bytes were never read, the first at offset "
                f"{got.read} or before{blame}"
            ]
        if got.faults:
            return [f"bytes may be damaged, and the output cannot be read back{blame}"]
        return []
    first_gap = output.gaps[0] if output.gaps else None
    whole = account.size if first_gap is None else first_gap.offset
    try:
        different = output.first_difference(account, min(whole, output.size))
    except OSError as error:
        return [f"the output cannot be read back to be checked ({error.strerror})"]
    found = []
    if different is not None:
        found.append(
            f"the output differs from what came, first at offset {different[0]} to "
            f"{different[1] - 1}{blame}"
        )
    found += [
        f"{gap.size} bytes from offset {gap.offset} are missing: a consumer was replaced that "
        f"had them and had not written them{blame}"
        for gap in output.gaps[:1]
    ]
    if len(output.gaps) > 1:
        more = sum(gap.size for gap in output.gaps[1:])
        found.append(f"{more} more bytes are missing in {len(output.gaps) - 1} other places")
    lost = sum(gap.size for gap in output.gaps)
    if output.size + lost < account.size:
        found.append(
            f"{account.size - output.size - lost} bytes at the end, from offset "
            f"{output.size + lost}, are missing{blame}"
        )
    elif output.size + lost > account.size:
        found.append(
            f"the output has {output.size + lost - account.size} bytes more than came{blame}"
        )
    return found
