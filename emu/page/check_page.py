"""The page of a check: what each tool looked at, and what it found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emu.page.paper import page
from emu.page.sections import Parts, Row


def _verdict(value: Mapping[str, Any]) -> tuple[str, str, str]:
    tools = [tool["tool"] for tool in value["tools"] if tool["found"]]
    if tools:
        return (
            "bad",
            "FAIL",
            f"{value['findings']} findings in this {value['kind']}, by {', '.join(tools)}.",
        )
    silent = [tool["tool"] for tool in value["tools"] if tool["why_not"] is not None]
    without = f" Not looked at by {', '.join(silent)}." if silent else ""
    if value["interrupted"]:
        return "unknown", "NO FINDING SO FAR", f"It was interrupted before its time.{without}"
    if value["failed"]:
        return "unknown", "NO VERDICT", f"A tool could not look at it.{without}"
    return "good", "PASS", f"No tool found a mistake in this {value['kind']}.{without}"


def check_page(value: Mapping[str, Any]) -> str:
    """The page of a check, from ``check.json``."""
    parts = Parts()
    kind, word, sentence = parts.make(
        "the verdict",
        lambda: _verdict(value),
        ("unknown", "NO VERDICT", "This report does not say what was found."),
    )

    def rows() -> list[Row]:
        return [
            Row(
                (
                    tool["tool"],
                    len(tool["found"]) if tool["why_not"] is None else "-",
                    f"{tool['seconds']:.1f}",
                    tool["looked_at"] if tool["why_not"] is None else f"nothing: {tool['why_not']}",
                    tool["blind"],
                ),
                is_bad=bool(tool["found"]),
            )
            for tool in value["tools"]
        ]

    def findings() -> list[tuple[str, list[tuple[str, str]]]]:
        return [
            (tool["tool"], [(found["what"], found["again"]) for found in tool["found"]])
            for tool in value["tools"]
            if tool["found"]
        ]

    facts = parts.make(
        "what was checked",
        lambda: [
            (value["kind"], value["file"]),
            ("kernel level", value["kernel"]),
            ("seed", value["seed"]),
            ("time", f"{value['seconds']:g} s, building not counted"),
            ("folder", value["folder"]),
        ],
        [],
    )
    return page(
        "check.html",
        {
            "title": f"zcrx-emu: a check, {word}",
            "kind": kind,
            "word": word,
            "sentence": sentence,
            "facts": facts,
            "rows": parts.make("the tools", rows, []),
            "findings": parts.make("findings", findings, []),
            "parts": [("verdict", "verdict"), ("tools", "tools"), ("findings", "findings")],
            "missing": parts.missing,
        },
        {},
    )
