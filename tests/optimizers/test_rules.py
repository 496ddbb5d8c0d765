"""Rules by parameter name: frozen ones keep their bits, scaled ones move in proportion, the last match wins."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dltrain.optimizers.rules import Rule, apply_rules, clip_each, decayed

pytestmark = pytest.mark.usefixtures("unoptimised")

PARAMS = {
    "hidden": {
        0: {"kernel": jnp.full((2, 2), 0.1), "bias": jnp.full(2, -0.0)},
        1: {"kernel": jnp.full((2, 2), 0.3)},
    },
    "head": {"kernel": jnp.full((2, 3), 1.5), "bias": jnp.full(3, 0.7)},
}


def stepped(*rules):
    """One step of SGD with momentum and weight decay, rules last as in training."""
    transform = optax.chain(optax.add_decayed_weights(0.5), optax.sgd(0.1, momentum=0.9), apply_rules(rules))
    grads = jax.tree.map(jnp.ones_like, PARAMS)
    updates, _ = transform.update(grads, transform.init(PARAMS), PARAMS)
    return jax.device_get(updates), jax.device_get(optax.apply_updates(PARAMS, updates))


def test_frozen_parameter_keeps_its_bits_and_others_change():
    _, after = stepped(Rule(r"^hidden\.0", freeze=True))
    for name in ("kernel", "bias"):
        before = np.asarray(PARAMS["hidden"][0][name])
        assert after["hidden"][0][name].tobytes() == before.tobytes()
    for moved, still in zip(jax.tree.leaves(after["head"]), jax.tree.leaves(PARAMS["head"]), strict=True):
        assert not np.array_equal(moved, still)


def test_frozen_parameter_stays_even_if_its_update_is_not_finite():
    updates, _ = apply_rules([Rule("head", freeze=True)]).update(jax.tree.map(lambda p: p * jnp.nan, PARAMS), ())
    assert not np.asarray(updates["head"]["kernel"]).any()


def test_scale_multiplies_the_learning_rate_and_the_last_match_counts():
    plain, _ = stepped()
    scaled, _ = stepped(Rule("head", freeze=True), Rule("kernel", scale=0.25))
    np.testing.assert_allclose(scaled["head"]["kernel"], 0.25 * plain["head"]["kernel"], rtol=1e-6)
    np.testing.assert_allclose(scaled["hidden"][1]["kernel"], 0.25 * plain["hidden"][1]["kernel"], rtol=1e-6)
    np.testing.assert_array_equal(scaled["hidden"][0]["bias"], plain["hidden"][0]["bias"])
    assert not scaled["head"]["bias"].any()


@pytest.mark.parametrize(
    ("match", "names"),
    [
        ("bias", ["head.bias", "hidden.0.bias"]),
        (r"^hidden\.\d+\.kernel$", ["hidden.0.kernel", "hidden.1.kernel"]),
        ("nothing", []),
    ],
)
def test_rule_returns_the_names_it_matches(match, names):
    assert Rule(match).matched(PARAMS) == names


def test_weight_decay_applies_to_kernels_not_to_biases_and_norms():
    params = {
        "norm": {"scale": jnp.ones(3), "bias": jnp.ones(3), "gain": jnp.ones(3)},
        "conv": {"kernel": jnp.ones((3, 3, 1, 2)), "bias": jnp.ones((1, 1, 2))},
        "lstm": {"recurrent": jnp.ones((2, 8)), "bias": jnp.ones(8)},
    }
    assert decayed(params) == {
        "norm": {"scale": False, "bias": False, "gain": False},
        "conv": {"kernel": True, "bias": False},
        "lstm": {"recurrent": True, "bias": False},
    }


def test_each_gradient_is_clipped_by_its_norm():
    grads = {"large": jnp.asarray([3.0, 4.0]), "small": jnp.asarray([0.3, 0.4]), "none": jnp.zeros(2)}
    clipped, _ = clip_each(1.0).update(grads, optax.EmptyState())
    np.testing.assert_allclose(clipped["large"], [0.6, 0.8], rtol=1e-6)
    np.testing.assert_array_equal(clipped["small"], grads["small"])
    np.testing.assert_array_equal(clipped["none"], grads["none"])
