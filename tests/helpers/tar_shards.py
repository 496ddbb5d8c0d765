"""Small tar shards of images in the WebDataset layout, and faults in them."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

from tiny_images import encoded, pixels


def tar_bytes(members: Mapping[str, bytes] | list[tuple[str, bytes]]) -> bytes:
    """Return a tar file with these members."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, data in members.items() if isinstance(members, Mapping) else members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def examples(first: int, count: int, *, ending: str = "txt", classes=("cat", "dog")) -> dict[str, bytes]:
    """Return the members of examples; the pixels of each are those of its number."""
    found = {}
    for i in range(first, first + count):
        label = {"txt": classes[i % len(classes)], "cls": str(i % len(classes))}[ending]
        found |= {f"{i:06}.png": encoded(pixels(seed=i)), f"{i:06}.{ending}": label.encode()}
    return found


def write_shards(folder: Path, count: int = 3, each: int = 4, *, name: str = "part", **options) -> list[Path]:
    """Write `part-0000.tar` and so on, with examples that are numbered through."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}-{i:04}.tar" for i in range(count)]
    for i, path in enumerate(paths):
        path.write_bytes(tar_bytes(examples(i * each, each, **options)))
    return paths


def write_folder(root: Path, count: int, classes=("cat", "dog")) -> None:
    """Write the same images in a folder for each class."""
    for i in range(count):
        path = root / classes[i % len(classes)] / f"{i:06}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(pixels(seed=i)))
