"""Tiny image files for tests."""

import io
from pathlib import Path

import numpy as np
from PIL import Image


def pixels(height=8, width=8, channels=3, seed=0) -> np.ndarray:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def encoded(array, form="PNG", **options) -> bytes:
    stream = io.BytesIO()
    (array if isinstance(array, Image.Image) else Image.fromarray(array)).save(stream, form, **options)
    return stream.getvalue()


def write(root: Path, **files: int) -> Path:
    """Write `a__1=seed` as a/1.png, with random pixels."""
    for name, seed in files.items():
        path = root / (name.replace("__", "/") + ".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(pixels(seed=seed)))
    return root
