"""The exceptions of the package: one base class, named after the condition.

Three kinds must never be mixed up: a wrong input (:class:`ConfigError`), a
broken environment or a dead process (:class:`EnvironmentProblem`), and a
finding (which is not an exception at all, but part of a report).
"""

from __future__ import annotations

import errno

_SHOWN_MAX = 80
_PATH_MAX = 200  #: of what may be a path: people want to see where it leads


class EmuError(Exception):
    """Base of all errors that this package raises on purpose; its text is one line for the user."""


def _shown(value: object) -> str:
    """Show a value that somebody else wrote: one line, whatever it is, and not an endless one."""
    try:
        text = " ".join(repr(value).splitlines())
    except Exception:  # an int of thousands of digits; a repr() of somebody's own
        text = f"a {type(value).__name__} that cannot be shown"
    return cut(text)


def cut(text: str) -> str:
    """Leave out the middle of a text that is too long for a message."""
    if len(text) <= (_PATH_MAX if "/" in text else _SHOWN_MAX):
        return text
    half = _SHOWN_MAX // 2
    return f"{text[:half]}…{text[1 - half :]}"


class ConfigError(EmuError, ValueError):
    """A value is not allowed; the text names field, value and what is allowed."""

    @classmethod
    def of(cls, field: str, value: object, allowed: str) -> ConfigError:
        """Build the message in the one form that all of them have."""
        return cls(f"{field}: {_shown(value)} is not allowed; {allowed}")


class TrafficError(ConfigError):
    """A traffic source that does not exist or cannot be read; fix the SOURCE text or the file."""


class LayoutError(ConfigError):
    """Bytes that do not have the shape of the structure they should hold."""


class StateError(EmuError):
    """An operation that the present state does not allow, such as dropping a reference not held."""


class KernelRefused(EmuError, OSError):
    """The kernel that is played answered an error; ``errno`` is its number, the text says why."""

    def __str__(self) -> str:
        return f"{errno.errorcode.get(self.errno or 0, self.errno)}: {self.strerror}"


class FaultFailed(EmuError):
    """A user's own fault raised, or returned what it must not; see ``__cause__``."""


class EnvironmentProblem(EmuError):
    """The machine cannot give what the run needs: shared memory, a port, a file."""


class RefusedStep(EnvironmentProblem):
    """A step of setting up failed on purpose, as if memory had been short."""
