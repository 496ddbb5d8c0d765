"""Files with random damage are read, or refused with a message; nothing else happens."""

import gzip
import io

import numpy as np
import polars as pl
import pytest

from dltrain.data.tables.options import Options
from dltrain.data.tables.read import read_table
from dltrain.errors import DataError

FRAME = pl.DataFrame(
    {
        "n": [1, 2, None, 4] * 5,
        "x": [0.5, None, 1e10, -2.0] * 5,
        "c": ["a", 'b "q"', "c, d", "é\nf"] * 5,
        "d": [None, True, False, True] * 5,
    }
)


def written(method):
    content = io.BytesIO()
    getattr(FRAME, method)(content)
    return content.getvalue()


FORMATS = {
    "csv": written("write_csv"),
    "csv.gz": gzip.compress(written("write_csv"), mtime=0),
    "jsonl": written("write_ndjson"),
    "parquet": written("write_parquet"),
    "feather": written("write_ipc"),
}


def damaged(content, rng):
    """Cut, overwrite, insert or repeat some bytes."""
    data, place = bytearray(content), int(rng.integers(len(content)))
    some = rng.integers(0, 256, int(rng.integers(1, 9)), dtype=np.uint8).tobytes()
    some = (
        some
        if rng.random() < 0.5
        else rng.choice([b'"', b",", b"\n", b"\r", b"\0", b"\xff", b"'", b";", b" ", b"{"])
    )
    match int(rng.integers(4)):
        case 0:
            del data[place:]
        case 1:
            data[place : place + len(some)] = some
        case 2:
            data[place:place] = some
        case _:
            data[place:place] = data[place : place + int(rng.integers(1, 60))]
    return bytes(data)


@pytest.mark.parametrize("suffix", FORMATS)
def test_damage_is_refused_or_harmless(tmp_path, suffix, capfd):
    rng, refused = np.random.default_rng(0), 0
    for i in range(150):
        path = tmp_path / f"{i}.{suffix}"
        path.write_bytes(damaged(FORMATS[suffix], rng))
        try:
            found = read_table([path], Options(), most=1 << 26)
        except DataError as error:
            refused += 1
            assert str(error).startswith(str(path))
        else:
            assert len(found.frame) == len(found.raw.rows) > 0
    assert refused > 10
