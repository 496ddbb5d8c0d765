"""What `model.bias_init` draws is every bias of every model, those of normalisations left out."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from dltrain.assemble import assemble
from dltrain.cli import compose_words
from dltrain.config.tree import packaged, read_tree

DATA = {
    "captioner": "small_captions",
    "seq2seq": "reverse",
    "seq2seq_transformer": "reverse",
    "unet": "digit_masks",
}
SAME = ("resnet20", "resnet32", "resnet56", "convnet", "lenet")  # classes with another YAML, resnet18 and cnn
MODELS = [name for name, file in read_tree((packaged(),))["model"].items() if name not in SAME]


@pytest.mark.parametrize("name", MODELS)
def test_bias_init_draws_every_bias(name, monkeypatch):
    drawn = []

    def draw(key, shape, dtype=jnp.float32, **unused):
        drawn.append(tuple(shape))
        return jnp.ones(shape, dtype)

    config = compose_words(f"model={name}", f"data={DATA.get(name, 'digits')}").config
    config["model"]["bias_init"] = "ones"
    monkeypatch.setattr(jax.nn.initializers, "ones", draw)
    make_model = assemble(config).make_model
    params = nnx.eval_shape(lambda: nnx.state(make_model(nnx.Rngs(0)), nnx.Param))
    biases = [
        value.shape
        for path, value in nnx.to_flat_state(params)
        if path[-1] == "bias" and not any("norm" in str(part) for part in path)
    ]
    assert biases and sorted(drawn) == sorted(biases)
