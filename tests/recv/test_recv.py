"""``zcrx-emu recv``: what a program sends over TCP is what lands in the file."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SEED = 20
FAULTS = ("--faults", "bad-pad:0.05,bad-area:0.05,bad-index:0.05")
Address = tuple[str, int]


class Receiver:
    """A running ``recv`` and where it listens."""

    def __init__(self, script: Any, *options: str) -> None:
        self._script = script
        self.path: Path = script.folder / "received"
        self.running = script.start(
            *("recv", "--listen", "127.0.0.1:0", "--output", "received"),
            *("--seed", str(SEED), "--json", "report.json", *options),
        )
        host, port = self.running.expect(r"^listening on \S+:\d+$").group().split()[2].split(":")
        self.address: Address = (host, int(port))
        self._report: Path = script.folder / "report.json"

    def finish(self) -> Any:
        """Wait for its end and check that it went well; the report."""
        ended = self.running.finish()
        assert ended.code == 0
        assert ended.stdout.splitlines()[-1].startswith("PASS")
        report = json.loads(self._report.read_text())
        assert report["ended"] == "finished"
        return report

    def fail(self) -> tuple[str, Any]:
        """Wait for its end, which must be a finding; its line on the file, and the report."""
        ended = self.running.finish()
        assert ended.code == 1
        report = json.loads(self._report.read_text())
        (text,) = (item for item in report["problems"] if item.startswith("complete: "))
        assert f"FAIL: {text}" in ended.stdout
        return text, report

    def expect_size(self, size: int) -> None:
        """Wait until so many bytes are in the file."""
        assert self._script.wait_until(lambda: self.path.stat().st_size == size)

    def consumers(self) -> set[int]:
        """Processes of the consumer that reads."""
        workers = self._script.workers(self.running.pid)
        return {pid for pid, role in workers.items() if role == "consumer"}

    @property
    def digest(self) -> tuple[int, str]:
        """Size and SHA-256 of what was received: shorter to read than the bytes, if they differ."""
        data = self.path.read_bytes()
        return len(data), hashlib.sha256(data).hexdigest()


def digest_of(data: bytes) -> tuple[int, str]:
    return len(data), hashlib.sha256(data).hexdigest()


@pytest.fixture
def receive(script: Any) -> Callable[..., Receiver]:
    """Start a receiver with these options."""
    return lambda *options: Receiver(script, *options)


@pytest.mark.parametrize(
    ("size", "options"),
    [
        (0, ()),
        (1, ()),
        (4096, ()),
        (4097, FAULTS),
        (50 << 20, FAULTS),
        (2 << 20, ("--area-buffers", "17", "--rq-entries", "4", *FAULTS)),
    ],
)
def test_file_is_what_was_sent(
    receive: Callable[..., Receiver], size: int, options: tuple[str, ...]
) -> None:
    data = random.Random(SEED).randbytes(size)
    receiver = receive(*options)
    with socket.create_connection(receiver.address) as sender:
        sender.sendall(data)
    report = receiver.finish()
    assert receiver.digest == digest_of(data)
    assert report["bytes"]["received"] == report["bytes"]["delivered"] == size
    if size > 1 << 20:
        assert min(report["faults"]["injected"].values()) > 0
    assert report["rqe"]["verdicts"]["bad_pad"] == report["faults"]["injected"].get("bad-pad", 0)


def test_dribbles_arrive_each_when_sent(receive: Callable[..., Receiver]) -> None:
    """The next piece is sent when the one before is in the file: nothing waits for more."""
    pieces = [bytes([at]) * size for at, size in enumerate((1, 2, 63, 64, 65, 1000, 4096, 5000, 1))]
    receiver = receive()
    sent = b""
    with socket.create_connection(receiver.address) as sender:
        sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            sender.sendall(piece)
            sent += piece
            receiver.expect_size(len(sent))
    receiver.finish()
    assert receiver.path.read_bytes() == sent


def test_reset_is_a_finding_and_the_file_a_prefix(receive: Callable[..., Receiver]) -> None:
    """A connection that breaks is an end like any other for the buffers, but the file is a part."""
    data = random.Random(SEED).randbytes(1 << 20)
    receiver = receive(*FAULTS)
    with socket.create_connection(receiver.address) as sender:
        sender.sendall(data)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    text, report = receiver.fail()
    received = receiver.path.read_bytes()
    assert "ECONNRESET" in text
    assert f"offset {len(received)} is missing" in text
    assert data.startswith(received)
    assert report["bytes"]["received"] == len(received)


def test_end_of_sending_alone_is_the_end(receive: Callable[..., Receiver]) -> None:
    """As ``nc -N`` does it: the sender still waits for what the receiver may answer."""
    receiver = receive()
    with socket.create_connection(receiver.address) as sender:
        sender.sendall(b"half closed")
        sender.shutdown(socket.SHUT_WR)
        assert sender.recv(1) == b"", "and gets its end in turn"
    receiver.finish()
    assert receiver.path.read_bytes() == b"half closed"


def test_second_connection_is_not_taken(receive: Callable[..., Receiver]) -> None:
    receiver = receive()
    with socket.create_connection(receiver.address) as sender:
        sender.sendall(b"first")
        receiver.expect_size(5)
        with contextlib.suppress(OSError), socket.create_connection(receiver.address, 5) as other:
            other.sendall(b"second")
    receiver.finish()
    assert receiver.path.read_bytes() == b"first"


def test_ipv6_may_be_listened_on(script: Any) -> None:
    if not socket.has_ipv6:  # pragma: no cover
        pytest.skip("no IPv6 here")
    running = script.start("recv", "--listen", "[::1]:0", "--output", "received")
    port = int(running.expect(r"^listening on \[::1\]:\d+$").group().strip().rpartition(":")[2])
    with socket.create_connection(("::1", port)) as sender:
        sender.sendall(b"six")
    assert running.finish().code == 0
    assert (script.folder / "received").read_bytes() == b"six"


# ---- Where it goes ------------------------------------------------------------------------------


def send_to(script: Any, running: Any, stream: str, data: bytes) -> None:
    """Wait for the address in a stream of the script and send."""

    def address() -> list[str]:
        text = running.stderr() if stream == "stderr" else running.stdout
        return [line for line in text.splitlines() if line.startswith("listening on ")]

    if stream == "stdout":
        running.expect("listening on")
    assert script.wait_until(address)
    host, port = address()[0].split()[2].split(":")
    with (
        contextlib.suppress(ConnectionError),
        socket.create_connection((host, int(port))) as sender,
    ):
        sender.sendall(data)


def test_output_may_be_stdout_and_is_alone_there(script: Any) -> None:
    running = script.start("recv", "--listen", "127.0.0.1:0", "--output", "-", "--seed", SEED)
    send_to(script, running, "stderr", b"to stdout\n" * 1000)
    ended = running.finish()
    assert ended.code == 0
    assert ended.stdout == "to stdout\n" * 1000
    assert "PASS" in ended.stderr


def test_full_device_is_told_in_one_line(script: Any) -> None:
    running = script.start("recv", "--listen", "127.0.0.1:0", "--output", "/dev/full")
    send_to(script, running, "stdout", bytes(100_000))
    ended = running.finish()
    assert ended.code == 2
    told = [line for line in (ended.stdout + ended.stderr).splitlines() if "No space left" in line]
    assert [line for line in told if line.startswith("FAIL: ")] == [
        "FAIL: consumer of queue 0: No space left on device"
    ]
    assert script.leftovers() == []


def test_existing_file_is_replaced(script: Any) -> None:
    path = script.folder / "received"
    path.write_bytes(bytes(10_000))
    running = script.start("recv", "--listen", "127.0.0.1:0", "--output", "received")
    send_to(script, running, "stdout", b"short")
    assert running.finish().code == 0
    assert path.read_bytes() == b"short"


# ---- Other people's programs --------------------------------------------------------------------

#: A program of this machine that sends stdin to HOST PORT; Python's own is there in any case.
PROGRAMS = {
    "python": [
        *(sys.executable, "-c"),
        "import shutil, socket, sys\n"
        "with socket.create_connection(sys.argv[1:3]) as s, s.makefile('wb') as f:\n"
        "    shutil.copyfileobj(sys.stdin.buffer, f)\n",
    ],
    "nc": ["nc", "-N"],
    "bash": ["bash", "-c", "cat > /dev/tcp/$0/$1"],
}


@pytest.mark.parametrize(
    "name", [name for name in PROGRAMS if name == "python" or shutil.which(name)]
)
def test_program_that_copies_its_input_is_received(
    receive: Callable[..., Receiver], name: str
) -> None:
    data = random.Random(SEED).randbytes(3_000_000)
    receiver = receive(*FAULTS)
    command = [*PROGRAMS[name], receiver.address[0], str(receiver.address[1])]
    subprocess.run(command, input=data, check=True, timeout=60)
    receiver.finish()
    assert receiver.digest == digest_of(data)


def upload_by_curl(address: Address, path: Path) -> None:
    command = ["curl", "--silent", "--show-error", "--max-time", "3", "--upload-file", str(path)]
    # Nobody answers: curl waits for that, and gives up.
    done = subprocess.run(
        [*command, "--header", "Expect:", f"http://{address[0]}:{address[1]}/name"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 28, done.stderr


def upload_by_python(address: Address, path: Path) -> None:
    client = http.client.HTTPConnection(*address, timeout=30)
    client.request("PUT", "/name", body=path.read_bytes())
    assert client.sock is not None
    client.sock.shutdown(socket.SHUT_WR)
    with pytest.raises((ConnectionError, http.client.BadStatusLine)):
        client.getresponse()
    client.close()


UPLOADS = [upload_by_python, *([upload_by_curl] if shutil.which("curl") else [])]


@pytest.mark.parametrize("upload", UPLOADS)
def test_http_upload_is_received_with_its_headers(
    receive: Callable[..., Receiver],
    tmp_path: Path,
    upload: Callable[[Address, Path], None],
) -> None:
    data = random.Random(SEED).randbytes(200_000)
    path = tmp_path / "upload"
    path.write_bytes(data)
    receiver = receive(*FAULTS)
    client = threading.Thread(target=upload, args=(receiver.address, path))
    client.start()
    receiver.finish()
    client.join()
    head, _, body = receiver.path.read_bytes().partition(b"\r\n\r\n")
    assert head.startswith(b"PUT /name HTTP/1.1\r\n")
    assert f"content-length: {len(data)}".encode() in head.lower()
    assert body == data


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (signal.SIGTERM, "terminated"),
        # All commands end by the same code, which the tests of stress ask for each signal.
        pytest.param(signal.SIGINT, "interrupted", marks=pytest.mark.long),
        pytest.param(signal.SIGHUP, "hung up", marks=pytest.mark.long),
    ],
)
def test_signal_in_the_middle_is_a_finding(
    receive: Callable[..., Receiver], number: signal.Signals, word: str
) -> None:
    receiver = receive()
    with socket.create_connection(receiver.address) as sender:
        sender.sendall(bytes(5000))
        receiver.expect_size(5000)
        receiver.running.process.send_signal(number)
        text, report = receiver.fail()
    assert f"({word})" in text
    assert "beyond offset 5000 is missing" in text
    assert report["ended"] == word


def test_what_dies_with_a_consumer_is_named(script: Any, receive: Callable[..., Receiver]) -> None:
    """What came is in the queue when its reader is killed: the run ends all the same, and says
    from where on the file lacks what."""
    rng, data = random.Random(SEED), bytearray()
    receiver = receive("--faults", "cq-stall:every=1:us=900000,kill-consumer:every=300")
    seen = set(receiver.consumers())
    with socket.create_connection(receiver.address) as sender:

        def are_replaced_while_more_comes() -> bool:
            """Two of them, each with its reaper: the first may be killed before anything came."""
            data.extend(rng.randbytes(5000))
            sender.sendall(data[-5000:])
            seen.update(receiver.consumers())
            return len(seen) > 4

        assert script.wait_until(are_replaced_while_more_comes)
    text, report = receiver.fail()
    received = receiver.path.read_bytes()
    assert report["ended"] == "finished"
    found = re.search(r"(\d+) bytes from offset (\d+) are missing", text)
    assert found is not None
    size, offset = int(found[1]), int(found[2])
    assert received[:offset] == data[:offset]
    assert len(received) <= len(data) - size
    assert "kill-consumer" in text
