"""Files of a campaign, wherever fsspec can put them: a folder, S3, Google's storage, memory."""

from __future__ import annotations

import contextlib
import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from emu.errors import ConfigError, EnvironmentProblem

_FINDINGS, _CORPUS = "findings", "corpus"


class Artifacts:
    """A place for files.

    Args:
        url: Of a folder, as fsspec has it.

    Raises:
        ConfigError: There is no such kind of place, or it cannot be written.
        EnvironmentProblem: What speaks to it is not installed.
    """

    def __init__(self, url: str) -> None:
        import fsspec

        self.url = url
        self._fs: Any
        try:
            self._fs, root = fsspec.core.url_to_fs(url)
        except ImportError as error:
            raise EnvironmentProblem(f"artifacts: {url!r}: {error}") from None
        except Exception as error:  # of whoever speaks to it
            raise ConfigError.of("artifacts", url, f"a URL that fsspec knows ({error})") from None
        self._root = str(root).rstrip("/")
        with self._writing("artifacts"):
            self._fs.makedirs(self._root, exist_ok=True)
            self._fs.pipe_file(f"{self._root}/.probe", b"")
            self._fs.rm_file(f"{self._root}/.probe")

    @contextlib.contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # a network's, a disk's: whatever is behind the URL
            text = " ".join(str(error).split()) or type(error).__name__
            raise EnvironmentProblem(f"{what}: {self.url!r} cannot be written ({text})") from None

    @property
    def local(self) -> Path | None:
        """The folder, if it is one of this machine."""
        protocol = self._fs.protocol
        names = (protocol,) if isinstance(protocol, str) else protocol
        return Path(self._root) if "file" in names else None

    def keep_finding(self, folder: str, files: Mapping[str, bytes]) -> None:
        """Write the files of a finding.

        Raises:
            EnvironmentProblem: They cannot be written.
        """
        with self._writing("artifacts"):
            for place, data in files.items():
                self._put(f"{_FINDINGS}/{folder}/{place}", data)

    def keep_corpus(self, target: str, programs: Mapping[bytes, bytes]) -> None:
        """Write a corpus as one archive, as fuzzers take a seed corpus.

        Raises:
            EnvironmentProblem: It cannot be written.
        """
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for digest, data in programs.items():
                # One time for all: the same corpus is the same archive.
                archive.writestr(zipfile.ZipInfo(digest.hex(), (1980, 1, 1, 0, 0, 0)), data)
        with self._writing("artifacts"):
            self._put(f"{_CORPUS}/{target}.zip", buffer.getvalue())

    def _put(self, place: str, data: bytes) -> None:
        path = f"{self._root}/{place}"
        self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        self._fs.pipe_file(path, data)

    def fetch(self, folder: str, target: Path) -> Path:
        """Copy a finding's files to a folder of this machine; where they lie then.

        Raises:
            EnvironmentProblem: They cannot be read, or not be written here.
        """
        base = f"{self._root}/{_FINDINGS}/{folder}"
        try:
            for path in self._fs.find(base):
                place = PurePosixPath(str(path)).relative_to(PurePosixPath(base))
                if ".." in place.parts:
                    continue
                here = target / folder / Path(*place.parts)
                here.parent.mkdir(parents=True, exist_ok=True)
                here.write_bytes(self._fs.cat_file(path))
        except Exception as error:  # as above
            raise EnvironmentProblem(
                f"fetch: {folder!r} cannot be copied from {self.url!r} ({error})"
            ) from None
        return target / folder

    def path_of(self, folder: str, replay: str) -> str:
        """Where what ``replay`` is given lies: a path if that can be, else a URL."""
        place = f"{_FINDINGS}/{folder}/{replay}"
        local = self.local
        return str(local / place) if local is not None else f"{self.url.rstrip('/')}/{place}"
