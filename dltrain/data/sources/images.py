"""Your own images: a folder for each class, or a table of targets."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from dltrain.data.bad import Bad, Limits, OnBad, Skipping, as_csv, check_bad
from dltrain.data.description import Description
from dltrain.data.images.convert import Images, Read, Unreadable, decode_all, find_equal
from dltrain.data.images.decode import Resize, check_channels
from dltrain.data.images.encode import ImageEncoder
from dltrain.data.images.files import Listing, list_images, read_file
from dltrain.data.images.labels import Targets, read_labels
from dltrain.data.sources.rows import Picked, Rows, make_rows
from dltrain.errors import ConfigError, DataError
from dltrain.ranges import Probability, Range
from dltrain.types import Kind, Source


@dataclass(frozen=True)
class Found:
    """Images with their targets, before they are decoded.

    Attributes:
        names: how messages call the images.
        splits: the split of each, or "".
        targets: of each.
        key: identifies the files and their content.
        notes: what the user should know.
        files: of shards that hold the images, size and digest, by name.
        fingerprint: of the content, where it is known before the images are decoded; "" to compute it.
    """

    names: tuple[str, ...]
    splits: tuple[str, ...]
    targets: Targets
    key: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    files: Mapping[str, Any] = field(default_factory=dict)
    fingerprint: str = ""


def load_images(
    path: str | None = None,
    *,
    size: Annotated[int, Range(1, 4096)] = 64,
    resize: Resize = Resize.CROP,
    channels: Annotated[int, Range(1, 4)] = 3,
    root: str | None = None,
    labels: str | None = None,
    file: str | None = None,
    target: str | Sequence[str] | None = None,
    several: bool = False,
    separator: str | None = None,
    on_bad: OnBad = OnBad.ERROR,
    most_bad: Probability = 0.01,
    task: Any = None,
) -> Source:
    """Read a folder of images, uint8 [size, size, channels]; `dltrain.data.images.decode` states the rule.

    The images are decoded once, into dltrain's cache, and memory-mapped from there.

    Args:
        path: the folder: `CLASS/IMAGE`, or `train/CLASS/IMAGE` with `val` and `test` next to it, which become the
            splits (also training, valid, validation, dev, testing). With `labels`, any folder of images.
        size: height and width of an image.
        resize: how an image of other proportions becomes a square: crop, pad or stretch.
        channels: 1 (grey), 3 (colour) or 4 (with transparency).
        root: the folder that a relative `path` is in, or the folder of the images itself if `path` is null;
            None for the current folder.
        labels: a table of file names and targets, instead of folders of classes; CSV, TSV or Parquet, found next to
            the images or from the current folder.
        file: the table's column of file names; None for the first.
        target: its column of targets, or several of numbers or of 0 and 1; None for all others.
        several: whether an image may have several labels, each in a row of its own.
        separator: what separates several labels in one row, such as `|`.
        on_bad: what to do with images that cannot be read: error, or skip.
        most_bad: largest part of the images that may be skipped.
        task: what to do with the targets; None while that is not decided.

    Raises:
        ConfigError: a key is missing or does not fit the others.
        DataError: there are no images, an image cannot be read, or the table does not fit.
    """
    if path is None and root is None:
        raise ConfigError("data.path: missing; give the folder of the images")
    check_channels(channels, "channels")
    table = {"file": file, "target": target, "several": several, "separator": separator}
    if labels is None and (unused := next((key for key, value in table.items() if value), None)):
        raise ConfigError(f"data.{unused}: needs data.labels=FILE, the table that it is about")
    place = (Path(root or ".").expanduser() / Path(path or "").expanduser()).absolute()
    listing = list_images(place, labelled=labels is not None)
    found = _by_folders(listing) if labels is None else _by_table(listing, labels, task, table)
    if ignored := [name for name in listing.ignored if name != labels]:
        few = ", ".join(ignored[:3]) + ", ..." * (len(ignored) > 3)
        note = f"{len(ignored)} other files are left out: {few}"
        found = replace(found, notes=(*found.notes, note))
    settings = {"size": size, "resize": resize, "channels": channels}
    limits = Skipping(OnBad(on_bad), most_bad)
    return make_source(found, partial(_read, place, found.names), root=place, settings=settings, limits=limits)


def make_source(
    found: Found, read: Read, *, root: Path | str, settings: Mapping[str, Any], limits: Limits
) -> Source:
    """Decode the images that were found, and return them with their targets.

    Args:
        found: the images.
        read: index -> content of the file.
        root: where the images are, for messages.
        settings: `size`, `resize` and `channels` of the decoded images.
        limits: what to do with images that cannot be read.
    """
    total, wrong = len(found.names), {}
    try:
        strict = limits.on_bad is OnBad.ERROR
        images = decode_all(read, total, key=found.key, what=Path(root).name, strict=strict, **settings)
        wrong = images.bad
    except Unreadable as error:
        check_bad(
            [Bad(os.path.join(root, found.names[error.index]), "", "", error.why)], total, limits, what="images"
        )
        raise
    bad = [Bad(os.path.join(root, found.names[index]), "", "", why) for index, why in sorted(wrong.items())]
    note = check_bad(bad, total, limits, what="images")
    source = _source(found, images, notes=(*found.notes, *([note] if note else ())), bad=bad)
    source.encoder = ImageEncoder(settings["size"], Resize(settings["resize"]), settings["channels"])
    return source


def _source(found: Found, images: Images, *, notes: Sequence[str], bad: Sequence[Bad]) -> Rows | Picked:
    targets = found.targets
    digest = hashlib.sha256(np.ascontiguousarray(images.contents).data)
    described = [targets.classes, targets.columns, str(targets.values.dtype), images.pixels.shape]
    digest.update(json.dumps(described).encode())
    digest.update(np.ascontiguousarray(targets.values).data)
    good = np.array([i for i in range(len(found.names)) if i not in images.bad], np.int64)
    equal = find_equal(images.files[good], [found.names[i] for i in good], targets.values[good])
    splits = np.array([found.splits[i] for i in good])
    published = {s: np.flatnonzero(splits == s) for s in ("validation", "test") if (splits == s).any()}
    is_class = targets.values.dtype == np.int32
    rows = make_rows(
        {"inputs": images.pixels, "targets": targets.values},
        kind=Kind.IMAGE,
        classes=targets.classes if is_class else (),
        target_names=() if is_class else (*targets.columns, *targets.classes),
        published=published,
        fingerprint=found.fingerprint or digest.hexdigest(),
    )
    description = Description((*notes, *equal), bad_rows=as_csv(bad), files=found.files)
    rows = replace(
        rows, suggestion=targets.suggestion, description=description, keep=images.store, names=found.names
    )
    return rows if len(good) == len(rows) else Picked(rows, good)


def _by_folders(listing: Listing) -> Found:
    classes = tuple(sorted(set(listing.folders)))
    number = {name: i for i, name in enumerate(classes)}
    values = np.array([number[folder] for folder in listing.folders], np.int32)
    targets = Targets(
        np.arange(len(values)),
        values,
        classes,
        (),
        ("classification", f"there are {len(classes)} folders of images"),
    )
    return Found(listing.names, listing.splits, targets, _key(listing, range(len(values))))


def _by_table(listing: Listing, labels: str, task: Any, table: Mapping[str, Any]) -> Found:
    places = (listing.root / labels, Path(labels).expanduser().absolute())
    path = next((place for place in places if place.exists()), None)
    if path is None:
        raise DataError(f"data.labels={labels}: no such file (looked in {listing.root} and the current folder)")
    kind = None if task is None else task.target_kind
    numbers = None if kind is None else kind is Kind.NUMBERS
    targets = read_labels(path, listing.names, numbers=numbers, **table)
    rows = targets.rows.tolist()
    known, notes = set(rows), ()
    if (count := len(listing.names) - len(known)) > 0:
        first = next(name for i, name in enumerate(listing.names) if i not in known)
        left = f"{count} of {len(listing.names)} images are left out, such as {first}"
        notes = (f"{path.name} has no target for all: {left}",)
    names, splits = (tuple(values[i] for i in rows) for values in (listing.names, listing.splits))
    return Found(names, splits, targets, _key(listing, rows), notes)


def _key(listing: Listing, rows: Sequence[int]) -> dict[str, Any]:
    """Return the names, sizes and times of the files: when one changes, it is decoded again."""
    return {"files": [[listing.names[i], *listing.stamps[i]] for i in rows]}


def _read(root: Path, names: Sequence[str], index: int) -> bytes:
    return read_file(root / names[index])
