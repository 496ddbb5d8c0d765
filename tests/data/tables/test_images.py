"""Tables with a column that names image files: an input of its own, next to numbers and categories."""

import json

import numpy as np
import pytest
from tiny_images import encoded

from dltrain.data.images.decode import Resize
from dltrain.data.images.options import ImageOptions
from dltrain.data.sources.table import load_table
from dltrain.data.tables.encode import TableEncoder
from dltrain.errors import ConfigError, DataError
from dltrain.tasks.regression import Regression
from dltrain.types import Kind

LEVELS = [10, 60, 110, 160, 210]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A table of five rows with a grey image each, except that the fourth has none."""
    monkeypatch.setenv("DLTRAIN_CACHE", str(tmp_path / "cache"))
    (tmp_path / "photos").mkdir()
    for i, level in enumerate(LEVELS):
        (tmp_path / "photos" / f"{i}.png").write_bytes(encoded(np.full((6, 6, 3), level, np.uint8)))
    names = [f"photos/{i}.png" if i != 3 else "" for i in range(5)]
    (tmp_path / "t.csv").write_text(
        "photo,size,price\n" + "".join(f"{name},{i}.5,{i * 10}.25\n" for i, name in enumerate(names))
    )
    return tmp_path


def load(folder, **changes):
    image = ImageOptions(**{"size": 4} | changes.pop("image", {}))
    return load_table(str(folder / "t.csv"), target="price", task=Regression(), image=image, **changes)


def test_a_column_of_image_names_becomes_an_input(folder):
    rows, encoder = load(folder).encode(np.arange(5))
    assert {name: f.kind for name, f in rows.spec.inputs.items()} == {"numbers": Kind.NUMBERS, "photo": Kind.IMAGE}
    assert rows.spec.inputs["numbers"].names == ("size", "photo is missing")
    found = rows.read(np.array([3, 0, 4]))["inputs"]
    assert found["photo"].shape == (3, 4, 4, 3) and found["photo"][:, 0, 0, 0].tolist() == [0, 10, 210]
    assert found["numbers"].tolist() == [[3.5, 1], [0.5, 0], [4.5, 0]]
    again = TableEncoder.from_json(json.loads(json.dumps(encoder.to_json())))
    later = again.encode({"photo": [str(folder / "photos/2.png"), None], "size": [None, 7]})
    assert later["photo"][:, 0, 0, 0].tolist() == [110, 0]
    assert later["numbers"].tolist() == [[2.5, 0], [7, 1]]


def test_the_keys_say_where_images_are_and_what_they_become(folder):
    (folder / "photos").rename(folder / "photos2")
    (folder / "photos2" / "photos").mkdir()
    for path in (folder / "photos2").glob("*.png"):
        path.rename(folder / "photos2" / "photos" / path.name)
    settings = {"folder": str(folder / "photos2"), "size": 2, "channels": 1, "resize": "stretch"}
    rows, encoder = load(folder, image=settings).encode(np.arange(5))
    assert rows.spec.inputs["photo"].shape == (2, 2, 1)
    assert encoder.images["photo"].encoder.resize is Resize.STRETCH
    assert rows.read(np.arange(2))["inputs"]["photo"].ravel().tolist() == [10] * 4 + [60] * 4


def test_names_without_files_are_identifiers_unless_they_are_said_to_be_images(folder):
    for path in (folder / "photos").iterdir():
        path.unlink()
    assert not load(folder).encode(np.arange(5))[1].images
    with pytest.raises(DataError, match=r"t\.csv, line 2, column photo: .*photos/0\.png: no such file"):
        load(folder, meanings={"photo": "image"}).encode(np.arange(5))


def _is_folder(path):
    path.unlink()
    path.mkdir()


DAMAGES = {
    "no file": (lambda path: path.unlink(), "no such file"),
    "folder": (_is_folder, "is not a file"),
    "text": (lambda path: path.write_text("hello"), "is not a JPEG, PNG, BMP, WEBP or GIF image"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:50]), "is damaged"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_image_that_cannot_be_read_is_named_with_its_row(folder, damage):
    _, encoder = load(folder).encode(np.arange(5))
    change, message = DAMAGES[damage]
    change(folder / "photos" / "2.png")
    with pytest.raises(DataError, match=rf"t\.csv, line 4, column photo: \S*photos/2\.png:? {message}"):
        load(folder).encode(np.arange(5))
    with pytest.raises(DataError, match=rf"inputs: column photo, index 1: \S*photos/2\.png:? {message}"):
        encoder.encode({"photo": [None, str(folder / "photos" / "2.png")], "size": [1.0, 2.0]})


def test_impossible_settings_are_refused(folder):
    with pytest.raises(ConfigError, match=r"data\.image\.channels=2: expected 1 \(grey\), 3 \(colour\) or 4"):
        load(folder, image={"channels": 2})
