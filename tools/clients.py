"""How fast the C client's two tests are: the hand-made fake, and libzcrx_emu (docs/clients.md).

    python -m tools.clients

Time is the processor's, not the clock's: what else runs on the machine is not measured. For each
mistake that the client can make it says which case is the first to find it.
"""

from __future__ import annotations

import re
import resource
import statistics
import subprocess
import tempfile
from pathlib import Path

from emu.library.files import LIBRARY, header_folder, library_folder

CLIENT = Path(__file__).parents[1] / "docs" / "examples" / "clients" / "c"
ROUNDS = 5
CASES = {"fake_test": 20_000, "emu_test": 2_000}


def build(folder: Path, test: str, mistake: str = "NONE") -> Path:
    program = folder / f"{test}.{mistake}"
    subprocess.run(
        [
            *("cc", "-std=gnu11", "-O2", f"-DMISTAKE={mistake}", f"-I{header_folder()}"),
            *(CLIENT / f"{test}.c", CLIENT / "receiver.c", library_folder() / LIBRARY),
            *(f"-Wl,-rpath,{library_folder()}", "-o", program),
        ],
        check=True,
    )
    return program


def cases_a_second(program: Path, cases: int) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([program, str(cases)], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return cases / (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)


def mistakes() -> list[str]:
    return re.findall(r"^\t([A-Z_]+), /\*", (CLIENT / "receiver.c").read_text(), re.MULTILINE)


def first_found(program: Path) -> str:
    """The first of a hundred cases in which something was found."""
    ended = subprocess.run([program, "100"], capture_output=True, text=True, check=False)
    seed = re.search(r"^seed (\d+): ([a-z-]+)", ended.stdout, re.MULTILINE)
    return f"case {seed[1]}: {seed[2]}" if seed else ended.stderr.strip()


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        programs = {test: build(folder, test) for test in CASES}
        rates: dict[str, list[float]] = {test: [] for test in CASES}
        for _ in range(ROUNDS):
            for test, program in programs.items():
                rates[test].append(cases_a_second(program, CASES[test]))
        for test, found in rates.items():
            print(f"{test}: {statistics.median(found):,.0f} cases a second of processor time")
        for mistake in mistakes():
            print(f"{mistake}: {first_found(build(folder, 'emu_test', mistake))}")


if __name__ == "__main__":
    main()
