"""Real processes move traffic through the provider, and everything is accounted for."""

import pytest


def reader(consumer):
    """Ours: it reads what came, and gives each piece back."""
    for completion in consumer:
        assert len(completion.data) > 0
        consumer.give_back(completion)


@pytest.mark.zcrx_run(packets=3000)
@pytest.mark.parametrize(
    "faults", ["none", "bad-pad:5%,bad-index:5%,alias:1%", "scrub-midway:every=50"]
)
def test_traffic_under_faults(zcrx_run, provider, faults):
    report = zcrx_run(provider=provider, faults=faults)
    assert report.total("provider", "consumed") > 0


def test_our_consumer_gets_every_byte(zcrx_run, provider):
    report = zcrx_run(provider=provider, consumer=reader, packets=2000)
    assert report.total("nic", "packets_offered") == 2000
