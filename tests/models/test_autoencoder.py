"""The autoencoder is two multilayer perceptrons in a row; from logits, metrics see the sigmoid."""

import jax
import jax.numpy as jnp
import numpy as np

from dltrain.build.parts import assemble
from dltrain.composition.compose import compose_words
from dltrain.engine.state import split_module
from dltrain.models.autoencoder import Autoencoder
from dltrain.tasks import Reconstruction
from dltrain.types import Feature, Kind, Spec

PICTURES = Spec(
    {"image": Feature(Kind.IMAGE, (2, 3, 1), "float32")},
    {"target": Feature(Kind.CATEGORY, (), "int32")},
    Reconstruction(),
)
X = np.random.default_rng(0).normal(size=(4, 2, 3, 1)).astype(np.float32)


def test_outputs_equal_numpy_and_have_the_inputs_shape(filled, close):
    model = filled(lambda rngs: Autoencoder((5, 4), spec=PICTURES, rngs=rngs, code=2, decoder=(3,)))
    params = jax.tree.map(lambda p: np.asarray(p, np.float64), split_module(model)[1])
    x = X.reshape(4, 6).astype(np.float64)
    for part, linear in (("hidden", 2), ("decoder", 1)):
        for i, layer in params[part].items():
            x = x @ layer["kernel"] + layer["bias"]
            x = x if int(i) == linear else np.maximum(x, 0)
        if part == "hidden":
            close(np.asarray(model.encode(jnp.asarray(X))), x)
    close(np.asarray(model(jnp.asarray(X), mask=None, rngs=None)), x.reshape(4, 2, 3, 1))


def test_the_decoder_is_the_encoder_the_other_way_round_unless_it_is_given(filled):
    model = filled(lambda rngs: Autoencoder((5, 4), spec=PICTURES, rngs=rngs, code=2))
    assert [layer.out_features for layer in model.decoder] == [4, 5, 6]


def test_dropout_follows_each_hidden_layer_but_not_the_code(filled):
    model = filled(lambda rngs: Autoencoder((5, 4), spec=PICTURES, rngs=rngs, code=2, decoder=(3,), dropout=0.5))
    assert model.dropout.rate == 0.5
    calls = []
    model.dropout = lambda x, rngs: (calls.append(x.shape), x)[1]
    jax.eval_shape(lambda: model(X, mask=None, rngs=None))
    assert calls == [(4, 5), (4, 4), (4, 3)]


def test_of_a_loss_from_logits_metrics_see_the_sigmoid_of_rows_in_0_to_1():
    preprocess = assemble(compose_words("model=autoencoder", "loss=binary_cross_entropy").config).preprocess
    np.testing.assert_allclose(preprocess.outputs(jnp.asarray([0.0, 2.0])), [0.5, 1 / (1 + np.exp(-2))], rtol=1e-6)
    scaled = preprocess.scaled({"inputs": jnp.asarray([[[[0]], [[16]]]], jnp.uint8)})
    np.testing.assert_array_equal(np.ravel(scaled["targets"]), [0, 1])
    plain = assemble(compose_words("model=autoencoder").config).preprocess
    assert plain.outputs(2.0) == 2.0
