"""Fixtures shared by the tests of data."""

import pytest


@pytest.fixture(autouse=True)
def _quick(unoptimised):
    """They compare values."""
