"""What `model.bias_init` draws reaches every bias of every model; those of forget gates are ones by default."""

import jax
import numpy as np
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
ZERO = ("kernel_init", "recurrent_init", "encoder_init")  # quick to compile
SAME = ("resnet20", "resnet32", "resnet56", "convnet", "lenet")  # classes with another YAML, resnet18 and cnn
MODELS = [name for name, file in read_tree((packaged(),))["model"].items() if name not in SAME]


@pytest.mark.parametrize("name", MODELS)
def test_bias_init_reaches_every_bias(name):
    config = compose_words(f"model={name}", f"data={DATA.get(name, 'digits')}").config
    config["model"] |= {key: "zeros" for key in ZERO if key in config["model"]} | {"bias_init": "ones"}
    make_model = assemble(config).make_model
    params = jax.jit(lambda: nnx.state(make_model(nnx.Rngs(0)), nnx.Param))()
    found = {
        tuple(map(str, path)): np.asarray(value[...])
        for path, value in nnx.to_flat_state(params)
        if path[-1] == "bias" and not any("norm" in str(part) for part in path)
    }
    assert found
    for path, values in found.items():
        np.testing.assert_array_equal(values, 1, err_msg=".".join(path))
