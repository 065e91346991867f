"""What holds kernel-side memory cannot be looked into by a consumer, be it root or not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from emu.config import RunConfig
from emu.consumer import Consumer
from emu.runtime.guard import Hidden
from emu.runtime.processes import worker_environment
from emu.runtime.session import Session
from emu.verdict.report import Report

HERE = Path(__file__).stem
FOUND = Path("found.txt")


def _try(what: str, path: str, flags: int) -> list[str]:
    try:
        os.close(os.open(path, flags))
    except OSError:
        return []
    return [f"{what}: {path}"]


def _reached(pid: int) -> list[str]:
    found: list[str] = []
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            found += _try("descriptor", f"/proc/{pid}/fd/{name}", os.O_RDWR)
    except OSError:
        pass
    return found + _try("memory", f"/proc/{pid}/mem", os.O_RDWR)


def _words(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:  # gone meanwhile
        return []


def reaches(consumer: Consumer) -> None:
    """Look into all relatives but consumers, and for the files behind what is mapped here."""
    found: list[str] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            words = _words(int(entry.name))
            is_kin = b"emu.runtime.worker" in words and sys.argv[3].encode() in words
            if (is_kin and b"consumer" not in words) or int(entry.name) == int(sys.argv[3]):
                found += _reached(int(entry.name))
    for line in Path("/proc/self/maps").read_text().splitlines():
        if "/zcrx-emu." in line:
            found += _try("file", f"/proc/self/map_files/{line.split()[0]}", os.O_RDWR)
    FOUND.write_text("\n".join(found))
    for completion in consumer:
        consumer.give_back(completion)


#: Of an ordinary user, who may yet read the files of this checkout wherever it lies.
AS_NOBODY = (
    *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
    *("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"),
)


@pytest.mark.parametrize("user", ["ours", "nobody"])
def test_consumer_reaches_nobody(tmp_path: Path, user: str) -> None:
    """As root it gives up what would let it; as anybody else it never had that."""
    if user == "nobody" and (os.getuid() != 0 or shutil.which("setpriv") is None):
        pytest.skip("only root can become somebody else, by setpriv")
    code = (
        "from emu.config import RunConfig; from emu.runtime.session import run\n"
        f"config = RunConfig(packets=2000, queues=2, consumer={HERE + ':reaches'!r})\n"
        "report = run(config)\n"
        "print(report.problems or report.ok)\n"
    )
    tmp_path.chmod(0o777)
    folder = tmp_path / "work"
    folder.mkdir()
    folder.chmod(0o777)
    environment = worker_environment()  # it does not build anything, either
    paths = [str(Path(__file__).parent), environment.get("PYTHONPATH", "")]
    ended = subprocess.run(
        [*(AS_NOBODY if user == "nobody" else ()), sys.executable, "-c", code],
        cwd=folder,
        env={**environment, "PYTHONPATH": os.pathsep.join(paths), "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.stdout, ended.stderr) == ("True\n", "")
    assert (folder / FOUND).read_text() == ""


def _dumpable() -> int:
    import ctypes

    return int(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))


def test_process_is_hidden_while_a_run_is_on_and_then_as_it_was() -> None:
    before = _dumpable()
    assert before == 1
    with Session(RunConfig(seed=1, packets=10)) as session:
        assert _dumpable() == 0
        report: Report = session.run()
        assert _dumpable() == 0
    assert report.ok
    assert _dumpable() == before


def test_process_stays_hidden_as_long_as_anybody_wants_it() -> None:
    with Hidden():
        with Hidden():
            assert _dumpable() == 0
        assert _dumpable() == 0
    assert _dumpable() == 1


def test_kernel_side_memory_is_held_by_no_descriptor_once_it_is_handed_over() -> None:
    with Session(RunConfig(seed=1, packets=10)):
        links = []
        for name in os.listdir("/proc/self/fd"):
            try:
                links.append(os.readlink(f"/proc/self/fd/{name}"))
            except OSError:
                continue
        assert len([link for link in links if "/zcrx-emu." in link]) == 4
