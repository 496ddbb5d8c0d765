"""Subwords by sentencepiece (extra `text`): trained on the training texts, and kept as base64 text in JSON."""

import base64
import io
from collections.abc import Iterable
from typing import Any

from dltrain.errors import ConfigError, DataError

FIRST = 3  # sentencepiece numbers <unk>, <s> and </s> from 0 to 2, and then its pieces


class Subwords:
    """A trained sentencepiece model.

    Attributes:
        model: the bytes that sentencepiece wrote.
        pieces: the subwords, in the order of their numbers from FIRST.
    """

    def __init__(self, model: bytes) -> None:
        """Load the model; DataError if it is damaged."""
        self.model = model
        self._processor = _library().SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(model)
        except (RuntimeError, OSError, TypeError) as error:
            raise DataError(f"the sentencepiece model of this run, in model.json, is damaged ({error})") from error
        numbers = range(FIRST, self._processor.vocab_size())
        self.pieces = tuple(self._processor.id_to_piece(number) for number in numbers)

    @classmethod
    def train(cls, texts: Iterable[str], *, size: int) -> "Subwords":
        """Train byte-pair encoding on texts; fewer than `size` subwords if the texts have no more.

        A character that no training text has becomes its bytes, so nothing is unknown.

        Raises:
            ConfigError: sentencepiece is not installed, or `size` is too small for bytes and characters.
        """
        library, written = _library(), io.BytesIO()
        lines = [" ".join(text.split()) for text in texts]
        characters = len({character for line in lines for character in line})
        least = 256 + FIRST + characters + 1  # bytes, special pieces, characters, and the space
        if size < least:
            raise ConfigError(
                f"data.vocabulary_size={size}: too small for subwords: these texts have {characters} characters, "
                f"and 256 bytes are added, so at least {least} are needed"
            )
        library.SentencePieceTrainer.train(
            sentence_iterator=iter(line for line in lines if line),
            model_writer=written,
            vocab_size=size,
            model_type="bpe",
            byte_fallback=True,
            character_coverage=1.0,
            hard_vocab_limit=False,
            num_threads=1,  # one thread, so that the same texts give the same model
            minloglevel=2,
        )
        return cls(written.getvalue())

    def cut(self, text: str) -> list[int]:
        """Return the numbers of a text's subwords, from 0 for the first of `pieces`; -1 for an unknown one."""
        return [max(number - FIRST, -1) for number in self._processor.encode(" ".join(text.split()))]

    def to_json(self) -> str:
        """Return the model as base64."""
        return base64.b64encode(self.model).decode()

    @classmethod
    def from_json(cls, saved: str) -> "Subwords":
        """Load the model that `to_json` returned."""
        return cls(base64.b64decode(saved, validate=True))


def _library() -> Any:
    try:
        import sentencepiece
    except ImportError as error:
        raise ConfigError(
            "data.tokens=subwords: needs sentencepiece, which is not installed: pip install 'dltrain[text]'; "
            "data.tokens=words needs nothing else"
        ) from error
    return sentencepiece
