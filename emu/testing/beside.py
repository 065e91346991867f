"""A provider and the specification, step by step beside each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from emu.errors import ConfigError, EmuError
from emu.spec.model import ModelProvider
from emu.spec.state import ProviderState
from emu.spec.stepping import StepProvider


class Differs(AssertionError):
    """The provider did something else than the specification."""


def _called(function: Callable[..., Any], args: Any, kwargs: Any) -> tuple[Any, EmuError | None]:
    try:
        return function(*args, **kwargs), None
    except EmuError as error:
        return None, error


def _first_difference(ours: ProviderState, theirs: ProviderState) -> str | None:
    for item in fields(ProviderState):
        got, expected = getattr(ours, item.name), getattr(theirs, item.name)
        if got != expected:
            return f"{item.name} is {got!r}, the specification has {expected!r}"
    return None


class Beside:
    """Takes each step with both, and compares answers, verdicts and states after it.

    It has the methods of :class:`emu.StepProvider`. A step that both refuse raises what the
    provider raised; verdicts are taken and compared after each step, and kept for
    :meth:`take_verdicts`.

    Attributes:
        provider: The one that is tested.
        model: The specification.

    Args:
        provider: C source or library of a provider; None: that of this project.
        options: As :class:`emu.StepProvider` has them.
    """

    def __init__(self, *, provider: str | None = None, **options: Any) -> None:
        self.provider = StepProvider(**options, provider=provider)
        self.model = ModelProvider(**options)
        self._verdicts: list[Any] = []
        self._steps: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(StepProvider, name):
            raise AttributeError(f"{type(self).__name__} has no step {name!r}")

        def step(*args: Any, **kwargs: Any) -> Any:
            return self._step(name, args, kwargs)

        return step

    def take_verdicts(self) -> list[Any]:
        """The verdicts since the last call, on which both agree."""
        verdicts, self._verdicts = self._verdicts, []
        return verdicts

    def _step(self, name: str, args: Any, kwargs: Any) -> Any:
        words = [repr(value) for value in args] + [f"{k}={v!r}" for k, v in kwargs.items()]
        self._steps.append(f"{name}({', '.join(words)})")
        got, refused = _called(getattr(self.provider, name), args, kwargs)
        expected, must_refuse = _called(getattr(self.model, name), args, kwargs)
        if type(refused) is not type(must_refuse):
            self._differs(f"it raised {refused!r}, the specification {must_refuse!r}")
        if refused is not None:
            raise refused
        if got != expected:
            self._differs(f"it answered {got!r}, the specification {expected!r}")
        ours, theirs = self.provider.take_verdicts(), self.model.take_verdicts()
        if ours != theirs:
            self._differs(f"its verdicts are {ours!r}, by the specification {theirs!r}")
        self._verdicts += ours
        difference = _first_difference(self.provider.state(), self.model.state())
        if difference is not None:
            self._differs(difference)
        return got

    def _differs(self, how: str) -> None:
        raise Differs(f"after {'; '.join(self._steps)}: {how}")


def beside(*, provider: str | None = None, **options: Any) -> Beside:
    """Make one.

    Raises:
        ConfigError: An option is not one of both, or not allowed.
    """
    try:
        return Beside(provider=provider, **options)
    except TypeError as error:
        raise ConfigError(f"zcrx_step: {error}") from None
