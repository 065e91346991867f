"""What a person sees of a run: on a terminal a view that is redrawn in place, elsewhere a line
each second. Its closing verdict is printed by :mod:`emu.cli.closing`.
"""

from __future__ import annotations

import contextlib
import math
import textwrap
import threading
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from emu.cli.pictures import Share, sparkline, stacked_bar
from emu.compile.cache import watched
from emu.config import RunConfig
from emu.runtime.sample import Sample
from emu.spec.state import Verdict

_PREFIXES = ("", "k", "M", "G", "T", "P")
#: Where a buffer is, from home to the user: in a word, each of another letter, and its colours.
_PLACES = {
    "freelist": ("free", "black on green"),
    "cache": ("cache", "black on cyan"),
    "ptr_ring": ("ptr ring", "white on blue"),
    "grant_ring": ("granted", "white on magenta"),
    "nic": ("NIC", "black on yellow"),
    "user": ("user", "black on white"),
}
_BAR_LINES = 1
_FRAME_LINES = 4  #: of the table: above, below, its header and the line under it
_ROWS_MIN = 2  #: of the table, before pictures have room
_COURSE_MIN = 10  #: cells of a course that says anything
_MOST = len(" most 1.23 M")
#: Of the table of queues; where the terminal is narrow the last ones are left out.
_COLUMNS = ("packets/s", "bytes/s", "RQE/s", "faults", "dropped")
_QUEUE_CELLS = len("| 63 to 63 |")
_VALUE_CELLS = len("1.23 k")
_BAR_BESIDE = len("stress  100% 00:00:00 ")  #: what stands in the bar's line beside it
_CONSUMERS = 8  #: whose use of the CPU is shown
_COURSE_MAX = 512  #: rates that are kept: as many as a line of the widest terminal
PLAIN_EVERY_S = 1.0


def short(value: float, unit: str = "") -> str:
    """A number in three to four digits with a decimal prefix: 1234567 → 1.23 M."""
    power = 0
    while value >= 999.5 and power < len(_PREFIXES) - 1:  # what rounds to 1000 is 1 of the next
        value, power = value / 1000, power + 1
    return f"{value:.3g} {_PREFIXES[power]}{unit}".strip()


def _columns(width: int) -> list[str]:
    """Those of the table that a terminal has room for; the first of them in any case."""
    shown: list[str] = []
    room = width - _QUEUE_CELLS
    for name in _COLUMNS:
        room -= max(len(name), _VALUE_CELLS) + 3
        if room < 0 and shown:
            break
        shown.append(name)
    return shown


class _Rates:
    """Turns cumulative samples into rates between the last two."""

    def __init__(self) -> None:
        self._last: Sample | None = None
        self._now: Sample | None = None

    def push(self, sample: Sample) -> None:
        self._last, self._now = self._now, sample

    def per_second(self, value: Callable[[Sample], float]) -> float:
        if self._now is None:
            return 0.0
        if self._last is None:
            return value(self._now) / self._now.elapsed_s if self._now.elapsed_s else 0.0
        seconds = self._now.elapsed_s - self._last.elapsed_s
        return (value(self._now) - value(self._last)) / seconds if seconds > 0 else 0.0


@contextlib.contextmanager
def compiling_shown(console: Console) -> Iterator[None]:
    """Say so, once, when something has to be compiled first."""
    told: set[str] = set()
    lock = threading.Lock()  # several files are compiled at a time

    def tell(text: str) -> None:
        with lock:
            if text not in told:
                told.add(text)
                console.print(text, highlight=False, markup=False, soft_wrap=True)

    with watched(tell):
        yield


class RedrawnView:
    """A context manager with something that is redrawn in place: on a terminal only."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(console=self._console, refresh_per_second=8, transient=True)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()


class LiveView(RedrawnView):
    """The view of a running session; a context manager whose ``update`` takes samples."""

    def __init__(self, console: Console, config: RunConfig) -> None:
        super().__init__(console)
        self._config = config
        self._rates = _Rates()
        self._course: deque[float] = deque(maxlen=_COURSE_MAX)  # packets/s, the newest at the end
        self._next_plain_s = PLAIN_EVERY_S
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=max(min(40, console.width - _BAR_BESIDE), 1)),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        total = config.duration_s or (float(config.packets) or None)
        self._task = self._progress.add_task("stress", total=total)

    def update(self, sample: Sample) -> None:
        """Show a new sample."""
        if self._live is not None:
            self._live.update(self.picture(sample))
            return
        self._rates.push(sample)
        if sample.elapsed_s >= self._next_plain_s:
            self._next_plain_s = math.floor(sample.elapsed_s) + PLAIN_EVERY_S
            self._console.print(self._plain(sample), highlight=False, soft_wrap=True)

    def picture(self, sample: Sample) -> Group:
        """Take a new sample; what a terminal shows of it: no more lines than it has."""
        self._rates.push(sample)
        self._course.append(self._packets())
        done = (
            sample.elapsed_s
            if self._config.duration_s
            else sum(queue.nic["packets_offered"] for queue in sample.queues)
        )
        self._progress.update(self._task, completed=done)
        width, height = self._console.size
        below = [
            line
            for text in (self._verdicts(sample), self._buffers(sample), self._processes(sample))
            for line in textwrap.wrap(text, width)
        ]
        rows = height - 1 - _BAR_LINES - _FRAME_LINES - len(below)
        pictures = self._pictures(sample, width)
        if rows - len(pictures) < min(len(sample.queues), _ROWS_MIN):
            pictures = []  # figures first
        rows = max(rows - len(pictures), 1)
        words = Text("\n".join(below))
        return Group(self._progress, self._queues(sample, rows), *pictures, words)

    def _pictures(self, sample: Sample, width: int) -> list[Text]:
        """Packets a second over time, and where buffers are: a line each."""
        head = f"{short(self._course[-1], 'packets/s'):<15} "
        room = width - len(head) - _MOST
        lines = []
        if room >= _COURSE_MIN:
            shown = list(self._course)[-room:]
            course = sparkline(shown, room, in_ascii=self._console.options.ascii_only)
            lines.append(Text(f"{head}{course} most {short(max(shown))}", no_wrap=True))
        shares = [Share(word, size, style) for word, size, style in self._places(sample)]
        if width >= len(shares):
            in_colour = not self._console.no_color and self._console.color_system is not None
            lines.append(stacked_bar(shares, width, in_colour=in_colour))
        return lines

    def _places(self, sample: Sample) -> list[tuple[str, int, str]]:
        """Of each place: a word, how many buffers are there, its style."""
        return [
            (word, sum(getattr(queue.places, name) for queue in sample.queues), style)
            for name, (word, style) in _PLACES.items()
        ]

    def _packets(self) -> float:
        return self._rates.per_second(lambda s: sum(q.nic["packets_delivered"] for q in s.queues))

    def _plain(self, sample: Sample) -> str:
        packets = self._packets()
        size = self._rates.per_second(lambda s: sum(q.nic["bytes_delivered"] for q in s.queues))
        rqes = self._rates.per_second(lambda s: sum(q.provider["consumed"] for q in s.queues))
        injected = sum(queue.injected for queue in sample.queues)
        dropped = sum(queue.nic["packets_dropped"] for queue in sample.queues)
        return (
            f"{sample.elapsed_s:7.1f} s  {short(packets, 'packets/s')}  {short(size, 'B/s')}  "
            f"{short(rqes, 'RQE/s')}  faults {short(injected)}  dropped {short(dropped)}"
        )

    def _queues(self, sample: Sample, rows: int) -> Table:
        """A row a queue; of more than there is room for, the last row has the rest together."""
        table = Table(title=None, expand=False, header_style="bold")
        table.add_column("queue", justify="right", no_wrap=True)
        shown = _columns(self._console.width)
        for name in shown:
            table.add_column(name, justify="right", no_wrap=True)
        count = len(sample.queues)
        alone = count if count <= rows else rows - 1
        groups = [(str(number), range(number, number + 1)) for number in range(alone)]
        if alone < count:
            name = f"{alone} to {count - 1}" if alone else f"all {count}"
            groups.append((name, range(alone, count)))
        for name, numbers in groups:
            values = dict(zip(_COLUMNS, self._row(sample, numbers), strict=True))
            table.add_row(name, *(values[column] for column in shown))
        return table

    def _row(self, sample: Sample, numbers: range) -> list[str]:
        queues = [sample.queues[number] for number in numbers]
        return [
            short(sum(self._rate(number, "nic", "packets_delivered") for number in numbers)),
            short(sum(self._rate(number, "nic", "bytes_delivered") for number in numbers)),
            short(sum(self._rate(number, "provider", "consumed") for number in numbers)),
            short(sum(queue.injected for queue in queues)),
            short(sum(queue.nic["packets_dropped"] for queue in queues)),
        ]

    def _verdicts(self, sample: Sample) -> str:
        counts = {
            verdict.label: sum(queue.provider[verdict.label] for queue in sample.queues)
            for verdict in Verdict
        }
        found = [f"{label} {short(count)}" for label, count in counts.items() if count]
        return f"verdicts: {', '.join(found) or 'none yet'}"

    def _buffers(self, sample: Sample) -> str:
        places = self._places(sample)
        return "buffers: " + ", ".join(f"{word} {count}" for word, count, _ in places)

    def _rate(self, number: int, group: str, name: str) -> float:
        return self._rates.per_second(lambda s: getattr(s.queues[number], group)[name])

    def _processes(self, sample: Sample) -> str:
        """Who uses how much of a core; consumers, which may be many, by their numbers."""
        used = {
            label: self._rates.per_second(lambda s, label=label: s.cpu_s[label])  # type: ignore[misc]
            for label in sample.cpu_s
        }
        alone = [
            f"{label} {100 * cpu:.0f} %" for label, cpu in used.items() if " of queue " not in label
        ]
        many = [f"{100 * cpu:.0f}" for label, cpu in used.items() if " of queue " in label]
        if many:
            shown = many if len(many) <= _CONSUMERS else [*many[:_CONSUMERS], "..."]
            alone.append(f"consumers {' '.join(shown)} %")
        return f"CPU: {', '.join(alone)}"
