"""The ordinal loss against products of probabilities in float64, and finite differences."""

import pytest
from loss_cases import cases_of

pytestmark = pytest.mark.usefixtures("unoptimised")

NAMES = cases_of("ordinal")


@pytest.mark.parametrize("name", NAMES)
def test_values_and_gradients_equal_the_closed_form_in_float64(check_float64, name):
    check_float64(name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_values_and_gradients_are_finite_at_extreme_outputs(check_finite, name, size):
    check_finite(name, size)
