"""Fuzzing a memory provider: programs of operations, judged after each of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emu.bugs import CONTENT_BUGS, find_bug
from emu.fuzz.harness import Harness, Target

__all__ = ["check_program"]


def check_program(
    program: bytes,
    *,
    before: Sequence[bytes] = (),
    provider: Path | None = None,
    bug: str | None = None,
    sanitize: bool = True,
) -> None:
    """Run a program against a provider: what a test that was written out by the fuzzer calls.

    Args:
        program: Any bytes; docs/fuzzing.md has the codec.
        before: Programs that run first, in the same process.
        provider: A shared library or the C source of one; None for our own provider.
        bug: The name of a seeded bug to put into ours.
        sanitize: Use the sanitized harness.

    Raises:
        AssertionError: Something was found; the text has the program, step by step.
        EnvironmentProblem: There is no compiler to build the harness with.
    """
    known = find_bug(bug, CONTENT_BUGS) if bug is not None else None
    harness = Harness(Target(bug=known, provider=provider, sanitize=sanitize))
    harness.check()
    trial = harness.run(program, before)
    if not trial.is_clean:
        steps = "\n".join(
            f"{step.number:3} {step.operation}: {step.actual}" for step in trial.steps
        )
        raise AssertionError(
            f"{trial.signature} after operation {trial.step}: {trial.what}: expected "
            f"{trial.expected}, got {trial.actual}\n{trial.shape}\n{steps}\n{trial.report}"
        )
