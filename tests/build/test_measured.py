"""With an EMA of the weights, evaluation, figures and generation use it."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from dltrain.build.parts import assemble
from dltrain.build.plan import make_plan
from dltrain.build.program import Program
from dltrain.composition.compose import compose_words
from dltrain.inference.open import bundle_of
from dltrain.inference.query import draw

pytestmark = pytest.mark.usefixtures("unoptimised")


def made(*words):
    config = compose_words(*words).config
    parts = assemble(config)
    return Program(parts, make_plan(config, parts))


def check(program, ask):
    """The EMA is the initial weights and the trained weights are all 0: only the EMA may be used."""
    start = program.start()
    nothing = jax.tree.map(np.zeros_like, start.params)
    seen = ask(replace(start, params=nothing))
    np.testing.assert_array_equal(seen, ask(replace(start, ema={})))
    assert (seen != ask(replace(start, params=nothing, ema={}))).any(), "the weights must matter"


def test_examples_are_drawn_with_the_means():
    program = made("data=iris", "model=gan", "model.widths=[4]", "optim.ema=0.9")
    check(program, lambda state: bundle_of(program, state).sample(5))


@pytest.mark.slow
def test_attention_is_of_the_means():
    program = made("data=reverse", "model=seq2seq", "model.hidden=4", "model.embedding=3", "optim.ema=0.9")
    inputs = program.parts.source.read(program.examples("test")[:6])["inputs"]
    check(program, lambda state: bundle_of(program, state).attention(inputs))


def test_the_averaged_weights_generate_texts_and_predict(tmp_path):
    (tmp_path / "text").write_text("one two three four five six " * 20)
    words = ("data=characters", f"data.path={tmp_path / 'text'}", "data.length=10", "model=rnn", "model.hidden=5")
    program = made(*words, "model.embedding=3", "optim.ema=0.9")
    check(program, lambda state: program.outputs(state, program.examples("train")[:6]))
    prompts = np.zeros((2, 1), np.int32)
    check(program, lambda state: bundle_of(program, state).continue_tokens(prompts, length=12))
    inputs = program.parts.source.read(program.examples("train")[:6])["inputs"]
    check(program, lambda state: bundle_of(program, state).outputs(inputs))


def test_the_mean_of_schedule_free_generates():
    program = made("data=iris", "model=gan", "model.widths=[4]", "optim=schedule_free")
    start = program.start()
    moved = replace(start, params=jax.tree.map(lambda x: x + 0.5, start.params))  # the iterate next to it stays
    params, rest = program.eval_params(moved)
    key, scaling = jax.random.fold_in(jax.random.key(0), 0), program.parts.preprocess.scaling
    asked = (program.graphs.eval, program.precision)
    mean, last = (draw(*asked, p, rest, key, 5) for p in (params, moved.params))
    found = bundle_of(program, moved).sample(5)
    np.testing.assert_allclose(found, scaling.inverse(mean), rtol=1e-6)
    assert np.abs(found - scaling.inverse(last)).max() > 1e-3
