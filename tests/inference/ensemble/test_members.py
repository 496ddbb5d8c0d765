"""Runs that differ in what they predict, or from what, are refused with what differs."""

from types import SimpleNamespace

import pytest

from dltrain.errors import ConfigError
from dltrain.inference.ensemble.members import check_alike
from dltrain.tasks import Binary, Classification, Generation, Regression
from dltrain.types import Feature, Kind, Spec

pytestmark = pytest.mark.slow  # trains on another worker what test_ensemble.py has trained


def member(name, *, task=None, classes=("a", "b"), columns=("x", "y"), shape=(2,), encoder=True):
    """Return what is asked of a run."""
    target = Feature(Kind.CATEGORY, (), "int32", vocabulary=classes)
    numbers = Feature(Kind.NUMBERS, shape, "float32", columns)
    spec = Spec({"numbers": numbers}, {"target": target}, task or Classification())
    bundle = SimpleNamespace(
        raw_spec=spec,
        encoder=SimpleNamespace(columns=columns) if encoder else None,
        check_predicts=lambda name: None,
    )
    return SimpleNamespace(path=name, spec=spec, bundle=bundle)


def test_runs_with_the_same_columns_are_alike_in_any_order_and_width():
    check_alike([member("one"), member("two", columns=("y", "x")), member("three", shape=(3,))])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": Binary()}, "task=binary, and not task=classification"),
        ({"classes": ("a", "c")}, "its classes are a, c, and not a, b"),
        ({"columns": ("x", "z")}, r"other columns \(without y; also with z\)"),
    ],
)
def test_what_differs_is_named(change, message):
    with pytest.raises(ConfigError, match=f"two cannot be averaged with one: .*{message}"):
        check_alike([member("one"), member("two", **change)])


def test_quantiles_must_be_the_same():
    tasks = (Regression((0.1, 0.5, 0.9)), Regression())
    with pytest.raises(ConfigError, match=r"task=regression, and not task=regression of the quantiles \[0.1, 0.5"):
        check_alike([member(name, task=task) for name, task in zip(("one", "two"), tasks, strict=True)])


def test_arrays_must_have_the_same_shape():
    with pytest.raises(ConfigError, match=r"its inputs differ: numbers is numbers \[3\].*and not numbers \[2\]"):
        check_alike([member("one", encoder=False), member("two", encoder=False, shape=(3,))])


def test_a_model_that_generates_has_no_mean():
    with pytest.raises(ConfigError, match="not those of task=generation"):
        check_alike([member("one", task=Generation())])
