"""One update: a pure function (state, batch) -> (state, logs)."""

import functools
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from dltrain.data.preprocess import Preprocess
from dltrain.devices.precision import FLOAT32, Precision
from dltrain.engine import averages
from dltrain.engine.named import computing
from dltrain.engine.numbers import filled
from dltrain.engine.padding import fill_padding
from dltrain.engine.state import Graphs, OptimizerFactory, TrainState, split_module
from dltrain.engine.stateful import with_progress
from dltrain.ops import dense, divided
from dltrain.optimizers.extras import ELSEWHERE, extras, needs
from dltrain.optimizers.rules import decayed
from dltrain.tree import Tree, like, norm, widened
from dltrain.types import Array, Batch, is_zero

Logs = dict[str, Array]
"""Scalars of one step, float32 []; always the same names."""

Augment = Callable[[Batch, Array, Array], Batch]
"""(batch, key, number of remaining planned steps, including this one) -> batch."""


@dataclass(frozen=True)
class Objective:
    """The minimised function: the loss over the valid examples, and penalties on the kernels."""

    loss: Callable[[Any, Batch], Any]  # -> [B], [B, L] or a dict of these
    reduction: str = "mean"
    l1: float | Array = 0.0  # not zero if traced
    l2: float | Array = 0.0

    def __call__(self, outputs: Any, batch: Batch, params: Tree, *, of: Batch | None = None) -> dict[str, Array]:
        """Return the named terms of the loss, each a scalar; their sum is minimised.

        If `batch` is a microbatch of `of`, the terms of all microbatches add up to those of the whole batch, and
        penalties are left out.
        """
        terms: dict[str, Array] = {}
        for name, values in named_values(self.loss(outputs, batch)).items():
            total, weight = weighted_sum(values, batch)
            if of is not None:
                shape = (len(of["mask"]), *values.shape[1:])
                weight = weight_of(jax.ShapeDtypeStruct(shape, values.dtype), of)
            terms[name] = total / jnp.maximum(weight, 1e-12) if self.reduction == "mean" else total
        return terms if of is not None else {**terms, **self.penalties(params)}

    def penalties(self, params: Tree) -> dict[str, Array]:
        """Return the terms that depend on the parameters alone."""
        terms: dict[str, Array] = {}
        if not (is_zero(self.l1) and is_zero(self.l2)):
            chosen = jax.tree.map(lambda w, yes: [w] if yes else [], widened(params), decayed(params))
            kernels = jax.tree.leaves(chosen)
            if not is_zero(self.l1):
                terms["l1"] = self.l1 * optax.tree.norm(kernels, ord=1)
            if not is_zero(self.l2):
                terms["l2"] = 0.5 * self.l2 * optax.tree.norm(kernels, squared=True)
        return terms


def named_values(values: Any) -> dict[str, Array]:
    """Return the values of a loss by name; a single array has the name `loss`."""
    return dict(values) if isinstance(values, Mapping) else {"loss": values}


def value_weights(values: Array | jax.ShapeDtypeStruct, batch: Batch) -> Array:
    """Return the weight of each value, [B], [B, L] or [B, H, W]: mask times example weight times loss mask."""
    weights = batch["mask"].astype(values.dtype)
    if "weights" in batch:
        weights = weights * batch["weights"].astype(values.dtype)
    if values.ndim == 1:
        return weights
    loss_mask = batch.get("loss_mask", jnp.ones(values.shape, bool))
    if loss_mask.shape != values.shape:
        raise ValueError(
            f"a loss must return a value per example, [B], or per position, {loss_mask.shape}; found {values.shape}"
        )
    return weights.reshape((-1,) + (1,) * (values.ndim - 1)) * loss_mask.astype(values.dtype)


def weighted_sum(values: Array, batch: Batch) -> tuple[Array, Array]:
    """Return (sum of weighted values, sum of weights); values of masked examples are ignored, also NaN."""
    if values.shape[:1] != batch["mask"].shape:
        raise ValueError(f"a loss must return one value per example, {batch['mask'].shape}; found {values.shape}")
    return weighted(values, batch).sum(), weight_of(values, batch)


def weighted(values: Array, batch: Batch) -> Array:
    """Return the values times their weights, 0 for those of masked examples, also NaN."""
    weights = value_weights(values, batch)
    return jnp.where(weights > 0, values * weights, 0)


def weight_of(values: Array | jax.ShapeDtypeStruct, batch: Batch) -> Array:
    """Return the sum of the weights of the values.

    On several devices the number of valid examples is known to each from the mask: nothing is exchanged for it.
    """
    if divided.is_sharded() and "weights" not in batch and (values.ndim == 1 or "loss_mask" not in batch):
        each = math.prod(values.shape[1:])
        return (divided.whole(batch["mask"]).sum() * each).astype(values.dtype)
    return value_weights(values, batch).sum()


def make_gradients(
    graphs: Graphs,
    objective: Objective,
    precision: Precision,
    accumulate: int,
) -> Callable[[Tree, Tree, Batch, Array], tuple[dict[str, Array], Any, Tree, Tree]]:
    """Make `(params, model_state, batch, key) -> (terms of the loss, outputs, model_state, gradients)`.

    With `accumulate` = n above 1 the batch is processed in n microbatches, one after the other, in less memory.
    Sums and counts are added, so that loss and gradients are those of the whole batch, wherever its padding is;
    batch norm gets the microbatches one by one, and dropout has a key for each.
    """

    def minimised(params: Tree, model_state: Tree, batch: Batch, key: Array, of: Batch | None) -> tuple[Array, Any]:
        model = nnx.merge(graphs.train, precision.cast_to_compute(params), model_state, copy=True)
        inputs = precision.cast_to_compute(batch["inputs"])
        dense.use_in(model)
        with filled(model, graphs.numbers):
            outputs = precision.cast_to_output(model(inputs, mask=batch["mask"], rngs=nnx.Rngs(dropout=key)))
        terms = objective(outputs, batch, params, of=of)
        new_model_state = like(split_module(model)[2], model_state)
        return functools.reduce(operator.add, terms.values()), (terms, outputs, new_model_state)

    differentiated = jax.value_and_grad(minimised, has_aux=True)

    def whole(params: Tree, model_state: Tree, batch: Batch, key: Array) -> Any:
        (_, (terms, outputs, model_state)), grads = differentiated(params, model_state, batch, key, None)
        return terms, outputs, model_state, grads

    def in_microbatches(params: Tree, model_state: Tree, batch: Batch, key: Array) -> Any:
        def present(model_state: Tree, microbatch: Batch, key: Array) -> Any:
            (_, (terms, outputs, model_state)), grads = differentiated(params, model_state, microbatch, key, batch)
            return terms, outputs, model_state, widened(grads)

        microbatches = {name: jax.tree.map(lambda x: _dealt(x, accumulate), value) for name, value in batch.items()}
        shapes = jax.eval_shape(present, model_state, jax.tree.map(lambda x: x[0], microbatches), key)
        nothing = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

        def absent(
            model_state: Tree, microbatch: Batch, key: Array
        ) -> Any:  # batch norm without examples would be NaN
            terms, outputs, _, grads = nothing
            return terms, outputs, model_state, grads

        def one(carry: Any, given: Any) -> Any:
            model_state, sums = carry
            i, microbatch = given
            valid = microbatch["mask"].any()
            terms, outputs, model_state, grads = jax.lax.cond(
                valid, present, absent, model_state, microbatch, jax.random.fold_in(key, i)
            )
            return (model_state, jax.tree.map(jnp.add, sums, (terms, grads))), outputs

        begin = (model_state, (nothing[0], nothing[3]))
        (model_state, (terms, grads)), outputs = jax.lax.scan(one, begin, (jnp.arange(accumulate), microbatches))
        if penalties := objective.penalties(params):
            own = jax.grad(lambda params: functools.reduce(operator.add, objective.penalties(params).values()))(
                params
            )
            terms, grads = {**terms, **penalties}, jax.tree.map(jnp.add, grads, own)
        return terms, jax.tree.map(_collected, outputs), model_state, like(grads, params)

    return whole if accumulate == 1 else in_microbatches


def _dealt(x: Array, microbatches: int) -> Array:
    """Split into microbatches, [B, ...] -> [n, B / n, ...], so that each device has a share of every one."""
    return x.reshape(-1, microbatches, *x.shape[1:]).swapaxes(0, 1)


def _collected(x: Array) -> Array:
    return x.swapaxes(0, 1).reshape(-1, *x.shape[2:])


def prepare(batch: Batch, state: TrainState, preprocess: Preprocess, augment: Augment) -> tuple[Batch, Array]:
    """Scale and augment the batch of the next step of the state, and derive the key of the model."""
    augment_key, model_key = jax.random.split(jax.random.fold_in(state.key, state.step))
    left = state.hparams["total_steps"] - state.step
    return augment(preprocess.scaled(batch), augment_key, left), model_key


def make_step(
    *,
    graphs: Graphs,
    objective: Objective,
    optimizer: OptimizerFactory,
    schedule: Callable[[Array, Array], Array],
    preprocess: Preprocess,
    augment: Augment,
    metrics: Mapping[str, Callable[[Array, Batch], Array]],
    log_every: int,
    skip_nonfinite: bool = False,
    precision: Precision = FLOAT32,
    accumulate: int = 1,
    ema: float | Array | None = None,
    log_change: bool = False,
    sharded: bool = False,
) -> Callable[[TrainState, Batch], tuple[TrainState, Logs]]:
    """Make the step from its parts.

    `metrics` are means over the examples of the batch, whose number is in the logs, too. The norm of the
    parameters is computed only for logged steps. The logs also tell whether the loss and all gradients were
    finite: if not, the state is returned unchanged and inactive; with `skip_nonfinite` it stays active and only
    its step is counted. Steps in `left_out` are counted, and count as finite. `accumulate` is the number of
    microbatches per batch, `ema` the decay of the EMA of the weights. With `log_change` the logs have the norm of
    the change of the parameters. `sharded`: batches are divided over devices. An optimizer that evaluates the loss
    at other parameters uses the same batch, keys and batch statistics.
    """
    gradients = make_gradients(graphs, objective, precision, accumulate)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Logs]:
        raw = fill_padding(batch, sharded=sharded)
        batch, model_key = prepare(raw, state, preprocess, augment)
        before = with_progress(state.model_state, state.step, state.hparams["total_steps"])
        terms, outputs, model_state, grads = gradients(state.params, before, batch, model_key)
        loss = functools.reduce(operator.add, terms.values())
        gradient_norm = norm(grads)
        finite = jnp.isfinite(loss) & jnp.isfinite(gradient_norm)
        followed = {name: state.hparams[name] for name in ("scale",) if name in state.hparams}
        factor = schedule(state.step, state.hparams["total_steps"], **followed)
        learning_rate = state.hparams["learning_rate"] * factor
        hparams = {**state.hparams, "learning_rate": learning_rate, "step": state.step}

        def elsewhere(params: Tree) -> tuple[Array, Tree]:
            terms, _, _, grads = gradients(params, before, batch, model_key)
            return functools.reduce(operator.add, terms.values()), grads

        def update(state: TrainState) -> TrainState:
            transform = optimizer(hparams)
            more = extras(transform, loss, grads, elsewhere)
            updates, opt_state = transform.update(grads, state.opt_state, state.params, **more)
            params = optax.apply_updates(state.params, updates)
            kept = like((params, opt_state), (state.params, state.opt_state))
            means = state.ema
            if ema is not None:
                means = averages.after(means, kept[0], model_state, decay=ema, count=state.updates + 1)
            done = {"step": state.step + 1, "updates": state.updates + 1}
            return replace(state, **done, params=kept[0], model_state=model_state, opt_state=kept[1], ema=means)

        def batch_metrics() -> dict[str, Any]:
            measured = preprocess.metric_outputs(outputs)
            seen = preprocess.metric_batch(raw, batch)
            means: dict[str, Any] = {}
            for name, metric in metrics.items():
                with computing(f"metrics.{name}"):
                    values = metric(measured, seen).astype(jnp.float32)
                    mean = _Mean(weighted(values, seen), weight_of(values, seen))
                    means[name] = mean if sharded else mean.value
            return means

        logged = (state.step + 1) % log_every == 0
        # Both branches compute the metrics: outside of a branch, XLA could fuse them with the gradients, whose bits
        # would then depend on the metrics. On several devices only their sums are outside: XLA sends those together
        # with the gradients, but never what is in a branch.
        found, parameter_norm = jax.lax.cond(
            logged,
            lambda: (batch_metrics(), norm(state.params)),
            lambda: (batch_metrics(), jnp.zeros((), jnp.float32)),
        )
        extra = {name: mean.value if isinstance(mean, _Mean) else mean for name, mean in found.items()}
        extra["parameter_norm"] = parameter_norm

        left_out = (state.left_out == state.step + 1).any()
        counted = state.active & (left_out | skip_nonfinite)  # counted without an update

        def refuse(state: TrainState) -> TrainState:
            return replace(state, step=state.step + counted, active=counted)

        # No norm is below 0: this only orders the update after all reads of the old parameters. Otherwise XLA
        # copies every kernel in every step before it overwrites it (2 to 6 % of the time of an MLP 784-512-512-10).
        read = ~(extra["parameter_norm"] < 0)
        done = finite & state.active & ~left_out & read
        new = jax.lax.cond(done, update, refuse, state)
        if needs(optimizer(hparams)) & set(ELSEWHERE):  # the loss there may not be finite either
            sound = jnp.isfinite(norm(new.params))
            new, finite, done = (
                jax.lax.cond(sound, lambda: new, lambda: refuse(state)),
                finite & sound,
                done & sound,
            )
        fine = finite | left_out
        logs = {"loss": loss, "learning_rate": learning_rate, "gradient_norm": gradient_norm, "finite": fine}
        logs["examples"] = batch["mask"].sum()
        if log_change:
            change = norm(jax.tree.map(jnp.subtract, widened(new.params), widened(state.params)))
            logs["change"] = jnp.where(done, change, jnp.inf)
        parts = {f"loss/{n}": v for n, v in terms.items()} if len(terms) > 1 else {}
        return new, {n: v.astype(jnp.float32) for n, v in {**logs, **parts, **extra}.items()}

    return step


class _Mean(NamedTuple):
    """A mean that is still to be computed."""

    values: Array  # times their weights, [B, ...]
    weight: Array  # the sum of these, []

    @property
    def value(self) -> Array:
        return self.values.sum() / jnp.maximum(self.weight, 1e-12)
