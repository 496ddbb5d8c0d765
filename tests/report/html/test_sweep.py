"""The page of a sweep: what is in it, and that it loads nothing."""

import re

from written_runs import HOSTILE, Page
from written_sweeps import outcome_of, write_sweep

from dltrain.report.html.sweep import sweep_page
from dltrain.report.sweep import compare_sweep
from dltrain.report.sweeps.best import experiment

JOBS = [
    ([f"optim.learning_rate={rate}", f"seed={seed}"], 0.5 + rate)
    for rate in (0.1, 0.2, 0.3, 0.4)
    for seed in (0, 1)
]


def test_the_page_has_tables_curves_figures_and_the_best_config(tmp_path):
    paths = write_sweep(
        tmp_path, [*JOBS, ([f"name={HOSTILE}"], None)], notes=f"dltrain.errors.DataError: {HOSTILE}\n"
    )
    compare_sweep(tmp_path)
    text = (tmp_path / "sweep.html").read_text()
    page = Page(text)
    rows = page.rows()
    assert ["6, 7", "0.4", "0.9000 ± 0.0000", "0.4500 ± 0.0000", "3.0"] in rows
    assert ["optim.learning_rate", "100%", ""] in rows
    assert any(row[0] == "8" and row[-1] == HOSTILE for row in rows)
    assert page.texts("h2") == ["Results", "Best config", "Importance", "Curves", "Figures", "Failed jobs"]
    assert f"dltrain --config-dir {tmp_path} experiment=best" in page.texts("pre")
    images = [given["src"] for given in page.attributes("img")]
    assert len(images) == 2 and all(source.startswith("data:image/png;base64,") for source in images)
    assert [given["class"] for given in page.attributes("figure")].count("chart") == 4
    without = re.sub(r"http://www.w3.org/\d+/svg", "", text)
    assert "http:" not in without and "https:" not in without and HOSTILE not in text
    assert len(paths) == 9


def test_a_sweep_without_results_has_a_page_without_figures(tmp_path):
    found = outcome_of(tmp_path, write_sweep(tmp_path, [(["model=a"], None), (["model=b"], None)]))
    page = Page(sweep_page(found, None, []))
    assert page.texts("h2") == ["Results", "Importance", "Curves", "Failed jobs"]
    assert page.rows()[1][0] == "0"


def test_other_metrics_are_named_as_left_out(tmp_path):
    paths = write_sweep(tmp_path, JOBS)
    write_sweep(tmp_path / "more", [(["model=gan"], 0.5)], monitor="validation/mse", higher=False)
    found = outcome_of(tmp_path, [*paths, tmp_path / "more" / "0"])
    page = Page(sweep_page(found, experiment(found.jobs[0], "x"), []))
    assert any("Other jobs monitored validation/mse" in line for line in page.texts("p"))
