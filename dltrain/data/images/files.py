"""The files of a folder of images: their classes and splits, from the folders that they are in."""

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dltrain.data.images.decode import ENDINGS, MOST_BYTES
from dltrain.data.sources.files import KINDS
from dltrain.data.split import NAMES
from dltrain.data.split_names import SPLIT_OF
from dltrain.errors import DataError

SHOWN = 3  # names in a message


@dataclass(frozen=True)
class Listing:
    """The images below a folder.

    Attributes:
        root: the folder.
        names: paths relative to it, with `/`, sorted.
        folders: for each image the folder that it is in, below that of the split: its class; "" for none.
        splits: for each image the split, or "" where the folders are not splits.
        ignored: files that are not images by their ending.
        stamps: size in bytes and time of the last change (ns) of each image.
    """

    root: Path
    names: tuple[str, ...]
    folders: tuple[str, ...]
    splits: tuple[str, ...]
    ignored: tuple[str, ...] = ()
    stamps: tuple[tuple[int, int], ...] = field(default=(), repr=False)


def list_images(root: Path, *, labelled: bool) -> Listing:
    """List the images below a folder; hidden files are left out.

    Args:
        root: the folder of `data.path`.
        labelled: whether a table has the targets, so that folders need not be classes.

    Raises:
        DataError: the folder does not exist, has no images, or mixes folders of classes and of splits.
    """
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "no such folder"
        raise DataError(f"{root} (data.path): {what}; expected one with a folder of images for each class")
    images, ignored, empty = _walk(root)
    if not images:
        raise DataError(
            f"{root} (data.path): has no images ({', '.join(ENDINGS)}); expected ROOT/CLASS/IMAGE, or "
            "ROOT/train/CLASS/IMAGE"
        )
    parts = {name: name.split("/") for name in images}
    top = _split_folders(root, parts, labelled)
    if not labelled:
        _check_places(root, parts, depth=1 + bool(top))
        known = {os.path.dirname(name) for name in images}
        if lost := [name for name in empty if name.count("/") == bool(top) and not _below(name, known)]:
            raise DataError(f"{root / lost[0]}: the folder has no images; remove it, or fill it")
    classes = tuple(p[bool(top)] if len(p) > 1 + bool(top) else "" for p in parts.values())
    splits = tuple(top.get(p[0], "") for p in parts.values())
    if not labelled:
        _check_classes(root, classes, splits)
    return Listing(root, tuple(images), classes, splits, tuple(ignored), tuple(images.values()))


def _walk(root: Path) -> tuple[dict[str, tuple[int, int]], list[str], list[str]]:
    """Return images with their stamps, other files, and folders without a file of their own; sorted."""
    images, ignored, empty = {}, [], []
    for place, folders, files in os.walk(root, onerror=_unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inside = os.path.relpath(place, root).replace(os.sep, "/")
        prefix = "" if inside == "." else f"{inside}/"
        found = False
        for file in sorted(files):
            name = prefix + file
            if file.startswith(".") or file in ("Thumbs.db", "desktop.ini"):
                continue
            if file.lower().endswith(ENDINGS):
                images[name], found = _stamp(os.path.join(place, file)), True
            else:
                ignored.append(name)
        if not found and prefix:
            empty.append(inside)
    return dict(sorted(images.items())), ignored, empty


def _stamp(path: str) -> tuple[int, int]:
    """Return size and time of the last change; (-1, 0) for a broken link, which is reported when it is read."""
    try:
        state = os.stat(path)
    except OSError:
        return (-1, 0)
    return state.st_size, state.st_mtime_ns


def _unreadable(error: OSError) -> None:
    raise DataError(f"{error.filename}: cannot be read ({error.strerror})") from error


def _split_folders(root: Path, parts: Mapping[str, Sequence[str]], labelled: bool) -> dict[str, str]:
    """Return folder -> split if all folders are splits, one of them the training split; else nothing."""
    tops = sorted({p[0] for p in parts.values() if len(p) > 1})
    known = {top: SPLIT_OF[top.lower()] for top in tops if top.lower() in SPLIT_OF}
    if "train" not in known.values() or len(known) < len(tops):
        if "train" in known.values() and len(known) > 1 and not labelled:
            other = next(top for top in tops if top not in known)
            raise DataError(
                f"{root / other}: lies next to {', '.join(known)}; put the folders of classes into these, or "
                "rename them if they are classes"
            )
        return {}
    for split in NAMES:
        if len(same := [top for top, of in known.items() if of == split]) > 1:
            raise DataError(f"{root}: {' and '.join(same)} are both the {split} split; keep one")
    return known


def _check_places(root: Path, parts: Mapping[str, Sequence[str]], *, depth: int) -> None:
    """Raise DataError for images that are in no folder of a class."""
    if loose := [name for name, p in parts.items() if len(p) <= depth]:
        named = ", ".join(loose[:SHOWN]) + ", ..." * (len(loose) > SHOWN)
        raise DataError(
            f"{root / loose[0]}: is in no folder of a class ({len(loose)} such images: {named}); move them into "
            "folders of classes, or give a table with data.labels=FILE"
        )


def _check_classes(root: Path, classes: Sequence[str], splits: Sequence[str]) -> None:
    """Raise DataError unless there are two classes, each with training images."""
    if len(known := set(classes)) < 2:
        raise DataError(f"{root}: has a single class, {known.pop()}; expected a folder of images for each class")
    if any(splits):
        trained = {c for c, split in zip(classes, splits, strict=True) if split == "train"}
        if lost := sorted(known - trained):
            split = next(s for c, s in zip(classes, splits, strict=True) if c == lost[0])
            raise DataError(f"{root}: the class {lost[0]} of the {split} split has no training images")


def _below(name: str, known: set[str]) -> bool:
    return any(folder == name or folder.startswith(f"{name}/") for folder in known)


def read_file(path: Path) -> bytes:
    """Return the content of an image file.

    Raises:
        DataError: it is not a regular file, or too large.
        OSError: it cannot be read.
    """
    state = path.stat()
    if not stat.S_ISREG(state.st_mode):
        raise DataError(f"is {KINDS.get(stat.S_IFMT(state.st_mode), 'not a file')}; expected a regular file")
    if state.st_size > MOST_BYTES:
        raise DataError(f"has {state.st_size:,} bytes, more than {MOST_BYTES:,}")
    return path.read_bytes()
