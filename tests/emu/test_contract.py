"""The contract is one value, and who is given one that has no meaning for it says so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from emu import contract
from emu.config import RunConfig
from emu.contract import SEED, Contract
from emu.core import LEVELS, Stepper
from emu.errors import ConfigError
from emu.spec import model
from emu.spec.model import ModelProvider
from emu.spec.stepping import StepProvider


def test_core_and_specification_know_the_same_levels() -> None:
    assert LEVELS == model.LEVELS == contract.LEVELS
    assert Contract().level == SEED == LEVELS[0]


@pytest.mark.parametrize("provider", [ModelProvider, StepProvider])
def test_unknown_level_is_refused(provider: type[ModelProvider | StepProvider]) -> None:
    with pytest.raises(
        ConfigError,
        match=rf"^kernel: '2\.4' is not allowed; it must be one of {', '.join(LEVELS)}$",
    ):
        provider(num_niovs=1, rq_entries=1, kernel="2.4")


@pytest.mark.parametrize("strict", [False, True])
def test_contract_of_a_run_is_in_the_shape_of_its_queues(strict: bool) -> None:
    config = RunConfig(strict_alias=strict)
    assert config.contract == Contract(strict_alias=strict)
    assert config.shape(flows_max=1).contract == config.contract


def test_core_goes_by_the_contract_of_the_shape() -> None:
    shape = RunConfig(area_buffers=32).shape(flows_max=1)
    labels = []
    for strict in (False, True):
        step = Stepper(replace(shape, contract=Contract(strict_alias=strict)))
        step.write_rqe(0, 1 << 44, 0, 0)
        step.set_tail(1)
        step.alloc()
        labels += [judgement.verdict.label for judgement in step.take_verdicts()]
    assert labels == ["no_user_ref", "bad_index"]
