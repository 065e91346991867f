"""The fault layer: ways to be wrong, each with the verdict it must earn.

- :mod:`faults.catalogue`: the faults themselves (their types: :mod:`faults.fault`)
- :mod:`faults.rule`, :mod:`faults.plan`, :mod:`faults.plan_file`: which of them a run injects,
  when and where
- :mod:`faults.profiles`: ready-made plans
- :mod:`faults.custom`: faults of one's own
- :mod:`faults.journal`: what fired, as a plan that makes it fire again
- :mod:`faults.reconcile`: what was injected against what the provider said
"""

from faults.catalogue import CATALOGUE, VALID_VERDICTS, UnknownFaultError
from faults.custom import Context, CustomFault, find
from faults.fault import Actor, Fault, Group, Param
from faults.plan import Plan, parse_plan
from faults.plan_file import read_plan
from faults.profiles import PROFILES, Profile, load_plan, plan_name
from faults.reconcile import (
    ReconciledConsequence,
    ReconciledMismatch,
    ReconciledRow,
    Reconciliation,
    reconcile,
)
from faults.rule import CompiledRule, PlanError, PlanRule

__all__ = [
    "CATALOGUE",
    "PROFILES",
    "VALID_VERDICTS",
    "Actor",
    "CompiledRule",
    "Context",
    "CustomFault",
    "Fault",
    "Group",
    "Param",
    "Plan",
    "PlanError",
    "PlanRule",
    "Profile",
    "ReconciledConsequence",
    "ReconciledMismatch",
    "ReconciledRow",
    "Reconciliation",
    "UnknownFaultError",
    "find",
    "load_plan",
    "parse_plan",
    "plan_name",
    "read_plan",
    "reconcile",
]
