"""The extra arguments of an optimizer are found in its code."""

import optax
import pytest
from optimizer_formulas import from_yaml

from dltrain.optimizers.extras import needs


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("adam", set()),
        ("muon", set()),
        ("polyak", {"value"}),
        ("lbfgs", {"value", "grad", "value_fn"}),
        ("newton", {"value", "grad", "value_fn", "grad_fn"}),
        ("sam", {"grad_fn"}),
    ],
)
def test_needs_are_found_inside_chains_and_groups(name, wanted):
    rule = from_yaml(name)(learning_rate=0.1)
    assert needs(rule) == wanted
    assert needs(optax.partition({"all": optax.chain(optax.clip(1.0), rule)}, "all")) >= wanted
