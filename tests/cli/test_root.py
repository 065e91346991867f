"""The list of commands, which are loaded when they are called."""

from __future__ import annotations

import subprocess
import sys

import pytest

from emu.cli.root import COMMANDS, load


@pytest.mark.parametrize("name", COMMANDS)
def test_command_says_of_itself_what_the_list_says(name: str) -> None:
    assert load(name).help.split("\n")[0] == COMMANDS[name][1]


def test_help_loads_no_command_and_not_the_core() -> None:
    script = (
        "import sys\nfrom emu.cli import app\napp(['--help'], standalone_mode=False)\n"
        "print(*(m for m in sys.modules if m.split('.')[0] in ('emu', 'faults')), file=sys.stderr)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stderr.split()
    assert "emu.cli.root" in loaded
    homes = {where.partition(":")[0] for where, _ in COMMANDS.values()}
    assert not {*homes, "emu.core", "emu.config", "faults"} & {*loaded}
