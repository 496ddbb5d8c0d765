"""Labels outside the classes, shapes that do not match, and invalid options."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loss_cases import CASES, LABELS, LOGITS, B, K

from dltrain import losses

pytestmark = pytest.mark.usefixtures("unoptimised")

LABELLED = ["cross_entropy", "focal", "mse, one-hot", "hinge, classes", "binary_cross_entropy"]


@pytest.mark.parametrize("wrong", [-1, 99])
def test_label_outside_the_classes_gives_nan_but_no_nan_gradient_if_masked(wrong):
    mask = np.arange(B) != 2

    def total(z, loss, options, targets):
        values = loss(z, {"targets": jnp.asarray(targets, jnp.int32).at[2].set(wrong)}, **options)
        return jnp.where(mask, values, 0).sum(), values

    @jax.jit
    def evaluate():
        found = {}
        for name in LABELLED:
            loss, options, outputs, targets, _ = CASES[name]
            z = jnp.asarray(outputs, jnp.float32)
            found[name] = jax.value_and_grad(total, has_aux=True)(z, loss, options, targets)
        return found

    for name, ((_, values), gradient) in evaluate().items():
        np.testing.assert_array_equal(np.isnan(values), ~mask, err_msg=name)
        assert np.isfinite(gradient).all(), name


MISFITS = [
    (losses.cross_entropy, (B, 1), (B,), "int32", r"outputs float32\[6, 1\].*int32\[6\].*binary_cross_entropy"),
    (losses.cross_entropy, (B, K), (B, 1), "int32", r"expected .*int \[B\].*found .*int32\[6, 1\]"),
    (losses.cross_entropy, (B, K), (B, K), "int32", r"found .*int32\[6, 4\]"),
    (losses.cross_entropy, (B, K), (B, 3), "float32", r"float32\[6, 3\]"),
    (losses.binary_cross_entropy, (B, K), (B,), "int32", r"cross_entropy: .*\[6, 4\].*loss=cross_entropy"),
    (losses.mse, (B, 3), (B, 2), "float32", r"mse: expected .*\[6, 3\].*\[6, 2\]"),
    (losses.mse, (B, 3), (B,), "float32", r"mse: expected .*\[6, 3\].*\[6\]"),
    (losses.hinge, (B, 1), (B, 1), "float32", r"hinge: expected targets int"),
    (losses.focal, (B, K), (B, K), "float32", r"focal: expected targets int"),
]


@pytest.mark.parametrize(("loss", "outputs", "targets", "dtype", "message"), MISFITS)
def test_wrong_shapes_are_an_error_while_tracing(loss, outputs, targets, dtype, message):
    batch = {"targets": jax.ShapeDtypeStruct(targets, dtype)}
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(loss, jax.ShapeDtypeStruct(outputs, "float32"), batch)


@pytest.mark.parametrize(
    ("loss", "options", "message"),
    [
        (losses.cross_entropy, {"class_weights": [1.0]}, "class_weights has 1 values for 4 classes"),
    ],
)
def test_invalid_options_are_an_error(loss, options, message):
    batch = {"targets": jnp.asarray(LABELS, jnp.int32)}
    with pytest.raises(ValueError, match=message):
        loss(jnp.asarray(LOGITS, jnp.float32), batch, **options)


def test_options_may_be_traced(float32):
    names = [n for n, case in CASES.items() if any(isinstance(v, float) for v in case[1].values())]
    assert len(names) > 6

    @jax.jit
    def evaluate(options):
        found = {}
        for name in names:
            loss, _, outputs, targets, _ = CASES[name]
            targets = jnp.asarray(targets, jnp.float32 if targets.dtype == np.float64 else jnp.int32)
            found[name] = loss(jnp.asarray(outputs, jnp.float32), {"targets": targets}, **options[name])
        return found

    for name, values in evaluate({name: CASES[name][1] for name in names}).items():
        np.testing.assert_allclose(values, float32["plain"][name][0], rtol=1e-6, err_msg=name)
