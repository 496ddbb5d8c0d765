"""Data sets in the form of the Hugging Face hub: Parquet files named by their split, with images or columns.

A local folder is read with polars alone; a name on the hub is downloaded first, which needs the package `datasets`.
"""

import hashlib
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from dltrain.cache import cache_folder
from dltrain.data.bad import Limits, OnBad, Skipping
from dltrain.data.images.decode import Resize
from dltrain.data.images.labels import Targets
from dltrain.data.sources.images import Found, make_source
from dltrain.data.sources.table import load_table
from dltrain.data.split import NAMES
from dltrain.data.split_names import SPLIT_OF
from dltrain.errors import ConfigError, DataError
from dltrain.ranges import Probability, Range
from dltrain.types import Source


def load_huggingface(
    path: str | None = None,
    *,
    target: str = "label",
    size: Annotated[int, Range(1, 4096)] = 64,
    resize: Resize = Resize.CROP,
    channels: Annotated[int, Range(1, 4)] = 3,
    on_bad: OnBad = OnBad.ERROR,
    most_bad: Probability = 0.01,
    memory_left: int = 1 << 36,
    task: Any = None,
) -> Any:
    """Read Parquet files whose names begin with their split: `train-00000-of-00001.parquet`, `test.parquet`.

    A column of images makes it a data set of images; otherwise it is a table, with one file per split.

    Args:
        path: a folder with such files, or below it; else the name of a data set on the hub.
        target: the column to predict.
        size: height and width of an image.
        resize: how an image of other proportions becomes a square.
        channels: 1 (grey), 3 (colour) or 4 (with transparency).
        on_bad: what to do with examples that cannot be read: error, or skip.
        most_bad: largest part of the examples that may be skipped.
        memory_left: bytes that the files may take.
        task: what to do with the target; None while that is not decided.

    Raises:
        ConfigError: a key is missing, or the package `datasets` is.
        DataError: the files do not exist, or lack a column.
    """
    if path is None:
        raise ConfigError("data.path: missing; give a folder of Parquet files, or a name on the Hugging Face hub")
    root = Path(path).expanduser().absolute()
    if not root.is_dir():
        root = _downloaded(path)
    files = _files(root)
    images = _image_column(files["train"][0])
    limits = Skipping(OnBad(on_bad), most_bad)
    if images is not None:
        settings = {"size": size, "resize": resize, "channels": channels}
        return _images(root, files, images, target, settings=settings, limits=limits, most=memory_left)
    if many := next((split for split, found in files.items() if len(found) > 1), None):
        raise DataError(f"{root}: the {many} split has {len(files[many])} files; a table needs one per split")
    single = {split: str(found[0]) for split, found in files.items()}
    return load_table(
        single["train"],
        target=target,
        task=task,
        memory_left=memory_left,
        validation_path=single.get("validation"),
        test_path=single.get("test"),
        on_bad=on_bad,
        most_bad=most_bad,
    )


def _downloaded(name: str) -> Path:
    """Download a data set from the hub as Parquet files, unless it is in the cache."""
    if importlib.util.find_spec("datasets") is None:
        raise ConfigError(
            f"data.path={name}: no such folder, and to download it from the Hugging Face hub the package datasets "
            "is missing; pip install 'dltrain[huggingface]'"
        )
    folder = cache_folder() / "huggingface" / hashlib.sha256(name.encode()).hexdigest()[:16]
    if not folder.is_dir():
        import datasets

        try:
            found = datasets.load_dataset(name)
        except Exception as error:  # of many kinds: no network, no such name, no permission
            raise DataError(f"data.path={name}: cannot be downloaded ({str(error).splitlines()[0]})") from error
        part = folder.with_suffix(".part")
        part.mkdir(parents=True, exist_ok=True)
        for split, examples in found.items():
            examples.to_parquet(part / f"{split}.parquet")
        part.replace(folder)
    return folder


def _files(root: Path) -> dict[str, list[Path]]:
    """Return the files of each split, in the order of their names."""
    found: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("*.parquet")):
        word = path.stem.split("-")[0].lower()
        if (split := SPLIT_OF.get(word)) is None:
            raise DataError(f"{path}: begins with {word}; expected the name of a split: train, validation or test")
        found.setdefault(split, []).append(path)
    if "train" not in found:
        raise DataError(f"{root} (data.path): has no Parquet file of the training split, such as train.parquet")
    return found


def _image_column(file: Path) -> str | None:
    import polars as pl

    try:
        schema = pl.scan_parquet(file, glob=False).collect_schema()
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{file}: the Parquet file is damaged ({str(error).splitlines()[0][:120]})") from error
    held = (
        (n, {field.name for field in dtype.fields}) for n, dtype in schema.items() if isinstance(dtype, pl.Struct)
    )
    return next((name for name, fields in held if "bytes" in fields), None)


def _images(
    root: Path,
    files: Mapping[str, list[Path]],
    column: str,
    target: str,
    *,
    settings: Mapping[str, Any],
    limits: Limits,
    most: int,
) -> Source:
    """Return the images of all splits; the packed images are held in memory while they are decoded."""
    import polars as pl

    paths = [(split, path) for split in NAMES for path in files.get(split, ())]
    if (needed := sum(path.stat().st_size for _, path in paths)) > most:
        raise DataError(f"{root}: takes {needed:,} bytes, and {most:,} bytes of memory are free")
    frames = [pl.read_parquet(path, glob=False) for _, path in paths]
    if lost := next((path for (_, path), f in zip(paths, frames, strict=True) if target not in f.columns), None):
        raise DataError(f"data.target={target}: {lost.name} has no such column ({', '.join(frames[0].columns)})")
    data = pl.concat([frame[column].struct.field("bytes") for frame in frames])
    targets = _targets(paths[0][1], pl.concat([frame[target] for frame in frames]))
    names, splits = [], []
    for (split, path), frame in zip(paths, frames, strict=True):
        names += [f"{path.relative_to(root)}, row {row}" for row in range(1, len(frame) + 1)]
        splits += [split] * len(frame)
    stamps = [[str(path.relative_to(root)), path.stat().st_size, path.stat().st_mtime_ns] for _, path in paths]
    found = Found(tuple(names), tuple(splits), targets, {"parquet": stamps, "column": column})
    return make_source(found, lambda index: data[index] or b"", root=root, settings=settings, limits=limits)


def _targets(file: Path, values: Any) -> Targets:
    """Return classes by their names in the file's metadata, or as they are; or numbers."""
    rows, name = np.arange(len(values)), values.name
    if values.is_null().any():
        raise DataError(f"{file.parent}: {name} is missing in row {int(values.is_null().arg_max() or 0) + 1}")
    if values.dtype.is_float():
        found = values.to_numpy().astype(np.float32)[:, None]
        return Targets(rows, found, (), (name,), ("regression", f"{name} is a number"))
    levels = values.unique().sort().to_list()
    names = _class_names(file, name)
    known = names if names and values.dtype.is_integer() and 0 <= levels[0] <= levels[-1] < len(names) else None
    classes = known or tuple(map(str, levels))
    numbers = {level: level if known else i for i, level in enumerate(levels)}
    found = np.array([numbers[value] for value in values], np.int32)
    return Targets(rows, found, classes, (), ("classification", f"{name} names {len(classes)} classes"))


def _class_names(file: Path, column: str) -> tuple[str, ...]:
    """Return the names that the package datasets writes into the metadata of a Parquet file."""
    import polars as pl

    try:
        held = json.loads(pl.read_parquet_metadata(file)["huggingface"])["info"]["features"][column]
        return tuple(held["names"])
    except (KeyError, TypeError, ValueError):
        return ()
