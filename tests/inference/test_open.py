"""A run folder is opened from its config, model.json and checkpoints alone; damaged files are named."""

import json
import shutil

import jax
import numpy as np
import pytest
from few import few

import dltrain as package
from dltrain.errors import CheckpointError, ConfigError

pytestmark = pytest.mark.usefixtures("quickly_compiled")


@pytest.fixture(scope="module")
def copied(digits_run, tmp_path_factory):
    """A classifier's run reduced to its config, model.json and checkpoints."""
    folder = tmp_path_factory.mktemp("copied")
    for name in ("config.yaml", "model.json", "summary.json"):
        shutil.copy(digits_run.folder / name, folder)
    shutil.copytree(digits_run.folder / "checkpoints", folder / "checkpoints")
    return folder


def test_the_module_has_the_weights_to_evaluate(copied, digits_run):
    """Its outputs for preprocessed inputs are those of the run."""
    run, rows = package.open_run(copied), digits_run.program.examples("test")[:5]
    inputs = digits_run.program.parts.source.read(rows)["inputs"]
    scaled = run.bundle.preprocess.scaled({"inputs": jax.numpy.asarray(inputs)})["inputs"]
    outputs = run.module(scaled, mask=np.ones(5, bool), rngs=None)
    np.testing.assert_allclose(outputs, run.outputs(inputs), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(run.outputs(inputs.astype(np.int64)), run.outputs(inputs))


@few(
    ("text", "message"),
    [
        (b"{", "cannot be read"),
        (b"[1]", "expected a mapping, found list"),
        (b"\xff\xfe", "cannot be read"),
        (b'{"version": 99}', "version 99 is not known; this dltrain reads version 1"),
        (b'{"version": 1}', "'spec' is missing"),
        (None, "cannot be read"),
    ],
    3,
)
def test_a_damaged_model_json_is_named(copied, dltrain, text, message):
    path = copied / "model.json"
    whole = path.read_bytes()
    path.unlink() if text is None else path.write_bytes(text)
    try:
        with pytest.raises(CheckpointError, match=message):
            package.open_run(copied).outputs(np.zeros((1, 8, 8, 1), np.uint8))
        result = dltrain("generate", str(copied))
        assert result.code == 4 and str(path) in result.err
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda saved: saved["spec"]["inputs"]["image"].pop("shape"), "'shape' is missing"),
        (lambda saved: saved.update(eval_batch_size=0), "eval_batch_size=0: expected a whole number"),
        (
            lambda saved: saved["preprocess"]["inputs"]["image"][0]["fitted"].update(scale=[0.0]),
            "scale must not contain 0",
        ),
    ],
)
def test_damaged_parts_of_model_json_are_named(copied, change, message):
    path = copied / "model.json"
    whole = path.read_text()
    saved = json.loads(whole)
    del saved["checksum"]
    change(saved)
    path.write_text(json.dumps(saved))
    try:
        with pytest.raises(CheckpointError, match=message):
            package.open_run(copied).outputs(np.zeros((1, 8, 8, 1), np.uint8))
    finally:
        path.write_text(whole)


def test_a_step_of_third_party_code_is_refused(copied):
    path = copied / "model.json"
    whole = path.read_text()
    saved = {name: value for name, value in json.loads(whole).items() if name != "checksum"}
    path.write_text(json.dumps(saved).replace("dltrain.data.preprocess.scale.Affine", "os.path.Affine"))
    try:
        with pytest.raises(ConfigError, match="a config may name parts of dltrain"):
            package.open_run(copied).outputs(np.zeros((1, 8, 8, 1), np.uint8))
    finally:
        path.write_text(whole)
