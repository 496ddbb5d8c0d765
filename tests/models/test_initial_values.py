"""The `*_init` keys of a model initialize all its weights, biases and tables, except those of normalizations."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from few import few
from flax import nnx

from dltrain import initializers
from dltrain.build.parts import assemble
from dltrain.composition.compose import compose_words
from dltrain.config.folders import packaged, read_tree, read_yaml
from dltrain.tree import path_name

DATA = {
    "captioner": "small_captions",
    "seq2seq": "reverse",
    "seq2seq_transformer": "reverse",
    "unet": "digit_masks",
}
OF_TEXTS = ("rnn", "lstm", "gru", "attention_lstm", "transformer")  # as well as of numbers
SIMILAR = (
    "rlinear",
    "nlinear",
    "sparse_tsf",
    "rnn",
    "unet",
    "locally_connected",
)  # built of layers of others: slow
SAME = ("resnet20", "resnet32", "resnet56", "convnet", "lenet")  # classes with another YAML, resnet18 and cnn
PUBLISHED = ("realmlp", "tabm")  # models whose initial values are part of their recipe, without a key
FILES = Path(__file__).parents[1] / "files"
MESSAGES = ("data=text", f"data.path={FILES}/messages.tsv", "data.text=text", "data.target=label")
SERIES = ("data=series", f"data.path={FILES}/series.csv", "data.look_back=8", "data.horizon=4")
OTHERS = {
    "textcnn": (*MESSAGES, "data.tokens=words"),
    "bag_of_ngrams": (*MESSAGES, "data.tokens=ngrams"),
    **{name: (*SERIES, "model.revin=false") for name in ("rlinear", "nlinear", "dlinear")},
    "patchtst": (*SERIES, "model.revin=false", "model.patch=4", "model.stride=2"),
    "sparse_tsf": (*SERIES, "model.revin=false", "model.period=2"),
}
NAMES_OF_MODELS = read_tree((packaged(),))["model"]
MODELS = [name for name in NAMES_OF_MODELS if name not in (*SAME, *PUBLISHED, "auto")]
CASES = [(name, name in OF_TEXTS) for name in MODELS] + [("transformer", False)]
NAMES = [name for name in initializers.__all__ if "_" in name]  # none of these does a model choose by itself


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Four texts of two tokens."""
    path = tmp_path_factory.mktemp("texts") / "texts.npz"
    np.savez(path, inputs=np.eye(4, 3, dtype=int), targets=np.array([0, 1, 0, 1]), vocabulary=np.array(["a", "b"]))
    return "data=sequences", f"data.path={path}"


def asked_for(name, shape):
    """The shapes that initializers are called with to fill a parameter."""
    match name.split(".")[-1]:
        case "recurrent":  # a square for each gate
            return [(shape[0],) * 2] * (shape[1] // shape[0])
        case "smooth":  # a convolution of one channel
            return [(*shape, 1, 1)]
        case "kernel" if name.startswith("local."):  # at each place as a convolution's
            return [(round(shape[2] ** 0.5),) * 2 + shape[3:]]
    return [shape]


@few(("name", "reads"), CASES, [case for case in CASES if case[0] not in SIMILAR])
def test_every_weight_bias_and_table_is_drawn_by_a_key(name, reads, monkeypatch, texts):
    data = texts if reads else OTHERS.get(name) or (f"data={DATA.get(name, 'digits')}",)
    config = compose_words(f"model={name}", *data, "data.validation=0", "data.test=0").config
    drawn = {key: [] for key in config["model"] if key.endswith("_init")}
    for key, choice in zip(drawn, NAMES, strict=False):
        config["model"][key] = choice

        def draw(_, shape, dtype=jnp.float32, *, seen=drawn[key], **unused):
            seen.append(tuple(shape))
            return jnp.ones(shape, dtype)

        monkeypatch.setattr(initializers, choice, lambda draw=draw: draw)
    make_model = assemble(config).make_model
    params = nnx.to_flat_state(nnx.eval_shape(lambda: nnx.state(make_model(nnx.Rngs(0)), nnx.Param)))
    asked = {path_name(path): value.shape for path, value in params if not any("norm" in str(p) for p in path)}
    expected = [shape for path, whole in asked.items() for shape in asked_for(path, whole)]
    assert sorted(expected) == sorted(shape for shapes in drawn.values() for shape in shapes)
    biases = [shape for path, shape in asked.items() if path.endswith("bias")]
    assert bool(biases) == (name != "sparse_tsf") and sorted(biases) == sorted(drawn.get("bias_init", ()))


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_model_with_initial_values_of_its_own_has_no_key_for_them(name):
    assert not [key for key in read_yaml(NAMES_OF_MODELS[name]) if key.endswith("_init")]
