"""Programs of these tests run once: they are compiled quickly."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def _quick(quickly_compiled):
    """As the models' tests do."""
