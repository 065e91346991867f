"""What the kernel says of a process under ``/proc``: also of one that has chosen its own name."""

from __future__ import annotations

from pathlib import Path

#: Where in the words of :func:`stat_words` what stands: proc(5) counts from one, and two more.
STATE, PARENT, USER_TICKS, SYSTEM_TICKS, START_TICKS = 0, 1, 11, 12, 19
#: Addresses in the process's memory; 0 for whoever may not look into it.
ARGUMENTS_START, ARGUMENTS_END = 45, 46


def stat_words(pid: int) -> list[str]:
    """The fields of ``/proc/PID/stat`` behind the name, which may be any bytes, ")" among them.

    Raises:
        OSError: There is no such process, or it may not be looked at.
    """
    text = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2]
    return text.decode("ascii").split()


def cpu_ticks(pid: int) -> int:
    """The clock ticks of CPU time that a process has had, its own and the kernel's for it.

    Raises:
        OSError: As :func:`stat_words`.
    """
    words = stat_words(pid)
    return int(words[USER_TICKS]) + int(words[SYSTEM_TICKS])


def process_start_time(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot; None if there is no such process.

    Raises:
        OSError: It cannot be told: no descriptor is left, or it may not be looked at.
    """
    try:
        return int(stat_words(pid)[START_TICKS])
    except (FileNotFoundError, ProcessLookupError):
        return None
