"""Images of a digit with uneven light and noise, and the mask of the digit: a small segmentation data set."""

from collections.abc import Mapping

import numpy as np

from dltrain.data.sources.fingerprint import fingerprint
from dltrain.ranges import NonNegative, Seed
from dltrain.types import Feature, Kind, Source, Spec

CONTRAST = 0.35  # of the digit, of the whole range
LIGHT = 0.55  # from the darkest corner to the brightest


class DigitMasks:
    """Inputs uint8 [H, W, 1], targets int32 [H, W]: 1 where the digit is at least half as bright as it can be.

    The direction of the light differs in each image, so that no threshold separates the digit from the background.
    An example depends only on its index and on `seed`.

    Args:
        digits: the source of the images: grey, bright on dark.
        noise: standard deviation of each pixel's noise, of the whole range.
        seed: determines light and noise.
    """

    def __init__(self, digits: Source, *, noise: NonNegative = 0.08, seed: Seed = 0) -> None:
        if digits.spec.input.kind is not Kind.IMAGE or digits.spec.input.shape[-1] != 1:
            raise ValueError(f"needs grey images [H, W, 1], found {list(digits.spec.input.shape)}")
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
        """Return the number of examples."""
        return len(self._digits)

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Read these examples, int [B]."""
        digits = self._digits.read(indices)["inputs"][..., 0] / np.float32(self._brightest)
        images = np.stack([self._lit(digit, int(index)) for digit, index in zip(digits, indices, strict=True)])
        return {"inputs": images[..., None], "targets": (digits >= 0.5).astype(np.int32)}

    def _lit(self, digit: np.ndarray, index: int) -> np.ndarray:
        rng = np.random.default_rng([self._seed, index])
        height, width = digit.shape
        angle = rng.uniform(0, 2 * np.pi)
        y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None, :]
        slope = np.sin(angle) * y + np.cos(angle) * x
        light = (slope - slope.min()) / (slope.max() - slope.min())
        values = LIGHT * light + CONTRAST * digit + self._noise * rng.standard_normal(digit.shape)
        return np.round(255 * np.clip(values, 0, 1)).astype(np.uint8)
