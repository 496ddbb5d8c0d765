"""All augmentations of a run, and the steps at which they are off."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax

from dltrain.data.augment.mixing import probabilities
from dltrain.types import Array, Batch, Kind, Spec


@dataclass(frozen=True, eq=False)  # hashed by identity, so that it can be traced
class Chain:
    """`(batch, key, left) -> batch`; `left` is the number of remaining planned steps, including this one."""

    named: Mapping[str, Callable[[Batch, Array], Batch]]
    spec: Spec
    off_for: int = 0  # number of last steps without augmentation

    def __call__(self, batch: Batch, key: Array, left: Array) -> Batch:
        """Augment, or return the batch unchanged in the last `off_for` steps; one executable does both."""
        if not self.named or not self.off_for:
            return self.augmented(batch, key)
        return jax.lax.cond(left > self.off_for, self.augmented, self._unchanged, batch, key)

    def augmented(self, batch: Batch, key: Array) -> Batch:
        """Apply all augmentations; ValueError names the key of one that does not accept the batch."""
        if not self.named:
            return batch
        seen = self._seen(batch)
        for i, (name, one) in enumerate(self.named.items()):
            try:
                seen = one(seen, jax.random.fold_in(key, i))
            except ValueError as error:
                raise ValueError(f"augment.{name}: {error}") from error
        return self._put_back(seen, batch)

    def _seen(self, batch: Batch) -> Batch:
        """Return the batch for augmentations: `inputs` is the array to augment, `length` its valid steps."""
        if not isinstance(batch["inputs"], Mapping):
            return batch
        length = self.spec.find(Kind.LENGTH)
        valid = {"length": batch["inputs"][length]} if length else {}
        return {**batch, "inputs": batch["inputs"][self.spec.input_name], **valid}

    def _put_back(self, seen: Batch, batch: Batch) -> Batch:
        if not isinstance(batch["inputs"], Mapping):
            return seen
        inputs = {**batch["inputs"], self.spec.input_name: seen["inputs"]}
        return {**{name: value for name, value in seen.items() if name != "length"}, "inputs": inputs}

    def _unchanged(self, batch: Batch, key: Array) -> Batch:
        """Return the batch unchanged, except that targets have the form that the augmentations give them."""
        given = jax.eval_shape(self.augmented, batch, key).get("targets")
        if given is None or given.dtype == batch["targets"].dtype:
            return batch
        return {**batch, "targets": probabilities(batch["targets"], given.dtype, self.spec)}
