"""Metrics against scikit-learn on the same predictions: batches of any size, padding masked, hard cases."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sk

from dltrain import metrics
from dltrain.types import Feature, Kind, Spec, Task

pytestmark = pytest.mark.usefixtures("unoptimised")

N = 203
RNG = np.random.default_rng(3)


@pytest.fixture(autouse=True, scope="module")
def strict_promotion():
    with jax.numpy_dtype_promotion("strict"):
        yield


def spec_of(task, classes=(), targets=(), rows=N):
    counts = {"test": (rows,)} if classes else {}
    return Spec(
        {"numbers": Feature(Kind.NUMBERS, (2,), "float32")},
        {"target": Feature(Kind.CATEGORY, targets, "int32", vocabulary=classes)},
        task,
        counts=counts,
    )


def batches(outputs, targets, size):
    """Rows in batches of `size`, the last one filled up with rows of nonsense that the mask hides."""
    for start in range(0, len(outputs), size):
        rows = np.arange(start, start + size)
        mask = rows < len(outputs)
        rows = np.where(mask, rows, 0)
        z, y = outputs[rows].copy(), targets[rows].copy()
        z[~mask] = np.nan
        y[~mask] = 0
        yield jnp.asarray(z), {"targets": jnp.asarray(y), "mask": jnp.asarray(mask)}


def measured(chosen, outputs, targets, size=64, dtype="float32"):
    """The value of each metric, all added up by one program; outputs and targets that are numbers in this type."""
    chosen = {n: m if hasattr(m, "zero") else metrics.Average(m) for n, m in chosen.items()}
    outputs, targets = (x.astype(dtype) if x.dtype.kind == "f" else x for x in (outputs, targets))
    with jax.enable_x64(dtype == "float64"):
        states = {n: m.zero() for n, m in chosen.items()}
        add = jax.jit(lambda states, z, batch: {n: m.add(states[n], z, batch) for n, m in chosen.items()})
        for z, batch in batches(outputs, targets, size):
            states = add(states, z, batch)
        return {n: m.value(states[n]) for n, m in chosen.items()}


@pytest.fixture(scope="module", params=["float32", "float64"])
def dtype(request):
    return request.param


def within(dtype, rounding):
    """How far a value may lie from scikit-learn's: `rounding` in float32, next to nothing in float64."""
    return {"float32": rounding, "float64": 1e-12}[dtype]


def as_given(x, dtype):
    """The numbers that a metric was given, in float64."""
    return x.astype(dtype).astype(np.float64)


def softmax(z):
    z = z.astype(np.float64)
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


# Several classes: d is never found, e is never there, f is neither; some rows are tied.
NAMES = tuple("abcdef")
CLASSES = spec_of(Task.CLASSIFICATION, NAMES)
LABELS = RNG.integers(0, 4, N).astype(np.int32)
LOGITS = RNG.normal(size=(N, 6)) + 1.5 * np.eye(6)[LABELS]
LOGITS[:, [3, 5]] = -9
LOGITS[:20, 1] = LOGITS[:20, 0]
FOUND = LOGITS.argmax(1)
SCORERS = {"Precision": sk.precision_score, "Recall": sk.recall_score, "F1": sk.f1_score}
AVERAGES = ["macro", "micro", "weighted", "none"]


@pytest.fixture(scope="module")
def several():
    """Counts, which are the same in every type."""
    chosen = {
        "accuracy": metrics.accuracy,
        "zero_one": metrics.zero_one,
        "top_1": lambda z, b: metrics.top_k(z, b, k=1),
        "top_2": lambda z, b: metrics.top_k(z, b, k=2),
        "confusion": metrics.Confusion(spec=CLASSES),
    }
    for name in SCORERS:
        chosen |= {f"{name} {a}": getattr(metrics, name)(a, spec=CLASSES) for a in AVERAGES}
    return measured(chosen, LOGITS, LABELS)


@pytest.fixture(scope="module")
def probable(dtype):
    chosen = {
        "log_loss": metrics.log_loss,
        "bits": metrics.bits_per_character,
        "perplexity": metrics.Perplexity(),
        "ece": metrics.CalibrationError(bins=10),
    }
    return measured(chosen, LOGITS, LABELS, dtype=dtype)


def test_accuracy_and_its_kin_equal_scikit_learn(several):
    assert several["accuracy"] == pytest.approx(sk.accuracy_score(LABELS, FOUND), rel=1e-12)
    assert several["zero_one"] == pytest.approx(sk.zero_one_loss(LABELS, FOUND), rel=1e-12)
    assert several["top_1"] == several["accuracy"]
    untied = LOGITS - 1e-4 * np.arange(6)  # the rule for ties, written out
    expected = sk.top_k_accuracy_score(LABELS, untied, k=2, labels=range(6))
    assert several["top_2"] == pytest.approx(expected, rel=1e-12)


def test_log_loss_and_what_follows_from_it(probable, dtype):
    expected, rel = sk.log_loss(LABELS, softmax(LOGITS), labels=range(6)), within(dtype, 1e-6)
    assert probable["log_loss"] == pytest.approx(expected, rel=rel)
    assert probable["bits"] == pytest.approx(expected / np.log(2), rel=rel)
    assert probable["perplexity"] == pytest.approx(np.exp(expected), rel=rel)


def test_confusion_equals_scikit_learn(several):
    np.testing.assert_array_equal(several["confusion"], sk.confusion_matrix(LABELS, FOUND, labels=range(6)))
    assert several["confusion"].dtype == np.int64


@pytest.mark.parametrize("name", SCORERS)
@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
def test_averages_over_classes_equal_scikit_learn(several, name, average):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns that class d is never predicted
        expected = SCORERS[name](LABELS, FOUND, average=average)
    assert several[f"{name} {average}"] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", SCORERS)
def test_scores_of_each_class_equal_scikit_learn_and_are_nan_where_undefined(several, name):
    expected = SCORERS[name](LABELS, FOUND, average=None, labels=range(6), zero_division=np.nan)
    assert list(several[f"{name} none"]) == list(NAMES)
    np.testing.assert_allclose(list(several[f"{name} none"].values()), expected, rtol=1e-12)
    assert np.isnan(several["Precision none"]["d"]) and np.isnan(several["Recall none"]["e"])


def test_calibration_error_equals_its_definition(probable, dtype):
    p = softmax(LOGITS).max(1)
    bins = np.ceil(p * 10) - 1
    right = LABELS == FOUND
    gaps = [abs(right[bins == b].mean() - p[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)]
    assert probable["ece"] == pytest.approx(sum(gaps), rel=within(dtype, 1e-5))


# Two classes from one logit, with ties, some of which are none in float64.
TWO = spec_of(Task.BINARY, ("no", "yes"))
BITS = (RNG.random(N) < 0.3).astype(np.int32)
LOGIT = np.round(RNG.normal(size=(N, 1)) + 1.5 * BITS[:, None] - 1, 1)
LOGIT[::3, 0] += 1e-12 * np.arange(len(LOGIT[::3]))
YES = LOGIT[:, 0] > 0


@pytest.fixture(scope="module")
def binary():
    chosen = {"accuracy": metrics.accuracy, "confusion": metrics.Confusion(spec=TWO)}
    chosen |= {name: getattr(metrics, name)("binary", spec=TWO) for name in SCORERS}
    return measured(chosen, LOGIT, BITS, size=50)


@pytest.fixture(scope="module")
def probable_binary(dtype):
    chosen = {
        "log_loss": metrics.log_loss,
        "auroc": metrics.AUROC(spec=TWO),
        "average_precision": metrics.AveragePrecision(spec=TWO),
        "ece": metrics.CalibrationError(bins=5),
    }
    return measured(chosen, LOGIT, BITS, size=50, dtype=dtype)


def test_binary_scores_equal_scikit_learn(binary):
    assert binary["accuracy"] == pytest.approx(sk.accuracy_score(BITS, YES), rel=1e-12)
    np.testing.assert_array_equal(binary["confusion"], sk.confusion_matrix(BITS, YES))
    for name, score in SCORERS.items():
        assert binary[name] == pytest.approx(score(BITS, YES), rel=1e-12)


def test_binary_log_loss_equals_scikit_learn(probable_binary, dtype):
    p = 1 / (1 + np.exp(-LOGIT[:, 0]))
    assert probable_binary["log_loss"] == pytest.approx(sk.log_loss(BITS, p), rel=within(dtype, 1e-6))


def test_binary_ranking_equals_scikit_learn_exactly(probable_binary, dtype):
    found, score = probable_binary, as_given(LOGIT[:, 0], dtype)
    assert len(np.unique(LOGIT)) > len(np.unique(LOGIT.astype(np.float32)))
    assert found["auroc"] == pytest.approx(sk.roc_auc_score(BITS, score), rel=1e-12)
    assert found["average_precision"] == pytest.approx(sk.average_precision_score(BITS, score), rel=1e-12)


def test_binary_confidence_is_that_of_the_predicted_class(probable_binary, dtype):
    p = 1 / (1 + np.exp(-np.abs(LOGIT[:, 0])))
    bins = np.clip(np.ceil(p * 5) - 1, 0, 4)
    right = BITS == YES
    gaps = [abs(right[bins == b].mean() - p[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)]
    assert probable_binary["ece"] == pytest.approx(sum(gaps), rel=within(dtype, 1e-5))


SPREAD = LOGITS[:, :4] + RNG.normal(size=(N, 4))


def test_ranking_of_several_classes_is_one_against_the_rest(dtype):
    spec, logits = spec_of(Task.CLASSIFICATION, NAMES[:4]), SPREAD
    chosen = {"auroc": metrics.AUROC(spec=spec), "ap": metrics.AveragePrecision(spec=spec)}
    alone = {f"{name} none": type(metric)(average="none", spec=spec) for name, metric in chosen.items()}
    found = measured(chosen | alone, logits, LABELS, dtype=dtype)
    p, ones, rel = softmax(logits), np.eye(4)[LABELS], within(dtype, 1e-6)
    for name, score in {"auroc": sk.roc_auc_score, "ap": sk.average_precision_score}.items():
        each = dict(zip(NAMES[:4], score(ones, p, average=None), strict=True))
        assert found[f"{name} none"] == pytest.approx(each, rel=rel)
    assert found["auroc"] == pytest.approx(sk.roc_auc_score(LABELS, p, multi_class="ovr"), rel=rel)
    assert found["ap"] == pytest.approx(sk.average_precision_score(ones, p, average="macro"), rel=rel)


def test_ranking_of_one_class_goes_by_its_name_and_other_averages_are_refused():
    found = measured({"auroc": metrics.AUROC(spec=TWO, average="none")}, LOGIT, BITS)["auroc"]
    expected = sk.roc_auc_score(BITS, as_given(LOGIT[:, 0], "float32"))
    assert found == {"yes": pytest.approx(expected, rel=1e-12)}
    with pytest.raises(ValueError, match="average=micro: must be macro or none"):
        metrics.AUROC(spec=TWO, average="micro")


def test_a_buffer_that_is_too_small_is_reported():
    with pytest.raises(ValueError, match="203 examples do not fit into rows=200; set rows=203"):
        measured({"auroc": metrics.AUROC(rows=200, spec=TWO)}, LOGIT, BITS)


# Numbers: two outputs, the second with a mean a million times its spread.
PAIR = spec_of(Task.REGRESSION, targets=(2,))
GOALS = RNG.normal(size=(N, 2)) * [2.0, 4.0] + [0.5, 4e6]
GUESSES = GOALS + RNG.normal(size=(N, 2))


@pytest.fixture(scope="module")
def numbers(dtype):
    chosen = {"mse": metrics.mse, "mae": metrics.mae, "mape": metrics.mape}
    chosen |= {"rmse": metrics.RMSE(spec=PAIR), "r2": metrics.R2(spec=PAIR)}
    return measured(chosen, GUESSES, GOALS, dtype=dtype)


@pytest.mark.parametrize(
    ("name", "score"),
    [
        ("mse", sk.mean_squared_error),
        ("rmse", sk.root_mean_squared_error),
        ("mae", sk.mean_absolute_error),
        ("mape", sk.mean_absolute_percentage_error),
        ("r2", sk.r2_score),
    ],
)
def test_scores_of_numbers_equal_scikit_learn(numbers, dtype, name, score):
    expected = score(as_given(GOALS, dtype), as_given(GUESSES, dtype))
    assert numbers[name] == pytest.approx(expected, rel=within(dtype, 2e-6))


def test_mape_of_a_target_of_zero_is_huge_unless_it_is_met():
    guesses, goals = jnp.asarray([[0.5], [0.0], [3.0]]), jnp.asarray([[0.0], [0.0], [-4.0]])
    found = metrics.mape(guesses, {"targets": goals})
    expected = [sk.mean_absolute_percentage_error(y, z) for y, z in zip(goals, guesses, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found[0] > 1e15 and found[1] == 0


def test_r2_survives_an_outlier_as_the_first_row(dtype):
    goals = GOALS[:, :1].copy()
    goals[0] = 3e3
    guesses = goals + (GUESSES - GOALS)[:, :1]
    spec = spec_of(Task.REGRESSION, targets=(1,))
    found = measured({"r2": metrics.R2(spec=spec)}, guesses, goals, dtype=dtype)
    expected = 1 - sk.r2_score(as_given(goals, dtype), as_given(guesses, dtype))
    assert 1 - found["r2"] == pytest.approx(expected, rel=within(dtype, 1e-4))


def test_a_flat_pair_of_outputs_and_targets_counts_as_one_column():
    spec = spec_of(Task.REGRESSION, targets=())
    found = measured({"rmse": metrics.RMSE(spec=spec), "r2": metrics.R2(spec=spec)}, GUESSES[:, :1], GOALS[:, 0])
    assert found["rmse"] == pytest.approx(sk.root_mean_squared_error(GOALS[:, 0], GUESSES[:, 0]), rel=1e-6)
    assert found["r2"] == pytest.approx(sk.r2_score(GOALS[:, 0], GUESSES[:, 0]), rel=1e-6)


# What holds for all.


@pytest.mark.parametrize("alone", [True, False])
def test_the_reconstruction_error_is_the_mean_square_of_what_is_missed(alone):
    rows = np.random.default_rng(0).normal(size=(3, 2, 4, 4, 1)).astype(np.float32)
    found = metrics.reconstruction_error(
        jnp.asarray(rows[0]) if alone else {"reconstruction": jnp.asarray(rows[0]), "code": jnp.zeros((2, 3))},
        {"inputs": jnp.asarray(rows[2]), "targets": jnp.asarray(rows[1])},
    )
    expected = np.square(rows[0].astype(np.float64) - rows[1]).mean((1, 2, 3))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_what_is_believed_is_the_part_of_the_logits_above_zero():
    real, fake = np.array([2.0, -1.0, 1e-3, np.nan]), np.array([-3.0, 0.0, 0.1, np.nan])
    batch = {"mask": jnp.asarray([True, True, True, False])}
    for name, logits in (("disc_real_accuracy", real), ("disc_fake_accuracy", fake)):
        mean = metrics.Average(getattr(metrics, name))
        state = mean.add(mean.zero(), {"real": jnp.asarray(real), "fake": jnp.asarray(fake)}, batch)
        assert mean.value(state) == pytest.approx((1 / (1 + np.exp(-logits[:3])) > 0.5).mean(), rel=1e-12), name


def make_all():
    chosen = {
        "Average": (metrics.Average(metrics.accuracy), LOGITS, LABELS),
        "Perplexity": (metrics.Perplexity(), LOGITS, LABELS),
        "CalibrationError": (metrics.CalibrationError(), LOGITS, LABELS),
        "RMSE": (metrics.RMSE(spec=PAIR), GUESSES, GOALS),
        "R2": (metrics.R2(spec=PAIR), GUESSES, GOALS),
    }
    for name in ("Precision", "Recall", "F1", "AUROC", "AveragePrecision"):
        chosen[name] = (getattr(metrics, name)(spec=TWO), LOGIT, BITS)
    return chosen


@pytest.mark.parametrize("name", make_all())
def test_no_rows_give_nan(name):
    metric, *_ = make_all()[name]
    assert np.isnan(metric.value(jax.device_get(metric.zero())))


@pytest.mark.parametrize("name", make_all())
@pytest.mark.parametrize("of", ["bfloat16", "float64"])
def test_a_state_keeps_its_shapes_and_dtypes_so_that_it_can_be_carried_by_a_loop(name, of):
    metric, outputs, targets = make_all()[name]
    with jax.enable_x64(of == "float64"):
        z, batch = next(batches(outputs.astype(of), targets, 64))
        before, after = jax.eval_shape(lambda: metric.zero()), jax.eval_shape(metric.add, metric.zero(), z, batch)
    assert jax.tree.structure(before) == jax.tree.structure(after)
    pairs = zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
    assert all((a.shape, a.dtype) == (b.shape, b.dtype) for a, b in pairs)


def test_one_class_only_leaves_what_cannot_be_said_undefined():
    ones = np.ones(N, np.int32)
    chosen = {"auroc": metrics.AUROC(spec=TWO), "precision": metrics.Precision("binary", spec=TWO)}
    found = measured(chosen, -np.ones((N, 1), np.float32), ones)
    assert np.isnan(found["auroc"]) and np.isnan(found["precision"])
    constant = np.full((N, 2), 7, np.float32)
    assert np.isnan(measured({"r2": metrics.R2(spec=PAIR)}, GUESSES, constant)["r2"])


def test_targets_may_be_probabilities_of_which_the_largest_counts():
    shares = np.float32(0.8) * np.eye(6, dtype=np.float32)[LABELS] + np.float32(0.03)
    chosen = {"accuracy": metrics.accuracy, "confusion": metrics.Confusion(spec=CLASSES)}
    mixed, plain = measured(chosen, LOGITS, shares), measured(chosen, LOGITS, LABELS)
    assert mixed["accuracy"] == plain["accuracy"]
    np.testing.assert_array_equal(mixed["confusion"], plain["confusion"])
    soft = np.float32(0.8) * BITS.astype(np.float32) + np.float32(0.1)
    assert measured(chosen | {"confusion": metrics.Confusion(spec=TWO)}, LOGIT, soft)["accuracy"] == np.mean(
        BITS == YES
    )


def test_a_constant_model_gains_nothing_from_top_k():
    labels = np.arange(5, dtype=np.int32)
    found = measured({"top_2": lambda z, b: metrics.top_k(z, b, k=2)}, np.zeros((5, 5), np.float32), labels, size=5)
    assert found["top_2"] == pytest.approx(2 / 5)


def test_a_label_that_is_no_class_is_never_right():
    labels = jnp.asarray([-1, 5, 99])
    batch = {"targets": labels, "mask": jnp.ones(3, bool)}
    z = jnp.zeros((3, 5)).at[:, 4].set(1.0)
    right, among, loss = jax.jit(
        lambda z: [f(z, batch) for f in (metrics.accuracy, metrics.top_k, metrics.log_loss)]
    )(z)
    assert not right.any() and not among.any() and np.isnan(loss).all()


def test_average_keeps_what_float32_would_lose():
    mean = metrics.Average(lambda z, batch: z)
    add = jax.jit(mean.add)
    batch = {"mask": jnp.ones(4, bool)}
    state = add(mean.zero(), jnp.full(4, 1e8), batch)
    for _ in range(300):
        state = add(state, jnp.full(4, 1.0), batch)
    assert mean.value(state) == pytest.approx((4e8 + 1200) / 1204, rel=1e-12)


def test_average_counts_positions_and_weights():
    values = jnp.asarray([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    batch = {"mask": jnp.asarray([True, True, False]), "loss_mask": jnp.asarray([[1, 0], [1, 1], [1, 1]])}
    plain, weighted = (metrics.Average(lambda z, b: z, weighted=w) for w in (False, True))
    assert plain.value(plain.add(plain.zero(), values, batch)) == pytest.approx(8 / 3)
    batch["weights"] = jnp.asarray([1.0, 3.0, 9.0])
    assert weighted.value(weighted.add(weighted.zero(), values, batch)) == pytest.approx((1 + 9 + 12) / 7)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: metrics.F1(spec=PAIR), "cannot judge a regression"),
        (lambda: metrics.R2(spec=TWO), "cannot judge a binary task"),
        (lambda: metrics.F1("binary", spec=CLASSES), "average=binary needs two classes, the data has 6"),
        (lambda: metrics.F1("median", spec=CLASSES), "'median' is not a valid Averaging"),
        (lambda: metrics.CalibrationError(bins=0), "bins=0 must be 1 or more"),
        (
            lambda: metrics.top_k(jnp.zeros((2, 3)), {"targets": jnp.zeros(2, jnp.int32)}, k=4),
            r"k=4 must lie in 1\.\.3",
        ),
        (
            lambda: metrics.accuracy(jnp.zeros((2, 3)), {"targets": jnp.zeros((2, 1), jnp.int32)}),
            r"found outputs \[2, 3\]",
        ),
        (lambda: metrics.mse(jnp.zeros((2, 3)), {"targets": jnp.zeros(2)}), r"outputs \[2, 3\] and targets \[2\]"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_exact_match_counts_rows_written_right_wherever_their_tokens_count():
    spec = Spec(
        {"text": Feature(Kind.TOKENS, (2,), "int32", vocabulary=tuple("pseab"))},
        {"target": Feature(Kind.TOKENS, (3,), "int32", vocabulary=tuple("pseab"))},
        Task.GENERATION,
    )
    metric = metrics.ExactMatch(spec=spec)
    targets = jnp.array([[3, 4, 2], [3, 2, 0], [3, 2, 0], [4, 2, 0], [3, 4, 2]])
    written = jnp.array([[3, 4, 2], [3, 2, 4], [3, 4, 2], [4, 4, 4], [0, 0, 0]])  # 2: too long, 3: never ends
    batch = {"targets": targets, "loss_mask": targets > 0, "mask": jnp.array([True] * 4 + [False])}
    state = metric.add(metric.zero(), jnp.zeros((5, 3, 5)), {**batch, "generated": written})
    assert metric.value(state) == 0.5
    assert np.isnan(metric.value(metric.zero()))
    with pytest.raises(ValueError, match="not task=binary"):
        metrics.ExactMatch(spec=spec_of(Task.BINARY, ("a", "b")))
