"""Record the captures that the tests of ``pcap:FILE`` read: real programs over the loopback.

    python tools/record_capture.py [FOLDER]      (default: tests/data of this checkout)

Writes ``loopback.pcap`` (tcpdump on ``lo``: Ethernet, microseconds) and ``loopback.pcapng``
(dumpcap on ``lo`` and ``any``: two interfaces with different link types, nanoseconds). Both see
the same traffic: HTTP by curl from Python's http.server over IPv4 and IPv6, TCP and UDP by nc, and
datagrams to a closed port, which ICMP errors answer. No packet leaves the loopback. What dumpcap
notes about the machine (processor, kernel) is taken out.

Needs Linux, CAP_NET_RAW (root), the ports 18080 to 18084 free, and the Debian packages tcpdump,
wireshark-common (dumpcap), curl and netcat-openbsd. Ends with 0 if both files were written, else 1.
The tests hold numbers of the recorded files: a new recording needs new numbers.
"""

from __future__ import annotations

import contextlib
import functools
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

HTTP4, HTTP6, TCP, UDP, CLOSED = range(18080, 18085)
FILTER = f"(host 127.0.0.1 or host ::1) and (portrange {HTTP4}-{CLOSED} or icmp or icmp6)"
BEGIN, END = b"begin of recording", b"end of recording"
DEADLINE_S = 20
PROGRAMS = {
    "tcpdump": "tcpdump",
    "dumpcap": "wireshark-common",
    "curl": "curl",
    "nc": "netcat-openbsd",
}


def main(arguments: list[str]) -> int:
    """Record both files; return the exit status."""
    if len(arguments) > 1 or any(argument.startswith("-") for argument in arguments):
        print(__doc__)
        return 1
    folder = Path(*arguments) if arguments else Path(__file__).parents[1] / "tests" / "data"
    missing = [package for program, package in PROGRAMS.items() if not shutil.which(program)]
    if missing:
        print(f"record_capture: install first: {' '.join(missing)}", file=sys.stderr)
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        record(work)
        (folder / "loopback.pcap").write_bytes((work / "pcap").read_bytes())
        (folder / "loopback.pcapng").write_bytes(anonymous((work / "pcapng").read_bytes()))
    return 0


def record(work: Path) -> None:
    """Let servers, captures and clients run; the captures are in ``pcap`` and ``pcapng`` after."""
    served = work / "served"
    served.mkdir()
    rng = random.Random(1)
    (served / "index.html").write_text("<!DOCTYPE html><title>loopback</title><p>hello\n")
    (served / "numbers.json").write_text(str([rng.randrange(10**6) for _ in range(2500)]) + "\n")
    (served / "bytes.bin").write_bytes(rng.randbytes(70000))
    server = [sys.executable, "-m", "http.server", "--directory", str(served), "--bind"]
    with contextlib.ExitStack() as running:

        def start(*command: str, to: str = "discarded") -> None:
            running.enter_context(_running(list(command), work / to))

        start(*server, "127.0.0.1", str(HTTP4))
        start(*server, "::1", str(HTTP6))
        start("nc", "-l", "127.0.0.1", str(TCP))
        start("nc", "-u", "-l", "127.0.0.1", str(UDP))
        for port, table in ((HTTP4, "tcp"), (HTTP6, "tcp6"), (TCP, "tcp"), (UDP, "udp")):
            _wait_for(f"port {port}", functools.partial(_is_bound, port, table))
        start("tcpdump", "-i", "lo", "-U", "--immediate-mode", "-w", "-", FILTER, to="pcap")
        start("dumpcap", "-q", "-f", FILTER, "-i", "lo", "-i", "any", "-w", "-", to="pcapng")
        _wait_for("both captures", lambda: _recorded(work, BEGIN))
        talk(served)
        _wait_for("the last packets", lambda: _recorded(work, END))


def talk(served: Path) -> None:
    """Let the clients speak, one after the other."""
    for url in (
        f"http://127.0.0.1:{HTTP4}/",
        f"http://127.0.0.1:{HTTP4}/numbers.json",
        f"http://127.0.0.1:{HTTP4}/not-there",
        f"http://[::1]:{HTTP6}/bytes.bin",
    ):
        _client("curl", "-s", "-o", "/dev/null", url)
    _client("curl", "-s", "-o", "/dev/null", "-d", "name=value", f"http://127.0.0.1:{HTTP4}/form")
    _client("nc", "-N", "127.0.0.1", str(TCP), stdin=(served / "numbers.json").read_bytes())
    _client("nc", "-u", "-w", "1", "127.0.0.1", str(UDP), stdin=b"<14>app: a line of log\n")


def _recorded(work: Path, mark: bytes) -> bool:
    """Send a mark to a closed port; say if marks and the ICMP errors about them are in both files.

    Each of the two interfaces of the pcapng file shows both.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(mark, ("127.0.0.1", CLOSED))
    files = ((work / "pcap", 2), (work / "pcapng", 4))
    return all(file.read_bytes().count(mark) >= count for file, count in files)


def _client(*command: str, stdin: bytes = b"") -> None:
    subprocess.run(command, input=stdin, check=True, timeout=DEADLINE_S, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def _running(command: list[str], output: Path) -> Iterator[None]:
    """Run a program until the end of the block; what it writes goes to a file."""
    with (
        output.open("wb") as file,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.DEVNULL
        ) as process,
    ):
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _is_bound(port: int, table: str) -> bool:
    lines = Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    return any(line.split()[1].endswith(f":{port:04X}") for line in lines)


def _wait_for(what: str, happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not happened():
        if time.monotonic() > deadline:
            raise SystemExit(f"record_capture: waited {DEADLINE_S} s for {what}")
        time.sleep(0.05)


def anonymous(pcapng: bytes) -> bytes:
    """Return a pcapng file (little-endian) without the options that describe the machine.

    Of a section nothing is kept, of an interface only the resolution of its times (option 9).
    """
    section, interface = 0x0A0D0D0A, 1
    out, at = bytearray(), 0
    while at < len(pcapng):
        block_type, size = struct.unpack_from("<II", pcapng, at)
        body = pcapng[at + 8 : at + size - 4]
        if block_type == section:
            body = body[:16]
        elif block_type == interface:
            assert b"\x09\x00\x01\x00\x09" in body, "dumpcap counts nanoseconds"
            body = body[:8] + struct.pack("<HHB3xI", 9, 1, 9, 0)
        size_raw = struct.pack("<I", len(body) + 12)
        out += struct.pack("<I", block_type) + size_raw + body + size_raw
        at += size
    return bytes(out)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
