"""Pages of runs, findings and checks: what is in them, and what cannot get into them."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plotly.offline import get_plotlyjs

from emu.errors import ConfigError
from emu.page.charts import rates
from emu.page.made import page_of, page_of_two
from emu.page.run_page import run_page
from emu.verdict.report import write_json

#: What somebody may have called a file, a fault of his own or a process.
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>'\"&"


def test_good_run_says_so_first(good_run: Path) -> None:
    text = page_of(good_run)
    assert text.index("<strong>PASS</strong>") < text.index("What holds")
    assert text.count('class="plotly-graph-div"') == 4
    assert "What went wrong" not in text
    assert "What is missing" not in text
    assert "zcrx-emu stress --seed 1" in text


def test_bad_run_tells_its_story(bad_run: Path) -> None:
    text = page_of(bad_run / "run.json")
    assert "<strong>FAIL</strong>" in text
    assert "explained" in text
    assert "Around it" in text
    assert "What is missing" not in text
    report = json.loads((bad_run / "run.json").read_text())
    assert all(line.split(":")[0] in text for line in report["problems"])


def test_two_runs_are_held_beside_each_other(good_run: Path, bad_run: Path) -> None:
    text = page_of_two(good_run, bad_run)
    assert "A: PASS" in text
    assert "B: FAIL" in text
    assert "double-return" in text, "the plans differ"
    assert text.count('class="plotly-graph-div"') == 2


def test_page_loads_nothing_and_runs_nothing_of_others(good: dict[str, Any]) -> None:
    good["config"]["traffic"] = good["config"]["provider"] = HOSTILE
    good["ended"], good["notes"] = HOSTILE, [HOSTILE]
    good["marks"] = [{"t_s": 0.1, "what": HOSTILE, "queue": None}]
    good["series"]["faults"][HOSTILE] = good["series"]["rqes"]
    text = run_page(good)
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert "default-src 'none'" in text
    text = text.replace(get_plotlyjs(), "")  # which has links of its own, to be clicked on
    for loading in ('src="http', "src='http", 'href="http'):
        assert loading not in text


def test_last_word_of_a_dead_control_process_is_a_page(tmp_path: Path) -> None:
    """What the provider leaves when nobody is there to judge: most of a report is not there."""
    problem = "the control process died; the run was not judged"
    value = {"schema": 1, "ok": False, "seed": 7, "config": {}, "problems": [problem]}
    write_json(tmp_path / "run.json", value)
    text = page_of(tmp_path)
    assert "<strong>FAIL</strong>" in text
    assert "What is missing here" in text
    assert "the table of entries" in text


_NOT_SO = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=4), st.just([]), st.just({})
)


@pytest.mark.long
@given(data=st.data())
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_damaged_report_is_a_page_as_far_as_it_goes(
    good: dict[str, Any], monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    monkeypatch.setattr("plotly.offline.get_plotlyjs", lambda: "")  # five megabytes
    value = copy.deepcopy(good)
    for _ in range(data.draw(st.integers(1, 4))):
        inner: Any = value
        while True:
            if isinstance(inner, dict) and inner:
                key: Any = data.draw(st.sampled_from(sorted(inner)))
            elif isinstance(inner, list) and inner:
                key = data.draw(st.integers(0, len(inner) - 1))
            else:
                break
            if not isinstance(inner[key], (dict, list)) or data.draw(st.booleans()):
                if data.draw(st.booleans()):
                    del inner[key]
                else:
                    inner[key] = data.draw(_NOT_SO)
                break
            inner = inner[key]
    assert "</html>" in run_page(value)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read"),
        ("{", "is no JSON"),
        ("[]", "is no report"),
        ('{"a": 1}', "is no report"),
        ('{"format": "zcrx-emu race finding"}', "version"),
    ],
)
def test_what_is_no_report_is_told(tmp_path: Path, content: str | None, why: str) -> None:
    path = tmp_path / "x.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=why):
        page_of(path)


def test_rates_are_of_the_time_that_passed() -> None:
    assert rates([0.0, 0.5, 2.5], [0, 10, 30]) == [20.0, 10.0]
    assert rates([1.0, 1.0], [0, 5]) == [0.0]
