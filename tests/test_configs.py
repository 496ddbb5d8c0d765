"""Every YAML composes and builds, and its first line says when to choose it."""

import contextlib
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from few import few

from dltrain.build.parts import assemble
from dltrain.build.plan import make_plan
from dltrain.build.program import Program
from dltrain.composition.compose import compose_words
from dltrain.config import schema
from dltrain.config.folders import first_comment, packaged, read_tree
from dltrain.data.sources.rows import make_rows
from dltrain.report.console import Screen
from dltrain.report.start import introduce
from dltrain.types import Kind

FILES = Path(__file__).parent / "files"
TREE = read_tree((packaged(),))
HOUSES = ("data=table", f"data.path={FILES}/houses.csv")
TEXTS = ("data=text", f"data.path={FILES}/messages.tsv", "data.text=text", "data.target=label")
MESSAGES = (f"data.root={FILES}", "data.path=messages.tsv", "data.columns=null")
CHOICES = [(group, choice) for group, choices in TREE.items() for choice in choices]
TOGETHER = {  # parts of which one program takes several: traced at once
    "metrics": (
        ("accuracy", "confusion", "ece", "f1", "log_loss", "precision", "recall", "top_k", "zero_one"),
        ("mse", "mae", "rmse", "r2", "mape"),
        ("auroc", "average_precision"),
    ),
    "augment": (
        ("blur", "brightness", "contrast", "cutout", "flip_horizontal", "flip_vertical", "mixup", "noise"),
        ("randaugment", "random_crop", "random_resized_crop", "rotation", "scaling", "shift", "cutmix"),
    ),
}
SERIES = (f"data.path={FILES}/series.csv", "data.time=date", "data.look_back=24", "data.horizon=8")
FORECAST = ("data=series", *SERIES, "data.validation=0.3", "data.test=0.3", "data.feed=resident")
EXPERIMENT = (*SERIES, "data.borders=[60,90,120]")  # another file, shorter than that of the experiment
NEEDS = {  # what a choice, of several together the first, needs besides itself to fit together
    **{f"loss={name}": ("data=diabetes",) for name in ("mse", "mae", "huber", "log_cosh", "quantile")},
    **{f"loss={name}": ("data=breast_cancer",) for name in ("binary_cross_entropy", "hinge", "perceptron")},
    **{f"metrics={name}": ("data=diabetes",) for name in ("mse", "regression", "reconstruction")},
    **{f"metrics={name}": ("data=breast_cancer",) for name in ("binary", "auroc")},
    **{f"metrics={name}": ("data=small_captions", "model=captioner") for name in ("generation", "exact_match")},
    "model=captioner": ("data=small_captions",),
    "model=seq2seq": ("data=reverse",),
    "model=seq2seq_transformer": ("data=reverse", "model.layers=1"),
    "model=transformer": ("model.layers=1",),  # one of four equal ones
    "data=series": (*SERIES, "data.validation=0.3", "data.test=0.3"),
    "experiment=etth1": EXPERIMENT,
    "experiment=airline": EXPERIMENT,
    **{f"model={name}": FORECAST for name in ("rlinear", "nlinear", "dlinear", "sparse_tsf")},
    "model=patchtst": (*FORECAST, "model.layers=1"),
    "metrics=count": (*HOUSES, "data.target=rooms", "task=count"),
    "metrics=multitarget": (*HOUSES, "data.target=[price,area]"),
    "metrics=multilabel": (*HOUSES, "data.target=[balcony,lift]"),
    "metrics=forecasting": (*FORECAST, "model=rlinear"),
    "metrics=coverage": (*FORECAST, "model=rlinear", "loss=quantile", "loss.q=[0.1,0.5,0.9]"),
    "data=pairs": ("data.path=pairs.txt",),
    "data=huggingface": (f"data.path={FILES}/huggingface",),
    "data=images": (f"data.path={FILES}/images",),
    "data=webdataset": (f"data.path={FILES}/shards",),
    "data=arrays": (f"data.path={FILES}/arrays.npz",),
    "experiment=flowers": (f"data.root={FILES}/images",),
    "data=table": (*HOUSES[1:], "data.target=price"),
    "data=text": TEXTS[1:],
    **{f"recipe={name}": TEXTS for name in ("text", "textcnn", "bag_of_ngrams")},
    **{f"model={name}": TEXTS for name in ("textcnn", "bag_of_ngrams")},
    "experiment=sms_spam": MESSAGES,
    "experiment=sst2": (*MESSAGES, "data.validation_path=messages.tsv", "data.test_path=messages.tsv"),
    "model=unet": ("data=digit_masks",),
    **{f"metrics={name}": ("data=digit_masks", "model=unet") for name in ("iou", "segmentation")},
    "loss=nll": ("model.output_activation=softmax",),
    "loss=gan": ("model=gan",),
    "metrics=adversarial": ("model=gan",),
    "loss=contrastive_divergence": ("model=rbm",),
    "model=resnet18": ("model.blocks=[1,1,1,1]",),  # one of two equal ones
    "model=lenet": ("model.padding=same",),  # 8x8 digits are too small for two 5x5 blocks
}


REFUSED = {  # what digits, grey images, cannot be
    "augment=hue": "augment.hue: hue needs red, green and blue",
    "augment=saturation": "augment.saturation: saturation needs red, green and blue",
    "augment=time_shift": "augment.time_shift: time_shift needs sequences",
    "augment=masking": "augment.masking: masking needs sequences",
}
LONG = (  # to trace; their own tests do so, too
    *("resnet18", "resnet20", "resnet32", "resnet56", "unet", "dcgan", "seq2seq", "seq2seq_transformer"),
    *("captioner", "textcnn", "patchtst", "iou", "segmentation", "coverage", "multitarget"),
    *("attention_lstm", "transformer", "gru", "bag_of_ngrams", "sparse_tsf", "rlinear", "nlinear", "gan"),
    *("exact_match", "generation", "count", "multilabel", "locally_connected"),
)
BUILT = [c for c in CHOICES if c[0] in ("model", "loss", "augment", "metrics") and c != ("model", "auto")]
OTHERS = {  # which no other decides about: the first of each is composed with the first of each other, and so on
    group: [choice for g, choice in CHOICES if g == group]
    for group in ("optim", "schedule", "data", "runtime", "callbacks")
}
SIDE_BY_SIDE = [
    *(
        {group: names[i] for group, names in OTHERS.items() if i < len(names)}
        for i in range(max(map(len, OTHERS.values())))
    ),
    *({group: choice} for group, choice in CHOICES if group in ("experiment", "recipe")),
]
TAKEN = {(group, choice) for group, sets in TOGETHER.items() for choices in sets for choice in choices}
ALONE = [(group, (choice,)) for group, choice in BUILT if (group, choice) not in TAKEN]


@few(
    "choices",
    SIDE_BY_SIDE,
    [choices for choices in SIDE_BY_SIDE if "experiment" not in choices],  # tests/test_experiments.py has those
    ids=lambda choices: "-".join(choices.values()),
)
def test_every_choice_composes_with_checked_arguments(choices):
    words = [f"{group}={choice}" for group, choice in choices.items()]
    composed = compose_words(*words, *(more for word in words for more in NEEDS.get(word, ())))
    assert composed.config["epochs"]
    assert choices.items() <= composed.choices.items()


@pytest.mark.parametrize(("group", "choice"), CHOICES, ids=str)
def test_every_yaml_says_when_to_choose_it_in_one_line(group, choice):
    line = first_comment(TREE[group][choice])
    assert 10 < len(line) < 116, line
    assert len(TREE[group][choice].read_text(encoding="utf-8").splitlines()) <= 25


@pytest.mark.parametrize(
    ("group", "choices"),
    [
        pytest.param(
            group, choices, marks=pytest.mark.slow if choices[0] in LONG else (), id=f"{group}-{choices[0]}"
        )
        for group, choices in (*ALONE, *((group, choices) for group, sets in TOGETHER.items() for choices in sets))
    ],
)
def test_every_part_fits_into_a_program(group, choices, capsys):
    """Shapes only: the step is traced, not compiled."""
    one = f"{group}={choices[0]}"
    word = one if len(choices) == 1 else f"{group}=[{','.join(choices)}]"
    with pytest.raises(ValueError, match=REFUSED[word]) if word in REFUSED else contextlib.nullcontext():
        program = fits_into_a_program(word, *NEEDS.get(one, ()))
        if len(choices) > 1:
            named = program.parts.metrics if group == "metrics" else program.parts.augment.named
            assert set(choices) <= set(named)
    if group == "model":
        introduce(Screen(), program, choices={"model": choices[0]}, automatic={})
        its_layers_are_printed(program, capsys.readouterr().out.partition(f"model {choices[0]}\n")[2].splitlines())


def coloured():
    """A source for the tests: twelve images in red, green and blue."""
    pictures = np.random.default_rng(0).integers(0, 256, (12, 5, 4, 3), np.uint8)
    targets = np.arange(12, dtype=np.int32) % 3
    return make_rows({"inputs": pictures, "targets": targets}, kind=Kind.IMAGE, classes=("a", "b", "c"))


def test_augmentations_of_colours_fit_into_a_program():
    config = compose_words("augment=[hue,saturation]", "batch_size=4", "model.widths=[3]").config
    own = schema.split_node("data", config["data"])[1]
    program = traced({**config, "data": {"_target_": f"{__name__}.coloured", **own}}, trust=(__name__,))
    assert set(program.parts.augment.named) == {"hue", "saturation"}


def test_augmentations_of_sequences_fit_into_a_program(tmp_path):
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 6, 12)
    np.savez(tmp_path / "x.npz", inputs=rng.normal(size=(12, 5, 2)), targets=np.arange(12) % 3, lengths=lengths)
    program = fits_into_a_program(
        "augment=[time_shift,masking]", "data=sequences", f"data.path={tmp_path}/x.npz", "model=rnn"
    )
    assert set(program.parts.augment.named) == {"time_shift", "masking"}


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
        assert kind or name == "(other)"
        assert re.fullmatch(r"\d+(×\d+)*", shape), name


def fits_into_a_program(*words):
    return traced(compose_words(*words, "batch_size=4").config)


def traced(config, trust=()):
    parts = assemble(config, trust)
    program = Program(parts, make_plan(config, parts))
    data = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), parts.arrays)
    feed = jax.ShapeDtypeStruct((program.capacity, 4), np.int32), {}
    state, logs = jax.eval_shape(program.chunk, program.shapes, data, feed, jax.ShapeDtypeStruct((), np.int32))
    assert jax.tree.map(lambda a: (a.shape, a.dtype), state) == jax.tree.map(
        lambda a: (a.shape, a.dtype), program.shapes
    )
    assert "loss" in logs
    return program
