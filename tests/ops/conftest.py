"""What the tests of operations share: cases drawn once and compiled together."""

from collections.abc import Callable
from typing import Any

import jax
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy


@pytest.fixture
def strict_dtypes():
    """No silent promotion in these operations."""
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture(scope="session")
def drawn() -> Callable[[SearchStrategy, int], list[Any]]:
    """Draw so many cases, always the same: to compile them in one program takes a fraction of the time."""

    def draw(strategy: SearchStrategy, count: int) -> list[Any]:
        found = []

        @settings(
            max_examples=count,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        @given(strategy)
        def collect(case):
            found.append(case)

        collect()
        return found

    return draw
