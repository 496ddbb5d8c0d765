"""Pictures with a sentence each, made from their class."""

from collections.abc import Mapping, Sequence

import numpy as np

from dltrain.data.sources.fingerprint import fingerprint
from dltrain.data.vocabulary import make_vocabulary, numbered, to_be_written
from dltrain.errors import ConfigError
from dltrain.types import ArraySpec, Kind, Source, Spec, Task

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
    """The pictures of another source, each with the caption of its class, cut into words.

    Exactly one caption is right for a picture, so that what a model writes can be judged. A row has the picture as
    `inputs`, and of the caption what `to_be_written` returns. Splits are those of the pictures.

    Args:
        pictures: the source of the pictures, which are labelled.
        captions: a sentence for each class, in the order of the labels, no two the same.
        task: generation, which is all that captions are for.
    """

    def __init__(self, pictures: Source, captions: Sequence[str] = DIGITS, *, task: Task = Task.GENERATION) -> None:
        spec, classes = pictures.spec, pictures.spec.classes
        if task != Task.GENERATION:
            raise ConfigError(f"data.task={task}: pictures with captions are for generation")
        if spec.kind is not Kind.IMAGE or not spec.has_labels:
            raise ConfigError(
                f"data.pictures: must be pictures with a class each, not a {spec.kind} for {spec.task}"
            )
        texts = [caption.split() for caption in captions]
        if len(texts) != len(classes) or not all(texts) or len(set(map(tuple, texts))) != len(texts):
            raise ConfigError(
                f"data.captions: expected {len(classes)} different captions, for classes {', '.join(classes)}; "
                f"found {len(texts)}"
            )
        vocabulary = make_vocabulary(texts)
        self._pictures, self._captions = pictures, to_be_written(numbered(texts, vocabulary))
        rows = {name: ArraySpec(array.shape[1:], str(array.dtype)) for name, array in self._captions.items()}
        self.spec = Spec(
            inputs=spec.inputs,
            targets=rows.pop("targets"),
            task=Task.GENERATION,
            kind=Kind.IMAGE,
            vocabulary=vocabulary,
            more=rows,
        )
        words = np.frombuffer("\n".join(vocabulary).encode() + pictures.fingerprint.encode(), np.uint8)
        self.fingerprint = fingerprint({**self._captions, "others": words})
        self.published: Mapping[str, np.ndarray] = pictures.published

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self._pictures)

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Read these rows, int [B]."""
        found = self._pictures.read(indices)
        written = {part: array[found["targets"]] for part, array in self._captions.items()}
        return {"inputs": found["inputs"], **written}
