"""Wrong use of ``zcrx-emu fuzz``: one line, code 2, and nothing left behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emu.compile import toolchain
from emu.compile.ondemand import core_sources
from emu.compile.toolchain import afl_compiler, any_compiler, libfuzzer_compiler
from emu.fuzz import harness

#: One for which nothing can be made, not even by root.
NOT_WRITABLE = "/proc/self"


@pytest.fixture
def refused(call: Callable[..., Any], tmp_path: Path) -> Callable[..., str]:
    """Call the command, which must refuse it; its message."""

    def call_it(*arguments: object) -> str:
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
        folders = {path for path in tmp_path.rglob("*") if path.is_dir()}
        answer = call("fuzz", *map(str, arguments))
        assert answer.code == 2, answer
        assert len(answer.stderr.splitlines()) == 1, answer.stderr
        assert answer.stderr.startswith("zcrx-emu: error: ")
        assert "Traceback" not in answer.stdout + answer.stderr
        after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
        assert after == before
        assert {path for path in tmp_path.rglob("*") if path.is_dir()} == folders
        return str(answer.stderr)

    return call_it


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--corpus", "a-file"], ("corpus: 'a-file'", "cannot be written")),
        (["--corpus", "a-file/below"], ("corpus: 'a-file/below'", "cannot be written")),
        (["--corpus", NOT_WRITABLE], ("corpus: '/proc/self'", "cannot be written")),
        (["--findings", "a-file"], ("findings: 'a-file'", "cannot be written")),
        (["--findings", "a-file/below"], ("findings: 'a-file/below'", "cannot be written")),
        (["--findings", NOT_WRITABLE], ("findings: '/proc/self'", "cannot be written")),
        (["--emit-test", "nowhere"], ("emit-test: 'nowhere'", "name a folder that exists")),
        (
            ["--provider", "nowhere.so"],
            ("provider: 'nowhere.so'", "the C source (*.c) of a provider, or a shared library"),
        ),
        (
            ["--provider", "nowhere.c"],
            ("provider: 'nowhere.c'", "the C source (*.c) of a provider, or a shared library"),
        ),
        (
            ["--provider", "/proc"],
            ("provider: '/proc'", "the C source (*.c) of a provider, or a shared library"),
        ),
        (["--bug", "bound-of-by-one"], ("bug: 'bound-of-by-one'", "bound-off-by-one")),
        (["--bug", ""], ("bug: ''", "known are")),
        (["--bug", "bound-off-by-one", "--provider", "a.so"], ("bug: ", "of our own provider's")),
        (["--kernel", "7.4"], ("kernel: '7.4'", "one of seed, 6.15, 6.18, 7.1, 7.2, 7.3")),
        (["--engine", "warp"], ("--engine", "libfuzzer", "afl", "generate")),
        (["--jobs", "0"], ("jobs: 0 ", "1 to 256")),
        (["--jobs", "-1"], ("jobs: -1 ", "1 to 256")),
        (["--jobs", "9999999"], ("jobs: 9999999 ", "1 to 256")),
        (["--jobs", "two"], ("--jobs", "'two'")),
        (["--time", "-1"], ("time: -1.0 ", "0 (no limit) or more seconds")),
        (["--time", "nan"], ("time: nan ", "0 (no limit) or more seconds")),
        (["--time", "inf"], ("time: inf ", "0 (no limit) or more seconds")),
        (["--seed", "-1"], ("seed: -1 ", "0 to 2147483647")),
        (["--seed", str(2**31)], ("seed: 2147483648 ", "0 to 2147483647")),
        (["--seed", "9" * 30], ("seed: ", "0 to 2147483647")),
        (["--stop-at", "-1"], ("stop-at: -1 ", "0 (go on) or more findings")),
        (["--json", "nowhere/summary.json"], ("json: 'nowhere/summary.json'", "cannot be written")),
        (["--json", "."], ("json: '.'", "cannot be written")),
        (["--cover", "a-file"], ("cover: 'a-file'", "no folder")),
        (["--minimize", "nowhere"], ("'nowhere'", "cannot be read")),
        (["--minimize", "/proc"], ("'/proc'", "cannot be read")),
        (["--minimize", "a-file", "--emit-test", "x"], ("emit-test: 'x'", "a folder that exists")),
        (["--differential", "--corpus", "nowhere"], ("corpus: 'nowhere'", "a folder that exists")),
        (["--differential", "--corpus", "empty"], ("corpus: 'empty'", "it must hold programs")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_option_is_refused(
    arguments: list[str], words: tuple[str, ...], refused: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "a-file").write_bytes(b"\0")
    (tmp_path / "empty").mkdir()
    text = refused("--fast", "--time", "1", *arguments)
    for word in words:
        assert word in text


# ---- providers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("int something;\n", "does not define the symbol zcrx_provider"),
        ("int main(void)\n{\n\treturn 1\n}\n", "expected"),
        ("#include <no/such/header.h>\n", "no/such/header.h"),
        ("int helper(void);\nint use(void)\n{\n\treturn helper();\n}\n", "helper"),
    ],
    ids=["no symbol", "syntax", "no header", "undefined"],
)
def test_source_that_is_no_provider_is_refused(
    source: str, why: str, refused: Callable[..., str], tmp_path: Path
) -> None:
    path = tmp_path / "own.c"
    path.write_text(source)
    assert why in refused("--fast", "--provider", path)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"abi": "77"}, "its ABI version is 77; this program speaks"),
        ({"size": "8"}, "has 8 bytes"),
        ({"scrub": "0"}, "it has no scrub()"),
    ],
    ids=["abi", "size", "operation"],
)
def test_library_that_does_not_fit_is_refused(
    changed: dict[str, str],
    why: str,
    refused: Callable[..., str],
    provider: Callable[..., Path],
    tmp_path: Path,
) -> None:
    library = tmp_path / "own.so"
    subprocess.run(
        [any_compiler().path, "-std=gnu11", "-fPIC", "-shared", "-w", f"-I{core_sources()}",
         "-o", library, provider(**changed)],
        check=True,
    )  # fmt: skip
    text = refused("--fast", "--provider", library)
    assert why in text
    assert str(library) in text


@pytest.mark.parametrize(
    ("what", "why"),
    [("_exit(0)", "ends the process that loads it"), ("abort()", "ends the process that loads it"),
     ("for (;;)\n\t\tpause()", "it hangs when it is loaded")],
)  # fmt: skip
def test_library_that_does_not_come_back_is_refused(
    what: str, why: str, refused: Callable[..., str], provider: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(harness, "_LOAD_S", 1.0)
    body = f"__attribute__((constructor)) static void never(void)\n{{\n\t{what};\n}}\n"
    assert why in refused("--fast", "--provider", provider(body))


def test_file_that_is_no_library_is_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "own.so"
    path.write_text("this is no library, whatever its name says\n" * 10)
    assert "it cannot be opened" in refused("--fast", "--provider", path)


@pytest.mark.usefixtures("needs_clang")
def test_coverage_of_a_library_is_refused_before_the_campaign(
    refused: Callable[..., str], provider: Callable[..., Path], tmp_path: Path
) -> None:
    library = tmp_path / "own.so"
    subprocess.run(
        [any_compiler().path, "-std=gnu11", "-fPIC", "-shared", f"-I{core_sources()}",
         "-o", library, provider()],
        check=True,
    )  # fmt: skip
    text = refused("--fast", "--time", "0", "--provider", library, "--cover", "cover")
    assert "give the provider as a .c file" in text


# ---- compilers --------------------------------------------------------------------------------


@pytest.fixture
def programs(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """Let only these programs be found."""
    probes = (any_compiler, libfuzzer_compiler, afl_compiler)

    def only(*names: str) -> None:
        # One folder for all workers: what is compiled is known by its compiler's path.
        folder = tmp_path_factory.getbasetemp().parent / "-".join(["only", *names])
        folder.mkdir(exist_ok=True)
        for name in names:
            where = shutil.which(name)
            if where is None:
                pytest.skip(f"{name} is not installed")
            with contextlib.suppress(FileExistsError):
                (folder / name).symlink_to(os.path.realpath(where))
        monkeypatch.setenv("PATH", str(folder))
        monkeypatch.delenv("CC", raising=False)
        for probe in probes:
            probe.cache_clear()

    yield only
    monkeypatch.undo()
    for probe in probes:
        probe.cache_clear()


def test_without_a_compiler_it_says_so(programs: Any, refused: Callable[..., str]) -> None:
    programs()
    assert "cc: there is no C compiler" in refused("--fast", "--time", "1")


@pytest.mark.parametrize(
    ("engine", "why"),
    [
        ("libfuzzer", "clang with libFuzzer is not installed; use --engine generate"),
        ("afl", "AFL++ is not installed"),
    ],
)
def test_engine_that_is_not_installed_is_named(
    engine: str, why: str, programs: Any, refused: Callable[..., str]
) -> None:
    programs("gcc", "as", "ld")
    assert why in refused("--fast", "--engine", engine)


def test_without_clang_programs_are_made_up_and_it_says_so(
    programs: Any, call: Callable[..., Any], tmp_path: Path
) -> None:
    programs("gcc", "as", "ld")
    answer = call("fuzz", "--fast", "--jobs", "1", "--time", "0.2", "--seed", "1")
    assert answer.code == 0, answer
    assert answer.stderr == ""
    assert "clang with libFuzzer is not installed: programs are made up" in answer.stdout
    assert "generate, seed 1: " in answer.stdout
    assert toolchain.libfuzzer_compiler() is None


def test_without_clang_coverage_is_refused_before_the_campaign(
    programs: Any, refused: Callable[..., str]
) -> None:
    programs("gcc", "as", "ld")
    assert "coverage: it needs clang" in refused("--fast", "--time", "0", "--cover", "cover")


def test_compiler_that_does_not_exist_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, programs: Any
) -> None:
    programs("gcc")
    monkeypatch.setenv("CC", "no-such-compiler")
    assert Path(any_compiler().path).name == "gcc"


# ---- what is no campaign ----------------------------------------------------------------------


def test_clean_program_is_not_minimised(call: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "a.program"
    path.write_bytes(bytes(20))
    answer = call("fuzz", "--fast", "--minimize", str(path))
    assert answer.code == 0
    assert answer.stdout == f"{path}: nothing is found in this program\n"
    assert not (tmp_path / "fuzz").exists()


def test_corpus_is_made_and_is_one_per_target(
    programs: Any, call: Callable[..., Any], provider: Callable[..., Path], tmp_path: Path
) -> None:
    """What was kept for one provider would mislead the search in another one."""
    programs("gcc", "as", "ld")
    campaign = ("fuzz", "--fast", "--jobs", "1", "--time", "0.2", "--seed", "1")
    assert call(*campaign, "--corpus", "new/corpus").code == 0
    assert (tmp_path / "new" / "corpus").is_dir()
    source = provider()
    (tmp_path / "elsewhere").mkdir()
    other = tmp_path / "elsewhere" / source.name
    other.write_bytes(source.read_bytes())
    for more in ([], ["--provider", str(source)], ["--provider", str(other)]):
        assert call(*campaign, *more).code == 0
    names = sorted(path.name for path in (tmp_path / "fuzz" / "corpus").iterdir())
    assert len(names) == 3
    assert names[0] == "ours"
    assert all(name.startswith("provider-") for name in names[1:])


def test_bugs_are_listed(call: Callable[..., Any]) -> None:
    answer = call("fuzz", "--bug", "list")
    assert answer.code == 0
    assert "bound-off-by-one: " in answer.stdout


def test_differential_says_how_many_agree(
    call: Callable[..., Any], corpus_of: Callable[..., Path]
) -> None:
    corpus = str(corpus_of(5))
    answer = call("fuzz", "--fast", "--differential", "--corpus", corpus)
    assert answer.code == 0
    assert "5 programs by our provider and by the specification: 0 differ" in answer.stdout


def test_differential_of_a_seeded_bug_is_a_finding(
    call: Callable[..., Any], tmp_path: Path
) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    hit = bytes([3, 2, 7, 0, 0, 0, 0, 0, 5, 0]) + (4 << 12).to_bytes(8, "little") + bytes(8)
    (corpus / "hit").write_bytes(hit + bytes([11]))
    answer = call(
        "fuzz", "--fast", "--differential", "--corpus", str(corpus), "--bug", "bound-off-by-one"
    )
    assert answer.code == 1
    assert "after operation 1 (refill): entries: the model says" in answer.stdout


def test_provider_is_built_anew_when_something_it_includes_has_changed(
    provider: Callable[..., Path], call: Callable[..., Any], tmp_path: Path
) -> None:
    """Wherever that lies: a build of yesterday's text would say that all is well."""
    included = tmp_path / "elsewhere" / "more.h"
    included.parent.mkdir()
    source = provider(
        '#include "elsewhere/more.h"\n'
        "static uint64_t other(struct zcrx_provider_queue *queue)\n"
        "{\n\treturn plain_scrub(queue) + MORE;\n}\n",
        scrub="other",
    )
    program = tmp_path / "scrub.program"
    program.write_bytes(bytes(8) + bytes([10, 0]))
    for more, code in (("0", 0), ("1", 1), ("0", 0)):
        included.write_text(f"#define MORE {more}\n")
        answer = call("fuzz", "--fast", "--provider", str(source), "--minimize", str(program))
        assert answer.code == code
