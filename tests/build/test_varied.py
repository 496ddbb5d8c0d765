"""Lanes of one program differ in numbers of its parts, and each is the run alone."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from dltrain.build.parts import assemble
from dltrain.build.plan import make_plan
from dltrain.build.program import Program
from dltrain.build.traced import varied_numbers
from dltrain.build.varied import Varied
from dltrain.composition.compose import compose_words
from dltrain.engine.state import named_leaves
from tests.helpers.few import few

pytestmark = pytest.mark.usefixtures("quickly_compiled")

STEPS = 4
LINE = ("data=iris", "data.split_seed=7", "batch_size=32", "schedule=constant")
MLP = ("model=mlp", "model.widths=[8]", "model.dropout=0")


@dataclass(frozen=True)
class Case:
    """A program, and pairs of values of its numbers."""

    words: tuple[str, ...]
    numbers: dict[str, tuple[float, float]]
    steps: int = STEPS

    def config(self, *second: str):
        """Return a config with the second value of these keys, and the first one of the others."""
        numbers = [f"{key}={pair[key in second]:g}" for key, pair in self.numbers.items()]
        length = (f"{key}={self.steps}" for key in ("steps", "eval_every", "checkpoint_every"))
        return compose_words(*LINE, *length, *MLP, *self.words, *numbers).config


def shown(case: Case) -> str:
    words = [word for word in case.words if "learning_rate" not in word and word != "optim=sgd"]
    return " ".join([*words, *(key.rpartition(".")[2] for key in case.numbers)])


def optimizer(name: str, *more: str, **pairs: tuple[float, float]) -> Case:
    words = (f"optim={name}", "optim.learning_rate=0.001", *(f"optim.{word}" for word in more))
    return Case(words, {f"optim.{key}": pair for key, pair in pairs.items()})


B1, B2, EPS = (0.9, 0.5), (0.999, 0.9), (1e-8, 1e-3)
OPTIMIZERS = [
    optimizer("adam", b1=B1, b2=B2, eps=EPS),
    optimizer("adam", "bias_correction=false", b1=B1, b2=B2, eps=EPS),
    optimizer("adamw", b1=B1, b2=B2, eps=EPS),
    optimizer("adabelief", b1=B1, b2=B2, eps=(1e-16, 1e-3), eps_root=(1e-16, 1e-3)),
    optimizer("adadelta", rho=(0.9, 0.5), eps=(1e-6, 1e-3)),
    optimizer("adafactor", "min_dim_size_to_factor=2", decay_rate=(0.8, 0.5), clipping_threshold=(1.0, 0.1)),
    optimizer("adagrad", initial_accumulator_value=(0.1, 1.0), eps=(1e-8, 1e-1)),
    optimizer("adamax", b1=B1, b2=B2, eps=EPS),
    optimizer("amsgrad", b1=B1, b2=B2, eps=EPS),
    optimizer("lamb", b1=B1, b2=B2, eps=(1e-6, 1e-2)),
    optimizer("lars", trust_coefficient=(0.001, 0.01), momentum=(0.9, 0.5)),
    optimizer("lion", b1=B1, b2=(0.99, 0.5)),
    optimizer("momentum", momentum=(0.9, 0.5)),
    optimizer("momentum", "form=ema", momentum=(0.9, 0.5)),
    optimizer("muon", beta=(0.95, 0.5), adam_b1=B1, adam_b2=B2, adam_scale=(0.1, 0.5)),
    optimizer("nadam", b1=B1, b2=B2, eps=EPS),
    optimizer("newton", "minibatch=true", damping=(0.1, 1.0)),
    optimizer("novograd", b1=B1, b2=(0.25, 0.5), eps=(1e-6, 1e-1)),
    optimizer("polyak", f_min=(0.1, 0.2), eps=(1e3, 1e4)),  # below that the rate is the largest one
    # The threshold matters from the fifth step on.
    replace(optimizer("radam", b1=B1, b2=(0.99, 0.95), eps=EPS, threshold=(4.5, 6.0)), steps=8),
    optimizer("rmsprop", decay=(0.9, 0.5), eps=(1e-8, 1e-3)),
    optimizer("rmsprop", "centered=true", decay=(0.9, 0.5), eps=(1e-3, 1e-1), momentum=(0.9, 0.5)),
    optimizer("sam", rho=(0.05, 0.5), momentum=(0.9, 0.5)),
    optimizer("schedule_free", b1=B1, b2=B2, eps=EPS),
    optimizer("sgd", momentum=(0.9, 0.5)),
    optimizer("yogi", b1=B1, b2=B2, eps=(1e-3, 1e-2)),
]
SGD = ("optim=sgd", "optim.learning_rate=0.01")
ENGINE = [
    Case(
        SGD, {"optim.clip.norm": (0.1, 0.2), "optim.ema": (0.9, 0.5), "loss.l1": (0.01, 0.1), "loss.l2": (0.1, 1)}
    ),
    Case(SGD, {"optim.clip.value": (0.01, 0.02)}),
    Case(SGD, {"optim.clip.block": (0.01, 0.02)}),
    Case(SGD, {"optim.clip.adaptive": (0.01, 0.02)}),
    Case((*SGD, "schedule=linear"), {"schedule.warmup_epochs": (0.5, 1), "schedule.final": (0.1, 0.5)}),
]


def schedule(name: str, *more: str, **pairs: tuple[float, float]) -> Case:
    words = (*SGD, f"schedule={name}", *(f"schedule.{word}" for word in more))
    return Case(words, {f"schedule.{key}": pair for key, pair in pairs.items()})


SCHEDULES = [
    schedule("cosine", warmup_steps=(1, 2), final=(0.1, 0.5)),
    schedule("polynomial", final=(0.1, 0.5), power=(2, 3)),
    schedule("cosine_restarts", "cycles=2", final=(0.1, 0.5), growth=(1, 3)),
    schedule("one_cycle", pct_start=(0.3, 0.6), div_factor=(25, 10), final_div_factor=(1e4, 2)),
    schedule("exponential", rate=(0.1, 0.5), every=(1, 2)),
    schedule("inverse_time", rate=(9, 1), every=(1, 2)),
    schedule("step", factor=(0.1, 0.5)),
    schedule("coslog", warmup_steps=(1, 2)),
    schedule("flat_cosine", warmup_steps=(1, 2)),
    schedule("constant", warmup_steps=(2, 3)),
]


def loss(name: str, *more: str, **pairs: tuple[float, float]) -> Case:
    return Case((*SGD, f"loss={name}", *more), {f"loss.{key}": pair for key, pair in pairs.items()})


BINARY = ("data=breast_cancer", "task=binary")
REGRESSION = ("data=diabetes",)
LOSSES = [
    loss("cross_entropy", label_smoothing=(0.1, 0.3)),
    loss("focal", gamma=(2, 1)),
    loss("binary_cross_entropy", *BINARY, pos_weight=(1, 3), label_smoothing=(0.1, 0.3)),
    loss("nll", "model.output_activation=softmax", eps=(0.3, 0.4)),
    loss("huber", *REGRESSION, delta=(0.1, 0.5)),
    loss("exponential", *REGRESSION, limit=(0.5, 1)),
]


def model(name: str, *more: str, keys: tuple[str, ...] = ("dropout",)) -> Case:
    return Case((*SGD, f"model={name}", *more), {f"model.{key}": (0.1, 0.5) for key in keys})


MODELS = [
    model("mlp", "model.dropout=0.1"),
    model("realmlp", "model.widths=[8]"),
    model("tabm", "model.widths=[8]"),
    model("maxout", "model.widths=[8]"),
]


def leaves(state) -> dict[str, np.ndarray]:
    kept = ("params", "opt_state", "ema", "model_state")
    return {n: np.asarray(leaf) for n, leaf in named_leaves(state).items() if n.split(".")[0] in kept}


def train_alone(config) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    parts = assemble(config)
    program = Program(parts, make_plan(config, parts))
    given = program.feed_chunk(0, program.plan.total)
    state, _ = program.chunk(program.start(), program.data, given, np.int32(program.plan.total))
    return leaves(state), program.evaluate(state, "validation").scalars


def train_lanes(case: Case, configs: list) -> list[tuple[dict[str, np.ndarray], dict[str, float]]]:
    """Train a lane for each config."""
    parts = assemble(configs[0])
    varied = Varied(configs[0], (), tuple(sorted(case.numbers)))
    assert sorted(varied_numbers(configs[0], [*case.numbers, "batch_size", "model.widths"])) == list(varied.keys)
    program = Program(parts, make_plan(configs[0], parts)).varying(varied)
    assert program.untraceable() == ""
    lanes = []
    for config in configs:
        own = program.differences.parts_of(program.parts, config)
        lanes.append(program.variant(own, make_plan(config, own)))
    given = (program.feed_chunk(0, case.steps),) * len(lanes)
    states = tuple(lane.start() for lane in lanes)
    new, _ = program.lane_chunk(states, program.data, given, np.full(len(lanes), case.steps, np.int32))
    return [
        (leaves(state), lane.evaluate(state, "validation").scalars) for lane, state in zip(lanes, new, strict=True)
    ]


def check(case: Case, *, rtol: float = 1e-5, atol: float = 1e-5) -> None:
    """Compare lanes with runs alone, and lanes that differ in one number with one another."""
    configs = [case.config(), case.config(*case.numbers), *(case.config(key) for key in case.numbers)]
    found = train_lanes(case, configs)
    for config, (lane, scores) in zip(configs[:2], found, strict=False):
        alone, expected = train_alone(config)
        assert lane.keys() == alone.keys()
        for name, leaf in alone.items():
            if name.startswith("params"):
                np.testing.assert_allclose(lane[name], leaf, rtol=rtol, atol=atol, err_msg=name)
        assert scores["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    for key, (lane, _) in zip(case.numbers, found[2:], strict=True):
        assert any(not np.array_equal(lane[n], found[0][0][n]) for n in lane), f"{key} changes nothing"


EACH_KIND = Case(
    ("optim=adam", "optim.learning_rate=0.001", "schedule=cosine", "loss=cross_entropy"),
    {
        "optim.b1": B1,
        "optim.clip.norm": (0.1, 0.2),
        "optim.ema": (0.9, 0.5),
        "schedule.final": (0.1, 0.5),
        "loss.label_smoothing": (0.1, 0.3),
        "loss.l2": (0.1, 1),
        "model.dropout": (0.1, 0.5),
    },
)


def test_lanes_that_differ_in_numbers_of_each_kind_are_the_runs_alone():
    check(EACH_KIND)


@few("case", OPTIMIZERS, 0, ids=shown)
def test_numbers_of_an_optimizer(case):
    check(case)


@few("case", ENGINE, 0, ids=shown)
def test_clipping_ema_penalties_and_warmup(case):
    check(case)


@few("case", SCHEDULES, 0, ids=shown)
def test_numbers_of_a_schedule(case):
    check(case)


@few("case", LOSSES, 0, ids=shown)
def test_numbers_of_a_loss_in_training_and_evaluation(case):
    check(case)


@few("case", MODELS, 0, ids=shown)
def test_dropout_rates(case):
    check(case)
