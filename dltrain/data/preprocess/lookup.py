"""Lookup of tokens in a vocabulary: texts become numbers on the host."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from dltrain.data.vocabulary import PAD, SPECIAL
from dltrain.errors import ConfigError


@dataclass(frozen=True)
class Lookup:
    """A step that numbers the tokens of a text by their place in a vocabulary; numbers are left as they are.

    A vocabulary whose tokens are single characters (besides <pad>, <start> and <end>) cuts a text into characters,
    another one at white space.
    """

    vocabulary: tuple[str, ...]

    def fit(self, blocks: Iterable[np.ndarray]) -> "Lookup":
        """Return the step itself: the source has read the vocabulary already."""
        del blocks
        return self

    def host(self, values: Any) -> np.ndarray:
        """Return the tokens of texts, int32 [N, longest], the shorter ones padded; of numbers, [N, L], themselves.

        Raises:
            ConfigError: a token is not in the vocabulary, or texts differ in length and nothing stands for padding.
        """
        if isinstance(values, str):
            raise ConfigError("inputs: expected a list of texts, found one text; put it into a list")
        if not len(values) or not isinstance(values[0], str):
            return np.asarray(values)
        texts = [self.numbered(text) for text in values]
        longest = max(map(len, texts))
        if any(len(tokens) != longest for tokens in texts) and not self.pads:
            raise ConfigError("inputs: texts of one length are needed, since the vocabulary has no <pad>")
        found = np.full((len(texts), longest), PAD, np.int32)
        for place, tokens in zip(found, texts, strict=True):
            place[: len(tokens)] = tokens
        return found

    def numbered(self, text: str) -> np.ndarray:
        """Return the tokens of one text, int32 [length]."""
        tokens: Sequence[str] = text if self._characters else text.split()
        if unknown := [token for token in dict.fromkeys(tokens) if token not in self._numbers]:
            known = repr("".join(self._plain)) if self._characters else f"{len(self._plain)} words"
            raise ConfigError(
                f"{', '.join(map(repr, unknown[:5]))}: not in the vocabulary of the model, which has {known}"
            )
        return np.array([self._numbers[token] for token in tokens], np.int32)

    @property
    def pads(self) -> bool:
        """Whether the vocabulary has a token for padding."""
        return self.vocabulary[: len(SPECIAL)] == SPECIAL

    def to_json(self) -> dict[str, list[str]]:
        """Return the tokens in the order of their numbers."""
        return {"vocabulary": list(self.vocabulary)}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "Lookup":
        """Rebuild the vocabulary."""
        tokens = tuple(saved["vocabulary"])
        if len(set(tokens)) != len(tokens) or not all(isinstance(token, str) for token in tokens):
            raise ValueError("vocabulary must be a list of different texts")
        return cls(tokens)

    @cached_property
    def _plain(self) -> tuple[str, ...]:
        return self.vocabulary[len(SPECIAL) :] if self.pads else self.vocabulary

    @cached_property
    def _characters(self) -> bool:
        return all(len(token) == 1 for token in self._plain)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {token: number for number, token in enumerate(self.vocabulary)}
