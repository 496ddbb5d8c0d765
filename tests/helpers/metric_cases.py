"""Predictions and targets for the metrics: several classes, two classes, and regression."""

import jax
import jax.numpy as jnp
import numpy as np
from sklearn import metrics as sk

from dltrain import metrics
from dltrain.tasks import Binary, Classification, Regression
from dltrain.types import Feature, Kind, Spec

N = 203
RNG = np.random.default_rng(3)


def spec_of(task, classes=(), targets=(), rows=N):
    counts = {"test": (rows,)} if classes else {}
    return Spec(
        {"numbers": Feature(Kind.NUMBERS, (2,), "float32")},
        {"target": Feature(Kind.CATEGORY, targets, "int32", vocabulary=classes)},
        task,
        counts=counts,
    )


def batches(outputs, targets, size):
    """Examples in batches of `size`; the last batch is padded with nonsense that the mask hides."""
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


def within(dtype, rounding):
    """Tolerance for the difference from scikit-learn: `rounding` in float32, almost zero in float64."""
    return {"float32": rounding, "float64": 1e-12}[dtype]


def as_given(x, dtype):
    """The values that a metric was given, in float64."""
    return x.astype(dtype).astype(np.float64)


def softmax(z):
    z = z.astype(np.float64)
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


# Several classes: d is never found, e is never there, f is neither; some rows are tied.
NAMES = tuple("abcdef")
CLASSES = spec_of(Classification(), NAMES)
LABELS = RNG.integers(0, 4, N).astype(np.int32)
LOGITS = RNG.normal(size=(N, 6)) + 1.5 * np.eye(6)[LABELS]
LOGITS[:, [3, 5]] = -9
LOGITS[:20, 1] = LOGITS[:20, 0]
FOUND = LOGITS.argmax(1)
SCORERS = {"Precision": sk.precision_score, "Recall": sk.recall_score, "F1": sk.f1_score}
AVERAGES = ["macro", "micro", "weighted", "none"]
# Two classes from one logit, with ties, some of which are none in float64.
TWO = spec_of(Binary(), ("no", "yes"))
BITS = (RNG.random(N) < 0.3).astype(np.int32)
LOGIT = np.round(RNG.normal(size=(N, 1)) + 1.5 * BITS[:, None] - 1, 1)
LOGIT[::3, 0] += 1e-12 * np.arange(len(LOGIT[::3]))
YES = LOGIT[:, 0] > 0
SPREAD = LOGITS[:, :4] + RNG.normal(size=(N, 4))
# Numbers: two outputs, the second with a mean a million times its spread.
PAIR = spec_of(Regression(), targets=(2,))
GOALS = RNG.normal(size=(N, 2)) * [2.0, 4.0] + [0.5, 4e6]
GUESSES = GOALS + RNG.normal(size=(N, 2))
