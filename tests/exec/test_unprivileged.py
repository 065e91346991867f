"""Nothing of it needs privileges, not even to the superuser's tests: they run as nobody here.

By the gateway alone, for this interpreter may lie where nobody else may look.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emu.contract import LEVELS
from emu.exec.gateway import Settings, arguments_of, gateway_file

Program = Callable[[str], Path]
NOBODY = 65534

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="all other tests run without privileges already"
)


class Runner:
    """Programs in a folder that anybody may read."""

    def __init__(self, folder: str) -> None:
        self._gateway = shutil.copy(gateway_file(), folder)
        self._folder = folder

    def run(self, program: Path, *words: object) -> tuple[int, str, list[dict[str, Any]]]:
        """The program's status, its output, and what was found."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            running = subprocess.Popen(
                [
                    self._gateway,
                    *arguments_of(Settings(kernel=LEVELS[-1]), theirs.fileno()),
                    shutil.copy(program, self._folder),
                    *map(str, words),
                ],
                pass_fds=[theirs.fileno()],
                user=NOBODY,
                group=NOBODY,
                extra_groups=[],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            theirs.close()
            messages = [json.loads(text) for text in iter(lambda: ours.recv(4096), b"")]
            output, _ = running.communicate(timeout=60)
        assert running.returncode == 0, output
        assert [messages[0]["event"], messages[-1]["event"]] == ["started", "ended"]
        return messages[-1]["status"], output, messages[1:-1]


@pytest.fixture(scope="module")
def nobody() -> Iterator[Runner]:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Runner(folder)


@pytest.mark.parametrize(
    "words",
    ["receiver 3000001", "waits", "shared", "limits own", "armed killed fork exec-kept"],
)
def test_programs_run_as_nobody(nobody: Runner, program: Program, words: str) -> None:
    name, *rest = words.split()
    status, output, found = nobody.run(program(name), *rest)
    assert (status, found) == (0, []), output


def test_process_that_may_not_be_looked_at_is_told_so(nobody: Runner, program: Program) -> None:
    """It has no address for a gateway that is not the superuser's."""
    status, output, found = nobody.run(program("hidden"))
    assert (os.waitstatus_to_exitcode(status), output, found) == (3, "Bad address\n", [])
