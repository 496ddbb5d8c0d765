"""`import dltrain` offers what the commands do, with the same words, and imports nothing early."""

import doctest
import json
import subprocess
import sys

import numpy as np
import pytest

import dltrain as package
from dltrain import api
from dltrain.composition.compose import compose_words
from dltrain.errors import CheckpointError, ConfigError
from dltrain.report import finish

pytestmark = pytest.mark.usefixtures("quickly_compiled")


def test_importing_dltrain_imports_neither_jax_nor_flax_nor_hydra():
    code = "import dltrain, sys; print([n for n in ('jax', 'flax', 'hydra', 'dltrain.api') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_is_exposed_is_listed_and_nothing_else_is_there():
    assert {"compose", "fit", "open_run", "__version__"} <= set(dir(package))
    assert package.fit is api.fit
    with pytest.raises(AttributeError, match="module 'dltrain' has no attribute 'predict'"):
        package.predict  # noqa: B018


@pytest.mark.parametrize(
    ("overrides", "values"),
    [
        (("data=iris", "model=linear", "epochs=3", "optim.learning_rate=0.5"), {}),
        (({"data": "iris", "model": "linear", "optim.learning_rate": 0.5},), {"epochs": 3}),
        (("data=iris",), {"model": "linear", "epochs": 3, "optim": {"learning_rate": 0.5}}),
    ],
)
def test_all_ways_to_write_overrides_compose_the_same(overrides, values):
    expected = compose_words("data=iris", "model=linear", "epochs=3", "optim.learning_rate=0.5").config
    assert package.compose(*overrides, **values) == expected


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("keep_every", None),
        ("quiet", True),
        ("log_every", 3),
        ("data.validation", 0.25),
        ("name", "a b"),
        ("name", "null"),
        ("name", "3"),
        ("name", "größe = $x"),
        ("tags", ["x, y", "[z]"]),
        ("optim.clip", {"norm": 1.0}),
    ],
)
def test_values_arrive_unchanged(key, value):
    found = package.compose({key: value})
    for part in key.split("."):
        found = found[part]
    assert found == value and type(found) is type(value)


def test_a_wrong_key_is_an_exception_with_a_hint():
    with pytest.raises(ConfigError, match=r"optim.learning_rat: unknown; did you mean optim.learning_rate"):
        package.compose("optim.learning_rat=1")
    with pytest.raises(ConfigError, match="nowhere: folder not found"):
        package.open_run("nowhere")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finish, "draw", lambda *args, **options: None)
        folder = tmp_path_factory.mktemp("fit") / "a run"
        return package.fit("data=iris", "model=linear", epochs=3, log_every=1, quiet=True, output_dir=str(folder))


def test_fit_returns_the_run_that_open_run_opens(run):
    again = package.open_run(run.path)
    assert run.config == again.config and run.config["epochs"] == 3
    saved = json.loads((run.path / "summary.json").read_text())
    assert len(saved.pop("checksum")) == 64 and run.summary == saved
    assert again.step == run.summary["best_step"]
    assert package.open_run(run.path, checkpoint="last").step == run.summary["steps"] == 6
    assert repr(run) == f"Run({str(run.path)!r})"


def test_what_was_recorded_comes_as_arrays(run):
    train, validation = run.metrics["train"], run.metrics["validation"]
    np.testing.assert_array_equal(train["step"], np.arange(1, 7))
    assert train["loss"].shape == (6,) and train["loss"].dtype == float
    assert validation["accuracy"][-1] == run.summary["validation"]["accuracy"]


def test_weights_come_by_name_and_in_a_module(run):
    kernel = run.state["params.head.kernel"]
    assert kernel.shape == (4, 3)
    np.testing.assert_array_equal(run.module.head.kernel[...], kernel)
    assert run.spec.classes == ("setosa", "versicolor", "virginica")


def test_a_split_is_evaluated_as_by_the_command(run):
    found = run.evaluate("test")
    assert {n: v for n, v in found.items() if n in run.summary["best"]["test"]} == run.summary["best"]["test"]
    with pytest.raises(ConfigError, match="split=tset: this run has no tset"):
        run.evaluate("tset")
    with pytest.raises(ConfigError, match="does not generate text"):
        run.generate()


def test_a_change_of_the_config_counts_for_the_opened_run(run):
    inputs = np.float32([[5.1, 3.5, 1.4, 0.2], [6.3, 2.9, 5.6, 1.8]])
    found = package.open_run(run.path, {"metrics": ["accuracy", "zero_one"]})
    assert sorted(found.evaluate(inputs=inputs, targets=[0, 2])) == ["accuracy", "loss", "zero_one"]
    assert "metrics" in run.config and "zero_one" not in run.config["metrics"]


def test_a_damaged_metrics_file_is_named(run):
    path = run.path / "metrics.jsonl"
    whole = path.read_text()
    path.write_text(whole + "{")
    try:
        with pytest.raises(CheckpointError, match=r"metrics\.jsonl is damaged.*: its last line is cut"):
            run.metrics  # noqa: B018
    finally:
        path.write_text(whole)


def test_the_examples_of_the_docstrings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(finish, "draw", lambda *args, **options: None)
    failed, tried = doctest.testmod(api)
    assert tried > 4 and not failed
