"""Digits under uneven light: an example depends only on its index and the seed, its mask on the digit."""

import numpy as np
import pytest

from dltrain.data.check import check_examples
from dltrain.data.sources.digit_masks import DigitMasks
from dltrain.data.sources.embedded import load_embedded

DIGITS = load_embedded("digits")


def test_examples_match_the_spec_in_any_order():
    source = DigitMasks(DIGITS, seed=3)
    rows = source.read(np.arange(20))
    check_examples(rows, source.spec)
    some = source.read(np.array([7, 2]))
    for name in rows:
        np.testing.assert_array_equal(some[name], rows[name][[7, 2]])
    np.testing.assert_array_equal(rows["targets"], DIGITS.read(np.arange(20))["inputs"][..., 0] >= 8)


def test_seed_and_noise_make_another_data_set():
    sources = [DigitMasks(DIGITS), DigitMasks(DIGITS, seed=1), DigitMasks(DIGITS, noise=0.1)]
    assert len({source.fingerprint for source in sources}) == 3
    images = [source.read(np.arange(3))["inputs"] for source in sources]
    assert not np.array_equal(images[0], images[1])
    assert not np.array_equal(images[0], images[2])


def test_no_threshold_finds_the_digit():
    """The IoU of the best threshold, chosen on the examples that it is evaluated on."""
    rows = DigitMasks(DIGITS).read(np.arange(300))
    truth = rows["targets"] == 1
    found = [rows["inputs"][..., 0] >= level for level in range(256)]
    best = max((truth & one).sum() / (truth | one).sum() for one in found)
    assert best < 0.55


def test_other_images_are_refused():
    with pytest.raises(ValueError, match=r"needs grey images \[H, W, 1\], found \[4\]"):
        DigitMasks(load_embedded("iris"))
