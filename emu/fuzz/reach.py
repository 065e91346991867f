"""What each of many programs reaches of a provider: by counters in its code, with any compiler.

Programs run one after the other in one process. What ends it, or holds it up, is tried alone and
told apart; the others are measured all the same.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from emu.compile.records import Record
from emu.errors import EnvironmentProblem
from emu.fuzz.account import account_of_finding, signal_name
from emu.fuzz.build import Kind
from emu.fuzz.harness import Execution, Harness, Target, packed
from emu.host.scratch import scratch

#: So many programs are given to a process; between two of them the clock is looked at.
_BATCH = 256
#: For one program; as long as one has that is tried alone.
_TIMEOUT_S = 5
#: Of a feature's number: the range of passes (``cext/fuzz/counters.h``).
_RANGE_BITS = 3


@dataclass(frozen=True, slots=True)
class Reached:
    """What programs reach of one build.

    Attributes:
        build: What was built, and how: features of another build mean something else.
        features: Places of the code, each with a range of numbers of passes.
    """

    build: str
    features: frozenset[int] = frozenset()

    @property
    def edges(self) -> int:
        """Places of the code."""
        return len({feature >> _RANGE_BITS for feature in self.features})


def union(parts: Iterable[Reached]) -> Reached:
    """What several corpora reach together.

    Raises:
        ValueError: There are none, or they are not of one build.
    """
    them = list(parts)
    builds = {part.build for part in them}
    if len(builds) != 1:
        raise ValueError(f"coverage of {len(builds)} builds has no union; it takes one")
    return Reached(builds.pop(), frozenset().union(*(part.features for part in them)))


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of a program.

    Attributes:
        given: The program as it was given.
        program: Its canonical form.
        features: What it reaches; None if it did not come to a good end.
        trial: What was found in it then.
    """

    given: bytes
    program: bytes
    features: frozenset[int] | None
    trial: Execution | None = None


class ReachMeter:
    """Runs programs by a build that counts.

    Raises:
        ConfigError: The provider's library is of no use.
        EnvironmentProblem: There is no compiler.
    """

    def __init__(self, target: Target) -> None:
        self._harness = Harness(target, Kind.METER)
        self._alone = Harness(target)
        self._harness.check()
        executable, library = self._harness.prepare(), target.library(Kind.METER)
        of_library = hashlib.sha256(library.read_bytes()).hexdigest()[:24] if library else ""
        #: Of what it tells: see :class:`Reached`.
        self.build = "-".join(filter(None, (executable.stem, of_library)))

    def measure(
        self, programs: Sequence[bytes], deadline: float | None = None
    ) -> Iterator[Measured]:
        """Run programs and tell what each reaches, in their order.

        Args:
            programs: None of them longer than the longest program.
            deadline: Of ``time.monotonic()``: then no more of them are begun, and it ends early.
        """
        for at in range(0, len(programs), _BATCH):
            for measured in self._measure_batch(programs[at : at + _BATCH], deadline):
                yield measured
                if measured.trial is not None and _is_over(deadline):
                    return
            if _is_over(deadline):
                return

    def _measure_batch(
        self, programs: Sequence[bytes], deadline: float | None
    ) -> Iterator[Measured]:
        done = 0
        while done < len(programs):
            records, code = self._records(programs, done)
            for record in records:
                yield _measured(programs[done], record)
                done += 1
            if done < len(programs):
                yield self._measure_alone(programs[done], code)
                done += 1
                if _is_over(deadline):
                    return

    def _measure_alone(self, program: bytes, code: int) -> Measured:
        """A process ended in it: because of it?"""
        trial = self._alone.run(program)
        if not trial.is_clean:
            return Measured(program, program, None, trial)
        records, _ = self._records([program], 0)
        if records:
            return _measured(program, records[0])
        how = signal_name(-code) if code < 0 else f"exit-{code}"
        return Measured(
            program,
            program,
            None,
            Execution(
                outcome="crash",
                signature=f"crash:{how}",
                what=f"the process that measured it ended: {how}",
                expected="the operation ends",
                actual="it ended the process",
            ),
        )

    def _records(self, programs: Sequence[bytes], start: int) -> tuple[list[Record], int]:
        with scratch() as folder:
            path = folder / "programs"
            path.write_bytes(packed(programs))
            process = self._harness.call(
                ["measure", str(path), str(start), str(_TIMEOUT_S)], symbolize=False
            )
        words = process.stderr.strip().splitlines()
        if process.returncode == 2 and words and words[-1].startswith("coverage: "):
            raise EnvironmentProblem(words[-1])
        lines = process.stdout.split("\n")[:-1]  # the last one may be cut off
        records = [Record.of(line) for line in lines]
        return [record for record in records if record.event in _WORDS], process.returncode


#: Of the records that a program is given.
_WORDS = ("measured", "found")


def _is_over(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() >= deadline


def _measured(given: bytes, record: Record) -> Measured:
    program = bytes.fromhex(record.values["program"])
    if record.event == "measured":
        return Measured(given, program, frozenset(record.numbers("features")))
    account = account_of_finding(record)
    trial = Execution.of("finding", account, record.number("step"))
    return Measured(given, program, None, trial)
