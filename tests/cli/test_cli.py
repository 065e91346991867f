"""The console script as people and scripts use it: output, exit codes, wrong use, Ctrl-C."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emu.cli.render import short
from emu.runtime.processes import worker_environment

CAPTURE = Path(__file__).parents[1] / "data" / "loopback.pcap"
QUICK = ("stress", "--packets", "2000", "--seed", "1")


Call = Callable[..., Any]


# ---- Runs that end well -------------------------------------------------------------------------


def test_stress_says_its_seed_first_and_its_verdict_last(script: Any) -> None:
    ended = script.run(*QUICK, "--faults", "bad-pad:0.1")
    lines = ended.stdout.splitlines()
    assert (ended.code, ended.stderr) == (0, "")
    assert lines[0] == "seed 1"
    assert "faults bad-pad:0.1" in lines[1]
    assert re.fullmatch(r"processes: control \d+, .*consumer of queue 0 \d+", lines[2])
    assert lines[-1].startswith("PASS")
    assert any(line.startswith("run folder: ") for line in lines)


def test_seed_that_is_not_given_is_drawn(call: Call) -> None:
    seeds = [call("stress", "--packets", "100").stdout.splitlines()[0] for _ in range(2)]
    assert all(re.fullmatch(r"seed \d+", line) for line in seeds)
    assert seeds[0] != seeds[1]


def test_output_without_a_terminal_is_plain_lines(script: Any) -> None:
    running = script.start("stress", "--duration", "1.2", "--seed", "1")
    running.expect_traffic()
    ended = running.finish()
    assert ended.code == 0
    assert "\x1b" not in ended.stdout
    assert "\r" not in ended.stdout


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B/s"),
        (7, "7 B/s"),
        (0.25, "0.25 B/s"),
        (999, "999 B/s"),
        (999.6, "1 kB/s"),
        (1234567, "1.23 MB/s"),
        (99_960, "100 kB/s"),
        (999_999, "1 MB/s"),
        (5e12, "5 TB/s"),
    ],
)
def test_rates_are_short(value: float, text: str) -> None:
    assert short(value, "B/s") == text


def test_terminal_shows_a_live_view_and_then_the_verdict(script: Any) -> None:
    ours, theirs = pty.openpty()
    running = script.start("stress", "--duration", "1", "--queues", "2", stdout=theirs)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # EIO: the last process that had the terminal is gone
        while data := os.read(ours, 65536):
            shown += data
    os.close(ours)
    assert running.process.wait(60) == 0
    assert running.stderr() == ""
    text = shown.decode()
    assert "\x1b[" in text
    for words in ("consumer of queue 1", "packets/s", "buffers", "CPU", "stress", "PASS"):
        assert words in text
    assert "Traceback" not in text


def test_run_folder_is_made_and_holds_the_report(call: Call, tmp_path: Path) -> None:
    call(*QUICK)
    (folder,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"\d{8}-\d{6}-\d+", folder.name)
    assert json.loads((folder / "run.json").read_text())["packets"]["delivered"] == 2000


def test_run_folder_may_be_chosen(call: Call, tmp_path: Path) -> None:
    call(*QUICK, "--run-dir", "some/where")
    assert json.loads((tmp_path / "some/where/run.json").read_text())["ok"] is True
    assert not (tmp_path / "runs").exists()


def test_run_folder_that_holds_a_run_is_refused_and_kept(call: Call, tmp_path: Path) -> None:
    call(*QUICK, "--run-dir", "some")
    before = (tmp_path / "some/run.json").read_bytes()
    ended = call(*QUICK, "--run-dir", "some")
    assert ended.code == 2
    assert "run-dir: 'some'" in ended.stderr
    assert "earlier run" in ended.stderr
    assert (tmp_path / "some/run.json").read_bytes() == before


def test_json_on_stdout_is_alone_there(script: Any) -> None:
    ended = script.run(*QUICK, "--queues", 2, "--json", "-")
    report = json.loads(ended.stdout)
    assert ended.code == 0
    assert report["ok"] is True
    assert report["config"]["queues"] == 2
    assert "PASS" in ended.stderr


def test_json_goes_to_a_file(call: Call, tmp_path: Path) -> None:
    ended = call(*QUICK, "--json", "report.json")
    assert json.loads((tmp_path / "report.json").read_text())["seed"] == 1
    assert ended.stdout.splitlines()[-1].startswith("PASS")


def test_options_reach_the_run(call: Call) -> None:
    given = {
        "seed": 2**64 - 1,
        "traffic": f"pcap:{CAPTURE}",
        "duration_s": 30.0,
        "packets": 500,
        "laps": 40,
        "queues": 2,
        "area_buffers": 300,
        "rq_entries": 64,
        "cq_entries": 128,
        "ptr_ring_size": 100,
        "grant_entries": 32,
        "initial_index": 2**32 - 1,
        "pace": "fast",
        "overload": "drop",
        "wait_ms": 5,
        "copy_every": 9,
        "verify": "touch",
        "return_order": "lifo",
        "hold": 3,
    }
    options = [
        word
        for name, value in given.items()
        for word in (f"--{name.removesuffix('_s').replace('_', '-')}", str(value))
    ]
    ended = call(
        "stress", *options, "--strict-alias", "--no-pin", "--faults", "bad-area:1%", "--json", "-"
    )
    config = json.loads(ended.stdout)["config"]
    expected = {**given, "strict_alias": True, "pin": False, "plan": "bad-area:0.01"}
    assert {name: config[name] for name in expected} == expected


def test_rounding_is_said(call: Call) -> None:
    ended = call(*QUICK, "--rq-entries", "5000", "--json", "-")
    assert ended.code == 0
    assert json.loads(ended.stdout)["config"]["rq_entries"] == 8192
    assert "rq_entries: 5000 rounded up to 8192" in ended.stderr


# ---- Help and doctor ----------------------------------------------------------------------------


def test_version_is_one_line(script: Any) -> None:
    ended = script.run("--version")
    assert re.fullmatch(r"zcrx-emu \d+\.\d+\.\d+\S*\n", ended.stdout)
    assert (ended.code, ended.stderr) == (0, "")


@pytest.mark.parametrize("command", [(), ("stress",), ("recv",), ("doctor",)])
def test_help_lists_what_there_is(call: Call, command: tuple[str, ...]) -> None:
    ended = call(*command, "--help")
    assert ended.code == 0
    expected = "--json" if command else "stress"
    assert expected in ended.stdout


def test_no_command_shows_the_help_and_is_wrong_use(call: Call) -> None:
    ended = call()
    assert ended.code == 2
    assert "stress" in ended.stdout


def test_doctor_looks_at_the_machine(call: Call) -> None:
    ended = call("doctor")
    assert "shared memory" in ended.stdout
    assert "CRC32C" in ended.stdout
    assert ended.stderr == ""


def test_doctor_answers_in_json(call: Call, tmp_path: Path) -> None:
    ended = call("doctor", "--json", "-")
    found = json.loads(ended.stdout)
    assert found["ok"] is (ended.code == 0)
    assert {"name", "found", "ok", "advice"} == set(found["checks"][0])
    call("doctor", "--json", "found.json")
    saved = json.loads((tmp_path / "found.json").read_text())
    assert [check["name"] for check in saved["checks"]] == [
        check["name"] for check in found["checks"]
    ]


# ---- Wrong use ----------------------------------------------------------------------------------

WRONG = [
    # option, value, words of the one line on stderr: field, value and what is allowed
    ("--queues", "0", ["queues: 0", "1 to 64"]),
    ("--queues", "-1", ["queues: -1", "1 to 64"]),
    ("--queues", "65", ["queues: 65", "1 to 64"]),
    ("--queues", "x", ["--queues", "'x'", "integer"]),
    ("--queues", "1.5", ["--queues", "'1.5'", "integer"]),
    ("--duration", "0", ["duration: 0", "above 0"]),
    ("--duration", "-1", ["duration: -1", "above 0"]),
    ("--duration", "nan", ["duration: nan", "above 0"]),
    ("--duration", "inf", ["duration: inf", "at most 31622400 seconds"]),
    ("--duration", "x", ["--duration", "'x'", "number"]),
    ("--rq-entries", "0", ["rq_entries: 0", "1 to 32768"]),
    ("--rq-entries", "-1", ["rq_entries: -1", "1 to 32768"]),
    ("--rq-entries", "32769", ["rq_entries: 32769", "1 to 32768"]),
    ("--area-buffers", "0", ["area_buffers: 0", "17 to 1048576"]),
    ("--area-buffers", str(10**9), [f"area_buffers: {10**9}", "17 to 1048576"]),
    ("--traffic", "nosuch", ["traffic: nosuch", "synthetic"]),
    ("--traffic", "pcap:none.pcap", ["traffic: pcap:/", "/none.pcap", "No such file"]),
    ("--traffic", "pcap:truncated.pcap", ["traffic: pcap:/", "/truncated.pcap: truncated"]),
    ("--traffic", "pcap:folder", ["traffic: pcap:/", "/folder: not a regular file"]),
    ("--traffic", "tcp:127.0.0.1:99999", ["traffic: tcp:127.0.0.1:99999", "0 to 65535"]),
    ("--traffic", "tcp:192.0.2.1:0", ["listen: tcp:192.0.2.1:0", "free port"]),
    ("--faults", "bad-pda:0.1", ["faults: 'bad-pda'", "did you mean 'bad-pad'?"]),
    ("--faults", "bad-pad:1.5", ["faults: bad-pad", "1.5", "0 to 1"]),
    ("--faults", "bad-pad", ["faults: bad-pad", "bad-pad:0.01"]),
    ("--faults", "bad-pad:x", ["faults: bad-pad", "'x'", "0 to 1"]),
    ("--faults", "bad-pad:0.1:once:limit=2", ["faults: bad-pad", "once"]),
    ("--faults", ",", ["faults: ','", "NAME:PROBABILITY"]),
    ("--run-dir", "file/below", ["run-dir: 'file/below'", "writable folder"]),
    ("--json", "nosuch/report.json", ["json: 'nosuch/report.json'", "file in a folder"]),
    ("--json", "folder", ["json: 'folder'", "file in a folder"]),
    ("--verify", "x", ["--verify", "'x'", "'none', 'touch', 'crc'"]),
    ("--pace", "x", ["--pace", "'x'", "'fast', 'original'"]),
    ("--seed", "-1", ["seed: -1", "0 to 18446744073709551615"]),
    ("--seed", str(2**64), [f"seed: {2**64}", "0 to 18446744073709551615"]),
    ("--consumer", "nosuch", ["consumer: 'nosuch'", "MODULE:FUNCTION"]),
    ("--consumer", "nosuch.module:f", ["consumer: 'nosuch.module:f'", "importable"]),
    ("--consumer", "math:nosuch", ["consumer: 'math:nosuch'", "FUNCTION", "nosuch"]),
    ("--consumer", "math:pi", ["consumer: 'math:pi'", "FUNCTION", "3.14"]),
    ("--sede", "1", ["--sede", "--seed"]),
]


@pytest.fixture
def folder_of_mistakes(script: Any) -> Path:
    """A file, a folder and a capture that was cut off."""
    folder: Path = script.folder
    (folder / "file").touch()
    (folder / "folder").mkdir()
    (folder / "truncated.pcap").write_bytes(CAPTURE.read_bytes()[:20])
    return folder


def check_wrong_use(ended: Any, words: list[str]) -> None:
    assert ended.code == 2
    assert len(ended.stderr.splitlines()) == 1
    assert ended.stderr.startswith("zcrx-emu: error: ")
    assert "Traceback" not in ended.stdout
    for word in words:
        assert word in ended.stderr


@pytest.mark.parametrize(("option", "value", "words"), WRONG)
def test_wrong_value_is_answered_in_one_line(
    call: Call, folder_of_mistakes: Path, option: str, value: str, words: list[str]
) -> None:
    before = set(folder_of_mistakes.rglob("*"))
    check_wrong_use(call("stress", f"{option}={value}", "--packets", "10"), words)
    assert set(folder_of_mistakes.rglob("*")) == before


@pytest.mark.parametrize(
    ("option", "value", "words"),
    # One that each of those who read options refuses: the parser, the configuration, the plan…
    [wrong for wrong in WRONG if wrong[1] in ("1.5", "65", "bad-pda:0.1", "math:pi")],
)
def test_wrong_value_ends_the_script_with_two(
    script: Any, folder_of_mistakes: Path, option: str, value: str, words: list[str]
) -> None:
    check_wrong_use(script.run("stress", option, value, "--packets", 10), words)
    assert script.leftovers() == []
    assert not (folder_of_mistakes / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["stres"], ["'stres'", "'stress'"]),
        (["stress", "extra"], ["extra"]),
        (["recv"], ["--listen"]),
        (["recv", "--listen", "127.0.0.1:0"], ["--output"]),
        (["recv", "--listen", "nohost", "--output", "x"], ["traffic: tcp:nohost", "PORT"]),
        (
            ["recv", "--listen", "127.0.0.1:0", "--output", "folder"],
            ["output: 'folder'", "writable file"],
        ),
        (
            ["recv", "--listen", "127.0.0.1:0", "--output", "nosuch/file"],
            ["output: 'nosuch/file'", "writable file"],
        ),
        (
            ["recv", "--listen", "127.0.0.1:0", "--output", "-", "--json", "-"],
            ["json: '-'", "--output"],
        ),
        (["doctor", "--json", "nosuch/file"], ["json: 'nosuch/file'", "file in a folder"]),
    ],
)
def test_wrong_command_is_answered_in_one_line(
    call: Call, folder_of_mistakes: Path, arguments: list[str], words: list[str]
) -> None:
    check_wrong_use(call(*arguments), words)
    assert not (folder_of_mistakes / "runs").exists()


def test_area_that_shared_memory_cannot_hold_is_refused(call: Call) -> None:
    """Of as few queues as will do: their consumers begin to load before their memory is made."""
    large = ("--kernel", "7.3", "--rx-buf-len", "32768", "--area-buffers", str(2**20))
    ended = call("stress", *large, "--queues", "8", "--packets", "10")
    check_wrong_use(ended, ["area_buffers: 1048576", "bytes of shared memory", "available"])


def test_port_in_use_is_refused(call: Call, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        ended = call("stress", "--traffic", f"tcp:127.0.0.1:{port}")
        check_wrong_use(ended, [f"127.0.0.1:{port}", "in use", "free port"])
        ended = call("recv", "--listen", f"127.0.0.1:{port}", "--output", "received")
        check_wrong_use(ended, [f"127.0.0.1:{port}", "in use", "free port"])
    assert list(tmp_path.iterdir()) == []


def test_finding_ends_with_one(script: Any) -> None:
    """A consumer that raises: the report is there, and says so."""
    (script.folder / "mine.py").write_text("def main(consumer):\n    raise ValueError('mine')\n")
    ended = script.run("stress", "--duration", 60, "--consumer", "mine:main", "--json", "r.json")
    assert ended.code == 1
    assert ended.stderr == ""
    assert "FAIL: consumer of queue 0: ValueError: mine; traceback in runs/" in ended.stdout
    assert re.search(
        r"^same again: --seed \d+ --duration 60 --consumer mine:main$", ended.stdout, re.MULTILINE
    )
    assert json.loads((script.folder / "r.json").read_text())["ok"] is False


def test_reader_that_closes_the_pipe_gets_no_traceback(script: Any) -> None:
    running = script.start("stress", "--duration", 60)
    running.expect("processes:")
    running.process.stdout.close()
    running.process.stdout = None
    running.process.wait(60)
    assert running.process.returncode == 2
    assert running.stderr() == ""


# ---- Signals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signum", "word"),
    [
        (signal.SIGINT, "interrupted"),
        (signal.SIGTERM, "terminated"),
        (signal.SIGHUP, "hung up"),
    ],
)
def test_signal_ends_a_run_with_the_verdict_so_far(
    script: Any, signum: signal.Signals, word: str
) -> None:
    running = script.start("stress", "--duration", 60, "--faults", "bad-pad:0.01", "--json", "r")
    running.expect_traffic()
    running.process.send_signal(signum)
    ended = running.finish()
    assert ended.code == 0
    assert f"ended: {word} after" in ended.stdout
    assert ended.stdout.splitlines()[-1].startswith("PASS")
    report = json.loads((script.folder / "r").read_text())
    assert report["ended"] == word
    assert report["ok"] is True
    assert report["packets"]["delivered"] > 0


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_while_the_run_starts_leaves_nothing(script: Any, signum: signal.Signals) -> None:
    running = script.start("stress", "--duration", 60, "--queues", 8)
    running.expect("seed ")
    running.process.send_signal(signum)
    ended = running.finish()
    # It may have been in time for a run, but not for much of one.
    assert ended.code in (0, 2)
    assert "interrupted" in ended.stderr or "ended: " in ended.stdout
    assert script.leftovers() == []


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize(("module", "word"), [("colorsys", "--version"), ("secrets", "stress")])
def test_signal_while_python_imports_is_told_in_one_line(
    script: Any, name: str, module: str, word: str
) -> None:
    """A module that is imported late sends the signal itself: it always comes at that moment."""
    (script.folder / f"{module}.py").write_text(
        "import os, signal, time\n"
        "os.kill(os.getpid(), getattr(signal, os.environ['SIGNAL']))\n"
        "time.sleep(60)\n"
    )
    environment = worker_environment()
    environment["PYTHONPATH"] = f"{script.folder}:{environment.get('PYTHONPATH', '')}"
    ended = subprocess.run(
        [sys.executable, "-c", "from emu.start import main; main()", word],
        env={**environment, "SIGNAL": name},
        cwd=script.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "zcrx-emu: error: interrupted before there was a verdict\n"


def test_run_that_must_survive_a_hangup_does(script: Any) -> None:
    """``nohup`` makes the signal be ignored, and so it stays."""
    running = script.start("stress", "--packets", 200_000, "--duration", 60, ignored=signal.SIGHUP)
    running.expect("processes:")
    running.process.send_signal(signal.SIGHUP)
    ended = running.finish()
    assert ended.code == 0
    assert "ended: packets" in ended.stdout


def test_second_interrupt_ends_at_once(script: Any) -> None:
    """A stopped NIC does not quiesce; who presses Ctrl-C again does not want to wait for it."""
    running = script.start("stress", "--duration", 60)
    running.expect_traffic()
    script.stop(running.pids()["nic"])
    running.process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        running.process.wait(1)
    running.process.send_signal(signal.SIGINT)
    ended = running.finish()
    assert ended.code == 2
    assert "interrupted before there was a verdict" in ended.stderr
    assert script.leftovers() == []


def test_interrupt_of_a_waiting_receiver_ends_it(script: Any) -> None:
    running = script.start("recv", "--listen", "127.0.0.1:0", "--output", "received")
    running.expect("listening on")
    running.process.send_signal(signal.SIGINT)
    ended = running.finish()
    assert ended.code == 1  # nobody knows what the sender would have sent
    assert "ended: interrupted" in ended.stdout
    assert "what the sender had beyond offset 0 is missing" in ended.stdout
    assert (script.folder / "received").read_bytes() == b""


def test_original_pace_may_be_interrupted_between_packets(script: Any) -> None:
    """Two packets an hour apart: nothing waits for the second."""
    frame = (
        bytes(12)
        + b"\x08\x00"
        + bytes.fromhex("4500 0021 0000 0000 4011 0000 0a000001 0a000002  03e8 0050 000d 0000")
        + b"hello"
    )
    header = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    records = [struct.pack("<IIII", at, 0, len(frame), len(frame)) + frame for at in (0, 3600)]
    (script.folder / "two.pcap").write_bytes(header + b"".join(records))
    running = script.start(
        "stress", "--traffic", "pcap:two.pcap", "--pace", "original", "--laps", 1
    )
    running.expect(r"^ +\d+\.\d s  ")
    running.process.send_signal(signal.SIGINT)
    ended = running.finish()
    assert ended.code == 0
    assert "delivered 1 packets" in ended.stdout
