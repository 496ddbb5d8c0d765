"""Folders of images: classes, splits, tables of targets, what may be wrong with them, and the cache."""

import os

import numpy as np
import pytest
from tiny_images import encoded, pixels, write

from dltrain.data.bad import OnBad
from dltrain.data.images import convert
from dltrain.data.sources.images import load_images
from dltrain.errors import ConfigError, DataError
from dltrain.tasks.classification import Classification
from dltrain.tasks.regression import Regression
from dltrain.types import Kind


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DLTRAIN_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path):
    return tmp_path / "photos"


def load(root, **options):
    return load_images(str(root), size=8, **options)


def everything(source):
    return source.read(np.arange(len(source)))


def test_a_folder_for_each_class_is_read_in_the_order_of_the_names(root):
    write(root, dog__2=0, dog__10=1, cat__x=2, cat__deeper__y=3)
    source = load(root)
    assert (source.spec.input.kind, source.spec.input.shape) == (Kind.IMAGE, (8, 8, 3))
    assert source.spec.classes == ("cat", "dog")
    assert source.suggestion == ("classification", "there are 2 folders of images")
    found = everything(source)
    np.testing.assert_array_equal(found["targets"], np.int32([0, 0, 1, 1]), strict=True)
    np.testing.assert_array_equal(found["inputs"], np.stack([pixels(seed=s) for s in (3, 2, 1, 0)]), strict=True)
    assert dict(source.published) == {}


def test_a_relative_path_starts_at_the_root(root):
    write(root, a__1=0, b__1=1)
    assert len(load_images("photos", root=str(root.parent), size=8)) == 2
    assert len(load_images(root=str(root), size=8)) == 2


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("training", "valid", "testing"), ("Train", "dev", "TEST")]
)
def test_folders_of_splits_are_published_splits(root, names):
    train, validation, test = names
    write(root, **{f"{train}__a__1": 0, f"{train}__b__1": 1, f"{validation}__a__2": 2, f"{test}__b__3": 3})
    source = load(root)
    labels = everything(source)["targets"]
    assert source.spec.classes == ("a", "b")
    assert labels[source.published["validation"]].tolist() == [0]
    assert labels[source.published["test"]].tolist() == [1]


def test_train_and_another_folder_are_classes(root):
    write(root, train__1=0, plane__1=1)
    assert load(root).spec.classes == ("plane", "train")


TABLES = {
    "classes": ("file,kind\n1.png,b\nx/2.png,a\n", {}, ("classification", ("a", "b"), [[1], [0]])),
    "names without their ending": ("id,kind\n1,b\n2,a\n", {}, ("classification", ("a", "b"), [[1], [0]])),
    "few whole numbers": ("file,stars\n1.png,5\n2.png,3\n", {}, ("classification", ("3", "5"), [[1], [0]])),
    "numbers": ("file,age\n1.png,5.5\n2.png,3\n", {}, ("regression", (), [[5.5], [3]])),
    "two numbers": ("file,a,b\n1.png,5.5,1\n2.png,3,2\n", {}, ("regression", (), [[5.5, 1], [3, 2]])),
    "columns of 0 and 1": ("file,a,b\n1.png,1,1\n2.png,0,1\n", {}, ("multilabel", (), [[1, 1], [0, 1]])),
    "separated labels": (
        "file,tags\n1.png,red|big\n2.png,red\n",
        {"separator": "|"},
        ("multilabel", (), [[1, 1], [0, 1]]),
    ),
    "labels in rows": (
        "file,tags\n1.png,red\n2.png,red\n1.png,big\n",
        {"several": True},
        ("multilabel", (), [[1, 1], [0, 1]]),
    ),
    "the named columns": (
        "n,stars,file\n7,1.5,1.png\n8,2.5,2.png\n",
        {"file": "file", "target": "stars"},
        ("regression", (), [[1.5], [2.5]]),
    ),
}


@pytest.mark.parametrize("case", TABLES)
def test_a_table_has_the_targets(root, case):
    text, options, (task, classes, values) = TABLES[case]
    write(root, **{"1": 0, "x__2": 1})
    (root / "labels.csv").write_text(text)
    source = load(root, labels="labels.csv", **options)
    found = everything(source)
    assert source.suggestion[0] == task
    assert source.spec.classes == classes
    np.testing.assert_array_equal(found["targets"].reshape(2, -1), values)
    np.testing.assert_array_equal(found["inputs"], np.stack([pixels(seed=s) for s in (0, 1)]))


def test_the_task_decides_what_whole_numbers_are(root):
    write(root, **{"1": 0, "2": 1})
    (root / "labels.csv").write_text("file,stars\n1.png,5\n2.png,3\n")
    numbers = load(root, labels="labels.csv", task=Regression())
    assert (numbers.spec.target.kind, everything(numbers)["targets"].tolist()) == (Kind.NUMBERS, [[5], [3]])
    assert load(root, labels="labels.csv", task=Classification()).spec.classes == ("3", "5")


def test_images_without_a_row_are_left_out_and_named(root):
    write(root, **{"1": 0, "2": 1, "3": 2})
    (root / "labels.csv").write_text("file,kind\n1.png,b\n2.png,a\n")
    source = load(root, labels="labels.csv")
    assert len(source) == 2
    note = "labels.csv has no target for all: 1 of 3 images are left out, such as 3.png"
    assert source.describe(np.arange(2)).notes == (note,)
    (root / "notes.txt").write_text("")
    assert "1 other files are left out: notes.txt" in load(root, labels="labels.csv").describe(np.arange(2)).notes


def good(root):
    return write(root, a__1=0, a__2=1, b__1=2)


FAULTS = {
    "no folder": (lambda r: None, {}, "photos (data.path): no such folder"),
    "a file": (lambda r: r.write_text("x"), {}, "is not a folder"),
    "an empty folder": (lambda r: r.mkdir(), {}, "has no images (.jpg, "),
    "other files only": (lambda r: (write(r, a__1=0), (r / "a/1.png").rename(r / "a/1.tif")), {}, "has no images"),
    "images outside folders": (
        lambda r: write(good(r), **{"3": 0}),
        {},
        "3.png: is in no folder of a class (1 such",
    ),
    "images beside classes of a split": (
        lambda r: write(r, train__a__1=0, train__b__1=1, test__3=2),
        {},
        "test/3.png: is in no folder of a class",
    ),
    "one class": (lambda r: write(r, a__1=0), {}, "has a single class, a"),
    "a class without images": (lambda r: (good(r) / "c").mkdir(), {}, "photos/c: the folder has no images"),
    "a class that is not trained": (
        lambda r: write(r, train__a__1=0, train__b__1=1, val__c__1=2),
        {},
        "the class c of the validation split has no training images",
    ),
    "two validation folders": (
        lambda r: write(r, train__a__1=0, train__b__1=1, val__a__1=2, valid__b__1=3),
        {},
        "val and valid are both the validation split",
    ),
    "a folder beside the splits": (
        lambda r: write(r, train__a__1=0, train__b__1=1, test__a__1=2, extra__a__1=3),
        {},
        "photos/extra: lies next to test, train",
    ),
    "a damaged image": (
        lambda r: (good(r) / "a/2.png").write_bytes(b"hello"),
        {},
        "photos/a/2.png: is not a JPEG, PNG, BMP, WEBP or GIF image; correct it",
    ),
    "an empty image": (lambda r: (good(r) / "a/2.png").write_bytes(b""), {}, "photos/a/2.png: is empty"),
    "a broken link": (
        lambda r: (good(r) / "a/3.png").symlink_to("gone"),
        {},
        "a/3.png: cannot be read (No such file",
    ),
    "a FIFO": (lambda r: os.mkfifo(good(r) / "a/3.png"), {}, "a/3.png: is a FIFO"),
    "too many to skip": (
        lambda r: (good(r) / "a/2.png").write_bytes(b"hello"),
        {"on_bad": OnBad.SKIP},
        "1 of 3 images is bad, 33.33%, more than data.most_bad=0.01 allows; the first: ",
    ),
}
TABLE_FAULTS = {
    "no such table": (None, {}, "data.labels=labels.csv: no such file"),
    "an unknown image": ("file,kind\n1.png,a\n7.png,b\n", {}, "labels.csv, row 3: 7.png: no such image"),
    "a name with a typing error": ("file,kind\nimage_1.png,a\n", {}, "no such image in data.path"),
    "a path outside": ("file,kind\n../1.png,a\n2.png,b\n", {}, "row 2: ../1.png: no such image"),
    "a name twice": ("file,kind\n1.png,a\n2.png,b\n1.png,b\n", {}, "row 4: 1.png is also in row 2"),
    "several images of a name": ("file,kind\nsame.png,a\n2.png,b\n", {}, "several images have this name"),
    "a missing target": ("file,kind\n1.png,a\n2.png,\n", {}, "labels.csv, row 3: kind is missing"),
    "a single class": ("file,kind\n1.png,a\n2.png,a\n", {}, "kind has a single value, 'a'"),
    "one column": ("file\n1.png\n2.png\n", {}, "has only one column, file"),
    "not a table": (
        "file,kind\n1.png,a,b,c\n",
        {},
        "line 2: found 4 fields, expected 2 (comma-separated)",
    ),
    "text among numbers": ("file,a,b\n1.png,1,x\n2.png,2,y\n", {}, "b is not a number"),
    "an unknown column": ("file,kind\n1.png,a\n2.png,b\n", {"target": "kinds"}, "did you mean kind?"),
    "several labels in several columns": (
        "file,a,b\n1.png,x,y\n",
        {"several": True},
        "with several labels per image, name one column",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_folder_is_refused_with_what_would_be_right(root, fault):
    prepare, options, message = FAULTS[fault]
    prepare(root)
    with pytest.raises(DataError) as caught:
        load(root, **options)
    assert caught.value.code == 3
    assert message in str(caught.value)


@pytest.mark.parametrize("fault", TABLE_FAULTS)
def test_a_bad_table_is_refused_with_its_row(root, fault):
    text, options, message = TABLE_FAULTS[fault]
    write(root, **{"1": 0, "2": 1, "x__same": 2, "y__same": 3})
    if text is not None:
        (root / "labels.csv").write_text(text)
    with pytest.raises((DataError, ConfigError)) as caught:
        load(root, labels="labels.csv", **options)
    assert message in str(caught.value)


def test_keys_of_a_table_need_a_table(root):
    with pytest.raises(ConfigError, match=r"data\.target: needs data\.labels=FILE"):
        load(good(root), target="kind")


def test_skipped_images_are_left_out_named_and_the_rest_is_exact(root):
    write(root, a__1=0, a__2=1, a__3=2, b__1=3, b__2=4)
    (root / "a/2.png").write_bytes(encoded(pixels(64, 64))[:300])
    source = load(root, on_bad=OnBad.SKIP, most_bad=0.3)
    described = source.describe(np.arange(4))
    (note,) = described.notes
    assert note.startswith("1 of 5 images is bad and left out; bad_rows.csv of a run lists them: ")
    assert f"{root}/a/2.png: is damaged" in note
    assert described.bad_rows.startswith(f"file,row,column,wrong\n{root}/a/2.png,,,is damaged")
    found = everything(source)
    np.testing.assert_array_equal(found["inputs"], np.stack([pixels(seed=s) for s in (0, 2, 3, 4)]))
    assert found["targets"].tolist() == [0, 0, 1, 1]
    write(root, a__3=9)
    assert source.fingerprint != load(root, on_bad=OnBad.SKIP, most_bad=0.3).fingerprint


def test_equal_images_are_reported_those_with_other_classes_first(root):
    write(root, a__1=0, a__2=0, b__1=1, b__2=0)
    assert load(root).describe(np.arange(4)).notes == (
        "1 image equal to another one with another target: b/2.png equals a/1.png",
        "1 image equal to another one: a/2.png equals a/1.png",
    )


def test_decoding_happens_once_and_again_when_a_file_or_a_setting_changes(root, monkeypatch):
    calls, decode = [], convert.decode
    monkeypatch.setattr(convert, "decode", lambda data, **options: calls.append(1) or decode(data, **options))
    write(root, a__1=0, b__1=1)
    first = load(root).fingerprint
    assert (load(root).fingerprint, len(calls)) == (first, 2)
    load(root, resize="pad")
    assert len(calls) == 4
    write(root, b__1=9)
    assert load(root).fingerprint != first
    assert len(calls) == 6


def test_the_content_decides_the_fingerprint_not_the_times_of_the_files(root):
    write(root, a__1=0, b__1=1)
    before = load(root).fingerprint
    os.utime(root / "a/1.png", ns=(1, 1))
    assert load(root).fingerprint == before
    (root / "a/1.png").rename(root / "b/0.png")
    write(root, a__1=1)
    assert load(root).fingerprint != before
