"""Composed configs: `auto`, replaced choices, files named in messages, trust, and the saved text."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dltrain.composition.compose import make_call, make_request
from dltrain.config import folders as tree
from dltrain.config.call import Call, Composed
from dltrain.errors import ConfigError

OWN = {
    "model/typo.yaml": "# Mine\n_target_: dltrain.models.mlp.MLP\nwidths: [3]\nactivaton: relu\n",
    "model/evil.yaml": "# Evil\n_target_: os.system\ncommand: 'true'\n",
    "model/short.yaml": "# Mine\n_target_: dltrain.models.mlp.MLP\nwidths: [3]\n",
    "data/inherits.yaml": "# Mine\ndefaults: [diabetes]\n",
    "data/must.yaml": "# Mine\n_target_: dltrain.data.sources.inline.make_table\ntask: regression\ninputs: ???\n",
    "experiment/recipe.yaml": (
        "# @package _global_\n# Mine\ndefaults:\n  - override /data: iris\n  - override /model: linear\n"
        "steps: 50\noptim: {learning_rate: 0.5}\n"
    ),
    "experiment/group.yaml": "# @package _global_\n# x\ndefaults:\n  - override /modle: cnn\n",
    "experiment/choice.yaml": "# @package _global_\n# x\ndefaults:\n  - override /model: cnnn\n",
    "experiment/key.yaml": "# @package _global_\n# x\nepoch: 3\noptim: {lerning_rate: 3}\n",
    "experiment/value.yaml": "# @package _global_\n# x\nbatch_size: -3\n",
    "experiment/trust.yaml": "# @package _global_\n# x\ntrust: [os]\n",
}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    for name, text in OWN.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


def _call(*words: str, own: Path | None = None, command: str = "train", imports: bool = False) -> Call:
    folders = tree.roots(str(own) if own else None)
    request = make_request(command, words, folders, tree.read_tree(folders))
    return make_call(replace(request, imports=imports))


def _compose(*words: str, **options: Any) -> Composed:
    return _call(*words, **options).compose()


def _saved(composed: Composed, folder: Path) -> dict[str, Any]:
    (folder / "config.yaml").write_text(composed.text)
    return tree.read_yaml(folder / "config.yaml")


@pytest.mark.parametrize(
    ("data", "loss", "metrics"),
    [
        ("digits", "cross_entropy", "classification"),
        ("breast_cancer", "binary_cross_entropy", "binary"),
        ("diabetes", "mse", "regression"),
    ],
)
def test_auto_follows_the_task_and_reports_it(data: str, loss: str, metrics: str) -> None:
    found = _compose(f"data={data}")
    assert (found.choices["loss"], found.choices["metrics"]) == (loss, metrics)
    assert found.automatic["loss"].startswith(f"{loss} (task=")
    assert found.config["loss"]["_target_"].endswith(loss)


def test_auto_never_overrides_what_was_chosen() -> None:
    found = _compose("data=diabetes", "loss=mae", "metrics=r2", "loss.l2=0.1")
    assert found.choices["loss"] == "mae" and found.config["loss"]["l2"] == 0.1
    assert set(found.config["metrics"]) == {"r2"} and found.automatic == {}


def test_auto_keeps_what_was_set_in_its_node() -> None:
    found = _compose("loss.label_smoothing=0.1", "loss.l1=0.5")
    assert found.config["loss"]["label_smoothing"] == 0.1 and found.config["loss"]["l1"] == 0.5


def test_auto_sees_through_a_data_file_that_builds_on_another(own: Path) -> None:
    assert _compose("data=inherits", own=own).choices["loss"] == "mse"


def test_several_metrics_are_taken_with_and_without_brackets() -> None:
    assert set(_compose("metrics=[accuracy,f1]").config["metrics"]) == {"accuracy", "f1"}
    assert set(_compose("metrics=accuracy").config["metrics"]) == {"accuracy"}
    assert {"accuracy", "mse"} <= set(_compose("metrics=[auto,mse]").config["metrics"])


def test_an_argument_that_the_yaml_does_not_list_is_accepted_where_the_target_takes_it(own: Path) -> None:
    found = _compose("model=short", "model.dropout=0.5", "optim=lion", "optim.b1=0.8", own=own, imports=True)
    assert found.config["model"]["dropout"] == 0.5 and found.config["optim"]["b1"] == 0.8


def test_an_experiment_sets_choices_and_typed_words_win(own: Path) -> None:
    found = _compose("experiment=recipe", own=own)
    assert (found.choices["data"], found.choices["model"]) == ("iris", "linear")
    assert (found.config["steps"], found.config["epochs"]) == (50, None)
    found = _compose("experiment=recipe", "model=mlp", "epochs=2", "optim.learning_rate=0.1", own=own)
    assert (found.config["steps"], found.config["epochs"]) == (None, 2)
    assert found.choices["model"] == "mlp" and found.config["optim"]["learning_rate"] == 0.1


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("model=typo", r"model\.activaton: unknown; did you mean model\.activation .*typo\.yaml"),
        ("experiment=group", r"group\.yaml: override /modle: no such group; did you mean model"),
        ("experiment=choice", r"choice\.yaml: model=cnnn: no such choice; did you mean cnn"),
        ("experiment=key", r"epoch: unknown; did you mean epochs \(now 20\)\? \(in .*key\.yaml"),
        ("experiment=key", r"optim\.lerning_rate: unknown; did you mean optim\.learning_rate .*key\.yaml"),
        ("experiment=value", r"batch_size=-3: must be .*value\.yaml"),
        ("experiment=trust", r"trust: \[os\]: cannot be set in YAML"),
        ("data=must", r"data\.inputs: must be given"),
    ],
)
def test_a_mistake_in_a_file_is_reported_with_the_file(own: Path, word: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _compose(word, own=own)


def test_a_config_that_names_code_is_refused(own: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\._target_=os\.system"):
        _compose("model=evil", own=own, imports=True)
    with pytest.raises(ConfigError, match=r"model\._target_"):
        _compose("model._target_=os.getcwd", imports=True)
    with pytest.raises(ConfigError, match=r"model\._target_"):
        _compose("name=os.getcwd", "model._target_=${name}", imports=True)


def test_trust_comes_from_the_command_line_alone_and_is_not_saved() -> None:
    found = _compose("trust=[mine,yours.parts]")
    assert found.trust == ("mine", "yours.parts")
    assert found.config["trust"] == [] and "mine" not in found.text
    assert _compose("trust=mine").trust == ("mine",)


def test_the_saved_text_composes_to_the_same_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHERE", "here")
    words = ("name=${oc.env:WHERE}", "tags=['${name}-${seed}','\\${literal}','1e-3']", "optim.b1=0.8", "steps=1e3")
    first = _compose(*words)
    assert first.config["tags"] == ["here-0", "${literal}", "1e-3"]
    assert "${oc.env:WHERE}" in first.text and "here" not in first.text
    second = _call(command="resume").amend(_saved(first, tmp_path))
    assert second.config == first.config and second.text == first.text


def test_a_choice_replaces_the_whole_node_of_a_saved_config(tmp_path: Path) -> None:
    saved = _saved(_compose("optim=adam", "optim.b1=0.5"), tmp_path)
    found = _call("optim=sgd", "optim.learning_rate=0.3", command="resume").amend(saved)
    assert "b1" not in found.config["optim"] and found.config["optim"]["learning_rate"] == 0.3
    assert found.config["model"] == saved["model"]
    assert found.choices == {"optim": "sgd"}


def test_auto_over_a_saved_config_follows_the_task_of_the_run(tmp_path: Path) -> None:
    saved = _saved(_compose("data=diabetes", "loss=mae"), tmp_path)
    assert _call("loss=auto", command="resume").amend(saved).choices["loss"] == "mse"
    assert _call("data=iris", "loss=auto", command="resume").amend(saved).choices["loss"] == "cross_entropy"


def test_typed_length_takes_the_place_of_the_saved_one(tmp_path: Path) -> None:
    saved = _saved(_compose("steps=100"), tmp_path)
    found = _call("epochs=3", command="resume").amend(saved).config
    assert (found["epochs"], found["steps"]) == (3, None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"foo": 1}, "foo: in the run's config.yaml: unknown"),
        ({"hydra": {"callbacks": {"x": {"_target_": "os.system"}}}}, "hydra: in the run's"),
        ({"model": {"_target_": "os.system", "command": "true"}}, "os.system"),
        ({"model": 3}, "model=3: must be"),
        ({"epochs": "many"}, "epochs=many: must be a whole number"),
        ({"name": "${name}"}, "name="),
    ],
)
def test_a_saved_config_from_somebody_else_is_checked_like_any(tmp_path: Path, change: dict, message: str) -> None:
    saved = _saved(_compose(), tmp_path) | change
    with pytest.raises(ConfigError, match=message):
        _call(command="resume", imports=True).amend(saved)


def test_trust_in_a_saved_config_is_ignored_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = _call(command="resume").amend(_saved(_compose(), tmp_path) | {"trust": ["os"]})
    assert found.trust == () and found.config["trust"] == []
    assert "is ignored" in capsys.readouterr().err


def test_an_older_run_gets_the_defaults_of_newer_keys(tmp_path: Path) -> None:
    saved = _saved(_compose(), tmp_path)
    del saved["on_nonfinite"]
    assert _call(command="resume").amend(saved).config["on_nonfinite"] == "stop"


def test_options_of_a_command_are_kept_apart_from_the_runs_keys(tmp_path: Path) -> None:
    call = _call("split=all", "batch_size=8", command="evaluate")
    others = {"checkpoint": "best", "tta": "none", "figures": True, "output": None}
    assert call.options == {"split": "all", **others}
    assert call.amend(_saved(_compose(), tmp_path)).config["batch_size"] == 8
    with pytest.raises(ConfigError, match="split=some: must be one of"):
        _call("split=some", command="evaluate")


def test_what_is_trained_by_default_passes_the_check_of_its_arguments() -> None:
    found = _compose(imports=True)
    assert found.choices["augment"] == "none" and found.config["augment"] == {"off_for": None}
