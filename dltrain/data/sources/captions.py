"""Images with a caption each, chosen by their class."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dltrain.data.sources.fingerprint import fingerprint
from dltrain.data.vocabulary import decoder_arrays, make_vocabulary, numbered
from dltrain.errors import ConfigError
from dltrain.types import Feature, Kind, Source, Spec

DIGITS = (
    "the even number zero",
    "the odd number one",
    "the even prime number two",
    "the odd prime number three",
    "the even number four",
    "the odd prime number five",
    "the even number six",
    "the odd prime number seven",
    "the even number eight",
    "the odd number nine",
)


class Captions:
    """The images of another source, each with the caption of its class, split into words.

    Exactly one caption is right for an image, so that generated text can be compared with it. An example has the
    image and the `tokens` of the caption as inputs; `decoder_arrays` builds its targets. The splits are those of
    the images.

    Args:
        images: the source of the images, which are labelled.
        captions: a caption for each class, in the order of the labels, all different.
    """

    def __init__(self, images: Source, captions: Sequence[str] = DIGITS) -> None:
        spec, classes = images.spec, images.spec.classes
        if spec.input.kind is not Kind.IMAGE or not spec.has_labels:
            raise ConfigError(f"data.images: must be images with one class each, not {spec.input.kind.words}")
        texts = [caption.split() for caption in captions]
        if len(texts) != len(classes) or not all(texts) or len(set(map(tuple, texts))) != len(texts):
            raise ConfigError(
                f"data.captions: expected {len(classes)} different captions, for classes {', '.join(classes)}; "
                f"found {len(texts)}"
            )
        vocabulary = make_vocabulary(texts)
        self._images, self._captions = images, decoder_arrays(numbered(texts, vocabulary))
        kinds = {"targets": Kind.TOKENS, "tokens": Kind.DECODER_TOKENS, "loss_mask": Kind.MASK}
        features = {
            name: Feature(kinds[name], array.shape[1:], str(array.dtype), vocabulary=words)
            for name, array in self._captions.items()
            for words in [() if kinds[name] is Kind.MASK else vocabulary]
        }
        self.spec = Spec(
            {spec.input_name: spec.input, "tokens": features["tokens"]},
            {"caption": features["targets"]},
            for_loss={"loss_mask": features["loss_mask"]},
        )
        words = np.frombuffer("\n".join(vocabulary).encode() + images.fingerprint.encode(), np.uint8)
        self.fingerprint = fingerprint({**self._captions, "others": words})
        self.published: Mapping[str, np.ndarray] = images.published

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._images)

    def read(self, indices: np.ndarray) -> dict[str, Any]:
        """Read these examples, int [B]."""
        found = self._images.read(indices)
        texts = {part: array[found["targets"]] for part, array in self._captions.items()}
        image = {self._images.spec.input_name: found["inputs"]}
        return {"inputs": {**image, "tokens": texts.pop("tokens")}, **texts}
