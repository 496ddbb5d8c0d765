"""The bag of n-grams equals its formula in float64, in any order and with any padding; so does a text column."""

import numpy as np
import pytest

from dltrain.models.bag_of_ngrams import BagOfNgrams
from dltrain.models.mlp import MLP
from dltrain.models.rnn import GRU
from dltrain.tasks import Classification
from dltrain.types import Feature, Kind, Spec

NGRAMS = np.array([[1, 5, 9, 5], [2, 0, 0, 0], [0, 0, 0, 0]], np.int32)  # the last text is empty
TARGETS = {"target": Feature(Kind.CATEGORY, (), "int32", vocabulary=tuple("abc"))}
BUCKETS = Spec({"ngrams": Feature(Kind.NGRAMS, (4,), "int32", buckets=9)}, TARGETS, Classification())
WORDS = Feature(Kind.TOKENS, (4,), "int32", vocabulary=tuple("0123456789"))
LENGTH = {"length": Feature(Kind.LENGTH, (), "int32")}


def mean_of(table, numbers):
    table = np.asarray(table[...], np.float64)
    return np.stack([table[row[row > 0]].mean(0) if (row > 0).any() else 0 * table[0] for row in numbers])


def linear(layer, x):
    return x @ np.asarray(layer.kernel[...], np.float64) + np.asarray(layer.bias[...], np.float64)


def test_outputs_equal_the_formula(filled, called, close):
    model = filled(lambda rngs: BagOfNgrams(5, spec=BUCKETS, rngs=rngs))
    assert model.bag.embedding.table.shape == (10, 5)
    outputs, _ = called(model, NGRAMS)
    close(outputs, linear(model.head, mean_of(model.bag.embedding.table, NGRAMS)))
    close(called(model, NGRAMS[:, [3, 1, 0, 2]])[0], np.asarray(outputs))
    close(called(model, np.pad(NGRAMS, ((0, 0), (0, 3))))[0], np.asarray(outputs))


def test_with_lengths_the_first_tokens_count(filled, called, close):
    spec = Spec({"tokens": WORDS, **LENGTH}, TARGETS, Classification())
    model = filled(lambda rngs: BagOfNgrams(5, spec=spec, rngs=rngs))
    lengths = np.array([4, 1, 2], np.int32)
    outputs, _ = called(model, {"tokens": NGRAMS, "length": lengths})
    table = np.asarray(model.bag.embedding.table[...], np.float64)
    means = np.stack([table[row[:n]].mean(0) for row, n in zip(NGRAMS, lengths, strict=True)])
    close(outputs, linear(model.head, means))


@pytest.mark.parametrize("kind", ["ngrams", "tokens", "alone"])
def test_a_vector_model_takes_texts_next_to_numbers(kind, filled, called, close):
    text = WORDS if kind == "tokens" else BUCKETS.input
    numbers = {} if kind == "alone" else {"numbers": Feature(Kind.NUMBERS, (2,), "float32", names=("a", "b"))}
    model = filled(lambda rngs: MLP((), spec=Spec({"text": text, **numbers}, TARGETS, Classification()), rngs=rngs))
    x = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)
    outputs, _ = called(model, NGRAMS if kind == "alone" else {"text": NGRAMS, "numbers": x})
    bag = mean_of(model.vector.embeddings["text"].embedding.table, NGRAMS)
    close(outputs, linear(model.head, bag if kind == "alone" else np.concatenate([bag, x], 1)))


def test_ngrams_are_no_sequence_and_images_no_text(filled):
    with pytest.raises(ValueError, match=r"needs tokens in their order, .* choose data.tokens=words"):
        filled(lambda rngs: GRU(spec=BUCKETS, rngs=rngs))
    images = Spec({"image": Feature(Kind.IMAGE, (2, 2, 1), "float32")}, TARGETS, Classification())
    with pytest.raises(ValueError, match="needs texts with one target per example, but this data is images"):
        filled(lambda rngs: BagOfNgrams(spec=images, rngs=rngs))
