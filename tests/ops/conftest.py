"""Fixtures of the tests of operations: random cases, compiled together."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy

TOLERANCE = {"float32": 1e-5, "float64": 1e-10}  # of the largest magnitude


@pytest.fixture
def strict_dtypes():
    """Forbid implicit type promotion in these operations."""
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture(scope="session")
def agree() -> Callable[..., None]:
    """Compare with expected values, to a fraction of the largest magnitude that depends on the dtype."""

    def compare(found: Any, expected: Any, case: str = "") -> None:
        found, expected = np.asarray(found), np.asarray(expected)
        assert found.shape == expected.shape, case
        bound = TOLERANCE[str(found.dtype)] * np.abs(expected).max(initial=0)
        np.testing.assert_allclose(found, expected, rtol=0, atol=bound, err_msg=case)

    return compare


@pytest.fixture(scope="session")
def drawn() -> Callable[[SearchStrategy, int], list[Any]]:
    """Draw this many cases, always the same; compiling them as one program takes a fraction of the time."""

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
