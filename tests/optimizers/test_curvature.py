"""Newton and L-BFGS against their formulas over ten steps."""

import itertools

import numpy as np
from optimizer_formulas import LOOKING, VALLEY_START, expected_path, hessian, slope, valley


def test_ten_steps_of_newton_divide_by_absolute_curvature(looked):
    lowest, lengths = [], []

    def newton(_, t, memory, rate):
        w = memory["w"]
        values, vectors = np.linalg.eigh(hessian(w))
        step = rate * vectors @ (vectors.T @ slope(w) / (np.abs(values) + 0.5))
        length = 1.0
        while valley(w - length * step) > valley(w) - 1e-4 * length * slope(w) @ step:
            length /= 2
        lowest.append(values.min())
        lengths.append(length)
        return length * step

    expected = expected_path(newton, rates=LOOKING["newton"][2], start=VALLEY_START)
    assert min(lowest) < 0 < max(lowest) and min(lengths) < 1 == max(lengths)
    np.testing.assert_allclose(looked["newton"][1:], expected, rtol=1e-9)


def test_ten_steps_of_lbfgs_follow_the_two_loop_recursion_and_strong_wolfe_conditions(looked):
    path, pairs, lengths = looked["lbfgs"], [], []
    for w, then in itertools.pairwise(path):
        g, after = slope(w), slope(then)
        direction, parts = -g, []
        for s, y in reversed(pairs[-3:]):
            parts.append(s @ direction / (s @ y))
            direction = direction - parts[-1] * y
        s, y = pairs[-1] if pairs else (np.ones(1), np.full(1, max(1, np.linalg.norm(g))))
        direction = s @ y / (y @ y) * direction
        for (s, y), part in zip(pairs[-3:], reversed(parts), strict=True):
            direction = direction + (part - y @ direction / (s @ y)) * s
        length = (then - w) @ direction / (direction @ direction)
        np.testing.assert_allclose(then - w, length * direction, rtol=1e-9)
        assert length > 0 and valley(then) <= valley(w) + 1e-4 * length * g @ direction
        assert abs(after @ direction) <= 0.9 * abs(g @ direction)
        pairs.append((then - w, after - g))
        lengths.append(length)
    assert np.isclose(lengths, 1).any() and not np.isclose(lengths, 1).all()
