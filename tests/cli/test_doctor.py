"""What the doctor says of a machine, and of one that falls short."""

from __future__ import annotations

import os
import platform
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from emu.cli import doctor
from emu.cli.doctor import Check, examine
from emu.runtime import segment


def check(name: str) -> Check:
    (found,) = [check for check in examine() if check.name == name]
    return found


def test_machine_that_runs_these_tests_can_make_objects() -> None:
    checks = examine()
    assert [one.name for one in checks] == [
        "python",
        "kernel",
        "cores",
        "shared memory",
        "objects",
        "open files",
        "CRC32C",
        "cc",
        "clang",
    ]
    assert check("objects").ok
    assert check("python").ok


def test_what_falls_short_comes_with_advice() -> None:
    for one in examine():
        assert one.found
        assert one.ok or one.advice
        assert "\n" not in one.found + one.advice


def test_single_core_falls_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {3})
    assert check("cores").found.startswith("1 usable of ")
    assert not check("cores").ok
    assert "two cores" in check("cores").advice


@pytest.mark.parametrize(
    ("release", "ok"),
    [
        ("5.2.21", False),
        ("4.19.0-27-amd64", False),
        ("5.3.0", True),
        ("6.1.0-28-amd64", True),
        ("6.18.44-custom", True),
        ("5.15.167.4-microsoft-standard-WSL2", True),
        ("6.10+", True),
        ("7.0-rc3", True),
    ],
)
def test_kernel_is_judged_by_its_release(
    monkeypatch: pytest.MonkeyPatch, release: str, ok: bool
) -> None:
    monkeypatch.setattr(platform, "release", lambda: release)
    assert check("kernel").found == release
    assert check("kernel").ok is ok


def test_little_shared_memory_falls_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "shm_available", lambda: 1 << 20)
    assert not check("shared memory").ok
    assert check("shared memory").found.startswith("1 MiB available")
    assert "mount" in check("shared memory").advice


def test_missing_shared_memory_falls_short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(segment, "SHM_DIR", tmp_path / "nosuch")
    assert not check("shared memory").ok
    assert "mount" in check("shared memory").advice


def test_objects_that_cannot_be_made_fall_short(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(size: int) -> segment.Segment:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(doctor, "create_segment", refuse)
    assert not check("objects").ok
    assert "Permission denied" in check("objects").found


def test_few_descriptors_fall_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (256, 4096))
    assert not check("open files").ok
    assert "ulimit -n" in check("open files").advice


def test_portable_checksum_falls_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "crc32c_kind", lambda: "portable")
    assert not check("CRC32C").ok
    assert "--verify touch" in check("CRC32C").advice


def test_missing_compiler_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    for name in ("cc", "clang"):
        assert check(name).ok
        assert "apt install" in check(name).advice


def test_as_many_queues_run_as_there_is_said_to_be_room_for(tmp_path: Path) -> None:
    """In 64 MiB, which is what a container has that does not ask for more."""

    def in_a_container(*words: str) -> subprocess.CompletedProcess[str]:
        mount = 'mount -t tmpfs -o size=64m tmpfs /dev/shm && exec "$0" -m emu "$@"'
        return subprocess.run(
            ["unshare", "--mount", "sh", "-c", mount, sys.executable, *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    examined = in_a_container("doctor", "--json", "-")
    if "unshare" in examined.stderr or "mount:" in examined.stderr:
        pytest.skip("a tmpfs cannot be mounted here")
    (found,) = re.findall(r"64 MiB available in /dev/shm, room for (\d+) queues", examined.stdout)
    fits = in_a_container("stress", "--packets", "1000", "--queues", found)
    assert fits.returncode == 0, fits.stderr
    more = in_a_container("stress", "--packets", "1000", "--queues", str(int(found) + 1))
    assert more.returncode == 2
    assert more.stderr.count("\n") == 1
    assert "--shm-size=1g" in more.stderr
