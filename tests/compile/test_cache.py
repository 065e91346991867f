"""The cache of what was compiled: what is kept, what is pruned, and what if there is none."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from emu.compile import cache
from emu.host import scratch

DAY_S = 86400.0
Put = Callable[..., Path]

#: A process that uses a file until it is told to end.
USER = """
import sys
from pathlib import Path
from emu.compile import cache
cache.in_cache(sys.argv[1], lambda part: part.write_text("x"))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(cache, "_held", {})
    return tmp_path / "zcrx-emu"


@pytest.fixture
def put(folder: Path) -> Put:
    """Make a file of some size that was used last some time ago."""

    def make(name: str, *, age_s: float, size: int = 10) -> Path:
        folder.mkdir(exist_ok=True)
        path = folder / name
        with path.open("wb") as file:
            file.truncate(size)
        used = time.time() - age_s
        os.utime(path, (used, used))
        return path

    return make


def test_file_is_made_once_and_found_again(folder: Path) -> None:
    made = []

    def make(part: Path) -> None:
        made.append(part)
        part.write_text("program")

    for _ in range(2):
        assert cache.in_cache("a.harness", make).read_text() == "program"
    assert len(made) == 1
    assert [path.name for path in folder.iterdir()] == ["a.harness"]


def test_failed_build_leaves_nothing(folder: Path) -> None:
    def make(part: Path) -> None:
        part.write_text("half")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cache.in_cache("a.harness", make)
    assert [*folder.iterdir()] == []


def test_what_nobody_used_for_long_goes(put: Put) -> None:
    old, new = put("old.so", age_s=15 * DAY_S), put("new.so", age_s=13 * DAY_S)
    part = put(".c.harness.x8d2", age_s=2 * 3600)
    at_work = put(".d.harness.x8d2", age_s=60)
    cache.prune()
    assert not old.exists()
    assert not part.exists()
    assert new.exists()
    assert at_work.exists()


def test_longest_unused_goes_when_there_is_too_much(put: Put) -> None:
    files = [put(f"{n}.harness", age_s=3600 * n, size=60 << 20) for n in range(1, 6)]
    fresh = [put("fresh.o", age_s=60, size=60 << 20), put("fresh.so", age_s=60, size=60 << 20)]
    cache.prune()
    assert [path.exists() for path in files] == [True, True, False, False, False]
    assert all(path.exists() for path in fresh)


def test_use_keeps_a_file_young(put: Put) -> None:
    path = put("old.harness", age_s=15 * DAY_S)
    cache.in_cache("old.harness", lambda part: None)
    assert time.time() - path.stat().st_mtime < DAY_S


def test_what_a_live_process_uses_is_not_pruned(put: Put) -> None:
    """As old and as large as can be: it stays for as long as the process lives, and goes then."""
    path = put("used.harness", age_s=1)
    user = subprocess.Popen(
        [sys.executable, "-c", USER, "used.harness"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert user.stdout is not None
        assert user.stdout.readline() == "held\n"
        put("used.harness", age_s=90 * DAY_S, size=cache.KEPT_BYTES + 1)
        cache.prune()
        assert path.exists()
    finally:
        user.communicate()
    cache.prune()
    assert not path.exists()


def test_relative_cache_home_is_ignored(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache.cache_folder() == tmp_path / "home" / ".cache" / "zcrx-emu"


def test_folder_of_one_that_was_killed_goes_with_the_next(tmp_path: Path) -> None:
    script = "import os\nfrom emu.compile import cache\n"
    script += "print(cache.cache_folder(), flush=True)\n"
    environment = {**os.environ, "XDG_CACHE_HOME": "/proc/nothing", "TMPDIR": str(tmp_path)}
    killed = subprocess.run(
        [sys.executable, "-c", script + "os.kill(os.getpid(), 9)"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -9
    assert Path(killed.stdout.strip()).is_dir()
    subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=True)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("home", ["/dev/null", "/proc/nothing", "file"])
def test_cache_that_cannot_be_made_is_a_folder_for_this_time(
    tmp_path: Path, home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    script = "from emu.compile import cache\nwith cache.watched(print): print(cache.cache_folder())"
    said = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / home), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert "cannot be written, so what is compiled is not kept" in said[0]
    assert Path(said[1]).parent == tmp_path
    assert scratch._OURS.fullmatch(Path(said[1]).name)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
