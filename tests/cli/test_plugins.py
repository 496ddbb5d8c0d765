"""Hydra's public sweepers and launchers, each installed in its own environment; skipped if pip fails."""

import json
import os
import shutil
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parent.parent.parent
SETS = {
    "1.3": ("hydra-core==1.3.8", "hydra-optuna-sweeper==1.3.0", "hydra-joblib-launcher", "hydra-submitit-launcher"),
    "1.4": (
        *("--pre", "hydra-core==1.4.0rc3", "hydra-optuna-sweeper==1.4.0rc3"),
        *("hydra-joblib-launcher", "hydra-submitit-launcher"),
    ),
}
SMALL = ("data=iris", "data.split_seed=7", "model=linear", "batch_size=16", "epochs=2", "quiet=true")


@pytest.fixture(scope="module", params=SETS)
def python(request, tmp_path_factory):
    """An interpreter with these plugins on top of this environment. DLTRAIN_PLUGINS keeps them."""
    kept = os.environ.get("DLTRAIN_PLUGINS")
    place = (Path(kept) if kept else tmp_path_factory.mktemp("plugins")) / request.param
    program = place / "bin" / "python"
    if not program.exists():
        venv.create(place, with_pip=True)
        (site,) = place.glob("lib/python3*/site-packages")
        (site / "zz_here.pth").write_text(sysconfig.get_path("purelib") + "\n")
        pip = [program, "-m", "pip", "install", "-q", *SETS[request.param]]
        done = subprocess.run(pip, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            shutil.rmtree(place)
            pytest.skip(f"pip cannot install {SETS[request.param]}: {done.stderr[-300:]}")
    return program


def run(python: Path, *words: str, cwd: Path) -> subprocess.CompletedProcess:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    line = [python, "-m", "dltrain", *words]
    return subprocess.run(line, capture_output=True, text=True, timeout=400, cwd=cwd, env=env, check=False)


def summaries(folder: Path) -> list[dict]:
    paths = sorted(folder.glob("*/summary.json"), key=lambda path: int(path.parent.name))
    return [json.loads(path.read_text()) for path in paths]


def results(folder: Path) -> dict:
    import yaml

    return yaml.safe_load((folder / "optimization_results.yaml").read_text())


OPTUNA = ("-m", "hydra/sweeper=optuna", "hydra.sweeper.n_jobs=1", "hydra.sweeper.sampler.seed=1")


def test_optuna_finds_a_better_rate_than_the_first_trials(python, tmp_path):
    words = (*SMALL, "monitor=validation/loss", "optim.learning_rate=tag(log,interval(1e-5,1))", "output_dir=o")
    done = run(python, *OPTUNA, "hydra.sweeper.n_trials=8", "hydra/sweeper/sampler=tpe", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    losses = [s["best"]["validation"]["loss"] for s in summaries(tmp_path / "o")]
    found = results(tmp_path / "o")
    assert len(losses) == 8 and found["best_value"] == min(losses) < losses[0]
    assert list(found["best_params"]) == ["optim.learning_rate"]


def test_a_metric_that_is_better_high_is_maximized_unless_the_user_sets_the_direction(python, tmp_path):
    rates = "optim.learning_rate=1e-5,3e-2,1e-1"
    words = (*OPTUNA, "hydra.sweeper.n_trials=3", "hydra/sweeper/sampler=grid", rates)
    words = tuple(word for word in words if "sampler.seed" not in word)  # a grid has none
    done = run(python, *words, *SMALL, "output_dir=up", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    scores = [s["best"]["validation"]["accuracy"] for s in summaries(tmp_path / "up")]
    assert results(tmp_path / "up")["best_value"] == max(scores) > min(scores)
    done = run(python, *words, *SMALL, "output_dir=down", "hydra.sweeper.direction=minimize", cwd=tmp_path)
    assert done.returncode == 0 and results(tmp_path / "down")["best_value"] == min(scores)


def test_several_objectives_give_a_front_and_a_failed_job_is_left_out(python, tmp_path):
    objectives = "sweep.objectives=[validation/loss,parameters]"
    words = (
        *OPTUNA,
        *SMALL,
        "hydra.sweeper.n_trials=4",
        "hydra/sweeper/sampler=random",
        "optim=sgd",
        "log_every=1",
    )
    done = run(python, *words, objectives, "optim.learning_rate=1e-3,3e38", "output_dir=o", cwd=tmp_path)
    assert done.returncode == 5 and "4 runs" in done.stdout, done.stderr
    good = summaries(tmp_path / "o")
    assert 0 < len(good) < 4 and (tmp_path / "o" / "3" / "config.yaml").exists()
    assert {s["values"][1] for s in results(tmp_path / "o")["solutions"]} == {float(good[0]["parameters"])}


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_a_launcher_runs_jobs_in_processes_of_its_own(python, launcher, tmp_path):
    words = ("-m", *SMALL, "seed=0,1", f"hydra/launcher={launcher}", "output_dir=o")
    done = run(python, *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(summaries(tmp_path / "o")) == 2 and "2 runs" in done.stdout
    failing = run(python, *words[:-1], "output_dir=f", "optim=sgd", "optim.learning_rate=3e38", cwd=tmp_path)
    assert failing.returncode == 5 and "2 runs, 2 failed" in failing.stdout, failing.stderr


def test_a_committed_sweep_needs_only_its_name(python, tmp_path):
    (tmp_path / "conf/experiment").mkdir(parents=True)
    (tmp_path / "conf/experiment/tune.yaml").write_text(
        "# @package _global_\n# Tune the rate\n"
        "defaults:\n  - override /data: iris\n  - override /model: linear\n  - override /hydra/sweeper: optuna\n"
        "epochs: 1\nhydra:\n  mode: MULTIRUN\n"
        "  sweeper:\n    n_trials: 2\n    n_jobs: 1\n    sampler: {seed: 1}\n"
        "    params: {optim.learning_rate: 'tag(log, interval(1e-4, 1e-1))'}\n"
    )
    done = run(python, "-cd", "conf", "experiment=tune", "output_dir=tuned", "quiet=true", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(summaries(tmp_path / "tuned")) == 2
    assert list(results(tmp_path / "tuned")["best_params"]) == ["optim.learning_rate"]
