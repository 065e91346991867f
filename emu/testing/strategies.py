"""Hypothesis strategies: refill ring entries, plans of faults, steps of a provider.

They want Hypothesis, which this package does not install by itself.

    from hypothesis import given
    from emu.testing.strategies import rqes, steps

    @given(rqe=rqes(num_niovs=64))
    def test_my_parser(rqe): ...
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from emu.errors import StateError
from emu.testing.beside import Beside
from faults import CATALOGUE, Plan, parse_plan
from faults.catalogue.content import FAULTS, mutate
from faults.fault import Actor
from faults.rqe import NIOV_SHIFT, NIOV_SIZE, Rqe


def valid_rqes(num_niovs: int = 1024) -> st.SearchStrategy[Rqe]:
    """Entries that a correct consumer may write: anywhere in a buffer of the area."""
    return st.builds(
        lambda niov, start, length: Rqe(niov << NIOV_SHIFT | start, length),
        st.integers(0, num_niovs - 1),
        st.integers(0, NIOV_SIZE - 1),
        st.integers(1, NIOV_SIZE),
    )


def malformed_rqes(num_niovs: int = 1024) -> st.SearchStrategy[Rqe]:
    """Entries with one of the mistakes of the catalogue."""
    kinds = [
        (fault, tuple(param.compile(word) for param, word in zip(fault.params, words, strict=True)))
        for fault in FAULTS
        for words in itertools.product(*(param.choices for param in fault.params))
    ]
    return st.builds(
        lambda rqe, kind, rng: mutate(kind[0], kind[1], rng, rqe, num_niovs),
        valid_rqes(num_niovs),
        st.sampled_from(kinds),
        st.randoms(use_true_random=False),
    )


def rqes(num_niovs: int = 1024) -> st.SearchStrategy[Rqe]:
    """Any 16 bytes: correct, wrong in a way that has a name, or whatever."""
    whatever = st.builds(
        Rqe,
        st.integers(0, 2**64 - 1),
        st.integers(0, 2**32 - 1),
        st.integers(0, 2**32 - 1),
    )
    return st.one_of(valid_rqes(num_niovs), malformed_rqes(num_niovs), whatever)


def plans(
    actors: frozenset[Actor] = frozenset(Actor), rules_max: int = 4
) -> st.SearchStrategy[Plan]:
    """Plans of faults, each rule with a probability or a distance.

    Args:
        actors: Whose faults.
        rules_max: Rules of a plan.
    """
    names = sorted(name for name, fault in CATALOGUE.items() if fault.actor in actors)
    when = st.one_of(
        st.floats(0.0001, 1.0).map(lambda value: f"{value:.4f}"),
        st.integers(1, 5000).map("every={}".format),
    )
    rule = st.builds("{}:{}".format, st.sampled_from(names), when)
    return (
        st.lists(rule, min_size=1, max_size=rules_max, unique_by=lambda text: text.split(":")[0])
        .map(",".join)
        .map(parse_plan)
    )


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a program: a method of :class:`emu.StepProvider`, and what it is given."""

    name: str
    args: tuple[int, ...] = ()

    def take(self, both: Beside) -> Any:
        """Take it with a provider and the specification; None where both refuse it."""
        try:
            return getattr(both, self.name)(*self.args)
        except StateError:  # nothing of it is held just now
            return None


def steps(num_niovs: int, rq_entries: int) -> st.SearchStrategy[Step]:
    """Single steps of NIC, stack, user and control process, for :func:`emu.testing.beside`.

    A list of them is a program. Steps that the moment does not allow are refused by both.
    """
    niov = st.integers(0, num_niovs - 1)
    u32 = st.integers(0, 2**32 - 1)
    entry = rqes(num_niovs)
    return st.one_of(
        st.builds(lambda n: Step("alloc", (n,)), st.integers(1, num_niovs)),
        st.builds(lambda n, f: Step("deliver", (n, f)), niov, st.integers(1, 3)),
        st.builds(lambda n: Step("drop", (n,)), niov),
        st.builds(lambda e: Step("push_rqe", tuple(e)), entry),
        st.builds(
            lambda slot, e: Step("write_rqe", (slot, *e)),
            st.integers(0, rq_entries - 1),
            entry,
        ),
        st.builds(lambda value: Step("set_tail", (value,)), u32),
        st.builds(lambda value: Step("set_head", (value,)), u32),
        st.sampled_from([Step("scrub"), Step("restart_queue"), Step("copy_fallback")]),
    )
