"""What tests of data share."""

import pytest


@pytest.fixture(autouse=True)
def _quick(unoptimised):
    """They compare values."""
