"""``zcrx-emu race --live`` as a person sees it: where the runs stand, the first hit, the sum."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console

from emu.bugs import Bug
from emu.contract import SEED
from emu.host.ending import ended_by_signals
from emu.host.streams import nobody_reads
from emu.race.library import SCENARIOS
from emu.race.live import LiveResult, check_live, run_live
from emu.race.view import RunsView


@contextlib.contextmanager
def _stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Ctrl-C, SIGTERM and SIGHUP are asked for, and put back afterwards."""
    caught: list[signal.Signals] = []
    with ended_by_signals(caught.append):
        yield lambda: bool(caught) or nobody_reads()


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _say_first(console: Console, result: LiveResult) -> None:
    assert result.first is not None
    hit = result.first
    _say(console, f"hit after {hit.seconds:.1f} s, run {hit.execution}, seed {hit.seed}:")
    for problem in hit.problems:
        _say(console, f"  {problem}")
    if hit.why is not None:
        _say(console, f"  {hit.why}")
    _say(console, f"again: {result.command(hit.seed)}")


def summary(result: LiveResult) -> str:
    """The result in a few lines."""
    dawdled = result.dawdled
    lines = [
        f"{result.executions} runs in {result.seconds:.1f} s: {result.delivered} packets, "
        f"{result.returned} returns judged, {result.process_faults} process faults",
        f"dawdled {dawdled.total} times: {dawdled.spins} spins, {dawdled.yields} yields, "
        f"{dawdled.sleeps} sleeps",
        f"{result.hits} runs with a finding, {result.hits_per_hour:.0f} an hour",
    ]
    lines += [f"  {kind}: {count}" for kind, count in result.kinds.most_common()]
    if result.is_partial:
        lines.append("partial: it was interrupted")
    return "\n".join(lines)


def live_command(
    console: Console,
    scenario: str,
    bug: Bug | None,
    kernel: str,
    seconds: float,
    seed: int,
    provider: Path | None = None,
) -> LiveResult:
    """What ``zcrx-emu race --live`` does, but for its JSON and exit code.

    Args:
        console: Where people read.
        scenario: Name of a ready scenario.
        bug: A seeded bug, or None.
        kernel: The level that is played, unless the scenario names its own.
        seconds: For so long, above 0.
        seed: Of the first run, u64.
        provider: In the place of ours, or None.

    Raises:
        ConfigError, EnvironmentProblem, StaleBugError: As :func:`run_live`.
    """
    check_live(scenario, seconds, seed)
    kernel = SCENARIOS[scenario].at(kernel).kernel
    what = f" with the seeded bug {bug.name}" if bug else ""
    what += f" as kernel {kernel}" if kernel != SEED else ""
    what += f", provider {provider}" if provider is not None else ""
    _say(console, f"live: {scenario}{what}, real processes for {seconds:g} s, seed {seed}")
    said = False

    def look(result: LiveResult) -> None:
        nonlocal said
        if result.first is not None and not said:
            said = True
            _say_first(console, result)

    with _stop_on_signal() as stopped, RunsView(console, seconds) as view:

        def show(result: LiveResult) -> None:
            look(result)
            view.update(result)

        result = run_live(
            scenario,
            bug,
            kernel=kernel,
            provider=provider,
            seconds=seconds,
            seed=seed,
            stopped=stopped,
            look=show,
        )
    look(result)
    _say(console, summary(result))
    return result
