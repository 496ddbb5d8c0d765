"""Writing sequences with a model, token by token, in one compiled loop."""

from typing import Any

import jax
import jax.numpy as jnp

from dltrain.data.vocabulary import END, PAD, START
from dltrain.types import Array, Batch, Decoder


def write(
    model: Decoder,
    cache: Any,
    tokens: Array,
    *,
    length: int,
    end: int | None = None,
    done: Array | None = None,
    key: Array | None = None,
    temperature: Array | float = 1.0,
    top_k: int | None = None,
) -> Array:
    """Write on from `tokens`, int [B] -> int32 [B, length]; PAD follows the token `end`.

    Args:
        model: what writes.
        cache: what it remembers of all before `tokens`.
        tokens: the last token of each row, not yet given to the model.
        length: how many tokens to write at most.
        end: the token after which a row is finished; None: there is none.
        done: rows that need no writing, bool [B].
        key: to draw each token by its probability; None: the likeliest is taken.
        temperature: above 0, divides the logits; only where tokens are drawn.
        top_k: draw among so many of the likeliest tokens; None: among all.
    """
    count = len(tokens)
    done = jnp.zeros(count, bool) if done is None else done

    def unfinished(state: Any) -> Array:
        t, _, _, done, _ = state
        return (t < length) & ~done.all()

    def step(state: Any) -> Any:
        t, tokens, cache, done, written = state
        logits, cache = model.decode(tokens, cache)
        logits = logits.astype(jnp.float32)
        if key is None:
            new = jnp.argmax(logits, -1)
        else:
            likely = logits if top_k is None else _likeliest(logits, top_k)
            new = jax.random.categorical(jax.random.fold_in(key, t), likely / temperature)
        new = jnp.where(done, PAD, new).astype(jnp.int32)
        done = done if end is None else done | (new == end)
        return t + 1, new, cache, done, written.at[:, t].set(new)

    nothing = jnp.full((count, length), PAD, jnp.int32)
    state = (jnp.int32(0), tokens.astype(jnp.int32), cache, done, nothing)
    return jax.lax.while_loop(unfinished, step, state)[-1]


def write_about(model: Any, inputs: Any, batch: Batch, *, hidden: str | None, **options: Any) -> Array:
    """Write about the rows of a batch, int32 [B, L], L as of its targets; options as of `write`.

    The model is not given the input named `hidden`: those are the tokens that it is to generate.
    """
    known = {name: value for name, value in inputs.items() if name != hidden}
    count, length = batch["targets"].shape
    first = jnp.full(count, START, jnp.int32)
    return write(model, model.begin(known, count), first, length=length, end=END, done=~batch["mask"], **options)


def write_on(model: Decoder, prompts: Array, **options: Any) -> Array:
    """Read prompts, int [B, P] with P ≥ 1, and write what follows, int32 [B, length]; options as of `write`."""
    prompts = prompts.astype(jnp.int32)

    def read(cache: Any, tokens: Array) -> tuple[Any, None]:
        return model.decode(tokens, cache)[1], None

    cache, _ = jax.lax.scan(read, model.begin(None, len(prompts)), prompts[:, :-1].T)
    return write(model, cache, prompts[:, -1], **options)


def _likeliest(logits: Array, count: int) -> Array:
    """Leave the `count` largest of each row, [B, V]; the others become -inf."""
    least = jax.lax.top_k(logits, min(count, logits.shape[-1]))[0][:, -1:]
    return jnp.where(logits < least, -jnp.inf, logits)
