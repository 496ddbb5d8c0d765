"""Objects are built from YAML only by names on the allowlist, with valid arguments; everything else is refused."""

import enum
import re
import sys
import types
from collections.abc import Sequence
from typing import Literal

import jax
import numpy as np
import optax
import pytest

from dltrain import activations, initializers
from dltrain.build.instantiate import accepts, bind, build, check, is_function
from dltrain.build.locate import locate
from dltrain.errors import ConfigError, DataError
from dltrain.types import Activation, Initializer, Spec

PAYLOADS = {
    # not on the allowlist
    "os.system": "a config may name parts of dltrain, optax, flax.nnx and jax.nn",
    "builtins.eval": "If builtins is a package of yours, allow it on the command line: trust=[builtins]",
    "subprocess.Popen": "a config may name parts",
    "jax.numpy.load": "a config may name parts",
    "flax.serialization.from_bytes": "a config may name parts",
    "dltrain.cli.main.main": "a config may name parts",
    "dltrain.commands.train.run": "a config may name parts",
    "dltrain.data.download.fetch": "a config may name parts",
    "dltrain.runs.checkpoint.load": "a config may name parts",
    "dltrain.build.instantiate.build": "a config may name parts",
    "optaxx.adam": "a config may name parts",
    "dltrain.models_of_mine.Net": "a config may name parts",
    # modules that allowed modules have imported
    "dltrain.data.sources.idx.zlib.decompress": "zlib is the module zlib, which a config may not name",
    "dltrain.data.sources.embedded.zipfile.ZipFile": "which a config may not name",
    "dltrain.data.sources.embedded.np.load": "np is the module numpy",
    "dltrain.callbacks.signals.signal.raise_signal": "signal is the module signal",
    "dltrain.models.mlp.jax.numpy.load": "jax is the module jax",
    "flax.nnx.typing.importlib.import_module": None,
    # objects that live elsewhere
    "dltrain.data.sources.embedded.Path": "is defined in pathlib",
    "dltrain.data.sources.idx.Path": None,
    "dltrain.callbacks.plateau.dataclass": "is defined in dataclasses",
    "dltrain.data.sources.embedded._load": "must be a dotted name",
    # no class or function
    "dltrain.models.mlp": "is not a class or function",
    "dltrain.data.sources.embedded.FOLDER": "is not a class or function",
    "dltrain.types.Kind": "a config may name parts",
    # private names and what is not a name
    "optax._src.transform.scale": "must be a dotted name such as dltrain.models.mlp.MLP",
    "dltrain.models.__builtins__": "must be a dotted name",
    "optax.adam.__globals__": "must be a dotted name",
    "optax.adam.__class__.__base__": "must be a dotted name",
    "eval": "must be a dotted name",
    "": "must be a dotted name",
    "dltrain.models.mlp.MLP()": "must be a dotted name",
    "dltrain/models/mlp.py": "must be a dotted name",
    "dltrain.models..mlp.MLP": "must be a dotted name",
    "optax.аdam": None,  # a Cyrillic letter
}


@pytest.mark.parametrize("target", PAYLOADS)
def test_what_a_config_may_not_name_is_refused(target):
    with pytest.raises(ConfigError) as caught:
        locate(target, path="model")
    message = str(caught.value)
    assert message.startswith(f"model._target_={target}: ")
    assert (PAYLOADS[target] or "") in message
    assert "\n" not in message


@pytest.mark.parametrize("target", [None, 3, ["os.system"], {"_target_": "os.system"}, True, 1.5])
def test_a_target_that_is_not_text_is_refused(target):
    with pytest.raises(ConfigError, match="must be a dotted name"):
        locate(target, path="loss")


def test_a_payload_is_neither_called_nor_imported_wherever_it_is(tmp_path, monkeypatch, spec):
    sentinel = tmp_path / "sentinel"
    (tmp_path / "payload.py").write_text(
        f"open({str(sentinel)!r}, 'w')\ndef net(**rest): open({str(sentinel)!r}, 'w')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    touch = {"_target_": "os.system", "command": f"touch {sentinel}"}
    mlp = "dltrain.models.mlp.MLP"
    nodes = [
        {"_target_": "payload.net"},
        {"_target_": mlp, "widths": {"_target_": "payload.net"}},
        {"_target_": mlp, "widths": [touch]},
        {"_target_": mlp, "activation": touch},
        {"_target_": mlp, "kernel_init": {"_target_": "payload.net"}},
        {"_target_": mlp, "dropout": {"_target_": mlp, "dropout": touch}},
        {"_target_": mlp, "strange": touch},
        {"_target_": {"_target_": "payload.net"}},
    ]
    for node in nodes:
        for use in (build, check):
            with pytest.raises(ConfigError):
                use(node, path="model", **({"spec": spec, "rngs": None} if use is build else {}))
    assert not sentinel.exists()
    assert "payload" not in sys.modules


def test_a_trusted_package_may_be_named_and_only_that_one(tmp_path, monkeypatch):
    (tmp_path / "mine_one").mkdir()
    (tmp_path / "mine_one" / "__init__.py").write_text(
        "import os\nfrom os import system\ndef loss(outputs, batch): ...\n"
    )
    (tmp_path / "mine_one" / "part.py").write_text(
        "class Net:\n    def __init__(self, width: int = 3): self.width = width\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert build({"_target_": "mine_one.part.Net", "width": 5}, path="model", trust=["mine_one"]).width == 5
    assert callable(bind({"_target_": "mine_one.loss"}, path="loss", trust=["mine_one"]))
    for target in ("mine_one.os.system", "mine_one.system", "mine_onea.loss"):
        with pytest.raises(ConfigError):
            locate(target, path="loss", trust=["mine_one"])
    with pytest.raises(ConfigError, match=r"importing mine_two failed: .*; dltrain looks for mine_two here, in "):
        locate("mine_two.loss", path="loss", trust=["mine_two"])
    (tmp_path / "mine_one" / "broken.py").write_text("import nothing_of_the_kind\n")
    with pytest.raises(ConfigError, match="importing it failed: No module named 'nothing_of_the_kind'"):
        locate("mine_one.broken.Net", path="model", trust=["mine_one"])
    with pytest.raises(ConfigError, match=re.escape("has no Nett; did you mean Net?")):
        locate("mine_one.part.Nett", path="model", trust=["mine_one"])


@pytest.mark.parametrize(
    ("target", "function"),
    [
        ("optax.adam", True),
        ("optax.nadam", True),  # a partial of adam
        ("optax.contrib.muon", True),
        ("flax.nnx.Linear", False),
        ("jax.nn.gelu", True),
        ("jax.nn.initializers.he_normal", True),
        ("dltrain.metrics.F1", False),
        ("dltrain.metrics.accuracy", True),
        ("dltrain.losses.cross_entropy", True),
    ],
)
def test_what_is_on_the_allowlist_is_found(target, function):
    node = {"_target_": target}
    assert callable(locate(target, path="x"))
    assert is_function(node, path="x") is function


@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ("dltrain.models.mlp.MPL", "dltrain.models.mlp has no MPL; did you mean MLP?"),
        ("dltrain.losses.cross_entrpy", "did you mean cross_entropy"),
        ("optax.adm", "did you mean adam"),
        ("dltrain.models.mpl.MLP", "dltrain.models has no mpl"),
    ],
)
def test_the_message_for_a_mistyped_name_suggests_the_nearest(target, hint):
    with pytest.raises(ConfigError, match=re.escape(hint)):
        locate(target, path="model")


# --- arguments -------------------------------------------------------------------------------------------------


class Size(enum.StrEnum):
    SMALL = "small"
    LARGE = "large"


class Part:
    def __init__(
        self,
        whole: int = 1,
        *,
        number: float = 0.5,
        flag: bool = False,
        text: str = "a",
        maybe: int | None = None,
        size: Size = Size.SMALL,
        word: Literal["x", "y"] = "x",
        many: tuple[int, ...] = (),
        pair: tuple[int, float] = (1, 2.0),
        several: Sequence[float] = (),
        either: float | str = 1.0,
        activation: Activation = jax.nn.relu,
        init: Initializer | None = None,
        anything=None,
        spec: Spec | None = None,
    ) -> None:
        self.__dict__.update({k: v for k, v in locals().items() if k != "self"})


def plain(outputs, batch, *, margin: float = 1.0, spec=None):
    return outputs, batch, margin, spec


@pytest.fixture(autouse=True)
def own(monkeypatch):
    """A user package."""
    module = types.ModuleType("ownparts")
    module.Part, module.plain, module.Size = Part, plain, Size
    for thing in (Part, plain, Size):
        monkeypatch.setattr(thing, "__module__", "ownparts")
    module.__dict__["fails"] = fails = lambda value: (_ for _ in ()).throw(value)
    fails.__module__ = "ownparts"
    monkeypatch.setitem(sys.modules, "ownparts", module)


def make(**arguments):
    return build({"_target_": "ownparts.Part", **arguments}, path="part", trust=["ownparts"])


@pytest.mark.parametrize(
    ("name", "given", "got"),
    [
        ("whole", 3.0, 3),
        ("whole", 1e3, 1000),
        ("number", 2, 2.0),
        ("maybe", None, None),
        ("maybe", 4.0, 4),
        ("size", "large", Size.LARGE),
        ("word", "y", "y"),
        ("many", [1, 2.0], (1, 2)),
        ("many", [], ()),
        ("pair", [3, 4], (3, 4.0)),
        ("several", [1, 2.5], (1.0, 2.5)),
        ("either", 3, 3.0),
        ("either", "auto", "auto"),
        ("init", None, None),
        ("anything", {"a": [1]}, {"a": [1]}),
    ],
)
def test_values_become_what_the_annotation_asks_for(name, given, got):
    value = getattr(make(**{name: given}), name)
    assert value == got
    assert type(value) is type(got)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("whole", 2.5, "part.whole=2.5: must be a whole number"),
        ("whole", True, "part.whole=true: must be a whole number"),
        ("whole", "3", "must be a whole number"),
        ("whole", None, "part.whole=null: must be a whole number"),
        ("number", "fast", "part.number=fast: must be a number"),
        ("number", False, "must be a number"),
        ("flag", 1, "part.flag=1: must be true or false"),
        ("flag", "yes", "must be true or false"),
        ("text", 3, "must be text"),
        ("maybe", "x", "must be a whole number or null"),
        ("size", "huge", "part.size=huge: must be one of small, large"),
        ("size", ["small"], "must be one of small, large"),
        ("size", {"a": 1}, "must be one of small, large"),
        ("word", "z", "must be one of x, y"),
        ("word", ["x"], "must be one of x, y"),
        ("many", 3, "part.many=3: must be a list, each a whole number"),
        ("many", [1, "b"], "must be a list, each a whole number"),
        ("many", {"a": 1}, "must be a list"),
        ("many", "123", "must be a list"),
        ("pair", [1], "part.pair="),
        ("pair", [1, 2, 3], "part.pair="),
        ("activation", "rellu", "did you mean relu"),
        ("activation", 3, "part.activation=3: must be one of "),
        ("init", "he_norml", "did you mean he_normal"),
        ("init", "he_norml", " or null"),
        ("wholee", 3, "part.wholee: unknown; ownparts.Part takes whole, number, "),
        ("wholee", 3, "did you mean part.whole?"),
        ("_hidden", 3, "part._hidden: unknown"),
    ],
)
def test_values_that_do_not_fit_are_refused_with_what_would_be_right(name, given, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        make(**{name: given})


def test_named_activations_and_initializers_are_looked_up():
    part = make(activation="tanh", init="he_normal")
    assert part.activation is activations.tanh
    draw = part.init(jax.random.key(0), (50, 40), np.float32)
    np.testing.assert_array_equal(draw, initializers.he_normal()(jax.random.key(0), (50, 40), np.float32))
    part = make(activation={"_target_": "jax.nn.leaky_relu", "negative_slope": 0.5})
    assert part.activation(np.float32(-2.0)) == -1.0
    part = make(init={"_target_": "jax.nn.initializers.constant", "value": 3})
    assert part.init(jax.random.key(0), (1,), np.float32).item() == 3.0


def test_nested_nodes_are_built_first():
    outer = make(anything={"_target_": "ownparts.Part", "whole": 7})
    assert outer.anything.whole == 7


def test_arguments_are_injected_where_a_parameter_exists_and_never_over_typed_ones(spec):
    node = {"_target_": "ownparts.Part"}
    offers = {"path": "part", "trust": ["ownparts"], "spec": spec, "whole": 9, "rngs": "not asked for"}
    part = build(node, **offers)
    assert part.spec is spec and part.whole == 9
    assert build({**node, "whole": 4}, **offers).whole == 4
    loss = bind({"_target_": "ownparts.plain", "margin": 2}, path="loss", trust=["ownparts"], spec=spec)
    assert loss("o", "b") == ("o", "b", 2.0, spec)
    typed = bind({"_target_": "ownparts.plain", "spec": None}, path="loss", trust=["ownparts"], spec=spec)
    assert typed("o", "b")[3] is None


def test_a_function_without_options_is_passed_unchanged():
    assert bind({"_target_": "optax.squared_error"}, path="loss") is optax.squared_error


def test_missing_arguments_are_named_unless_they_come_later():
    node = {"_target_": "ownparts.plain"}
    with pytest.raises(ConfigError, match=re.escape("loss.outputs: missing; ownparts.plain needs it")):
        check(node, path="loss", trust=["ownparts"])
    check(node, path="loss", trust=["ownparts"], awaiting=("outputs", "batch"))
    with pytest.raises(ConfigError, match=re.escape("model.spec: missing")):
        build({"_target_": "dltrain.models.mlp.MLP"}, path="model")


def test_an_error_of_the_target_is_reported_with_its_path_and_dltrains_own_pass_unchanged():
    for raised, kind in ((ValueError("width must be even"), ConfigError), (TypeError("no"), ConfigError)):
        with pytest.raises(kind, match=rf"^part: {raised}$"):
            build({"_target_": "ownparts.fails", "value": raised}, path="part", trust=["ownparts"])
    with pytest.raises(DataError, match=r"^row 3$"):
        build({"_target_": "ownparts.fails", "value": DataError("row 3")}, path="part", trust=["ownparts"])


def test_accepts_names_each_argument_with_its_value_now():
    found = accepts({"_target_": "ownparts.plain", "margin": 3}, path="loss", trust=["ownparts"])
    assert found == {"outputs": None, "batch": None, "margin": 3, "spec": None}


@pytest.mark.parametrize("node", [None, 3, "optax.adam", [1], {}, {"learning_rate": 1}])
def test_what_is_not_a_node_is_refused(node):
    with pytest.raises(ConfigError, match=r"^optim: expected a mapping with _target_, found "):
        check(node, path="optim")
