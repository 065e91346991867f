"""The pytest plugin ``zcrx_emu``.

- ``zcrx``: a ring for the test's own program, whose ledger is checked at tear-down
- ``zcrx_run``: whole runs of real processes, with a consumer or a provider of the test's
- ``zcrx_step``: a provider and the specification, step by step beside each other
- ``zcrx_rqe``: refill ring entries, malformed ones too, from Faker

What they did is recorded as properties of the test, which ``--junitxml`` writes.

It is loaded with every session of pytest where this package is installed: what takes time is
imported by the tests that use it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from faker import Faker

    from emu.library import Instance
    from emu.testing.beside import Beside
    from emu.testing.runs import Runs

#: What the marker may say, as of :class:`emu.library.Instance`.
_OPTIONS = [
    "kernel",
    "seed",
    "plan",
    "cq_entries",
    "poison",
    "eager",
    "late_head",
    "rx_descriptors",
    "mtu",
    "mixed",
]
_MARKER = (
    f"zcrx({', '.join(f'{name}=' for name in _OPTIONS)}): the ring that the fixture zcrx makes"
)
_RUN_MARKER = "zcrx_run(faults=, packets=, …): options of all runs of the fixture zcrx_run"
_has_passed = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("zcrx_emu").addoption(
        "--zcrx-seed",
        type=int,
        default=0,
        metavar="N",
        help="seed of the fixtures zcrx…, where a test says none (default: 0)",
    )


def pytest_report_header(config: pytest.Config) -> str | None:
    seed = config.getoption("zcrx_seed")
    return f"zcrx-emu: --zcrx-seed {seed}" if seed else None


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MARKER)
    config.addinivalue_line("markers", _RUN_MARKER)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if call.when == "call":
        item.stash[_has_passed] = report.passed
    return report


def _options_of(node: pytest.Item) -> dict[str, Any]:
    """What the markers say; the test's own last, before that its class's and its module's."""
    options: dict[str, Any] = {"seed": node.config.getoption("zcrx_seed")}
    for marker in reversed(list(node.iter_markers("zcrx"))):
        wrong = [*map(repr, marker.args), *(marker.kwargs.keys() - set(_OPTIONS))]
        if wrong:
            pytest.fail(
                f"pytest.mark.zcrx: {wrong[0]} is not allowed; it takes {', '.join(_OPTIONS)}, "
                "each by its name",
                pytrace=False,
            )
        options |= marker.kwargs
    return options


def _told(ring: Instance) -> str:
    plan = f", plan {ring.plan}" if ring.plan else ""
    return f"zcrx: kernel {ring.kernel}, seed {ring.seed}{plan}\n{ring.report_text()}"


def _record(node: pytest.Item, name: str, facts: dict[str, str]) -> None:
    """Keep facts as properties of a test: ``zcrx_run.1.seed``."""
    node.user_properties.extend((f"{name}.{key}", value) for key, value in facts.items())


def _record_ring(node: pytest.Item, number: int, ring: Instance) -> None:
    facts = {"kernel": ring.kernel, "seed": str(ring.seed)}
    if ring.plan:
        facts["plan"] = ring.plan
    found = ring.reports()
    kinds = ", ".join(sorted({report.kind for report in found}))
    facts["verdict"] = f"FAIL: {len(found)} found: {kinds}" if found else "PASS"
    _record(node, f"zcrx.{number}", facts)


def _check(node: pytest.Item, instance: Instance) -> None:
    """A test that passed fails by what was found; one that failed tells it beside."""
    instance.finish()
    rings = [ring for ring in instance.rings if ring is instance or not ring.is_finished]
    for ring in rings[1:]:
        ring.finish()
    for number, ring in enumerate(rings, 1):
        _record_ring(node, number, ring)
    # Of a queue that several use the last to finish tells, to the one that registered it.
    text = "\n".join(_told(ring) for ring in rings if ring.reports())
    if not text:
        return
    if node.stash.get(_has_passed, False):
        pytest.fail(text, pytrace=False)
    node.add_report_section("teardown", "zcrx", text)


@pytest.fixture
def zcrx(request: pytest.FixtureRequest) -> Iterator[Instance]:
    """An io_uring ring of the test's own, an :class:`emu.library.Instance`.

    ``@pytest.mark.zcrx(kernel="7.3")`` says which. What the program does wrong fails the test at
    its tear-down, unless the test has called ``finish()`` and looked for itself.
    """
    from emu.errors import EmuError
    from emu.library import Instance

    try:
        instance = Instance(**_options_of(request.node))
    except EmuError as error:
        pytest.fail(f"zcrx: {error}", pytrace=False)
    try:
        yield instance
        if instance.is_finished:
            with contextlib.suppress(EmuError):  # the test has closed it, too
                _record_ring(request.node, 1, instance)
        else:
            try:
                _check(request.node, instance)
            except EmuError as error:
                pytest.fail(f"zcrx: {error}", pytrace=False)
    finally:
        for ring in (instance, *instance.rings):
            ring.close()


@pytest.fixture(scope="session")
def _zcrx_processes() -> Iterator[None]:
    """Processes of all runs of this process are forked from the same one: a run starts faster."""
    from emu.runtime.fork_server import kept

    with kept():
        yield


@pytest.fixture
def zcrx_run(request: pytest.FixtureRequest, tmp_path: Path, _zcrx_processes: None) -> Runs:
    """Makes runs: ``zcrx_run(packets=…, faults="hostile", consumer=a_function)``.

    What it takes are the fields of :class:`emu.RunConfig`; ``@pytest.mark.zcrx_run(…)`` says some
    for all runs of a test. It returns the :class:`emu.Report`; a finding fails the test with the
    report as its message, unless ``check=False``. Each run's folder is in ``tmp_path``.
    """
    from emu.testing.runs import Runs

    options: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers("zcrx_run"))):
        options |= marker.kwargs

    def record(number: int, facts: dict[str, str]) -> None:
        _record(request.node, f"zcrx_run.{number}", facts)
        # Of a test that fails pytest shows it; all of them have it with junit_logging=system-out.
        print(f"zcrx_run {number}: {facts['verdict']}; seed {facts['seed']}; {facts['again']}")

    return Runs(tmp_path, request.config.getoption("zcrx_seed"), options, record)


@pytest.fixture
def zcrx_step(request: pytest.FixtureRequest) -> Callable[..., Beside]:
    """Makes a provider to be stepped beside the specification.

    ``both = zcrx_step(num_niovs=4, rq_entries=8, provider="mine.c")``: each step is taken with
    both, and one that they answer, judge or end differently fails with all steps up to it.
    """
    from emu.testing.beside import beside

    made = 0

    def make(*, provider: str | None = None, **options: Any) -> Beside:
        nonlocal made
        made += 1
        words = ", ".join(f"{name}={value!r}" for name, value in options.items())
        _record(
            request.node, f"zcrx_step.{made}", {"provider": provider or "ours", "options": words}
        )
        return beside(provider=provider, **options)

    return make


@pytest.fixture
def zcrx_rqe(request: pytest.FixtureRequest) -> Faker:
    """A Faker that makes entries: ``zcrx_rqe.malformed_rqe("bad-area").rqe.pack()``.

    Each test has others, by the option ``--zcrx-seed`` and its own name.
    """
    from faker import Faker

    from faults.faker_provider import ZcrxProvider

    fake = Faker()
    fake.add_provider(ZcrxProvider)
    seed = f"{request.config.getoption('zcrx_seed')}/{request.node.nodeid}"
    fake.seed_instance(seed)
    _record(request.node, "zcrx_rqe", {"seed": seed})
    return fake
