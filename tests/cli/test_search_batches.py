"""Trials of a search with one of Hydra's launchers: batches of its width, each trial once, none lost.

Launchers whose plugin is not installed are replaced by one that calls each job here, or skipped.
"""

import importlib.util
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dltrain.cli import launched, sweep
from dltrain.cli.search_batches import Batches
from dltrain.cli.sweep_words import read_sweep
from dltrain.composition.launch import Job
from dltrain.config.folders import read_tree, roots
from dltrain.errors import ConfigError
from dltrain.report import finish

SMALL = ("data=iris", "data.split_seed=7", "model=linear", "epochs=3", "batch_size=32", "quiet=true")
RATE = "optim.learning_rate=interval(1e-3,1)"
ASHA = ("sweep=asha", "sweep.objectives=[validation/loss]", "sweep.trials=5", "sweep.workers=2")


def typed(*words: str, launcher: str = "joblib", **settings):
    """The words of a sweep, as if this launcher had been typed."""
    folders = roots(None)
    found = read_sweep([*SMALL, RATE, *words], folders, read_tree(folders))
    chosen = {**found.settings.chosen, "hydra/launcher": launcher}
    return replace(found, settings=replace(found.settings, chosen=chosen, launcher=settings))


def summaries(folder: Path) -> dict[int, dict]:
    return {int(path.parent.name): json.loads(path.read_text()) for path in folder.glob("*/summary.json")}


class Launcher:
    """Calls each job in this process, some of them twice, and may lose one."""

    def __init__(self, *, dies: int = -1):
        self.batches, self.dies, self.begun = [], dies, 0

    def __call__(self, words, folder, folders, *, train):
        count = next(int(m[1]) for word in words if (m := re.fullmatch(r"seed=range\(0,(\d+)\)", word)))
        self.batches.append(count)
        for place in (0, *range(count)):  # the first is started again when it has ended
            if self.begun == self.dies:
                raise RuntimeError("a worker was killed")
            train(Job(place, (), folders, folder / ".jobs" / "again" / str(place), folder))
            self.begun += 1


def search(monkeypatch, fake: Launcher, *words: str, **settings) -> int:
    monkeypatch.setattr(launched, "launch", fake)
    return sweep._search(typed(*words, **settings))


def test_a_search_in_batches_trains_each_trial_once_and_prunes_and_goes_on(
    quickly_compiled, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    drawn, folder = [], tmp_path / "s"
    monkeypatch.setattr(finish, "draw", lambda program, run, *args, **options: drawn.append(int(run.path.name)))
    dying = Launcher(dies=4)  # in the middle of the second batch, before its second trial
    assert search(monkeypatch, dying, *ASHA, "output_dir=s", launcher="ray") == 9
    said = capsys.readouterr().err
    assert "a worker was killed" in said and "3 of 5 trials have ended; to go on: dltrain -m" in said
    assert dying.batches == [2, 2] and sorted(summaries(folder)) == [0, 1, 2]
    times = {n: (folder / str(n) / "config.yaml").stat().st_mtime_ns for n in (0, 1, 2)}
    again = Launcher()
    assert search(monkeypatch, again, *ASHA, "output_dir=s", launcher="ray") == 0
    assert again.batches == [1, 1]  # the trial that was begun, and then the last one
    assert times == {n: (folder / str(n) / "config.yaml").stat().st_mtime_ns for n in times}
    found = summaries(folder)
    assert sorted(found) == [*range(5)] and not (folder / ".jobs").exists()
    assert {str(s["stop_reason"]).split(":")[0] for s in found.values()} == {"pruned", "all steps done"}
    best = max(found, key=lambda n: found[n]["best"]["validation"]["accuracy"])
    assert best == 1 and drawn == [0, 1]  # those that were better than all of earlier batches
    for path in folder.glob("*/metrics.jsonl"):
        seen = [(row["split"], row["step"]) for row in map(json.loads, path.read_text().splitlines())]
        assert len(seen) == len(set(seen))


@pytest.mark.parametrize(
    ("words", "launcher", "settings", "trials"),
    [
        (("sweep=tpe",), "joblib", {"n_jobs": 3}, 3),  # knows the results of others sooner
        (("sweep=random",), "joblib", {"n_jobs": 3}, 8),  # depends on no results
        (("sweep=random", "sweep.workers=2"), "joblib", {"n_jobs": 3}, 3),
        (("sweep=tpe", "sweep.trials=2"), "joblib", {"n_jobs": 3}, 2),
        (("sweep=tpe",), "submitit_slurm", {}, 4),
    ],
)
def test_a_batch_has_the_width_of_the_launcher(words, launcher, settings, trials):
    found = typed(*words, launcher=launcher, **settings)
    assert Batches(found.settings, found.config, (), ()).trials == trials


def test_what_cannot_go_together_is_refused_with_the_alternative():
    with pytest.raises(ConfigError, match=r"hydra/launcher=joblib sweep.processes=2: both start processes"):
        sweep._search(typed("sweep=tpe", "sweep.processes=2"))
    with pytest.raises(ConfigError, match=r"sweep.sampler=pbt: its members exchange weights in one process; .*tpe"):
        sweep._train_population(typed("sweep=pbt"))


def test_a_launcher_that_an_experiment_chooses_starts_one_process_for_each_trial(tmp_path):
    """The words of a batch name the experiment, without the parameters of its sweeper, which the trials have."""
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "tune.yaml").write_text(
        "# @package _global_\n# Tune the rate\ndefaults:\n  - override /sweep: tpe\n"
        "hydra: {sweeper: {params: {optim.learning_rate: 'interval(1e-4,1e-1)'}}}\n"
    )
    folders = roots(str(tmp_path))
    found = read_sweep(["experiment=tune", *SMALL, "hydra.verbose=true"], folders, read_tree(folders))
    words = sweep._words_for_launcher(found)
    assert words[0] == "experiment=tune" and words[-1] == "++hydra.sweeper.params=null"
    assert "++hydra.verbose=true" in words and not any(word.startswith("optim.") for word in words)


LAUNCHERS = {
    "joblib": ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
    "submitit_local": ("hydra/launcher=submitit_local",),
    "ray": (
        *("hydra/launcher=ray", "hydra.launcher.ray.init.num_cpus=2"),
        "hydra.launcher.ray.init.include_dashboard=false",
    ),
}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_launcher_trains_the_trials_that_a_search_without_it_would_choose(launcher, tmp_path):
    if not importlib.util.find_spec(f"hydra_plugins.hydra_{launcher.split('_')[0]}_launcher"):
        pytest.skip(f"hydra-{launcher.split('_')[0]}-launcher is not installed")
    search = ("sweep=tpe", "sweep.trials=4", "sweep.workers=2", "sweep.known=[]")
    line = [sys.executable, "-m", "dltrain", "-m", *SMALL, RATE, *search]
    chosen = {}
    for name, words in (("launched", LAUNCHERS[launcher]), ("alone", ("runtime.threads=1",))):
        done = subprocess.run(
            [*line, *words, f"output_dir={name}"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        chosen[name] = [rate_and_loss(tmp_path / name / str(n)) for n in range(4)]
    assert [rate for rate, _ in chosen["launched"]] == [rate for rate, _ in chosen["alone"]]
    losses = [[loss for _, loss in found] for found in chosen.values()]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)  # alone they may be lanes, which round differently


def rate_and_loss(run: Path) -> tuple[str, float]:
    words = json.loads((run / "overrides.yaml").read_text())["overrides"]
    rate = next(word for word in words if word.startswith("optim.learning_rate="))
    return rate, json.loads((run / "summary.json").read_text())["best"]["validation"]["loss"]
