"""What the pytest plugin hands out for whole runs, steps and entries, as other people's tests."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, parse

import pytest

from emu.errors import ConfigError
from emu.testing.runs import config_of

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.fixture
def tests(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project of its own, with this plugin alone."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeini("[pytest]\naddopts = --strict-markers -p zcrx_emu\n")
    return pytester


def test_consumer_of_the_test_module_is_run_and_judged(tests: pytest.Pytester) -> None:
    tests.makepyfile(
        """
        import pytest

        def right(consumer):
            for completion in consumer:
                consumer.give_back(completion)

        def leaves(consumer):
            consumer.give_back(next(iter(consumer)))

        @pytest.mark.zcrx_run(packets=2000)
        def test_right(zcrx_run):
            report = zcrx_run(consumer=right, faults="nic-drop:1%")
            assert report.total("nic", "packets_offered") == 2000
            assert report.seed == 5

        def test_leaves(zcrx_run):
            zcrx_run(consumer=leaves, packets=2000)

        def test_looks_itself(zcrx_run):
            assert not zcrx_run(consumer=leaves, packets=2000, check=False).ok
        """
    )
    ended = tests.runpytest_inprocess("--zcrx-seed", "5")
    ended.assert_outcomes(passed=2, failed=1)
    ended.stdout.fnmatch_lines(
        [
            "*--zcrx-seed 5*",
            "*AssertionError: the run is not sound*",
            "*FAIL: *left*",
            "*run folder: *zcrx-run-1*",
            "*same again: --seed 5 --packets 2000*",
        ]
    )


def test_steps_of_a_wrong_provider_differ(tests: pytest.Pytester) -> None:
    tests.makepyfile(
        f"""
        import pytest
        from emu import StateError

        def scrubbed_return(both):
            niov, = both.alloc()
            both.deliver(niov)
            both.push_rqe(niov << 12, 100)
            both.scrub()
            both.alloc(5)

        @pytest.mark.parametrize("name", ["plain", "broken"])
        def test_provider(zcrx_step, name):
            folder = {str(EXAMPLES)!r}
            both = zcrx_step(num_niovs=4, rq_entries=8, provider=f"{{folder}}/{{name}}_provider.c")
            scrubbed_return(both)
            assert [one.verdict.label for one in both.take_verdicts()] == ["no_user_ref"]
            both.drop(3)
            with pytest.raises(StateError):
                both.drop(3)
        """
    )
    ended = tests.runpytest_inprocess()
    ended.assert_outcomes(passed=1, failed=1)
    ended.stdout.fnmatch_lines(
        ["*Differs: after alloc(); *; scrub(); alloc(5): it answered *, the specification *"]
    )


def test_entries_are_a_tests_own_and_the_same_again(tests: pytest.Pytester) -> None:
    tests.makepyfile(
        """
        def test_a(zcrx_rqe):
            made = zcrx_rqe.malformed_rqe("bad-pad")
            assert made.rqe.pad
            print("made", made.rqe)

        def test_b(zcrx_rqe):
            print("made", zcrx_rqe.malformed_rqe("bad-pad").rqe)
        """
    )
    first, second = (
        [line for line in tests.runpytest_inprocess("-s").outlines if "made" in line]
        for _ in range(2)
    )
    assert first == second
    assert len({line.split("made")[1] for line in first}) == 2


def _properties(case: Element) -> dict[str, str]:
    return {item.get("name", ""): item.get("value", "") for item in case.iter("property")}


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.long)])
def test_junit_has_what_repeats_a_run(tests: pytest.Pytester, workers: int) -> None:
    tests.makepyfile(
        """
        def leaves(consumer):
            consumer.give_back(next(iter(consumer)))

        def test_runs(zcrx_run):
            zcrx_run(packets=1000)
            zcrx_run(packets=1000, consumer=leaves)

        def test_ring(zcrx):
            queue = zcrx.register(buffers=4, rq_entries=4)
            queue.arm()
            queue.deliver(b"hello")
            zcrx.step()
            assert len(list(zcrx.completions())) == 1

        def test_step(zcrx_step, zcrx_rqe):
            zcrx_step(num_niovs=4, rq_entries=8)
        """
    )
    words = ["--junitxml=junit.xml", "-o", "junit_logging=system-out", "--zcrx-seed", "5"]
    if workers:
        tests.runpytest_subprocess(*words, "-p", "xdist", f"-n{workers}")
    else:
        tests.runpytest_inprocess(*words)
    root = parse(tests.path / "junit.xml").getroot()
    assert root is not None
    cases = {case.get("name"): case for case in root.iter("testcase")}
    found = _properties(cases["test_runs"])
    assert found["zcrx_run.1.verdict"] == "PASS"
    assert found["zcrx_run.2.verdict"].startswith("FAIL: ")
    assert found["zcrx_run.1.seed"] == found["zcrx_run.2.seed"] == "5"
    folder = Path(found["zcrx_run.2.folder"])
    assert (folder / "run.json").is_file()
    assert found["zcrx_run.2.again"] == f"zcrx-emu replay {folder}"
    said = cases["test_runs"].findtext("system-out", "")
    assert "zcrx_run 1: PASS; seed 5; zcrx-emu replay " in said
    assert f"zcrx_run 2: {found['zcrx_run.2.verdict']}" in said
    (failure,) = cases["test_runs"].iter("failure")
    assert failure.get("message", "").startswith("AssertionError: the run is not sound")
    ring = _properties(cases["test_ring"])
    assert ring["zcrx.1.verdict"] == "FAIL: 1 found: not-returned"
    assert (ring["zcrx.1.kernel"], ring["zcrx.1.seed"]) == ("seed", "5")
    steps = _properties(cases["test_step"])
    assert steps["zcrx_step.1.options"] == "num_niovs=4, rq_entries=8"
    assert steps["zcrx_rqe.seed"].startswith("5/")


def test_options_are_those_of_a_run() -> None:
    assert config_of({"faults": "smoke"}, 3).seed == 3
    assert config_of({"duration_s": 1.0}, 3).packets == 0
    with pytest.raises(ConfigError, match=r"zcrx_run: 'packet' is no option; there are .*packets"):
        config_of({"packet": 5}, 0)
    with pytest.raises(ConfigError, match=r"consumer: .*<lambda>' is not allowed"):
        config_of({"consumer": lambda consumer: None}, 0)
