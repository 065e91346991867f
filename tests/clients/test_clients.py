"""The programs of docs/examples/clients: the right ones are never accused, each mistake is found.

What a mistake must be found by stands in the table of docs/clients.md, a row for each.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from emu.contract import LEVELS
from emu.library.files import header_folder, library_folder

ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / "docs" / "examples" / "clients"
#: Set where nothing may be left out: what is not installed fails its tests.
NOTHING_LEFT_OUT = "ZCRX_EMU_NOTHING_LEFT_OUT"
STRICT = ("-Wall", "-Wextra", "-Werror", "-pedantic")
_SAID = re.compile(r"^(?:seed \d+: )?([a-z-]+): ", re.MULTILINE)
_ROW = re.compile(r"^\| (\w+) \| `([\w-]+)`[^|]*\| ([^|]*) \| ([^|]*) \|$", re.MULTILINE)


class Row(NamedTuple):
    """A mistake, by the documentation."""

    client: str
    mistake: str
    fake: str  #: what the test on the fake says of it
    found: frozenset[str]  #: what the checker says of it, at least


ROWS = [
    Row(client, mistake, fake, frozenset(re.findall(r"`([A-Za-z-]+)`", found)))
    for client, mistake, fake, found in _ROW.findall((ROOT / "docs" / "clients.md").read_text())
]


def need(*tools: str) -> None:
    """Skip the test for want of a tool, or fail it where nothing may be left out."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        say = pytest.fail if os.environ.get(NOTHING_LEFT_OUT) else pytest.skip
        say(f"not installed: {', '.join(missing)}")


def run_any(
    *command: str | Path, cwd: Path = ROOT, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    environment = {**os.environ, **variables}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def run(
    *command: str | Path, code: int = 0, cwd: Path = ROOT, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, which must have this code."""
    ended = run_any(*command, cwd=cwd, **variables)
    assert ended.returncode == code, f"{command}\n{ended.stdout[-4000:]}\n{ended.stderr[-4000:]}"
    return ended


CFLAGS = [f"-I{header_folder()}"]
LIBS = [f"-L{library_folder()}", f"-Wl,-rpath,{library_folder()}", "-lzcrx_emu", "-pthread"]


def build_c(folder: Path, mistake: str, test: str = "emu_test.c") -> Path:
    need("cc")
    sources = [CLIENTS / "c" / test, CLIENTS / "c" / "receiver.c"]
    define = f"-DMISTAKE={mistake or 'NONE'}"
    program = folder / test.removesuffix(".c")
    run("cc", "-std=gnu11", "-O1", *STRICT, define, *CFLAGS, *sources, *LIBS, "-o", program)
    return program


def build_cpp(folder: Path, mistake: str) -> Path:
    need("c++")
    sources = sorted((CLIENTS / "cpp").glob("*.cpp"))
    define = f"-DMISTAKE={mistake or 'none'}"
    program = folder / "pool"
    run("c++", "-std=c++17", "-O1", *STRICT, define, *CFLAGS, *sources, *LIBS, "-o", program)
    return program


def build_rust(folder: Path, mistake: str) -> Path:
    need("cargo", "rustc", "bindgen")
    manifest = CLIENTS / "rust" / "Cargo.toml"
    run(
        *("cargo", "build", "--offline", "--locked", "--manifest-path", manifest),
        *("--target-dir", folder, "--features", mistake),
        PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    )
    return folder / "debug" / "zcrx-client"


def build_go(folder: Path, mistake: str) -> Path:
    need("go", "gcc")
    program = folder / "client"
    run(
        *("go", "build", "-ldflags", f"-X zcrx-client/pool.mistake={mistake}", "-o", program),
        cwd=CLIENTS / "go",
        CGO_CFLAGS=" ".join(CFLAGS),
        CGO_LDFLAGS=" ".join(LIBS),
    )
    return program


BUILD: dict[str, Callable[[Path, str], Path]] = {
    "c": build_c,
    "cpp": build_cpp,
    "rust": build_rust,
    "go": build_go,
}
#: Cases of a client, or bytes: enough to meet each of its mistakes, in a moment.
AMOUNT = {"c": 50, "cpp": 200_000, "rust": 50, "go": 50}
LONG_AMOUNT = {"c": 3000, "cpp": 3_000_000, "rust": 200, "go": 500}
#: Of a client with threads it is chance whether a mistake shows.
SEEDS_MAX = 10


def run_pytest(*arguments: str, code: int, mistake: str = "") -> str:
    """The tests of the Python client, in a session of their own."""
    return run(
        *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:hypothesispytest"),
        *("-c", os.devnull, "--rootdir", ".", "-W", "ignore:Module already imported", *arguments),
        code=code,
        cwd=CLIENTS / "python",
        MISTAKE=mistake,
        PYTHONDONTWRITEBYTECODE="1",
    ).stdout


# ---- the right ones -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "client",
    [
        # Their compilers take longer than all the rest.
        pytest.param(name, marks=[pytest.mark.long] if name in ("rust", "go") else [])
        for name in BUILD
    ],
)
def test_right_client_is_not_accused_at_any_level(client: str, tmp_path: Path) -> None:
    program = BUILD[client](tmp_path, "")
    for level in LEVELS:
        ended = run(program, str(AMOUNT[client]), level)
        assert ended.stdout.endswith(" 0 found\n")
        assert _SAID.findall(ended.stdout) == []
    ended = run(program, "1", "9.9", code=2)
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.startswith("level")


@pytest.mark.long
@pytest.mark.parametrize("client", BUILD)
def test_right_client_is_not_accused_in_a_long_run(client: str, tmp_path: Path) -> None:
    program = BUILD[client](tmp_path, "")
    for level in LEVELS:
        run(program, str(LONG_AMOUNT[client]), level, "1000000")


def test_right_client_in_python_is_not_accused() -> None:
    run_pytest(code=0)
    run_pytest("--zcrx-seed", "77", code=0)


# ---- their twins --------------------------------------------------------------------------------


def rows_of(*clients: str) -> list[Row]:
    """Those that the checker finds; others are a sanitizer's."""
    return [row for row in ROWS if row.client in clients and row.found]


def name_of(row: Row) -> str:
    return f"{row.client}-{row.mistake}"


@pytest.mark.parametrize("row", rows_of("c"), ids=name_of)
def test_mistake_in_c_is_found(row: Row, tmp_path: Path) -> None:
    program = build_c(tmp_path, row.mistake)
    if "EINVAL" in row.found:
        ended = run(program, "1", "7.3", code=2)
        assert ended.stderr.startswith("Invalid argument: ring flags")
    else:
        ended = run(program, str(AMOUNT["c"]), "7.3", code=1)
        assert row.found <= set(_SAID.findall(ended.stdout))
    fake = build_c(tmp_path, row.mistake, "fake_test.c")
    run(fake, code=0 if row.fake == "passes" else 1)


@pytest.mark.long
@pytest.mark.parametrize("row", rows_of("rust", "go"), ids=name_of)
def test_mistake_is_found(row: Row, tmp_path: Path) -> None:
    program = BUILD[row.client](tmp_path, row.mistake)
    ended = run(program, str(AMOUNT[row.client]), "7.3", code=1)
    assert row.found <= set(_SAID.findall(ended.stdout))


@pytest.mark.long
@pytest.mark.parametrize("row", rows_of("cpp"), ids=name_of)
def test_mistake_with_threads_is_found(row: Row, tmp_path: Path) -> None:
    program = build_cpp(tmp_path, row.mistake)
    found: set[str] = set()
    for seed in range(SEEDS_MAX):
        said = run_any(program, str(AMOUNT["cpp"]), "7.3", str(seed)).stdout
        found |= set(_SAID.findall(said))
        if row.found <= found:
            return
    pytest.fail(f"in {SEEDS_MAX} runs only {found} was found")


@pytest.mark.long
@pytest.mark.parametrize("row", rows_of("python"), ids=name_of)
def test_mistake_in_python_is_found(row: Row) -> None:
    said = run_pytest("test_pool.py", code=1, mistake=row.mistake)
    assert row.found <= set(re.findall(r"^([a-z-]+): queue \d+: ", said, re.MULTILINE))
    run_pytest("test_fake.py", code=0 if row.fake == "passes" else 1, mistake=row.mistake)


# ---- what they say of themselves ----------------------------------------------------------------


def test_documentation_has_a_row_for_each_mistake() -> None:
    planted = {
        "c": re.findall(r"^\t([A-Z_]+), /\*", _text("c/receiver.c"), re.MULTILINE),
        "cpp": re.findall(r"^  ([a-z_]+),  +//", _text("cpp/pool.hpp"), re.MULTILINE),
        "rust": re.findall(r"^([a-z-]+) = \[\]", _text("rust/Cargo.toml"), re.MULTILINE),
        "go": re.findall(r'^\t\w+ += "([a-z-]+)"', _text("go/pool/pool.go"), re.MULTILINE),
        "python": re.findall(r'MISTAKE [!=]= "(\w+)"', _text("python/pool.py")),
    }
    assert {(row.client, row.mistake) for row in ROWS} == {
        (client, name) for client, names in planted.items() for name in names
    }


def _text(path: str) -> str:
    return (CLIENTS / path).read_text()


def test_go_is_formatted() -> None:
    need("gofmt", "go")
    assert run("gofmt", "-l", CLIENTS / "go").stdout == ""


def test_rust_is_formatted() -> None:
    if shutil.which("rustfmt") is None:
        pytest.skip("not installed: rustfmt")
    sources = [CLIENTS / "rust" / "build.rs", CLIENTS / "rust" / "src" / "main.rs"]
    run("rustfmt", "--check", "--edition", "2021", *sources)


def test_c_is_formatted() -> None:
    need("clang-format")
    sources = [path for name in ("c", "cpp") for path in sorted((CLIENTS / name).glob("*.*pp"))]
    run("clang-format", "--dry-run", "-Werror", *sources, *sorted((CLIENTS / "c").glob("*.[ch]")))
