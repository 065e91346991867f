"""Each access that orders something says with which one it pairs, and that one exists."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from emu.compile.ondemand import CORE_ROOMS, core_sources

CEXT = core_sources()
_SITE = re.compile(r"\bshm_(load_acquire|store_release|xchg|cas|fetch_add|fetch_sub|fence)\w*\(")
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_NAMED = re.compile(r"\b(\w+)\(\)")
_DEFINED = re.compile(r"^[A-Za-z_][\w *]*?\b(\w+)\([^;{]*?\)\s*\{", re.MULTILINE)
#: The words by which a comment says it.
_PAIRS = re.compile(r"\b[Pp]airs? with\b")


@dataclass(frozen=True)
class Site:
    """An access, and the comments that speak of it."""

    where: str
    function: str
    proof: str


def _functions(text: str) -> list[tuple[str, int, int]]:
    """Name, begin of what is said of it, and end of each function of a file."""
    found = []
    last = 0
    for match in _DEFINED.finditer(text):
        if match.start() < last:
            continue
        end = text.find("\n}", match.end())
        end = len(text) if end < 0 else end + 2
        found.append((match[1], last, end))
        last = end
    return found


def _sites(path: Path) -> list[Site]:
    text = path.read_text()
    sites = []
    for name, begin, end in _functions(text):
        body = text[begin:end]
        for match in _SITE.finditer(body):
            before = body[: match.start()]
            # What is said of the function counts for all that it does.
            comments = [" ".join(c.replace("*", " ").split()) for c in _COMMENT.findall(before)]
            proofs = [comment for comment in comments if _PAIRS.search(comment)]
            line = text.count("\n", 0, begin + match.start()) + 1
            where = f"{path.relative_to(CEXT)}:{line}"
            sites.append(Site(where, name, proofs[-1] if proofs else ""))
    return sites


def _all() -> list[Site]:
    rooms = (*CORE_ROOMS, "lib", "exec")
    files = [path for room in rooms for path in sorted((CEXT / room).glob("*.[ch]"))]
    return [site for path in files if path.name != "shm.h" for site in _sites(path)]


def _known() -> set[str]:
    return {name for path in CEXT.rglob("*.[ch]") for name, _, _ in _functions(path.read_text())}


def test_every_order_names_its_partner() -> None:
    sites = _all()
    assert len(sites) > 100
    bare = [f"{site.where} {site.function}()" for site in sites if not site.proof]
    assert bare == []


def test_every_partner_exists() -> None:
    known = _known()
    for site in _all():
        named = _NAMED.findall(site.proof)
        assert not site.proof or named, f"{site.where}: no function is named"
        for name in named:
            assert name in known, f"{site.where}: there is no {name}()"
