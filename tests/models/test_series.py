"""Models of time series compute their papers' formulas, written again as loops over columns in float64."""

import jax
import numpy as np
import pytest
from flax import nnx

from dltrain.models.patchtst import PatchTST
from dltrain.models.series import DLinear, NLinear, RLinear, SparseTSF
from dltrain.tasks import Forecasting
from dltrain.types import Feature, Kind, Spec

L, H, BATCH = 24, 8, 3
RNG = np.random.default_rng(1)


def spec_of(inputs=("a", "b", "c"), targets=("a", "b", "c"), known=0, quantiles=()):
    features = {"past": Feature(Kind.SEQUENCE, (L, len(inputs)), "float32", inputs)}
    if known:
        names = tuple(f"k{i}" for i in range(known))
        features["known"] = Feature(Kind.SEQUENCE, (L + H, known), "float32", names)
    target = Feature(Kind.NUMBERS, (H, len(targets)), "float32", targets)
    return Spec(features, {"future": target}, Forecasting(quantiles=quantiles))


def windows(columns=3):
    return (RNG.normal(size=(BATCH, L, columns)).cumsum(1) + 5).astype(np.float32)


def kernel_of(layer):
    bias = 0 if layer.bias is None else np.asarray(layer.bias[...], np.float64)
    return np.asarray(layer.kernel[...], np.float64), bias


def affine(x, layer):
    kernel, bias = kernel_of(layer)
    return x @ kernel + bias


def rlinear(model, x):
    return affine(x, model.linear)


def nlinear(model, x):
    return affine(x - x[-1], model.linear) + x[-1]


def dlinear(model, x):
    padded = np.concatenate([[x[0]] * 2, x, [x[-1]] * 2])
    trend = np.array([padded[i : i + 5].mean() for i in range(L)])
    return affine(x - trend, model.rest) + affine(trend, model.trend)


def sparse_tsf(model, x, period=6):
    mean = x.mean()
    x = x - mean
    padded = np.concatenate([np.zeros(period // 2), x, np.zeros(period // 2)])
    weights = np.asarray(model.smooth[...], np.float64)
    x = x + np.array([weights @ padded[i : i + len(weights)] for i in range(L)])
    forecast = np.zeros(-(-H // period) * period)
    for phase in range(period):
        forecast[phase::period] = affine(x[phase::period], model.linear)
    return forecast[:H] + mean


MODELS = {
    "rlinear": (RLinear, {}, rlinear),
    "nlinear": (NLinear, {}, nlinear),
    "dlinear": (DLinear, {"kernel": 5}, dlinear),
    "sparse_tsf": (SparseTSF, {"period": 6}, sparse_tsf),
}


@pytest.mark.parametrize("revin", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_each_column_is_forecast_from_its_own_past_by_the_formula(name, revin, filled, called):
    kind, options, formula = MODELS[name]
    model = filled(lambda rngs: kind(spec_of(), rngs=rngs, revin=revin, **options))
    x = windows()
    found = called(model, x)[0]
    assert found.shape == (BATCH, H, 3)
    expected = np.zeros((BATCH, H, 3))
    for b in range(BATCH):
        for c in range(3):
            past = x[b, :, c].astype(np.float64)
            if revin:
                mean, deviation = past.mean(), np.sqrt(past.var() + 1e-5)
                scale, bias = (float(p[c]) for p in (model.revin.scale, model.revin.bias))
                forecast = formula(model, (past - mean) / deviation * scale + bias)
                expected[b, :, c] = (forecast - bias) / (scale + 1e-10) * deviation + mean
            else:
                expected[b, :, c] = formula(model, past)
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-4)


def patchtst(model, x):
    def norm(x, layer):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return x * np.asarray(layer.scale[...]) + np.asarray(layer.bias[...])

    padded = np.concatenate([x, [x[-1]] * 4])
    states = np.stack([padded[i : i + 8] for i in range(0, L - 3, 4)])
    states = affine(states, model.embed) + np.asarray(model.positions[...])
    for block in model.blocks:
        q, k, v = np.split(affine(norm(states, block.norm_attention), block.attention.qkv), 3, -1)
        seen = []
        for head in range(2):
            part = slice(4 * head, 4 * head + 4)
            scores = np.exp(q[:, part] @ k[:, part].T / 2)
            seen.append(scores / scores.sum(-1, keepdims=True) @ v[:, part])
        states = states + affine(np.concatenate(seen, -1), block.attention.out)
        hidden = np.maximum(affine(norm(states, block.norm_dense), block.up), 0)
        states = states + affine(hidden, block.down)
    return affine(norm(states, model.norm).reshape(-1), model.head)


def test_a_transformer_over_patches_computes_its_formula(filled, called):
    options = {"patch": 8, "stride": 4, "width": 8, "heads": 2, "feedforward": 5, "layers": 2, "revin": False}
    model = filled(lambda rngs: PatchTST(spec_of(), rngs=rngs, activation=jax.nn.relu, **options))
    model.eval()
    x = windows() - 5
    expected = np.stack([[patchtst(model, x[b, :, c].astype(np.float64)) for c in range(3)] for b in range(BATCH)])
    np.testing.assert_allclose(called(model, x)[0], expected.swapaxes(1, 2), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", MODELS)
def test_quantiles_are_on_a_further_axis_and_columns_are_found_by_name(name, filled, called):
    kind, options, _ = MODELS[name]
    spec = spec_of(targets=("c", "a"), quantiles=(0.1, 0.5, 0.9))
    model = filled(lambda rngs: kind(spec, rngs=rngs, revin=False, **options))
    x = windows()
    found = called(model, x)[0]
    assert found.shape == (BATCH, H, 2, 3)
    plain = filled(lambda rngs: kind(spec_of(targets=("c", "a")), rngs=rngs, revin=False, **options))
    for layer in ("linear", "trend", "rest"):
        if hasattr(model, layer):
            kernel, bias = kernel_of(getattr(model, layer))
            getattr(plain, layer).kernel[...] = kernel.reshape(len(kernel), -1, 3)[:, :, 1].astype(np.float32)
            if getattr(model, layer).bias is not None:
                getattr(plain, layer).bias[...] = bias.reshape(-1, 3)[:, 1].astype(np.float32)
    if hasattr(model, "smooth"):
        plain.smooth[...] = model.smooth[...]
    np.testing.assert_allclose(found[..., 1], called(plain, x)[0], rtol=1e-5, atol=1e-5)


def test_reversible_normalisation_makes_forecasts_follow_level_and_spread(filled, called):
    model = filled(lambda rngs: RLinear(spec_of(), rngs=rngs))
    x = windows()
    np.testing.assert_allclose(called(model, 7 * x + 30)[0], 7 * called(model, x)[0] + 30, rtol=1e-3)


def test_what_is_known_in_advance_changes_the_forecast_of_its_own_step_only(filled, called):
    model = filled(lambda rngs: RLinear(spec_of(known=2), rngs=rngs))
    known = RNG.normal(size=(BATCH, L + H, 2)).astype(np.float32)
    inputs = {"past": windows(), "known": known}
    other = {**inputs, "known": known.copy()}
    other["known"][:, L + 3] += 1
    changed = (called(model, inputs)[0] != called(model, other)[0]).any((0, 2))
    assert changed.tolist() == [step == 3 for step in range(H)]
    fresh = RLinear(spec_of(known=2), rngs=nnx.Rngs(0))
    plain = RLinear(spec_of(), rngs=nnx.Rngs(0))
    np.testing.assert_array_equal(called(fresh, inputs)[0], called(plain, inputs["past"])[0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda r: RLinear(spec_of(targets=("d",)), rngs=r), "d is not among the inputs; add it to data.columns"),
        (lambda r: DLinear(spec_of(), rngs=r, kernel=4), "kernel=4: expected an odd number, such as 5"),
        (lambda r: SparseTSF(spec_of(), rngs=r, period=25), "period=25: the window has 24 rows"),
        (lambda r: PatchTST(spec_of(), rngs=r, patch=25), "patch=25: the window has only 24 rows"),
        (lambda r: PatchTST(spec_of(), rngs=r, heads=3), "width=16 is not divisible by heads=3"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        nnx.eval_shape(lambda: make(nnx.Rngs(0)))


def test_other_data_is_refused():
    spec = Spec({"numbers": Feature(Kind.NUMBERS, (3,), "float32")}, spec_of().targets, Forecasting())
    with pytest.raises(ValueError, match="windows of numbers, which data=series has"):
        RLinear(spec, rngs=nnx.Rngs(0))
