"""Many programs in, few out that reach as much: corpora are merged and kept small.

Which ones are kept follows from the programs alone, not from their order or their names.
"""

from __future__ import annotations

import collections
import heapq
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from emu.fuzz.engine import PROGRAM_BYTES
from emu.fuzz.finding import Finding
from emu.fuzz.harness import MINIMISE_TRIALS, Execution, Harness, Target
from emu.fuzz.reach import Measured, Reached, ReachMeter, union

#: A hang takes a timeout for each trial: fewer of them.
_HANG_TRIALS = 60

__all__ = ["Merged", "SetAside", "finding_of", "minimise", "union"]


@dataclass(frozen=True, slots=True)
class SetAside:
    """A program that did not come to a good end: it is a finding, and in no corpus.

    Attributes:
        program: In its canonical form, if it came so far.
        trial: What was seen of it.
    """

    program: bytes
    trial: Execution


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge came to.

    Attributes:
        programs: Those that are kept, the shortest first: together they reach all of ``reached``,
            and without any of them something would be missing.
        reached: What all programs that were measured reach together.
        given: How many different ones there were.
        set_aside: Those in which something was found.
        foreign: Those that were not in the form in which a program is written: cut off, too long,
            or never meant to be one. What is kept of them is kept in that form.
        unmeasured: So many of those that are kept are so since the time was up.
    """

    programs: tuple[bytes, ...]
    reached: Reached
    given: int
    set_aside: tuple[SetAside, ...] = ()
    foreign: tuple[bytes, ...] = ()
    unmeasured: int = 0


def minimise(
    target: Target,
    programs: Iterable[bytes],
    seconds: float = 0.0,
    watch: Callable[[int, int], None] | None = None,
) -> Merged:
    """Find few programs that reach all that these reach.

    Args:
        target: By whom they are run.
        programs: Any bytes.
        seconds: What was not run by then is kept as it is; 0 = no limit.
        watch: Called with how many were run and how many there are.

    Raises:
        ConfigError: The provider's library is of no use.
        EnvironmentProblem: There is no compiler.
    """
    meter = ReachMeter(target)
    deadline = time.monotonic() + seconds if seconds > 0 else None
    # What is longer than the longest program is not looked at by anybody.
    given = sorted({program[: PROGRAM_BYTES + 1] for program in programs}, key=_by_length)
    shortened = [program[:PROGRAM_BYTES] for program in given]
    reaching: dict[bytes, frozenset[int]] = {}
    aside: dict[bytes, SetAside] = {}
    foreign: list[bytes] = []
    done = 0
    for measured in meter.measure(shortened, deadline):
        if given[done] != measured.program:
            foreign.append(given[done])
        _sort_in(measured, reaching, aside)
        done += 1
        if watch is not None:
            watch(done, len(given))
    ordered = sorted(reaching, key=_by_length)
    kept = [ordered[at] for at in chosen(ordered, [reaching[program] for program in ordered])]
    left = set(shortened[done:]) - set(kept)
    return Merged(
        programs=tuple(sorted([*kept, *left], key=_by_length)),
        reached=Reached(meter.build, frozenset().union(*reaching.values())),
        given=len(given),
        set_aside=tuple(aside.values()),
        foreign=tuple(foreign),
        unmeasured=len(left),
    )


def _by_length(program: bytes) -> tuple[int, bytes]:
    return len(program), program


def _sort_in(
    measured: Measured, reaching: dict[bytes, frozenset[int]], aside: dict[bytes, SetAside]
) -> None:
    if measured.features is not None:
        reaching[measured.program] = measured.features
    elif measured.trial is not None:
        aside.setdefault(measured.program, SetAside(measured.program, measured.trial))


def chosen(programs: Sequence[bytes], features: Sequence[frozenset[int]]) -> list[int]:
    """Which programs reach all that they reach together, with few bytes.

    The smallest set is not to be had in a lifetime. Taken is, again and again, the one with the
    most that is new for each of its bytes; in the end those go that the later ones made needless.
    So each that is left reaches something alone, and of these none will go another time.

    Args:
        programs: Of two that are as good the first is taken.
        features: What each reaches.
    """
    numbers = {feature: bit for bit, feature in enumerate(sorted(frozenset().union(*features)))}
    masks = [sum(1 << numbers[feature] for feature in of_one) for of_one in features]
    sizes = [max(1, len(program)) for program in programs]
    # What is new in a program only gets less: if it did not, since it was put there, it is first.
    heap = [(-mask.bit_count() / sizes[at], at) for at, mask in enumerate(masks) if mask]
    heapq.heapify(heap)
    covered, taken = 0, list[int]()
    while heap:
        worth, at = heapq.heappop(heap)
        now = -(masks[at] & ~covered).bit_count() / sizes[at]
        if now == worth:
            covered |= masks[at]
            taken.append(at)
        elif now:
            heapq.heappush(heap, (now, at))
    return _needed(taken, features)


def _needed(taken: Sequence[int], features: Sequence[frozenset[int]]) -> list[int]:
    """Without those whose features others have, too; the longest are asked first."""
    holders = collections.Counter(feature for at in taken for feature in features[at])
    kept = []
    for at in sorted(taken, reverse=True):
        if all(holders[feature] > 1 for feature in features[at]):
            holders.subtract(features[at])
        else:
            kept.append(at)
    return kept[::-1]


def finding_of(target: Target, aside: SetAside) -> Finding:
    """Cut a program down that was set aside; what it shows alone, or else what was seen of it."""
    trials = _HANG_TRIALS if aside.trial.outcome == "hang" else MINIMISE_TRIALS
    program, _, trial = Harness(target).minimise(aside.program, trials=trials)
    by = {"engine": "merge"}
    if trial.is_clean:
        return Finding(aside.program, target, aside.trial, is_shown=False, found_by=by)
    return Finding(program, target, trial, found_by=by)
