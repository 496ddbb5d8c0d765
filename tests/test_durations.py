"""Lengths of training, as typed in the config."""

import pytest

from dltrain.durations import Duration


@pytest.mark.parametrize(
    ("text", "steps", "seconds"),
    [
        (100, 100, None),
        ("100", 100, None),
        (" 7 ", 7, None),
        (3.0, 3, None),
        ("1e3", 1000, None),
        ("1ep", 40, None),
        ("2 ep", 80, None),
        ("0.5ep", 20, None),
        ("0.001ep", 1, None),  # never nothing
        ("2h", None, 7200.0),
        ("5min", None, 300.0),
        ("1.5min", None, 90.0),
        ("30s", None, 30.0),
    ],
)
def test_steps_epochs_and_times_are_parsed(text, steps, seconds):
    found = Duration.parse(text)
    assert (found.steps(per_epoch=40), found.seconds) == (steps, seconds)


WRONG = [
    0,
    -1,
    "-1ep",
    "0ep",
    "1.5",
    2.5,
    "1e",
    "ep",
    "1 epoch",
    "1day",
    "1h30min",
    True,
    None,
    "",
    "nan",
    "inf",
    [1],
]


@pytest.mark.parametrize("text", [*WRONG, "1e999", "1e999ep", "1e999h"])
def test_invalid_durations_are_an_error_with_the_valid_forms(text):
    with pytest.raises(ValueError, match=r"number of steps \(100\), epochs \(1ep\), or a time"):
        Duration.parse(text)
