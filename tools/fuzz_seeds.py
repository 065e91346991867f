"""What fuzz targets of other services start from: a small corpus for each level, as a ZIP file.

zcrx-emu fuzz --fast --kernel 7.3 --time 600 --corpus found
python -m tools.fuzz_seeds 7.3 found        # oss-fuzz/seeds/7.3.zip, with what it had before
"""

from __future__ import annotations

import argparse
import hashlib
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from emu.contract import LEVELS
from emu.fuzz.harness import Target
from emu.fuzz.merge import minimise

SEEDS = Path(__file__).parents[1] / "oss-fuzz" / "seeds"
#: Of each file in an archive: the same programs make the same archive.
_DATE = (1980, 1, 1, 0, 0, 0)


def read_seeds(archive: Path) -> list[bytes]:
    """The programs of an archive; none if there is none."""
    if not archive.exists():
        return []
    with zipfile.ZipFile(archive) as opened:
        return [opened.read(name) for name in opened.namelist()]


def write_seeds(archive: Path, programs: Iterable[bytes]) -> None:
    """Write programs into an archive, each under a name made from it."""
    with zipfile.ZipFile(archive, "w") as opened:
        for program in programs:
            name = hashlib.sha1(program, usedforsecurity=False).hexdigest()
            entry = zipfile.ZipInfo(name, _DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            opened.writestr(entry, program)


def _programs_of(folders: Iterable[Path]) -> Iterator[bytes]:
    for folder in folders:
        for path in folder.iterdir():
            if path.is_file() and not path.name.startswith("."):
                yield path.read_bytes()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("level", choices=LEVELS)
    parser.add_argument("folder", nargs="*", type=Path, help="of programs for that level")
    options = parser.parse_args()
    archive = SEEDS / f"{options.level}.zip"
    given = [*read_seeds(archive), *_programs_of(options.folder)]
    merged = minimise(Target(sanitize=False, kernel=options.level), given)
    if merged.set_aside:
        print(f"{len(merged.set_aside)} programs are findings: zcrx-emu fuzz --merge shows them")
        return 1
    write_seeds(archive, merged.programs)
    print(
        f"{archive}: {len(merged.programs)} of {merged.given} programs, "
        f"{merged.reached.edges} edges, {len(merged.reached.features)} features"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
