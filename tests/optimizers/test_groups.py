"""Parameter groups have separate optimizers and intervals, each equal to that optimizer alone."""

import jax
import numpy as np
import pytest

from dltrain.build.parts import assemble
from dltrain.build.plan import make_plan
from dltrain.build.program import Program
from dltrain.composition.compose import compose_words
from dltrain.engine.state import named_leaves
from dltrain.errors import ConfigError

pytestmark = pytest.mark.usefixtures("quickly_compiled")

GAME = (
    "data=iris",
    "model=gan",
    "model.widths=[3]",
    "model.noise=2",
    "model.norm=none",
    "optim=momentum",
    "optim.momentum=0.9",
    "batch_size=20",
)


def trained(*words, steps=3):
    """Collect the model's parameters after each step, step 0 first."""
    config = compose_words(*GAME, *words, "steps=3").config
    parts = assemble(config)
    program = Program(parts, make_plan(config, parts))
    state = program.start()
    found = [named_leaves(jax.device_get(state.params))]
    for step in range(steps):
        state, _ = program.chunk(state, program.data, program.feed_chunk(step, 1), np.int32(1))
        found.append(named_leaves(jax.device_get(state.params)))
    return found


def moved(found, step, name):
    return {n: v - found[step - 1][n] for n, v in found[step].items() if n.startswith(name)}


def test_each_group_has_its_rate_and_the_schedule_scales_all():
    words = ("optim.learning_rate=0.01", "schedule.warmup_steps=2")  # half the rate at first
    plain = trained(*words, steps=1)
    own = trained(*words, "optim.groups={discriminator: {learning_rate: 0.05}}", steps=1)
    for name, factor in (("generator", 1), ("discriminator", 5)):
        for n, step in moved(plain, 1, name).items():
            np.testing.assert_allclose(moved(own, 1, name)[n], factor * step, rtol=1e-4, atol=1e-6, err_msg=n)


def test_group_with_every_n_skips_updates_and_moments():
    words = ("optim.learning_rate=0.1", "optim.groups={discriminator: {every: 2}}")
    found = trained(*words)
    for step, moves in ((1, True), (2, False), (3, True)):
        steps = moved(found, step, "discriminator").values()
        assert any(np.any(x) for x in steps) == moves, step
        assert any(np.any(x) for x in moved(found, step, "generator").values())


def test_group_may_have_another_optimizer():
    words = ("optim.learning_rate=0.01", "optim.groups={generator: {_target_: optax.sign_sgd}}")
    found = trained(*words, steps=1)
    for n, step in moved(found, 1, "generator").items():
        sizes = np.abs(step)
        np.testing.assert_allclose(sizes[sizes > 0], 0.01, rtol=1e-4, err_msg=n)


def test_unknown_group_and_wrong_argument_are_an_error():
    with pytest.raises(ConfigError, match=r"optim.groups.judge: not a part of the model; its parts: discr"):
        trained("optim.groups={judge: {every: 2}}", steps=0)
    with pytest.raises(ConfigError, match=r"optim.groups.generator.momentun: unknown"):
        trained("optim.groups={generator: {momentun: 0.5}}", steps=0)
    with pytest.raises(ConfigError, match=r"optim.groups.generator._target_=os.system: a config may name"):
        trained("optim.groups={generator: {_target_: os.system}}", steps=0)
    with pytest.raises(ConfigError, match=r"optim.groups=.*must be \{part of the model"):
        compose_words(*GAME, "optim.groups={generator: {every: 0}}")
