"""`POST /predict`: whatever form examples have, the answer is that of `predict`; a request reads no file."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest
from http_client import ask
from tiny_images import encoded

from dltrain.serving.form import parse_form
from dltrain.serving.limits import Refused


def uploaded(row: dict) -> dict:
    """Return a row with the content of its image instead of the path."""
    photo = row["photo"] and base64.b64encode(Path(row["photo"]).read_bytes()).decode()
    return {**row, "photo": photo}


def same(given: list[dict], run, records) -> None:
    """Compare an answer with the columns of `predict`."""
    wanted = run.predict(records).to_frame().to_dicts()
    assert [row["class"] for row in given] == [row["class"] for row in wanted]
    for row, other in zip(given, wanted, strict=True):
        assert list(row) == list(other)
        assert np.allclose(list(row.values())[1:], list(other.values())[1:], rtol=1e-5, atol=1e-7)


def form(*parts: tuple[str, bytes, bool]) -> tuple[bytes, str]:
    content = b""
    for name, value, file in parts:
        extra = '; filename="a \\"name=b\\".png"\r\nContent-Type: image/png' if file else ""
        content += (
            f'--x y\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n'.encode() + value + b"\r\n"
        )
    return content + b"--x y--\r\n", 'multipart/form-data; boundary="x y"'


def test_rows_of_a_table_are_predicted_as_by_predict(table_url, table, flats):
    answer = ask(table_url, "/predict", [uploaded(row) for row in flats])
    assert answer.status == 200 and answer.json["model"] == "flats" and "ignored" not in answer.json
    same(answer.json["predictions"], table, flats)


def test_one_row_may_have_other_names_which_are_listed(table_url, table, flats):
    answer = ask(table_url, "/predict", {**uploaded(flats[1]), "kind": [1], "id": {"a": None}})
    assert answer.json["ignored"] == ["id", "kind"]
    same(answer.json["predictions"], table, flats[1:2])


def test_json_that_curl_sends_as_a_form_is_read(table_url, flats):
    kind = {"Content_Type": "application/x-www-form-urlencoded"}
    body = json.dumps(uploaded(flats[0])).encode()
    assert ask(table_url, "/predict", body, **kind).status == 200
    assert ask(table_url, "/predict", b"rooms=3", **kind).status == 415


def test_an_image_is_uploaded_in_any_of_the_usual_ways(digits_url, digits, image):
    files = [image, encoded(np.full((8, 8), 200, np.uint8))]
    raw = ask(digits_url, "/predict", image, Content_Type="image/png")
    same(raw.json["predictions"], digits, files[:1])
    text = base64.b64encode(image).decode()
    for body in ({"image": text}, [text], f"data:image/png;base64,{text}", [{"image": text}]):
        assert ask(digits_url, "/predict", body).json == raw.json
    body, kind = form(("image", files[0], True), ("other", files[1], True))
    same(ask(digits_url, "/predict", body, Content_Type=kind).json["predictions"], digits, files)


def test_a_form_is_a_row_with_its_image(table_url, table, flats):
    row = {**flats[1], "about": "a flat"}
    parts = [(name, str(value).encode(), False) for name, value in row.items() if name != "photo"]
    body, kind = form(*parts, ("photo", Path(row["photo"]).read_bytes(), True))
    answer = ask(table_url, "/predict", body, Content_Type=kind)
    same(answer.json["predictions"], table, [{**row, "rooms": str(row["rooms"])}])


@pytest.mark.parametrize("path", ["0.png", "train.csv", "/etc/passwd", "/dev/zero", "file:///etc/passwd", ""])
def test_a_request_never_makes_the_server_read_a_file(table_url, digits_url, flats, folder_of, path, monkeypatch):
    monkeypatch.chdir(folder_of)
    wanted = "photo" if path else "photo is nothing"
    answer = ask(table_url, "/predict", {**uploaded(flats[0]), "photo": path})
    assert answer.status == 400 and wanted in answer.error and "row 0" in answer.error
    for body in ({"image": path}, path, [path], {"image": [path]}, {"image": {"path": path}}):
        answer = ask(digits_url, "/predict", body)
        assert answer.status == 400 and "row 0" in answer.error, answer


WRONG = {
    "a name": (lambda row: {**{k: v for k, v in row.items() if k != "city"}, "town": "Rome"}, "city is missing"),
    "a number": (lambda row: {**row, "rooms": [3]}, "row 0: rooms is list, expected a number"),
    "a text as a number": (lambda row: {**row, "rooms": "three"}, "expected a number"),
    "a date": (lambda row: {**row, "sold": "yesterday"}, "sold"),
    "a number as a date": (lambda row: {**row, "sold": 2020}, "row 0: sold is 2020, expected a date as a text"),
    "a large number": (lambda row: {**row, "rooms": 1e39}, "that float32 can hold"),
    "a huge number": (lambda row: {**row, "rooms": 10**40}, "that float32 can hold"),
    "a text": (lambda row: {**row, "about": True}, "about is True, expected a text"),
    "nul": (lambda row: {**row, "about": "a\0b"}, "NUL"),
    "a list": (lambda row: [row, 3], "row 1 is int, expected an object"),
    "an empty list": (lambda row: [], "no rows"),
    "mixed": (
        lambda row: [row, {**row, "rooms": 1}, {**row, "rooms": "2"}],
        "rooms: the rows have numbers and texts",
    ),
    "null": (lambda row: [None], "row 0 is NoneType, expected an object"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_row_is_refused_with_what_was_expected(table_url, flats, name):
    change, words = WRONG[name]
    answer = ask(table_url, "/predict", change(uploaded(flats[0])))
    assert answer.status == 400 and words in answer.error, answer


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"rooms": NaN}', "NaN"),
        (b'{"rooms": -Infinity}', "Infinity"),
        (b'{"rooms": 1e999}', "missing"),
        (b"{", "not JSON"),
        (b"", "not JSON"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'{"a": 1, "a": 2}', "repeated"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b"[" * 40 + b"]" * 40, "deeper than 32"),
        (b"[" * 100_000, "deeper than 32"),
        (b'{"a": ' + b"1" * 5000 + b"}", "too many digits"),
    ],
)
def test_json_that_is_none_is_refused(table_url, body, words):
    answer = ask(table_url, "/predict", body, Content_Type="application/json")
    assert answer.status == 400 and words in answer.error, answer


@pytest.mark.parametrize("kind", ["text/plain", "image/png", "application/xml", "multipart/form-data"])
def test_another_content_type_is_refused_with_those_that_are_read(table_url, kind):
    answer = ask(table_url, "/predict", b"x", Content_Type=kind)
    assert answer.status == (400 if kind.startswith("multipart") else 415)
    assert "application/json" in answer.error or "boundary" in answer.error


def test_a_compressed_body_is_refused(table_url):
    answer = ask(table_url, "/predict", b"x", Content_Encoding="gzip")
    assert answer.status == 415 and "Content-Encoding: gzip" in answer.error


def test_bodies_of_forms_that_are_damaged_are_refused():
    good, kind = form(("a", b"1\r\n2", False), ("b", b"", True))
    assert parse_form(good, kind) == [("a", b"1\r\n2", False), ("b", b"", True)]
    for body in (
        b"",
        good[:-8],
        good.replace(b"Content-Disposition", b"Other"),
        good.replace(b"name=", b"nam="),
        b"--x y--",
    ):
        with pytest.raises(Refused, match="multipart"):
            parse_form(body, kind)
    with pytest.raises(Refused, match="boundary"):
        parse_form(good, "multipart/form-data")
    with pytest.raises(Refused, match="parts"):
        parse_form(b"--x y\r\n\r\n\r\n" * 3000, kind)
