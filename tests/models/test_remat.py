"""Rematerialization changes no value, and stores less for the backward pass."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from few import few
from flax import nnx
from jax.ad_checkpoint import print_saved_residuals

from dltrain.engine.decode import generate_after
from dltrain.engine.state import split_module
from dltrain.models.cnn import CNN
from dltrain.models.layers import Norm
from dltrain.models.locally_connected import LocallyConnected
from dltrain.models.maxout import Maxout
from dltrain.models.mlp import MLP
from dltrain.models.resnet import ResNet
from dltrain.models.rnn import GRU, LSTM
from dltrain.models.transformer import Transformer
from dltrain.tasks import Language
from dltrain.types import Feature, Kind, Spec

MODELS = {
    "mlp": lambda **given: MLP((6, 5), norm=Norm.BATCH, dropout=0.5, **given),
    "cnn": lambda **given: CNN((3, 2), norm=Norm.BATCH, dense=(5,), **given),
    "locally connected": lambda **given: LocallyConnected((2,), norm=Norm.BATCH, dense=(), **given),
    "maxout": lambda **given: Maxout((6, 5), norm=Norm.BATCH, dropout=0.5, **given),
    "resnet": lambda **given: ResNet((2, 3), (1, 1), **given),
    "lstm": lambda **given: LSTM(3, bidirectional=True, **given),
    "transformer": lambda **given: Transformer(2, 1, 4, 4, **given),
}


@few("name", MODELS, ("mlp", "lstm"))
def test_rematerialisation_changes_no_number_and_less_is_kept(name, spec, arrays, filled, quick, capsys):
    x, mask = arrays["inputs"][:6], np.arange(6) < 5

    def run(remat):
        model = filled(lambda rngs: MODELS[name](spec=spec, rngs=rngs, remat=remat))
        model.train()
        graph, *trees = split_module(model)
        params, rest = jax.tree.map(jnp.asarray, trees)  # batch norm writes into what it is given

        def loss(params):
            model = nnx.merge(graph, params, rest, copy=True)
            outputs = model(x, mask=mask, rngs=nnx.Rngs(dropout=jax.random.key(1)))
            return (outputs**2).sum(), split_module(model)[2]

        print_saved_residuals(lambda params: loss(params)[0], params)
        kept = capsys.readouterr().out.count("\n")
        return jax.jit(jax.value_and_grad(loss, has_aux=True), compiler_options=quick)(params), kept

    (plain, kept), (again, kept_less) = run(False), run(True)
    for found, expected in zip(jax.tree.leaves(again), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert kept_less < kept


@pytest.mark.parametrize("make", [partial(GRU, 4), partial(Transformer, 1, 1, 4, 4)])
def test_text_is_generated_all_the_same(make, filled):
    window = Feature(Kind.TOKENS, (4,), "int32", vocabulary=tuple("abc"))
    text = Spec({"text": window}, {"next": window}, Language())

    @partial(jax.jit, static_argnums=0)
    def written(graph, state):
        return generate_after(nnx.merge(graph, state, copy=True), jnp.zeros((2, 3), jnp.int32), length=6)

    models = [filled(lambda rngs, on=on: make(spec=text, rngs=rngs, remat=on)) for on in (False, True)]
    plain, again = (written(*nnx.split(model)) for model in models)
    np.testing.assert_array_equal(plain, again)
