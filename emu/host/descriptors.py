"""How many descriptors a process may have open, and whether that is enough."""

from __future__ import annotations

import errno
import os
import resource

from emu.errors import EnvironmentProblem

#: Of a command that starts nothing: what Python itself needs to load one.
OF_COMMAND = 16
#: Of a command that builds, and talks to what it has built.
OF_BUILD = 32
#: Of each worker of a campaign.
OF_JOB = 4
#: Of a run's control process, which keeps one for each object of shared memory …
OF_RUN = 32
#: … and of each of its queues, with a worker more.
OF_QUEUE = 12


def need(count: int, what: str) -> None:
    """Make sure of descriptors, before anything is opened that would have to be undone.

    The soft limit is raised if the hard one lets us.

    Args:
        count: How many will be opened beside those that are open now.
        what: Who needs them, in words.

    Raises:
        EnvironmentProblem: There are fewer.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + _open_now()
    if soft == resource.RLIM_INFINITY or wanted <= soft:
        return
    if hard == resource.RLIM_INFINITY or wanted <= hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return
    raise EnvironmentProblem(
        f"descriptors: {what} needs {wanted} and the limit is {hard}; raise it (ulimit -n {wanted})"
    )


def _open_now() -> int:
    try:
        return len(os.listdir("/proc/self/fd")) - 1  # without the one that lists them
    except OSError:  # not one is left, or there is no /proc
        return 3


def explained(error: OSError) -> str:
    """What the machine said; of a lack of descriptors how many there may be, too."""
    said = error.strerror or str(error)
    if error.errno == errno.EMFILE:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        said += f": the limit is {limit} (ulimit -n)"
    return said
