"""Tokens as numbers: a vocabulary begins with the special tokens, and token sequences are padded to one length."""

from collections.abc import Iterable, Sequence

import numpy as np

SPECIAL = ("<pad>", "<start>", "<end>")
PAD, START, END = range(len(SPECIAL))
UNKNOWN, UNKNOWN_TOKEN = len(SPECIAL), "<unknown>"
"""Follows the special tokens in the vocabulary of texts that people bring: a token without a number of its own."""


def make_vocabulary(texts: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """List the special tokens and then every other one, sorted."""
    return (*SPECIAL, *sorted({token for text in texts for token in text}))


def numbered(texts: Sequence[Sequence[str]], vocabulary: Sequence[str]) -> list[np.ndarray]:
    """Return the numbers of each text's tokens, int32 [length]."""
    number = {token: i for i, token in enumerate(vocabulary)}
    return [np.array([number[token] for token in text], np.int32) for text in texts]


def padded(sequences: Sequence[np.ndarray]) -> np.ndarray:
    """Stack token sequences of different lengths, int32 [N, longest], with PAD after the shorter ones."""
    found = np.full((len(sequences), max(map(len, sequences))), PAD, np.int32)
    for place, sequence in zip(found, sequences, strict=True):
        place[: len(sequence)] = sequence
    return found


def decoder_arrays(texts: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Return what a decoder is trained on, [N, L] each: `targets` with <end>, its input `tokens`, `loss_mask`."""
    targets = padded([np.append(text, END) for text in texts])
    counted = np.arange(targets.shape[1]) <= np.array([len(text) for text in texts])[:, None]
    tokens = padded([np.insert(text, 0, START) for text in texts])
    return {"targets": targets, "tokens": tokens.astype(np.int32), "loss_mask": counted}


def as_text(tokens: Iterable[int], vocabulary: Sequence[str]) -> str:
    """Return tokens up to <end> as text: characters joined directly, words with a space between them."""
    found = []
    for token in tokens:
        if token == END:
            break
        if token not in (PAD, START):
            found.append(vocabulary[token])
    return ("" if all(len(token) == 1 for token in found) else " ").join(found)
