"""Single steps: the provider beside the specification, which must agree on each."""

from conftest import PROVIDER
from hypothesis import given, settings
from hypothesis import strategies as st

from emu.testing.beside import beside
from emu.testing.strategies import steps

SHAPE = {"num_niovs": 4, "rq_entries": 8}


def test_buffer_comes_home_once(zcrx_step, provider):
    both = zcrx_step(**SHAPE, provider=provider)
    (niov,) = both.alloc()
    both.deliver(niov, 2)
    for _ in range(3):
        both.push_rqe(niov << 12, 100)
    both.alloc(4)
    labels = [one.verdict.label for one in both.take_verdicts()]
    assert labels == ["still_referenced", "accepted", "no_user_ref"]


@given(program=st.lists(steps(**SHAPE), max_size=30))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_program(program):
    both = beside(**SHAPE, provider=PROVIDER)
    for step in program:
        step.take(both)
