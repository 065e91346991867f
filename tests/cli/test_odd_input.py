"""Odd values, names and files, in every command: one line that is not endless, exit code 2."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emu.config import RunConfig
from emu.errors import ConfigError
from emu.runtime.session import run

Call = Callable[..., Any]
LONG = "a" * 300
DIGITS = "9" * 5000


def refused(ended: Any) -> str:
    """The one line of a wrong use, which repeats no value at length."""
    print(ended.code, ended.stderr[:1000])
    assert ended.code == 2
    assert len(ended.stderr.splitlines()) == 1
    assert all(len(word) <= 200 for word in ended.stderr.split())
    assert "9" * 90 not in ended.stderr
    assert "a" * 90 not in ended.stderr
    return str(ended.stderr)


NUMBERS = {
    "stress": (
        *("packets", "laps", "seed", "queues", "area-buffers", "rq-entries", "cq-entries"),
        *("grant-entries", "ptr-ring-size", "initial-index", "wait-ms", "copy-every", "hold"),
        "duration",
    ),
    "recv --listen nohost --output x": ("seed", "area-buffers", "rq-entries"),
    "fuzz": ("time", "jobs", "seed", "stop-at"),
    "race --scenario refill-vs-scrub": ("seed", "time", "schedules", "depth", "bound"),
    "race --live --scenario refill-vs-scrub": ("seed", "time"),
    "faults check smoke": ("queues",),
}


@pytest.mark.parametrize("value", [DIGITS, f"-{DIGITS}", "nan", "-inf"])
@pytest.mark.parametrize(
    ("command", "option"),
    [(command, option) for command, options in NUMBERS.items() for option in options],
)
def test_absurd_number_is_refused(call: Call, command: str, option: str, value: str) -> None:
    refused(call(*command.split(), f"--{option}", value))


PATHS = {
    "recv --listen 127.0.0.1:0 --output x": ("json", "run-dir", "faults"),
    "recv --listen 127.0.0.1:0": ("output",),
    "stress": ("json", "run-dir", "provider", "faults", "perfetto"),
    "replay nothing": ("json", "perfetto", "run-dir"),
    "fuzz": ("corpus", "findings", "provider", "minimize", "emit-test", "cover", "json"),
    "race": ("scenario", "findings", "perfetto", "provider", "json"),
    "doctor": ("json",),
    "faults list": ("json",),
    "faults show bad-pad": ("json",),
    "faults check smoke": ("json",),
}


@pytest.mark.parametrize("name", [LONG, f"{'a/' * 3000}x", "/dev/null/x", "x\0y", "\udc28/\ud800"])
@pytest.mark.parametrize(
    ("command", "option"),
    [(command, option) for command, options in PATHS.items() for option in options],
)
def test_name_that_no_file_can_have_is_refused(
    call: Call, tmp_path: Path, command: str, option: str, name: str
) -> None:
    refused(call(*command.split(), f"--{option}", name))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", [LONG, f"pcap:{LONG}", f"synthetic:flows={DIGITS}", f"tcp:h:{DIGITS}"]
)
def test_odd_traffic_is_not_repeated_at_length(call: Call, name: str) -> None:
    refused(call("stress", "--traffic", name))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nested.json", "[" * 100_000),
        ("nested.json", '{"config": ' * 100_000),
        ("number.json", f'{{"config": {{"seed": {DIGITS}}}}}'),
        ("text.json", f'{{"config": {{"seed": "{DIGITS}"}}}}'),
        ("nan.json", '{"config": {"duration_s": NaN}}'),
        ("infinite.json", '{"config": {"duration_s": 1e400}}'),
        ("x.fuzz.json", '{"format": "zcrx-emu fuzz finding", "program": ' + "[" * 100_000),
        ("x.race.json", '{"format": "zcrx-emu race finding", "steps": ' + "[" * 100_000),
    ],
)
def test_file_that_is_nonsense_is_no_run(call: Call, tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    refused(call("replay", name))
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 100_000,
        "a = " + "{a=" * 100_000,
        "[" * 100_000,
        "a." * 100_000 + "a = 1",
        f'[[rule]]\nfault = "bad-pad"\nevery = {DIGITS}\n',
        '[[rule]]\nfault = "bad-pad"\nprobability = nan\n',
        '[[rule]]\nfault = "bad-pad"\nprobability = -inf\n',
    ],
)
@pytest.mark.parametrize("command", ["faults check", "stress --faults"])
def test_plan_that_is_nonsense_is_refused(
    call: Call, tmp_path: Path, command: str, text: str
) -> None:
    (tmp_path / "plan.toml").write_text(text)
    refused(call(*command.split(), "plan.toml"))


def limit_new_ones(monkeypatch: pytest.MonkeyPatch, soft: int, hard: int) -> None:
    """Let processes that are started have so few descriptors; these tests need more."""
    start = subprocess.Popen

    def limited(*arguments: Any, **options: Any) -> Any:
        def lower() -> None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

        # Not by way of a shell, which starts scripts in folders with spaces: it needs some, too.
        (words,) = arguments
        return start([sys.executable, *words], **{**options, "preexec_fn": lower})

    monkeypatch.setattr(subprocess, "Popen", limited)


@pytest.mark.parametrize("limit", [8, 16, 24, 32])
@pytest.mark.parametrize("command", ["stress --packets 100", "race --schedules 1", "fuzz --fast"])
def test_too_few_descriptors_are_told_in_one_line(
    script: Any, monkeypatch: pytest.MonkeyPatch, command: str, limit: int
) -> None:
    limit_new_ones(monkeypatch, limit, limit)
    ended = script.run(*command.split())
    assert ended.code == 2
    assert f"the limit is {limit}" in refused(ended)
    assert "ulimit -n" in ended.stderr
    assert list(script.folder.glob("runs/*")) == []


def test_soft_limit_of_descriptors_is_raised(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit_new_ones(monkeypatch, 24, hard)
    assert script.run("stress", "--packets", "100", "--queues", "4").code == 0


def test_full_disk_takes_no_verdict_along(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file of the folder is refused, as a full file system does it: while it is written."""

    def full(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    ended = call("stress", "--packets", "100", "--run-dir", "run")
    assert ended.code == 2
    assert "PASS" in ended.stdout
    assert refused(ended).endswith("run/run.json: cannot be written (No space left on device)\n")
    assert list(tmp_path.iterdir()) == []
    report = run(RunConfig(seed=1, packets=100), run_dir=tmp_path)
    assert report.ok
    assert report.unwritten is not None


def test_finding_on_a_full_disk_stays_one(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "write_bytes", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    (tmp_path / "mine.py").write_text("def main(consumer):\n    raise ValueError('mine')\n")
    ended = call("stress", "--duration", "60", "--consumer", "mine:main", "--run-dir", "run")
    assert ended.code == 1
    assert "FAIL" in ended.stdout
    assert "cannot be written (full)" in ended.stderr


def test_value_in_a_message_is_cut() -> None:
    assert "…" in str(ConfigError.of("seed", DIGITS, "0 or more"))
    assert len(str(ConfigError.of("seed", DIGITS, "0 or more"))) < 140
