"""Build the Containerfile and try what comes of it, without a registry of images (as root).

    apt install buildah mmdebstrap
    python -m tools.container [--folder DIR] [--volume HOST:CONTAINER:ro ...]

The image that it begins with is made from Debian's packages, and stands for the one of that name;
all else is what `buildah build` does with the file. Then each use runs as the image's user, with
64 MiB of shared memory, which is what containers have unless they ask. Volumes are for what pip
needs to know here (its configuration, a certificate). Nothing is left; with --folder images are
kept there, and what did not change since is not built again.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILE = ROOT / "Containerfile"
IMAGE = "localhost/zcrx-emu"
SHM = "64m"


@dataclass(frozen=True, slots=True)
class Use:
    """One command in the container."""

    words: str
    code: int = 0
    says: str = ""  #: a part of what it prints


USES = (
    Use("--version", says="zcrx-emu "),
    Use("doctor", says="64 MiB available"),
    Use("stress --packets 20000 --faults smoke --run-dir run", says="PASS"),
    Use("stress --queues 8 --packets 1000", code=2, says="--shm-size=1g"),
    Use("examples mine", says="plain_provider.c"),
    Use("stress --packets 20000 --provider mine/plain_provider.c", says="PASS"),
    Use("fuzz --time 3", says="libfuzzer"),
    Use("fuzz --time 3 --engine afl", says="no finding"),
    Use("race --scenario refill-vs-scrub", says="refill-vs-scrub"),
    Use("report run --output page.html"),
)


class Trial:
    """A folder with images and containers of its own."""

    def __init__(self, folder: Path, volumes: Sequence[str]) -> None:
        """Keep everything in `folder`; `volumes` are mounted while building."""
        self._folder = folder
        self._volumes = [word for volume in volumes for word in ("--volume", volume)]

    def buildah(self, *words: str | Path) -> str:
        """Call it; what it printed.

        Raises:
            subprocess.CalledProcessError: It failed.
        """
        command = [*self._command(), *map(str, words)]
        ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8")
        return ended.stdout.strip()

    def _command(self) -> list[str]:
        folder = self._folder
        return ["buildah", "--root", f"{folder}/images", "--runroot", f"{folder}/state"]

    def make_base(self, name: str, suite: str) -> None:
        """Make an image of a Debian release's essential packages."""
        packed = self._folder / "base.tar"
        words = ["--quiet", "--variant=minbase", "--include=ca-certificates", suite]
        subprocess.run(["mmdebstrap", *words, packed], check=True)
        container = self.buildah("from", "scratch")
        self.buildah("add", "--quiet", container, packed, "/")
        self.buildah("config", "--cmd", "bash", container)
        self.buildah("commit", "--quiet", "--rm", container, name)
        packed.unlink()

    def has(self, name: str) -> bool:
        """Whether there is such an image already."""
        with contextlib.suppress(subprocess.CalledProcessError):
            return bool(self.buildah("images", "--quiet", "--filter", f"reference={name}"))
        return False

    def build(self) -> None:
        """Build the Containerfile."""
        words = ["--isolation", "chroot", "--pull-never", "--layers", "--tag", IMAGE]
        self.buildah("build", *words, "--file", FILE, *self._volumes, ROOT)

    def start(self) -> str:
        """Make a container of what was built; its name."""
        return self.buildah("from", "--pull-never", IMAGE)

    def call(self, container: str, use: Use) -> str | None:
        """Run it as a container would; why it is not as it should be, if so."""
        inspected = json.loads(self.buildah("inspect", container))
        entry = inspected["OCIv1"]["config"]["Entrypoint"]
        own = [*self._command(), "run", "--isolation", "chroot", container, "--", *entry]
        inner = f"{shlex.join(own)} {use.words}"
        script = f"mount -t tmpfs -o mode=1777,size={SHM} shm /dev/shm && exec {inner}"
        ended = subprocess.run(
            ["unshare", "--mount", "sh", "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        # Lines are as wide as the log is: what is said may go over two of them.
        if ended.returncode == use.code and use.says in re.sub(r"\s*\n\s*", " ", ended.stdout):
            return None
        return f"exit code {ended.returncode}\n{ended.stdout}"


def base_of(text: str) -> tuple[str, str]:
    """The image that a Containerfile begins with, and the Debian release that it is of."""
    names = {*re.findall(r"^FROM (\S+)", text, re.MULTILINE)}
    (name,) = names
    release = re.search(r"/debian:([a-z]+)-slim$", name)
    assert release is not None, f"{name}: not Debian's"
    return name, release[1]


def try_all(trial: Trial) -> int:
    """Build, and try each use; how many are not as they should be."""
    base, release = base_of(FILE.read_text())
    if not trial.has(base):
        trial.make_base(base, release)
    trial.build()
    container = trial.start()
    failed = 0
    for use in USES:
        why = trial.call(container, use)
        failed += why is not None
        print(f"{'ok' if why is None else 'failed':8}zcrx-emu {use.words}", flush=True)
        if why is not None:
            print(why)
    return failed


def main() -> int:
    """Read the options, and try; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.container")
    parser.add_argument("--volume", action="append", default=[], metavar="HOST:CONTAINER[:ro]")
    parser.add_argument("--folder", type=Path, help="keep images there")
    options = parser.parse_args()
    for tool in ("buildah", "mmdebstrap", "unshare"):
        if shutil.which(tool) is None:
            print(f"container: {tool} is missing: apt install buildah mmdebstrap", file=sys.stderr)
            return 2
    with tempfile.TemporaryDirectory(prefix="container.") as name:
        folder = Path(name) if options.folder is None else options.folder.absolute()
        folder.mkdir(exist_ok=True)
        trial = Trial(folder, options.volume)
        try:
            return 1 if try_all(trial) else 0
        except subprocess.CalledProcessError as error:
            print(f"container: {error.cmd[0]} failed ({error.returncode})", file=sys.stderr)
            return 2
        finally:
            trial.buildah("rm", "--all")
            if options.folder is None:
                trial.buildah("rmi", "--all", "--force")


if __name__ == "__main__":
    sys.exit(main())
