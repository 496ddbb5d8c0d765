"""Sweeps: a folder for each job, failures that do not stop other jobs, and the table at the end."""

import csv
import json
import shutil
import statistics
import subprocess
import sys

import pytest

from dltrain.composition.launch import expand, launch
from dltrain.config.folders import roots

pytestmark = pytest.mark.usefixtures("quickly_compiled")

GRID = (
    "-m",
    "data=iris",
    "data.split_seed=7",  # no two splits share a row, of which a line would warn
    "optim=sgd",
    "steps=4",
    "eval_every=4",
    "checkpoint_every=4",
    "optim.learning_rate=1e-2,3e38,1e-1",
    "seed=0,1",
    "model=linear",
)


@pytest.fixture(scope="module")
def sweep(dltrain, tmp_path_factory):
    """Six jobs; the two with an absurd learning rate fail."""
    cwd = tmp_path_factory.mktemp("sweep")
    result = dltrain(*GRID, "quiet=true", cwd=cwd, figures=False)
    (folder,) = cwd.glob("multirun/*/*")
    return folder, result


def table(folder) -> list[dict]:
    with (folder / "sweep.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_job_has_a_folder_and_a_failing_one_ends_no_other(sweep):
    folder, result = sweep
    assert result.code == 5  # the first failing job's
    files = ("experiment", "jobs.txt", "report", "sweep.csv", "sweep.html")
    assert sorted(p.name for p in folder.iterdir()) == [*"012345", *files]
    finished = [p.parent.name for p in folder.glob("*/summary.json")]
    assert sorted(finished) == ["0", "1", "4", "5"]
    started = {n: json.loads((folder / n / "overrides.yaml").read_text())["overrides"] for n in "012345"}
    assert "optim.learning_rate=3e+38" in " ".join(started["2"]) and "seed=1" in started["3"]
    assert not list(folder.rglob(".hydra"))


def test_each_failure_is_reported_with_its_job_and_nothing_else(sweep):
    _, result = sweep
    lines = result.err.splitlines()
    said = list(dict.fromkeys(line[:15] for line in lines))
    assert sorted(said) == ["dltrain: job 2:", "dltrain: job 3:"]
    for number in (2, 3):
        said_of_it = " ".join(line for line in lines if f"job {number}:" in line)
        assert "step 2" in said_of_it and "try a smaller optim.learning_rate" in said_of_it
    assert (
        "\njobs 0, 1, 2, 3, 4, 5: 6 runs of one program\n" in result.out and result.out.count("\njob ") == 6
    )  # two of them failed, and are named below the table


def test_the_table_is_sorted_and_seeds_are_mean_and_deviation(sweep):
    folder, result = sweep
    found = table(folder)
    assert [row["folders"] for row in found][-1] == "2 3"
    assert [row["overrides"] for row in found][-1] == "optim.learning_rate=3e+38" and found[-1]["failed"] == "2"
    means = [float(row["mean"]) for row in found[:2]]
    assert means == sorted(means, reverse=True) and {row["runs"] for row in found} == {"2"}
    for row in found[:2]:
        summaries = [json.loads((folder / n / "summary.json").read_text()) for n in row["folders"].split()]
        scores = [s["best"]["validation"]["accuracy"] for s in summaries]
        assert float(row["mean"]) == pytest.approx(statistics.fmean(scores))
        assert float(row["deviation"]) == pytest.approx(statistics.stdev(scores))
        assert float(row["test_mean"]) == pytest.approx(
            statistics.fmean(s["best"]["test"]["accuracy"] for s in summaries)
        )
    shown = result.out[result.out.index("6 runs, 2 failed") :]
    assert "±" in shown and f"table   {folder}/sweep.csv\n" in shown
    assert shown.index(found[0]["overrides"]) < shown.index(found[1]["overrides"])


def test_seeds_share_their_test_rows(sweep):
    folder, _ = sweep
    splits = [json.loads((folder / n / "data.json").read_text())["splits"] for n in "01"]
    assert splits[0] == splits[1]


def test_a_job_of_a_sweep_is_a_run_like_any_other(sweep, dltrain):
    folder, _ = sweep
    summary = json.loads((folder / "4" / "summary.json").read_text())
    assert dltrain("hash", str(folder / "4")).out == f"{summary['hash']}  step 4\n"
    assert dltrain("evaluate", str(folder / "4")).code == 0
    result = dltrain("resume", str(folder / "2"))
    assert result.code == 4 and "no usable checkpoint" in result.err


@pytest.mark.slow
def test_a_sweep_that_takes_the_place_of_another_leaves_nothing_of_it(dltrain, tmp_path, without_figures):
    words = ("-m", "data=iris", "model=linear", "steps=2", "quiet=true", "output_dir=grid")
    (tmp_path / "grid" / "7").mkdir(parents=True)
    (tmp_path / "grid" / "7" / "thesis.tex").write_text("mine")
    assert dltrain(*words, "seed=0,1", "overwrite=true", cwd=tmp_path).code == 0
    assert dltrain(*words, "seed=3", cwd=tmp_path).code == 2
    assert dltrain(*words, "seed=3", "overwrite=true", cwd=tmp_path).code == 0
    assert table(tmp_path / "grid")[0]["folders"] == "0" and not (tmp_path / "grid" / "1").exists()
    assert (tmp_path / "grid" / "7" / "thesis.tex").exists()


def test_a_job_is_one_run_of_tensorboard_named_by_its_overrides_also_resumed(sweep, dltrain, tmp_path):
    folder, _ = sweep
    names = [[p.name for p in (folder / n / "tensorboard").iterdir()] for n in "0145"]
    rates = ("0.01", "0.01", "0.1", "0.1")
    assert names == [
        [f"optim.learning_rate={rate} seed={seed}"] for rate, seed in zip(rates, (0, 1, 0, 1), strict=True)
    ]
    job = shutil.copytree(folder / "5", tmp_path / "5")
    assert dltrain("resume", str(job), "steps=6", figures=False).code == 0
    (events,) = (job / "tensorboard").iterdir()
    assert events.name == names[3][0] and len(list(events.iterdir())) == 2  # a file for each start


@pytest.mark.slow
def test_two_sweeps_at_once_share_no_folder(tmp_path):
    command = [sys.executable, "-m", "dltrain", *GRID[:3], "steps=1", "model=linear", "seed=0,1", "quiet=true"]
    started = [subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(timeout=120) for process in started] == [0, 0]
    folders = list(tmp_path.glob("multirun/*/*"))
    assert len(folders) == 2
    for folder in folders:
        assert [(row["runs"], row["failed"]) for row in table(folder)] == [("2", "0")]


def test_jobs_that_differ_in_values_are_those_that_hydra_would_start(tmp_path):
    folders, found = roots(None), []
    words = [
        "data=iris",
        "++model.widths=[3,4],[5]",
        "optim.learning_rate=0.001,1e-2",
        "name='a b'",
        "seed=range(1,3)",
    ]
    words += ["hydra/job_logging=none", "hydra/hydra_logging=none"]
    launch(words, tmp_path, folders, train=lambda job: found.append(job) or 0.0)
    assert found == expand(words, tmp_path, folders)
    assert len(found) == 8
