"""Faults in the files of a table: each is refused, with the message that a user sees."""

import gzip
import io
import lzma
from typing import Any

import numpy as np
import polars as pl
import pytest

from dltrain import tasks
from dltrain.data.sources.table import load_table
from dltrain.errors import ConfigError, DataError

HEADER = "n,x,c,y\n"
GOOD = HEADER + "".join(f"{i},{i * 1.5},{'ab'[i % 2]},{i % 7 + 0.5}\n" for i in range(1, 41))
JSON = '{"a": 1, "y": 2}\n{"a": 2, "y": 3}\n{"a": 3, "y": 4}\n'
DATES = "d,y\n" + "".join(f"2020-01-{i:02},{i}.5\n" for i in range(1, 29))


def line(number: int, text: str) -> str:
    """The good file with another line, from 1."""
    lines = GOOD.splitlines()
    lines[number - 1] = text
    return "\n".join(lines) + "\n"


def written(frame: Any, method: str) -> bytes:
    buffer = io.BytesIO()
    getattr(frame, method)(buffer)
    return buffer.getvalue()


SMALL = pl.DataFrame({"a": [1, 2, 3], "y": [1.5, 2.5, 3.5]})


def parquet(frame: Any = SMALL) -> bytes:
    return written(frame, "write_parquet")


def arrow() -> bytes:
    return written(SMALL, "write_ipc")


def fault(name: str, content: Any, message: str, *, file: str = "t.csv", **options: Any) -> Any:
    """A file with this content (None: no file, a dict: a folder), and the message that names what is wrong."""
    return pytest.param(file, content, message, options, id=name)


SHORT = {  # what many messages have in common
    "{skip}": "; correct it, or leave such rows out with data.on_bad=skip",
    "{quotes}": "opens a field that is not closed, or stands inside one; double it inside a field, or read "
    "quotes as ordinary characters with data.quote=none",
    "{range}": "a number between -3.4e+38 and 3.4e+38",
    "{object}": '{"a": 1}',
}

FAULTS = [
    fault("no such file", None, "t.csv (data.path): cannot be read (No such file or directory)"),
    fault("a folder", {}, "t.csv (data.path): the folder has no files *.parquet or *.pq"),
    fault("empty", "", "t.csv: is empty; expected a table with a header and rows"),
    fault("only blank lines", "\n\n \n", "t.csv: is empty; expected a table with a header and rows"),
    fault("only a byte order mark", b"\xef\xbb\xbf", "t.csv: is empty; expected a table with a header and rows"),
    fault("header only", HEADER, "t.csv: has a header but no rows"),
    fault("only comments", "# a\n# b\n", "t.csv: has only comments; expected a header and rows", comment="#"),
    fault("a PNG", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "t.csv: is not a table but a PNG image"),
    fault("a JPEG", b"\xff\xd8\xff\xe0" + bytes(range(256)), "t.csv: is not a table but a JPEG image"),
    fault(
        "an Excel workbook",
        b"PK\x03\x04" + bytes(100),
        "t.csv: is not a table but a zip archive, such as an Excel workbook; save the sheet as CSV",
    ),
    fault(
        "an old Excel workbook",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100),
        "t.csv: is not a table but an old Excel workbook; save the sheet as CSV",
    ),
    fault("a PDF", b"%PDF-1.7\n" + bytes(100), "t.csv: is not a table but a PDF document"),
    fault(
        "an SQLite database",
        b"SQLite format 3\x00" + bytes(100),
        "t.csv: is not a table but an SQLite database; export the table as CSV",
    ),
    fault("a NumPy array", b"\x93NUMPY\x01\x00" + bytes(100), "t.csv: is not a table but a NumPy array"),
    fault(
        "an HDF5 file",
        b"\x89HDF\r\n\x1a\n" + bytes(100),
        "t.csv: is not a table but an HDF5 file; export the table as Parquet or CSV",
    ),
    fault(
        "a pickle",
        b"\x80\x04\x95\x10" + bytes(100),
        "t.csv: is not a table but a Python pickle; export the table as Parquet or CSV",
    ),
    fault("zstd", b"(\xb5/\xfd" + bytes(100), "t.csv: is not a table but compressed by zstd; unpack it"),
    fault(
        "a web page",
        "<!DOCTYPE html>\n<html><body>404</body></html>\n",
        "t.csv: is not a table but a web page or XML; a download may have failed",
    ),
    fault(
        "XML",
        "<?xml version='1.0'?>\n<rows/>\n",
        "t.csv: is not a table but a web page or XML; a download may have failed",
    ),
    fault(
        "binary junk",
        bytes((i * 7919 + i * i) % 256 for i in range(5000)).replace(b"\x89P", b"xx"),
        "t.csv: is not a table but binary data; expected CSV, TSV, Parquet, JSON lines or Feather",
    ),
    fault(
        "prose",
        "This is not a table.\nIt has sentences,\nof several words, each.\n",
        (
            "t.csv, line 2: found 2 fields, expected 1 (comma-separated), as the header has (2 of 2 "
            "rows are bad){skip}"
        ),
        target="y",
    ),
    fault(
        "duplicate names",
        "a,b,a,y\n1,2,3,4\n2,3,4,5\n",
        (
            "t.csv, line 1: 2 columns have the name a (columns 1 and 3); rename them in the file, or "
            "name all columns with data.columns=[...]"
        ),
    ),
    fault(
        "duplicate names by case of data.columns",
        "1,2\n2,3\n",
        "data.columns: y is named twice; each column needs a name of its own",
        columns=["y", "y"],
    ),
    fault(
        "a row too short",
        line(8, "7,10.5,b"),
        "t.csv, line 8: found 3 fields, expected 4 (comma-separated), as the header has{skip}",
    ),
    fault(
        "a row too long",
        line(8, "7,10.5,b,0.5,9"),
        "t.csv, line 8: found 5 fields, expected 4 (comma-separated), as the header has{skip}",
    ),
    fault(
        "three ragged rows",
        GOOD + "1,2\n1\n1,2,3,4,5\n",
        (
            "t.csv, line 42: found 2 fields, expected 4 (comma-separated), as the header has (3 of 43 "
            "rows are bad){skip}"
        ),
    ),
    fault(
        "ragged after a quoted line break",
        'n,c,y\n1,"a\nb",1\n2,b\n3,c,3\n',
        "t.csv, line 4: found 2 fields, expected 3 (comma-separated), as the header has{skip}",
    ),
    fault(
        "a trailing separator in each row",
        "a,y\n1,2,\n2,3,\n3,4,\n",
        (
            "t.csv, line 2: found 3 fields, expected 2 (comma-separated), as the header has (3 of 3 "
            "rows are bad){skip}"
        ),
    ),
    fault(
        "an unclosed quote",
        'n,c,y\n1,"a,1\n2,"b",2\n3,"c",3\n4,"c",3\n5,"c",3\n',
        't.csv, line 2: a quote (") {quotes}',
    ),
    fault(
        "a quote inside a field",
        "n,c,y\n" + "".join(f'{i},"a{i}",{i}\n' for i in range(20)) + '21,"a"b",3\n',
        't.csv, line 22: a quote (") {quotes}',
    ),
    fault("NUL bytes", line(9, "8,12.0\x00,a,1.5"), "t.csv, line 9: found a NUL byte, expected text{skip}"),
    fault(
        "a number beyond float range",
        line(9, "8,1e400,a,1.5"),
        "t.csv, line 9, column x: found '1e400', expected {range}{skip}",
    ),
    fault(
        "a number beyond float32",
        line(9, "8,1e39,a,1.5"),
        "t.csv, line 9, column x: found '1e39', expected {range}{skip}",
    ),
    fault("infinity", line(9, "8,inf,a,1.5"), "t.csv, line 9, column x: found 'inf', expected {range}{skip}"),
    fault(
        "minus infinity in the target",
        line(9, "8,12.0,a,-inf"),
        "t.csv, line 9, column y: found '-inf', expected {range}{skip}",
    ),
    fault(
        "a word among numbers",
        line(9, "8,abc,a,1.5"),
        "t.csv, line 9, column x: found 'abc', expected a number{skip}",
    ),
    fault(
        "a word among numbers of the target",
        line(9, "8,12.0,a,many"),
        "t.csv, line 9, column y: found 'many', expected a number{skip}",
    ),
    fault(
        "a number with a unit",
        line(9, "8,12 kg,a,1.5"),
        "t.csv, line 9, column x: found '12 kg', expected a number{skip}",
    ),
    fault(
        "a decimal comma among points",
        line(9, '8,"12,5",a,1.5'),
        "t.csv, line 9, column x: found '12,5', expected a number{skip}",
    ),
    fault(
        "a date among numbers",
        line(9, "8,2020-01-01,a,1.5"),
        "t.csv, line 9, column x: found '2020-01-01', expected a number{skip}",
    ),
    fault(
        "an impossible date",
        DATES + "2020-02-30,3.5\n",
        "t.csv, line 30, column d: found '2020-02-30', expected a date as YYYY-MM-DD{skip}",
    ),
    fault(
        "a word among dates",
        DATES + "soon,3.5\n",
        "t.csv, line 30, column d: found 'soon', expected a date as YYYY-MM-DD{skip}",
    ),
    fault(
        "a word where data.meanings says number",
        "a,y\n1,1.5\nx,2.5\ny,3.5\n",
        "t.csv, line 3, column a: found 'x', expected a number (2 of 3 rows are bad){skip}",
        meanings={"a": "number"},
    ),
    fault(
        "a word where data.meanings says date",
        "a,y\n2020-01-01,1.5\nx,2.5\ny,3.5\n",
        ("t.csv, line 3, column a: found 'x', expected a date as YYYY-MM-DD (2 of 3 rows are bad){skip}"),
        meanings={"a": "date"},
    ),
    fault(
        "no target given",
        GOOD,
        "data.target: missing; data.target=COLUMN names the column to predict; t.csv has n, x, c, y",
        target=None,
    ),
    fault(
        "no such target",
        GOOD,
        "data.target=Yy: t.csv has no such column; did you mean y? (columns: n, x, c, y)",
        target="Yy",
    ),
    fault(
        "a target alike",
        "rooms,price\n1,2\n2,3\n",
        "data.target=prise: t.csv has no such column; did you mean price? (columns: rooms, price)",
        target="prise",
    ),
    fault(
        "a target by another case",
        "rooms,Price\n1,2\n2,3\n",
        "data.target=price: t.csv has no such column; did you mean Price? (columns: rooms, Price)",
        target="price",
    ),
    fault(
        "no such column in data.meanings",
        GOOD,
        "data.meanings=nn: t.csv has no such column; did you mean n? (columns: n, x, c, y)",
        meanings={"nn": "number"},
    ),
    fault(
        "a target with one value",
        "a,y\n1,2\n2,2\n3,2\n",
        "t.csv: the target y has a single value, 2; there is nothing to predict",
    ),
    fault(
        "a target with one class",
        "a,y\n1,yes\n2,yes\n3,yes\n",
        "t.csv: the target y has a single value, yes; there is nothing to predict",
    ),
    fault(
        "a target with one value and missing ones",
        "a,y\n1,yes\n2,\n3,yes\n",
        "t.csv: the target y has a single value, yes; there is nothing to predict",
    ),
    fault("a target missing everywhere", "a,y\n1,\n2,NA\n3,?\n", "t.csv: the target y is missing in every row"),
    fault(
        "a target missing, refused",
        "a,y\n1,2\n2,\n3,4\n",
        (
            "t.csv, line 3: the target y is missing (in 1 of 3 rows); fill it in, or leave such rows "
            "out with data.missing_target=drop"
        ),
        missing_target="refuse",
    ),
    fault(
        "no column but the target",
        "y\n1\n2\n3\n",
        "t.csv: has no column that a model could learn from besides the target",
    ),
    fault(
        "data.columns of another number",
        "1,2,3\n2,3,4\n",
        "t.csv: has 3 columns, but data.columns names 2: a, y",
        columns=["a", "y"],
    ),
    fault(
        "data.positive of no class",
        "a,y\n1,ham\n2,spam\n",
        "data.positive=spm: target y has no such class; it has ham and spam",
        positive="spm",
        task=tasks.Binary(),
    ),
    fault(
        "data.positive of three classes",
        "a,y\n1,ham\n2,spam\n3,eggs\n",
        "data.positive=spam: target y has 3 classes; it chooses between two",
        positive="spam",
        task=tasks.Classification(),
    ),
    fault(
        "task=regression of words",
        "a,y\n1,ham\n2,spam\n",
        (
            "t.csv, line 2, column y: found 'ham', expected a number, since the target is to be "
            "predicted as a number; task=classification predicts classes"
        ),
        task=tasks.Regression(),
    ),
    fault(
        "too many bad rows",
        GOOD + "1,2\n",
        (
            "1 of 41 rows is bad, 2.44%, more than data.most_bad=0.01 allows; the first: t.csv, line "
            "42: found 2 fields, expected 4 (comma-separated), as the header has"
        ),
        on_bad="skip",
    ),
    fault(
        "too many bad values",
        line(9, "8,abc,a,1.5"),
        (
            "1 of 40 rows is bad, 2.50%, more than data.most_bad=0.01 allows; the first: t.csv, line 9, "
            "column x: found 'abc', expected a number"
        ),
        on_bad="skip",
    ),
    fault(
        "all rows bad",
        "a,y\n1\n2\n3\n",
        "t.csv, line 2: found 1 field, expected 2 (comma-separated), as the header has (all rows are bad)",
        on_bad="skip",
        most_bad=1.0,
    ),
    fault(
        "not UTF-8 though most is",
        ("c,y\n" + "é,1\nü,2\n" * 30).encode() + b"\xff,3\n",
        (
            "t.csv, line 62: found the byte 0xff, expected utf-8; save the file as UTF-8, or name its "
            "encoding, such as data.encoding=cp1252"
        ),
    ),
    fault(
        "not the encoding that is set",
        b"c,y\n\xe9,1\na,2\n",
        (
            "t.csv, line 2: found the byte 0xe9, expected utf-8; save the file as UTF-8, or name its "
            "encoding, such as data.encoding=cp1252"
        ),
        encoding="utf-8",
    ),
    fault(
        "utf-16 cut short",
        "c,y\na,1\nb,2\n".encode("utf-16")[:-1],
        (
            "t.csv, line 3: found the byte 0x0a, expected utf-16-le; save the file as UTF-8, or name "
            "its encoding, such as data.encoding=cp1252"
        ),
    ),
    fault(
        "no such encoding",
        GOOD,
        "data.encoding=utf-9: unknown; try utf-8, utf-16, latin-1 or cp1252",
        encoding="utf-9",
    ),
    fault(
        "no such separator",
        GOOD,
        "data.separator=ab: expected auto, one character, or comma, tab, semicolon, pipe, space",
        separator="ab",
    ),
    fault(
        "quote is the separator",
        GOOD,
        "data.quote=;: is also data.separator; they must differ",
        separator=";",
        quote=";",
    ),
    fault(
        "gzip cut short",
        gzip.compress(GOOD.encode())[:60],
        (
            "t.csv.gz: the compressed file is damaged or cut short (Compressed file ended before the "
            "end-of-stream marker was reached)"
        ),
        file="t.csv.gz",
    ),
    fault(
        "gzip damaged",
        gzip.compress(GOOD.encode())[:-4] + b"abcd",
        "t.csv.gz: the compressed file is damaged or cut short (Incorrect length of data produced)",
        file="t.csv.gz",
    ),
    fault(
        "xz damaged",
        lzma.compress(GOOD.encode())[:-20] + bytes(20),
        "t.csv.xz: the compressed file is damaged or cut short (Corrupt input data)",
        file="t.csv.xz",
    ),
    fault(
        "a gzip bomb",
        gzip.compress(b"0," * 10000000),
        (
            "t.csv.gz: has more than 1,000,000 bytes unpacked, which do not fit into memory; convert it "
            "to Parquet, or take a part of it"
        ),
        memory_left=1000000,
        file="t.csv.gz",
    ),
    fault(
        "parquet cut short",
        parquet()[:200],
        (
            "t.parquet: the Parquet file is damaged or cut short (parquet: File out of specification: "
            "The file must end with PAR1 or PARE); write it again"
        ),
        file="t.parquet",
    ),
    fault(
        "parquet without end",
        parquet()[:-8] + b"xxxxxxxx",
        (
            "t.parquet: the Parquet file is damaged or cut short (parquet: File out of specification: "
            "The file must end with PAR1 or PARE); write it again"
        ),
        file="t.parquet",
    ),
    fault(
        "parquet junk inside",
        b"PAR1" + bytes(300) + parquet()[-100:],
        (
            "t.parquet: the Parquet file is damaged or cut short (parquet: File out of specification: "
            "The footer size must be smaller or equal to the file's size); write it again"
        ),
        file="t.parquet",
    ),
    fault(
        "a CSV called parquet",
        GOOD,
        "t.parquet: is called .parquet but is not such a file; it begins with b'n,x,c,y\\n'",
        file="t.parquet",
    ),
    fault(
        "an empty parquet",
        parquet(pl.DataFrame({"a": [], "y": []})),
        "t.parquet: has 2 columns and no rows",
        file="t.parquet",
    ),
    fault(
        "a parquet bomb",
        parquet(pl.DataFrame({"a": pl.repeat(1, 1000000, eager=True), "y": pl.repeat(1, 1000000, eager=True)})),
        (
            "t.parquet: declares 1,000,000 rows, 16,000,000 bytes or more, which do not fit into memory "
            "(1,000,000 bytes); take a part of it"
        ),
        memory_left=1000000,
        file="t.parquet",
    ),
    fault(
        "parquet with infinity",
        parquet(pl.DataFrame({"a": [1.0, float("inf"), 3.0], "y": [1.5, 2.5, 3.5]})),
        "t.parquet, row 2, column a: found inf, expected {range}{skip}",
        file="t.parquet",
    ),
    fault(
        "arrow cut short",
        arrow()[:200],
        ("t.arrow: the Feather or Arrow file is damaged or cut short (out-of-spec: InvalidFooter); write it again"),
        file="t.arrow",
    ),
    fault(
        "feather version 1",
        b"FEA1" + bytes(200),
        "t.feather: is Feather version 1; write it again as version 2, or as Parquet",
        file="t.feather",
    ),
    fault(
        "an empty feather",
        b"",
        (
            "t.feather: the Feather or Arrow file is damaged or cut short (failed to fill whole "
            "buffer); write it again"
        ),
        file="t.feather",
    ),
    fault(
        "JSON that is a list",
        "[" + JSON.replace("\n", ",").rstrip(",") + "]",
        "t.json: is one JSON list; expected JSON lines, an object on each line",
        file="t.json",
    ),
    fault(
        "a JSON line cut short",
        JSON + '{"a": 4, "y"\n',
        (
            "t.jsonl, line 4: found '{\"a\": 4, \"y\"' (Expecting ':' delimiter: line 1 column 13 (char "
            "12)), expected an object such as {object}{skip}"
        ),
        file="t.jsonl",
    ),
    fault(
        "a JSON line that is a list",
        JSON + "[1, 2]\n",
        "t.jsonl, line 4: found [1, 2], expected an object such as {object}{skip}",
        file="t.jsonl",
    ),
    fault(
        "a key twice",
        '{"a": 1, "a": 2, "y": 1}\n' + JSON,
        (
            't.jsonl, line 1: found \'{"a": 1, "a": 2, "y": 1}\' (the key a twice), expected an object '
            "such as {object}{skip}"
        ),
        file="t.jsonl",
    ),
    fault(
        "JSON with a word among numbers",
        "".join(f'{{"a": {i}, "y": {i}.5}}\n' for i in range(20)) + '{"a": "x", "y": 4}\n',
        "t.jsonl, line 21, column a: found 'x', expected a number{skip}",
        file="t.jsonl",
    ),
    fault(
        "JSON beyond float range",
        JSON + '{"a": 1e400, "y": 4}\n',
        "t.jsonl, line 4, column a: found inf, expected {range}{skip}",
        file="t.jsonl",
    ),
    fault(
        "JSON of records only",
        '{"a": {"b": 1}, "y": 1}\n{"a": {"b": 2}, "y": 2}\n',
        "t.jsonl: has no column that a model could learn from besides the target",
        file="t.jsonl",
    ),
    fault("an empty JSON file", "", "t.jsonl: is empty; expected a table with a header and rows", file="t.jsonl"),
    fault(
        "a test file without a column",
        GOOD,
        "test.csv: has no column c, which t.csv has",
        test=("test.csv", b"n,x,y\n1,2,3\n2,3,4\n"),
    ),
    fault(
        "a test file with a word among numbers",
        GOOD,
        "test.csv, line 2, column x: found 'abc', expected a number{skip}",
        test=("test.csv", b"n,x,c,y\n1,abc,a,3\n2,3,a,4\n"),
    ),
    fault(
        "a test file of another type",
        parquet(),
        "test.parquet: column a is of type String, expected Int64 as in t.parquet",
        test=("test.parquet", parquet(pl.DataFrame({"a": ["u", "v"], "y": [1.0, 2.0]}))),
        file="t.parquet",
    ),
    fault(
        "no such test file",
        GOOD,
        "test.csv (data.path): cannot be read (No such file or directory)",
        test=("test.csv", None),
    ),
]


def write(path: Any, content: Any) -> str:
    if isinstance(content, dict):
        path.mkdir()
    elif content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


@pytest.mark.parametrize(("file", "content", "message", "options"), FAULTS)
def test_a_fault_is_refused_with_its_place_and_what_would_be_right(tmp_path, file, content, message, options):
    options = {"target": "y", **options}
    task = options.pop("task", None)
    if "test" in options:
        options["test_path"] = write(tmp_path / options["test"][0], options.pop("test")[1])
    with pytest.raises((DataError, ConfigError)) as caught:
        source = load_table(write(tmp_path / file, content), task=task, **options)
        source.encode(np.arange(len(source)))
    for short, long in SHORT.items():
        message = message.replace(short, long)
    assert str(caught.value).replace(f"{tmp_path}/", "") == message
    assert caught.value.code == (2 if isinstance(caught.value, ConfigError) else 3)


def test_there_are_enough_faults():
    assert len(FAULTS) >= 60
