"""Strict type promotion, and the result of every augmentation on one batch."""

import jax
import pytest
from augment_cases import augmented


@pytest.fixture(scope="module")
def strict_promotion():
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture(scope="module")
def results():
    class Results(dict):
        def __missing__(self, name):  # compiled where it is first asked for
            return self.setdefault(name, augmented(name))

    return Results()
