"""An export gives the decisions of the run; one that does not is not written; it is exported again without it."""

import json
import shutil
from dataclasses import replace

import jax
import numpy as np
import pytest
from exports import export

import dltrain as package
from dltrain.composition.compose import amend_words
from dltrain.config.folders import read_yaml
from dltrain.errors import CheckpointError, ConfigError, DataError
from dltrain.inference import run_data
from dltrain.inference.export import make, stablehlo, weights
from dltrain.inference.export.exported import load_exported
from dltrain.inference.export.make import Options, refresh_export
from dltrain.runs.folder import RunFolder


def refreshed(folder, output=None, **options):
    composed, given = amend_words(read_yaml(folder / "config.yaml")), options.pop("examples", None)
    return refresh_export(RunFolder(folder), composed, output, examples=given, options=Options(**options))


def test_an_exported_table_gives_the_decisions_of_the_run(case):
    assert case.made.checks["stablehlo"].examples == case.made.rows == len(case.frame)
    model, rows = load_exported(case.export), case.frame.drop("level")
    expected = package.open_run(case.run).predict(rows)
    for records in (rows, rows.to_dict(as_series=False), rows.to_dicts()):
        found = model.predict(records)
        np.testing.assert_array_equal(found["class"], expected["class"])
        np.testing.assert_allclose(found["probabilities"], expected["probabilities"], rtol=1e-4)
    assert found.columns.keys() == expected.columns.keys()
    assert len(model.predict(rows[:1])["class"]) == 1  # any number of examples
    with pytest.raises(DataError, match="column rooms, index 0: found 'many', expected a number"):
        model.predict(rows[:1].to_dicts()[0] | {"rooms": "many"})


def test_an_exported_image_model_takes_arrays_and_images(digits_run, tmp_path):
    made = export(digits_run.folder, tmp_path / "model")
    assert made.checks["stablehlo"].examples == 256 and made.rows == 0
    model = load_exported(tmp_path / "model")
    program = digits_run.program
    pixels = program.parts.source.read(program.parts.splits.test[:7])["inputs"]
    run = package.open_run(digits_run.folder)
    assert model.signature["inputs"]["image"]["dtype"] == "uint8"  # scaled inside
    for found, given in ((model({"image": pixels}), pixels), (model(pixels), pixels)):
        np.testing.assert_array_equal(found["class"], run.predict(given)["class"])
        np.testing.assert_allclose(found["probabilities"], run.predict(given)["probabilities"], atol=1e-5)
    images = [np.full((9, 9), 28 * i, np.uint8) for i in range(7)]
    np.testing.assert_array_equal(model.predict(images)["class"], run.predict(images)["class"])
    with pytest.raises(DataError, match=r"image: expected uint8 \[N, 8, 8, 1\], found uint8 \[7, 8, 8\]"):
        model({"image": pixels[..., 0]})


@pytest.mark.parametrize("how", ["numbers", "weights"])
def test_nothing_is_written_if_the_check_fails(case, tmp_path, monkeypatch, how):
    whole = stablehlo.to_stablehlo

    def changed(bundle):
        return replace(bundle, params=jax.tree.map(lambda x: x * 1.001, bundle.params))

    if how == "weights":
        whole_weights = weights.to_safetensors
        monkeypatch.setattr(weights, "to_safetensors", lambda bundle: whole_weights(changed(bundle)))
    monkeypatch.setattr(stablehlo, "to_stablehlo", lambda bundle: whole(changed(bundle)))
    with pytest.raises(ConfigError, match=r"more than 0\.0001, so nothing is written"):
        export(case.run, tmp_path / "new" / "model", format="safetensors" if how == "weights" else "stablehlo")
    assert list(tmp_path.iterdir()) == []


def test_it_is_exported_again_without_run_and_data(case, tmp_path, monkeypatch):
    def gone(*args, **kwargs):
        raise DataError("the data is not there")

    monkeypatch.setattr(run_data, "assemble", gone)
    with pytest.raises(DataError, match=r"examples=FILE\.npz takes inputs to check the export with"):
        export(case.run, tmp_path / "new")
    shutil.copytree(case.export, tmp_path / "model")
    (tmp_path / "model" / "model.stablehlo").unlink()
    with pytest.raises(CheckpointError, match=r"model\.stablehlo cannot be read: file not found"):
        refreshed(tmp_path / "model")
    shutil.copy(case.export / "model.stablehlo", tmp_path / "model")
    before = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    made = refreshed(tmp_path / "model")
    after = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    assert made.checks["stablehlo"].examples == len(case.frame) and before.keys() == after.keys()
    for name in ("weights.safetensors", "config.yaml", "model.json", "load.py"):
        assert before[name] == after[name], name
    assert json.loads(after["signature.json"])["run"] == json.loads(before["signature.json"])["run"]
    load_exported(tmp_path / "model")


def test_examples_are_left_out_on_request_and_may_come_from_a_file(case, tmp_path):
    made = export(case.run, tmp_path / "model", keep_examples=False, format="safetensors")
    assert sorted(made.files) == ["config.yaml", "model.json", "signature.json", "weights.safetensors"]
    with pytest.raises(CheckpointError, match=r"has the weights alone; .*format=stablehlo"):
        load_exported(tmp_path / "model")
    with pytest.raises(DataError, match=r"has no examples\.npz; examples=FILE\.npz takes inputs"):
        refreshed(tmp_path / "model")
    with np.load(case.export / "examples.npz") as saved:
        inputs = {name[7:]: saved[name] for name in saved.files if name.startswith("inputs.")}
    np.savez(tmp_path / "given.npz", **inputs)
    made = refreshed(tmp_path / "model", examples=str(tmp_path / "given.npz"), format="safetensors")
    assert made.origin.endswith("given.npz") and made.kept
    np.savez(tmp_path / "given.npz", numbers=inputs["numbers"])
    with pytest.raises(DataError, match="has no array categories; the inputs are numbers, categories, about"):
        refreshed(tmp_path / "model", examples=str(tmp_path / "given.npz"))


def test_the_layer_that_cannot_be_exported_is_named(case, tmp_path, monkeypatch):
    from flax import nnx

    plain = nnx.Linear.__call__

    def strange(self, x, **options):
        if x.shape[-1] == 4:  # the second layer
            return plain(self, x.reshape(len(x), -1), **options)
        return plain(self, x, **options)

    monkeypatch.setattr(nnx.Linear, "__call__", strange)
    with pytest.raises(
        ConfigError, match=r"head \(Linear\) cannot be exported.*write x\.shape\[0\] instead of len"
    ):
        export(case.run, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_models_that_generate_are_refused(case, tmp_path, monkeypatch):
    monkeypatch.setattr("dltrain.inference.bundle.draws_samples", lambda module: True)
    with pytest.raises(ConfigError, match="export: a model of task=classification generates texts or examples"):
        export(case.run, tmp_path / "model")


def test_what_is_no_export_is_never_replaced(case, tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="exists, and is not an export, so it is not replaced"):
        export(case.run, folder, overwrite=True)
    assert (folder / "mine.txt").read_text() == "mine"
    shutil.copytree(case.export, tmp_path / "model")
    with pytest.raises(ConfigError, match="already contains an export; replace it with overwrite=true"):
        export(case.run, tmp_path / "model")
    (tmp_path / "model" / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"has mine\.txt, which no export wrote"):
        export(case.run, tmp_path / "model", overwrite=True)
    (tmp_path / "model" / "mine.txt").unlink()
    export(case.run, tmp_path / "model", overwrite=True, format="safetensors")
    assert not (tmp_path / "model" / "model.stablehlo").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model", "notes"]
    assert make.write.is_export(tmp_path / "model")


@pytest.mark.parametrize("name", ["signature.json", "weights.safetensors", "model.stablehlo", "config.yaml"])
def test_a_damaged_export_is_named(case, tmp_path, dltrain, name):
    shutil.copytree(case.export, tmp_path / "model")
    content = bytearray((tmp_path / "model" / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "model" / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{name}.*(is damaged|cannot be read)"):
        load_exported(tmp_path / "model")
    result = dltrain("export", str(tmp_path / "model"), "refresh=true")
    assert result.code == 4 and name in result.err
