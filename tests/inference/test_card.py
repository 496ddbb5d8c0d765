"""A run in a notebook: results and curves, without a script, and with names escaped."""

import shutil

from written_runs import HOSTILE, Page, write_run

import dltrain
from dltrain.inference.card import number, run_card
from dltrain.inference.record import read_record


def test_a_run_shows_its_results_and_two_curves(digits_run):
    page = Page(dltrain.open_run(digits_run.folder)._repr_html_())
    best = digits_run.summary["best"]
    rows = {row[0].split(" ")[0]: row[1:] for row in page.rows()}
    names = rows["best"]
    for split in ("test", "validation"):
        assert rows[split] == [number(best[split][name]) for name in names], split
    assert [given["aria-label"] for given in page.attributes("svg")] == ["loss by step", "accuracy by step"]
    assert not page.attributes("script")


def test_a_damaged_run_shows_what_is_damaged(tmp_path, digits_run):
    folder = shutil.copytree(digits_run.folder, tmp_path / "run")
    (folder / "summary.json").write_text("{<b>")
    shown = dltrain.open_run(folder)._repr_html_()
    assert shown.startswith("<pre>") and "summary.json" in shown and "<b>" not in shown


def test_names_are_escaped(tmp_path):
    shown = run_card(read_record(write_run(tmp_path / "run", config={"name": HOSTILE})))
    assert "<script" not in shown and HOSTILE in "".join(Page(shown).texts("div"))


def test_an_unfinished_run_says_so(tmp_path):
    page = Page(run_card(read_record(write_run(tmp_path / "run", None))))
    assert "has not finished" in page.texts("div")[0] and ["run", "not finished, step 3"] in page.rows()
