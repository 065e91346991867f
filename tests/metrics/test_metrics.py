"""Live counters over HTTP: scraped in a run, and read by the library's own strict parser."""

from __future__ import annotations

import re
import socket
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from emu.cli import commands
from emu.cli.render import LiveView
from emu.config import RunConfig
from emu.core import Places
from emu.errors import ConfigError, EnvironmentProblem
from emu.fuzz import cli
from emu.fuzz.view import CampaignView
from emu.metrics.of_run import RunFamilies
from emu.metrics.server import MetricsServer, parse_address
from emu.runtime.sample import QueueSample, Sample
from emu.runtime.session import run
from emu.spec.state import Verdict
from emu.verdict.report import Report
from faults import parse_plan

from ..conftest import PATIENCE_S

Call = Callable[..., Any]
Key = tuple[str, frozenset[tuple[str, str]]]


def fetched(url: str) -> tuple[str, str]:
    """What is answered to whoever does not say what he wants: its type, and the text."""
    with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


def parsed(text: str) -> list[Metric]:
    parse: Callable[[str], Iterable[Metric]] = text_string_to_metric_families
    return list(parse(text))


def families_of(text: str) -> dict[str, Metric]:
    return {family.name: family for family in parsed(text)}


def values_of(text: str) -> dict[Key, float]:
    """Each sample's value, by its name and its labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parsed(text)
        for sample in family.samples
    }


# ---- A run --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scraped() -> tuple[str, Sample, Report, RunConfig]:
    """A text that was scraped in a run, the sample that it is of, and the run's report."""
    plan = parse_plan("bad-pad:5%,bad-pad:1%:queue=1,queue-restart:every=30")
    config = RunConfig(seed=2, queues=2, packets=20_000, plan=plan, wait_ms=60_000)
    seen: list[tuple[str, Sample]] = []
    with MetricsServer[Sample]("127.0.0.1:0", RunFamilies(config, "stress")) as server:

        def look(sample: Sample) -> None:
            server.publish(sample)
            seen.append((fetched(server.url)[1], sample))

        report = run(config, on_sample=look)
    text, sample = seen[-1]
    return text, sample, report, config


def test_what_is_scraped_is_the_sample(scraped: tuple[str, Sample, Report, RunConfig]) -> None:
    """The last one is taken when all is over: so it has what the report has."""
    text, _, report, config = scraped
    values = values_of(text)

    def sum_of(name: str, **labels: str) -> float:
        return sum(
            value
            for (known, of), value in values.items()
            if known == f"zcrx_emu_{name}" and labels.items() <= set(of)
        )

    assert sum_of("packets_delivered_total") == report.total("nic", "packets_delivered") > 0
    assert sum_of("delivered_bytes_total") == report.total("nic", "bytes_delivered")
    assert sum_of("rqes_submitted_total") == report.total("consumer", "rqe_submitted")
    for verdict in Verdict:
        judged = sum_of("rqes_judged_total", verdict=verdict.label)
        assert judged == report.verdicts[verdict.label]
    injected = report.as_dict()["faults"]["injected"]
    assert sum_of("faults_injected_total", fault="bad-pad") == injected["bad-pad"] > 0
    assert sum_of("process_faults_total", fault="queue-restart") == injected["queue-restart"]
    for queue in range(2):
        assert sum_of("buffers", queue=str(queue)) == config.buffers
    assert sum_of("elapsed_seconds") == pytest.approx(report.elapsed_s)
    processes = {dict(of)["process"] for name, of in values if "cpu_seconds" in name}
    assert processes == {"nic", "provider", "consumer of queue 0", "consumer of queue 1"}
    assert sum_of("findings_total") == 0


def test_names_and_units_are_by_the_rules(
    scraped: tuple[str, Sample, Report, RunConfig],
) -> None:
    text = scraped[0]
    assert text.endswith("# EOF\n")
    for name, family in families_of(text).items():
        assert re.fullmatch(r"zcrx_emu_[a-z_]+[a-z]", name)
        assert family.documentation
        assert family.type in ("counter", "gauge", "info")
        for unit in ("seconds", "bytes"):
            assert (family.unit == unit) == name.endswith(f"_{unit}"), name
        if family.type == "counter":
            assert all(sample.name == f"{name}_total" for sample in family.samples)


def test_finding_is_counted_and_labels_are_escaped() -> None:
    nic = dict.fromkeys(
        ("packets_offered", "packets_delivered", "bytes_delivered", "fragments_delivered"), 1
    ) | dict.fromkeys(("copied_packets", "dropped_no_buffer", "dropped_cq_full"), 1)
    nic |= {"waits_no_buffer": 1, "waits_cq_full": 1}
    one = queue_sample(nic)
    sample = Sample(1.0, (one,), {'a "b"\n\\': 0.5}, (), ("exactness",))
    with MetricsServer[Sample]("127.0.0.1:0", RunFamilies(RunConfig(seed=1), "recv")) as server:
        server.publish(sample)
        values = values_of(fetched(server.url)[1])
    assert values["zcrx_emu_findings_total", frozenset({("kind", "exactness")})] == 1
    process = frozenset({("process", 'a "b"\n\\')})
    assert values["zcrx_emu_process_cpu_seconds_total", process] == 0.5


def queue_sample(nic: dict[str, int]) -> QueueSample:
    provider = {verdict.label: 1 for verdict in Verdict}
    return QueueSample(nic, provider, {"rqe_submitted": 1}, 0, Places(*[1] * 7))


# ---- The endpoint -------------------------------------------------------------------------------


def pair(sample: tuple[int, int] | None) -> Iterator[Metric]:
    for name, value in zip(("a", "b"), sample or (0, 0), strict=True):
        yield GaugeMetricFamily(name, name, value=value)


def test_scrape_never_sees_half_a_sample() -> None:
    done = threading.Event()
    with MetricsServer[tuple[int, int]]("127.0.0.1:0", pair) as server:

        def publish() -> None:
            number = 0
            while not done.is_set():
                number += 1
                server.publish((number, number))

        publisher = threading.Thread(target=publish)
        publisher.start()
        try:
            texts = [values_of(fetched(server.url)[1]) for _ in range(30)]
        finally:
            done.set()
            publisher.join()
    nothing: frozenset[tuple[str, str]] = frozenset()
    assert all(values["a", nothing] == values["b", nothing] for values in texts)
    assert len({values["a", nothing] for values in texts}) > 1, "they moved meanwhile"


def test_openmetrics_is_what_comes_unless_another_is_wanted() -> None:
    with MetricsServer[tuple[int, int]]("127.0.0.1:0", pair) as server:
        kind, text = fetched(server.url)
        assert kind.startswith("application/openmetrics-text")
        assert text.endswith("# EOF\n")
        request = urllib.request.Request(server.url, headers={"Accept": "text/plain"})
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain")


def test_endpoint_is_gone_with_what_it_is_of() -> None:
    before = threading.active_count()
    with MetricsServer[tuple[int, int]]("127.0.0.1:0", pair) as server:
        url = server.url
        address = ("127.0.0.1", int(url.split(":")[2].split("/")[0]))
        idle = socket.create_connection(address)  # it never asks: nobody waits for it
    with pytest.raises(urllib.error.URLError):
        fetched(url)
    idle.close()
    assert threading.active_count() <= before + 1


def test_port_taken_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(EnvironmentProblem, match=f"metrics: {address} cannot be had"):
            MetricsServer[tuple[int, int]](address, pair)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("localhost:65535", ("localhost", 65535)),
        ("[::1]:9", ("::1", 9)),
    ],
)
def test_address_is_read(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text", ["", "9090", ":9090", "h:", "h:x", "h:65536", "h:-1", "::1:9", "h:\u0663", "h:123456"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"metrics: .* is not allowed; HOST:PORT"):
        parse_address(text)


# ---- The commands -------------------------------------------------------------------------------


def test_stress_says_where_it_is_scraped(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real scrape, while the command is at work."""
    texts: list[str] = []

    class Scraped(LiveView):
        def update(self, sample: Sample) -> None:
            super().update(sample)
            texts.append(fetched(url_file.read_text())[1])

    url_file = tmp_path / "url"
    entered = MetricsServer.__enter__

    def enter(server: Any) -> Any:
        url_file.write_text(server.url)
        return entered(server)

    monkeypatch.setattr(MetricsServer, "__enter__", enter)
    monkeypatch.setattr(commands, "LiveView", Scraped)
    ended = call("stress", "--packets", "3000", "--metrics", "127.0.0.1:0")
    assert ended.code == 0, ended.stderr
    assert f"metrics on {url_file.read_text()}\n" in ended.stdout
    assert families_of(texts[0])["zcrx_emu_run"].samples[0].labels["command"] == "stress"


@pytest.mark.parametrize(
    "words",
    [
        ("stress",),
        ("recv", "--listen", "127.0.0.1:0", "--output", "o"),
        ("fuzz",),
    ],
)
def test_address_that_cannot_be_is_one_line(
    call: Call, tmp_path: Path, words: tuple[str, ...]
) -> None:
    ended = call(*words, "--metrics", "nowhere")
    assert (ended.code, ended.stdout) == (2, "")
    assert ended.stderr.startswith("zcrx-emu: error: metrics: 'nowhere' is not allowed; HOST:PORT")
    assert ended.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_missing_library_is_one_line(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    ended = call("stress", "--metrics", "127.0.0.1:0")
    assert ended.code == 2
    assert "pip install 'zcrx-emu[metrics]'" in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_campaign_is_scraped(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    servers: list[Any] = []
    entered = MetricsServer.__enter__

    def enter(server: Any) -> Any:
        servers.append(server)
        return entered(server)

    class Scraped(CampaignView):
        def update(self, progress: Any) -> None:
            super().update(progress)
            texts.append(fetched(servers[0].url)[1])

    monkeypatch.setattr(MetricsServer, "__enter__", enter)
    monkeypatch.setattr(cli, "CampaignView", Scraped)
    words = ("--time", "1", "--engine", "generate", "--fast", "--seed", "1")
    ended = call("fuzz", *words, "--metrics", "127.0.0.1:0")
    assert ended.code == 0, ended.stderr
    values = values_of(texts[-1])
    assert values["zcrx_emu_fuzz_executions_total", frozenset()] > 0
    assert values["zcrx_emu_fuzz_findings_total", frozenset()] == 0
    assert families_of(texts[-1])["zcrx_emu_fuzz"].samples[0].labels["engine"] == "generate"
