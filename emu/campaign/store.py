"""What a campaign has done, in SQLite: it survives scheduler, workers and the command itself.

One command writes; others may read meanwhile. What is in here was done: artifacts are written
first, then the piece is noted in one transaction. Whatever was under way when everything died is
done again, with the same effect.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from emu.campaign.result import Result, Sighting, State
from emu.errors import ConfigError, EnvironmentProblem

if TYPE_CHECKING:
    from emu.campaign.plan import Piece

SCHEMA = 1
FILE = "campaign.sqlite"
_LOCK = "lock"
#: Pieces of one finding that are told by name.
_NAMED = 20

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE pieces (
    name TEXT PRIMARY KEY,
    number INTEGER NOT NULL,       -- in the order of the plan
    planned INTEGER NOT NULL,      -- whether the plan as it is now has it
    job TEXT NOT NULL,
    command TEXT NOT NULL,
    again TEXT NOT NULL,           -- the command that does it
    cell TEXT NOT NULL,            -- JSON: what it has of the matrix
    state TEXT NOT NULL,
    why TEXT NOT NULL DEFAULT '',
    attempts INTEGER NOT NULL DEFAULT 0,
    seconds REAL,
    ended REAL,                    -- Unix time
    worker TEXT,
    figures TEXT
) WITHOUT ROWID;
CREATE INDEX pieces_by_state ON pieces (planned, state);
CREATE TABLE findings (
    signature TEXT PRIMARY KEY,    -- command and signature
    command TEXT NOT NULL,
    what TEXT NOT NULL,
    first_piece TEXT NOT NULL,
    first_seen REAL NOT NULL,
    folder TEXT NOT NULL,          -- among the artifacts
    replay TEXT NOT NULL,          -- within the folder; empty: the piece is done again
    left_out TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE sightings (
    signature TEXT NOT NULL,
    piece TEXT NOT NULL,
    PRIMARY KEY (signature, piece)
) WITHOUT ROWID;
CREATE TABLE programs (
    target TEXT NOT NULL,
    sha256 BLOB NOT NULL,
    program BLOB NOT NULL,
    PRIMARY KEY (target, sha256)
) WITHOUT ROWID;
CREATE TABLE targets (name TEXT PRIMARY KEY, edges INTEGER, coverage TEXT) WITHOUT ROWID;
CREATE TABLE calls (began REAL PRIMARY KEY, seconds REAL NOT NULL, workers INTEGER NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class KnownFinding:
    """A finding, of all pieces that saw it.

    Attributes:
        signature: Which it is.
        command: Whose finding.
        what: In words, by the piece that saw it first.
        count: Pieces of the plan that saw it.
        first_seen: Unix time.
        pieces: Some of them, by name; the first one in front.
        again: The command that does the first one again.
        folder: Its files, among the artifacts.
        replay: What of them ``replay`` is given; empty if nothing.
        left_out: Files that were too large to be kept.
    """

    signature: str
    command: str
    what: str
    count: int
    first_seen: float
    pieces: tuple[str, ...]
    again: str
    folder: str
    replay: str
    left_out: tuple[str, ...]


def finding_folder(signature: str) -> str:
    """The name of a finding's folder: readable, and another one for each signature."""
    slug = "".join(char if char.isalnum() else "-" for char in signature.lower())
    words = "-".join(word for word in slug.split("-") if word)[:60].strip("-")
    return f"{words}-{hashlib.sha256(signature.encode()).hexdigest()[:8]}"


class Store:
    """A campaign's database.

    Args:
        folder: The store's folder.
        is_writer: Whether it is made and written; only one process does at a time.

    Raises:
        ConfigError: It cannot be opened, is of another version, or somebody else writes it.
    """

    def __init__(self, folder: Path, *, is_writer: bool) -> None:
        self.folder = folder
        self._lock: int | None = None
        try:
            if is_writer:
                folder.mkdir(parents=True, exist_ok=True)
                self._lock = self._locked()
            elif not (folder / FILE).is_file():
                raise FileNotFoundError(2, "there is no campaign in it")
            self._base = self._opened(is_writer)
        except (OSError, sqlite3.Error, ValueError) as error:
            self._unlock()
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise ConfigError(f"store: {str(folder)!r} cannot be used ({why})") from None
        except ConfigError:
            self._unlock()
            raise

    def _locked(self) -> int:
        fd = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise ConfigError(
                f"store: {str(self.folder)!r} is in use by another campaign; end that one, or "
                "name another --store"
            ) from None
        return fd

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _opened(self, is_writer: bool) -> sqlite3.Connection:
        path = self.folder / FILE
        mode = "rwc" if is_writer else "ro"
        base = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=30
        )
        try:
            if is_writer:
                base.execute("PRAGMA journal_mode=WAL")
                # A killed process loses nothing; a machine without power its last pieces.
                base.execute("PRAGMA synchronous=NORMAL")
            (version,) = base.execute("PRAGMA user_version").fetchone()
            if version == 0 and is_writer:
                base.executescript(f"BEGIN;{_TABLES}PRAGMA user_version={SCHEMA};COMMIT;")
            elif version != SCHEMA:
                raise ConfigError(
                    f"store: {str(self.folder)!r} has schema {version}; this program reads {SCHEMA}"
                )
        except BaseException:
            base.close()
            raise
        return base

    def close(self) -> None:
        """Let go of it."""
        self._base.close()
        self._unlock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction.

        Raises:
            EnvironmentProblem: It cannot be written; nothing of it is.
        """
        try:
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield self._base
            except BaseException:
                self._base.execute("ROLLBACK")
                raise
            self._base.execute("COMMIT")
        except sqlite3.Error as error:
            raise EnvironmentProblem(
                f"store: {str(self.folder)!r} cannot be written ({error})"
            ) from None

    # ---- what the campaign is -------------------------------------------------------------

    def of(self, key: str) -> str | None:
        """Something that was noted of the campaign."""
        row = self._base.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def note(self, **values: str) -> None:
        """Note something of the campaign."""
        with self._writing() as base:
            base.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values.items())

    def claim(self, digest: str, version: str) -> None:
        """Say which package's results these are.

        Raises:
            ConfigError: There are results of another one.
        """
        before = self.of("digest")
        done = self.counts(planned_only=False)
        if before not in (None, digest) and sum(done.values()) > done[State.WAITING]:
            raise ConfigError(
                f"store: {str(self.folder)!r} has results of another zcrx-emu "
                f"({self.of('version')}, {before}; this is {version}, {digest}); one verdict is "
                "of one version: name another --store"
            )
        self.note(digest=digest, version=version)

    def plan(self, pieces: Iterable[Piece]) -> None:
        """Let the plan be these pieces; what was done of them stays done."""
        rows = [
            (p.name, number, p.job, p.command, p.again, json.dumps(dict(p.cell)))
            for number, p in enumerate(pieces)
        ]
        with self._writing() as base:
            base.execute("UPDATE pieces SET planned = 0")
            base.executemany(
                "INSERT INTO pieces (name, number, planned, job, command, again, cell, state) "
                "VALUES (?, ?, 1, ?, ?, ?, ?, 'waiting') ON CONFLICT (name) DO UPDATE SET "
                "number = excluded.number, planned = 1, job = excluded.job, cell = excluded.cell",
                rows,
            )

    def undone(self) -> list[str]:
        """Names of planned pieces that were not done, or could not be, in their order."""
        rows = self._base.execute(
            "SELECT name FROM pieces WHERE planned AND state IN ('waiting', 'failed') "
            "ORDER BY number"
        )
        return [str(name) for (name,) in rows]

    def forget_failures(self) -> None:
        """Let pieces that could not be done wait once more."""
        with self._writing() as base:
            base.execute("UPDATE pieces SET state = 'waiting' WHERE planned AND state = 'failed'")

    # ---- what is done ---------------------------------------------------------------------

    def is_done(self, name: str) -> bool:
        """Whether a piece has passed or found something."""
        row = self._base.execute("SELECT state FROM pieces WHERE name = ?", (name,)).fetchone()
        return row is not None and row[0] in (State.PASSED, State.FOUND)

    def is_known(self, signature: str) -> bool:
        """Whether a finding was seen before."""
        query = "SELECT 1 FROM findings WHERE signature = ?"
        return self._base.execute(query, (signature,)).fetchone() is not None

    def add(self, result: Result, signatures: Mapping[str, Sighting], target: str) -> None:
        """Note what came of a piece; what was noted before is not changed by it.

        Args:
            result: What came of it.
            signatures: Its findings by the store's signature.
            target: Of fuzz: whose corpus its programs are for.
        """
        if self.is_done(result.piece):
            return
        now = time.time()
        with self._writing() as base:
            base.execute(
                "UPDATE pieces SET state = ?, why = ?, attempts = attempts + 1, seconds = ?, "
                "ended = ?, worker = ?, figures = ? WHERE name = ?",
                (
                    str(result.state),
                    result.why,
                    result.seconds,
                    now,
                    result.worker,
                    json.dumps(dict(result.figures)),
                    result.piece,
                ),
            )
            self._add_sightings(base, result.piece, signatures, now)
            if target:
                self._add_programs(base, result, target)

    def add_sightings(self, piece: str, signatures: Mapping[str, Sighting]) -> None:
        """Note findings that came later, of a piece that is done."""
        with self._writing() as base:
            self._add_sightings(base, piece, signatures, time.time())
            base.execute("UPDATE pieces SET state = 'found' WHERE name = ?", (piece,))

    def _add_sightings(
        self,
        base: sqlite3.Connection,
        piece: str,
        signatures: Mapping[str, Sighting],
        now: float,
    ) -> None:
        for signature, seen in signatures.items():
            base.execute(
                "INSERT OR IGNORE INTO findings VALUES "
                "(?, (SELECT command FROM pieces WHERE name = ?), ?, ?, ?, ?, ?, ?)",
                (
                    signature,
                    piece,
                    seen.what,
                    piece,
                    now,
                    finding_folder(signature),
                    seen.replay,
                    json.dumps(seen.left_out),
                ),
            )
            base.execute("INSERT OR IGNORE INTO sightings VALUES (?, ?)", (signature, piece))

    def _add_programs(self, base: sqlite3.Connection, result: Result, target: str) -> None:
        base.executemany(
            "INSERT OR IGNORE INTO programs VALUES (?, ?, ?)",
            [(target, hashlib.sha256(data).digest(), data) for data in result.programs],
        )
        base.execute("INSERT OR IGNORE INTO targets VALUES (?, 0, NULL)", (target,))
        base.execute(
            "UPDATE targets SET edges = max(edges, ?) WHERE name = ?",
            (int(result.figures.get("edges", 0)), target),
        )

    def replace_programs(
        self, target: str, programs: Sequence[bytes], coverage: Mapping[str, float]
    ) -> None:
        """Let a target's corpus be these programs, which reach what all of them did."""
        with self._writing() as base:
            base.execute("DELETE FROM programs WHERE target = ?", (target,))
            base.executemany(
                "INSERT OR IGNORE INTO programs VALUES (?, ?, ?)",
                [(target, hashlib.sha256(data).digest(), data) for data in programs],
            )
            base.execute(
                "UPDATE targets SET coverage = ? WHERE name = ?",
                (json.dumps(dict(coverage)), target),
            )

    def programs(self, target: str) -> dict[bytes, bytes]:
        """A target's corpus, by digest."""
        query = "SELECT sha256, program FROM programs WHERE target = ? ORDER BY sha256"
        return dict(self._base.execute(query, (target,)).fetchall())

    def note_call(self, began: float, seconds: float, workers: int) -> None:
        """Note that the campaign is worked at, since when and for how long."""
        with self._writing() as base:
            values = (began, seconds, workers)
            base.execute("INSERT OR REPLACE INTO calls VALUES (?, ?, ?)", values)

    # ---- what it comes to -----------------------------------------------------------------

    def counts(self, *, planned_only: bool = True) -> dict[State, int]:
        """Of each state, how many pieces."""
        where = "WHERE planned" if planned_only else ""
        rows = self._base.execute(f"SELECT state, count(*) FROM pieces {where} GROUP BY state")
        found = {State(state): int(count) for state, count in rows}
        return {state: found.get(state, 0) for state in State}

    def earlier(self) -> int:
        """Pieces that were done and are not in the plan any more."""
        query = "SELECT count(*) FROM pieces WHERE NOT planned AND state IN ('passed', 'found')"
        return int(self._base.execute(query).fetchone()[0])

    def finding_count(self) -> int:
        """Different findings of planned pieces."""
        query = (
            "SELECT count(DISTINCT signature) FROM sightings JOIN pieces ON name = piece "
            "WHERE planned"
        )
        return int(self._base.execute(query).fetchone()[0])

    def findings(self) -> list[KnownFinding]:
        """Findings of planned pieces, what many saw first."""
        rows = self._base.execute(
            "SELECT f.signature, f.command, f.what, f.first_seen, f.first_piece, p.again, "
            "f.folder, f.replay, f.left_out, count(*) AS seen FROM findings f "
            "JOIN sightings s ON s.signature = f.signature "
            "JOIN pieces q ON q.name = s.piece AND q.planned "
            "JOIN pieces p ON p.name = f.first_piece "
            "GROUP BY f.signature ORDER BY seen DESC, f.first_seen"
        ).fetchall()
        return [
            KnownFinding(
                signature=row[0],
                command=row[1],
                what=row[2],
                count=int(row[9]),
                first_seen=float(row[3]),
                pieces=self._seen_by(row[0], row[4]),
                again=row[5],
                folder=row[6],
                replay=row[7],
                left_out=tuple(json.loads(row[8])),
            )
            for row in rows
        ]

    def _seen_by(self, signature: str, first: str) -> tuple[str, ...]:
        rows = self._base.execute(
            "SELECT piece FROM sightings JOIN pieces ON name = piece AND planned "
            "WHERE signature = ? ORDER BY ended LIMIT ?",
            (signature, _NAMED),
        )
        others = [str(piece) for (piece,) in rows if piece != first]
        return (first, *others)[:_NAMED]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Planned pieces, in their order."""
        names = (
            "name", "job", "command", "again", "cell", "state", "why", "attempts", "seconds",
            "ended", "worker", "figures",
        )  # fmt: skip
        query = f"SELECT {', '.join(names)} FROM pieces WHERE planned ORDER BY number"
        for row in self._base.execute(query):
            value = dict(zip(names, row, strict=True))
            value["cell"] = json.loads(value["cell"])
            value["figures"] = json.loads(value["figures"] or "{}")
            yield value

    def targets(self) -> list[dict[str, Any]]:
        """Of each corpus: programs, bytes, edges, coverage."""
        rows = self._base.execute(
            "SELECT name, edges, coverage, "
            "(SELECT count(*) FROM programs WHERE target = name), "
            "(SELECT coalesce(sum(length(program)), 0) FROM programs WHERE target = name) "
            "FROM targets ORDER BY name"
        )
        return [
            {
                "target": name,
                "edges": edges,
                "coverage": json.loads(coverage) if coverage else None,
                "programs": count,
                "bytes": size,
            }
            for name, edges, coverage, count, size in rows
        ]

    def calls(self) -> list[dict[str, float]]:
        """Each time that it was worked at."""
        rows = self._base.execute("SELECT began, seconds, workers FROM calls ORDER BY began")
        return [{"began": b, "seconds": s, "workers": w} for b, s, w in rows]
