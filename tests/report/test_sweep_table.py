"""The table at the end of a sweep: seeds are grouped, the best is first, failures are listed."""

import csv
import json
import statistics

import pytest

from dltrain.report.sweep import summarise


@pytest.fixture
def sweep(tmp_path):
    """Make the folders of a sweep: for each job overrides and the accuracy at the best step (None: failed)."""

    def make(*jobs, monitor="validation/accuracy", higher=True):
        for number, (overrides, score) in enumerate(jobs):
            folder = tmp_path / str(number)
            folder.mkdir()
            if overrides is not None:
                (folder / "overrides.yaml").write_text(json.dumps({"overrides": overrides, "choices": {}}))
            if score is not None:
                name = monitor.split("/")[1]
                best = {"validation": {name: score}, "test": {name: score - 0.25}}
                summary = {"monitor": monitor, "higher_is_better": higher, "best": best, "validation": {name: -1.0}}
                (folder / "summary.json").write_text(json.dumps(summary))
        (tmp_path / "notes").mkdir()  # not a job
        jobs_in_order = sorted(
            (path for path in tmp_path.iterdir() if path.name.isdigit()), key=lambda p: int(p.name)
        )
        summarise(tmp_path, jobs_in_order)
        with (tmp_path / "sweep.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    return make


def test_runs_that_differ_only_in_seed_are_one_row_with_mean_and_deviation(sweep):
    rows = sweep(
        (["data=iris", "model=mlp", "seed=0"], 0.75),
        (["data=iris", "model=mlp", "seed=1"], 0.5),
        (["data=iris", "model=cnn", "seed=0"], 0.875),
        (["data=iris", "model=cnn", "seed=1"], 1.0),
    )
    assert [row["overrides"] for row in rows] == ["model=cnn", "model=mlp"]  # what all jobs share is left out
    assert [row["folders"] for row in rows] == ["2 3", "0 1"]
    assert float(rows[1]["mean"]) == 0.625
    assert float(rows[1]["deviation"]) == pytest.approx(statistics.stdev([0.75, 0.5]))
    assert float(rows[1]["test_mean"]) == 0.375
    assert float(rows[1]["test_deviation"]) == pytest.approx(statistics.stdev([0.5, 0.25]))


@pytest.mark.parametrize(("higher", "order"), [(True, ["2", "0", "1"]), (False, ["1", "0", "2"])])
def test_the_best_run_is_first_whether_higher_or_lower_is_better(sweep, higher, order):
    jobs = [([f"optim.learning_rate={rate}"], score) for rate, score in ((0.1, 0.5), (0.2, 0.25), (0.3, 1.5))]
    assert [row["folders"] for row in sweep(*jobs, monitor="validation/loss", higher=higher)] == order


def test_failed_runs_are_last_and_counted(sweep, capsys):
    rows = sweep(
        (["model=a", "seed=0"], None),
        (["model=b", "seed=0"], 0.5),
        (["model=b", "seed=1"], None),
        (None, None),  # died before it could write its overrides
    )
    assert [(row["folders"], row["runs"], row["failed"]) for row in rows[:1]] == [("1 2", "2", "1")]
    assert sorted((row["folders"], row["mean"]) for row in rows[1:]) == [("0", ""), ("3", "")]
    assert float(rows[0]["mean"]) == 0.5
    assert rows[0]["deviation"] == ""
    out = capsys.readouterr().out
    assert "4 runs, 3 failed" in out
    assert "job 3 failed before it started" in out
    assert "0.5000" in out


def test_the_error_of_a_job_without_a_run_folder_is_printed(tmp_path, sweep, capsys):
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "failure.txt").write_text("data.root: no such folder\n")
    rows = sweep((["model=a"], 0.5))
    assert (rows[1]["overrides"], rows[1]["failed"]) == ("job 7 failed before it started", "1")
    assert "job 7: data.root: no such folder\n" in capsys.readouterr().out


def test_a_truncated_summary_counts_as_a_failed_run(tmp_path, sweep):
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "summary.json").write_text('{"monitor"')
    rows = sweep((["model=a"], 0.5))
    assert [row["folders"] for row in rows] == ["0", "7"]


def test_jobs_keep_the_order_they_ran_in(sweep):
    rows = sweep(*[(["model=a", f"seed={i}"], 0.5) for i in range(11)])
    assert rows[0]["folders"] == "0 1 2 3 4 5 6 7 8 9 10"


def test_a_run_without_a_monitored_metric_has_no_score(sweep):
    assert [row["mean"] for row in sweep((["model=a"], 0.5), monitor="/accuracy")] == [""]


def test_folds_of_a_cross_validation_are_one_row_with_mean_and_deviation(sweep):
    scores = [0.5, 0.75, 1.0]
    jobs = [
        ([f"model={m}", "data.folds=3", f"data.fold={i}"], s) for m in ("mlp", "cnn") for i, s in enumerate(scores)
    ]
    rows = sweep(*jobs)
    assert [(row["overrides"], row["runs"]) for row in rows] == [("model=mlp", "3"), ("model=cnn", "3")]
    assert float(rows[0]["mean"]) == 0.75 and float(rows[0]["deviation"]) == pytest.approx(0.25)


def test_each_metric_has_columns_of_its_own_and_rows_are_best_first_in_each(tmp_path, sweep, capsys):
    rows = sweep((["model=linear"], 0.5), (["model=mlp"], 0.75))
    for number, value in ((2, 0.25), (3, 0.125)):
        (tmp_path / str(number)).mkdir()
        overrides = {
            "overrides": ["model=autoencoder", f"seed=1{number}", f"model.widths=[{number}]"],
            "choices": {},
        }
        (tmp_path / str(number) / "overrides.yaml").write_text(json.dumps(overrides))
        best = {"validation": {"mse": value}, "test": {"mse": value}}
        summary = {"monitor": "validation/mse", "higher_is_better": False, "best": best}
        (tmp_path / str(number) / "summary.json").write_text(json.dumps(summary))
    capsys.readouterr()
    summarise(tmp_path, [tmp_path / str(n) for n in range(4)])
    with (tmp_path / "sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["folders"], r["monitor"]) for r in rows] == [
        ("1", "validation/accuracy"),
        ("0", "validation/accuracy"),
        ("3", "validation/mse"),
        ("2", "validation/mse"),
    ]
    header, *lines = capsys.readouterr().out.splitlines()[2:7]
    ends = [header.index(name) + len(name) for name in ("validation/accuracy", "test/accuracy", "validation/mse")]
    shown = [[line[end - 6 : end].strip() for end in ends] for line in lines]
    assert shown[0] == ["0.7500", "0.5000", ""] and shown[2] == ["", "", "0.1250"]


def test_a_failed_run_without_any_metric_is_a_row(sweep, capsys):
    sweep((["model=a"], None))
    assert "failed" in capsys.readouterr().out


@pytest.mark.parametrize("columns", ["10", "40", "80"])
def test_the_table_is_complete_without_a_terminal_whatever_its_width(sweep, capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    long = [f"model.widths=[{'1' * 30}]", "optim.learning_rate=0.00001", "schedule.warmup_epochs=10"]
    sweep(([*long, "seed=0"], 0.5), (["model=b"], 0.25))
    assert any(" ".join(long) in line and "0.5000" in line for line in capsys.readouterr().out.splitlines())
