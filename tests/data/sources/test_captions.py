"""Each image has the caption of its class, and no other."""

import numpy as np
import pytest

from dltrain.data.check import check_examples
from dltrain.data.sources.captions import DIGITS, Captions
from dltrain.data.sources.embedded import load_embedded
from dltrain.data.vocabulary import as_text
from dltrain.errors import ConfigError


def test_an_image_has_the_caption_of_its_digit_and_the_splits_are_its_own():
    digits = load_embedded("digits")
    digits.published = {"test": np.arange(5)}
    source, rows = Captions(digits), np.arange(len(digits))
    found, labels = source.read(rows), digits.read(rows)
    check_examples(found, source.spec)
    np.testing.assert_array_equal(found["inputs"]["image"], labels["inputs"])
    texts = [as_text(row, source.spec.vocabulary) for row in found["targets"]]
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    assert [text.split()[-1] for text in texts] == [names[label] for label in labels["targets"]]
    assert len(set(texts)) == 10 and min(len(text.split()) for text in texts) > 2
    assert list(source.spec.inputs) == ["image", "tokens"]
    np.testing.assert_array_equal(source.published["test"], np.arange(5))
    other = Captions(digits, [*DIGITS[:9], "the odd number 9"])
    assert len({source.fingerprint, other.fingerprint, digits.fingerprint}) == 3


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("digits", {"captions": DIGITS[:9]}, r"expected 10 different captions, for classes 0, 1, .*; found 9"),
        ("digits", {"captions": [*DIGITS[:9], DIGITS[0]]}, r"expected 10 different captions"),
        ("digits", {"captions": [*DIGITS[:9], " "]}, r"expected 10 different captions"),
        ("iris", {}, r"data\.images: must be images with one class each, not a table"),
    ],
)
def test_data_that_does_not_fit_the_captions_is_refused(name, options, message):
    with pytest.raises(ConfigError, match=message):
        Captions(load_embedded(name), **options)
