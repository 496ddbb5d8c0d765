"""New texts: a table with the column of the texts, a file with a text on each line, or a folder of text files."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.data.bad import Bad
from dltrain.data.records.block import Block
from dltrain.data.sources.files import check_file
from dltrain.errors import DataError

LINES = 4096  # texts that are read together
LARGEST = 1 << 36  # bytes of a file


class Lines:
    """A file with a text on each line; an empty line is an empty text.

    Attributes:
        total: its length in MB.
        measure: MB.
    """

    measure = "MB"

    def __init__(self, path: Path, encoder: Any, *, as_read: bool = False) -> None:
        """Open a file; `encoder` takes a list of texts, and blocks have these, too, if `as_read`."""
        check_file(path, most=LARGEST)
        self._path, self._encoder, self._as_read = path, encoder, as_read
        self.total = max(1, path.stat().st_size >> 20)

    def blocks(self) -> Iterator[Block]:
        """Read the texts in their order."""
        read = shown = first = 0
        with self._path.open("rb") as file:
            while lines := file.readlines(LINES * 256):
                read += sum(map(len, lines))
                texts, bad = self._decoded(lines, first)
                valid = np.array([text is not None for text in texts])
                good = [text for text in texts if text is not None]
                ids = {"line": np.arange(first + 1, first + 1 + len(lines))}
                done, shown = (read >> 20) - shown, read >> 20
                encoded, texts = self._encoder.encode(good) if good else None, good if self._as_read else None
                yield Block(encoded, valid, ids, bad, done, texts)
                first += len(lines)
        if not first:
            raise DataError(f"{self._path}: is empty; expected a text on each line")

    def notes(self) -> Sequence[str]:
        """Return nothing."""
        return ()

    def _decoded(self, lines: Sequence[bytes], first: int) -> tuple[list[str | None], list[Bad]]:
        texts: list[str | None] = []
        bad = []
        for number, line in enumerate(lines, first + 1):
            try:
                texts.append(line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n"))
            except UnicodeDecodeError as error:
                texts.append(None)
                wrong = f"found the byte 0x{line[error.start]:02x}, expected UTF-8"
                bad.append(Bad(str(self._path), f"line {number}", "", wrong))
        return texts, bad


class TextFiles:
    """A folder of text files, one text each, in the order of their names; those in folders below it, too.

    Attributes:
        total: number of files.
        measure: texts.
    """

    measure = "texts"

    def __init__(self, path: Path, encoder: Any, *, as_read: bool = False) -> None:
        """List the files; `encoder` takes a list of texts, and blocks have these, too, if `as_read`."""
        self._path, self._encoder, self._as_read = path, encoder, as_read
        self._files = sorted(file for file in path.rglob("*.txt") if not file.name.startswith("."))
        if not self._files:
            raise DataError(f"{path}: has no .txt files; expected one for each text")
        self.total = len(self._files)

    def blocks(self) -> Iterator[Block]:
        """Read the texts in the order of their names."""
        for start in range(0, len(self._files), LINES):
            files = self._files[start : start + LINES]
            texts: list[str] = []
            valid, bad = np.ones(len(files), bool), []
            for i, file in enumerate(files):
                try:
                    check_file(file, most=1 << 26)
                    texts.append(file.read_bytes().decode("utf-8-sig"))
                except (DataError, OSError, UnicodeDecodeError) as error:
                    valid[i] = False
                    why = "is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
                    bad.append(Bad(str(file), "", "", why))
            ids = {"file": [str(file.relative_to(self._path)) for file in files]}
            encoded, kept = self._encoder.encode(texts) if texts else None, texts if self._as_read else None
            yield Block(encoded, valid, ids, bad, len(files), kept)

    def notes(self) -> Sequence[str]:
        """Return nothing."""
        return ()
