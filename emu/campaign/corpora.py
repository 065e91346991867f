"""The corpora of a campaign's fuzz pieces: what each begins with, and what all of them reach.

A corpus is united from what pieces give back. When it has grown, and when all is done, a worker
merges it: of the programs few are kept that reach as much.
"""

from __future__ import annotations

import dataclasses
import hashlib
import random
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from emu.campaign.kinds import KINDS
from emu.campaign.result import Result, State

if TYPE_CHECKING:
    from emu.campaign.plan import Piece
    from emu.campaign.store import Store

#: What a piece is given at most: programs, and bytes of them.
SAMPLE_MAX = 2000
SAMPLE_BYTES_MAX = 1 << 20
#: A corpus is merged when it has more programs than these, and twice those of the last merge.
MERGE_AT = 1000
_MERGE_LIMIT_S = 600.0
_NAME = 20


def union(programs: Iterable[bytes]) -> dict[bytes, bytes]:
    """Different programs, by digest."""
    return {hashlib.sha256(program).digest(): program for program in programs}


def sample(corpus: Mapping[bytes, bytes], seed: str) -> tuple[bytes, ...]:
    """What a piece begins with: all of a corpus, or as much of it as is allowed, by chance.

    Args:
        corpus: Programs by digest.
        seed: The same for the same piece.
    """
    digests = sorted(corpus)
    if len(digests) > SAMPLE_MAX or sum(map(len, corpus.values())) > SAMPLE_BYTES_MAX:
        random.Random(seed).shuffle(digests)
    chosen: list[bytes] = []
    room = SAMPLE_BYTES_MAX
    for digest in digests:
        program = corpus[digest]
        if len(chosen) >= SAMPLE_MAX:
            break
        if len(program) <= room:
            chosen.append(program)
            room -= len(program)
    return tuple(chosen)


@dataclasses.dataclass(frozen=True, slots=True)
class Merge:
    """A merge that somebody has.

    Attributes:
        piece: What was asked for.
        last: The fuzz piece whose programs came last.
        given: Digests of the programs.
    """

    piece: Piece
    last: Piece
    given: frozenset[bytes]


class Corpora:
    """The corpora of a campaign, each kept in its store.

    Args:
        store: The campaign's.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._programs: dict[str, dict[bytes, bytes]] = {}
        self._merged: dict[str, int] = {}  #: how many the last merge has left
        self._unmerged: dict[str, Piece] = {}  #: with programs since: the piece that has them
        self._merges: dict[str, Merge] = {}
        self.changed: set[str] = set()

    def of(self, target: str) -> dict[bytes, bytes]:
        """A target's corpus, by digest."""
        if target not in self._programs:
            self._programs[target] = self._store.programs(target)
        return self._programs[target]

    def programs_for(self, piece: Piece) -> tuple[bytes, ...]:
        """What a piece begins with; nothing if it does not fuzz."""
        return sample(self.of(piece.target), piece.name) if piece.target else ()

    def take(self, piece: Piece, result: Result) -> int:
        """Add what a piece has found, which the store has; how much of it is new."""
        if not piece.target or not result.programs:
            return 0
        corpus = self.of(piece.target)
        before = len(corpus)
        corpus.update(union(result.programs))
        if len(corpus) > before:
            self._unmerged[piece.target] = piece
            self.changed.add(piece.target)
        return len(corpus) - before

    def due(self, *, is_last: bool) -> list[tuple[Piece, tuple[bytes, ...]]]:
        """Merges to ask for now, with their programs.

        Args:
            is_last: Nothing else will come.
        """
        busy = {merge.last.target for merge in self._merges.values()}
        found = []
        for target, last in list(self._unmerged.items()):
            size = len(self.of(target))
            is_large = size > max(MERGE_AT, 2 * self._merged.get(target, 0))
            if target not in busy and (is_large or (is_last and size > 1)):
                del self._unmerged[target]
                found.append(self._asked(last))
        return found

    def _asked(self, last: Piece) -> tuple[Piece, tuple[bytes, ...]]:
        corpus = self.of(last.target)
        given = frozenset(corpus)
        digest = hashlib.sha256(b"".join([last.target.encode(), *sorted(given)])).hexdigest()
        piece = dataclasses.replace(
            last,
            name=f"m{digest[: _NAME - 1]}",
            words=KINDS[last.command].words_to_merge(last.words),
            limit_s=_MERGE_LIMIT_S,
            merges=True,
        )
        self._merges[piece.name] = Merge(piece, last, given)
        return piece, tuple(corpus[digest] for digest in sorted(given))

    def is_merge(self, name: str) -> bool:
        """Whether somebody has a merge of this name."""
        return name in self._merges

    def merged(self, result: Result) -> tuple[Merge, int]:
        """Put what a merge has left in the place of what it was given.

        Returns:
            The merge, and how many programs fewer there are. One that could not be done changes
            nothing.
        """
        merge = self._merges.pop(result.piece)
        target = merge.last.target
        corpus = self.of(target)
        before = len(corpus)
        if result.state is not State.FAILED:
            since = [data for digest, data in corpus.items() if digest not in merge.given]
            corpus = self._programs[target] = union([*result.programs, *since])
            reached = {name: result.figures[name] for name in ("edges", "features")}
            self._store.replace_programs(target, list(corpus.values()), reached)
            self.changed.add(target)
        self._merged[target] = len(corpus)
        return merge, before - len(corpus)
