"""The fault layer: ways to be wrong, each with the verdict it must earn.

- :mod:`faults.catalogue`: the faults themselves
- :mod:`faults.plan`: which of them a run injects, and how often
- :mod:`faults.reconcile`: what was injected against what the provider said
"""

from faults.catalogue import CATALOGUE, Fault, UnknownFaultError, find
from faults.plan import Plan, PlanError, PlanRule, parse_plan
from faults.reconcile import ReconciledMismatch, ReconciledRow, Reconciliation, reconcile

__all__ = [
    "CATALOGUE",
    "Fault",
    "Plan",
    "PlanError",
    "PlanRule",
    "ReconciledMismatch",
    "ReconciledRow",
    "Reconciliation",
    "UnknownFaultError",
    "find",
    "parse_plan",
    "reconcile",
]
