"""The package as it is shipped: all of it in one wheel, and no compiler where none is needed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]


def _build(folder: Path) -> Path:
    """Build the wheel of this tree, as for a release."""
    folder.mkdir()
    words = ["-m", "pip", "wheel", "-q", "--no-build-isolation", "--no-deps"]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    subprocess.run([sys.executable, *words, "-w", folder, ROOT], env=environment, check=True)
    (wheel,) = folder.iterdir()
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel."""
    return _build(tmp_path_factory.mktemp("wheel") / "dist")


@pytest.fixture(scope="module")
def command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``python`` of an environment with the wheel and what it needs, and nothing of this tree."""
    folder = tmp_path_factory.mktemp("installed") / "env"
    venv.create(folder, with_pip=False, symlinks=True)
    packages = folder / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    (packages / "emu" / "zcrx-gateway").chmod(0o755)
    # Its dependencies: the folder alone, without the hooks of an editable install that are in it.
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "python"


def _call(
    command: Path, *words: str, cwd: Path, has_compiler: bool = False
) -> subprocess.CompletedProcess[str]:
    path = os.environ["PATH"] if has_compiler else str(cwd / "nothing")
    environment = {"PATH": path, "HOME": str(cwd), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [command, "-P", "-m", "emu", *words],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_wheel_is_for_all_pythons_and_has_sources_only(wheel: Path) -> None:
    assert f"-cp311-abi3-linux_{os.uname().machine}" in wheel.name
    names = zipfile.ZipFile(wheel).namelist()
    assert not [name for name in names if "__pycache__" in name or name.endswith((".o", ".pyc"))]
    assert {"emu/py.typed", "emu/examples/plain_provider.c", "emu/cext/zcrx_provider.h"} <= {*names}


def test_same_sources_make_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    again = _build(tmp_path / "again")
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (wheel, again)]
    assert digests[0] == digests[1]


@pytest.mark.parametrize(
    "words",
    [
        ["--version"],
        ["doctor"],
        ["faults", "list"],
        ["config", "--cflags", "--libs"],
        ["examples", "mine"],
        ["stress", "--packets", "5000", "--faults", "smoke", "--json", "run.json"],
    ],
    ids=lambda words: words[0],
)
def test_what_needs_no_compiler_needs_none(command: Path, tmp_path: Path, words: list[str]) -> None:
    ended = _call(command, *words, cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    if words[0] == "stress":
        assert json.loads((tmp_path / "run.json").read_text())["ok"]


@pytest.mark.parametrize(
    "words", [["fuzz", "--time", "1"], ["race"], ["check", "x.c"]], ids=lambda words: words[0]
)
def test_what_needs_one_says_so(command: Path, tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "x.c").write_text("int x;\n")
    ended = _call(command, *words, cwd=tmp_path)
    assert ended.returncode == 2
    assert "compiler" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_race_is_built_from_the_wheel(command: Path, tmp_path: Path) -> None:
    words = ["race", "--scenario", "refill-vs-scrub", "--time", "20"]
    ended = _call(command, *words, cwd=tmp_path, has_compiler=True)
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
