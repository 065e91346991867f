"""Shared by the fuzzer's tests: harnesses, providers with mistakes, and what is left behind."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emu.compile.ondemand import core_sources
from emu.compile.toolchain import libfuzzer_compiler
from emu.fuzz.harness import Harness, Target

ROOT = Path(__file__).parents[2]
CORPUS = Path(__file__).parent / "corpus"
_PARENT = re.compile(rb"\0ZCRX_FUZZ_(AFL_)?PARENT=(\d+)\0")

#: The plain provider, to put mistakes into: its table comes last.
PLAIN = f"""
#define zcrx_provider plain_operations
#include "{ROOT}/docs/examples/plain_provider.c"
#undef zcrx_provider
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
"""
OPERATIONS = ("init", "alloc_netmems", "release_netmem", "destroy", "scrub", "copy_buffer")


def provider_text(body: str = "", **changed: str) -> str:
    """A provider in C: the plain one with some members of its table replaced."""
    members = {name: f"plain_{name}" for name in OPERATIONS}
    members |= {"abi": "ZCRX_PROVIDER_ABI", "size": "sizeof(struct zcrx_provider_ops)"}
    rows = "".join(f"\t.{name} = {value},\n" for name, value in {**members, **changed}.items())
    return f"{PLAIN}{body}\nconst struct zcrx_provider_ops zcrx_provider = {{\n{rows}}};\n"


def fuzzers_of(pid: int) -> dict[int, str]:
    """Processes of the fuzzer that a process has started, whoever is their parent now."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            environment = b"\0" + (entry / "environ").read_bytes()
            command = (entry / "cmdline").read_bytes().split(b"\0")[0].decode()
        except OSError:  # gone meanwhile
            continue
        match = _PARENT.search(environment)
        if match and int(match[2]) == pid and command:
            found[int(entry.name)] = command
    return found


def wait_until(condition: Callable[[], object], timeout_s: float = 120.0) -> bool:
    """Poll an event outside of this process; False if it has not come in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place for temporary files of the test's own: empty again at the end of it."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert wait_until(lambda: not fuzzers_of(os.getpid())), fuzzers_of(os.getpid())
    assert list(folder.iterdir()) == []


@pytest.fixture(scope="session")
def harness() -> Harness:
    """Our provider, sanitized."""
    return Harness(Target())


@pytest.fixture(scope="session")
def fast_harness() -> Harness:
    """Our provider, not sanitized."""
    return Harness(Target(sanitize=False))


@pytest.fixture
def corpus_of(tmp_path: Path) -> Callable[..., Path]:
    """Make a folder of programs: copies of the seeds, the first ``count`` of them."""

    def make(count: int | None = None, name: str = "corpus") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for path in sorted(CORPUS.iterdir())[:count]:
            (folder / path.name).write_bytes(path.read_bytes())
        return folder

    return make


@pytest.fixture
def provider(tmp_path: Path) -> Callable[..., Path]:
    """Write the source of a provider: see :func:`provider_text`."""

    def write(body: str = "", **changed: str) -> Path:
        path = tmp_path / "provider.c"
        path.write_text(provider_text(body, **changed))
        return path

    return write


@pytest.fixture
def needs_clang() -> None:
    """Skip where clang is not installed."""
    if libfuzzer_compiler() is None:
        pytest.skip("clang with libFuzzer is not installed")


assert core_sources() == ROOT / "cext", "the tests are of another checkout than the package"
