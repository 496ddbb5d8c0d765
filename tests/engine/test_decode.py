"""Generation token by token: until the end token, by the most likely token or by sampling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dltrain.engine.decode import generate, generate_after

pytestmark = pytest.mark.usefixtures("unoptimised")

PAD, END = 0, 2


class Chain:
    """A model whose logits depend on the last token only, and whose cache counts steps."""

    def __init__(self, logits):
        self.logits = jnp.asarray(logits)

    def begin(self, inputs, count):
        assert inputs is None
        return jnp.zeros(count, jnp.int32)

    def decode(self, tokens, cache):
        return self.logits[tokens], cache + 1


NEXT = Chain(np.eye(6)[[5, 3, 5, 4, END, 5]] * 9)  # 1 -> 3 -> 4 -> end; 5 -> 5 -> ...


def test_sequence_ends_at_its_end_token_and_the_loop_with_the_last_sequence():
    first = jnp.array([1, 3, 1])
    found = generate(NEXT, jnp.int32(0), first, length=7, end=END, done=jnp.array([False, False, True]))
    assert found.tolist() == [[3, 4, END, PAD, PAD, PAD, PAD], [4, END, *[PAD] * 5], [PAD] * 7]


def test_endless_sequence_is_truncated():
    assert generate(NEXT, jnp.int32(0), jnp.array([5]), length=3, end=END).tolist() == [[5, 5, 5]]
    assert generate(NEXT, jnp.int32(0), jnp.array([1]), length=5).tolist() == [[3, 4, END, 5, 5]]


def test_tokens_are_sampled_by_their_probability_at_the_temperature():
    logits = np.log([0.1, 0.2, 0.7])
    model = Chain(np.tile(logits, (3, 1)))
    for temperature in (1.0, 0.5):
        found = generate(
            model, 0, jnp.zeros(20_000, int), length=2, key=jax.random.key(0), temperature=jnp.float32(temperature)
        )
        expected = np.exp(logits / temperature) / np.exp(logits / temperature).sum()
        for step in np.asarray(found).T:  # 5 deviations of the largest share's estimate
            np.testing.assert_allclose(np.bincount(step, minlength=3) / 20_000, expected, atol=0.018)
        assert 0.3 < (np.asarray(found)[:, 0] == np.asarray(found)[:, 1]).mean() < 0.9  # each step has its own key


def test_top_k_samples_only_from_the_most_likely_tokens():
    logits = np.log([0.1, 0.2, 0.4, 0.3])
    model = Chain(np.tile(logits, (4, 1)))
    found = generate(model, 0, jnp.zeros(5000, int), length=1, key=jax.random.key(0), top_k=2)
    share = np.bincount(np.asarray(found)[:, 0], minlength=4) / 5000
    assert share[:2].tolist() == [0, 0]
    np.testing.assert_allclose(share[2:], [4 / 7, 3 / 7], atol=0.035)


class Sum:
    """A model whose next token is the sum of all previous tokens, modulo 10."""

    def begin(self, inputs, count):
        return jnp.zeros(count, jnp.int32)

    def decode(self, tokens, cache):
        cache = cache + tokens
        return jax.nn.one_hot(cache % 10, 10), cache


def test_generated_tokens_depend_on_the_whole_prompt():
    prompts = jnp.array([[1, 2, 4], [3, 0, 0]])
    assert generate_after(Sum(), prompts, length=3).tolist() == [[7, 4, 8], [3, 6, 2]]
    assert generate_after(Sum(), prompts[:, :1], length=2).tolist() == [[1, 2], [3, 6]]
