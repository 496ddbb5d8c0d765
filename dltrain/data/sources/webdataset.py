"""Images in tar shards, in the WebDataset layout: the members of an example have their key in common."""

import hashlib
import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any

import numpy as np

from dltrain.data.bad import OnBad, Skipping
from dltrain.data.description import Description
from dltrain.data.images.convert import RULE
from dltrain.data.images.decode import Resize, check_channels
from dltrain.data.images.encode import ImageEncoder
from dltrain.data.images.labels import Targets
from dltrain.data.shards.examples import Examples, find_examples
from dltrain.data.shards.find import Shards, find_shards
from dltrain.data.shards.images import ShardedImages
from dltrain.data.shards.labels import read_targets
from dltrain.data.shards.members import Members
from dltrain.data.shards.names import common_folder
from dltrain.data.shards.tar_index import open_indexes
from dltrain.data.sources.images import Found, make_source
from dltrain.data.sources.rows import make_rows
from dltrain.data.store import cache_limit
from dltrain.errors import ConfigError
from dltrain.ranges import Probability, Range
from dltrain.types import Kind, Source, Spec

SHARE = 0.25  # of the cache that decoded images may take


class Decode(StrEnum):
    """When images are decoded."""

    AUTO = "auto"  # once, if they take at most a quarter of the cache
    ONCE = "once"  # before training, into the cache
    ALWAYS = "always"  # whenever they are read


def load_webdataset(
    path: str | None = None,
    *,
    root: str | None = None,
    test_path: str | None = None,
    validation_path: str | None = None,
    target: str | None = None,
    classes: Sequence[str] | str | None = None,
    image: str | None = None,
    size: Annotated[int, Range(1, 4096)] = 64,
    resize: Resize = Resize.CROP,
    channels: Annotated[int, Range(1, 4)] = 3,
    decode: Decode = Decode.AUTO,
    on_bad: OnBad = OnBad.ERROR,
    most_bad: Probability = 0.01,
    timeout: float = 60.0,
    task: Any = None,
) -> Source:
    """Read tar shards of images, uint8 [size, size, channels]; `dltrain.data.images.decode` states the rule.

    Args:
        path: a folder of `.tar` files, one file, a pattern (`train-{0000..0099}.tar`, `train-*.tar`), or the same
            as an address (`s3://bucket/train-*.tar`), whose files are copied into dltrain's cache once. Names that
            begin with `train`, `val` and `test` are splits.
        root: a folder that the paths are in.
        test_path: the test shards; null: a part of `path`.
        validation_path: the validation shards; null: a part of `path`.
        target: the label: cls (a whole number), txt (a text) or json.KEY; null: cls or txt, whichever there is.
        classes: names of the classes, or a file with one in each line; null: found in the training shards.
        image: ending of the images, where an example has several; null: the only one.
        size: height and width of an image.
        resize: how an image of other proportions becomes a square: crop, pad or stretch.
        channels: 1 (grey), 3 (colour) or 4 (with transparency).
        decode: once, into the cache; always, whenever it is read; auto: once, if that takes a quarter of the cache.
        on_bad: what to do with images that cannot be read: error, or skip.
        most_bad: largest part of the images that may be skipped.
        timeout: seconds without a byte after which a remote shard counts as lost.
        task: what to do with the targets; None while that is not decided.

    Raises:
        ConfigError: a key is missing or does not fit the others.
        DataError: a shard or a member is missing, damaged or not as the others; names it.
    """
    if path is None:
        raise ConfigError(
            "data.path: missing; give the tar shards, such as 'train-{0000..0099}.tar', or their folder"
        )
    check_channels(channels, "channels")
    paths = {"train": path, "validation": validation_path, "test": test_path}
    shards = find_shards(paths, root=root, endings=(".tar",), timeout=timeout)
    examples = find_examples(open_indexes(shards.shards), image)
    splits = np.repeat(shards.splits, [len(index) for index in examples.indexes])
    kind = None if task is None else task.target_kind
    targets = read_targets(
        examples.indexes,
        target,
        train=~np.isin(splits, ("validation", "test")),
        classes=classes,
        numbers=None if kind is None else kind is Kind.NUMBERS,
        where=examples.key,
    )
    encoder = ImageEncoder(size, Resize(resize), channels)
    once = _decodes_once(Decode(decode), len(examples) * encoder.feature.size, OnBad(on_bad))
    limits = Skipping(OnBad(on_bad), most_bad)
    return _source(shards, examples, splits, targets, encoder=encoder, limits=limits, once=once)


def _decodes_once(decode: Decode, needed: int, on_bad: OnBad) -> bool:
    if decode is Decode.ALWAYS and on_bad is OnBad.SKIP:
        raise ConfigError(
            "data.on_bad=skip: needs data.decode=once or auto, which looks at all images before training"
        )
    fits = needed <= SHARE * cache_limit() or on_bad is OnBad.SKIP
    return decode is Decode.ONCE or (decode is Decode.AUTO and fits)


def _source(
    shards: Shards,
    examples: Examples,
    splits: np.ndarray,
    targets: Targets,
    *,
    encoder: ImageEncoder,
    limits: Skipping,
    once: bool,
) -> Source:
    members = Members(examples.indexes)

    def content(index: int) -> bytes:
        return members.read(examples.shard(index), int(examples.offsets[index]), int(examples.sizes[index]))

    digests = [index.digest for index in examples.indexes]
    files = {
        name: [index.shard.size, index.digest] for name, index in zip(examples.names, examples.indexes, strict=True)
    }
    fingerprint = _fingerprint(digests, splits, targets, encoder, examples)
    count = f"{len(examples):,} examples in {len(digests):,} shards"
    notes = (f"{count}; images are decoded {'once, into the cache' if once else 'whenever they are read'}",)
    if once:
        names = tuple(examples.where(index) for index in range(len(examples)))
        key = {"shards": digests, "images": hashlib.sha256(examples.offsets.tobytes()).hexdigest()}
        found = Found(names, tuple(splits.tolist()), targets, key, notes, files, fingerprint)
        return make_source(
            found,
            content,
            root=common_folder([index.shard for index in examples.indexes]),
            settings=encoder.settings,
            limits=limits,
        )
    published = {s: np.flatnonzero(splits == s) for s in ("validation", "test") if (splits == s).any()}
    return ShardedImages(
        content,
        members,
        targets.values,
        spec=_spec(targets, encoder),
        encoder=encoder,
        fingerprint=fingerprint,
        published=published,
        suggestion=targets.suggestion,
        description=Description(notes, files=files),
        where=examples.where,
        keep=shards.keep,
    )


def _fingerprint(
    digests: Sequence[str], splits: np.ndarray, targets: Targets, encoder: ImageEncoder, examples: Examples
) -> str:
    """Return a hash of the shards' content and of the options that decide what is read; names do not matter."""
    about = [
        digests,
        splits.tolist(),
        targets.classes,
        targets.columns,
        str(targets.values.dtype),
        encoder.to_json(),
        RULE,
    ]
    found = hashlib.sha256(json.dumps(about).encode())
    found.update(np.ascontiguousarray(targets.values).data)
    found.update(np.ascontiguousarray(examples.offsets).data)
    return found.hexdigest()


def _spec(targets: Targets, encoder: ImageEncoder) -> Spec:
    """Return the features, which those of a single example tell."""
    is_class = targets.values.dtype == np.int32
    return make_rows(
        {"inputs": np.zeros((1, *encoder.feature.shape), np.uint8), "targets": targets.values[:1].copy()},
        kind=Kind.IMAGE,
        classes=targets.classes if is_class else (),
        target_names=() if is_class else targets.columns,
        fingerprint="one example",
    ).spec
