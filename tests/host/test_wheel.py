"""The package as it is shipped: all of it in one wheel, and no compiler where none is needed."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from emu.cli.root import COMMANDS
from emu.compile.toolchain import any_compiler

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
#: What glibc 2.28 has under an older name: these moved into libc, or became functions.
_MOVED = re.compile(
    r"dl(open|sym|close|error)|pthread_\w+|[fl]?stat(at)?64|__libc_start_main|sem_\w+"
)

_MACHINES = {"x86_64": "X86-64", "aarch64": "AArch64"}


def _build(source: Path, folder: Path, *what: str, umask: int = 0o022, **more: str) -> Path:
    """Build a wheel, or the sources' archive, as for a release; the file."""
    own = [sys.executable, "-m", "build", "-x", "--no-isolation"]
    words: list[str | Path] = [*own, *what, "-o", folder, source]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000", **more}
    subprocess.run(words, env=environment, check=True, umask=umask, stdout=subprocess.DEVNULL)
    (built,) = folder.iterdir()
    return built


def _once(factory: pytest.TempPathFactory, what: str) -> Path:
    """Build the wheel or the archive of these sources, once for all workers of a session."""
    folder = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with (folder / f"{what}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        target = folder / what
        if not target.exists():
            _build(ROOT, folder / f"{what}.new", f"--{what}").parent.rename(target)
    (built,) = target.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel."""
    return _once(tmp_path_factory, "wheel")


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources' archive."""
    return _once(tmp_path_factory, "sdist")


@pytest.fixture(scope="module")
def arm_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel for arm64, where this is none: built elsewhere, so looked at and not tried."""
    if os.uname().machine == "aarch64":
        pytest.skip("the other wheel is for arm64 already")
    if shutil.which("aarch64-linux-gnu-gcc") is None:
        say = pytest.fail if os.environ.get("ZCRX_EMU_NOTHING_LEFT_OUT") else pytest.skip
        say("there is no compiler for arm64")
    file = ROOT / "tools" / "cross" / "aarch64-gcc.ini"
    cross = [f"-Csetup-args={word}" for word in (f"--cross-file={file}", "-Doptimization=1")]
    folder = tmp_path_factory.mktemp("arm") / "dist"
    # The module keeps to the limited API, which is the same on all 64-bit Linux: any headers do.
    return _build(ROOT, folder, "--wheel", *cross, _PYTHON_HOST_PLATFORM="linux-aarch64")


@pytest.fixture(params=["wheel", "arm_wheel"])
def each_wheel(request: pytest.FixtureRequest) -> Path:
    """One of the two."""
    made: Path = request.getfixturevalue(request.param)
    return made


@pytest.fixture(scope="module")
def command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``zcrx-emu`` of an environment with the wheel and what it needs, and nothing of this tree."""
    folder = tmp_path_factory.mktemp("installed") / "env"
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    words = ["--python", str(python), "install", "-q", "--no-index", "--no-deps", "--no-compile"]
    subprocess.run([sys.executable, "-m", "pip", *words, str(wheel)], check=True)
    packages = folder / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    # Its dependencies: the folder alone, without the hooks of an editable install that are in it.
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "zcrx-emu"


def _environment(cwd: Path, has_compiler: bool = False) -> dict[str, str]:
    path = os.environ["PATH"] if has_compiler else str(cwd / "nothing")
    return {"PATH": path, "HOME": str(cwd), "PYTHONDONTWRITEBYTECODE": "1"}


def _call(
    command: Path, *words: str, cwd: Path, has_compiler: bool = False
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [command, *words],
        cwd=cwd,
        env=_environment(cwd, has_compiler),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


# ---- what is in it --------------------------------------------------------------------------


def test_wheel_is_for_all_pythons_and_has_sources_only(wheel: Path) -> None:
    assert f"-cp311-abi3-linux_{os.uname().machine}" in wheel.name
    entries = zipfile.ZipFile(wheel).infolist()
    names = [entry.filename for entry in entries]
    assert not [name for name in names if "__pycache__" in name or name.endswith((".o", ".pyc"))]
    assert {"emu/py.typed", "emu/examples/plain_provider.c", "emu/cext/zcrx_provider.h"} <= {*names}
    assert {entry.external_attr >> 16 for entry in entries} == {0o100644, 0o100755}


def test_sdist_has_what_is_kept_and_nothing_else(sdist: Path) -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("these sources are no checkout")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    folders = {str(parent) for name in names for parent in Path(name).parents}
    assert names - folders == {*listed.stdout.splitlines(), "PKG-INFO"}


def test_sdist_makes_the_same_wheel_elsewhere_and_without_git(
    wheel: Path, sdist: Path, tmp_path: Path
) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (source,) = (tmp_path / "unpacked").iterdir()
    git = tmp_path / "bin" / "git"
    git.parent.mkdir()
    git.write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\nexit 127\n")
    git.chmod(0o755)
    path = f"{git.parent}:{os.environ['PATH']}"
    again = _build(source, tmp_path / "dist", "--wheel", umask=0o077, PATH=path, TZ="Asia/Kolkata")
    digests = [hashlib.sha256(each.read_bytes()).hexdigest() for each in (wheel, again)]
    assert digests[0] == digests[1]
    assert not (tmp_path / "asked").exists()


def _ask(tool: str, *words: str | Path) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", tool, *words], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_index_would_take_both(wheel: Path, sdist: Path) -> None:
    assert _ask("twine", "check", "--strict", wheel, sdist).count("PASSED") == 2


def test_module_keeps_to_the_limited_api(each_wheel: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    _ask("abi3audit", "--strict", "--report", "-o", report, each_wheel)
    (audited,) = json.loads(report.read_text())["specs"].values()
    modules = {each["name"]: each["result"] for each in audited["wheel"]}
    assert "_core.abi3.so" in modules
    for name, result in modules.items():
        assert (result["is_abi3"], result["non_abi3_symbols"]) == (True, []), name


def test_wheel_needs_libc_alone_and_no_newer_function(each_wheel: Path, tmp_path: Path) -> None:
    """What manylinux_2_28 promises, as far as it can be seen with a later C library."""
    shown = json.loads(_ask("auditwheel", "show", "--json", each_wheel))
    assert (shown["external_libs"], shown["unsupported_isa"]) == ({}, False)
    with zipfile.ZipFile(each_wheel) as archive:
        archive.extractall(tmp_path)
    programs = [*(tmp_path / "emu").glob("*.so"), tmp_path / "emu" / "zcrx-gateway"]
    assert len(programs) == 4
    machine = each_wheel.stem.partition("-linux_")[2]
    for program in programs:
        words = ["readelf", "--file-header", "--dyn-syms", "--wide", str(program)]
        listed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        assert re.search(r"Machine: +.*(X86-64|AArch64)", listed)[1] == _MACHINES[machine]  # type: ignore[index]
        wanted = re.findall(r"UND (\w+)@GLIBC_2\.(\d+)", listed)
        assert wanted
        assert not [name for name, of in wanted if int(of) > 28 and not _MOVED.fullmatch(name)]


# ---- each command, without a compiler ---------------------------------------------------------

#: Of each command that needs no compiler: a use. What a use needs, `place` puts there.
_USES = {
    "stress": ["--packets", "5000", "--faults", "smoke", "--json", "run.json"],
    "exec": ["./receiver", "100000"],
    "replay": ["run"],
    "report": ["run", "--output", "page.html"],
    "runs": ["."],
    "schema": [],
    "campaign": ["plan.toml"],
    "doctor": [],
    "config": ["--cflags", "--libs"],
    "examples": ["mine"],
    "completion": ["bash"],
    "man": ["pages"],
    "faults": ["check", "smoke"],
}
#: Of each that needs one: uses that say so.
_BUILDS: dict[str, list[list[str]]] = {
    "fuzz": [["--time", "1"]],
    "race": [[]],
    "check": [["x.c"]],
    "stress": [["--provider", "x.c"], ["--consumer", "x.c"]],
    "recv": [["--listen", "127.0.0.1:0", "--output", "got", "--provider", "x.c"]],
}


def test_each_command_is_tried() -> None:
    assert {*_USES, *_BUILDS} == {*COMMANDS}


@pytest.fixture(scope="module")
def run(command: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run."""
    cwd = tmp_path_factory.mktemp("earlier")
    ended = _call(command, "stress", "--packets", "2000", "--run-dir", "run", cwd=cwd)
    assert ended.returncode == 0, ended.stderr
    return cwd / "run"


@pytest.fixture
def place(tmp_path: Path, run: Path) -> Path:
    """A folder with a run, a program of zero-copy receive, and a C file that is neither."""
    shutil.copytree(run, tmp_path / "run")
    source = ROOT / "tests" / "exec" / "programs" / "receiver.c"
    words = [any_compiler().path, "-O1", "-pthread", "-o"]
    subprocess.run([*words, tmp_path / "receiver", source], check=True)
    (tmp_path / "x.c").write_text("int x;\n")
    job = 'name = "one"\ncommand = "stress"\noptions = { packets = 1000 }'
    (tmp_path / "plan.toml").write_text(f"[[job]]\n{job}\n")
    return tmp_path


@pytest.mark.parametrize("name", COMMANDS)
def test_help_needs_no_compiler(command: Path, tmp_path: Path, name: str) -> None:
    ended = _call(command, name, "--help", cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert f"zcrx-emu {name}" in ended.stdout


@pytest.mark.parametrize("name", _USES)
def test_what_needs_no_compiler_needs_none(command: Path, place: Path, name: str) -> None:
    ended = _call(command, name, *_USES[name], cwd=place)
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
    if name == "stress":
        assert json.loads((place / "run.json").read_text())["ok"]
    if name == "report":
        assert "</html>" in (place / "page.html").read_text()


def test_recv_needs_no_compiler(command: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
    words = [str(command), "recv", "--listen", f"127.0.0.1:{address[1]}", "--output", "got"]
    with subprocess.Popen(
        words, cwd=tmp_path, env=_environment(tmp_path), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "listening" in line:
                break
        sent = os.urandom(100_000)
        with socket.create_connection(address, timeout=30) as connection:
            connection.sendall(sent)
        rest = process.stdout.read()
    assert process.returncode == 0, rest
    assert (tmp_path / "got").read_bytes() == sent


@pytest.mark.parametrize(
    "words",
    [[name, *use] for name, uses in _BUILDS.items() for use in uses],
    ids=lambda words: "-".join(words[:2]),
)
def test_what_needs_one_says_so(command: Path, place: Path, words: list[str]) -> None:
    ended = _call(command, *words, cwd=place)
    assert ended.returncode == 2
    assert "install gcc or clang" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


def test_race_is_built_from_the_wheel(command: Path, tmp_path: Path) -> None:
    words = ["race", "--scenario", "refill-vs-scrub", "--time", "20"]
    ended = _call(command, *words, cwd=tmp_path, has_compiler=True)
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
