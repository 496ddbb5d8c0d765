"""Population-based training: who copies whom, and how the numbers of a copy change. All functions are pure.

Jaderberg et al. 2017, arXiv:1711.09846: truncation selection (section 4.1.1: a member in the worst part of the
population copies one that is drawn from the best part), and exploration: numbers are perturbed, or drawn again.
Each draw has a generator of its own, from the seed, the exchange and the member, so it depends on nothing else.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dltrain.errors import ConfigError
from dltrain.sweep.space import Dimension

PART = 4  # a quarter of the population copies a member of the best quarter
FACTORS = (0.8, 1.2)  # by which a number is perturbed
FEWEST, MOST = 2, 64  # members

Numbers = Mapping[str, float]
"""Key of the config -> value."""


@dataclass(frozen=True)
class Copy:
    """A member that goes on from the state of another one, with numbers of its own."""

    source: int
    numbers: Numbers


def check_population(settings: Mapping[str, Any], space: Sequence[Dimension]) -> None:
    """Raise ConfigError unless the node `sweep` of a config suits a population."""
    if not space:
        raise ConfigError(
            "sweep.sampler=pbt: no number to search; give one a range: 'optim.learning_rate=interval(1e-4,1e-1)'"
        )
    for dimension in space:
        if not dimension.is_numeric:
            values = ", ".join(word.partition("=")[2] for word in dimension.words)
            raise ConfigError(
                f"{dimension.key}={values}: sweep=pbt changes numbers while it trains; give it a range "
                f"({dimension.key}=interval(LOW,HIGH)) or a single value, or choose sweep=tpe"
            )
        if dimension.whole or dimension.step:
            raise ConfigError(
                f"{dimension.key}: sweep=pbt multiplies numbers, so whole numbers and steps cannot be searched; "
                "choose sweep=tpe"
            )
    if not FEWEST <= settings["trials"] <= MOST:
        raise ConfigError(
            f"sweep.trials={settings['trials']}: a population has {FEWEST} to {MOST} members, one for each lane"
        )
    if settings["objectives"]:
        raise ConfigError("sweep.objectives: sweep=pbt follows the monitored metric; set monitor=validation/loss")
    if settings["pruner"] != "none":
        raise ConfigError(f"sweep.pruner={settings['pruner']}: sweep=pbt stops no member; set sweep.pruner=none")


def begin(space: Sequence[Dimension], *, members: int, seed: int) -> list[dict[str, float]]:
    """Return the numbers with which each member begins.

    They are drawn at random, with one member in each of as many equal parts of every range (a Latin hypercube).
    """
    draw = np.random.default_rng([seed, 0])
    places = [(draw.permutation(members) + draw.random(members)) / members for _ in space]
    return [{d.key: d.at(float(place[i])) for d, place in zip(space, places, strict=True)} for i in range(members)]


def exchange(
    values: Mapping[int, float],
    numbers: Mapping[int, Numbers],
    space: Sequence[Dimension],
    *,
    higher: bool,
    seed: int,
    number: int,
    resample: float,
) -> dict[int, Copy]:
    """Decide on an exchange: member -> what it copies, for those that do.

    Args:
        values: the monitored metric of each member that takes part.
        numbers: the current numbers of each.
        space: the range of each number.
        higher: whether more of the metric is better.
        seed: of all draws.
        number: of the exchange, counted from 1.
        resample: probability that a number is drawn again from its range, instead of perturbed.
    """
    best, worst = ranked(values, higher=higher)
    copies = {}
    for member in worst if best else ():
        draw = np.random.default_rng([seed, number, member])
        source = best[int(draw.integers(len(best)))]
        copies[member] = Copy(source, explore(numbers[source], space, draw, resample=resample))
    return copies


def ranked(values: Mapping[int, float], *, higher: bool) -> tuple[list[int], list[int]]:
    """Return the best quarter and the worst quarter of the members (at least one each), by value, then by number.

    A value that is not finite is worse than any other; all members with such a value are among the worst.
    """
    sign = -1 if higher else 1
    finite = sorted((m for m, value in values.items() if math.isfinite(value)), key=lambda m: (sign * values[m], m))
    lost = sorted(member for member in values if member not in finite)
    count = max(1, len(values) // PART)
    best = finite[:count]
    left = [member for member in finite if member not in best]
    return best, sorted(left[max(0, len(left) - max(0, count - len(lost))) :] + lost)


def explore(
    numbers: Numbers, space: Sequence[Dimension], draw: np.random.Generator, *, resample: float
) -> dict[str, float]:
    """Return the numbers of a copy: each is multiplied by 0.8 or 1.2, or drawn again, and stays in its range."""
    found = {}
    for dimension in space:
        again, place, factor = draw.random(), draw.random(), FACTORS[int(draw.integers(len(FACTORS)))]
        perturbed = dimension.rounded(numbers[dimension.key] * factor)
        found[dimension.key] = dimension.at(float(place)) if again < resample else perturbed
    return found
