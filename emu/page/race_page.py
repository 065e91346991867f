"""The page of a finding of race testing: its steps as a picture, lanes side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emu.page.paper import page
from emu.page.sections import Parts, Row, number
from emu.race.artifact import Artifact
from emu.race.perfetto import seen_stores
from emu.race.timeline import Place, newest_values, shared_steps, step_text

#: Of the picture, in pixels: a row, a lane, and what stands left and on top of them.
_ROW, _LANE, _LEFT, _TOP = 34, 330, 46, 34
#: Rows at most: a longer one is cut in front, since what is wrong is at the end.
_ROWS_MAX = 400
#: A lane has room for so many letters.
_LETTERS = 44


@dataclass(frozen=True, slots=True)
class _Box:
    """A step as it is drawn."""

    number: int
    x: int
    y: int
    what: str
    where: str
    kind: str  #: last, stale or plain
    full: str  #: all of it, for whoever points at it


@dataclass(frozen=True, slots=True)
class _Arrow:
    """From a store to a load that saw it, in another lane."""

    path: str
    what: str


def _short(text: str) -> str:
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 1]}…"


def _picture(artifact: Artifact, places: Mapping[int, Place]) -> dict[str, Any]:
    found = artifact.found
    numbers = shared_steps(found.steps)[-_ROWS_MAX:]
    lanes = {name: at for at, name in enumerate(artifact.actors)}
    newest = newest_values(found.steps)
    boxes: dict[int, _Box] = {}
    for row, at in enumerate(numbers):
        step = found.steps[at]
        place = places.get(step.place)
        where = "" if place is None else f"{place.text} {place.function}".rstrip()
        what = step_text(step, newest[at], artifact.memory)
        is_last = at == len(found.steps) - 1
        boxes[at] = _Box(
            at,
            _LEFT + _LANE * lanes.get(step.name, 0),
            _TOP + _ROW * row,
            _short(what),
            _short(where),
            "last" if is_last else "stale" if step.choice else "plain",
            f"step {at}, {step.name}: {what} ({step.order}) {where}",
        )
    arrows = []
    for load, store in seen_stores(found.steps).items():
        if load in boxes and store in boxes and boxes[load].x != boxes[store].x:
            arrows.append(_arrow(boxes[store], boxes[load]))
    return {
        "text": found.text,
        "lanes": [(name, _LEFT + _LANE * at) for name, at in lanes.items()],
        "boxes": list(boxes.values()),
        "arrows": arrows,
        "width": _LEFT + _LANE * len(lanes) + 10,
        "height": _TOP + _ROW * len(numbers) + 10,
        "lane": _LANE - 16,
        "left_out": len(found.steps) - len(numbers),
    }


def _arrow(store: _Box, load: _Box) -> _Arrow:
    """A curve from the lane of the one to that of the other."""
    to_right = load.x > store.x
    x1 = store.x + (_LANE - 16 if to_right else 0)
    x2 = load.x + (0 if to_right else _LANE - 16)
    y1, y2 = store.y + _ROW // 2 - 2, load.y + _ROW // 2 - 2
    bend = 40 if to_right else -40
    path = f"M {x1} {y1} C {x1 + bend} {y1}, {x2 - bend} {y2}, {x2} {y2}"
    return _Arrow(path, f"step {load.number} reads what step {store.number} wrote")


@dataclass(frozen=True, slots=True)
class Pictured:
    """A finding, and what is known of where it is.

    Attributes:
        artifact: The finding.
        places: Where in the source each of its steps is, as far as that is known.
        without: Why it is not known, if it is not.
    """

    artifact: Artifact
    places: Mapping[int, Place]
    without: str | None = None

    def values(self) -> dict[str, Any]:
        """What a template needs of it."""
        artifact, found = self.artifact, self.artifact.found
        who = f"{artifact.actors[found.actor]}: " if 0 <= found.actor < len(artifact.actors) else ""
        bug = f"the seeded bug {artifact.bug.name}" if artifact.bug else None
        return {
            "sentence": f"{who}{found.text}.",
            "at": [
                f"{word} {place.text} {place.function}"
                for word, offset in (("At", found.place), ("The other is at", found.other_place))
                if (place := self.places.get(offset)) is not None
            ],
            "facts": [
                ("scenario", artifact.name),
                ("kind", found.kind),
                ("memory model", str(artifact.memory)),
                ("in", bug or artifact.provider or "the provider of this project"),
                ("context switches", found.switches),
                ("steps", len(found.steps)),
                ("found by", ", ".join(f"{k} {v}" for k, v in artifact.found_by.items())),
            ],
            "scenario": artifact.scenario,
            "picture": _picture(artifact, self.places),
            "again": f"zcrx-emu replay {artifact.file_name}",
        }

    @property
    def missing(self) -> list[str]:
        """What the page lacks because of it."""
        return [] if self.without is None else [f"lines of the source: {self.without}"]


_PARTS = [("verdict", "what is wrong"), ("steps", "steps"), ("scenario", "scenario")]


def race_page(pictured: Pictured) -> str:
    """The page of a finding."""
    values = {
        "title": f"zcrx-emu: a race in {pictured.artifact.name}",
        "kind": "bad",
        "word": "RACE",
        "rows": [],
        "parts": _PARTS,
        "missing": pictured.missing,
        **pictured.values(),
    }
    return page("race.html", values, {})


def search_page(
    summary: Mapping[str, Any], first: Pictured | None, unread: Sequence[str] = ()
) -> str:
    """The page of a search.

    Args:
        summary: What ``race --json`` writes.
        first: The first of its findings; None: there is none.
        unread: Which findings could not be read, and why.
    """
    parts = Parts()
    parts.missing.extend(unread)

    def rows() -> list[Row]:
        return [
            Row(
                (
                    item["scenario"],
                    number(item["schedules"]),
                    "all" if item["complete"] else f"{100 * item['share']:.2g} %",
                    item["finding"]["text"] if item["finding"] else "",
                ),
                is_bad=item["finding"] is not None,
            )
            for item in summary["scenarios"]
        ]

    def sentence() -> str:
        done = summary["scenarios"]
        complete = sum(item["complete"] for item in done)
        wrong = summary["findings"]
        found = f"Something is wrong in {wrong}" if wrong else "Nothing is wrong in any"
        return (
            f"{found} of {len(done)} scenarios; of {complete} every interleaving that the memory "
            f"model {summary['memory']} allows was looked at, of the others a part."
        )

    is_bad = bool(summary.get("findings"))
    values: dict[str, Any] = {
        "kind": "bad" if is_bad else "good" if summary.get("scenarios") else "unknown",
        "word": "RACES" if is_bad else "NO FINDING",
        "at": [],
        "facts": [],
        "scenario": "",
        "picture": None,
        **(first.values() if first is not None else {}),
    }
    values["sentence"] = parts.make("the verdict", sentence, "The report does not say.")
    values["facts"] = [
        *parts.make(
            "what was searched",
            lambda: [("target", summary["target"]), ("seed", summary["seed"])],
            [],
        ),
        *values["facts"],
    ]
    values["rows"] = parts.make("the scenarios", rows, [])
    values["again"] = values.get("again", "")
    values["title"] = f"zcrx-emu: races, {str(values['word']).lower()}"
    values["parts"] = [*(_PARTS if first is not None else _PARTS[:1]), ("scenarios", "scenarios")]
    values["missing"] = [*parts.missing, *(first.missing if first is not None else [])]
    return page("race.html", values, {})
