"""Whether a file is what came: the account of the NIC against what can be read back."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from emu.core import StreamAccount, crc32c, crc32c_more
from emu.verdict.received import Output, Reception, check

STEP = 4096
DATA = random.Random(4).randbytes(3 * STEP + 100)
ACCOUNT = StreamAccount(
    size=len(DATA),
    crc=crc32c(DATA),
    step=STEP,
    marks=tuple(crc32c(DATA[: at * STEP]) for at in (1, 2, 3)),
    error=0,
    ends=1,
)


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "output", os.O_WRONLY | os.O_CREAT)
    yield fd
    os.close(fd)


def judged(fd: int, data: bytes, *, output: Output | None = None) -> tuple[bool, str]:
    output = output or Output(fd)
    os.write(fd, data)
    return check(
        Reception(
            account=ACCOUNT,
            output=output,
            connections=1,
            ended="finished",
            read=len(DATA),
            faults=("write-foreign",),
        )
    )


def test_crc_goes_on_where_it_ended() -> None:
    for cut in (0, 1, 7, 1008, STEP, len(DATA)):
        assert crc32c_more(crc32c(DATA[:cut]), DATA[cut:]) == ACCOUNT.crc


def test_whole_file_holds(fd: int) -> None:
    assert judged(fd, DATA)[0]


@pytest.mark.parametrize("at", [0, STEP - 1, STEP, 3 * STEP, len(DATA) - 1])
def test_damage_is_placed_in_its_stretch(fd: int, at: int) -> None:
    holds, text = judged(fd, DATA[:at] + bytes([DATA[at] ^ 1]) + DATA[at + 1 :])
    began = at // STEP * STEP
    assert not holds
    assert f"first at offset {began} to {min(began + STEP, len(DATA)) - 1}" in text
    assert "write-foreign" in text


def test_missing_end_is_said_with_its_offset(fd: int) -> None:
    holds, text = judged(fd, DATA[:5000])
    assert not holds
    assert f"{len(DATA) - 5000} bytes at the end, from offset 5000, are missing" in text


def test_surplus_is_said(fd: int) -> None:
    holds, text = judged(fd, DATA + b"more")
    assert not holds
    assert "4 bytes more than came" in text


def test_bytes_that_went_with_a_consumer_are_said_with_their_offset(fd: int) -> None:
    output = Output(fd)
    os.write(fd, DATA[:6000])
    output.note_user_gone(8000)
    holds, text = judged(fd, DATA[8000:], output=output)
    assert not holds
    assert "2000 bytes from offset 6000 are missing" in text
    assert "at the end" not in text


def test_what_stood_in_an_appended_file_is_not_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "output"
    path.write_bytes(b"before")
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        assert judged(fd, DATA)[0]
    finally:
        os.close(fd)
