"""Generation of sequences with a model, token by token, in one compiled loop."""

from typing import Any

import jax
import jax.numpy as jnp

from dltrain.data.vocabulary import END, PAD, START
from dltrain.types import Array, Decoder


def generate(
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
    """Generate the tokens after `tokens`, int [B] -> int32 [B, length]; PAD follows the token `end`.

    Args:
        model: the decoder.
        cache: its state after all tokens before `tokens`.
        tokens: the last token of each sequence, not yet passed to the model.
        length: the maximum number of generated tokens.
        end: the token that ends a sequence; None: there is none.
        done: sequences to skip, bool [B].
        key: to sample each token; None: take the most likely one.
        temperature: above 0, divides the logits; only for sampling.
        top_k: sample from this many most likely tokens; None: from all.
    """
    count = len(tokens)
    done = jnp.zeros(count, bool) if done is None else done

    def unfinished(state: Any) -> Array:
        t, _, _, done, _ = state
        return (t < length) & ~done.all()

    def step(state: Any) -> Any:
        t, tokens, cache, done, generated = state
        logits, cache = model.decode(tokens, cache)
        logits = logits.astype(jnp.float32)
        if key is None:
            new = jnp.argmax(logits, -1)
        else:
            likely = logits if top_k is None else _likeliest(logits, top_k)
            new = jax.random.categorical(jax.random.fold_in(key, t), likely / temperature)
        new = jnp.where(done, PAD, new).astype(jnp.int32)
        done = done if end is None else done | (new == end)
        return t + 1, new, cache, done, generated.at[:, t].set(new)

    nothing = jnp.full((count, length), PAD, jnp.int32)
    state = (jnp.int32(0), tokens.astype(jnp.int32), cache, done, nothing)
    return jax.lax.while_loop(unfinished, step, state)[-1]


def generate_from(
    model: Any, inputs: Any, mask: Array, *, length: int, hidden: str | None, **options: Any
) -> Array:
    """Generate up to `length` tokens from each example, int32 [B, L]; options as in `generate`.

    The model does not get the input named `hidden`: the tokens that it generates.
    """
    known = {name: value for name, value in inputs.items() if name != hidden}
    first = jnp.full(len(mask), START, jnp.int32)
    return generate(model, model.begin(known, len(mask)), first, length=length, end=END, done=~mask, **options)


def generate_after(model: Decoder, prompts: Array, **options: Any) -> Array:
    """Read prompts, int [B, P] with P ≥ 1, and continue them, int32 [B, length]; options as in `generate`."""
    prompts = prompts.astype(jnp.int32)

    def read(cache: Any, tokens: Array) -> tuple[Any, None]:
        return model.decode(tokens, cache)[1], None

    cache, _ = jax.lax.scan(read, model.begin(None, len(prompts)), prompts[:, :-1].T)
    return generate(model, cache, prompts[:, -1], **options)


def _likeliest(logits: Array, count: int) -> Array:
    """Keep the `count` largest logits [B, V]; the others become -inf."""
    least = jax.lax.top_k(logits, min(count, logits.shape[-1]))[0][:, -1:]
    return jnp.where(logits < least, -jnp.inf, logits)
