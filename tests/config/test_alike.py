"""Configs that are composed as changed copies: equal to composed ones, also where nothing may be copied."""

from dataclasses import replace

import pytest

from dltrain.composition.compose import make_request
from dltrain.config import alike, compose
from dltrain.config import folders as tree
from dltrain.errors import ConfigError

OWN = {
    "model/referring.yaml": (
        "# Mine\n_target_: dltrain.models.mlp.MLP\nwidths: [3]\ndropout: ${optim.weight_decay}\nactivation: relu\n"
    ),
    "experiment/mine.yaml": (
        "# @package _global_\n# Mine\ndefaults:\n  - override /data: iris\n  - override /model: linear\n"
        "name: 1.10\nsteps: 50\noptim: {learning_rate: 0.5}\n"
    ),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    for name, text in OWN.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return tree.roots(str(folder))


def _request(line: str, folders):
    return make_request("train", line.split(), folders, tree.read_tree(folders))


def _changed(monkeypatch, lines, folders) -> list[str]:
    """Compose all lines both ways; return those that were not composed as Hydra does."""
    whole, composed = compose.compose_written, []
    monkeypatch.setattr(alike, "compose_written", lambda request: composed.append(request) or whole(request))
    jobs = alike.Alike()
    found = []
    for line in lines:
        request, before = _request(line, folders), len(composed)
        try:
            one = jobs.compose(request)
        except ConfigError as error:
            with pytest.raises(ConfigError) as wanted:
                compose.compose(request)
            assert str(error) == str(wanted.value)
            continue
        other = compose.compose(request)
        assert one.text == other.text
        assert repr(one) == repr(other)  # in the same order, and of the same types
        if len(composed) == before:
            found.append(line)
    return found


@pytest.mark.parametrize(
    ("words", "key", "values"),
    [
        ("", "optim.learning_rate", ("0.1", "1", "1e-3", "1e-300", "3e38")),
        ("optim=adamw", "optim.weight_decay", ("0", "0.5", "1")),
        ("", "seed", ("0", "7", "123456789")),
        ("", "batch_size", ("16", "all", "8")),
        ("", "name", ("a", "1.10", "null", "'on'", "2024_01_05", "yes")),
        ("model=mlp", "model.activation", ("relu", "tanh", "gelu")),
        ("model=mlp", "model.dropout", ("0", "0.5")),
        ("", "overwrite", ("true", "false")),
        ("", "runtime.threads", ("1", "2", "null")),
        ("", "output_dir", ("null", "a", "1.10")),
        ("", "monitor", ("loss", "accuracy")),
        ("", "data.split_seed", ("1", "2")),
        ("model=mlp model.widths=[4,5]", "optim.learning_rate", ("0.1", "0.2")),
        ("experiment=mine", "optim.learning_rate", ("0.1", "0.2")),
        ("experiment=mine optim=adamw", "optim.weight_decay", ("0.5", "1")),
        ("recipe=auto model=mlp", "optim.learning_rate", ("0.1", "0.2")),
        ("loss=cross_entropy", "loss.label_smoothing", ("0.1", "0")),
    ],
)
def test_a_changed_copy_is_the_composed_config(monkeypatch, folders, words, key, values):
    lines = [f"{words} {key}={value}" for value in values]
    assert _changed(monkeypatch, lines, folders) == lines[1:]


@pytest.mark.parametrize(
    "lines",
    [
        (
            "model=referring optim=adamw optim.weight_decay=0.1",
            "model=referring optim=adamw optim.weight_decay=0.2",
        ),  # read by another key
        ("optim=adamw optim.learning_rate=0.1", "optim=adamw optim.learning_rate=${optim.weight_decay}"),
        ("name=${oc.env:MINE}", "name=b"),
        ("name=${monitor} monitor=loss", "name=${monitor} monitor=accuracy"),
        ("epochs=2", "epochs=3"),
        ("epochs=2", "steps=3"),
        ("data=diabetes", "data=iris"),
        ("model=mlp", "model=linear"),
        ("model=mlp model.widths=[3]", "model=mlp model.widths=[3,4]"),
        (
            "data=table data.path=t.csv data.target=a",
            "data=table data.path=t.csv data.target=b",
        ),  # of which the task is asked
        ("task=classification task.models=null", "task=classification task.models=1"),
        ("optim.learning_rate=0.1", "~optim.learning_rate"),
    ],
)
def test_whatever_may_have_an_effect_elsewhere_is_composed(monkeypatch, folders, lines, tmp_path):
    monkeypatch.setenv("MINE", "a")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text("a,b,c\n" + "".join(f"{i / 7},{'xy'[i % 2]},{i % 5}\n" for i in range(40)))
    for line in lines[:1]:
        compose.compose(_request(line, folders))
    assert _changed(monkeypatch, lines, folders) == []


@pytest.mark.parametrize(
    ("words", "key", "values"),
    [
        ("", "optim.learning_rate", ("0.1", "-1", "fast", "0.2")),
        ("", "batch_size", ("16", "-3", "8.5")),
        ("", "seed", ("1", "true", "2")),
        ("model=mlp", "model.activation", ("relu", "rellu", "sign")),
        ("model=mlp", "model.dropout", ("0.1", "2", "x")),
        ("model=mlp", "model.widht", ("1", "2")),
        ("", "optim.learning_rat", ("1", "2")),
    ],
)
def test_messages_are_those_of_composing(monkeypatch, folders, words, key, values):
    _changed(monkeypatch, [f"{words} {key}={value}" for value in values], folders)


def test_a_key_inside_another_typed_one_is_composed(folders):
    request = _request("runtime.mesh={data:1} runtime.mesh.data=1 seed=1", folders)
    assert alike._plain_values(request) == {"seed": 1}


def test_a_copy_shares_nothing_with_the_kept_config(folders):
    jobs = alike.Alike()
    one = jobs.compose(_request("seed=1", folders))
    one.config["optim"]["learning_rate"] = "lost"
    two = jobs.compose(_request("seed=2", folders))
    two.config["optim"]["learning_rate"] = "lost"
    three = jobs.compose(_request("seed=3", folders))
    assert three.config == compose.compose(_request("seed=3", folders)).config


def test_commands_do_not_share_what_they_check(folders):
    jobs = alike.Alike()
    request = replace(_request("model=mlp model.activation=relu", folders), command="find-lr")
    jobs.compose(replace(request, command="evaluate"))
    sign = _request("model=mlp model.activation=sign", folders)
    jobs.compose(replace(sign, command="evaluate"))  # which trains nothing
    with pytest.raises(ConfigError, match="its gradient is zero"):
        jobs.compose(sign)
