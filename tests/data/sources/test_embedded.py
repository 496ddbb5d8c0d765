import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from dltrain.data.check import check_examples
from dltrain.data.sources import embedded
from dltrain.data.sources.embedded import load_embedded
from dltrain.errors import ConfigError, DataError
from dltrain.tasks import Binary, Classification, Regression
from dltrain.types import Kind

ROOT = Path(__file__).parents[3]
NAMES = ("digits", "iris", "wine", "breast_cancer", "diabetes")
TASKS = {"breast_cancer": Binary(), "diabetes": Regression()}


def everything(source):
    return source.read(np.arange(len(source)))


@pytest.mark.parametrize("name", NAMES)
def test_arrays_and_names_equal_scikit_learns(name):
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is the reference of this test")
    reference = getattr(datasets, f"load_{name}")(**({"scaled": False} if name == "diabetes" else {}))
    source = load_embedded(name)
    arrays = everything(source)
    inputs = reference.images[..., None] if name == "digits" else reference.data.astype(np.float32)
    np.testing.assert_array_equal(arrays["inputs"], inputs, strict=name != "digits")
    targets = reference.target[:, None] if name == "diabetes" else reference.target
    np.testing.assert_array_equal(arrays["targets"], targets)
    assert source.spec.input.names == (() if name == "digits" else tuple(reference.feature_names))
    assert source.spec.classes == (() if name == "diabetes" else tuple(map(str, reference.target_names)))


@pytest.mark.parametrize("name", NAMES)
def test_examples_match_the_spec(name):
    source = load_embedded(name)
    check_examples(everything(source), source.spec)
    TASKS.get(name, Classification()).check(source.spec)
    assert source.spec.input.kind is (Kind.IMAGE if name == "digits" else Kind.NUMBERS)
    assert not source.published


def test_examples_come_in_the_order_of_the_indices():
    source = load_embedded("iris")
    few = source.read(np.array([120, 3, 3]))
    whole = everything(source)
    np.testing.assert_array_equal(few["inputs"], whole["inputs"][[120, 3, 3]])
    np.testing.assert_array_equal(few["targets"], [2, 0, 0])


def test_two_classes_may_have_one_output_each():
    spec = replace(load_embedded("breast_cancer").spec, task=Classification())
    spec.task.check(spec)
    assert spec.outputs == 2
    with pytest.raises(
        ConfigError, match=r"task=regression: needs numbers as targets, and this data has one class"
    ):
        Regression().check(load_embedded("digits").spec)


@pytest.mark.parametrize("name", ["irsi", "../embedded/iris", ""])
def test_unknown_name_lists_the_known(name):
    with pytest.raises(ConfigError, match="there are breast_cancer, diabetes, digits, iris, wine"):
        load_embedded(name)


def test_damaged_file_is_named(tmp_path, monkeypatch):
    whole = (embedded.FOLDER / "iris.npz").read_bytes()
    monkeypatch.setattr(embedded, "FOLDER", tmp_path)
    path = tmp_path / "iris.npz"
    flipped = bytes([*whole[:200], whole[200] ^ 1, *whole[201:]])
    for content in (b"", b"nonsense", whole[:-30], whole[: len(whole) // 2], flipped):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"iris\.npz: damaged"):
            load_embedded("iris")


def test_pickled_content_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "FOLDER", tmp_path)
    np.savez(tmp_path / "iris.npz", inputs=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="damaged"):
        load_embedded("iris")


def test_empty_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "FOLDER", tmp_path)
    with pytest.raises(DataError, match="completely installed"):
        load_embedded("iris")


@pytest.mark.parametrize("name", NAMES)
def test_yaml_names_the_task_of_the_source(name):
    node = yaml.safe_load((ROOT / "configs" / "data" / f"{name}.yaml").read_text())
    assert str(TASKS.get(node["name"], Classification())) == node["task"]


def test_fingerprint_follows_the_content():
    names = {load_embedded(name).fingerprint for name in NAMES}
    assert len(names) == len(NAMES)
    assert load_embedded("wine").fingerprint == load_embedded("wine").fingerprint


def test_scikit_learn_is_not_imported():
    load = "from dltrain.data.sources.embedded import load_embedded; load_embedded('digits')"
    code = f"import sys; {load}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "numpy" in done.stdout.split()
    assert "sklearn" not in done.stdout.split()


def test_licences_name_every_file():
    text = (embedded.FOLDER / "LICENSES.md").read_text()
    for path in embedded.FOLDER.glob("*.npz"):
        assert f"`{path.name}`" in text
