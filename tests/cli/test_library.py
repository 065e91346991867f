"""libzcrx_emu for other people's programs: its headers, ``config``, the example of the docs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
LIB = ROOT / "cext" / "lib"
EXAMPLE = ROOT / "docs" / "examples" / "zcrx_receiver.c"
STRICT = ("-Wall", "-Wextra", "-Werror", "-pedantic")
LINUX = "#include <linux/io_uring.h>\n"
OURS = '#include "zcrx_emu_uapi.h"\n#include "zcrx_emu.h"\n#include "zcrx_emu_liburing.h"\n'
USE = "int main(void) { struct io_uring_zcrx_ifq_reg reg; return sizeof(reg) == 96 ? 0 : 1; }\n"


@pytest.mark.parametrize("headers", [OURS, LINUX + OURS], ids=["alone", "beside Linux's"])
@pytest.mark.parametrize(
    ("compiler", "standard"),
    [("gcc", "c11"), ("clang", "c11"), ("g++", "c++17"), ("clang++", "c++17")],
)
def test_headers_are_clean(compiler: str, standard: str, headers: str) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    language = "c++" if standard.startswith("c++") else "c"
    subprocess.run(
        [compiler, f"-std={standard}", *STRICT, f"-I{LIB}", "-fsyntax-only", f"-x{language}", "-"],
        input=headers + USE,
        text=True,
        check=True,
    )


@pytest.fixture
def build(
    call: Callable[..., Any], tmp_path: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Build the example as ``config`` says, and run it."""

    def build_it(*flags: str, link: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        answer = call("config", "--cflags", "--libs", *link)
        assert (answer.code, answer.stderr) == (0, "")
        program = tmp_path / "receiver"
        command = ["cc", "-std=c11", *STRICT, *flags, EXAMPLE, *answer.stdout.split()]
        subprocess.run([*command, "-o", program], check=True)
        return subprocess.run([program], capture_output=True, text=True, check=False)

    return build_it


def _block_of(first: str) -> str:
    """The indented lines of the docs from this one on."""
    lines = (ROOT / "docs" / "library.md").read_text().splitlines()
    begin = lines.index("    " + first)
    end = next(i for i in range(begin, len(lines)) if not lines[i].startswith("    "))
    return "".join(line[4:] + "\n" for line in lines[begin:end])


@pytest.mark.parametrize("link", [(), ("--static",)])
def test_right_example_is_not_accused(build: Callable[..., Any], link: tuple[str, ...]) -> None:
    ended = build(link=link)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == _block_of("72000 bytes, 0 found")


def test_each_mistake_of_the_broken_one_is_told_as_in_the_docs(build: Callable[..., Any]) -> None:
    ended = build("-DBROKEN")
    assert (ended.returncode, ended.stderr) == (1, "")
    assert ended.stdout == _block_of(ended.stdout.splitlines()[0])


def test_config_wants_to_know_what(call: Callable[..., Any]) -> None:
    ended = call("config")
    assert (ended.code, ended.stdout) == (2, "")
    assert "--cflags, --libs" in ended.stderr


@pytest.mark.long
def test_library_alone_is_installed_with_what_pkg_config_says(tmp_path: Path) -> None:
    prefix = tmp_path / "usr"
    meson = Path(sys.executable).with_name("meson")
    if not meson.exists() or shutil.which("pkg-config") is None:
        pytest.skip("meson or pkg-config is not installed")
    options = ["-Dlibrary_only=true", "-Dlibdir=lib", f"--prefix={prefix}"]
    subprocess.run([meson, "setup", tmp_path / "build", ROOT, *options], check=True)
    subprocess.run([meson, "install", "-C", tmp_path / "build"], check=True)
    installed = {str(path.relative_to(prefix)) for path in prefix.rglob("*") if path.is_file()}
    assert {"include/zcrx_emu.h", "lib/libzcrx_emu.a", "lib/pkgconfig/zcrx_emu.pc"} <= installed
    assert not [name for name in installed if "python" in name]
    environment = {**os.environ, "PKG_CONFIG_PATH": str(prefix / "lib" / "pkgconfig")}
    program = tmp_path / "receiver"
    for asked, more in ([], [f"-Wl,-rpath,{prefix / 'lib'}"]), (["--static"], ["-static"]):
        words = subprocess.run(
            ["pkg-config", "--cflags", "--libs", *asked, "zcrx_emu"],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        subprocess.run(["cc", EXAMPLE, *words, *more, "-o", program], check=True)
        subprocess.run([program], check=True)
    exported = subprocess.run(
        ["nm", "-D", "--defined-only", "--format=posix", prefix / "lib" / "libzcrx_emu.so"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    names = {line.split()[0].partition("@")[0] for line in exported}
    assert {name for name in names if not name.startswith("zcrx_emu_")} <= {"ZCRX_EMU_0"}
