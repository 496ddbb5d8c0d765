"""Command lines from Hydra's documentation and tutorials, each with its result in dltrain."""

import json
import shlex
import subprocess
import sys
import types
from dataclasses import dataclass, field
from typing import Any

import pytest
from few import few
from omegaconf import OmegaConf

from dltrain.composition.objective import directions, failed, values
from dltrain.composition.overrides import read_single, write
from dltrain.config.call import Call

OWN = {
    "model/mine.yaml": "# Mine\n_target_: dltrain.models.mlp.MLP\nwidths: [3]\ndropout: 0.5\n",
    "experiment/recipe.yaml": "# @package _global_\n# Mine\ndefaults:\n  - override /model: linear\nepochs: 7\n",
    "experiment/swept.yaml": (
        "# @package _global_\n# A committed sweep\n"
        "defaults:\n  - override /hydra/launcher: basic\n  - override /model: mlp\n"
        "hydra:\n  mode: MULTIRUN\n  sweep: {subdir: 'seed-${seed}'}\n"
        "  sweeper:\n    max_batch_size: 2\n    params: {seed: '3,4', optim.learning_rate: 'choice(0.1,0.2)'}\n"
    ),
    "experiment/shown.yaml": "# @package _global_\n# Shown\nhydra: {verbose: false}\n",
}


@dataclass(frozen=True)
class Case:
    """Expected result of a line: exit code, the jobs with some of their values, and output."""

    jobs: tuple[dict[str, Any], ...] = ()
    code: int = 0
    out: tuple[str, ...] = ()
    err: str = ""
    folders: tuple[str, ...] = field(default=())  # of the jobs, as far as they are named


def seeds(*numbers: int) -> tuple[dict[str, Any], ...]:
    return tuple({"seed": n} for n in numbers)


CASES = {
    # basic overrides: https://hydra.cc/docs/advanced/override_grammar/basic
    "seed=3": Case(seeds(3)),
    "+seed=3": Case(seeds(3)),
    "++seed=3": Case(seeds(3)),
    "++optim.eps=1e-3": Case(({"optim.eps": 1e-3},)),
    "optim.eps=1e-3 seed=1": Case(({"optim.eps": 1e-3, "seed": 1},)),
    "name='a b'": Case(({"name": "a b"},)),
    "name='${seed}'": Case(({"name": "0"},)),
    "model.widths=[8,16]": Case(({"model.widths": [8, 16]},)),
    "optim.clip={norm:1}": Case(({"optim.clip": {"norm": 1.0}},)),
    "seed=int('7')": Case(seeds(7)),
    "~optim.eps": Case(({"optim.eps": None},)),
    "~callbacks ~augment": Case(({"seed": 0},)),
    "~experiment": Case(({"seed": 0},)),
    "~optim": Case(code=2, err="a run needs one; choose another: optim="),
    "~seed": Case(code=2, err="set another value, such as seed=null"),
    # groups: https://hydra.cc/docs/tutorials/basic/your_first_app/config_groups
    "model=linear": Case(({"model._target_": "dltrain.models.linear.Linear"},)),
    "+model=linear": Case(({"model._target_": "dltrain.models.linear.Linear"},)),
    "model@model=linear": Case(({"model._target_": "dltrain.models.linear.Linear"},)),
    "metrics=[accuracy,f1]": Case(({"metrics.f1.better": "higher"},)),
    "model@net=linear": Case(code=2, err="has one place in dltrain's config, that of its group: model=linear"),
    "-cd conf model=mine": Case(({"model.widths": [3]},)),
    "--config-dir=conf model=mine model.dropout=0": Case(({"model.dropout": 0},)),
    "-cd conf +experiment=recipe": Case(({"epochs": 7, "model._target_": "dltrain.models.linear.Linear"},)),
    "-cd conf experiment=recipe epochs=2": Case(({"epochs": 2},)),
    "-cn recipe": Case(code=2, err="-cd DIR experiment=NAME reads DIR/experiment/NAME.yaml"),
    "-cp conf": Case(code=2, err="add a folder of YAML with -cd DIR"),
    "--experimental-rerun x.pickle": Case(code=2, err="dltrain resume RUN"),
    "-r seed=1": Case(seeds(1)),
    # multirun: https://hydra.cc/docs/tutorials/basic/running_your_app/multi-run
    "-m seed=1,2": Case(seeds(1, 2)),
    "--multirun seed=1,2 batch_size=8,16": Case(
        tuple({"seed": s, "batch_size": b} for s in (1, 2) for b in (8, 16)), folders=("0", "1", "2", "3")
    ),
    "-m seed=range(1,4)": Case(seeds(1, 2, 3)),
    "-m seed=range(0,10,step=5)": Case(seeds(0, 5)),
    "-m seed=choice(5,6)": Case(seeds(5, 6)),
    "-m seed=sort(3,1,2)": Case(seeds(1, 2, 3)),
    "-m seed=sort(1,2,3,reverse=true)": Case(seeds(3, 2, 1)),
    "-m seed=tag(t,choice(1,2))": Case(seeds(1, 2)),
    "-m optim.learning_rate=range(0.1,0.3,step=0.1)": Case(
        ({"optim.learning_rate": 0.1}, {"optim.learning_rate": 0.2})
    ),
    "-m model=glob(l*r)": Case(({"model._target_": "dltrain.models.linear.Linear"},)),
    "-m model=glob([mlp,lin*])": Case(
        ({"model._target_": "dltrain.models.linear.Linear"}, {"model.widths": [128, 128]})
    ),
    "-m model.widths=[8],[16,16]": Case(({"model.widths": [8]}, {"model.widths": [16, 16]})),
    "-m seed=1": Case(seeds(1)),
    "hydra.mode=MULTIRUN seed=1,2": Case(seeds(1, 2)),
    "seed=1,2": Case(code=2, err="several values; -m trains a run for each, seed=[1,2] passes a list"),
    "-m seed=1,2 hydra.sweep.dir=there": Case(seeds(1, 2), folders=("there/0", "there/1")),
    "-m seed=1,2 hydra.sweep.dir='by/${now:%Y}/${model.norm}' hydra.sweep.subdir='s${seed}'": Case(
        seeds(1, 2), folders=("/none/s1", "/none/s2")
    ),
    "-m seed=1,2 hydra.sweep.subdir='${hydra.job.override_dirname}' batch_size=8": Case(
        seeds(1, 2), folders=("batch_size=8,data=iris,seed=1", "batch_size=8,data=iris,seed=2")
    ),
    "-m seed=1,2 hydra.sweep.subdir='${hydra.job.override_dirname}' "
    "hydra.job.config.override_dirname.kv_sep=-": Case(
        seeds(1, 2), folders=("data-iris,seed-1", "data-iris,seed-2")
    ),
    "-m seed=1,2 hydra/launcher=basic hydra/sweeper=basic hydra.sweeper.max_batch_size=1": Case(seeds(1, 2)),
    "-m seed=1 hydra/launcher=slurm": Case(code=2, err="hydra/launcher=slurm: no such launcher is installed"),
    "-m seed=1 hydra/sweeper=nowhere": Case(code=2, err="hydra/sweeper=nowhere: no such sweeper is installed"),
    "-m optim.learning_rate=interval(0.1,1)": Case(code=2, err="needs -m and a search"),
    "-m 'optim.learning_rate=tag(log,interval(1e-3,1))'": Case(code=2, err="pip install hydra-optuna-sweeper"),
    # experiments with a `hydra:` part: https://hydra.cc/docs/patterns/configuring_experiments
    "-cd conf experiment=swept hydra.sweep.dir=tuned": Case(
        tuple({"seed": s, "optim.learning_rate": r} for s in (3, 4) for r in (0.1, 0.2)),
        folders=("tuned/seed-3",) * 2,
    ),
    "-cd conf -m experiment=swept seed=9 optim.learning_rate=0.5 output_dir=tuned": Case(
        ({"seed": 9, "optim.learning_rate": 0.5},), folders=("tuned/seed-9",)
    ),
    "-cd conf -m experiment=recipe,shown": Case(({"epochs": 7}, {"epochs": 20})),
    # folders and logging: https://hydra.cc/docs/configure_hydra/workdir, .../logging
    "hydra.run.dir=there": Case(seeds(0), folders=("there",)),
    "hydra.run.dir='out/${seed}' seed=4": Case(seeds(4), folders=("out/4",)),
    "hydra.job.chdir=true": Case(code=2, err="dltrain never changes the working folder"),
    "hydra.output_subdir=null": Case(code=2, err="a run's config is config.yaml in its folder"),
    "hydra.callbacks.x._target_=os.getcwd": Case(code=2, err="is chosen by name"),
    "hydra/callbacks=x": Case(code=2, err="choose training callbacks with callbacks=[...]"),
    # looking without training: https://hydra.cc/docs/tutorials/basic/running_your_app/debugging
    "--cfg job seed=3": Case(out=("seed: 3\n", "cross_entropy")),
    "--cfg job --resolve name='${seed}'": Case(out=("name: 0\n",)),
    "--cfg job -p model": Case(out=("# @package model\n", "\n_target_: dltrain.models.mlp.MLP\nembedding: none\n")),
    "--cfg job --package optim.learning_rate": Case(out=("0.001\n",)),
    "--cfg hydra": Case(out=("hydra:\n  run:\n", "  sweep:\n")),
    "--cfg hydra -p hydra.run hydra.run.dir=there": Case(out=("# @package hydra.run\ndir: there\n",)),
    "--cfg all": Case(out=("seed: 0\n", "hydra:\n")),
    "--info plugins": Case(out=("Installed Hydra Plugins", "BasicLauncher")),
    "--info=defaults model=linear": Case(out=("Defaults List", "model/linear")),
    "-i defaults-tree": Case(out=("Defaults Tree", "optim: adam")),
    "--info searchpath -cd conf": Case(out=("Config search path", "conf")),
    "--info config": Case(out=("Config", "batch_size: 64")),
    "--info": Case(out=("Installed Hydra Plugins", "Defaults Tree")),
    "--info=plugin": Case(code=2, err="must be one of all, config, defaults, defaults-tree, plugins, searchpath"),
}


AGAIN = (  # further ways to write a list of values, or where its jobs go: with `-m slow`
    "-m seed=range(0,10,step=5)",
    "-m seed=choice(5,6)",
    "-m seed=sort(3,1,2)",
    "-m seed=sort(1,2,3,reverse=true)",
    "-m seed=tag(t,choice(1,2))",
    "-m optim.learning_rate=range(0.1,0.3,step=0.1)",
    "-m model=glob(l*r)",
    "-m seed=1,2",
    "-m seed=1,2 hydra.sweep.dir=there",
    "-m seed=range(1,4)",
    "-m model.widths=[8],[16,16]",
    "-m seed=1",
    "-cd conf -m experiment=swept seed=9 optim.learning_rate=0.5 output_dir=tuned",
    "--info config",
    "-m seed=1,2 hydra.sweep.subdir='${hydra.job.override_dirname}' batch_size=8",
    "-cd conf -m experiment=recipe,shown",
    "hydra.mode=MULTIRUN seed=1,2",
    "-m seed=1,2 hydra/launcher=basic hydra/sweeper=basic hydra.sweeper.max_batch_size=1",
    "-m model=glob([mlp,lin*])",
)


class Train:
    """Replaces the command train: records its arguments, and writes a summary without training."""

    def __init__(self) -> None:
        self.configs: list[dict[str, Any]] = []
        self.folders: list[str] = []

    def run(self, call: Call) -> int:
        self.configs.append(call.compose().config)
        self.folders.append(str(call.folder))
        return 0

    def train_jobs(self, jobs, guard, signals, **more) -> None:
        """Record the jobs of a sweep; their loss is the distance of the learning rate from 0.1."""
        for job in jobs:
            guard(job, lambda job=job: self.write(job))

    def write(self, job) -> str:
        config = job.composed.config
        self.configs.append(config)
        self.folders.append(str(job.folder))
        loss = abs(config["optim"]["learning_rate"] - 0.1)
        summary = {"monitor": "validation/loss", "best": {"validation": {"loss": loss}}, "parameters": 10}
        (job.folder / "summary.json").write_text(json.dumps(summary))
        return "written"


@pytest.fixture
def train(monkeypatch, tmp_path):
    """Work in a folder with user YAML, without training, and restore logging afterwards."""
    fake = Train()
    command, table, jobs = types.ModuleType("train"), types.ModuleType("sweep"), types.ModuleType("train")
    command.run, table.summarise, jobs.train_jobs = fake.run, lambda folder, jobs, **ended: None, fake.train_jobs
    monkeypatch.setitem(sys.modules, "dltrain.commands.train", command)
    monkeypatch.setitem(sys.modules, "dltrain.report.sweep", table)
    monkeypatch.setitem(sys.modules, "dltrain.sweep.train", jobs)
    for name, text in OWN.items():
        path = tmp_path / "conf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return fake


@few("line", CASES, [line for line in CASES if line not in AGAIN])
def test_a_line_of_hydras_documentation_does_what_it_says_there(line, train, dltrain, tmp_path):
    case = CASES[line]
    words = shlex.split(line)
    result = dltrain(*words, *(["data=iris"] if "-i" not in words and "--info" not in line else []), cwd=tmp_path)
    assert result.code == case.code, result.err
    assert case.err in result.err and (case.err or not result.err)
    for text in case.out:
        assert text in result.out
    assert len(train.configs) == len(case.jobs)
    for config, wanted in zip(train.configs, case.jobs, strict=True):
        found = {key: OmegaConf.select(OmegaConf.create(config), key) for key in wanted}
        assert OmegaConf.create(found) == OmegaConf.create(dict(wanted))
    for folder, end in zip(train.folders, case.folders, strict=False):
        assert folder.endswith(end)
    if case.code or not case.jobs:
        assert not [p for p in tmp_path.rglob("*") if p.is_file() and "conf" not in p.parts]


LOGGING = {  # in a process of their own: they set up the logging of the whole process
    "-m seed=1 hydra/hydra_logging=default": "Launching 1 jobs locally",
    "hydra.verbose=[dltrain.own]": "told at level 10",
    "hydra/job_logging=stdout": "told at level 20",
    "hydra/job_logging=default": "",
    "hydra/job_logging=disabled": "",
    "hydra.run.dir=there": "",
}


@pytest.mark.slow
def test_hydras_logging_is_set_up_as_it_says(tmp_path):
    code = (
        "import logging, sys, types\n"
        "from dltrain.cli.main import main\n"
        "def run(call):\n"
        "    for level in (10, 20):\n"
        "        logging.getLogger('dltrain.own').log(level, f'told at level {level}')\n"
        "    return 0\n"
        "train, sweep = types.ModuleType('train'), types.ModuleType('sweep')\n"
        "train.run, sweep.summarise = run, lambda folder, jobs, **others: None\n"
        "sys.modules |= {'dltrain.commands.train': train, 'dltrain.report.sweep': sweep}\n"
        f"for line in {[shlex.split(line) for line in LOGGING]!r}:\n"
        "    logging.getLogger('dltrain.own').setLevel(0)\n"
        "    logging.getLogger().setLevel(30)\n"
        "    logging.getLogger().handlers.clear()\n"
        "    print('code', main([*line, 'data=iris']), flush=True)\n"
        "    logging.getLogger('dltrain.own').disabled = False\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=tmp_path)
    result = done.stdout.split("code 0\n")
    assert len(result) == len(LOGGING) + 1, done.stderr
    for text, wanted in zip(result, LOGGING.values(), strict=False):
        assert wanted in text and (wanted or not text), (text, wanted)
    assert not list(tmp_path.rglob("*.log"))


def test_the_table_is_long_enough():
    assert len(CASES) + len(LOGGING) >= 40


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["data=iris"], ["maximize"]),
        (["data=iris", "monitor=validation/loss"], ["minimize"]),
        (["data=diabetes"], ["maximize"]),
        (["data=diabetes", "metrics=[mae]"], ["minimize"]),
        (["data=diabetes", "monitor=validation/mse", "metrics=[mse]"], ["minimize"]),
        (["data=iris", "sweep.objectives=[validation/loss,validation/accuracy,parameters]"],
         ["minimize", "maximize", "minimize"]),
    ],
)  # fmt: skip
def test_the_direction_follows_the_monitored_metric(words, expected):
    from dltrain.composition.compose import compose_words

    assert directions(compose_words(*words).config) == expected


def test_a_job_returns_its_monitored_metric_or_the_objectives_asked_for():
    summary = {
        "monitor": "validation/accuracy",
        "best": {"validation": {"accuracy": 0.5, "loss": 2.0}},
        "parameters": 7,
    }
    assert values(summary, []) == 0.5
    assert values(summary, ["validation/loss"]) == 2.0
    assert values(summary, ["validation/loss", "parameters"]) == [2.0, 7.0]
    for lost in (values({}, []), values(summary, ["test/loss"]), failed([]), *failed(["a", "b"])):
        assert lost != lost


@pytest.mark.parametrize(
    "value", [None, True, 3, 1e-7, "text", "it's", "a,b", "1", "[x]", "\\", [1, "a", None], {"a": [1], "b c": "d"}]
)
def test_a_value_formatted_for_hydra_is_parsed_back(value):
    assert read_single(f"model.value={write(value)}", {}).value == value
