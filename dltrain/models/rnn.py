"""Recurrent networks over a sequence, a text, or the rows of an image: plain, LSTM and GRU."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import jax.numpy as jnp
from flax import nnx

from dltrain import initializers
from dltrain.models.layers import Dropout, rematerialised
from dltrain.models.recurrent import GRULayer, LSTMLayer, RecurrentState, RNNLayer, State
from dltrain.models.steps import Embedding, Names, check_steps, max_of, mean_of
from dltrain.ops.recurrent import Squash
from dltrain.ranges import BelowOne, Finite, Size, Traced
from dltrain.tasks import Level
from dltrain.types import Array, Initializer, Kind, Spec


class Pooling(StrEnum):
    """How the hidden states of all steps become one vector."""

    LAST = "last"  # the last state of each direction
    MEAN = "mean"
    MAX = "max"


class Recurrent(nnx.Module):
    """Layers over a sequence, stacked and in one or both directions.

    [B, L, F], tokens [B, L] or images [B, H, W, C] -> [B, outputs]; of a language model [B, L, V].

    The common base class of `RNN`, `LSTM` and `GRU`.
    """

    def __init__(
        self,
        layer: Callable[..., Any],
        hidden: int,
        *,
        spec: Spec,
        rngs: nnx.Rngs,
        layers: int,
        bidirectional: bool,
        pool: Pooling,
        embedding: int,
        dropout: float,
        remat: bool,
        stateful: bool,
        embedding_init: Initializer,
        head_init: Initializer,
        bias_init: Initializer,
        **options: Any,
    ) -> None:
        """Build the output, and the layers, each by `layer(features, hidden, rngs=, bias_init=, **options)`.

        Args:
            layer: class of the layers; called with x [B, L, F], a layer returns all states and the last `State`.
            hidden: units of each layer and direction.
            spec: features and task of the data; an image is read as a sequence of its rows.
            rngs: for the initial values.
            layers: number of stacked layers.
            bidirectional: also read from the end; the outputs of both directions are concatenated.
            pool: how the states of all steps become one vector; a language model predicts at each step.
            embedding: size of a token embedding, where the data is tokens.
            dropout: probability of dropping a unit between layers and before the output.
            remat: recompute the values inside each layer in the backward pass instead of storing them.
            stateful: start a window from the final state of the window before it, if that one was in the same place
                of the last batch; gradients stop there.
            embedding_init: initial token embeddings.
            head_init: initial weights of the output.
            bias_init: initial biases of the layers (not of an LSTM's forget gates) and of the output.
            **options: further arguments of this kind of layer.
        """
        check_steps(spec)
        self.names = Names.of(spec)
        self.at_each_step = spec.task.level is Level.STEP
        if bidirectional and self.at_each_step:
            raise ValueError("bidirectional=true would see the next token, which is the target; set it to false")
        if stateful and bidirectional:
            raise ValueError(
                "bidirectional=true starts at the end of a window, so it does not go with stateful=true; choose one"
            )
        if stateful and spec.find(Kind.POSITION) is None:
            raise ValueError("stateful=true: the examples of this data do not continue one another")
        tokens = spec.input.kind is Kind.TOKENS
        table = len(spec.input.vocabulary), embedding
        self.embedding = Embedding(*table, rngs=rngs, init=embedding_init) if tokens else None
        first = embedding if tokens else spec.input.size // spec.input.shape[0]
        options |= {"rngs": rngs, "bias_init": bias_init}
        features = [first] + [hidden * (1 + bidirectional)] * layers
        self.forward = nnx.List([layer(f, hidden, **options) for f in features[:-1]])
        backward = features[:-1] if bidirectional else []
        self.backward = nnx.List([layer(f, hidden, **options) for f in backward])
        self.dropout = Dropout(dropout)
        self.head = nnx.Linear(features[-1], spec.outputs, kernel_init=head_init, bias_init=bias_init, rngs=rngs)
        self.pool, self.remat = pool, remat
        self.recurrent_state = RecurrentState(layers, self.forward[0].remembers, hidden) if stateful else None

    def __call__(self, inputs: Any, *, mask: Array | None, rngs: nnx.Rngs | None) -> Array:
        """Return the outputs, float [B, outputs] or [B, L, V]."""
        steps, valid = self.names.read(inputs)
        x = self._embedded(steps)
        before = self.recurrent_state.before(inputs[self.names.position], x.dtype) if self.recurrent_state else None
        states, (last, after) = self._read(x, valid, before, rngs)
        if self.recurrent_state:
            self.recurrent_state.store(after, inputs[self.names.position] + steps.shape[1], mask)
        if not self.at_each_step:
            match self.pool:
                case Pooling.LAST:
                    states = last
                case Pooling.MEAN:
                    states = mean_of(states, valid)
                case Pooling.MAX:
                    states = max_of(states, valid)
        return self.head(self.dropout(states, rngs=rngs))

    def begin(self, inputs: Any, count: int) -> list[State]:
        """Return the cache before the first token, zeros; see `dltrain.types.Decoder`."""
        del inputs
        zeros = jnp.zeros((count, self.head.kernel.shape[0]), self.head.kernel.dtype)
        return [(zeros,) * layer.remembers for layer in self.forward]

    def decode(self, tokens: Array, cache: list[State]) -> tuple[Array, list[State]]:
        """Take the next tokens, int [B], and return the logits [B, V] of those after them, and the cache."""
        states, (_, cache) = self._read(self._embedded(tokens[:, None]), None, cache, None)
        return self.head(states[:, 0]), cache

    def _embedded(self, steps: Array) -> Array:
        return self.embedding(steps) if self.embedding else steps.reshape(*steps.shape[:2], -1)

    def _read(
        self, x: Array, valid: Array | None, cache: list[State] | None, rngs: nnx.Rngs | None
    ) -> tuple[Array, tuple[Array, list[State]]]:
        """Return the top layer's states [B, L, H], its last one [B, H], and every forward layer's last state.

        The backward layer keeps its zero state through the padding of a shorter example.
        """

        def one(layer: Any, x: Array, mask: Array | None, initial: State | None) -> tuple[Array, State]:
            return layer(x, mask=mask, initial=initial)

        # Only training has a backward pass, and remat does not work in a decoding loop.
        read, states = rematerialised(one, self.remat and rngs is not None), []
        for i, forward in enumerate(self.forward):
            x = x if i == 0 else self.dropout(x, rngs=rngs)
            below, (x, state) = x, read(forward, x, valid, cache[i] if cache else None)
            last = state[-1]
            states.append(state)
            if self.backward:
                mask = None if valid is None else valid[:, ::-1]
                reverse, first = read(self.backward[i], below[:, ::-1], mask, None)
                x, last = jnp.concatenate([x, reverse[:, ::-1]], -1), jnp.concatenate([last, first[-1]], -1)
        return x, (last, states)


class RNN(Recurrent):
    """The plain recurrent network (Elman 1990), arguments as of `Recurrent`."""

    def __init__(
        self,
        hidden: Size = 128,
        *,
        spec: Spec,
        rngs: nnx.Rngs,
        layers: Size = 1,
        bidirectional: bool = False,
        pool: Pooling = Pooling.LAST,
        embedding: Size = 64,
        dropout: Traced[BelowOne] = 0.0,
        activation: Squash = Squash.TANH,
        kernel_init: Initializer = initializers.glorot_uniform(),
        recurrent_init: Initializer = initializers.orthogonal(),
        embedding_init: Initializer = initializers.normal(0.02),
        head_init: Initializer = initializers.lecun_normal(),
        bias_init: Initializer = initializers.zeros(),
        remat: bool = False,
        stateful: bool = False,
    ) -> None:
        """Build the layers; `activation` is tanh or relu."""
        super().__init__(
            RNNLayer,
            hidden,
            spec=spec,
            rngs=rngs,
            layers=layers,
            bidirectional=bidirectional,
            pool=pool,
            embedding=embedding,
            dropout=dropout,
            remat=remat,
            stateful=stateful,
            activation=activation,
            kernel_init=kernel_init,
            recurrent_init=recurrent_init,
            embedding_init=embedding_init,
            head_init=head_init,
            bias_init=bias_init,
        )


class LSTM(Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber 1997), arguments as of `Recurrent`."""

    def __init__(
        self,
        hidden: Size = 128,
        *,
        spec: Spec,
        rngs: nnx.Rngs,
        layers: Size = 1,
        bidirectional: bool = False,
        pool: Pooling = Pooling.LAST,
        embedding: Size = 64,
        dropout: Traced[BelowOne] = 0.0,
        forget_bias: Finite = 1.0,
        kernel_init: Initializer = initializers.glorot_uniform(),
        recurrent_init: Initializer = initializers.orthogonal(),
        embedding_init: Initializer = initializers.normal(0.02),
        head_init: Initializer = initializers.lecun_normal(),
        bias_init: Initializer = initializers.zeros(),
        remat: bool = False,
        stateful: bool = False,
    ) -> None:
        """Build the layers; `forget_bias` is the initial bias of the forget gates."""
        super().__init__(
            LSTMLayer,
            hidden,
            spec=spec,
            rngs=rngs,
            layers=layers,
            bidirectional=bidirectional,
            pool=pool,
            embedding=embedding,
            dropout=dropout,
            remat=remat,
            stateful=stateful,
            forget_bias=forget_bias,
            kernel_init=kernel_init,
            recurrent_init=recurrent_init,
            embedding_init=embedding_init,
            head_init=head_init,
            bias_init=bias_init,
        )


class GRU(Recurrent):
    """Gated recurrent units (Cho et al. 2014, in the form of cuDNN and PyTorch), arguments as of `Recurrent`."""

    def __init__(
        self,
        hidden: Size = 128,
        *,
        spec: Spec,
        rngs: nnx.Rngs,
        layers: Size = 1,
        bidirectional: bool = False,
        pool: Pooling = Pooling.LAST,
        embedding: Size = 64,
        dropout: Traced[BelowOne] = 0.0,
        kernel_init: Initializer = initializers.glorot_uniform(),
        recurrent_init: Initializer = initializers.orthogonal(),
        embedding_init: Initializer = initializers.normal(0.02),
        head_init: Initializer = initializers.lecun_normal(),
        bias_init: Initializer = initializers.zeros(),
        remat: bool = False,
        stateful: bool = False,
    ) -> None:
        """Build the layers."""
        super().__init__(
            GRULayer,
            hidden,
            spec=spec,
            rngs=rngs,
            layers=layers,
            bidirectional=bidirectional,
            pool=pool,
            embedding=embedding,
            dropout=dropout,
            remat=remat,
            stateful=stateful,
            kernel_init=kernel_init,
            recurrent_init=recurrent_init,
            embedding_init=embedding_init,
            head_init=head_init,
            bias_init=bias_init,
        )
