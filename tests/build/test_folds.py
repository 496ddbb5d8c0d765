"""Folds that share a program: each is the fold trained alone, as a lane and one after the other."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dltrain.build.folds import Alike, Folded, read_folds
from dltrain.build.parts import assemble
from dltrain.build.plan import make_plan
from dltrain.build.program import Program
from dltrain.build.varied import Varied
from dltrain.composition.compose import compose_words
from dltrain.engine.state import named_leaves
from dltrain.models.linear import Linear
from dltrain.types import Spec
from tests.helpers.few import few

pytestmark = pytest.mark.usefixtures("quickly_compiled")

STEPS = 5
LINE = (
    f"steps={STEPS}",
    "schedule=constant",
    "optim=sgd",
    "optim.learning_rate=0.01",
    "recipe=none",
    "batch_size=8",
)
IRIS = ("data=iris", "model=linear")


def config_of(fold: int, *words: str, folds: int = 2):
    return compose_words(*LINE, f"data.folds={folds}", f"data.fold={fold}", *words).config


def configs_of(*words: str, folds: int = 2) -> dict[int, dict]:
    return {fold: config_of(fold, *words, folds=folds) for fold in range(folds)}


def make_shared(alike: Alike, config) -> Program:
    return Program(alike.shared, make_plan(config, alike.shared), [Folded(config, ())])


def variants(program: Program, alike: Alike, configs) -> list[Program]:
    return [program.variant(parts, make_plan(configs[fold], parts)) for fold, parts in alike.parts.items()]


def params(state) -> dict[str, np.ndarray]:
    return {name: np.asarray(leaf) for name, leaf in named_leaves(state).items() if name.startswith("params")}


def train(program: Program):
    state, _ = program.chunk(program.start(), program.data, program.feed_chunk(0, STEPS), np.int32(STEPS))
    return state


def train_lanes(program: Program, lanes: list[Program]):
    given = tuple(lane.feed_chunk(0, STEPS) for lane in lanes)
    states = tuple(lane.start() for lane in lanes)
    return program.lane_chunk(states, program.data, given, np.full(len(lanes), STEPS, np.int32))[0]


def assert_are_the_fold(fold: Program, states, config) -> None:
    """Compare trained states, their evaluation and their outputs with those of the fold alone."""
    parts = assemble(config)
    alone = Program(parts, make_plan(config, parts))
    expected = train(alone)
    wanted, held_out = alone.evaluate(expected, "validation"), parts.splits.validation
    outputs = alone.outputs(expected, held_out)
    for state in states:
        for name, leaf in params(expected).items():
            np.testing.assert_allclose(params(state)[name], leaf, rtol=1e-5, atol=1e-5, err_msg=name)
        found = fold.evaluate(state, "validation")
        assert found.scalars == pytest.approx(wanted.scalars, rel=1e-5, abs=1e-6)
        np.testing.assert_array_equal(found.examples, wanted.examples)
        np.testing.assert_allclose(found.losses, wanted.losses, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(fold.outputs(state, held_out), outputs, rtol=1e-4, atol=1e-4)
    assert fold.parts.preprocess.to_json() == parts.preprocess.to_json()
    assert fold.parts.spec.counts == parts.spec.counts


def check(*words: str) -> Alike:
    """Train folds in one program, as lanes and one after the other, and compare the second with itself alone."""
    configs = configs_of(*words)
    (alike,) = read_folds(configs, ())
    program = make_shared(alike, configs[0])
    first, second = variants(program, alike, configs)
    states = [train(second)]
    if not program.ahead:  # what is read ahead has no lanes
        one, other = train_lanes(program, [first, second])
        assert any(not np.array_equal(params(one)[name], leaf) for name, leaf in params(other).items())
        states.append(other)
    assert_are_the_fold(second, states, configs[1])
    assert program.evaluator.compilations == 1
    return alike


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """90 rows with gaps, which are filled with the median of the training rows, and a category."""
    rng = np.random.default_rng(0)
    rows = [
        f"{'' if i % 7 == 0 else f'{rng.normal():.4f}'},{rng.normal():.4f},{'abc'[i % 3]},{i % 2}"
        for i in range(90)
    ]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(["first,second,letter,class", *rows, ""]))
    return path


def test_a_fold_in_a_lane_is_the_fold_alone():
    alike = check(*IRIS)
    assert all(parts.arrays["inputs"].base is not None for parts in alike.parts.values())


CASES = {
    "balanced class weights": ("data=wine", "model=linear", "loss.class_weights=balanced"),
    "standardised targets": ("data=diabetes", "model=linear"),
    "robust": (*IRIS, "data.scale=robust"),
    "quantile": ("data=diabetes", "model=linear", "data.scale=quantile", "data.clamp=true"),
    "augmented": ("data=digits", "model=linear", "data.scale=standard", "augment=shift"),
    "ema and microbatches": (*IRIS, "optim.ema=0.9", "optim.accumulate=2"),
    "streamed": ("data=iris", "model=linear", "data.feed=streamed"),
    "buffered metric": ("data=breast_cancer", "model=linear", "metrics=[accuracy,auroc]"),
}


@few("words", list(CASES.values()), 0, ids=list(CASES))
def test_what_is_fitted_differs_between_the_folds(words):
    check(*words)


def test_lanes_that_differ_in_fold_and_numbers_are_the_runs_alone():
    numbers = {"loss.label_smoothing": (0.1, 0.3), "model.dropout": (0.1, 0.5), "optim.momentum": (0.9, 0.5)}
    words = ("data=wine", "model=mlp", "model.widths=[8]", "loss.class_weights=balanced")
    own = [config_of(i, *words, *(f"{key}={pair[i]}" for key, pair in numbers.items())) for i in range(2)]
    (alike,) = read_folds({i: {**own[0], "data": config["data"]} for i, config in enumerate(own)}, ())
    program = make_shared(alike, own[0]).varying(Varied(own[0], (), tuple(numbers)))
    assert program.untraceable() == ""
    lanes = []
    for i, config in enumerate(own):
        parts = program.differences.parts_of(alike.parts[i], config)
        lanes.append(program.variant(parts, make_plan(config, parts)))
    states = train_lanes(program, lanes)
    assert_are_the_fold(lanes[1], states[1:], own[1])
    assert program.evaluator.compilations == 1


def test_examples_that_each_fold_encodes_by_itself_are_rows_of_their_own(table):
    alike = check(f"data.path={table}", "data=table", "model=linear", "data.target=class")
    first, second = alike.parts.values()
    assert (first.begin, second.begin) == (0, 90) and len(alike.shared.arrays["targets"]) == 180


def test_folds_of_a_table_without_gaps_share_its_rows(table):
    lines = [line for line in table.read_text().splitlines() if not line.startswith(",")]
    table.write_text("\n".join([*lines, ""]))
    (alike,) = read_folds(configs_of(f"data.path={table}", "data=table", "model=linear", "data.target=class"), ())
    assert [parts.begin for parts in alike.parts.values()] == [0, 0]
    assert len({id(parts.source) for parts in alike.parts.values()}) == 1


@pytest.mark.slow
def test_folds_that_subtract_other_offsets_have_rows_of_their_own(tmp_path):
    rng = np.random.default_rng(0)
    rows = [f"{1_700_000_000 + 60 * i + rng.integers(60)},{rng.normal():.4f},{i % 2}" for i in range(90)]
    (tmp_path / "times.csv").write_text("\n".join(["time,other,class", *rows, ""]))
    words = (f"data.path={tmp_path / 'times.csv'}", "data=table", "model=linear", "data.target=class")
    alike = check(*words, "data.split=random")
    assert [parts.begin for parts in alike.parts.values()] == [0, 90]


def test_folds_whose_bins_are_part_of_the_model_have_programs_of_their_own():
    assert grouped("data=iris", "model=mlp", "model.embedding=ple", folds=2) == [[0], [1]]


def grouped(*words: str, folds: int, trust: tuple[str, ...] = ()) -> list[list[int]]:
    return [sorted(alike.parts) for alike in read_folds(configs_of(*words, folds=folds), trust)]


def test_folds_with_another_number_of_steps_per_epoch_have_a_program_of_their_own():
    by_steps = ("eval_every=3", "checkpoint_every=3")  # so that intervals do not differ, too
    found = read_folds(configs_of(*IRIS, *by_steps, "batch_size=17", folds=7), ())  # 102 or 103 examples of 120
    steps = [{parts.pipeline.steps_per_epoch for parts in alike.parts.values()} for alike in found]
    assert steps in ([{6}, {7}], [{7}, {6}]) and sorted(f for alike in found for f in alike.parts) == [*range(7)]


def test_a_metric_that_keeps_all_examples_has_room_for_those_of_the_largest_fold():
    words = ("data=breast_cancer", "model=linear", "metrics=[accuracy,auroc]")
    (alike,) = read_folds(configs_of(*words, folds=3), ())
    sizes = {len(parts.splits.train) for parts in alike.parts.values()}
    assert len(sizes) == 2 and len(alike.shared.metrics["auroc"].zero().labels) == max(sizes)


def test_folds_whose_columns_have_other_levels_have_programs_of_their_own(table):
    table.write_text(table.read_text().replace(",a,", ",rare,", 1))
    words = (f"data.path={table}", "data=table", "model=linear", "data.target=class")
    groups = grouped(*words, folds=3)
    assert sorted(map(len, groups)) == [1, 2]  # the fold that does not train on the rare level


def test_encoded_folds_that_do_not_fit_into_memory_together_are_left_out(table, monkeypatch):
    words = (f"data.path={table}", "data=table", "model=linear", "data.target=class")
    (alike,) = read_folds(configs_of(*words), ())
    size = sum(array.nbytes for array in jax.tree.leaves(alike.parts[0].arrays))
    monkeypatch.setattr("dltrain.build.folds.memory.room_for_data", lambda: 1.5 * size)
    assert grouped(*words, folds=2) == [[0]]


class OfShape(Linear):
    """A model of a user's."""


class OfCounts(Linear):
    """A model of a user's whose first outputs are the shares of the classes."""

    def __init__(self, *, spec: Spec, rngs: nnx.Rngs, **options: Any) -> None:
        """Keep the shares."""
        del options
        super().__init__(spec=spec, rngs=rngs)
        self.prior = nnx.Param(jnp.log(jnp.asarray(spec.counts["train"], jnp.float32)))


@pytest.mark.parametrize(("model", "groups"), [("OfShape", 1), ("OfCounts", 2)])
def test_folds_of_a_model_that_depends_on_the_numbers_of_examples_share_no_program(model, groups):
    configs = configs_of("data=wine", "model=linear")
    for fold in configs:
        node = {**configs[fold]["model"], "_target_": f"{__name__}.{model}"}
        configs[fold] = {**configs[fold], "model": node}
    assert len(read_folds(configs, (__name__,))) == groups
