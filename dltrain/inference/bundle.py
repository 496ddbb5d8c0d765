"""A trained model with everything needed to use it, without training data and config.

`dltrain.inference.open` builds a bundle from a running program and its state, or from a run folder.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import numpy as np
from flax import nnx

from dltrain.data.encoders import encoder_for
from dltrain.data.preprocess import Preprocess
from dltrain.data.preprocess.pipeline import array_spec
from dltrain.data.vocabulary import as_text
from dltrain.devices.precision import Precision
from dltrain.engine.state import Graphs
from dltrain.engine.step import Objective
from dltrain.errors import ConfigError
from dltrain.inference import query
from dltrain.inference.abilities import draws_samples, generates_from_inputs, generates_text
from dltrain.inference.evaluation import GivenEvaluator
from dltrain.inference.given import batches, given_inputs, given_targets
from dltrain.inference.predictions import Predictions
from dltrain.inference.query import Query
from dltrain.tree import Tree
from dltrain.types import Batch, Kind, Spec

CHUNK = 1000  # examples generated from noise at once
TOKENS = 200  # default number of tokens that a language model adds
TEMPERATURE = 0.8  # default of a language model
AHEAD = 2  # batches that the device may be ahead of the host
LARGEST_BATCH, BATCH_BYTES = 2048, 1 << 20  # examples and bytes of inputs in a batch of predictions


@dataclass(frozen=True, eq=False)
class Bundle:
    """Module, weights, spec and fitted preprocessing of a trained model.

    Attributes:
        spec: the features after preprocessing, as the model takes them.
        raw_spec: the features as the data set has them.
        preprocess: the fitted steps between the two.
        module: the model, with shapes instead of arrays.
        graphs: its static halves, for training and for evaluation.
        params: the weights to evaluate; with an EMA, the averaged ones.
        model_state: variables that are not trained, such as batch statistics.
        precision: the dtypes that the model computes in.
        objective: the loss.
        metrics: the metrics that `evaluate` returns besides the loss.
        batch_size: examples per batch.
    """

    spec: Spec
    raw_spec: Spec
    preprocess: Preprocess
    module: nnx.Module
    graphs: Graphs
    params: Tree
    model_state: Tree
    precision: Precision
    objective: Objective
    metrics: Mapping[str, Any]
    batch_size: int

    @property
    def model(self) -> nnx.Module:
        """A flax module with the weights to evaluate, in eval mode; it takes preprocessed inputs."""
        return nnx.merge(self.graphs.eval, self.params, self.model_state, copy=True)

    def outputs(self, inputs: Any, *, batch_size: int | None = None) -> Any:
        """Return the model's outputs, [N, ...] or a dict of them, in the units of the data.

        Args:
            inputs: raw examples [N, ...]; of several features a dict by name.
            batch_size: examples per batch, instead of that of evaluation.
        """
        settings = (("finish", self.preprocess.outputs),)
        return self._query_inputs(query.outputs, inputs, settings, batch_size=batch_size)

    def predict(self, inputs: Any) -> Predictions:
        """Return what the model predicts for examples as people have them.

        Args:
            inputs: of a table a data frame (polars, pandas), columns by name, or a list of dicts; a list of texts;
                a list of images (PIL, paths of files, bytes of files) or uint8 [N, H, W, C]; or raw arrays
                [N, ...], of several features a dict by name.

        Raises:
            DataError: a column is missing, or a value cannot be read; names it.
            ConfigError: this model generates, and predicts nothing.
        """
        return Predictions(self.decisions(inputs), self.raw_spec)

    def decisions(self, inputs: Any) -> dict[str, np.ndarray]:
        """Return what the outputs mean, by name, [N, ...] each, see `Task.decide`; arguments as for `predict`."""
        self.check_predicts()
        size = self.prediction_batch
        return self._query_inputs(query.decisions, self.encode(inputs), self.decided, batch_size=size)

    def compiled_decisions(self, batch: Batch) -> dict[str, Any]:
        """Return the decisions of one batch that `prepared` arrays were cut into, as device arrays."""
        return self._query(query.decisions, batch, self.decided)

    def prepared(self, inputs: Any) -> Any:
        """Return the arrays that enter the compiled program, checked: those of `encode` after the host halves."""
        return given_inputs(self.encode(inputs), self.array_spec, self.preprocess)

    def encode(self, inputs: Any) -> Any:
        """Turn examples as people have them into the arrays of the inputs, as the data of the run has them.

        The arrays are those before the host halves of the preprocessing; arrays stay as they are.
        """
        return self.encoder.encode(inputs) if self.encoder else inputs

    @cached_property
    def encoder(self) -> Any:
        """What turns records into arrays: that of the run, or one that follows from the features; None for none."""
        return self.preprocess.encoder or encoder_for(self.raw_spec)

    def check_predicts(self, command: str = "predict") -> None:
        """Raise ConfigError for a model that generates texts or examples; `command` is who needs predictions."""
        spec, module = self.spec, self.module
        if draws_samples(module) or generates_text(spec, module) or generates_from_inputs(spec, module):
            raise ConfigError(
                f"{command}: a model of task={spec.task} generates texts or examples, and predicts nothing; use "
                f"dltrain generate, or in Python {'sample' if draws_samples(module) else 'generate'}"
            )

    @property
    def prediction_batch(self) -> int:
        """Examples per batch of predictions: small ones are taken together, since each batch has a fixed cost."""
        size = sum(feature.size * np.dtype(feature.dtype).itemsize for feature in self.array_spec.inputs.values())
        return max(self.batch_size, min(LARGEST_BATCH, BATCH_BYTES // max(1, size)))

    @cached_property
    def decided(self) -> tuple[tuple[str, Any], ...]:
        """The settings of the query of decisions."""
        return (("finish", self.preprocess.outputs), ("decide", partial(self.spec.task.decide, spec=self.spec)))

    def evaluate(self, inputs: Any, targets: Any, **for_loss: Any) -> dict[str, Any]:
        """Return the loss and each metric on these examples: name -> number, or array (a confusion matrix).

        For the examples of a split, the values equal those that the run reported.

        Args:
            inputs: raw examples [N, ...]; of several features a dict by name.
            targets: their targets, [N, ...], in the form of the data.
            **for_loss: `weights [N]` or `loss_mask [N, L]`, if the training data has them.
        """
        inputs = given_inputs(inputs, self.array_spec, self.preprocess)
        arrays = {"inputs": inputs, **given_targets(targets, for_loss, self.array_spec)}
        evaluation = self._evaluation(self.params, self.model_state, arrays)
        return {**evaluation.scalars, **evaluation.arrays}

    def generate(
        self,
        inputs: Any = None,
        *,
        prompt: str | None = None,
        tokens: int = TOKENS,
        temperature: float | None = None,
        top_k: int | None = None,
        count: int = 1,
        seed: int = 0,
    ) -> list[str]:
        """Generate texts: from a prompt (a language model), or one for each example (an encoder-decoder).

        Args:
            inputs: raw examples for an encoder-decoder, [N, ...] or a list of texts.
            prompt: the text that a language model continues; None: the start of a line. The texts begin with it.
            tokens: number of tokens that a language model adds.
            temperature: 0 takes the most likely token each time, above 0 tokens are sampled. None: 0.8 for a
                language model, 0 for an encoder-decoder.
            top_k: sample from the k most likely tokens only; None: from all.
            count: number of texts that a language model generates.
            seed: the same seed gives the same texts.

        Raises:
            ConfigError: this model does not generate text, or takes other arguments.
        """
        words, module = self.spec.vocabulary, self.module
        if generates_text(self.spec, module) and inputs is None:
            temperature = TEMPERATURE if temperature is None else temperature
            prompts = np.tile(self.prompt_tokens(prompt), (count, 1))
            found = self.continue_tokens(prompts, length=tokens, top_k=top_k, **drawing(temperature, seed))
            return [(prompt or "") + "".join(words[i] for i in text) for text in found]
        if generates_from_inputs(self.spec, module) and inputs is not None and prompt is None:
            return [as_text(text, words) for text in self.decode(inputs, **drawing(temperature, seed))]
        if generates_text(self.spec, module) or generates_from_inputs(self.spec, module):
            takes = "a prompt" if generates_text(self.spec, module) else "inputs"
            raise ConfigError(f"generate: this model generates text from {takes}")
        raise ConfigError("generate: this model does not generate text" + "; use sample" * draws_samples(module))

    def prompt_tokens(self, prompt: str | None) -> np.ndarray:
        """Return the tokens of a prompt, int32 [P]; None or "" means the start of a line.

        Raises:
            ConfigError: a token is not in the vocabulary.
        """
        words = self.spec.vocabulary
        if not prompt:
            return np.array([words.index("\n") if "\n" in words else 0], np.int32)
        try:
            return np.asarray(self.preprocess.host({self.raw_spec.input_name: [prompt]})[self.raw_spec.input_name])[
                0
            ]
        except ConfigError as error:
            raise ConfigError(f"prompt: {error}") from error

    def decode(self, inputs: Any, **options: Any) -> np.ndarray:
        """Generate the tokens of an encoder-decoder, int32 [N, L]; options as in `engine.decode.generate`."""
        hidden = self.raw_spec.find(Kind.DECODER_TOKENS)
        settings = (("hidden", hidden), ("length", self.raw_spec.target.shape[0]))
        return self._query_inputs(query.decode, inputs, settings, options, without=hidden)

    def continue_tokens(
        self, prompts: np.ndarray, *, length: int, top_k: int | None = None, **options: Any
    ) -> np.ndarray:
        """Continue prompts, int [B, P] -> int32 [B, length]; options as in `engine.decode.generate`."""
        settings = (("length", length), ("top_k", top_k))
        return np.asarray(
            self._query(query.continue_prompts, {"inputs": prompts}, settings=settings, options=options)
        )

    def attention(self, inputs: Any) -> np.ndarray:
        """Return the attention weights of a model that has them, float32 [N, L] or [N, L generated, L]."""
        return self._query_inputs(query.attention, inputs)

    def sample(self, count: int, *, seed: int = 0) -> np.ndarray:
        """Generate examples from noise, [count, ...], in the units of the data."""
        root, samples = jax.random.key(seed), []
        for i in range(-(-count // CHUNK)):  # in parts, so that any count fits into memory
            key = jax.random.fold_in(root, i)
            part = query.draw(
                self.graphs.eval, self.precision, self.params, self.model_state, key, min(count, CHUNK)
            )
            samples.append(np.asarray(self.preprocess.raw_content(part)))
        return np.concatenate(samples)[:count]

    def _query(
        self, wanted: Query, raw: Batch, settings: tuple[Any, ...] = (), options: Mapping[str, Any] | None = None
    ) -> Any:
        how = (self.graphs.eval, self.preprocess, self.precision)
        return query.run_query(wanted, settings, *how, self.params, self.model_state, raw, dict(options or {}))

    def _query_inputs(
        self,
        wanted: Query,
        inputs: Any,
        settings: tuple[Any, ...] = (),
        options: Mapping[str, Any] | None = None,
        without: str | None = None,
        batch_size: int | None = None,
    ) -> Any:
        """Apply a query to the model with these inputs, a batch at a time; the device is a few batches ahead."""
        given = given_inputs(inputs, self.array_spec, self.preprocess, without=without)
        found, waiting = [], deque()
        for i, (batch, count) in enumerate(batches(given, batch_size or self.batch_size)):
            answer = self._query(wanted, batch, settings, _for_batch(dict(options or {}), i))
            waiting.append(jax.tree.map(lambda array, n=count: array[:n] if n < len(array) else array, answer))
            if len(waiting) > AHEAD:
                found.append(jax.tree.map(np.asarray, waiting.popleft()))
        found += [jax.tree.map(np.asarray, answer) for answer in waiting]
        return found[0] if len(found) == 1 else jax.tree.map(lambda *parts: np.concatenate(parts), *found)

    @cached_property
    def array_spec(self) -> Spec:
        """The features after the host part of the preprocessing."""
        return array_spec(self.raw_spec, self.preprocess)

    @cached_property
    def _evaluation(self) -> GivenEvaluator:
        return GivenEvaluator(
            self.array_spec,
            self.batch_size,
            graphs=self.graphs,
            loss=self.objective.loss,
            hidden=self.raw_spec.find(Kind.DECODER_TOKENS),
            metrics=self.metrics,
            preprocess=self.preprocess,
            precision=self.precision,
        )


def _for_batch(options: dict[str, Any], number: int) -> dict[str, Any]:
    """Give each batch except the first its own random key."""
    if number and "key" in options:
        return {**options, "key": jax.random.fold_in(options["key"], number)}
    return options


def drawing(temperature: float | None, seed: int) -> dict[str, Any]:
    """Return the options of `engine.decode.generate` that sample tokens; none for a temperature of 0 or None."""
    return {"key": jax.random.key(seed), "temperature": temperature} if temperature else {}
