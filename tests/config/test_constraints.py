"""Constraints are read as they are typed, and say by how much a run violates them."""

import math

import pytest

from dltrain.config.constraints import number_of, read_constraints, violated
from dltrain.errors import ConfigError

SUMMARY = {
    "parameters": 100,
    "seconds": 2.5,
    "peak_memory": {"host": 10, "gpu": 30},
    "best": {"validation": {"accuracy": 0.5}},
}


@pytest.mark.parametrize(
    ("text", "beyond"),
    [
        ("parameters<=100", 0),
        ("parameters <= 90", 10),
        ("parameters>=150", 50),
        ("seconds<1e1", -7.5),
        ("validation/accuracy>0.25", -0.25),
        ("peak_memory<=20", 10),
    ],
)
def test_a_violation_is_the_distance_from_the_bound(text, beyond):
    (constraint,) = read_constraints([text])
    assert constraint.violation(number_of(SUMMARY, constraint.name)) == beyond
    assert bool(violated([constraint], SUMMARY)) == (beyond > 0)


@pytest.mark.parametrize(
    ("text", "holds"), [("seconds<2.5", False), ("seconds>2.5", False), ("seconds>=2.5", True)]
)
def test_a_strict_bound_excludes_its_value(text, holds):
    assert (read_constraints([text])[0].violation(2.5) <= 0) == holds


def test_what_is_violated_is_said_with_its_value():
    found = violated(read_constraints(["parameters<10", "seconds<60", "test/f1>0.5"]), SUMMARY)
    assert found == ["parameters<10 (is 100)", "test/f1>0.5 (is not known)"]
    assert read_constraints(["steps<1"])[0].violation(math.nan) == math.inf


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("parameters", "must be a name, one of <= < >= >, and a number"),
        ("parameters==3", "must be a name"),
        ("steps<many", "many: must be a finite number"),
        ("steps<inf", "inf: must be a finite number"),
        ("parametrs<3", "no such number; did you mean parameters?"),
    ],
)
def test_a_mistake_is_named(text, message):
    with pytest.raises(ConfigError, match=rf"^sweep.constraints: {text}: .*{message}"[:-1].replace("?", r"\?")):
        read_constraints([text])
