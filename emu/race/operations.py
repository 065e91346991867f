"""The operations that a scenario is made of, in words.

``cext/sim/operations.c`` and ``user.c`` do them; a test holds the two lists together.
"""

from __future__ import annotations

from emu.errors import ConfigError
from faults.near import near_to

#: What each takes, and what it does.
OPERATIONS: dict[str, tuple[str, str]] = {
    "alloc": ("[N]", "provider: take N buffers (1) from the page pool into its hand"),
    "refill": ("", "provider: judge what waits in the refill ring, into the alloc cache"),
    "flush": ("", "provider: judge all that waits in the refill ring, on demand"),
    "flush-rq": ("", "provider: the user's own flush of the refill ring, of a kernel since 7.1"),
    "grant": ("[N]", "provider: post N buffers (1) to the NIC, and ring its bell"),
    "await-rqes": ("[N]", "provider: sleep until there are N entries (1) in the refill ring"),
    "restart": ("", "provider: the queue gets a new page pool, the old one is torn down"),
    "retry": ("", "provider: look again whether an old pool's buffers are home"),
    "destroy": ("[0|1]", "provider: tear the queue down; 0: all must be home, 1: some must not"),
    "follow-detach": ("", "provider: the ring has no user now, it is not read"),
    "reset-ring": ("", "provider: empty the refill ring for a new user"),
    "deliver": (
        "[N] [K]",
        "stack: hand N buffers (1) of its hand to the user, in K fragments (1) each",
    ),
    "send": ("[K]", "NIC: fill a granted buffer and publish K completions (1) of it"),
    "drop": ("[N]", "stack: drop the last reference of N buffers (1) of its hand"),
    "copy": ("[N]", "stack: take N buffers (1) from the freelist for a copy"),
    "take": ("[N]", "user: take up to N completions (1)"),
    "await-cqes": ("", "user: sleep until there is a completion"),
    "give": ("[N]", "user: give back N fragments (1) that it took, the newest first"),
    "return": ("NIOV [N]", "user: write and publish N entries (1) that return a buffer"),
    "push": ("OFF [LEN] [PAD]", "user: write and publish an entry of any offset, length, padding"),
    "write": ("SLOT OFF [PAD]", "user: write over a slot of the refill ring, published or not"),
    "tail": ("WORD", "user: write any word into the refill ring's tail"),
    "scrub": ("", "control: take back all references of the user"),
    "expect-home": ("", "end: the user must have no reference left"),
    "expect-verdict": ("VERDICT N", "end: a verdict (its number) must have been given N times"),
    "cut": ("[K]", "NIC: publish K fragments (1) of a buffer that stays open for more"),
    "close": ("", "NIC: be done with the open buffer, and publish"),
    "send-bytes": ("[K]", "NIC: as send, with payloads written into the buffer"),
    "take-bytes": ("[N]", "user: as take, and read the payloads: they must be what was sent"),
    "read-log": ("", "control: read each verdict logged so far"),
    "look": ("", "control: the pool in charge must be one that serves"),
    "teardown": ("[N]", "provider: tear the queue down, and look at the pool N times (1) again"),
    "scrub-quiet": ("", "control: scrub a living user; a quiet NIC must have published all"),
    "expect-bound": ("", "end: buffers are bound to a pool exactly if they are not free"),
    "add-area": ("[N]", "user: add an area of N buffers (1), of a kernel since 7.3"),
}


def takes(word: str) -> tuple[int, int]:
    """How many numbers an operation takes at least and at most."""
    numbers = OPERATIONS[word][0].split()
    return sum(not number.startswith("[") for number in numbers), len(numbers)


def split(operations: str) -> list[str]:
    """The operations of a script, one by one."""
    return [part.strip() for part in operations.split(";") if part.strip()]


def check_operations(where: str, operations: str) -> None:
    """Refuse what is no operation; the rest is :mod:`emu.race.script`'s to check.

    Raises:
        ConfigError: There is no such operation; the nearest names are offered.
    """
    for operation in split(operations):
        word = operation.split()[0]
        if word not in OPERATIONS:
            near = near_to(word, OPERATIONS)
            known = f"near are {', '.join(near)}" if near else "'race --list --operations'"
            raise ConfigError.of(f"operation of {where}", word, known)
