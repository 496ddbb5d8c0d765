"""Models with initial values that need no compilation, and whole trainings."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dltrain import training
from dltrain.build.program import Program
from dltrain.engine.state import split_module
from dltrain.tree import path_name


@pytest.fixture(autouse=True)
def _quick(unoptimised):
    """They compare values."""


@pytest.fixture(scope="session")
def trained(dltrain):
    """Train from the command line, compiling training and evaluation once each; return the test metrics."""

    def run(folder, *words):
        made = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(training, "Program", lambda *args: made.append(Program(*args)) or made[-1])
            result = dltrain(*words, "quiet=true", f"output_dir={folder}")
        assert result.code == 0, result.err
        assert [made[0].chunk._cache_size(), made[0].evaluator.compilations] == [1, 1]
        return json.loads((folder / "summary.json").read_text(encoding="utf-8"))["test"]

    return run


@pytest.fixture
def filled():
    """Make a module from `make_model(rngs)` and fill it with NumPy: parameters of both signs, variances above 0."""

    def fill(make_model, dtype=None):
        rng = np.random.default_rng(0)
        graphdef, params, rest = nnx.split(nnx.eval_shape(lambda: make_model(nnx.Rngs(0))), nnx.Param, ...)
        params = jax.tree.map(lambda s: rng.normal(0, 0.4, s.shape).astype(s.dtype), params)
        rest = jax.tree.map(lambda s: rng.uniform(0.5, 1.5, s.shape).astype(s.dtype), rest)
        if dtype is not None:
            params, rest = (jax.tree.map(dtype, tree) for tree in (params, rest))
        return nnx.merge(graphdef, params, rest)

    return fill


@pytest.fixture
def called():
    """Call a model in one compiled program, in the mode it is in: its outputs, and its state afterwards."""

    def call(model, inputs, *, mask=None, seed=0):
        graphdef, state = nnx.split(model)
        return compiled(graphdef, state, inputs, mask, seed)

    @partial(jax.jit, static_argnums=(0, 4))  # again with these shapes, it is compiled no more
    def compiled(graphdef, state, inputs, mask, seed):
        copy = nnx.merge(graphdef, state, copy=True)
        return copy(inputs, mask=mask, rngs=nnx.Rngs(dropout=seed)), nnx.state(copy)

    return call


@pytest.fixture
def differentiated(quick):
    """Call a model in the mode it is in: its outputs, and the gradients of the sum of their squares."""

    def run(model, inputs):
        graphdef, params, rest = split_module(model)
        rest = jax.tree.map(jnp.asarray, rest)  # batch norm writes into what it is given

        def loss(params):
            outputs = nnx.merge(graphdef, params, rest, copy=True)(inputs, mask=None, rngs=nnx.Rngs(dropout=0))
            return (outputs**2).sum(), outputs

        gradients, outputs = jax.jit(jax.grad(loss, has_aux=True), compiler_options=quick)(params)
        return outputs, gradients

    return run


@pytest.fixture
def equals_torch(differentiated, close):
    """Compare outputs and gradients in float64 with those of `in_torch(params, x)`, x [B, C, H, W]."""
    torch = pytest.importorskip("torch", reason="PyTorch is the reference: pip install '.[reference]'")

    def check(model, x, in_torch):
        outputs, gradients = differentiated(model, x.astype(np.float64))
        params = split_module(model)[1]
        params = jax.tree.map(lambda p: torch.tensor(np.array(p), dtype=torch.float64, requires_grad=True), params)
        expected = in_torch(params, torch.tensor(x, dtype=torch.float64).permute(0, 3, 1, 2))
        expected.square().sum().backward()
        close(outputs, expected.detach().numpy())
        (paths, found), theirs = paths_and_leaves(gradients), [p.grad.numpy() for p in jax.tree.leaves(params)]
        largest = max(np.abs(g).max() for g in theirs)
        for path, ours, grad in zip(paths, found, theirs, strict=True):
            if np.abs(grad).max() < 1e-12 * largest:  # zero but for rounding: a bias before batch norm
                assert np.abs(ours).max() < 1e-12 * largest, path
            else:
                close(ours, grad, path)

    return check


def paths_and_leaves(tree):
    found = jax.tree_util.tree_flatten_with_path(tree)[0]
    return [path_name(path) for path, _ in found], [leaf for _, leaf in found]


@pytest.fixture
def close():
    """Check that arrays agree to 1e-5 of the largest expected magnitude."""

    def check(found, expected, where=""):
        expected = np.asarray(expected)
        assert found.shape == expected.shape, where
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max(), err_msg=where)

    return check
