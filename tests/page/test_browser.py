"""Pages in a real browser: they open without a network and an error, and can be used."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emu.page.made import page_of, page_of_two
from emu.race.artifact import Artifact
from emu.race.build import build_simulation
from emu.race.library import SCENARIOS
from emu.race.runner import Runner, Search

pytestmark = pytest.mark.long

webdriver = pytest.importorskip("selenium.webdriver")
NOTHING_LEFT_OUT = "ZCRX_EMU_NOTHING_LEFT_OUT"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium that may not reach anything."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        if os.environ.get(NOTHING_LEFT_OUT):
            pytest.fail("chromium and chromedriver are not installed")
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=driver)
    found = webdriver.Chrome(options=options, service=service)
    yield found
    found.quit()


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Callable[[str], Any]:
    """Open a page that is given as text, in a window of a desk or of a telephone."""

    def open_it(text: str, width: int = 1200) -> Any:
        path = tmp_path / "page.html"
        path.write_text(text)
        browser.set_window_size(width, 900)
        browser.get(path.as_uri())
        return browser

    return open_it


@pytest.fixture(scope="module")
def race_finding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a race that was found."""
    from emu.bugs import RACING_BUGS

    scenario, bug = SCENARIOS["refill-vs-scrub"], RACING_BUGS["cve-2026-43121"]
    search = Search(seconds=20)
    found = Runner(build_simulation(bug)).search(scenario, search).found
    assert found is not None
    artifact = Artifact(
        scenario.name, scenario.text, tuple(scenario.actors), search.memory, bug, None, found
    )
    return artifact.write(tmp_path_factory.mktemp("race"))


def _drawn(browser: Any) -> int:
    """How many plots have lines in them."""
    script = (
        "return [...document.querySelectorAll('.js-plotly-plot')]"
        ".filter(plot => plot.querySelector('.main-svg .scatterlayer .trace')).length"
    )
    return int(browser.execute_script(script))


def _check(browser: Any, plots: int) -> None:
    """No error, nothing loaded, nothing wider than the window, all plots drawn."""
    assert browser.get_log("browser") == []
    loaded = "return performance.getEntriesByType('resource').map(entry => entry.name)"
    assert [name for name in browser.execute_script(loaded) if name.startswith("http")] == []
    wider = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert browser.execute_script(wider) <= 0
    assert _drawn(browser) == plots


@pytest.mark.parametrize("width", [1200, 380])
def test_runs(opened: Any, good_run: Path, bad_run: Path, width: int) -> None:
    good = page_of(good_run)
    _check(opened(good, width), 4)
    bad = page_of(bad_run)
    _check(opened(bad, width), bad.count('class="plotly-graph-div"'))
    _check(opened(page_of_two(good_run, bad_run), width), 2)


@pytest.mark.parametrize("width", [1200, 380])
def test_race(opened: Any, race_finding: Path, width: int) -> None:
    browser = opened(page_of(race_finding), width)
    _check(browser, 0)
    count = "return document.querySelectorAll({!r}).length"
    assert browser.execute_script(count.format("svg rect")) > 3
    assert browser.execute_script(count.format("svg path[marker-end]")) > 0
    assert "provider.c:" in browser.page_source


def test_keyboard_alone_is_enough(opened: Any, good_run: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    browser = opened(page_of(good_run))
    body = browser.switch_to.active_element
    body.send_keys(Keys.TAB)
    first = browser.switch_to.active_element
    assert first.tag_name == "a"
    assert first.value_of_css_property("outline-style") == "solid", "one sees where one is"
    first.send_keys(Keys.ENTER)
    assert browser.current_url.endswith("#verdict")
    summary = browser.find_element("css selector", "details > summary")
    browser.execute_script("arguments[0].focus()", summary)
    summary.send_keys(Keys.ENTER)
    assert browser.execute_script("return arguments[0].parentElement.open", summary)
