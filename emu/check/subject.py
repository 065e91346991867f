"""What is checked: a provider or a consumer, in C, as source or as a shared library."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path

from emu.compile.provider_file import is_source, library_of
from emu.errors import ConfigError, EnvironmentProblem


class Kind(enum.StrEnum):
    """Which side of the rings it stands on."""

    PROVIDER = "provider"
    CONSUMER = "consumer"


#: By which symbol each is known; a library keeps the names of what it exports as text.
_SYMBOLS = {kind: f"zcrx_{kind}\0".encode() for kind in Kind}


@dataclass(frozen=True, slots=True)
class Subject:
    """A file, and what it is.

    Attributes:
        path: Absolute.
        kind: Provider or consumer.
    """

    path: Path
    kind: Kind

    @property
    def is_source(self) -> bool:
        """Whether tools that compile it in ways of their own can have it."""
        return is_source(self.path)


def subject_of(path: Path, kind: Kind | None = None) -> Subject:
    """Look what a file is; a source is compiled for it, which every later tool would do anyway.

    Args:
        path: As the user named it.
        kind: What the user says it is; None: what it exports decides.

    Raises:
        ConfigError: There is no such file, it is neither, or it is both.
        EnvironmentProblem: It is a source, and there is no compiler or it does not compile.
    """
    library = library_of(path, str(kind or "file"))
    try:
        data = library.read_bytes()
    except OSError as error:
        raise EnvironmentProblem(f"file: {str(path)!r}: {error.strerror}") from None
    found = [known for known, symbol in _SYMBOLS.items() if symbol in data]
    if kind is not None and kind not in found:
        raise ConfigError.of("as", str(kind), f"{str(path)!r} exports no zcrx_{kind}")
    if kind is None and len(found) != 1:
        what = "both zcrx_provider and zcrx_consumer; say --as" if found else "neither"
        raise ConfigError.of(
            "file",
            str(path),
            f"it must export zcrx_provider (see zcrx_provider.h) or zcrx_consumer (see "
            f"zcrx_consumer.h), and exports {what}",
        )
    return Subject(path.absolute(), kind or found[0])
