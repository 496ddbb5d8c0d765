"""The curve of a learning rate range test: its smoothed loss, its end, and the rates that it suggests.

Plain functions of arrays: nothing is trained here. The test is that of Smith, Cyclical Learning Rates for Training
Neural Networks, arXiv:1506.01186, section 3.3. Smoothing, the bound for divergence and the rules for `valley`,
`steepest` and `minimum` are those of fastai's `lr_find`; Lightning's `lr_find` smooths in the same way.

Recommended is the middle one of the three rates: each rule errs at times, `valley` to low ones. On 16 combinations
of data, model and optimizer (docs/find.md) it was the only one whose result was never far from that of the best.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BETA = 0.98  # decay of the moving average
DIVERGED = 4.0  # times the best smoothed loss
SKIPPED = 10  # a tenth of the rates: the first mean is of few batches, and falls or rises by chance
LEAST_FALL = 0.02  # of the loss at the start
TOO_FEW = 3  # points


@dataclass(frozen=True)
class Suggestion:
    """A learning rate, the smoothed loss at it, and the rule that chose it."""

    rule: str
    learning_rate: float
    loss: float
    words: str  # what the rule does

    @property
    def rounded(self) -> str:
        """The learning rate to two digits, as it is typed."""
        return f"{float(f'{self.learning_rate:.1e}'):g}"


def smoothed(losses: np.ndarray, beta: float = BETA) -> np.ndarray:
    """Return the exponential moving average with bias correction: [N] -> [N], `m_k / (1 - beta^k)`."""
    means, mean = np.empty(len(losses)), 0.0
    for k, loss in enumerate(np.asarray(losses, np.float64)):
        mean = beta * mean + (1 - beta) * loss
        means[k] = mean / (1 - beta ** (k + 1))
    return means


def divergence(means: np.ndarray, times: float = DIVERGED) -> int | None:
    """Return the first point whose smoothed loss is not finite, or above `times` the best before; None if none is.

    A multiple of a loss that is not positive (a log-likelihood) means nothing. Such a loss has diverged when it
    lies above the best by `times - 1` of its size, or of what it has fallen by if that is more.
    """
    best = np.inf
    for k, mean in enumerate(means):
        best = min(best, mean)
        size = best if best > 0 else max(abs(best), means[0] - best)
        if not np.isfinite(mean) or mean > best + (times - 1) * size:
            return k
    return None


def suggest(rates: np.ndarray, means: np.ndarray) -> tuple[Suggestion, ...]:
    """Return what `valley`, `steepest` and `minimum` suggest; nothing if the loss never falls.

    Args:
        rates: learning rates, float [N], growing.
        means: smoothed losses before divergence, float [n] with n <= N; the first tenth of N is not considered.
    """
    first = len(rates) // SKIPPED
    rates, means = np.asarray(rates, np.float64)[first : len(means)], np.asarray(means, np.float64)[first:]
    if len(means) < TOO_FEW:
        return ()
    lowest = int(means.argmin())
    if lowest == 0:
        return ()
    start, end = longest_fall(means)
    slopes = np.diff(means) / np.diff(np.log(rates))  # after the lowest point a loss may rise, and fall from there
    middle, steepest = (start + end) // 2, int(slopes[:lowest].argmin())
    return (
        Suggestion("valley", rates[middle], means[middle], "middle of the longest fall of the loss"),
        Suggestion("steepest", rates[steepest], means[steepest], "where the loss falls fastest"),
        Suggestion("minimum", rates[lowest] / 10, means[lowest], "a tenth of the rate with the lowest loss"),
    )


def recommend(suggestions: Sequence[Suggestion]) -> Suggestion | None:
    """Return the suggestion whose learning rate is the middle one; None if there is none."""
    ordered = sorted(suggestions, key=lambda one: one.learning_rate)
    return ordered[len(ordered) // 2] if ordered else None


def longest_fall(values: np.ndarray) -> tuple[int, int]:
    """Return first and last index of the longest fall, of the first one if there are several.

    It is the longest falling subsequence, so that noise does not end it. As in fastai, it is taken to be as long as
    it has points: else a few points of a flat beginning would make it longer than what is seen to fall.
    """
    lengths = np.ones(len(values), int)
    for i in range(1, len(values)):
        lengths[i] += lengths[:i][values[:i] > values[i]].max(initial=0)
    end = int(lengths.argmax())
    return end - int(lengths[end]) + 1, end


def hardly_falls(losses: np.ndarray, means: np.ndarray) -> bool:
    """Tell whether the smoothed loss falls by less than the losses of single batches differ, or by less than 2 %.

    Args:
        losses: of the steps before divergence, float [n].
        means: their moving average, float [n].
    """
    fall = means[min(TOO_FEW, len(means) - 1)] - means.min()
    noise = np.median(np.abs(np.diff(losses))) / np.sqrt(2)  # a typical difference of a batch from the mean
    return bool(fall < max(noise, LEAST_FALL * abs(means[0])))
