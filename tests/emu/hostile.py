"""Consumers that attack the run that they are part of; for tests and for ``tools.attack``.

``hostile:KIND`` is run as any other consumer. Each does one thing wrong, on purpose, and is
honest otherwise; what must come of it stands in :data:`KINDS`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from emu.consumer import Consumer

PASS, FAIL, ANY = "pass", "fail", "any"


def honest(consumer: Consumer) -> None:
    for completion in consumer:
        consumer.give_back(completion)


def _mapped() -> dict[str, tuple[int, int]]:
    """Address and size of what this process has mapped of the run, in the order of handing over."""
    found: dict[int, tuple[int, int]] = {}  # in several pieces where some of it is protected
    for line in Path("/proc/self/maps").read_text().splitlines():
        if "/zcrx-emu." in line:
            start, end = (int(word, 16) for word in line.split()[0].split("-"))
            number = int(line.split()[5].rsplit(".", 1)[1])
            first, last = found.get(number, (start, end))
            found[number] = min(first, start), max(last, end)
    places = [(first, last - first) for _, (first, last) in sorted(found.items())]
    return dict(zip(("bells", "rings", "area", "notes"), places, strict=True))


def _after(consumer: Consumer, count: int, deed: Callable[[], object]) -> None:
    """Do it once, after so many completions, and go on."""
    for number, completion in enumerate(consumer):
        consumer.give_back(completion)
        if number == count:
            deed()


# ---- records ------------------------------------------------------------------------------------


def _word(at: int, raw: bytes) -> Callable[[], object]:
    def write() -> None:
        start, _ = _mapped()["notes"]
        ctypes.memmove(start + at, raw, len(raw))

    return write


def consequence_kind(consumer: Consumer) -> None:
    _after(consumer, 50, _word(_list(), struct.pack("<Q2I", 1, 0, 77)))


def consequence_rule(consumer: Consumer) -> None:
    _after(consumer, 50, _word(_list(), struct.pack("<Q2I", 1, 7777, 1)))


def counter_too_large(consumer: Consumer) -> None:
    _after(consumer, 50, _word(5 * 8, b"\xff" * 8))


def _list() -> int:
    from emu.core import COUNTER_NAMES, RULES_MAX, CounterGroup

    return 8 * (len(COUNTER_NAMES[CounterGroup.CONSUMER]) + 2 * RULES_MAX)


def _garbage(name: str, seconds: float = 0.2) -> None:
    start, size = _mapped()[name]
    drawn = random.Random(1)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for _ in range(50):
            at = drawn.randrange(size - 64) & ~3
            ctypes.memmove(start + at, drawn.randbytes(64), 64)


def scribble_lab(consumer: Consumer) -> None:
    _after(consumer, 50, lambda: _garbage("notes"))


def scribble_rings(consumer: Consumer) -> None:
    _after(consumer, 50, lambda: _garbage("rings"))


def scribble_bells(consumer: Consumer) -> None:
    _after(consumer, 50, lambda: _garbage("bells"))


# ---- the channel --------------------------------------------------------------------------------


def _channel() -> socket.socket:
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                found = socket.socket(fileno=os.dup(int(name)))
                if found.type == socket.SOCK_SEQPACKET:
                    return found
    raise LookupError("no channel")


def _says(raw: bytes, fds: tuple[str, ...] = ()) -> Callable[[Consumer], None]:
    def main(consumer: Consumer) -> None:
        opened = [os.open(path, os.O_RDONLY) for path in fds]
        socket.send_fds(_channel(), [raw], opened)
        honest(consumer)

    return main


says_list = _says(b"[1, 2]")
says_nothing = _says(b"")
says_no_json = _says(b"\xff\xfe")
says_nested = _says(b"[" * 60_000)
says_large = _says(b"L")
says_directory = _says(b"L", ("/",))
says_zeros = _says(b"L", ("/dev/zero",) * 200)
says_markup = _says(b'{"event":"error","text":"\\u001b[2J[bold][/foo]\\ud800"}')


def floods(consumer: Consumer) -> None:
    channel = _channel()
    channel.setblocking(False)
    with contextlib.suppress(OSError):
        while True:
            channel.send(b'{"event":"mistake","text":"x"}')
    honest(consumer)


# ---- processes ----------------------------------------------------------------------------------


def raises_surrogates(_consumer: Consumer) -> NoReturn:
    raise RuntimeError("\udcff\ud800\n\x1b[2J")


def raises_what_cannot_be_shown(_consumer: Consumer) -> NoReturn:
    class Unspeakable(BaseException):
        def __repr__(self) -> str:
            raise ValueError

        __str__ = __repr__

    raise Unspeakable


def exits(consumer: Consumer) -> None:
    _after(consumer, 50, lambda: os._exit(3))


def crashes(consumer: Consumer) -> None:
    _after(consumer, 50, lambda: ctypes.string_at(0))


def stops(_consumer: Consumer) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def ignores(_consumer: Consumer) -> None:
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    while True:
        time.sleep(60)


def forks(consumer: Consumer) -> None:
    for _ in range(20):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(600)
            os._exit(0)
    honest(consumer)


def closes_everything(consumer: Consumer) -> None:
    os.closerange(0, 1024)
    honest(consumer)


def takes_an_odd_name(consumer: Consumer) -> None:
    """In /proc/PID/stat the name stands in the middle, in whatever bytes it has."""
    ctypes.CDLL(None).prctl(15, b"\xff) Z 1\n(\xfe")  # PR_SET_NAME
    honest(consumer)


def reaches(consumer: Consumer) -> None:
    """Try to open every descriptor of every other process of the run but consumers."""
    found = list(_reached())
    honest(consumer)
    if found:
        raise AssertionError(f"reached {found}")


def _reached() -> Iterator[str]:
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            is_kin = b"emu.runtime.worker" in words and sys.argv[3].encode() in words
            if b"consumer" in words or not (is_kin or entry.name == sys.argv[3]):
                continue
            for name in os.listdir(entry / "fd"):
                os.close(os.open(entry / "fd" / name, os.O_RDWR))
                yield str(entry / "fd" / name)


#: What must come of it: a PASS, a finding, or either, in time and with nothing left in every case.
# ---- leaving, keeping, giving back too much ------------------------------------------------------


def returns_at_once(consumer: Consumer) -> None:
    """Done before anything came."""


def ends_quietly(consumer: Consumer) -> None:
    """In the middle, with exit code 0, as if that were all."""
    _after(consumer, 50, lambda: os._exit(0))


def keeps_everything(consumer: Consumer) -> None:
    """Reads on, and returns nothing any more."""
    for number, completion in enumerate(consumer):
        if number < 50:
            consumer.give_back(completion)


def gives_twice(consumer: Consumer) -> None:
    for completion in consumer:
        consumer.give_back(completion)
        consumer.give_back(completion)


def sleeps(consumer: Consumer) -> None:
    """Neither reads nor returns, whoever asks it to leave."""
    _after(consumer, 50, lambda: time.sleep(3600))


def forks_and_ends(consumer: Consumer) -> None:
    """Leaves children behind that would stay for ever, and is gone without a word."""
    for number, completion in enumerate(consumer):
        consumer.give_back(completion)
        if number == 50:
            for _ in range(8):
                if os.fork() == 0:
                    time.sleep(3600)
                    os._exit(0)
            os._exit(0)


# ---- all of them --------------------------------------------------------------------------------

KINDS: dict[str, str] = {
    "honest": PASS,
    "returns_at_once": FAIL,
    "ends_quietly": FAIL,
    "keeps_everything": FAIL,
    "gives_twice": FAIL,
    "sleeps": FAIL,
    "forks_and_ends": FAIL,
    "consequence_kind": FAIL,
    "consequence_rule": FAIL,
    "counter_too_large": FAIL,
    "scribble_lab": FAIL,
    "scribble_rings": FAIL,
    "scribble_bells": PASS,
    "says_list": FAIL,
    "says_nothing": FAIL,
    "says_no_json": FAIL,
    "says_nested": FAIL,
    "says_large": FAIL,
    "says_directory": FAIL,
    "says_zeros": FAIL,
    "says_markup": ANY,
    "floods": ANY,
    "raises_surrogates": FAIL,
    "raises_what_cannot_be_shown": FAIL,
    "exits": FAIL,
    "crashes": FAIL,
    "stops": FAIL,
    "ignores": FAIL,
    "forks": PASS,
    "closes_everything": PASS,
    "takes_an_odd_name": PASS,
    "reaches": PASS,
}


def kinds() -> dict[str, Any]:
    """Each with its function."""
    return {name: globals()[name] for name in KINDS}
