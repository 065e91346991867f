"""The corpora of a campaign's fuzz pieces: what each begins with, and what all of them reach."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Mapping

#: What a piece is given at most: programs, and bytes of them.
SAMPLE_MAX = 2000
SAMPLE_BYTES_MAX = 1 << 20


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
