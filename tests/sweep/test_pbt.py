"""Who copies whom in a population, and with which numbers; on the toy objective of the paper, too."""

import math

import numpy as np
import pytest

from dltrain.sweep import pbt
from dltrain.sweep.space import Dimension

RATE = Dimension("rate", low=1e-4, high=1e-1, log=True)
DECAY = Dimension("decay", low=0.0, high=1.0)
SPACE = (RATE, DECAY)


def exchanged(values, numbers=None, **changes):
    settings = {"higher": True, "seed": 3, "number": 1, "resample": 0.25, **changes}
    numbers = numbers or {member: {"rate": 0.01, "decay": 0.5} for member in values}
    return pbt.exchange(values, numbers, SPACE, **settings)


@pytest.mark.parametrize("members", [2, 3, 4, 8, 11, 64])
@pytest.mark.parametrize("higher", [True, False])
def test_the_worst_quarter_copies_members_of_the_best_quarter(members, higher):
    values = dict(enumerate(np.random.default_rng(members).permutation(members).astype(float)))
    order = sorted(values, key=values.__getitem__, reverse=higher)
    count = max(1, members // 4)
    best, worst = pbt.ranked(values, higher=higher)
    assert best == order[:count] and worst == sorted(order[-count:])
    copies = exchanged(values, higher=higher)
    assert sorted(copies) == worst and {copy.source for copy in copies.values()} <= set(best)


def test_equal_values_are_ordered_by_member():
    assert pbt.ranked(dict.fromkeys(range(8), 0.5), higher=True) == ([0, 1], [6, 7])


def test_members_whose_value_is_not_finite_all_copy_and_are_never_copied():
    values = {0: math.nan, 1: math.inf, 2: -math.inf, 3: 0.1, 4: 0.2, 5: 0.3, 6: 0.4, 7: 0.5}
    assert pbt.ranked(values, higher=True) == ([7, 6], [0, 1, 2])
    assert exchanged({0: math.nan, 1: math.nan}) == {}
    assert sorted(exchanged({0: 0.5})) == []


def test_every_best_member_is_copied_equally_often():
    values = {member: float(member) for member in range(16)}
    counts = dict.fromkeys((12, 13, 14, 15), 0)
    for number in range(1, 501):
        for copy in exchanged(values, number=number).values():
            counts[copy.source] += 1
    assert sum(counts.values()) == 2000 and all(
        abs(n - 500) < 5 * math.sqrt(2000 * 3 / 16) for n in counts.values()
    )


def test_numbers_are_multiplied_or_drawn_again_and_stay_in_their_range():
    again, ratios, total = 0, set(), 0
    for number in range(1, 1001):
        for copy in exchanged({0: 0.0, 1: 1.0}, number=number).values():
            total += 1
            ratio = round(copy.numbers["rate"] / 0.01, 6)
            again += ratio not in pbt.FACTORS
            ratios |= {ratio} & set(pbt.FACTORS)
            assert RATE.low <= copy.numbers["rate"] <= RATE.high
    assert ratios == set(pbt.FACTORS) and abs(again / total - 0.25) < 5 * math.sqrt(0.25 * 0.75 / total)
    at_the_end = exchanged(
        {0: 0.0, 1: 1.0}, {0: {"rate": 0.1, "decay": 1.0}, 1: {"rate": 0.1, "decay": 1.0}}, resample=0.0
    )
    assert all(at_the_end[0].numbers[d.key] in (d.high, 0.8 * d.high) for d in SPACE)


def test_a_draw_depends_on_seed_exchange_and_member_only():
    values = {0: 0.0, 1: 0.1, 2: 2.0, 3: 3.0, 4: 4.0, 5: 5.0, 6: 6.0, 7: 7.0}
    first = exchanged(values)
    assert first == exchanged(dict(reversed(values.items())))
    assert first != exchanged(values, seed=4) and first != exchanged(values, number=2)


def test_the_first_numbers_fill_each_range_evenly():
    numbers = pbt.begin(SPACE, members=10, seed=0)
    places = [sorted((math.log10(n["rate"]) + 4) / 3 for n in numbers), sorted(n["decay"] for n in numbers)]
    for found in places:
        assert [math.floor(10 * place) for place in found] == [*range(10)]
    assert numbers == pbt.begin(SPACE, members=10, seed=0) != pbt.begin(SPACE, members=10, seed=1)


def toy(steps: int, *, exchanges: bool, seed: int = 0) -> float:
    """Return the best Q of two members after so many steps of the toy of section 4.1 and figure 2.

    Q = 1.2 - |theta|^2 is maximised, through the surrogate 1.2 - (h0 theta0^2 + h1 theta1^2), whose h each member
    has: (1, 0) and (0, 1). Neither alone reaches the optimum.
    """
    space = (Dimension("h0", low=0.0, high=1.0), Dimension("h1", low=0.0, high=1.0))
    theta = {0: np.array([0.9, 0.9]), 1: np.array([0.9, 0.9])}
    h = {0: {"h0": 1.0, "h1": 0.0}, 1: {"h0": 0.0, "h1": 1.0}}
    for step in range(1, steps + 1):
        for m in theta:
            theta[m] = theta[m] - 0.01 * 2 * np.array([h[m]["h0"], h[m]["h1"]]) * theta[m]
        if exchanges and step % 10 == 0:
            values = {m: 1.2 - float((theta[m] ** 2).sum()) for m in theta}
            options = {"higher": True, "seed": seed, "number": step // 10, "resample": 0.25}
            for m, copy in pbt.exchange(values, h, space, **options).items():
                theta[m], h[m] = theta[copy.source].copy(), dict(copy.numbers)
    return max(1.2 - float((t**2).sum()) for t in theta.values())


def test_the_toy_of_the_paper_reaches_its_optimum_only_with_exchanges():
    """Alone, one coordinate stays where it began: Q = 1.2 - 0.81 at most."""
    assert toy(1000, exchanges=False) == pytest.approx(1.2 - 0.81, abs=1e-6)
    assert all(toy(1000, exchanges=True, seed=seed) > 1.19 for seed in range(10))


def reference(values, numbers, *, seed, number, resample, factors=(0.8, 1.2)):
    """Exploit and explore of the paper's algorithm 1, written out member by member for one number in log space."""
    count = max(1, len(values) // 4)
    found = {}
    for member in values:
        better = [m for m in values if values[m] < values[member] or (values[m] == values[member] and m < member)]
        if len(better) < len(values) - count:  # not in the worst quarter
            continue
        best = sorted(values, key=lambda m: (values[m], m))[:count]
        draw = np.random.default_rng([seed, number, member])
        source = best[draw.integers(count)]
        again, place, factor = draw.random(), draw.random(), factors[draw.integers(2)]
        new = 1e-4 * 1e3**place if again < resample else min(max(numbers[source] * factor, 1e-4), 1e-1)
        found[member] = (source, new)
    return found


def test_exchanges_are_those_of_the_pseudo_code():
    generator = np.random.default_rng(0)
    for number in range(1, 50):
        members = int(generator.integers(2, 20))
        values = {m: float(generator.normal()) for m in range(members)}
        numbers = {m: float(10 ** generator.uniform(-4, -1)) for m in range(members)}
        found = pbt.exchange(
            values,
            {m: {"rate": rate} for m, rate in numbers.items()},
            (RATE,),
            higher=False,
            seed=5,
            number=number,
            resample=0.3,
        )
        expected = reference(values, numbers, seed=5, number=number, resample=0.3)
        assert {m: copy.source for m, copy in found.items()} == {m: source for m, (source, _) in expected.items()}
        for member, (_, rate) in expected.items():
            assert found[member].numbers["rate"] == pytest.approx(rate, rel=1e-5)
