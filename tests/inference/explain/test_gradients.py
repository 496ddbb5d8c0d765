"""Attributions of every kind of input sum to the difference in output, of models in eval mode."""

from functools import partial

import jax.numpy as jnp
import numpy as np
from few import few
from flax import nnx
from small_bundle import small_bundle

from dltrain import initializers
from dltrain.data.preprocess import Scale, fit
from dltrain.inference.explain.examples import Examples
from dltrain.inference.explain.gradients import attribute
from dltrain.models.attention_lstm import AttentionLSTM
from dltrain.models.bag_of_ngrams import BagOfNgrams
from dltrain.models.cnn import CNN
from dltrain.models.layers import Norm
from dltrain.models.linear import Linear
from dltrain.models.mlp import MLP
from dltrain.models.series import RLinear
from dltrain.models.textcnn import TextCNN
from dltrain.models.transformer import Transformer
from dltrain.tasks import Classification, Forecasting, Regression
from dltrain.types import Feature, Kind, Spec

WORDS = ("<pad>", "<start>", "<end>", "<unknown>", "good", "bad", "film", "the")
CLASS = {"target": Feature(Kind.CATEGORY, (), "int32", vocabulary=("a", "b", "c"))}
VALUE = {"target": Feature(Kind.NUMBERS, (2,), "float32", names=("price", "rent"))}
IMAGE = Spec({"image": Feature(Kind.IMAGE, (8, 8, 3), "uint8")}, CLASS, Classification())
TEXT = Spec(
    {
        "tokens": Feature(Kind.TOKENS, (6,), "int32", vocabulary=WORDS),
        "length": Feature(Kind.LENGTH, (), "int32"),
    },
    CLASS,
    Classification(),
)
NGRAMS = Spec({"ngrams": Feature(Kind.NGRAMS, (6,), "int32", buckets=7)}, CLASS, Classification())
TABLE = Spec(
    {
        "numbers": Feature(Kind.NUMBERS, (3,), "float32", names=("x", "y", "z")),
        "categories": Feature(
            Kind.CATEGORIES,
            (3,),
            "int32",
            ("two", "three", "many"),
            levels=(("f", "m"), tuple("abc"), tuple("0123456789")),
        ),
    },
    VALUE,
    Regression(),
)
NUMBERS = Spec({"numbers": TABLE.inputs["numbers"]}, VALUE, Regression())
N = 5
RNG = np.random.default_rng(0)
LENGTHS = np.array([6, 1, 3, 5, 2], np.int32)
TOKENS = np.where(np.arange(6)[None] < LENGTHS[:, None], RNG.integers(3, 8, (N, 6)), 0).astype(np.int32)
ROWS = {
    "numbers": RNG.normal(5, 2, (N, 3)).astype(np.float32),
    "categories": np.stack([RNG.integers(0, n, N) for n in (3, 4, 11)], 1).astype(np.int32),
}


class Looked(nnx.Module):
    """Tokens looked up by hand, where no layer can be intercepted."""

    def __init__(self, *, spec, rngs):
        self.table = nnx.Param(rngs.params.normal((len(WORDS), 3)))

    def __call__(self, inputs, *, mask, rngs):
        return jnp.take(self.table[...], inputs["tokens"], axis=0).sum(1)


CASES = {
    "cnn": (partial(CNN, (4,), norm=Norm.BATCH, dropout=0.5), IMAGE, RNG.integers(0, 256, (N, 8, 8, 3), np.uint8)),
    "mlp": (partial(MLP, (6,), dropout=0.5), TABLE, ROWS),
    "bag": (partial(BagOfNgrams, 4, dropout=0.5), NGRAMS, TOKENS),
    "textcnn": (partial(TextCNN, 3, widths=(2,), embedding=4), TEXT, {"tokens": TOKENS, "length": LENGTHS}),
    "lstm": (partial(AttentionLSTM, 4, embedding=3), TEXT, {"tokens": TOKENS, "length": LENGTHS}),
    "transformer": (partial(Transformer, 1, 2, 4, 8), TEXT, {"tokens": TOKENS, "length": LENGTHS}),
}


def bundle_of(name, **parts):
    model, spec, inputs = CASES[name]
    targets = np.zeros((N, 2), np.float32) + np.arange(N, dtype=np.float32)[:, None]
    targets = targets if spec.task == Regression() else np.arange(N, dtype=np.int32) % 3
    return small_bundle(model, spec, fit(inputs, targets, spec=spec, scale=Scale.STANDARD), **parts), inputs


def explained(bundle, inputs, **options):
    examples = Examples(inputs, tuple(map(str, range(N))), "given", **options)
    return attribute(bundle, examples, target=None, tolerance=0.01, steps=128)


@few("name", CASES, 4)
def test_attributions_are_complete(name):
    bundle, inputs = bundle_of(name, batch_size=3)
    found = explained(bundle, inputs)
    spec, complete = bundle.spec, found.completeness
    assert complete.error.max() <= 0.01 and len(complete.error) == N
    assert {n: a.shape for n, a in found.values.items()} == {n: (N, *f.shape) for n, f in spec.contents.items()}
    total = sum(a.reshape(N, -1).sum(1, dtype=np.float64) for a in found.values.values())
    np.testing.assert_allclose(total, complete.total, rtol=1e-4, atol=1e-5)
    assert all(how.startswith("integrated gradients from") for how in found.methods.values())
    outputs = bundle.preprocess.targets["target"].forward(bundle.outputs(inputs)) if name == "mlp" else None
    largest = np.asarray(outputs)[:, 0] if name == "mlp" else bundle.outputs(inputs).max(1)
    np.testing.assert_allclose(complete.output, largest, rtol=1e-4, atol=1e-5)  # that of the model in eval mode
    assert found.explained[0] == ("price" if name == "mlp" else spec.classes[bundle.outputs(inputs)[0].argmax()])


def test_statistics_of_a_window_count_although_training_takes_them_for_constants():
    past = {"past": Feature(Kind.SEQUENCE, (6, 2), "float32", ("load", "heat"))}
    future = {"future": Feature(Kind.NUMBERS, (3, 2), "float32", names=("load", "heat"))}
    bundle = small_bundle(partial(RLinear, kernel_init=initializers.normal(0.3)), Spec(past, future, Forecasting()))
    inputs = RNG.normal(3, 1, (N, 6, 2)).astype(np.float32)
    found = explained(bundle, inputs)
    assert found.completeness.error.max() <= 0.01
    np.testing.assert_allclose(found.completeness.output, bundle.outputs(inputs)[..., 0].mean(1), rtol=1e-4)


def test_padding_gets_nothing_and_tokens_do():
    bundle, inputs = bundle_of("lstm")
    values = explained(bundle, inputs).values["tokens"]
    valid = np.arange(6)[None] < LENGTHS[:, None]
    assert (values[~valid] == 0).all() and (values[valid] != 0).all()


def test_of_a_linear_model_they_are_weights_times_scaled_differences_from_the_medians():
    inputs = ROWS["numbers"]
    preprocess = fit(inputs, np.zeros((N, 2), np.float32), spec=NUMBERS, scale=Scale.STANDARD)
    bundle = small_bundle(partial(Linear, kernel_init=initializers.normal(1.0)), NUMBERS, preprocess)
    median = np.median(inputs, 0)
    found = explained(bundle, inputs, medians={"numbers": median})
    weights = np.asarray(bundle.params["head"]["kernel"][...])[:, 0]
    expected = weights * (inputs - median) / inputs.std(0)
    np.testing.assert_allclose(found.values["numbers"], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.saliency["numbers"], np.abs(np.tile(weights, (N, 1))), rtol=1e-5)
    assert found.methods == {"numbers": "integrated gradients from the medians of the training rows"}


def test_tokens_that_are_looked_up_by_hand_are_replaced_one_at_a_time():
    inputs = {"tokens": TOKENS, "length": LENGTHS}
    bundle = small_bundle(Looked, TEXT)
    found = explained(bundle, inputs)
    table = np.asarray(bundle.params["table"][...], np.float64)
    chosen = [TEXT.classes.index(name) for name in found.explained]
    expected = np.stack([table[TOKENS[i], k] - table[3, k] for i, k in enumerate(chosen)])
    np.testing.assert_allclose(found.values["tokens"], expected, rtol=1e-4, atol=1e-5)
    assert found.completeness is None and found.methods["tokens"] == "one at a time replaced by an unknown token"
