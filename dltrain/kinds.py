"""What a feature of the data can be; here, since figures are also drawn where jax is not imported."""

from enum import StrEnum


class Kind(StrEnum):
    """Kind of a feature, which determines how it is checked, scaled and drawn. Shapes are those of one example."""

    NUMBERS = "numbers"  # float [F], columns of numbers
    IMAGE = "image"  # [H, W, C]
    SEQUENCE = "sequence"  # float [L, F]
    TOKENS = "tokens"  # int [L], indices into the vocabulary
    NGRAMS = "ngrams"  # int [L], buckets of the n-grams of a text from 1, in no order that matters; 0 is padding
    DECODER_TOKENS = "decoder_tokens"  # int [L], the target tokens shifted by one step, the input of a decoder
    CATEGORY = "category"  # int [] or [H, W], indices of classes
    LABELS = "labels"  # int [T], 1 for each label of the vocabulary that is true, else 0
    CATEGORIES = "categories"  # int [C], levels of several columns, from 1; 0 for a level that is not known
    LENGTH = "length"  # int [], number of valid steps of the sequence or text; the rest is padding
    POSITION = "position"  # int [], the step of the whole text at which the example begins
    WEIGHT = "weight"  # float [], how much an example counts in the loss
    MASK = "mask"  # bool [L], which steps count in the loss and the metrics

    @property
    def words(self) -> str:
        """How messages name examples of this kind."""
        named = {"numbers": "a table", "image": "images", "sequence": "sequences", "tokens": "texts"}
        named["ngrams"] = "texts as n-grams"
        return named.get(self, f"a {self.replace('_', ' ')}")
