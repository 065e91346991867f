"""A command line from its words to its exit code: whatever comes of it, no traceback is shown."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn

import typer

from emu.cli.output import EXIT_USAGE, fail
from emu.errors import ConfigError, EmuError, cut
from emu.host import streams
from emu.host.descriptors import OF_COMMAND, explained, need
from emu.host.ending import EXIT_INTERRUPTED, INTERRUPTED, handle_all, interrupt

#: What newer Typers return after a KeyboardInterrupt; older ones raise Abort.
_TYPER_INTERRUPTED = 130

#: What Typer raises for a wrong use. It brings its own copy of Click or uses the
#: installed one, depending on its version; this base class is right for both.
WrongUse: type[Exception] = next(
    base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException"
)


def wrong_use(error: Exception, words: Sequence[str]) -> str:
    """The parser's message, with the value that it was about (newer Typers leave it out)."""
    text = str(getattr(error, "format_message", error.__str__)())
    for name in getattr(getattr(error, "param", None), "opts", ()):
        for at, word in enumerate(words):
            value = word.partition("=")[2] if word.startswith(f"{name}=") else None
            if word == name and at + 1 < len(words):
                value = words[at + 1]
            if value is not None and repr(value) not in text:
                return f"{text} (given: {cut(repr(value))})"
    return text


def run_app(app: Callable[[], object], name: str) -> NoReturn:
    """Run a command line and exit with its code; a wrong use is answered in one line.

    Args:
        app: What reads the words and does what they say. It raises what Typer does when it is
            not standalone, or :class:`typer.Exit`.
        name: Of the command line, in messages.
    """
    # SIGTERM, too, must give back what was made; a run has its own way to end in order.
    handle_all(interrupt)
    code = _run(app, name)
    lost = streams.flush()
    if lost is not None:
        code = code or EXIT_USAGE
        if not streams.nobody_reads():
            fail(name, f"stdout: it cannot be written ({lost.strerror})")
    sys.exit(code)


def _run(app: Callable[[], object], name: str) -> int:
    """Run a command line; its exit code."""
    try:
        streams.guard_streams()
        need(OF_COMMAND, "a command")
        _check_words(sys.argv[1:])
        result = app()
        code = result if isinstance(result, int) else 0
        if code == _TYPER_INTERRUPTED:
            raise KeyboardInterrupt
        return code
    except typer.Exit as ended:
        return ended.exit_code
    except WrongUse as error:
        return fail(name, wrong_use(error, sys.argv))
    except EmuError as error:
        return fail(name, str(error))
    except OSError as error:
        return fail(name, _of_machine(error))
    except MemoryError:
        return fail(name, "memory: this machine has too little left")
    except (KeyboardInterrupt, typer.Abort):
        fail(name, INTERRUPTED)
        return EXIT_INTERRUPTED


def _check_words(words: list[str]) -> None:
    """Refuse what no system call takes; many options name files.

    Raises:
        ConfigError: A word has a NUL, or a character that the file system cannot have.
    """
    for word in words:
        try:
            is_usable = b"\0" not in os.fsencode(word)
        except UnicodeEncodeError:
            is_usable = False
        if not is_usable:
            raise ConfigError.of("argument", word, "no file and no program can be called so")


def _of_machine(error: OSError) -> str:
    """What a machine refused, where nothing more is known of it than that."""
    said = explained(error)
    return said if error.filename is None else f"{error.filename}: {said}"


def run_function(function: Callable[..., None], name: str) -> NoReturn:
    """Run a function as a command line of its own, as the programs in ``tools`` are."""
    command = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    command.command()(function)
    run_app(partial(command, standalone_mode=False), name)
