"""The best config as an experiment: it trains the same run again."""

import json
import shlex

import pytest
import yaml

from dltrain import api
from dltrain.report.sweep import compare_sweep
from dltrain.report.sweeps.best import experiment, write_best
from dltrain.report.sweeps.jobs import read_job

WORDS = ("data=iris", "model.widths=[4]", "epochs=2", "batch_size=32", "quiet=true")
OWN = """# A small model of one's own
_target_: dltrain.models.mlp.MLP
tasks: [classification]
widths: [3]
activation: tanh
"""


@pytest.fixture
def composed(tmp_path):
    """Write a run folder's config as training does, without training."""

    def make(*words, config_dir=None):
        found = api.compose_words(*words, config_dir=config_dir)
        folder = tmp_path / "0"
        folder.mkdir(exist_ok=True)
        (folder / "config.yaml").write_text(found.text)
        started = {"overrides": list(words), "choices": dict(found.choices)}
        (folder / "overrides.yaml").write_text(json.dumps(started))
        return read_job(folder, "0"), found

    return make


@pytest.mark.parametrize(
    "words",
    [
        ("optim.learning_rate=0.01",),
        ("model=linear", "optim=sgd", "optim.momentum=0.5", "epochs=20", "seed=3", "loss.label_smoothing=0.1"),
        (
            "metrics=[accuracy,f1]",
            "steps=10",
            "schedule=cosine",
            "optim.clip={norm: 1.0}",
            "monitor=validation/loss",
        ),
        ("experiment=mnist_lenet", "batch_size=32"),
        ("name='1.10'", "tags=[a,'2']", "~optim.eps", "early_stopping.patience=2"),
    ],
)
def test_the_experiment_composes_to_the_config_of_the_job(tmp_path, composed, words):
    data = () if words[0].startswith("experiment") else ("data=iris",)
    job, wanted = composed(*data, *words)
    made = write_best(tmp_path, job, "About")
    again = api.compose_words("experiment=best", *made.words, config_dir=str(tmp_path))
    assert again.config == wanted.config
    groups = [group for group in job.choices if group not in ("recipe", "experiment")]
    assert [again.choices[group] for group in groups] == [job.choices[group] for group in groups]


def test_what_a_recipe_decided_is_written_out_and_it_decides_nothing_again(tmp_path, composed):
    table = tmp_path / "t.csv"
    table.write_text("a,b,y\n" + "".join(f"{i / 40},{i % 7},{'yes' if i > 20 else 'no'}\n" for i in range(40)))
    job, wanted = composed(
        "data=table", f"data.path={table}", "data.target=y", "epochs=20", "optim.weight_decay_schedule=constant"
    )
    assert wanted.choices["recipe"] not in ("auto", "none")
    write_best(tmp_path, job, "About")
    again = api.compose_words("experiment=best", config_dir=str(tmp_path))
    assert again.config == wanted.config and again.choices["model"] == wanted.choices["model"]


def test_it_holds_the_choices_and_only_what_differs_from_them(composed):
    job, _ = composed(
        "data=iris", "model=mlp", "optim.learning_rate=0.01", "epochs=20", "output_dir=x", "quiet=true"
    )
    text = experiment(job, "About\nit").files["experiment/best.yaml"]
    assert text.startswith("# @package _global_\n# About it\n")
    found = yaml.safe_load(text)
    assert {"override /data": "iris"} in found["defaults"] and {"override /model": "mlp"} in found["defaults"]
    assert {key: value for key, value in found.items() if key != "defaults"} == {"optim": {"learning_rate": 0.01}}


def test_a_part_of_ones_own_is_written_next_to_it(tmp_path, composed):
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "own.yaml").write_text(OWN)
    job, wanted = composed("data=iris", "model=own", config_dir=str(tmp_path / "conf"))
    made = write_best(tmp_path / "sweep", job, "About")
    assert set(made.files) == {"experiment/best.yaml", "model/best.yaml"}
    again = api.compose_words("experiment=best", config_dir=str(tmp_path / "sweep"))
    assert again.config["model"] == wanted.config["model"] and again.config["optim"] == wanted.config["optim"]


def test_what_a_file_may_not_set_is_typed(composed):
    job, _ = composed("data=iris", "name=x", "init_from='${oc.env:HOME}/run'", "trust=[json]")
    found = experiment(job, "About")
    assert found.words == ("trust=[json]", "init_from='${oc.env:HOME}/run'")
    assert shlex.split(found.command(job.folder))[-2:] == list(found.words)
    assert "oc.env" not in found.files["experiment/best.yaml"]


@pytest.mark.slow
def test_the_best_job_of_a_sweep_trains_again_to_the_same_number(tmp_path, dltrain):
    sweep = tmp_path / "sweep"
    result = dltrain("-m", *WORDS, "optim.learning_rate=0.001,0.05", f"output_dir={sweep}", figures=False)
    assert result.code == 0, result.err
    (command,) = [line for line in result.out.splitlines() if line.startswith("best    ")]
    words = shlex.split(command.removeprefix("best    dltrain "))
    assert words == ["--config-dir", str(sweep), "experiment=best"]
    assert dltrain(*words, f"output_dir={tmp_path / 'again'}", figures=False).code == 0
    one, two = (json.loads((p / "summary.json").read_text()) for p in (sweep / "1", tmp_path / "again"))
    assert two["best"]["validation"] == pytest.approx(one["best"]["validation"], rel=1e-5)  # a lane: to rounding
    alone = dltrain(*WORDS, "optim.learning_rate=0.05", f"output_dir={tmp_path / 'alone'}", figures=False)
    assert alone.code == 0
    assert json.loads((tmp_path / "alone" / "summary.json").read_text())["hash"] == two["hash"]
    before = (sweep / "sweep.csv").read_bytes()
    for name in ("sweep.csv", "sweep.html", "experiment/best.yaml"):
        (sweep / name).unlink()
    compare_sweep(sweep)
    assert (sweep / "sweep.csv").read_bytes() == before
    assert (sweep / "sweep.html").is_file() and (sweep / "experiment/best.yaml").is_file()
    again = dltrain(
        "-m", *WORDS, "optim.learning_rate=0.02", f"output_dir={sweep}", "overwrite=true", figures=False
    )
    assert again.code == 0, again.err
