"""Recreate `dltrain/data/embedded/*.npz` from the copies in scikit-learn: `python scripts/embed_data.py [FOLDER]`.

The files contain plain arrays (no pickles): inputs, targets, and the names of classes, features and targets.
"""

import sys
from pathlib import Path

import numpy as np
from sklearn import datasets

FOLDER = Path(__file__).parent.parent / "dltrain" / "data" / "embedded"


def main(folder: Path) -> None:
    """Write one file per data set into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    digits = datasets.load_digits()
    write(folder / "digits.npz", digits.images[..., None].astype(np.uint8), digits.target, map(str, range(10)), ())
    for name in ("iris", "wine", "breast_cancer"):
        table = getattr(datasets, f"load_{name}")()
        write(folder / f"{name}.npz", table.data, table.target, table.target_names, table.feature_names)
    diabetes = datasets.load_diabetes(scaled=False)
    write(
        folder / "diabetes.npz",
        diabetes.data,
        diabetes.target[:, None],
        (),
        diabetes.feature_names,
        ("progression",),
    )


def write(path, inputs, targets, classes, features, target_names=()) -> None:
    """Store images as uint8, tables and regression targets as float32, labels as int32."""
    classes = list(classes)
    np.savez_compressed(
        path,
        inputs=inputs if inputs.dtype == np.uint8 else inputs.astype(np.float32),
        targets=targets.astype(np.int32 if classes else np.float32),
        classes=np.array(classes, dtype=str),
        features=np.array(list(features), dtype=str),
        target_names=np.array(list(target_names), dtype=str),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
