"""What the short suite sees of mistakes in Python: mutate ``emu`` and ``faults``, and run it.

``python -m tools.mutation`` takes a random sample (``--count``, ``--seed``) of the mutations that
cosmic-ray can make of the two packages (``pip install -e '.[mutation]'``), makes one at a time in a
copy of the checkout, and runs the short tests that belong to its module: the files with its name
in theirs first, then the folder of its room. One that no test objects to has survived; whether
that is a gap or a mutation that means the same is for a person to say.

What a mutated program ends or removes is not foreseen: tests run with processes, shared memory and
temporary files of their own (``unshare``), where they reach nobody else's.
"""

from __future__ import annotations

import difflib
import itertools
import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator
from rich.console import Console

from emu import core
from emu.cli import run_function
from emu.errors import EnvironmentProblem
from tools.suite_power import ROOT, copy_checkout, environment_in, failed_tests

#: Those that make a program that runs.
OPERATORS = (
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Eq_NotEq", "NotEq_Eq", "Is_IsNot")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt")),
    *("ReplaceBinaryOperator_Add_Sub", "ReplaceBinaryOperator_Sub_Add"),
    *("ReplaceBinaryOperator_Mul_Add", "ReplaceBinaryOperator_BitAnd_BitXor"),
    *("ReplaceAndWithOr", "ReplaceOrWithAnd", "ReplaceUnaryOperator_Delete_Not", "AddNot"),
    *("ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "NumberReplacer"),
    *("ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "ZeroIterationForLoop"),
)
#: Where the tests of a room are, if not in a folder of its name.
TESTS = {
    "emu/core": ("tests/emu/test_core.py", "tests/spec"),
    "emu/bugs": ("tests/emu/test_bugs.py", "tests/emu/test_patch.py"),
    "emu/traffic": ("tests/emu/test_traffic.py",),
    "emu": ("tests/emu",),
    "faults": ("tests/faults",),
    "faults/catalogue": ("tests/faults", "tests/emu/test_core.py"),
}

#: Runs a command where there are no other processes, and no other shared memory.
APART = (
    *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
    *(() if os.geteuid() == 0 else ("--map-root-user",)),
    *("sh", "-c", 'mount -t tmpfs none /dev/shm && exec "$@"', "sh"),
)


def tests_of(module: str) -> list[tuple[str, ...]]:
    """What to run for a module, one after the other."""
    path = Path(module)
    room = str(path.parent)
    folders = TESTS.get(room, (f"tests/{path.parent.name}",))
    names = (f"test_{path.stem}*.py", f"test_*_{path.stem}.py")
    named = sorted({file for name in names for file in (ROOT / "tests").rglob(name)})
    first = tuple(str(name.relative_to(ROOT)) for name in named)
    return [first, folders] if first else [folders]


def sample(folder: Path, count: int, seed: int) -> Iterator[tuple[str, str, int]]:
    """Mutations by chance: module, operator, and which of its occurrences there.

    A module is the likelier the longer it is; there each operator is as likely as another one.
    """
    chance = random.Random(seed)
    paths = [
        path for package in ("emu", "faults") for path in sorted((folder / package).rglob("*.py"))
    ]
    lengths = [path.stat().st_size for path in paths]
    while count:
        (path,) = chance.choices(paths, lengths)
        nodes = list(ast_nodes(get_ast(path.read_text())))
        fits = {}
        for name in OPERATORS:
            operator = get_operator(f"core/{name}")()
            fits[name] = sum(len(list(operator.mutation_positions(node))) for node in nodes)
        names = [name for name in OPERATORS if fits[name]]
        if names:
            name = chance.choice(names)
            yield str(path.relative_to(folder)), name, chance.randrange(fits[name])
            count -= 1


def main(
    count: Annotated[int, typer.Option(min=1, help="So many mutations.")] = 60,
    seed: Annotated[int, typer.Option(min=0, help="Which ones.")] = 1,
    after: Annotated[int, typer.Option(min=0, help="Leave out the first ones.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="Tests at once.")] = 2,
) -> None:
    """Say of a sample of mutations which test kills each, and which survive."""
    console = Console()
    survivors = 0
    if subprocess.run([*APART, "true"], capture_output=True, check=False).returncode:
        raise EnvironmentProblem("mutation: unshare and its namespaces are needed, and not allowed")
    with tempfile.TemporaryDirectory(prefix="mutation-") as name:
        copy = Path(name)
        copy_checkout(copy)
        # With the core that is built already, as it is now.
        built = str(shutil.copy(core.core_path(), copy))
        environment = environment_in(copy) | {"ZCRX_EMU_CORE": built}
        for module, operator, at in itertools.islice(sample(copy, count, seed), after, None):
            text = (copy / module).read_text()
            changed = mutate_code(text, get_operator(f"core/{operator}")(), at)
            (copy / module).write_text(changed)
            failed = ""
            for tests in tests_of(module):
                failed = failed or failed_tests(tests, jobs, copy, environment, APART)
            (copy / module).write_text(text)
            lines = difflib.unified_diff(text.splitlines(), changed.splitlines(), n=0, lineterm="")
            diff = [line for line in lines if line[0] in "+-" and line[:3] not in ("+++", "---")]
            console.print(
                f"{module}: {' '.join(map(str.strip, diff))}\n    {failed or 'SURVIVED'}",
                markup=False, soft_wrap=True,
            )  # fmt: skip
            survivors += not failed
    asked = max(0, count - after)
    console.print(f"{asked} mutations: {asked - survivors} killed, {survivors} survived")


if __name__ == "__main__":
    run_function(main, "mutation")
