"""Whether a command could be called so: it reads its words, and ends before it does anything.

Who writes commands down for later asks the commands themselves, so that what is allowed is said in
one place. Each that can be asked calls :func:`words_are_read` where all that was typed is known to
be right and nothing is made yet.
"""

from __future__ import annotations

import contextlib
import contextvars
import io
from collections.abc import Callable, Sequence

from emu.errors import ConfigError

_rehearsing = contextvars.ContextVar("rehearsing", default=False)


class _Rehearsed(Exception):
    """A command has come to where it would begin."""


def words_are_read(*checks: Callable[[], object]) -> None:
    """End a rehearsal: what a command was told is right.

    Args:
        checks: What a real call would refuse a little later, still before it has done anything.
    """
    if _rehearsing.get():
        for check in checks:
            check()
        raise _Rehearsed


def rehearse(name: str, words: Sequence[str]) -> None:
    """Let a command read its words.

    Args:
        name: The command.
        words: What stands behind its name. Files are looked for in the working directory.

    Raises:
        ConfigError: It would refuse them; or they ask for something else than its work.
        EnvironmentProblem: It could not do its work on this machine.
    """
    from emu.cli.root import load
    from emu.cli.running import WrongUse, wrong_use

    command = load(name)
    token = _rehearsing.set(True)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            command.main([*words], standalone_mode=False)
    except _Rehearsed:
        return
    except WrongUse as error:
        raise ConfigError(wrong_use(error, words)) from None
    finally:
        _rehearsing.reset(token)
    raise ConfigError(f"{name}: these options only show or convert something: {' '.join(words)}")
