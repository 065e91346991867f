"""The families of a campaign of fuzzing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from emu.fuzz.campaign import CampaignPlan, CampaignProgress

if TYPE_CHECKING:
    from prometheus_client import Metric


@dataclass(frozen=True, slots=True)
class CampaignSample:
    """Where a campaign stood at one moment."""

    seconds: float
    executions: int
    workers_replaced: int
    edges: int
    edge_age_s: float
    corpus: int
    findings: int

    @classmethod
    def of(cls, progress: CampaignProgress) -> Self:
        """Take it now."""
        return cls(
            progress.seconds,
            progress.executions,
            progress.deaths,
            progress.edges,
            progress.edge_age_s,
            progress.corpus,
            progress.found,
        )


class CampaignFamilies:
    """Makes the families of a campaign's samples."""

    def __init__(self, plan: CampaignPlan) -> None:
        self._info = {
            "engine": str(plan.engine),
            "target": plan.target.label,
            "seed": str(plan.seed),
            "jobs": str(plan.jobs),
        }

    def __call__(self, sample: CampaignSample | None) -> Iterator[Metric]:
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            InfoMetricFamily,
        )

        yield InfoMetricFamily("zcrx_emu_fuzz", "What is fuzzed.", value=self._info)
        if sample is None:
            return
        for name, text, total in (
            ("executions", "Programs run.", sample.executions),
            ("workers_replaced", "Workers that died or hung.", sample.workers_replaced),
            ("findings", "Different findings.", sample.findings),
        ):
            yield CounterMetricFamily(f"zcrx_emu_fuzz_{name}", text, value=total)
        for name, text, value, unit in (
            ("elapsed_seconds", "Seconds so far.", sample.seconds, "seconds"),
            ("edges", "Edges of the code that were reached.", sample.edges, ""),
            ("edge_age_seconds", "Since the last new edge.", sample.edge_age_s, "seconds"),
            ("corpus_programs", "Programs that are kept.", sample.corpus, ""),
        ):
            yield GaugeMetricFamily(f"zcrx_emu_fuzz_{name}", text, value=value, unit=unit)
