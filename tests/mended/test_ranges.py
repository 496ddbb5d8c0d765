"""Every numeric argument of every part declares its range, and a value outside it is refused with the range."""

import importlib
import inspect
import math
import types
import typing
from collections.abc import Sequence

import pytest

from dltrain.build import instantiate
from dltrain.build.locate import locate
from dltrain.config.checks import AWAITING, INJECTED
from dltrain.config.folders import packaged, read_tree, read_yaml
from dltrain.config.schema import MULTIPLE, NODES
from dltrain.errors import ConfigError
from dltrain.ranges import Range

MODULES = ("losses", "metrics", "optimizers", "schedules", "activations", "initializers", "data.augment")
GIVEN = {name for names in (*AWAITING.values(), *INJECTED.values()) for name in names} | {"batch", "x"}
ENGINE = {key for group, keys in NODES.items() for key, about in keys.items() if not about.argument}


def targets_in(node):
    """The targets that a YAML file names, at any depth."""
    if isinstance(node, dict):
        if isinstance(node.get("_target_"), str):
            yield node["_target_"]
        for value in node.values():
            yield from targets_in(value)


def all_targets():
    tree = read_tree((packaged(),))
    for group in ("data", "model", "task", "loss", "optim", "schedule", *MULTIPLE):
        for path in tree[group].values():
            yield from targets_in(read_yaml(path))
    for module in MODULES:
        names = importlib.import_module(f"dltrain.{module}").__all__
        yield from (f"dltrain.{module}.{name}" for name in names if name[0].islower() or module == "metrics")
    yield "dltrain.callbacks.stopping.StopBelow"


TARGETS = sorted(set(all_targets()))


def numbers_in(annotation, ranges=()):
    """(int or float, its ranges, whether in a list) for each kind of number that an annotation admits."""
    origin, options = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        marks = tuple(mark for mark in options[1:] if isinstance(mark, Range))
        yield from numbers_in(options[0], (*ranges, *marks))
    elif origin in (typing.Union, types.UnionType):
        for option in options:
            yield from numbers_in(option, ranges)
    elif origin in (tuple, list, Sequence):
        for kind, marks, _ in numbers_in(options[0], ranges):
            yield kind, marks, True
    elif annotation in (int, float):
        yield annotation, ranges, False


def arguments():
    for target in TARGETS:
        for name, parameter in instantiate._parameters(locate(target, path="part")).items():
            if name not in GIVEN:
                for kind, ranges, many in numbers_in(parameter.annotation):
                    yield pytest.param(target, name, kind, ranges, many, id=f"{target}-{name}")


ARGUMENTS = list(arguments())


def outside(kind, ranges):
    """Values that are just outside, and values that no number may have."""
    step = 1 if kind is int else 1e-6
    for one in ranges:
        yield from (bound - step for bound in (one.low,) if bound is not None)
        yield from (bound + step for bound in (one.high,) if bound is not None)
        yield from (bound for bound in (one.above, one.below) if bound is not None)
    yield from (math.nan, math.inf, -math.inf, 1e39 if kind is float else 10**20)


def test_there_are_arguments_of_every_kind_of_part():
    found = {param.values[0].split(".")[1] for param in ARGUMENTS if param.values[0].startswith("dltrain.")}
    kinds = {"models", "losses", "metrics", "optimizers", "schedules", "activations", "initializers", "data"}
    assert found == kinds | {"callbacks"}
    assert any(param.values[0].startswith("optax.") for param in ARGUMENTS) and len(ARGUMENTS) > 200


@pytest.mark.parametrize(("target", "name", "kind", "ranges", "many"), ARGUMENTS)
def test_a_numeric_argument_declares_its_range_and_refuses_what_is_outside(target, name, kind, ranges, many):
    known = target.partition(".")[0] == "dltrain"
    if not ranges:
        set_in_yaml = known or any(name in node for node in _nodes_of(target))
        assert not set_in_yaml, f"{target}: {name} has no range: annotate it, see dltrain/ranges.py"
        return
    words = ranges[0].words(whole=kind is int)
    for value in outside(kind, ranges):
        given = [value, value] if many else value
        with pytest.raises(ConfigError) as error:
            instantiate.check({"_target_": target, name: given}, path="part", partial=True)
        assert str(error.value).startswith(f"part.{name}=") and words in str(error.value)


def _nodes_of(target):
    for choices in read_tree((packaged(),)).values():
        for path in choices.values():
            node = read_yaml(path)
            yield from (
                n for n in (node, *(v for v in node.values() if isinstance(v, dict))) if n.get("_target_") == target
            )


@pytest.mark.parametrize(("target", "name", "kind", "ranges", "many"), ARGUMENTS)
def test_a_default_lies_in_its_range(target, name, kind, ranges, many):
    del kind, many
    default = instantiate._parameters(locate(target, path="part"))[name].default
    if ranges and default is not inspect.Parameter.empty:
        assert all(one.holds(default) for one in ranges)


D = ("data=digits", "model=mlp")
REFUSED = {
    ("model.dropout=50",): "model.dropout=50: must be a finite number ≥ 0 and < 1",
    ("model.dropout=1",): "model.dropout=1: must be a finite number ≥ 0 and < 1",
    ("model.widths=[8,0]",): "model.widths=[8, 0]: must be a list, each a whole number ≥ 1",
    ("optim=momentum", "optim.momentum=1.5"): "optim.momentum=1.5: must be a finite number ≥ 0 and < 1",
    ("optim.b2=2",): "optim.b2=2: must be a finite number ≥ 0 and < 1",
    ("optim.eps=-1",): "optim.eps=-1: must be a finite number ≥ 0",
    ("optim=adamw", "optim.b2=2"): "optim.b2=2: must be a finite number ≥ 0 and < 1",
    ("optim=nadam", "optim.eps=-1"): "optim.eps=-1: must be a finite number ≥ 0",
    ("optim=sgd", "optim.momentum=1.5"): "optim.momentum=1.5: must be a finite number ≥ 0 and < 1 or null",
    ("optim=adafactor", "optim.decay_rate=-1"): "optim.decay_rate=-1: must be a finite number ≥ 0 and < 1",
    ("schedule=step", "schedule.factor=-10"): "schedule.factor=-10: must be a finite number > 0",
    ("schedule=plateau", "schedule.factor=1"): "schedule.factor=1: must be a finite number > 0 and < 1",
    ("schedule=exponential", "schedule.every=0"): "schedule.every=0: must be a whole number ≥ 1 or null",
    ("schedule.warmup_steps=-1",): "schedule.warmup_steps=-1: must be a whole number ≥ 0",
    ("augment=noise", "augment.noise.stddev=-3"): "augment.noise.stddev=-3: must be a finite number ≥ 0",
    ("augment=mixup", "augment.mixup.alpha=0"): "augment.mixup.alpha=0: must be a finite number > 0 and ≤ 1000",
    ("augment=blur", "augment.blur.sigma=[0,1]"): "must be a list of two, each a finite number from 0.01 to 16",
    ("loss=focal", "loss.gamma=-3"): "loss.gamma=-3: must be a finite number ≥ 0",
    ("loss=binary_cross_entropy", "loss.pos_weight=-2"): "loss.pos_weight=-2: must be a finite number ≥ 0",
    (
        "loss.class_weights=[-1,1]",
    ): "loss.class_weights=[-1, 1]: must be a list, each a finite number ≥ 0 or balanced or null",
    ("loss.label_smoothing=nan",): "loss.label_smoothing=nan: must be a finite number from 0 to 1",
    ("metrics=top_k", "metrics.top_k.k=0"): "metrics.top_k.k=0: must be a whole number ≥ 1",
    ("model=autoencoder", "model.dropout=-1"): "model.dropout=-1: must be a finite number ≥ 0 and < 1",
    ("model=dcgan", "model.kernel_init.stddev=-1"): "model.kernel_init.stddev=-1: must be a finite number ≥ 0",
    ("data=reverse", "model=seq2seq", "data.seed=-1"): "data.seed=-1: must be a whole number from 0 to 4294967295",
}


@pytest.mark.parametrize("words", REFUSED, ids=" ".join)
def test_an_impossible_argument_ends_with_2_and_names_key_and_range(words, dltrain):
    said = dltrain(*D, *words, "dry_run=true")
    assert said.code == 2 and REFUSED[words] in said.err


def test_a_user_defined_part_declares_ranges_in_the_same_way(tmp_path, monkeypatch):
    (tmp_path / "rangedparts.py").write_text(
        "from typing import Annotated\n"
        "from dltrain.ranges import Probability, Range\n\n\n"
        "def loss(outputs, batch, *, share: Probability = 0.5, odd: Annotated[int, Range(3, 9)] | None = None):\n"
        "    return outputs\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    node = {"_target_": "rangedparts.loss"}
    with pytest.raises(ConfigError, match=r"loss\.share=1\.5: must be a finite number from 0 to 1"):
        instantiate.check({**node, "share": 1.5}, path="loss", trust=["rangedparts"], partial=True)
    with pytest.raises(ConfigError, match=r"loss\.odd=11: must be a whole number from 3 to 9 or null"):
        instantiate.check({**node, "odd": 11}, path="loss", trust=["rangedparts"], partial=True)
    instantiate.check({**node, "share": 1, "odd": None}, path="loss", trust=["rangedparts"], partial=True)


def test_list_shows_the_arguments_of_a_choice_with_their_ranges(dltrain):
    said = dltrain("list", "model=mlp")
    assert (said.code, said.err) == (0, "")
    rows = dict(line.split(maxsplit=1) for line in said.out.splitlines())
    assert rows["model.dropout=0.0"] == "a finite number ≥ 0 and < 1"
    assert "model.widths=[128," in said.out and "each a whole number ≥ 1" in said.out
    assert "spec" not in said.out and "rngs" not in said.out
    said = dltrain("list", "augment=noise", "optim=adamw")
    assert "augment.noise.stddev=0.1  a finite number ≥ 0" in said.out
    assert any(
        line.split()[:1] == ["optim.b2=0.999"] and line.endswith("≥ 0 and < 1") for line in said.out.splitlines()
    )
