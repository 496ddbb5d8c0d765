"""ONNX is made in an environment with jax2onnx; without one, the commands that create it are printed."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
from exports import export

import dltrain as package
from dltrain.errors import ConfigError
from dltrain.inference.export import onnx
from dltrain.inference.export.function import traced
from dltrain.inference.export.onnx_worker import _layer

pytestmark = pytest.mark.slow  # needs a whole training and export

PYTHON = os.environ.get("DLTRAIN_ONNX_PYTHON")
HERE = all(importlib.util.find_spec(name) for name in onnx.NEEDED)
NEEDS = "needs jax2onnx and onnxruntime here, or the python of an environment with them in DLTRAIN_ONNX_PYTHON"
with_onnx = pytest.mark.skipif(not HERE and not PYTHON, reason=NEEDS)


@pytest.mark.slow
def test_without_jax2onnx_the_commands_are_printed_and_nothing_is_written(case, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="jax2onnx and onnxruntime is not installed here") as raised:
        export(case.run, tmp_path / "model", format="onnx")
    for line in ("python3 -m venv onnx-env", "pip install jax2onnx onnxruntime", "python=onnx-env/bin/python"):
        assert line in str(raised.value)
    with pytest.raises(ConfigError, match="python=nowhere/python: no such program"):
        export(case.run, tmp_path / "model", format="onnx", python="nowhere/python")
    assert list(tmp_path.iterdir()) == []


def test_an_environment_that_fails_is_reported(case, tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho no module of this kind >&2\nexit 1\n")
    python.chmod(0o755)
    with pytest.raises(ConfigError, match=r"python failed: no module of this kind\ncreate an environment"):
        export(case.run, tmp_path / "model", format="onnx", python=str(python))
    assert [p.name for p in tmp_path.iterdir()] == ["python"]


def test_the_layer_of_an_operation_is_found(case):
    closed, shapes, calls = traced(package.open_run(case.run).bundle)
    assert sorted(shapes) == ["class", "probabilities"]
    error = NotImplementedError("No plugins registered for primitive 'dot_general'")
    assert _layer(error, closed, calls) == "hidden.0 (Linear), head (Linear): the operation dot_general"
    assert _layer(NotImplementedError("primitive 'argmax'"), closed, calls) == "decision: the operation argmax"
    assert _layer(NotImplementedError("something else"), closed, calls) == ""


@with_onnx
@pytest.mark.slow
def test_an_onnx_file_gives_the_decisions_of_the_run(case, tmp_path):
    made = export(case.run, tmp_path / "model", format="onnx", python=PYTHON)
    assert made.checks["onnx"].largest < 1e-4 and "model.onnx" in made.files
    command = [PYTHON or sys.executable, str(tmp_path / "model" / "load.py"), "onnx"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{len(case.frame)} examples: largest difference")


MODELS = {
    "cnn": "data=digits model=cnn model.channels=[8] model.norm=batch",
    "mixed": "data=digits model=cnn model.channels=[8] runtime.precision=mixed",
    "resnet": "data=digits model=resnet20",
    "unet": "data=digit_masks model=unet model.channels=[4,8]",
    "lstm": "data=text data.path=texts.tsv data.text=text data.target=label model=lstm model.hidden=8",
    "gru": "data=text data.path=texts.tsv data.text=text data.target=label model=gru model.hidden=8",
    "transformer": "data=text data.path=texts.tsv data.text=text data.target=label model=transformer",
    "textcnn": "data=text data.path=texts.tsv data.text=text data.target=label model=textcnn model.filters=4",
    "bag": "data=text data.path=texts.tsv data.text=text data.target=label model=bag_of_ngrams",
    "rlinear": "data=series data.path=series.csv data.time=date data.look_back=24 data.horizon=6 model=rlinear",
    "dlinear": "data=series data.path=series.csv data.time=date data.look_back=24 data.horizon=6 model=dlinear",
    "patchtst": "data=series data.path=series.csv data.time=date data.look_back=24 data.horizon=6 model=patchtst",
    "quantiles": "data=diabetes model=mlp model.widths=[8] loss=quantile loss.q=[0.1,0.5,0.9]",
    "tabm": "data=breast_cancer model=tabm model.widths=[8] data.scale=quantile",
    "autoencoder": "data=digits model=autoencoder",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_models_of_every_kind_are_exported(name, tmp_path, dltrain):
    rng = np.random.default_rng(0)
    lines = (
        f"{'spam' if i % 3 else 'ham'}\t{' '.join(rng.choice(['see', 'you', 'win'], 3))} {i}" for i in range(90)
    )
    (tmp_path / "texts.tsv").write_text("label\ttext\n" + "\n".join(lines) + "\n")
    times = (f"2020-01-{1 + i // 24:02} {i % 24:02}:00,{np.sin(i / 4)},{np.cos(i / 9)}" for i in range(700))
    (tmp_path / "series.csv").write_text("date,a,b\n" + "\n".join(times) + "\n")
    line = [*MODELS[name].split(), "epochs=1", "limit_batches=4", "batch_size=32", "quiet=true", "output_dir=run"]
    assert dltrain(*line, cwd=tmp_path, figures=False).code == 0
    format = "onnx" if HERE or PYTHON else "stablehlo"
    made = export(tmp_path / "run", tmp_path / "model", format=format, python=PYTHON)
    assert all(found.largest <= (5e-2 if name == "mixed" else 1e-4) for found in made.checks.values())
