"""Outputs, targets and expected values of the losses, in float64."""

import numpy as np

from dltrain import losses

RNG = np.random.default_rng(0)
B, K, T = 6, 4, 3
LOGITS = RNG.normal(size=(B, K)) * 2
LABELS = RNG.integers(0, K, B)
SHARES = RNG.dirichlet(np.ones(K), B)
SHARES[0] = [0, 0, 1, 0]  # p log p at p = 0
LOGIT = RNG.normal(size=(B, 1)) * 2
BITS = np.array([0, 1, 1, 0, 1, 0])
MANY = RNG.integers(0, 2, (B, T))
NUMBERS = RNG.normal(size=(B, T)) * 2
GOALS = RNG.normal(size=(B, T))
LOG_P = LOGITS - np.log(np.exp(LOGITS).sum(1, keepdims=True))
OWN = LOG_P[np.arange(B), LABELS]
SIGN = 2 * BITS - 1
Z = LOGIT[:, 0]
ERROR = NUMBERS - GOALS
P1 = 1 / (1 + np.exp(-Z))
REST = np.where(np.arange(K) == LABELS[:, None], -np.inf, LOGITS).max(1)
AHEAD = LOGITS[np.arange(B), LABELS] - REST
W = np.array([0.5, 1.0, 2.0, 3.0])
PROBABILITIES = np.exp(LOG_P)


COUNTS = RNG.poisson(2, (B, T))
STEPS = LOGITS[:, : K - 1]
ABOVE = 1 / (1 + np.exp(-STEPS))
CHANCES = np.concatenate([np.ones((B, 1)), np.cumprod(ABOVE, 1)], 1) * np.concatenate(
    [1 - ABOVE, np.ones((B, 1))], 1
)


def bce(z, y, w=1.0):
    return -(w * y * np.log(1 / (1 + np.exp(-z))) + (1 - y) * np.log(1 - 1 / (1 + np.exp(-z))))


CASES = {
    "cross_entropy": (losses.cross_entropy, {}, LOGITS, LABELS, -OWN),
    "cross_entropy, probabilities": (losses.cross_entropy, {}, LOGITS, SHARES, -(SHARES * LOG_P).sum(1)),
    "cross_entropy, smoothed": (
        losses.cross_entropy,
        {"label_smoothing": 0.1},
        LOGITS,
        LABELS,
        -0.9 * OWN - 0.1 * LOG_P.mean(1),
    ),
    "cross_entropy, weighted": (
        losses.cross_entropy,
        {"class_weights": W.tolist()},
        LOGITS,
        LABELS,
        -W[LABELS] * OWN,
    ),
    "binary_cross_entropy": (losses.binary_cross_entropy, {}, LOGIT, BITS, bce(Z, BITS)),
    "binary_cross_entropy, flat": (losses.binary_cross_entropy, {}, Z, BITS, bce(Z, BITS)),
    "binary_cross_entropy, pos_weight": (
        losses.binary_cross_entropy,
        {"pos_weight": 3.0},
        LOGIT,
        BITS,
        bce(Z, BITS, 3),
    ),
    "binary_cross_entropy, smoothed": (
        losses.binary_cross_entropy,
        {"label_smoothing": 0.2},
        LOGIT,
        BITS,
        bce(Z, 0.8 * BITS + 0.1),
    ),
    "binary_cross_entropy, labels": (losses.binary_cross_entropy, {}, NUMBERS, MANY, bce(NUMBERS, MANY).mean(1)),
    "focal": (losses.focal, {"gamma": 2.0}, LOGITS, LABELS, -((1 - np.exp(OWN)) ** 2) * OWN),
    "focal, gamma below 1": (losses.focal, {"gamma": 0.5}, LOGITS, LABELS, -np.sqrt(1 - np.exp(OWN)) * OWN),
    "focal, binary": (
        losses.focal,
        {"gamma": 1.5},
        LOGIT,
        BITS,
        np.where(BITS, 1 - P1, P1) ** 1.5 * bce(Z, BITS),
    ),
    "nll": (losses.nll, {}, PROBABILITIES, LABELS, -OWN),
    "nll, distributions": (losses.nll, {}, PROBABILITIES, SHARES, -(SHARES * LOG_P).sum(1)),
    "nll, binary": (losses.nll, {}, P1[:, None], BITS, bce(Z, BITS)),
    "kl": (
        losses.kl,
        {},
        LOGITS,
        SHARES,
        (SHARES * (np.log(np.where(SHARES > 0, SHARES, 1)) - LOG_P)).sum(1),
    ),
    "kl, classes": (losses.kl, {}, LOGITS, LABELS, -OWN),
    "hinge": (losses.hinge, {}, LOGIT, BITS, np.maximum(0, 1 - SIGN * Z)),
    "hinge, classes": (losses.hinge, {}, LOGITS, LABELS, np.maximum(0, 1 - AHEAD)),
    "perceptron": (losses.perceptron, {}, LOGIT, BITS, np.maximum(0, -SIGN * Z)),
    "perceptron, classes": (losses.perceptron, {}, LOGITS, LABELS, np.maximum(0, -AHEAD)),
    "exponential, classes": (losses.exponential, {}, LOGIT, BITS, np.exp(-SIGN * Z)),
    "exponential, numbers": (losses.exponential, {}, NUMBERS, GOALS, np.exp(np.abs(ERROR)).mean(1)),
    "mse": (losses.mse, {}, NUMBERS, GOALS, (ERROR**2).mean(1)),
    "mse, half": (losses.mse, {"half": True}, NUMBERS, GOALS, (ERROR**2).mean(1) / 2),
    "mse, one-hot": (losses.mse, {}, PROBABILITIES, LABELS, ((PROBABILITIES - np.eye(K)[LABELS]) ** 2).mean(1)),
    "mse, flat targets": (losses.mse, {}, NUMBERS[:, :1], GOALS[:, 0], ERROR[:, 0] ** 2),
    "mae": (losses.mae, {}, NUMBERS, GOALS, np.abs(ERROR).mean(1)),
    "poisson": (losses.poisson, {}, NUMBERS, COUNTS, (np.exp(NUMBERS) - COUNTS * NUMBERS).mean(1)),
    "ordinal": (losses.ordinal, {}, STEPS, LABELS, -np.log(CHANCES[np.arange(B), LABELS])),
    "huber": (
        losses.huber,
        {"delta": 0.7},
        NUMBERS,
        GOALS,
        np.where(abs(ERROR) <= 0.7, ERROR**2 / 2, 0.7 * (abs(ERROR) - 0.35)).mean(1),
    ),
    "log_cosh": (losses.log_cosh, {}, NUMBERS, GOALS, np.log(np.cosh(ERROR)).mean(1)),
    "quantile": (
        losses.quantile,
        {"q": 0.9},
        NUMBERS,
        GOALS,
        np.where(ERROR < 0, -0.9 * ERROR, 0.1 * ERROR).mean(1),
    ),
}


def cases_of(*names):
    """Return the names of the cases of these losses."""
    return [case for case in CASES if case.split(",")[0] in names]
