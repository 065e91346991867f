"""Where the provider is."""

from pathlib import Path

import pytest

PROVIDER = str(Path(__file__).parents[1] / "src" / "ringkeeper.c")


@pytest.fixture(scope="session")
def provider() -> str:
    return PROVIDER
