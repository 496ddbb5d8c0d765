"""Files with known answers: what is detected, what is set, and which rows remain."""

import bz2
import gzip
import lzma
from datetime import datetime

import numpy as np
import polars as pl
import pytest

from dltrain.data.bad import OnBad, as_csv
from dltrain.data.tables import read, structure
from dltrain.data.tables.options import Options
from dltrain.errors import DataError

PLAIN = "a,b\n1,x\n2,y\n"


def table(folder, content, name="t.csv", **options):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read.read_table([path], Options(**options), most=1 << 30)


DETECTED = {  # content -> columns, rows, what the note says
    "comma": (PLAIN, [(1, "x"), (2, "y")], "comma-separated, with header, utf-8"),
    "one decimal comma a line": (
        "a;b;c\n" + "1;20,5;7\n" * 40,
        [(1, 20.5, 7)] * 40,
        "semicolon-separated",
    ),
    "semicolon with decimal commas": ("a;b\n1,5;x\n-2,25;y\n", [(1.5, "x"), (-2.25, "y")], "semicolon-separated"),
    "tab": ("a\tb\n1\tx, y\n2\tz, w\n", [(1, "x, y"), (2, "z, w")], "tab-separated"),
    "pipe": ("a|b\n1|x\n2|y\n", [(1, "x"), (2, "y")], "pipe-separated"),
    "blanks": (" a   b\n 1   x\n22   y  \n", [(1, "x"), (22, "y")], "space-separated"),
    "blanks around fields": ("a, b\n1 , x\n 2,\ty \n", [(1, "x"), (2, "y")], "comma-separated"),
    "blanks inside quotes stay": ('a,b\n1," x "\n2,y\n', [(1, " x "), (2, "y")], "comma-separated"),
    "blanks before quotes": ('a, "b"\n1, "x, z"\n2, "y"\n', [(1, "x, z"), (2, "y")], "comma-separated"),
    "quotes": ('a,b\n1,"x ""y"", z"\n2,y\n', [(1, 'x "y", z'), (2, "y")], "comma-separated"),
    "line feeds in quotes": ('a,b\n1,"x\n\ny"\n2,y\n', [(1, "x\n\ny"), (2, "y")], "comma-separated"),
    "single quotes": ("a,b\n1,'x, z'\n2,'y'\n", [(1, "x, z"), (2, "y")], "quoted by '"),
    "apostrophes": ("a,b\n1,it's\n2,o'clock\n", [(1, "it's"), (2, "o'clock")], "utf-8"),
    "raw quotes": ('a\tb\n1\tan 8" pipe\n2\tsay "no" now\n', [(1, 'an 8" pipe'), (2, 'say "no" now')], "tab"),
    "CRLF": (PLAIN.replace("\n", "\r\n"), [(1, "x"), (2, "y")], "CRLF"),
    "CR alone": (PLAIN.replace("\n", "\r"), [(1, "x"), (2, "y")], "comma-separated"),
    "no last line feed": (PLAIN[:-1], [(1, "x"), (2, "y")], "comma-separated"),
    "blank lines": ("\n" + PLAIN.replace("\n", "\n\n") + "  \n", [(1, "x"), (2, "y")], "comma-separated"),
    "byte order mark": (b"\xef\xbb\xbf" + PLAIN.encode(), [(1, "x"), (2, "y")], "utf-8 with byte order mark"),
    "utf-16": (PLAIN.encode("utf-16"), [(1, "x"), (2, "y")], "utf-16-le with byte order mark"),
    "utf-16 without mark": (PLAIN.encode("utf-16-be"), [(1, "x"), (2, "y")], "utf-16-be"),
    "cp1252": ("a,b\n1,né\n2,€\n".encode("cp1252"), [(1, "né"), (2, "€")], "cp1252"),
    "latin-1": (b"a,b\n1,n\x81\n2,\xe9\n", [(1, "n\x81"), (2, "é")], "latin-1"),
    "gzip": (gzip.compress(PLAIN.encode()), [(1, "x"), (2, "y")], "comma-separated"),
    "xz": (lzma.compress(PLAIN.encode()), [(1, "x"), (2, "y")], "comma-separated"),
    "bzip2": (bz2.compress(PLAIN.encode()), [(1, "x"), (2, "y")], "comma-separated"),
    "no header": ("1,x\n2,y\n", [(1, "x"), (2, "y")], "without header"),
    "no header, words": (
        "ham\tgo\nham\tok\nham\tno\n",
        [("ham", "go"), ("ham", "ok"), ("ham", "no")],
        "without",
    ),
    "missing": (
        "a,b\n1,?\n,y\nNA,null\nNaN,\n4,z\n",
        [(1, None), (None, "y"), (None, None), (None, None), (4, "z")],
        "",
    ),
    "thousands": ('a,b\n"1,200",x\n"12,345,678.5",y\n', [(1200.0, "x"), (12345678.5, "y")], "separate thousands"),
    "leading zeros": ("a,b\n01234,x\n98765,y\n", [("01234", "x"), ("98765", "y")], "are codes, not numbers"),
    "flags": ("a,b\nTrue,x\nFALSE,y\n", [(True, "x"), (False, "y")], ""),
    "dates": ("a,b\n2020-02-29,x\n2021-01-01,y\n", [(datetime(2020, 2, 29), "x"), (datetime(2021, 1, 1), "y")], ""),
    "times": (
        "a,b\n03.01.2020 14:30,x\n13.01.2020 00:05,y\n",
        [(datetime(2020, 1, 3, 14, 30), "x"), (datetime(2020, 1, 13, 0, 5), "y")],
        "",
    ),
    "unsure dates": (
        "a,b\n03/04/2020,x\n05/06/2020,y\n",
        [(datetime(2020, 3, 4), "x"), (datetime(2020, 5, 6), "y")],
        "cannot be told apart",
    ),
    "day first": (
        "a,b\n03/04/2020,x\n25/06/2020,y\n",
        [(datetime(2020, 4, 3), "x"), (datetime(2020, 6, 25), "y")],
        "",
    ),
}


@pytest.mark.parametrize("name", DETECTED)
def test_what_a_file_is_written_like_is_detected_and_said(tmp_path, name):
    content, rows, note = DETECTED[name]
    found = table(tmp_path, content)
    assert found.frame.rows() == rows
    assert note in "; ".join(found.raw.notes)


SET = {
    "separator": ("a;b,c\n1;2,3\n", {"separator": "comma"}, {"a;b": ["1;2"], "c": [3]}),
    "quote": ('a,b\n"x,"y\n', {"quote": "none"}, {"a": ['"x'], "b": ['"y']}),
    "encoding": ("a,b\n1,ж\n".encode("cp1251"), {"encoding": "cp1251"}, {"a": [1], "b": ["ж"]}),
    "header": ("x,y\nu,w\n", {"header": False}, {"column_1": ["x", "u"], "column_2": ["y", "w"]}),
    "a header of numbers": ("2019,2020\nu,w\n", {"header": True}, {"2019": ["u"], "2020": ["w"]}),
    "columns": ("1,x\n", {"columns": ("a", "b")}, {"a": [1], "b": ["x"]}),
    "columns and the header": ("a,b\n1,x\n", {"columns": ("a", "b")}, {"a": [1], "b": ["x"]}),
    "columns for the header": ("a,a\n1,x\n", {"columns": ("a", "b"), "header": True}, {"a": [1], "b": ["x"]}),
    "missing": ("a,b\n-999,x\n2,none\n", {"missing": ("-999", "none")}, {"a": [None, 2], "b": ["x", None]}),
    "missing, as another number": (
        "a,b\n-999.0,x\n2.5,y\n",
        {"missing": ("-999",)},
        {"a": [None, 2.5], "b": ["x", "y"]},
    ),
    "comment": ("# it's\na,b\n#1,z\n1,x\n", {"comment": "#"}, {"a": [1], "b": ["x"]}),
    "strip_label": ("a,b\n1,x.\n2,y\n", {"strip_label": ".", "targets": ("b",)}, {"a": [1, 2], "b": ["x", "y"]}),
    "decimal": ("a\tb\n1,5\t2\n", {"decimal": "comma"}, {"a": [1.5], "b": [2]}),
    "number": ("a,b\n01,2\n", {"meanings": (("a", "number"),)}, {"a": [1], "b": [2]}),
    "category": ("a,b\n01,2\n", {"meanings": (("b", "category"),)}, {"a": ["01"], "b": ["2"]}),
}


@pytest.mark.parametrize("name", SET)
def test_what_is_set_counts(tmp_path, name):
    content, options, columns = SET[name]
    assert table(tmp_path, content, **options).frame.to_dict(as_series=False) == columns


def test_rows_keep_the_lines_of_the_file_and_bad_ones_are_listed(tmp_path):
    rows = "".join(f'{i},"a\nb",{i}.5\n' for i in range(200))
    content = "# first\na,b,c\n" + rows + "1,2\nx,b,1.5\n7,b,1e400\n8,b,2.5\n"
    found = table(tmp_path, content, on_bad=OnBad.SKIP, most_bad=0.02, comment="#").raw
    assert found.where(0) == f"{tmp_path}/t.csv, line 3" and found.where(199).endswith("line 401")
    assert found.where(200).endswith("line 406") and len(found.frame) == 201 and found.total == 204
    lines = as_csv(found.bad).splitlines()
    assert [line.split(",")[1] for line in lines[1:]] == ["line 403", "line 404", "line 405"]
    assert lines[2].endswith(",a,\"found 'x', expected a number\"") and "1e400" in lines[3]


def test_blocks_of_a_file_give_the_same_rows(tmp_path, monkeypatch):
    content = "a,b\n" + "".join(f'{i},"x{i}\n""q"", {i}"\n' for i in range(50))
    whole = table(tmp_path, content).raw
    monkeypatch.setattr(structure, "BLOCK", 40)
    parts = table(tmp_path, content, comment="#").raw
    assert parts.frame.equals(whole.frame) and np.array_equal(parts.rows, whole.rows)


def test_several_files_are_one_table_and_the_first_decides(tmp_path):
    (tmp_path / "one.csv").write_text("a,b\n1,x\n2,y\n")
    (tmp_path / "two.csv").write_text("c,b,a\nq,z,3\n")
    found = read.read_table([tmp_path / "one.csv", tmp_path / "two.csv"], Options(), most=1 << 30).raw
    assert found.frame.to_dict(as_series=False) == {"a": [1, 2, 3], "b": ["x", "y", "z"]}
    assert found.where(2) == f"{tmp_path}/two.csv, line 2" and "column c is left out" in "".join(found.notes)


def test_a_file_is_read_once_in_a_process_and_again_when_it_changes(tmp_path):
    one = table(tmp_path, PLAIN)
    path = tmp_path / "t.csv"
    assert read.read_table([path], Options(), most=1 << 29) is one  # the room that is left changes
    two = table(tmp_path, PLAIN + "3,z\n")
    assert len(two.frame) == 3 and two.fingerprint != one.fingerprint


def test_lists_records_and_bytes_are_left_out_with_a_note(tmp_path):
    frame = pl.DataFrame({"a": [1, 2], "b": [[1], [2]], "c": [{"x": 1}, {"x": 2}], "d": [b"1", b"2"]})
    frame.write_parquet(tmp_path / "t.parquet")
    found = read.read_table([tmp_path / "t.parquet"], Options(), most=1 << 30).raw
    assert found.frame.columns == ["a"]
    assert [note.rpartition(" ")[2] for note in found.notes[1:]] == ["lists", "records", "bytes"]


def test_json_lines_of_mixed_types_are_judged_like_texts(tmp_path):
    rows = '{"a": 1, "b": "7"}\n{"a": "2", "b": "8", "c": true}\n{"a": 2.5}\n'
    found = table(tmp_path, rows, "t.jsonl").frame
    assert found.to_dict(as_series=False) == {"a": [1.0, 2.0, 2.5], "b": ["7", "8", None], "c": [None, True, None]}


def test_a_table_is_not_read_where_it_does_not_fit(tmp_path):
    with pytest.raises(DataError, match="do not fit into memory"):
        read.read_table([_written(tmp_path)], Options(), most=1000)


def _written(folder):
    path = folder / "t.csv"
    path.write_text(PLAIN * 200)
    return path


def test_control_characters_in_utf8_are_text(tmp_path):
    rows = [f"{i},\x01\x02\x03\x04{i % 3}" for i in range(20)]
    assert table(tmp_path, "a,b\n" + "\n".join(rows) + "\n").frame["b"][1] == "\x01\x02\x03\x041"
    for junk in (b"a,b\n" + bytes(range(256)) * 4, b"a,b\n1,\x00\x01\x02\x03\x04\x05\x06\x07\x08\x0e\n"):
        (tmp_path / "t.csv").write_bytes(junk)
        with pytest.raises(DataError, match="is not a table but binary data"):
            read.read_table([tmp_path / "t.csv"], Options(), most=1 << 30)


def test_rows_of_other_data_are_refused_without_keys_that_it_does_not_have(tmp_path):
    """As of data=series, which has no data.columns, data.quote, data.encoding and data.on_bad."""
    cut = ("a,b\n" + "é,1\nü,2\n" * 30).encode() + b"\xff,3\n"
    for content in (b"a,a\n1,2\n", b'a,b\n1,"x\n2,"z"\n"q","r"\n', cut, b"a,b\n1,2\n3\n"):
        (tmp_path / "t.csv").write_bytes(content)
        with pytest.raises(DataError) as caught:
            read.read_rows(tmp_path / "t.csv")
        assert "t.csv" in str(caught.value) and "data." not in str(caught.value), caught.value
