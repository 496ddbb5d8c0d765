"""Pictures of a digit under uneven light and noise, and which pixels are the digit's: segmentation to try out."""

from collections.abc import Mapping

import numpy as np

from dltrain.data.sources.fingerprint import fingerprint
from dltrain.types import Feature, Kind, Source, Spec

CONTRAST = 0.35  # of the digit, of the whole range
LIGHT = 0.55  # from the darkest corner to the brightest


class DigitMasks:
    """Inputs uint8 [H, W, 1], targets int32 [H, W]: 1 where the digit is at least half as bright as it can be.

    The light falls from a side of its own in each picture, so that no brightness tells the digit from the ground.
    What a row is depends on its number and `seed` alone.

    Args:
        digits: the source of the pictures: grey, bright on dark.
        noise: standard deviation of each pixel's noise, of the whole range.
        seed: decides light and noise.
    """

    def __init__(self, digits: Source, *, noise: float = 0.08, seed: int = 0) -> None:
        if digits.spec.input.kind is not Kind.IMAGE or digits.spec.input.shape[-1] != 1:
            raise ValueError(f"needs grey pictures [H, W, 1], found {list(digits.spec.input.shape)}")
        self._digits, self._noise, self._seed = digits, noise, seed
        self._brightest = float(digits.read(np.arange(min(len(digits), 1000)))["inputs"].max())
        shape = digits.spec.input.shape
        self.spec = Spec(
            {"image": Feature(Kind.IMAGE, shape, "uint8")},
            {"mask": Feature(Kind.CATEGORY, shape[:2], "int32", vocabulary=("ground", "digit"))},
        )
        of = np.frombuffer(digits.fingerprint.encode(), np.uint8)
        self.fingerprint = fingerprint({"digits": of, "noise and seed": np.array([noise, seed], np.float64)})
        self.published: Mapping[str, np.ndarray] = digits.published

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._digits)

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Read these rows, int [B]."""
        digits = self._digits.read(indices)["inputs"][..., 0] / np.float32(self._brightest)
        pictures = np.stack([self._lit(digit, int(row)) for digit, row in zip(digits, indices, strict=True)])
        return {"inputs": pictures[..., None], "targets": (digits >= 0.5).astype(np.int32)}

    def _lit(self, digit: np.ndarray, row: int) -> np.ndarray:
        rng = np.random.default_rng([self._seed, row])
        height, width = digit.shape
        angle = rng.uniform(0, 2 * np.pi)
        y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None, :]
        slope = np.sin(angle) * y + np.cos(angle) * x
        light = (slope - slope.min()) / (slope.max() - slope.min())
        values = LIGHT * light + CONTRAST * digit + self._noise * rng.standard_normal(digit.shape)
        return np.round(255 * np.clip(values, 0, 1)).astype(np.uint8)
