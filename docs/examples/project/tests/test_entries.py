"""Malformed entries earn the verdicts that they must, and take nothing."""

import pytest


@pytest.mark.parametrize(
    ("fault", "verdict"),
    [("bad-pad", "bad_pad"), ("bad-area", "bad_area"), ("bad-index", "bad_index")],
)
def test_malformed_entry(zcrx_step, zcrx_rqe, provider, fault, verdict):
    both = zcrx_step(num_niovs=4, rq_entries=8, provider=provider)
    (niov,) = both.alloc()
    both.deliver(niov)
    entry = zcrx_rqe.malformed_rqe(fault, num_niovs=4).rqe
    both.push_rqe(*entry)
    both.alloc(4)
    assert [one.verdict.label for one in both.take_verdicts()] == [verdict]
