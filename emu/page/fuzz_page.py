"""The pages of fuzzing: of one finding, and of a campaign."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from emu.page import charts
from emu.page.paper import page
from emu.page.sections import Parts, Row, number


def _of(target: Mapping[str, Any]) -> str:
    if target.get("bug"):
        return f"the seeded bug {target['bug']}"
    return str(target.get("provider") or "the provider of this project")


def _finding(value: Mapping[str, Any]) -> dict[str, Any]:
    """What a page shows of one finding."""
    wrong = value["step"]
    return {
        "signature": value["signature"],
        "sentence": f"{value['meaning']}: {value['what']}"
        + (f" was {value['actual']} instead of {value['expected']}" if value["expected"] else ""),
        "facts": [
            ("in", _of(value["target"])),
            ("instance", value["shape"]),
            ("operations", value["operations"]),
            ("found by", ", ".join(f"{k} {v}" for k, v in value["found_by"].items())),
        ],
        "steps": [
            Row(
                (step["number"], step["operation"], step["expected"], step["actual"]),
                is_bad=step["number"] == wrong,
            )
            for step in value["steps"]
        ],
        "report": value["report"],
    }


def _sentence(findings: Sequence[Mapping[str, Any]]) -> str:
    first = findings[0]["sentence"]
    return f"{first[:1].upper()}{first[1:]}."


def finding_page(value: Mapping[str, Any], file_name: str) -> str:
    """The page of one finding, from its file."""
    parts = Parts()
    findings = parts.make("the finding", lambda: [_finding(value)], [])
    return _page(
        parts,
        title="zcrx-emu: a program in which a provider goes wrong",
        word="FINDING",
        kind="bad",
        sentence=_sentence(findings) if findings else "The file does not say what was found.",
        again=f"zcrx-emu replay {file_name}",
        facts=[],
        findings=findings,
    )


def campaign_page(
    summary: Mapping[str, Any], values: Sequence[Mapping[str, Any]], unread: Sequence[str] = ()
) -> str:
    """The page of a campaign.

    Args:
        summary: What ``fuzz --json`` writes.
        values: The contents of its findings' files.
        unread: Which of these could not be read, and why.
    """
    parts = Parts()
    parts.missing.extend(unread)
    findings = parts.make("findings", lambda: [_finding(value) for value in values], [])
    count = len(summary.get("findings", ()))
    executions = summary.get("executions", 0)
    if count:
        word, kind = "FINDINGS", "bad"
        sentence = f"{count} different finding{'s' if count > 1 else ''} in "
    else:
        word, kind, sentence = (
            "NO FINDING",
            "good" if executions else "unknown",
            "Nothing wrong in ",
        )
    sentence += f"{number(executions)} programs of operations, each held against the contract."
    plots = parts.make(
        "coverage over time",
        lambda: {"coverage": charts.coverage(summary["series"])} if summary["edges"] else {},
        {},
    )

    def facts() -> list[tuple[str, Any]]:
        covered = summary["coverage"]
        return [
            ("target", summary["target"]),
            ("engine", summary["engine"]),
            ("seed", summary["seed"]),
            ("time", f"{summary['seconds']:.1f} s"),
            ("programs kept", number(summary["corpus"])),
            ("coverage", "not measured" if covered is None else _covered(covered)),
            ("workers replaced", summary["workers_replaced"]),
        ]

    return _page(
        parts,
        title=f"zcrx-emu: fuzzing, {word.lower()}",
        word=word,
        kind=kind,
        sentence=sentence,
        again="",
        facts=parts.make("what was done", facts, []),
        findings=findings,
        plots=plots,
    )


def _covered(covered: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in covered.items())


def _page(
    parts: Parts,
    *,
    title: str,
    word: str,
    kind: str,
    sentence: str,
    again: str,
    facts: Sequence[tuple[str, Any]],
    findings: Sequence[Mapping[str, Any]],
    plots: Mapping[str, Any] | None = None,
) -> str:
    links = [("verdict", "verdict"), ("findings", "findings")]
    if plots:
        links.append(("time", "how it went"))
    return page(
        "fuzz.html",
        {
            "title": title,
            "word": word,
            "kind": kind,
            "sentence": sentence,
            "again": again,
            "facts": facts,
            "findings": findings,
            "parts": links,
            "missing": parts.missing,
        },
        plots or {},
    )
