"""A masked example is an absent example, for every model, in train mode, whatever the padding contains."""

from dataclasses import replace

import jax
import numpy as np
from few import few

from dltrain.models.autoencoder import Autoencoder
from dltrain.models.cnn import CNN
from dltrain.models.layers import Norm
from dltrain.models.linear import Linear
from dltrain.models.locally_connected import LocallyConnected
from dltrain.models.maxout import Maxout
from dltrain.models.mlp import MLP
from dltrain.models.perceptron import Perceptron
from dltrain.models.resnet import ResNet, Shortcut
from dltrain.models.rnn import GRU, LSTM, RNN
from dltrain.models.transformer import Transformer
from dltrain.models.unet import UNet
from dltrain.tasks import Segmentation

MODELS = {
    "linear": Linear,
    "mlp, batch norm": lambda **given: MLP((5,), norm=Norm.BATCH, **given),
    "mlp, layer norm": lambda **given: MLP((5,), norm=Norm.LAYER, **given),
    "cnn, batch norm": lambda **given: CNN((3,), norm=Norm.BATCH, dense=(5,), **given),
    "lstm": lambda **given: LSTM(3, **given),
    "gru": lambda **given: GRU(3, **given),
    "rnn": lambda **given: RNN(3, **given),
    "transformer": lambda **given: Transformer(1, 1, 4, 4, **given),
    "perceptron": Perceptron,
    "maxout, batch norm": lambda **given: Maxout((5,), norm=Norm.BATCH, **given),
    "locally connected, batch norm": lambda **given: LocallyConnected((2,), norm=Norm.BATCH, dense=(), **given),
    "autoencoder": lambda **given: Autoencoder((5,), code=2, **given),
    "unet": lambda **given: UNet((2, 3), **given),
    "resnet": lambda **given: ResNet((2, 3), (1, 1), shortcut=Shortcut.PROJECT, **given),
}


@few("name", MODELS, [name for name in MODELS if not name.startswith(("resnet", "unet", "locally"))])
def test_a_masked_example_is_an_absent_example(name, spec, arrays, filled, called):
    spec = replace(spec, task=Segmentation()) if name == "unet" else spec
    model = filled(lambda rngs: MODELS[name](spec=spec, rngs=rngs))
    model.train()
    alone, alone_state = called(model, arrays["inputs"][:5], mask=np.ones(5, bool))
    padded = np.concatenate([arrays["inputs"][:2], np.full((2, 4, 4, 1), 1e6, np.float32), arrays["inputs"][2:5]])
    mask = np.array([True, True, False, False, True, True, True])
    among, among_state = called(model, padded, mask=mask)
    np.testing.assert_allclose(np.asarray(among)[mask], alone, rtol=1e-5, atol=1e-6)
    for found, expected in zip(jax.tree.leaves(among_state), jax.tree.leaves(alone_state), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
