"""Campaigns on real workers, of which some are killed, and so are scheduler and command.

Whatever dies, the campaign comes to the same results, and nothing of it is left.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emu.campaign.result import State
from emu.campaign.store import Store
from emu.campaign.summary import read_summary
from emu.runtime.reaper import parent_of, relatives_of

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
DASK = Path(sys.executable).with_name("dask")
COUNT = 5
PLAN = f"""
[[job]]
command = "stress"
seeds = {COUNT}
options = {{ packets = 3000, pin = false }}
"""
MINDER = b"emu.campaign.minder"


def _words(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def _below(*roots: int) -> set[tuple[int, int]]:
    """Processes below these: pid and start, which tell them from later ones."""
    return {(one.pid, one.start) for root in roots for one in relatives_of(root)}


def _alive(known: set[tuple[int, int]]) -> list[tuple[int, list[bytes]]]:
    everybody = {(one.pid, one.start) for one in relatives_of(1) if not one.is_dead}
    return [(pid, _words(pid)) for pid, start in known & everybody]


def _at_work(root: int) -> list[int]:
    """Workers below a process that have a piece whose command has begun."""
    minders = [one.pid for one in relatives_of(root) if MINDER in _words(one.pid)]
    busy = [pid for pid in minders if any(b"stress" in _words(c) for c, _ in _below(pid))]
    return [parent for pid in busy if (parent := parent_of(pid)) is not None]


def _results(folder: Path) -> dict[str, tuple[str, float]]:
    with Store(folder, is_writer=False) as store:
        return {
            row["name"]: (row["state"], row["figures"].get("packets", 0)) for row in store.rows()
        }


class Campaign:
    """A campaign of the test's own, with a place of its own for temporary files."""

    def __init__(self, script: Any, folder: Path) -> None:
        self._script = script
        self.folder = folder
        self.temporary = folder / "tmp"
        self.store = folder / "plan.campaign"
        self.wait_until: Callable[[Callable[[], object]], bool] = script.wait_until
        self._seen: set[tuple[int, int]] = set()
        self.temporary.mkdir()

    def plan(self, text: str) -> None:
        (self.folder / "plan.toml").write_text(text)

    def start(self, *words: object) -> Any:
        return self._script.start("campaign", "plan.toml", *words)

    def run(self, *words: object) -> Any:
        ended = self.start(*words).finish()
        assert ended.stderr == ""
        return ended

    def until_at_work(self, root: int) -> int:
        """Wait until some worker below a process does a piece; its pid."""
        found: list[int] = []

        def look() -> list[int]:
            found[:] = _at_work(root)
            return found

        assert self.wait_until(look)
        self._seen |= _below(root)
        return found[0]

    def check_nothing_is_left(self) -> None:
        """No process that was seen, and no file."""
        assert self.wait_until(lambda: not _alive(self._seen)), _alive(self._seen)
        assert self.wait_until(lambda: not list(self.temporary.iterdir()))

    def check_all_passed(self) -> None:
        results = _results(self.store)
        assert len(results) == COUNT
        assert set(results.values()) == {(State.PASSED, 3000)}


@pytest.fixture
def campaign(script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Campaign:
    made = Campaign(script, tmp_path)
    monkeypatch.setenv("TMPDIR", str(made.temporary))
    made.plan(PLAN)
    return made


def test_killed_worker_changes_nothing(campaign: Campaign) -> None:
    running = campaign.start("--workers", 2)
    os.kill(campaign.until_at_work(running.pid), signal.SIGKILL)
    ended = running.finish()
    assert (ended.code, ended.stderr) == (0, "")
    assert f"PASS: all {COUNT} pieces were done and passed" in ended.stdout
    campaign.check_all_passed()
    campaign.check_nothing_is_left()


def test_killed_command_goes_on(campaign: Campaign) -> None:
    running = campaign.start("--workers", 2)
    running.expect(r"pieces to do")
    campaign.until_at_work(running.pid)
    running.process.kill()
    running.process.wait()
    assert campaign.wait_until(lambda: not _alive(campaign._seen)), _alive(campaign._seen)
    done = {name for name, (state, _) in _results(campaign.store).items() if state == "passed"}
    assert len(done) < COUNT
    ended = campaign.run("--workers", 2)
    assert ended.code == 0
    campaign.check_all_passed()
    if done:
        assert f"{len(done)} of {COUNT} pieces were done before" in ended.stdout
    campaign.check_nothing_is_left()


def test_interrupt_ends_it_in_order(campaign: Campaign) -> None:
    running = campaign.start("--workers", 2)
    campaign.until_at_work(running.pid)
    running.process.send_signal(signal.SIGINT)
    ended = running.finish()
    assert (ended.code, ended.stderr) == (2, "")
    assert re.search(
        r"NO VERDICT: \d of 5 pieces passed; \d were not done: it was inter", ended.stdout
    )
    campaign.check_nothing_is_left()
    summary = read_summary(campaign.store)
    assert (summary["ended"], summary["pieces"]["failed"]) == ("interrupted", 0)


KILLER = """
import os, signal
from pathlib import Path

def main(consumer):
    pid = os.getpid()
    while b"emu.campaign.minder" not in Path(f"/proc/{pid}/cmdline").read_bytes():
        pid = parent(pid)
    os.kill(parent(pid), signal.SIGKILL)
    for completion in consumer:
        consumer.give_back(completion)

def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
"""


def test_piece_that_kills_its_workers_is_given_up(campaign: Campaign) -> None:
    (campaign.folder / "killer.py").write_text(KILLER)
    campaign.plan(
        PLAN + '[[job]]\ncommand = "stress"\n'
        'options = { packets = 3000, consumer = "killer:main", pin = false }\n'
    )
    ended = campaign.run("--workers", 2, "--json", "out.json")
    assert ended.code == 2
    assert f"NO VERDICT: {COUNT} of {COUNT + 1} pieces passed; 1 could not be done" in ended.stdout
    (failed,) = json.loads((campaign.folder / "out.json").read_text())["failed"]
    assert re.fullmatch(r"its worker ended [3-9] times while it had it", failed["why"])
    campaign.check_nothing_is_left()


# ---- clusters that are there --------------------------------------------------------------


class Cluster:
    """A scheduler and workers that no campaign has started."""

    def __init__(self, folder: Path, host: str = "127.0.0.1") -> None:
        self._folder = folder
        self._host = host
        self._processes: list[subprocess.Popen[bytes]] = []
        self.scheduler: subprocess.Popen[bytes]
        self.address = ""

    def start(self, wait_until: Callable[[Callable[[], object]], bool]) -> None:
        """Start a scheduler at a port that is free."""
        about = self._folder / f"scheduler-{len(self._processes)}.json"
        words = ["scheduler", "--host", self._host, "--port", "0", "--no-dashboard"]
        self.scheduler = self.process([*words, "--scheduler-file", str(about)], self._folder)
        # It is there a moment before it has its words.
        assert wait_until(lambda: about.exists() and about.read_text().endswith("}"))
        self.address = json.loads(about.read_text())["address"]

    def process(
        self, words: list[str], folder: Path, before: tuple[str, ...] = ()
    ) -> subprocess.Popen[bytes]:
        log = self._folder / f"log-{len(self._processes)}.txt"
        with log.open("wb") as file:
            made = subprocess.Popen([*before, DASK, *words], cwd=folder, stdout=file, stderr=file)
        self._processes.append(made)
        return made

    def worker(self, *more: str, before: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        """Start a worker in a folder of its own."""
        folder = self._folder / f"worker-{len(self._processes)}"
        folder.mkdir()
        words = [
            "worker",
            self.address,
            "--no-dashboard",
            "--nthreads",
            "2",
            "--death-timeout",
            "5",
        ]
        return self.process([*words, "--local-directory", str(folder), *more], folder, before)

    def close(self) -> None:
        """End all of them, workers first."""
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def cluster(campaign: Campaign, tmp_path: Path) -> Iterator[Cluster]:
    folder = tmp_path / "cluster"
    folder.mkdir()
    made = Cluster(folder)
    yield made
    made.close()


def test_killed_scheduler_ends_the_command_and_another_goes_on(
    campaign: Campaign, cluster: Cluster
) -> None:
    cluster.start(campaign.wait_until)
    worker = cluster.worker("--no-nanny")
    running = campaign.start("--scheduler", cluster.address)
    campaign.until_at_work(worker.pid)
    cluster.scheduler.kill()
    ended = running.finish()
    assert (ended.code, ended.stderr) == (2, "")
    assert f"scheduler: {cluster.address} is gone" in ended.stdout
    worker.wait()
    assert campaign.wait_until(lambda: not _alive(campaign._seen)), _alive(campaign._seen)
    cluster.start(campaign.wait_until)
    cluster.worker("--no-nanny")
    assert campaign.run("--scheduler", cluster.address).code == 0
    campaign.check_all_passed()


def test_the_only_worker_comes_back_and_is_known_again(
    campaign: Campaign, cluster: Cluster
) -> None:
    """Dask has a piece wait for a worker that was not asked what it is, when it comes."""
    cluster.start(campaign.wait_until)
    nanny = cluster.worker("--nworkers", "1")
    running = campaign.start("--scheduler", cluster.address)
    os.kill(campaign.until_at_work(nanny.pid), signal.SIGKILL)
    ended = running.finish()
    assert (ended.code, ended.stderr) == (0, "")
    campaign.check_all_passed()


STRANGER = """
import sys
sys.argv[0] = "dask"
from emu.campaign import worker
from emu.errors import EnvironmentProblem
{what}
from dask.__main__ import main
main()
"""
OTHER_VERSION = 'worker.package_digest = lambda: "another"'
NO_COMPILER = """
def none():
    raise EnvironmentProblem("there is none")
worker.any_compiler = none
"""


def _stranger(cluster: Cluster, what: str) -> None:
    """A worker that is not what it should be."""
    path = cluster._folder / f"stranger-{len(cluster._processes)}.py"
    path.write_text(STRANGER.format(what=what))
    words = ["worker", cluster.address, "--no-dashboard", "--no-nanny", "--death-timeout", "5"]
    log = cluster._folder / f"log-{path.stem}.txt"
    with log.open("wb") as file:
        made = subprocess.Popen(
            [sys.executable, path, *words], cwd=cluster._folder, stdout=file, stderr=file
        )
    cluster._processes.append(made)


def test_workers_that_cannot_are_said_once_and_others_go_on(
    campaign: Campaign, cluster: Cluster
) -> None:
    (campaign.folder / "p.c").write_text((ROOT / "docs/examples/plain_provider.c").read_text())
    campaign.plan(PLAN + 'matrix = { provider = ["p.c"] }\n')
    cluster.start(campaign.wait_until)
    _stranger(cluster, OTHER_VERSION)
    _stranger(cluster, NO_COMPILER)
    running = campaign.start("--scheduler", cluster.address)
    running.expect(r"gets no pieces: its zcrx-emu is .* \(another\), not the same as here")
    running.expect(r"has no C compiler: it gets no pieces of fuzz, race and check")
    assert not [pid for p in cluster._processes for pid in _at_work(p.pid)]
    able = cluster.worker("--no-nanny")
    ended = running.finish()
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.stdout.count("no C compiler") == 1
    assert able.poll() is None
    campaign.check_all_passed()


# ---- another machine ----------------------------------------------------------------------

_HERE, _THERE = "10.213.77.1", "10.213.77.2"


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def other_machine() -> Iterator[str]:
    """A network of its own, linked to this one: the name of its namespace."""
    if shutil.which("ip") is None:
        say = pytest.fail if os.environ.get("ZCRX_EMU_NOTHING_LEFT_OUT") else pytest.skip
        say("ip is not installed: apt install iproute2")
    name, here, there = (f"zcx{kind}{os.getpid()}" for kind in "nab")
    with contextlib.ExitStack() as undo:
        try:
            _ip("netns", "add", name)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network can be made here: {error.stderr.decode().strip()}")
        undo.callback(_ip, "netns", "del", name)  # and the link with it
        _ip("link", "add", here, "type", "veth", "peer", "name", there)
        _ip("link", "set", there, "netns", name)
        _ip("addr", "add", f"{_HERE}/30", "dev", here)
        _ip("link", "set", here, "up")
        _ip("-n", name, "addr", "add", f"{_THERE}/30", "dev", there)
        _ip("-n", name, "link", "set", there, "up")
        _ip("-n", name, "link", "set", "lo", "up")
        yield name


def test_another_machine_shares_nothing_but_a_network(
    campaign: Campaign, tmp_path: Path, other_machine: str
) -> None:
    """The worker sees neither the plan's folder, nor the store, nor what was built here."""
    (campaign.folder / "plain_provider.c").write_text(
        (ROOT / "docs/examples/plain_provider.c").read_text()
    )
    (campaign.folder / "bad.c").write_text((ROOT / "docs/examples/broken_provider.c").read_text())
    campaign.plan(
        PLAN + '[[job]]\ncommand = "stress"\nfiles = ["plain_provider.c"]\n'
        'options = { provider = "bad.c", packets = 20000, faults = "hostile", pin = false }\n'
    )
    cluster = Cluster(tmp_path, _HERE)
    cluster.start(campaign.wait_until)
    hidden = [str(campaign.folder), str(Path("~/.cache").expanduser())]
    script = " && ".join(
        [f"mount -t tmpfs none {shlex.quote(path)}" for path in hidden if Path(path).is_dir()]
        + [f"mkdir {shlex.quote(str(campaign.temporary))}", 'cd "$TMPDIR"', 'exec "$@"']
    )
    before = ("ip", "netns", "exec", other_machine, "sh", "-c", script, "sh")
    words = ["worker", cluster.address, "--no-dashboard", "--no-nanny", "--host", _THERE]
    try:
        cluster.process([*words, "--death-timeout", "5"], tmp_path, before)
        ended = campaign.run("--scheduler", cluster.address)
    finally:
        cluster.close()
    assert ended.code == 1
    summary = read_summary(campaign.store)
    assert summary["pieces"]["passed"] == COUNT
    (finding,) = summary["findings"]
    replayed = campaign._script.run("replay", finding["file"])
    assert replayed.code == 1


# ---- the document -------------------------------------------------------------------------


def test_the_documents_plan_passes(campaign: Campaign) -> None:
    text = (ROOT / "docs" / "campaign.md").read_text()
    (plan,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    campaign.plan(plan)
    ended = campaign.run("--workers", 2, "--report", "page.html")
    assert ended.code == 0
    assert "PASS: all 7 pieces were done and passed" in ended.stdout
    assert (campaign.folder / "page.html").stat().st_size > 100_000
    campaign.check_nothing_is_left()
