"""The pytest plugin: a fresh ring for each test, and what the program did wrong fails it."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

#: A program that returns each fragment, or forgets to, and tests of it.
PROGRAM = """
    import struct

    import pytest


    def program(ring, forgets=False):
        queue = ring.register(buffers=4, rq_entries=4)
        queue.arm()
        queue.deliver(b"hello")
        ring.step()
        tail = 0
        for one in ring.completions():
            assert queue.area[one.off:one.off + one.res] == b"hello"
            if not forgets:
                struct.pack_into("<QII", queue.region, queue.rqes_at, one.off, one.res, 0)
                tail += 1
        struct.pack_into("<I", queue.region, queue.tail_at, tail)


"""


@pytest.fixture
def tests(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project of its own, with this plugin alone."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeini(
        """
        [pytest]
        addopts = --strict-markers -p zcrx_emu
        filterwarnings =
            error
            # Of an editable install: see pyproject.toml.
            ignore:Module already imported:pytest.PytestAssertRewriteWarning
        """
    )
    return pytester


def _run(tests: pytest.Pytester, body: str, *arguments: str) -> pytest.RunResult:
    tests.makepyfile(PROGRAM + body)
    return tests.runpytest_inprocess(*arguments)


def test_right_program_passes_at_the_level_of_the_marker(tests: pytest.Pytester) -> None:
    ended = _run(
        tests,
        """
    @pytest.mark.zcrx(kernel="6.15", seed=5)
    def test_old(zcrx):
        assert (zcrx.kernel, zcrx.seed) == ("6.15", 5)
        program(zcrx)

    def test_plain(zcrx):
        assert (zcrx.kernel, zcrx.seed) == ("seed", 0)
        program(zcrx)

    @pytest.mark.parametrize(
        "kernel", [pytest.param(k, marks=pytest.mark.zcrx(kernel=k)) for k in ("7.1", "7.3")]
    )
    def test_each(zcrx, kernel):
        assert zcrx.kernel == kernel
        program(zcrx)
""",
    )
    ended.assert_outcomes(passed=4)


def test_what_the_program_does_wrong_fails_its_test(tests: pytest.Pytester) -> None:
    ended = _run(
        tests,
        """
    def test_forgets(zcrx):
        program(zcrx, forgets=True)

    def test_right(zcrx):
        program(zcrx)
""",
        "--zcrx-seed=9",
    )
    ended.assert_outcomes(passed=2, errors=1)
    ended.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_forgets*",
            "zcrx: kernel seed, seed 9",
            "not-returned: queue 0: bytes 0 to 4 of buffer 0 (completion 1, flow 1) were never *",
            "    do: return each fragment when it is read",
            "1 found: not-returned 1",
        ],
        consecutive=False,
    )
    ended.stdout.no_fnmatch_line("*pytest_plugin.py*")


def test_plan_of_the_marker_is_told(tests: pytest.Pytester) -> None:
    ended = _run(
        tests,
        """
    @pytest.mark.zcrx(plan="recv-late:at=0:steps=1")
    def test_late(zcrx):
        assert zcrx.plan == "recv-late:at=0:steps=1"
        program(zcrx)
        assert zcrx.journal().startswith("recv-late:at=0")
        zcrx.step()
        assert len(list(zcrx.completions())) == 1
""",
    )
    ended.assert_outcomes(passed=1, errors=1)
    ended.stdout.fnmatch_lines(
        ["zcrx: kernel seed, seed 0, plan recv-late:at=0:steps=1", "1 found: *"]
    )


def test_test_may_look_for_itself(tests: pytest.Pytester) -> None:
    ended = _run(
        tests,
        """
    def test_finds(zcrx):
        program(zcrx, forgets=True)
        assert [report.kind for report in zcrx.finish()] == ["not-returned"]
""",
    )
    ended.assert_outcomes(passed=1)


def test_test_that_fails_itself_has_it_told_beside(tests: pytest.Pytester) -> None:
    ended = _run(
        tests,
        """
    def test_fails(zcrx):
        program(zcrx, forgets=True)
        assert False, "of its own"
""",
    )
    ended.assert_outcomes(failed=1)
    ended.stdout.fnmatch_lines(["*of its own*", "*zcrx*teardown*", "1 found: not-returned 1"])


def test_other_rings_of_the_test_are_checked_too(tests: pytest.Pytester) -> None:
    ended = _run(
        tests,
        """
    @pytest.mark.zcrx(kernel="7.3", mixed=True)
    def test_two(zcrx):
        queue = zcrx.register(buffers=4, rq_entries=4)
        other = zcrx.another(seed=4)
        same = other.import_queue(queue)
        same.arm()
        same.deliver(b"hello")
        other.step()
        assert len(list(other.completions())) == 1

    @pytest.mark.zcrx(kernel="7.3")
    def test_two_right(zcrx):
        zcrx.another().import_queue(zcrx.register())

    @pytest.mark.zcrx(kernel="7.3")
    def test_other_forgets(zcrx):
        other = zcrx.another(seed=4)
        program(other, forgets=True)
""",
    )
    ended.assert_outcomes(passed=3, errors=2)
    ended.stdout.fnmatch_lines(
        ["zcrx: kernel 7.3, seed 0", "not-returned: queue 0: *", "1 found: not-returned 1"]
    )
    ended.stdout.fnmatch_lines(["zcrx: kernel 7.3, seed 4", "not-returned: queue 0: *"])


def test_markers_of_class_and_test_add_up(tests: pytest.Pytester) -> None:
    ended = _run(
        tests,
        """
    @pytest.mark.zcrx(kernel="7.1", seed=3)
    class TestAll:
        @pytest.mark.zcrx(kernel="7.3")
        def test_one(self, zcrx):
            assert (zcrx.kernel, zcrx.seed) == ("7.3", 3)
""",
    )
    ended.assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ("kernel='9.9'", "zcrx: kernel: '9.9' is not allowed; must be one of seed, 6.15*"),
        ("level='7.3'", "pytest.mark.zcrx: level is not allowed; it takes kernel, seed,*"),
        ("'7.3'", "pytest.mark.zcrx: '7.3' is not allowed; it takes kernel, seed,*"),
    ],
)
def test_wrong_marker_is_told_in_a_line(tests: pytest.Pytester, marker: str, message: str) -> None:
    ended = _run(
        tests,
        f"""
    @pytest.mark.zcrx({marker})
    def test_any(zcrx):
        pass
""",
    )
    ended.assert_outcomes(errors=1)
    ended.stdout.fnmatch_lines([message])
    ended.stdout.no_fnmatch_line("*Traceback*")


def test_ring_that_the_test_closed_is_not_passed(tests: pytest.Pytester) -> None:
    ended = _run(
        tests,
        """
    def test_closes(zcrx):
        program(zcrx)
        zcrx.close()
""",
    )
    ended.assert_outcomes(passed=1, errors=1)
    ended.stdout.fnmatch_lines(["zcrx: instance: it is closed"])


def test_workers_of_xdist_have_rings_of_their_own(tests: pytest.Pytester) -> None:
    tests.makepyfile(
        PROGRAM
        + """
    @pytest.mark.parametrize("number", range(40))
    def test_many(zcrx, number):
        program(zcrx, forgets=number == 17)
"""
    )
    ended = tests.runpytest_subprocess("-p", "xdist", "-n2")
    ended.assert_outcomes(passed=40, errors=1)
    ended.stdout.fnmatch_lines(["*ERROR at teardown of test_many[[]17[]]*"])


def test_plugin_is_found_and_loads_little() -> None:
    (entry,) = entry_points(group="pytest11", name="zcrx_emu")
    assert entry.value == "emu.pytest_plugin"
    script = (
        "import sys, emu.pytest_plugin; print(*sorted(m for m in sys.modules if m[:3] == 'emu'))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.split()
    assert loaded == ["emu", "emu.pytest_plugin"]
