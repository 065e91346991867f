"""How campaigns grow: pieces and merges a second by workers, and what one piece costs the command.

    python -m tools.campaign_growth [--quick] [--json FILE]

Rates of one machine are ratios: the machine is shared, and its cores are few. What is said of a
thousand workers (docs/campaign.md) is reckoned from the costs of one piece, measured here: what
Dask takes to carry it, what the store takes to note it, and how many bytes it is.
"""

from __future__ import annotations

import contextlib
import pickle
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from emu.campaign.artifacts import Artifacts
from emu.campaign.drive import Drive, Limits
from emu.campaign.order import Order
from emu.campaign.plan import Plan, read_plan
from emu.campaign.pool import DaskPool
from emu.campaign.result import Result, State
from emu.campaign.store import Store
from emu.campaign.worker import do_in_process
from emu.cli import run_function
from emu.cli.output import JsonOption, check_target, conclude, console_for
from emu.errors import EnvironmentProblem
from emu.host.scratch import scratch

_PLAN = """
[[job]]
command = "stress"
seeds = {count}
options = {{ packets = 500, pin = false }}
"""
#: A result as stress gives it, and one of fuzz in the middle of a campaign.
_FIGURES = {"packets": 123456, "bytes": 123456789, "entries": 234567}
_NEW_PROGRAMS, _PROGRAM_BYTES = 60, 200


def _plan(folder: Path, count: int) -> Plan:
    path = folder / "plan.toml"
    path.write_text(_PLAN.format(count=count))
    return read_plan(path)


@contextlib.contextmanager
def _store(folder: Path, plan: Plan) -> Iterator[Store]:
    where = folder / "store"
    shutil.rmtree(where, ignore_errors=True)
    with Store(where, is_writer=True) as store:
        store.plan(plan.pieces.values())
        yield store


def pieces(folder: Path, workers: int, count: int) -> dict[str, float]:
    """Whole pieces, as a campaign has them done by workers of this machine."""
    plan = _plan(folder, count)
    with (
        _store(folder, plan) as store,
        scratch() as place,
        DaskPool(None, workers, place, {}, lambda _line: None) as pool,
    ):
        while pool.workers < workers:  # what it takes to start them is paid once
            pool.results(0.1)
        began = time.perf_counter()
        ended = Drive(plan, store, Artifacts(str(folder / "files"))).run(pool, Limits())
        seconds = time.perf_counter() - began
        passed = store.counts()[State.PASSED]
    if ended.why != "done" or passed != count:
        raise EnvironmentProblem(f"{passed} of {count} pieces passed: {ended.why} {ended.problem}")
    return {"workers": workers, "pieces": count, "per_second": count / seconds}


def _result(name: str, programs: int = 0) -> Result:
    made = tuple(random.Random(f"{name}{n}").randbytes(_PROGRAM_BYTES) for n in range(programs))
    return Result(name, State.PASSED, 1.5, "worker-0123456789", "", _FIGURES, (), made)


def sizes() -> dict[str, int]:
    """Bytes of a result on its way, and of a piece that is asked for."""
    order = Order("0" * 20, "stress", ("--duration=10", "--faults=hostile", "--seed=1"), 1800.0)
    return {
        "order": len(pickle.dumps(order)),
        "result_of_stress": len(pickle.dumps(_result("x"))),
        "result_of_fuzz": len(pickle.dumps(_result("x", _NEW_PROGRAMS))),
    }


def carried(count: int) -> dict[str, float]:
    """What it takes to have results carried by Dask that cost nothing to make.

    CPU time is that of this process, which has the scheduler and asks it: others hardly change it.
    """
    with scratch() as place, DaskPool(None, 1, place, {}, lambda _line: None) as pool:
        client = pool._client
        client.gather([client.submit(_result, "first", key="growth")])
        began, spent = time.perf_counter(), time.process_time()
        futures = [client.submit(_result, f"{n}", key=f"growth-{n}") for n in range(count)]
        client.gather(futures)
        seconds, spent = time.perf_counter() - began, time.process_time() - spent
    return {"tasks": count, "per_second": count / seconds, "cpu_us_each": 1e6 * spent / count}


def noted(folder: Path, count: int) -> dict[str, float]:
    """What the store takes for each piece, one transaction each."""
    plan = _plan(folder, count)
    out = {}
    for name, programs in (("stress", 0), ("fuzz", _NEW_PROGRAMS)):
        with _store(folder, plan) as store:
            results = [_result(piece, programs) for piece in plan.pieces]
            began, spent = time.perf_counter(), time.process_time()
            for result in results:
                store.add(result, {}, "ours" if programs else "")
            seconds, spent = time.perf_counter() - began, time.process_time() - spent
        size = sum(path.stat().st_size for path in (folder / "store").iterdir())
        out[f"per_second_of_{name}"] = count / seconds
        out[f"cpu_us_each_of_{name}"] = 1e6 * spent / count
        out[f"bytes_each_of_{name}"] = size / count
    return out


def _made_programs(count: int) -> tuple[bytes, ...]:
    choose = random.Random(1)
    return tuple(choose.randbytes(choose.randrange(16, 400)) for _ in range(count))


def merges(at_a_time: int, programs: int) -> dict[str, float]:
    """Merges as workers do them, each in a process of its own."""
    order = Order(
        "merge", "fuzz", ("--fast", "--merge=given", "--time=60"), 600.0, {},
        _made_programs(programs), True,
    )  # fmt: skip
    began = time.perf_counter()
    with ThreadPoolExecutor(at_a_time) as threads:
        results = list(threads.map(do_in_process, [order] * at_a_time))
    seconds = time.perf_counter() - began
    bad = [result.why for result in results if result.state is State.FAILED]
    if bad:
        raise EnvironmentProblem(f"a merge failed: {bad[0]}")
    return {
        "merges": at_a_time,
        "programs": programs,
        "programs_per_second": at_a_time * programs / seconds,
        "kept": len(results[0].programs),
    }


def growth(
    quick: Annotated[bool, typer.Option("--quick", help="A short form, for tests.")] = False,
    json_target: JsonOption = None,
) -> None:
    """Measure how campaigns grow on this machine."""
    check_target("json", json_target)
    console = console_for(json_target)
    each = 4 if quick else 16
    counts = (1,) if quick else (1, 2, 4)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        merges(1, 50)  # what is built for it is built once
        value = {
            "pieces": [pieces(folder, workers, each) for workers in counts],
            "merges": [merges(n, 100 if quick else 2000) for n in counts],
            "carried": carried(50 if quick else 2000),
            "noted": noted(folder, 50 if quick else 3000),
            "bytes": sizes(),
        }
    _print(console, value)
    conclude(json_target, value)


def _print(console: Console, value: dict[str, Any]) -> None:
    table = Table(header_style="bold")
    for name in ("at a time", "pieces/s", "ratio", "programs merged/s", "ratio"):
        table.add_column(name, justify="right")
    one_piece = value["pieces"][0]["per_second"]
    one_merge = value["merges"][0]["programs_per_second"]
    for piece, merge in zip(value["pieces"], value["merges"], strict=True):
        rates = piece["per_second"], merge["programs_per_second"]
        table.add_row(
            str(piece["workers"]),
            f"{rates[0]:.2f}",
            f"{rates[0] / one_piece:.2f}",
            f"{rates[1]:.0f}",
            f"{rates[1] / one_merge:.2f}",
        )
    console.print(table)
    for name in ("carried", "noted", "bytes"):
        told = ", ".join(f"{key} {number:.0f}" for key, number in value[name].items())
        console.print(f"{name}: {told}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    run_function(growth, "campaign_growth")
