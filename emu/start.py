"""``zcrx-emu`` from its first instruction on: to be imported before anything that takes time."""

from __future__ import annotations

import signal
import sys

from emu.errors import EnvironmentProblem
from emu.host.descriptors import OF_COMMAND, need
from emu.host.ending import handle_all, leave
from emu.host.streams import hold_descriptors


def main() -> None:
    """Run the command line; a signal while it is loaded ends it in one line, too."""
    handle_all(leave)
    try:
        hold_descriptors()
        need(OF_COMMAND, "a command")
        from emu.cli.root import main as command_line
    except (EnvironmentProblem, OSError) as error:  # no descriptor left to load it with
        print(f"zcrx-emu: error: {error}", file=sys.stderr)
        sys.exit(2)
    try:
        command_line()
    finally:  # its code is decided, and there is nothing left to undo
        handle_all(signal.SIG_IGN)


if __name__ == "__main__":
    main()
