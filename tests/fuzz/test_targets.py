"""Fuzz targets for OSS-Fuzz and ClusterFuzzLite: built as their builder does, checked as they are.

Their images are not at hand here. What ``compile`` of base-builder sets is set; what the checks of
base-runner ask of a target is asked, in a folder with nothing in it but the target's own files.
"""

from __future__ import annotations

import configparser
import importlib
import json
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from emu.bugs import CONTENT_BUGS
from emu.compile.toolchain import libfuzzer_compiler, llvm_tool
from emu.contract import LEVELS
from emu.fuzz import build
from emu.fuzz.engine import PROGRAM_BYTES
from emu.fuzz.harness import Harness, Target
from emu.fuzz.merge import minimise

ROOT = Path(__file__).parents[2]
#: As base-builder has them.
_COMMON = (
    "-O1 -fno-omit-frame-pointer -gline-tables-only -DFUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION"
)
_UNDEFINED = (
    "array-bounds,bool,builtin,enum,function,integer-divide-by-zero,null,object-size,return,"
    "returns-nonnull-attribute,shift,signed-integer-overflow,unreachable,vla-bound,vptr"
)
_SANITIZERS = {
    "address": "-fsanitize=address -fsanitize-address-use-after-scope",
    "undefined": f"-fsanitize={_UNDEFINED},unsigned-integer-overflow "
    f"-fno-sanitize-recover={_UNDEFINED}",
    "memory": "-fsanitize=memory -fsanitize-memory-track-origins",
    "coverage": "-fprofile-instr-generate -fcoverage-mapping -pthread -Wl,--no-as-needed -Wl,-ldl "
    "-Wl,-lm -Wno-unused-command-line-argument",
}
#: libFuzzer's, for a crash.
_CRASHED = 77


@dataclass(frozen=True)
class Out:
    """What a build has left, moved away from where it was made; all else is gone."""

    folder: Path

    def seeds(self, target: str) -> Path:
        """The seeds of a target, unpacked."""
        folder = self.folder / f"seeds-{target}"
        with zipfile.ZipFile(self.folder / f"{target}_seed_corpus.zip") as archive:
            archive.extractall(folder)
        return folder

    def run(self, target: str, *arguments: object, **environment: str) -> tuple[int, str]:
        """Run a target as ``run_fuzzer`` does; its exit code and all that it said."""
        process = subprocess.run(
            [f"./{target}", *map(str, arguments)],
            cwd=self.folder,
            env={
                "PATH": str(self.folder),
                "UBSAN_OPTIONS": "silence_unsigned_overflow=1:symbolize=1",
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        return process.returncode, process.stdout


Builder = Callable[..., Out]


@pytest.fixture
def built(tmp_path: Path) -> Builder:
    """Build as base-builder does, from a copy of the repository's own files."""

    def make(
        sanitizer: str,
        *,
        engine: str = "libfuzzer",
        levels: str = "seed 7.3",
        script: str = ".clusterfuzzlite/build.sh",
        bug: str = "",
        sources: Sequence[Path] = (),
    ) -> Out:
        source, work, out = (tmp_path / name for name in ("src", "work", "made"))
        for folder in ("cext", ".clusterfuzzlite", "oss-fuzz"):
            shutil.copytree(ROOT / folder, source / "zcrx-emu" / folder)
        if bug:
            CONTENT_BUGS[bug].apply(source / "zcrx-emu" / "cext")
        for path in sources:
            (source / "mine").mkdir(exist_ok=True)
            shutil.copy(path, source / "mine" / path.name)
        work.mkdir()
        out.mkdir()
        shutil.copy(shutil.which("llvm-symbolizer") or "/usr/bin/llvm-symbolizer", out)
        engine_flags = (
            "" if sanitizer == "coverage" or engine == "afl" else "-fsanitize=fuzzer-no-link"
        )
        flags = f"{_COMMON} {_SANITIZERS[sanitizer]} {engine_flags}"
        clang = libfuzzer_compiler()
        assert clang is not None
        of_engine = {
            "libfuzzer": (clang.path, f"{clang.path}++", "-fsanitize=fuzzer"),
            "afl": ("afl-clang-fast", "afl-clang-fast++", "/usr/lib/afl/libAFLDriver.a"),
        }[engine]
        process = subprocess.run(
            ["bash", "-eux", str(source / "zcrx-emu" / script)],
            cwd=work,
            env={
                "PATH": "/usr/local/bin:/usr/bin:/bin", "SRC": str(source), "WORK": str(work),
                "OUT": str(out), "SANITIZER": sanitizer, "FUZZING_ENGINE": engine,
                "ARCHITECTURE": "x86_64", "FUZZING_LANGUAGE": "c", "CFLAGS": flags,
                "CXXFLAGS": flags, "AFL_QUIET": "1", "LEVELS": levels,
                **dict(zip(("CC", "CXX", "LIB_FUZZING_ENGINE"), of_engine, strict=True)),
            },
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert process.returncode == 0, process.stderr
        assert "warning:" not in process.stderr
        moved = Out(tmp_path / "elsewhere")
        out.rename(moved.folder)
        if sanitizer != "coverage":  # whose report shows the sources
            shutil.rmtree(source)
        shutil.rmtree(work)
        return moved

    return make


# ---- what is there to be built ------------------------------------------------------------------


def _listed(name: str) -> set[str]:
    text = (ROOT / "oss-fuzz" / "Makefile").read_text().replace("\\\n", " ")
    found = re.search(rf"^{name} := (.*)$", text, re.MULTILINE)
    assert found is not None
    return {f"{file}.c" for file in found[1].split()}


def test_sources_are_those_of_our_own_builds() -> None:
    assert _listed("SUBJECT") == set(build.SUBJECT)
    assert _listed("HARNESS") == set(build._HARNESS)
    assert {name.removesuffix(".c") for name in _listed("ALL_LEVELS")} == set(LEVELS)


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The tool that makes the seeds."""
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("tools.fuzz_seeds")


def test_seeds_are_small_corpora_and_find_nothing(tool: Any) -> None:
    for archive in sorted(tool.SEEDS.iterdir()):
        seeds = tool.read_seeds(archive)
        merged = minimise(Target(sanitize=False, kernel=archive.stem), seeds)
        assert (merged.set_aside, merged.foreign) == ((), ())
        assert len(seeds) > 100
        assert merged.reached.edges > 250
        # A few may have become needless since, by a change of the core; then: tools.fuzz_seeds.
        assert len(merged.programs) > 0.8 * len(seeds)


def test_words_of_the_dictionary_are_operations(harness: Harness) -> None:
    """Behind a shape each is a whole program: as it stands, with nothing missing."""
    lines = (ROOT / "oss-fuzz" / "zcrx.dict").read_text().splitlines()
    words = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    programs = {
        name: bytes(8) + bytes(int(byte, 16) for byte in re.findall(r"\\x([0-9a-f]{2})", word))
        for name, word in words.items()
    }
    assert len(programs) == len(words) > 20
    assert minimise(Target(), programs.values()).foreign == ()
    (step,) = harness.run(programs["push_far"]).steps
    assert step.operation == "push off=0x100000000000"
    (step,) = harness.run(programs["add_area"]).steps
    assert step.operation == "add-area of 16 buffer(s)"


def test_archive_of_the_same_programs_is_the_same(tool: Any, tmp_path: Path) -> None:
    seeds = tool.read_seeds(tool.SEEDS / "7.3.zip")
    tool.write_seeds(tmp_path / "7.3.zip", seeds)
    assert (tmp_path / "7.3.zip").read_bytes() == (tool.SEEDS / "7.3.zip").read_bytes()
    assert tool.read_seeds(tmp_path / "nowhere.zip") == []


@pytest.mark.usefixtures("needs_clang")
def test_options_are_libfuzzers() -> None:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "oss-fuzz" / "zcrx.options")
    assert parser.sections() == ["libfuzzer"]
    options = dict(parser["libfuzzer"])
    assert int(options["max_len"]) == PROGRAM_BYTES
    said = subprocess.run(
        [str(Target().executable(build.Kind.LIBFUZZER)), "-help=1"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert set(options) <= set(re.findall(r"^ (\w+)\s", said.stderr, re.MULTILINE))


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    for setting, words in (
        ({}, "OUT is not set: see docs/fuzzing.md"),
        ({"LEVELS": "7.4"}, "LEVELS: 7.4 is none of seed"),
    ):
        process = subprocess.run(
            ["make", "-C", str(ROOT / "oss-fuzz"), f"WORK={tmp_path}", "LIB_FUZZING_ENGINE=x"],
            env={"PATH": os.environ["PATH"], **setting},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert process.returncode == 2
        assert words in process.stderr
    assert list(tmp_path.glob("*")) == [tmp_path / "temporary"]


# ---- built and checked --------------------------------------------------------------------------


def _calls(binary: Path) -> dict[str, int]:
    """How often the code calls each sanitizer's runtime."""
    code = subprocess.run(
        ["objdump", "-d", str(binary)], capture_output=True, text=True, check=True
    ).stdout
    found = re.findall(r"call\s+[0-9a-f]+ <__(asan|msan|ubsan)", code)
    return {name: found.count(name) for name in ("asan", "msan", "ubsan")}


@pytest.mark.long
@pytest.mark.usefixtures("needs_clang")
@pytest.mark.parametrize("sanitizer", ["address", "undefined", "memory"])
def test_build_passes_the_checks_of_a_bad_build(built: Builder, sanitizer: str) -> None:
    out = built(sanitizer)
    assert {path.name for path in out.folder.iterdir()} == {
        "llvm-symbolizer",
        *(f"zcrx_{level}{end}" for level in ("seed", "7_3")
          for end in ("", ".options", ".dict", "_seed_corpus.zip")),
    }  # fmt: skip
    target = "zcrx_7_3"
    assert b"LLVMFuzzerTestOneInput" in (out.folder / target).read_bytes()
    calls = _calls(out.folder / target)
    assert calls["asan"] > 1000 if sanitizer == "address" else calls["asan"] == 0
    assert calls["msan"] > 1000 if sanitizer == "memory" else calls["msan"] <= 3
    assert calls["ubsan"] > 168 if sanitizer == "undefined" else calls["ubsan"] < 200
    code, said = out.run(target, "-seed=1337", "-runs=4")
    assert code == 0, said
    assert "Done 4 runs" in said
    counters = re.search(r"Loaded 1 modules\s+\((\d+) inline 8-bit counters\)", said)
    assert counters is not None
    assert int(counters[1]) > 100
    seeds = out.seeds(target)
    code, said = out.run(target, "-runs=0", "-timeout=25", "-rss_limit_mb=2560", seeds)
    assert code == 0, said
    # Minimised as ClusterFuzzLite does: all that is reached is reached by fewer.
    (out.folder / "small").mkdir()
    code, said = out.run(target, "-merge=1", "-timeout=25", out.folder / "small", seeds)
    assert code == 0, said
    kept = [path.read_bytes() for path in (out.folder / "small").iterdir()]
    assert 50 < len(kept) <= len(list(seeds.iterdir()))


@pytest.mark.long
@pytest.mark.usefixtures("needs_clang")
def test_coverage_is_reported_line_by_line(built: Builder) -> None:
    out, target = built("coverage", levels="7.3"), "zcrx_7_3"
    (out.folder / "dummy").mkdir()
    code, said = out.run(
        target, "-merge=1", "-timeout=100", out.folder / "dummy", out.seeds(target),
        LLVM_PROFILE_FILE=str(out.folder / "counts.%1m.profraw"),
    )  # fmt: skip
    assert code == 0, said
    clang = libfuzzer_compiler()
    assert clang is not None
    merge, cov = (llvm_tool(name, clang) for name in ("llvm-profdata", "llvm-cov"))
    assert merge is not None
    assert cov is not None
    data = out.folder / "all.profdata"
    subprocess.run(
        [merge, "merge", "-sparse", *map(str, out.folder.glob("*.profraw")), "-o", str(data)],
        check=True,
    )
    report = subprocess.run(
        [cov, "export", "-summary-only", f"-instr-profile={data}", str(out.folder / target)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    files = {
        Path(file["filename"]).name: file["summary"]
        for file in json.loads(report.stdout)["data"][0]["files"]
    }
    assert files["provider.c"]["lines"]["percent"] > 60
    assert files["area.c"]["branches"]["percent"] > 50


@pytest.mark.long
@pytest.mark.skipif(shutil.which("afl-fuzz") is None, reason="AFL++ is not installed")
def test_afl_takes_the_same_target(built: Builder, tmp_path: Path) -> None:
    out, target = built("address", engine="afl", levels="6.18"), "zcrx_6_18"
    seeds = sorted(out.seeds(target).iterdir())
    for path in seeds[10:]:  # it runs each several times
        path.unlink()
    process = subprocess.run(
        ["afl-fuzz", "-E", "300", "-m", "none", "-t", "20000", "-x", f"{target}.dict",
         "-i", str(seeds[0].parent), "-o", str(tmp_path / "found"), "--", f"./{target}"],
        cwd=out.folder,
        env={
            **os.environ, "AFL_NO_UI": "1", "AFL_SKIP_CPUFREQ": "1", "AFL_NO_AFFINITY": "1",
            "AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES": "1", "AFL_FORKSRV_INIT_TMOUT": "60000",
            "ASAN_OPTIONS": "abort_on_error=1:symbolize=0:detect_odr_violation=0:detect_leaks=0",
        },
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert "All set and ready to roll" in process.stdout, process.stdout[-2000:]
    stats = (tmp_path / "found" / "default" / "fuzzer_stats").read_text()
    values = dict(re.findall(r"^(\w+)\s*: (.*)$", stats, re.MULTILINE))
    assert int(values["execs_done"]) >= 300
    assert int(values["saved_crashes"]) == 0
    assert int(values["edges_found"]) > 200


# ---- a crash comes home -------------------------------------------------------------------------


def _crash_of(out: Out, target: str, said: str) -> Path:
    (path,) = out.folder.glob("crash-*")
    assert f"Test unit written to ./{path.name}" in said
    # A stack with names and lines, which the symbolizer beside the target has made.
    assert re.search(r"#\d+ 0x[0-9a-f]+ in sink_run .*reporter\.c:\d+", said)
    assert target in said
    return path


@pytest.mark.long
@pytest.mark.usefixtures("needs_clang")
def test_seeded_bug_is_found_there_and_explained_here(
    built: Builder, call: Callable[..., Any]
) -> None:
    bug = "pad-half-checked"
    out, target = built("undefined", levels="seed", bug=bug), "zcrx_seed"
    code, said = out.run(target, "-seed=1", "-runs=20000", out.seeds(target))
    assert code == _CRASHED, said[-2000:]
    path = _crash_of(out, target, said)
    # What ClusterFuzz tells crashes apart by is what we tell findings apart by.
    named = re.search(r"^Assertion failed: (\S+)$", said, re.MULTILINE)
    assert named is not None
    answer = call("fuzz", "--fast", "--bug", bug, "--replay", str(path), "--json", "-")
    assert answer.code == 1, answer
    summary = json.loads(answer.stdout)
    assert summary["still_shows"]
    assert summary["signature"] == named[1]
    assert named[1] in answer.stderr
    # Without the mistake there is nothing wrong with the program.
    answer = call("replay", str(path))
    assert answer.code == 0, answer
    assert "no finding" in answer.stdout


@pytest.mark.long
@pytest.mark.usefixtures("needs_clang")
def test_provider_of_somebody_else_is_built_from_the_template(
    built: Builder, call: Callable[..., Any], tmp_path: Path
) -> None:
    examples = ROOT / "docs" / "examples"
    mine = tmp_path / "provider.c"
    mine.write_text((examples / "broken_provider.c").read_text())
    plain = examples / "plain_provider.c"
    out = built("address", script="oss-fuzz/provider/build.sh", sources=[mine, plain])
    target = "mine_6_18"
    assert {path.name for path in out.folder.iterdir()} == {
        "llvm-symbolizer", "libmine_provider.so",
        *(f"{target}{end}" for end in ("", ".options", ".dict", "_seed_corpus.zip")),
    }  # fmt: skip
    linked = subprocess.run(
        ["ldd", str(out.folder / target)], capture_output=True, text=True, check=True
    ).stdout
    assert f"libmine_provider.so => {out.folder}/" in linked
    code, said = out.run(target, "-seed=1", "-runs=20000", out.seeds(target))
    assert "Loaded 2 modules" in said
    assert code == _CRASHED, said[-2000:]
    path = _crash_of(out, target, said)
    answer = call(
        "fuzz", "--fast", "--provider", str(examples / "broken_provider.c"), "--replay", str(path)
    )
    assert answer.code == 1, answer
    assert "verdict:no_user_ref:accepted: an entry earned another verdict" in answer.stdout


def test_plain_program_is_replayed_and_text_is_none(
    call: Callable[..., Any], tmp_path: Path
) -> None:
    program = bytes.fromhex("0003070000000000 0000 0b")
    (tmp_path / "crash-0123").write_bytes(program)
    answer = call("replay", "crash-0123")
    assert answer.code == 0, answer
    assert "crash-0123: 11 bytes" in answer.stdout
    assert "alloc 1" in answer.stdout
    assert "no finding" in answer.stdout
    (tmp_path / "notes").write_text("no program")
    answer = call("replay", "notes")
    assert answer.code == 2
    assert "is no report of a run" in answer.stderr
    answer = call("fuzz", "--replay", "nowhere")
    assert answer.code == 2
    assert answer.stderr.startswith("zcrx-emu: error: file: 'nowhere' cannot be read")
