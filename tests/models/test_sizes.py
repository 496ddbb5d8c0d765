"""Every model refuses a size of 0 with the key's name, before any weight is drawn."""

from functools import cache

import pytest
import yaml
from flax import nnx

from dltrain.build.instantiate import build
from dltrain.build.parts import assemble
from dltrain.composition.compose import compose_words
from dltrain.config import schema
from dltrain.config.folders import packaged, read_tree
from dltrain.errors import ConfigError

MODELS = read_tree((packaged(),))["model"]
DATA = {
    "captioner": "data=small_captions",
    "seq2seq": "data=reverse",
    "seq2seq_transformer": "data=reverse",
    "unet": "data=digit_masks",
}


@cache
def spec_of(data):
    return assemble(compose_words(data).config).spec


def sizes(node):
    """Each whole number of a model's YAML, and each list of some, with 0 in its last place."""
    for key, value in node.items():
        if type(value) is int:
            yield key, 0
        elif isinstance(value, list):
            yield key, [*value[:-1], 0]


@pytest.mark.parametrize("name", [name for name in MODELS if name != "auto"])
def test_a_size_of_0_is_refused_by_its_name(name):
    node = schema.split_node("model", yaml.safe_load(MODELS[name].read_text(encoding="utf-8")))[0]
    spec = spec_of(DATA.get(name, "data=digits"))
    found = list(sizes(node))
    assert found or name in ("linear", "perceptron", "nlinear", "rlinear")
    for key, size in found:
        with pytest.raises(ConfigError, match=rf"{key}=.*0\W*: must be .*a whole number ≥ 1"):
            build({**node, key: size}, path="model", spec=spec, rngs=nnx.Rngs(0))
