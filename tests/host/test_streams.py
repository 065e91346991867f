"""Standard streams that are closed, full, unread or narrow: the verdict is the same."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from emu.host import streams

QUICK = "stress --packets 2000 --seed 1 --run-dir run"
SHORT = ("--help", "--version", "faults list", "doctor", "race --list", "fuzz --bug list")
BIN = Path(sys.executable).parent
#: Runs several commands in one process, which is many times faster, and exits with the worst code.
SEVERAL = """
import sys
from emu.cli import main
worst = 0
for line in sys.argv[1:]:
    sys.argv[1:] = line.split()
    try:
        main()
    except SystemExit as ended:
        worst = max(worst, ended.code)
sys.exit(worst)
"""


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a line of bash, in which ``zcrx-emu`` is ours; the code is that of its first command."""
    print("$", line)
    ended = subprocess.run(
        ["bash", "-c", f"{line}; exit ${{PIPESTATUS[0]}}"],
        cwd=folder,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "SEVERAL": SEVERAL},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    print(ended.stdout, ended.stderr, ended.returncode, sep="\n")
    assert "Traceback" not in ended.stdout + ended.stderr
    return ended


def several(*commands: str) -> str:
    return " ".join(['python3 -c "$SEVERAL"', *(f"'{command}'" for command in commands)])


def verdict(folder: Path) -> tuple[bool, str]:
    report = json.loads((folder / "run/run.json").read_text())
    return report["ok"], report["ended"]


@pytest.mark.parametrize(
    "closed",
    [
        pytest.param(">&-", marks=pytest.mark.long),
        pytest.param("2>&-", marks=pytest.mark.long),
        "<&- >&- 2>&-",
    ],
)
def test_closed_stream_changes_no_exit_code(closed: str, tmp_path: Path) -> None:
    assert shell(f"{several(*SHORT)} {closed}", tmp_path).returncode == 0
    assert shell(f"zcrx-emu {QUICK} {closed}", tmp_path).returncode == 0
    assert verdict(tmp_path) == (True, "packets")


def test_standard_descriptors_are_taken_in_every_process(script: Any) -> None:
    """What a worker prints must not end up in shared memory or in a channel."""
    running = subprocess.Popen(
        ["bash", "-c", f"exec '{BIN}/zcrx-emu' stress --duration 60 --run-dir run <&- >&- 2>&-"],
        cwd=script.folder,
    )
    try:
        assert script.wait_until(lambda: len(script.workers(running.pid)) >= 3, 60)
        for pid in (running.pid, *script.workers(running.pid)):
            standard = [f"/proc/{pid}/fd/{fd}" for fd in range(3)]
            # A hidden process shows its descriptors to root alone; stdin of all is /dev/null.
            if os.geteuid() == 0:
                assert {os.readlink(fd) for fd in standard} == {"/dev/null"}
    finally:
        running.terminate()
    assert running.wait(60) in (0, 2)  # of a run, or before there was one


def test_library_holds_the_descriptors_for_its_processes(tmp_path: Path) -> None:
    """Without a command line, too: channels would else be made where stdout should be."""
    program = (
        "from emu import RunConfig, run; report = run(RunConfig(seed=1, packets=2000));"
        "open('ok', 'w').write(str(report.ok))"
    )
    ended = shell(f'python3 -c "{program}" <&- >&- 2>&-', tmp_path)
    assert ended.returncode == 0
    assert (tmp_path / "ok").read_text() == "True"


@pytest.mark.parametrize("command", [QUICK, *SHORT[:3]])
def test_full_stdout_is_told_in_one_line(command: str, tmp_path: Path) -> None:
    ended = shell(f"zcrx-emu {command} >/dev/full", tmp_path)
    assert ended.returncode == 2
    assert ended.stderr == (
        "zcrx-emu: error: stdout: it cannot be written (No space left on device)\n"
    )
    if command == QUICK:
        assert verdict(tmp_path) == (True, "packets")


def test_finding_stays_one_whatever_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def main(consumer):\n    raise ValueError('mine')\n")
    ended = shell(
        "zcrx-emu stress --duration 60 --consumer mine:main --json /dev/full >/dev/full", tmp_path
    )
    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 2


def test_full_stderr_is_nobodys_affair(tmp_path: Path) -> None:
    assert shell(f"zcrx-emu {QUICK} 2>/dev/full", tmp_path).returncode == 0
    assert shell("zcrx-emu nosuch 2>/dev/full", tmp_path).returncode == 2


@pytest.mark.long
@pytest.mark.parametrize("command", ["stress --duration 60 --run-dir run", *SHORT[:3]])
def test_reader_that_leaves_gets_a_quiet_end(command: str, tmp_path: Path) -> None:
    """Its code says that not all was written: neither good nor a finding."""
    ended = shell(f"zcrx-emu {command} | true", tmp_path)
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", "")
    if command.startswith("stress"):
        assert verdict(tmp_path) == (True, "nobody reads its output")


@pytest.mark.long
def test_campaign_without_a_reader_ends(tmp_path: Path) -> None:
    ended = shell("zcrx-emu fuzz --time 0 --fast --engine generate --jobs 1 | head -1", tmp_path)
    assert (ended.returncode, ended.stderr) == (2, "")


def test_json_on_a_closed_stdout_is_refused(tmp_path: Path) -> None:
    ended = shell(f"zcrx-emu {QUICK} --json - >&-", tmp_path)
    assert ended.returncode == 2
    assert "json: '-' is stdout, which is closed" in ended.stderr
    ended = shell("zcrx-emu recv --listen 127.0.0.1:0 --output - >&-", tmp_path)
    assert ended.returncode == 2
    assert "output: '-' is stdout, which is closed" in ended.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "setting",
    [
        "LC_ALL=C PYTHONUTF8=0",
        # The first is ASCII, too; these ask for it by name.
        pytest.param("PYTHONIOENCODING=ascii", marks=pytest.mark.long),
        pytest.param("PYTHONIOENCODING=latin-1", marks=pytest.mark.long),
    ],
)
def test_narrow_encoding_is_enough(setting: str, tmp_path: Path) -> None:
    of_all = [f"{name} --help" for name in ("stress", "recv", "replay", "fuzz", "race", "doctor")]
    more = (
        "faults --help",
        "faults show bad-pad",
        "faults check smoke",
        "race --list --operations",
    )
    ended = shell(f"{setting} {several(*SHORT, *of_all, *more, QUICK)}", tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout
    assert "\\u" not in ended.stdout


def test_what_an_encoding_lacks_is_written_in_others() -> None:
    streams.guard_streams()
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors=streams._ERRORS)
    narrow.write("┏━┓│…→ é ½ 日 \udcff")
    narrow.seek(0)
    assert narrow.read() == "+-+|...-> e 1?2 \\u65e5 \\udcff".replace("1?2", "12")


def test_pipe_that_does_not_wait_gets_everything() -> None:
    """Its other end may have been made so by whoever shares it."""
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    got = bytearray()

    def read_all() -> None:
        while data := os.read(read_fd, 4096):
            got.extend(data)

    reader = threading.Thread(target=read_all)
    stream = io.BufferedWriter(streams._Forgiving(write_fd, "w"))
    reader.start()
    stream.write(b"x" * 1_000_000)
    stream.close()
    reader.join()
    os.close(read_fd)
    assert len(got) == 1_000_000
