"""Configs as text: what is saved is what OmegaConf writes for all of them at once."""

import pytest
from omegaconf import OmegaConf

from dltrain.config.interpolation import followed, save, to_yaml

LONG = "word " * 60
VALUES = {
    "numbers": {"one": 1, "float": 1.0, "small": 1e-300, "infinite": float("inf"), "none": None},
    "truth": {"one": True, "no": False},
    "texts": ["1", "true", "null", "1e-3", "", " a", "a: b", "# c", "on", "two\nlines", "é", LONG, "2024-01-05"],
    "empty": {},
    "nothing": [],
    "nested": {"list": [{"a": [1, [2]]}, {}], 3: "number as key", "a key with spaces": {LONG: 1}},
    "null": None,
    "true": "???",
    "plain": "back\\slash and 'quotes' \"both\"",
}


def test_the_text_is_that_of_omegaconf():
    assert save(OmegaConf.create(VALUES)) == OmegaConf.to_yaml(OmegaConf.create(VALUES))
    assert to_yaml({}) == OmegaConf.to_yaml(OmegaConf.create({}))


def test_equal_values_of_other_types_are_told_apart():
    texts = [to_yaml({"a": value}) for value in (1, 1.0, True, "1", [1], [True], {"b": 0}, {"b": 0.0}, -0.0)]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("value", ["${a}", "x-${a}", "\\${a}", "${oc.env:HOME}"])
def test_references_are_followed_as_before(value):
    raw = OmegaConf.create({"a": 3, "b": {"c": [value]}})
    wanted = {"${a}": 3, "x-${a}": "x-3", "\\${a}": "${a}", "${oc.env:HOME}": value}[value]
    assert followed(raw) == {"a": 3, "b": {"c": [wanted]}}
