"""Every YAML composes and builds, and begins with the line that says when to pick it."""

import contextlib
import re

import jax
import numpy as np
import pytest

from dltrain.assemble import assemble
from dltrain.cli import compose_words
from dltrain.config.tree import first_comment, packaged, read_tree
from dltrain.plan import make_plan
from dltrain.program import Program
from dltrain.report.console import Screen
from dltrain.report.start import introduce

TREE = read_tree((packaged(),))
CHOICES = [(group, choice) for group, choices in TREE.items() for choice in choices]
NEEDS = {  # what a choice needs beside itself to fit together
    **{f"loss={name}": ("data=diabetes",) for name in ("mse", "mae", "huber", "log_cosh", "quantile")},
    **{f"loss={name}": ("data=breast_cancer",) for name in ("binary_cross_entropy", "hinge", "perceptron")},
    **{
        f"metrics={name}": ("data=diabetes",)
        for name in ("mse", "mae", "rmse", "r2", "mape", "regression", "reconstruction")
    },
    **{f"metrics={name}": ("data=breast_cancer",) for name in ("binary", "auroc", "average_precision")},
    **{f"metrics={name}": ("data=small_captions", "model=captioner") for name in ("generation", "exact_match")},
    "model=captioner": ("data=small_captions",),
    **{f"model={name}": ("data=reverse",) for name in ("seq2seq", "seq2seq_transformer")},
    "data=pairs": ("data.path=pairs.txt",),
    "model=unet": ("data=digit_masks",),
    **{f"metrics={name}": ("data=digit_masks", "model=unet") for name in ("iou", "segmentation")},
    "loss=nll": ("model.output_activation=softmax",),
    "loss=gan": ("model=gan",),
    "metrics=adversarial": ("model=gan",),
    "loss=contrastive_divergence": ("model=rbm",),
    "model=lenet": ("model.padding=same",),  # 8x8 digits are too small for two 5x5 blocks
}


REFUSED = {  # what digits, grey pictures, cannot be
    "augment=hue": "augment.hue: hue needs red, green and blue",
    "augment=saturation": "augment.saturation: saturation needs red, green and blue",
    "augment=time_shift": "augment.time_shift: time_shift needs sequences",
    "augment=masking": "augment.masking: masking needs sequences",
}
DEEP = ("resnet32", "resnet56")  # resnet20 with more blocks: they take 15 s to trace
BUILT = [c for c in CHOICES if c[0] in ("model", "loss", "augment", "metrics")]


@pytest.mark.parametrize(("group", "choice"), [c for c in CHOICES if c not in BUILT], ids=str)
def test_every_choice_composes_with_checked_arguments(group, choice):
    composed = compose_words(f"{group}={choice}", *NEEDS.get(f"{group}={choice}", ()))
    assert composed.config["epochs"]
    assert composed.text


@pytest.mark.parametrize(("group", "choice"), CHOICES, ids=str)
def test_every_yaml_says_when_to_pick_it_in_one_line(group, choice):
    line = first_comment(TREE[group][choice])
    assert 10 < len(line) < 116, line
    assert len(TREE[group][choice].read_text(encoding="utf-8").splitlines()) <= 25


@pytest.mark.parametrize(
    ("group", "choice"),
    [pytest.param(*c, marks=pytest.mark.slow if c[1] in DEEP else ()) for c in BUILT],
    ids=str,
)
def test_every_part_fits_into_a_program(group, choice, capsys):
    """Shapes only: the step is traced, not compiled."""
    word = f"{group}={choice}"
    with pytest.raises(ValueError, match=REFUSED[word]) if word in REFUSED else contextlib.nullcontext():
        program = fits_into_a_program(word)
    if group == "model":
        introduce(Screen(), program, choices={"model": choice}, automatic={})
        its_layers_are_printed(program, capsys.readouterr().out.partition(f"model {choice}\n")[2].splitlines())


def its_layers_are_printed(program, table):
    """Shape, parameters and FLOPs of each layer, and their sums."""
    assert table[0].split() == ["layer", "kind", "output", "parameters", "FLOPs"]
    end = next(i for i, line in enumerate(table) if line.startswith("total"))
    *rows, total = [line.split() for line in table[1 : end + 1]]
    counts = [[int(number.replace(",", "")) for number in row[-2:]] for row in (*rows, total)]
    assert counts[-1] == [sum(row[0] for row in counts[:-1]), sum(row[1] for row in counts[:-1])]
    assert counts[-1][0] == sum(leaf.size for leaf in jax.tree.leaves(program.shapes.params))
    assert counts[-1][1] > 0
    for name, *kind, shape, _, _ in rows:
        assert kind or name == "(itself)"
        assert re.fullmatch(r"\d+(×\d+)*", shape), name


def fits_into_a_program(word):
    config = compose_words(word, *NEEDS.get(word, ()), "batch_size=4").config
    parts = assemble(config)
    program = Program(parts, make_plan(config, parts))
    data = {name: jax.ShapeDtypeStruct(a.shape, a.dtype) for name, a in parts.arrays.items()}
    feed = jax.ShapeDtypeStruct((program.capacity, 4), np.int32)
    state, logs = jax.eval_shape(program.chunk, program.shapes, data, feed, jax.ShapeDtypeStruct((), np.int32))
    assert jax.tree.map(lambda a: (a.shape, a.dtype), state) == jax.tree.map(
        lambda a: (a.shape, a.dtype), program.shapes
    )
    assert "loss" in logs
    return program
