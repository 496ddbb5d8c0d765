"""Integrated gradients have their closed forms, and completeness is measured as it says."""

import jax.numpy as jnp
import numpy as np
import pytest

from dltrain.inference.explain.attribution import path_attributions

X = {"a": np.array([[1.0, -2.0], [0.5, 3.0]], np.float32), "b": np.array([[2.0], [-1.0]], np.float32)}
ZERO = {"a": np.zeros((2, 2), np.float32), "b": np.zeros((2, 1), np.float32)}
WEIGHTS = np.array([0.25, -4.0], np.float32)


def linear(points, weights):
    return (points["a"] * weights[None]).sum(1) + 3 * points["b"][:, 0]


def product(points):
    return points["a"][:, 0] * points["a"][:, 1] + points["b"][:, 0] ** 3


def kinked(points):
    return jnp.maximum(points["a"][:, 0] - 0.3, 0) + 0 * points["b"][:, 0]


def test_of_a_linear_function_they_are_weights_times_differences():
    start = {"a": np.full((2, 2), 0.5, np.float32), "b": np.ones((2, 1), np.float32)}
    found = path_attributions(linear, X, start, WEIGHTS)
    np.testing.assert_allclose(found.integrated["a"], WEIGHTS * (X["a"] - 0.5), rtol=1e-6)
    np.testing.assert_allclose(found.integrated["b"], 3 * (X["b"] - 1), rtol=1e-6)
    np.testing.assert_allclose(found.saliency["a"], np.abs([WEIGHTS, WEIGHTS]), rtol=1e-6)
    assert found.completeness.steps.tolist() == [16, 16] and found.completeness.error.max() < 1e-6


def test_a_product_is_shared_equally_and_a_power_is_its_own():
    found = path_attributions(product, X, ZERO)
    half = X["a"].prod(1) / 2
    np.testing.assert_allclose(found.integrated["a"], np.stack([half, half], 1), rtol=1e-5)
    np.testing.assert_allclose(found.integrated["b"], X["b"] ** 3, rtol=1e-5)


def test_points_double_until_the_tolerance_holds_and_the_best_sum_is_kept():
    few = path_attributions(kinked, X, ZERO, tolerance=1e-6, most=16)
    many = path_attributions(kinked, X, ZERO, tolerance=1e-6, most=256)
    assert few.completeness.steps.tolist() == [16, 16] and few.completeness.error.max() > 1e-3
    assert many.completeness.error.max() < few.completeness.error.max() / 2
    loose = path_attributions(kinked, X, ZERO, tolerance=0.5, most=256)
    assert loose.completeness.steps.tolist() == [16, 16]


def test_the_error_is_relative_to_the_difference_in_output():
    complete = path_attributions(kinked, X, ZERO, most=16).completeness
    np.testing.assert_allclose(complete.output, [0.7, 0.2], rtol=1e-6)
    assert complete.baseline.tolist() == [0, 0]
    expected = np.abs(complete.total - complete.output) / complete.output
    np.testing.assert_allclose(complete.error, expected, rtol=1e-9)


def test_attributions_that_cancel_are_compared_with_their_size():
    points = {"a": np.array([[1.0, 1.0]], np.float32), "b": np.zeros((1, 1), np.float32)}
    start = {name: np.zeros_like(value) for name, value in points.items()}
    complete = path_attributions(linear, points, start, np.array([5.0, -5.0], np.float32)).completeness
    assert complete.output == pytest.approx([0]) and complete.error.max() < 1e-6
