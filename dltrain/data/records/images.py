"""New images: a file, a folder of files, or a table with a column of file names."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.data.bad import Bad
from dltrain.data.images.decode import ENDINGS
from dltrain.data.records.block import Block
from dltrain.data.tables.options import MISSING
from dltrain.data.tables.read import instead_of, read_rows
from dltrain.errors import DataError
from dltrain.machine import cores

TOGETHER = 256  # images that are decoded together


class ImageFiles:
    """Image files as examples.

    Attributes:
        total: number of images.
        measure: images.
    """

    measure = "images"

    def __init__(self, files: Sequence[Path], names: Sequence[str], encoder: Any) -> None:
        """Take the files, and their names in the predictions; `encoder` decodes them."""
        self._files, self._names, self._encoder = files, names, encoder
        self.total = len(files)

    def blocks(self) -> Iterator[Block]:
        """Decode the images in their order, with several threads."""
        with ThreadPoolExecutor(cores()) as pool:
            for start in range(0, self.total, TOGETHER):
                files = self._files[start : start + TOGETHER]
                found = list(pool.map(self._decoded, files))
                good = [image for image in found if not isinstance(image, str)]
                valid = np.array([not isinstance(image, str) for image in found])
                bad = [Bad(str(f), "", "", w) for f, w in zip(files, found, strict=True) if isinstance(w, str)]
                ids = {"file": list(self._names[start : start + TOGETHER])}
                yield Block(np.stack(good) if good else None, valid, ids, bad, len(files))

    def notes(self) -> Sequence[str]:
        """Return nothing."""
        return ()

    def _decoded(self, file: Path) -> Any:
        """Decode a file; return what is wrong if that fails."""
        try:
            return self._encoder.one(file)
        except DataError as error:
            return str(error).removeprefix(f"{file}: ")


def open_images(path: Path, encoder: Any, *, column: str | None = None) -> ImageFiles:
    """Open a folder of images, with those in folders below it; an image; or a table of file names.

    Args:
        path: the folder or the file.
        encoder: decodes an image.
        column: of a table: the column of file names; None: the first one.

    Raises:
        DataError: there are no images, or the table cannot be read.
    """
    if path.is_dir():
        files = sorted(
            file
            for file in path.rglob("*")
            if file.suffix.lower() in ENDINGS and not file.name.startswith(".") and file.is_file()
        )
        if not files:
            raise DataError(f"{path}: has no images ({', '.join(ENDINGS)})")
        return ImageFiles(files, [str(file.relative_to(path)) for file in files], encoder)
    if path.suffix.lower() in ENDINGS or _is_image(path):
        return ImageFiles([path], [path.name], encoder)
    frame = read_rows(path, missing=MISSING).frame
    name = column or frame.columns[0]
    if name not in frame.columns:
        raise DataError(f"{path}: has no column {name} of file names{instead_of(name, frame.columns)}")
    names = [str(value) for value in frame[name].fill_null("").to_list()]
    return ImageFiles([path.parent / file for file in names], names, encoder)


def _is_image(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(12)
    known = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM")
    return start.startswith(known) or (start[:4] == b"RIFF" and start[8:] == b"WEBP")
