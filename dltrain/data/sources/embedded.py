"""Small data sets installed with dltrain: no network, no scikit-learn. Licences: `embedded/LICENSES.md`."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from dltrain.data.images.encode import ImageEncoder
from dltrain.data.sources.rows import Rows, make_rows
from dltrain.errors import ConfigError, DataError
from dltrain.types import Kind

FOLDER = Path(__file__).parent.parent / "embedded"
KINDS = {1: Kind.NUMBERS, 3: Kind.IMAGE}


def load_embedded(name: str) -> Rows:
    """Load `digits`, `iris`, `wine`, `breast_cancer` or `diabetes` into memory; without a published split.

    Args:
        name: the data set.

    Raises:
        ConfigError: no data set has this name.
        DataError: its file is missing or damaged.
    """
    names = sorted(path.stem for path in FOLDER.glob("*.npz"))
    if not names:
        raise DataError(f"{FOLDER}: there are no embedded data sets; is dltrain completely installed?")
    if name not in names:
        raise ConfigError(f"data.name={name}: unknown; there are {', '.join(names)}")
    stored = _load(FOLDER / f"{name}.npz")
    rows = make_rows(
        {part: stored[part] for part in ("inputs", "targets")},
        kind=KINDS[stored["inputs"].ndim - 1],
        classes=tuple(stored["classes"].tolist()),
        features=tuple(stored["features"].tolist()),
        target_names=tuple(stored["target_names"].tolist()),
    )
    if rows.spec.input.kind is Kind.IMAGE:
        rows.encoder = ImageEncoder(stored["inputs"].shape[1], channels=1, brightest=int(stored["inputs"].max()))
    return rows


def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            return {part: stored[part] for part in ("inputs", "targets", "classes", "features", "target_names")}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: damaged ({error}); install dltrain again") from error
