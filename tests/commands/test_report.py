"""dltrain report and compare: what they print, their options, and their exit codes."""

import shutil

import pytest
from written_runs import CONFIG, write_run
from written_sweeps import write_sweep


def test_report_writes_a_page_and_a_card_and_needs_no_data(dltrain, digits_run, tmp_path):
    folder = shutil.copytree(digits_run.folder, tmp_path / "a run")
    shutil.rmtree(folder / "checkpoints")
    result = dltrain("report", "a run", cwd=tmp_path)
    assert (result.code, result.err) == (0, "")
    assert result.out == "report  a run/report.html\ncard    a run/MODEL_CARD.md\n"
    page = (folder / "report.html").read_text()
    assert page.startswith("<!DOCTYPE html>") and "digits · mlp" in page
    (folder / "MODEL_CARD.md").write_text("mine")
    assert "was edited and is kept" in dltrain("report", "a run", "output=b.html", cwd=tmp_path).out
    assert (tmp_path / "b.html").read_text() == page


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("report",), 2, "name one run folder"),
        (("report", "run", "other"), 2, "dltrain compare RUN RUN"),
        (("report", "nowhere"), 2, "nowhere: folder not found"),
        (("report", "run", "epochs=3"), 2, "epochs: dltrain report has no such option (options: output)"),
        (("report", "run", "output=x.pdf"), 2, "must end in .html"),
        (("report", "damaged"), 4, "summary.json is damaged"),
        (("compare",), 2, "two run folders or more"),
        (("compare", "run", "damaged"), 4, "summary.json is damaged"),
        (("compare", "run", "other", "output=x.pdf"), 2, "must end in .html"),
        (("compare", "run", "other", "split=train"), 2, "split"),
    ],
)
def test_mistakes_are_named(dltrain, tmp_path, words, code, said):
    for name in ("run", "damaged"):
        folder = write_run(tmp_path / name)
    write_run(tmp_path / "other", seed=1)
    folder.summary.write_text(folder.summary.read_text().replace("0.9", "0.99"))
    result = dltrain(*words, cwd=tmp_path)
    assert result.code == code and said in result.err, result.err


def test_compare_prints_a_table_and_a_verdict_and_writes_a_page(dltrain, tmp_path):
    wide = {"model": {**CONFIG["model"], "widths": [8]}}
    for i, (low, high) in enumerate([(0.7, 0.9), (0.71, 0.91)]):
        write_run(tmp_path / f"a{i}", low, seed=i)
        write_run(tmp_path / f"b{i}", high, seed=i, config=wide)
    result = dltrain("compare", "a0", "a1", "b0", "b1", cwd=tmp_path)
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[0] == "4 runs, each at its best state; ranked by test/accuracy"
    assert lines[1].split() == ["runs", "model.widths", "test/accuracy", "test/loss"]
    assert lines[2].startswith("A  a0, a1  [4]") and lines[3].startswith("B  b0, b1  [8]")
    assert "larger than the spread across seeds" in result.out and lines[-1] == "page    comparison.html"
    assert (tmp_path / "comparison.html").read_text().startswith("<!DOCTYPE html>")


def test_compare_of_a_sweep_is_what_stands_at_its_end(dltrain, tmp_path):
    jobs = [([f"optim.learning_rate={rate}", f"seed={seed}"], rate) for rate in (0.1, 0.2) for seed in (0, 1)]
    write_sweep(tmp_path / "sweep", jobs)
    result = dltrain("compare", "sweep", cwd=tmp_path)
    assert (result.code, result.err) == (0, "")
    assert "4 runs, each at its best state" in result.out and "Best of 2 configs" in result.out
    assert (tmp_path / "sweep" / "sweep.html").is_file() and not (tmp_path / "comparison.html").exists()
    assert (tmp_path / "sweep" / "experiment" / "best.yaml").is_file()
    assert dltrain("compare", "sweep", "output=page.html", cwd=tmp_path).code == 0
    assert "Sweep of 4 jobs" in (tmp_path / "page.html").read_text()
    result = dltrain("compare", "sweep", "split=test", cwd=tmp_path)
    assert result.out.splitlines()[0] == "4 runs, each at its best state; ranked by test/accuracy"
    assert (tmp_path / "comparison.html").is_file()


def test_compare_warns_of_other_data(dltrain, tmp_path):
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", fingerprint="other")
    result = dltrain("compare", "a", "b", cwd=tmp_path)
    assert result.code == 0 and "warning: B cannot be compared with A" in result.err
    assert "(other data)" in result.out and "differ by" not in result.out


def test_an_unfinished_run_is_reported(dltrain, tmp_path):
    write_run(tmp_path / "run", None)
    assert dltrain("report", "run", cwd=tmp_path).code == 0
    assert "has not finished" in (tmp_path / "run" / "report.html").read_text()


def test_a_new_run_in_the_folder_deletes_the_report_and_the_card(tmp_path):
    folder = write_run(tmp_path / "run")
    from dltrain.report.html.run import write_report

    write_report(folder)
    folder.clear()
    assert list(folder.path.iterdir()) == []
