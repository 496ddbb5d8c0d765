"""Scores of a run: its own values bit by bit, tables as scikit-learn has them, and mirrored images."""

import jax
import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, precision_recall_fscore_support, roc_auc_score

import dltrain as package
from dltrain.build.parts import assemble
from dltrain.build.plan import make_plan
from dltrain.build.program import Program
from dltrain.composition.compose import compose_words
from dltrain.errors import ConfigError
from dltrain.inference.scores import score_split
from dltrain.types import Kind

pytestmark = pytest.mark.usefixtures("quickly_compiled")

LINES = {
    "images": ("data=digits", "model=mlp", "model.widths=[8]"),
    "binary": ("data=breast_cancer", "model=mlp", "model.widths=[4]"),
    "numbers": ("data=diabetes", "model=linear"),
    "pixels": ("data=digit_masks", "model=unet", "model.channels=[2]", "limit_batches=1"),
    "language": ("data=characters", "model=gru", "model.hidden=4", "data.length=12"),
}


def slow(name: str) -> object:
    """Leave a case to the slow tests: it compiles a model of its own."""
    return pytest.param(name, marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """Return the program of a model that is not trained, with its state."""
    made = {}
    text = tmp_path_factory.mktemp("text") / "text"
    text.write_text("to be or not to be, that is the question\n" * 20)

    def build(name):
        if name not in made:
            more = (f"data.path={text}",) if name == "language" else ()
            config = compose_words(*LINES[name], *more).config
            parts = assemble(config)
            program = Program(parts, make_plan(config, parts))
            made[name] = program, program.start()
        return made[name]

    return build


def compared(program, state, split):
    """Decisions and targets of a split, without the code that is tested."""
    examples = program.examples(split)
    outputs = program.outputs(state, examples)
    spec = program.parts.spec
    decided = {name: np.asarray(v) for name, v in spec.task.decide(outputs, spec).items()}
    return decided, program.parts.source.read(examples)["targets"]


@pytest.mark.parametrize("name", ["images", "binary"])
def test_classes_are_scored_as_scikit_learn_does(opened, name):
    program, state = opened(name)
    found = score_split(program, state, "test")
    decided, truth = compared(program, state, "test")
    expected = precision_recall_fscore_support(truth, decided["class"], zero_division=np.nan)
    for what, values in zip(("precision", "recall", "f1"), expected, strict=False):
        got = [part.metrics[what].value for part in found.parts]
        assert got == pytest.approx(values.tolist(), nan_ok=True), what
    assert [part.counts["examples"] for part in found.parts] == expected[3].tolist()
    assert [part.name for part in found.parts] == list(program.parts.spec.classes)
    balanced = balanced_accuracy_score(truth, decided["class"])
    assert found.further["balanced_accuracy"].value == pytest.approx(balanced)
    if name == "binary":
        expected = roc_auc_score(truth, decided["probability"])
        assert found.metrics["auroc"].value == pytest.approx(expected, abs=1e-6)
        assert list(found.curves) == ["benign"]
    else:
        expected = roc_auc_score(truth, decided["probabilities"], multi_class="ovr")
        assert found.further["auroc"].value == pytest.approx(expected, abs=1e-6)
        one = roc_auc_score(truth == 3, decided["probabilities"][:, 3])
        assert found.parts[3].metrics["auroc"].value == pytest.approx(one, abs=1e-6)
    wrong = decided["class"] != truth
    assert sum(pair.count for pair in found.confused) == pytest.approx(wrong.sum(), abs=wrong.sum() * 0.2)
    first = found.confused[0]
    classes = program.parts.spec.classes
    which = (truth == classes.index(first.truth)) & (decided["class"] == classes.index(first.predicted))
    assert first.count == which.sum() and set(first.examples) <= set(program.examples("test")[which].tolist())


@pytest.mark.parametrize("name", [slow(name) if name in ("pixels", "language") else name for name in LINES])
def test_values_of_the_run_are_not_changed_and_lie_in_their_intervals(opened, name):
    program, state = opened(name)
    split = "validation" if name == "language" else "test"
    plain, found = program.evaluate(state, split), score_split(program, state, split)
    assert {n: e.value for n, e in found.metrics.items()} == pytest.approx(plain.scalars, abs=0, nan_ok=True)
    for metric, estimate in found.metrics.items():
        if not np.isnan(estimate.low):
            assert estimate.low <= estimate.value <= estimate.high, metric
    # A metric of an untrained model may be undefined, and then has no interval; the loss never is.
    assert found.metrics["loss"].low < found.metrics["loss"].high
    losses = [worst.loss for worst in found.worst]
    assert losses == sorted(losses, reverse=True) and losses[0] == plain.losses.max()


@pytest.mark.slow
def test_pixels_are_counted(opened):
    program, state = opened("pixels")
    found = score_split(program, state, "test")
    count = len(program.examples("test")) * program.parts.spec.target.size
    assert sum(part.counts["pixels"] for part in found.parts) == count
    mean = np.mean([part.metrics["iou"].value for part in found.parts])
    assert mean == pytest.approx(found.metrics["iou"].value)
    assert sum(pair.count for pair in found.confused) == round(count * (1 - found.metrics["accuracy"].value))


def test_the_targets_of_a_regression_have_errors(opened):
    program, state = opened("numbers")
    found = score_split(program, state, "test")
    (part,) = found.parts
    for name in ("rmse", "mae", "r2"):
        assert part.metrics[name].value == pytest.approx(found.metrics[name].value, rel=1e-4)
        assert part.metrics[name].low == pytest.approx(found.metrics[name].low, rel=1e-3)
    decided, truth = compared(program, state, "test")
    np.testing.assert_allclose(found.residuals.errors, truth - decided["value"], rtol=1e-6, atol=1e-3)
    assert not found.curves and found.calibration is None


@pytest.mark.parametrize("name", ["images", slow("pixels")])
def test_mirrored_images_are_averaged(opened, name):
    program, state = opened(name)
    found = score_split(program, state, "test", tta="flip")
    parts, examples = program.parts, program.examples("test")
    read = parts.source.read(examples)
    model = jax.jit(lambda x: program_model(program, state)(parts.preprocess.scaled({"inputs": x})["inputs"]))
    plain, mirrored = (np.asarray(model(x), np.float64) for x in (read["inputs"], read["inputs"][:, :, ::-1]))
    mirrored = mirrored[:, :, ::-1] if name == "pixels" else mirrored
    shares = [np.exp(z) / np.exp(z).sum(-1, keepdims=True) for z in (plain, mirrored)]
    mean = (shares[0] + shares[1]) / 2
    right = mean.argmax(-1) == read["targets"]
    own = np.take_along_axis(mean, read["targets"][..., None], -1)
    assert found.flipped["accuracy"].value == pytest.approx(right.mean(), abs=1e-6)
    assert found.flipped["loss"].value == pytest.approx(-np.log(own).mean(), rel=1e-4)
    assert found.metrics["loss"].value != found.flipped["loss"].value
    assert found.flipped["accuracy"].low < found.flipped["accuracy"].high


def program_model(program, state):
    from flax import nnx

    model = nnx.merge(program.graphs.eval, *program.eval_params(state), copy=True)
    return lambda x: model(x, mask=np.ones(len(x), bool), rngs=None)


@pytest.mark.parametrize(
    ("name", "message"), [("numbers", "the inputs of this run are a table"), ("language", "this run are texts")]
)
def test_other_inputs_are_not_mirrored(opened, name, message):
    program, state = opened(name)
    assert program.parts.spec.shown.kind is not Kind.IMAGE
    with pytest.raises(ConfigError, match=f"tta=flip: mirrors images, and .*{message}"):
        score_split(program, state, "test", tta="flip")


def test_a_run_is_scored_with_the_values_of_its_summary(digits_run):
    run = package.open_run(digits_run.folder)
    for split in ("validation", "test"):
        found = run.scores(split, resamples=0)
        assert {n: e.value for n, e in found.metrics.items()} == digits_run.summary["best"][split]
        assert all(np.isnan(estimate.low) for estimate in found.metrics.values())
