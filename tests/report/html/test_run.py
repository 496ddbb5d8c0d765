"""The report of a run: well-formed, self-contained, with the numbers of the summary, and everything escaped."""

import json
import os
import re

import pytest
from written_runs import HOSTILE, Page, write_run

from dltrain.errors import CheckpointError, ConfigError
from dltrain.inference.card import number
from dltrain.inference.record import read_record
from dltrain.report.html.figures import LARGEST, PNG
from dltrain.report.html.page import POLICY
from dltrain.report.html.run import report_page, write_report
from dltrain.runs.folder import RunFolder


@pytest.fixture(scope="module")
def digits_page(digits_run) -> tuple[str, Page]:
    text = report_page(read_record(RunFolder(digits_run.folder)))
    return text, Page(text)


def test_the_page_loads_nothing_and_its_policy_forbids_it(digits_page):
    text, page = digits_page
    policies = [m["content"] for m in page.attributes("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policies == [POLICY] and POLICY.startswith("default-src 'none'")
    for tag, given, _ in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        for name in ("src", "href", "action", "srcset", "poster", "data"):
            if name in given:
                assert re.match(r"data:image/png;base64,|#", given[name]), (tag, given[name][:60])
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest", text)
    addresses = set(re.findall(r"https?://[^\s\"'<)]+", text))
    assert addresses <= {"http://www.w3.org/2000/svg"}  # a name, which is not loaded


def test_the_table_has_the_numbers_of_the_summary(digits_page, digits_run):
    _, page = digits_page
    summary = digits_run.summary
    head = next(row for row in page.rows() if row[0] == "split and state")
    rows = {row[0]: row[1:] for row in page.rows()}
    for split in ("test", "validation"):
        for state, where in (("best", summary["best"]), ("final", summary)):
            step = summary["best_step"] if state == "best" else summary["steps"]
            if state == "best" or summary["best_step"] != summary["steps"]:
                found = rows[f"{split}, {state} state (step {step:,})"]
                assert found == [number(where[split][name]) for name in head[1:]]
    for name, metrics in summary["baselines"]["test"].items():
        assert rows[f"test, baseline: {name}"] == [number(metrics[n]) if n in metrics else "" for n in head[1:]]


def test_every_figure_has_an_alternative_text_and_a_caption(digits_page, digits_run):
    _, page = digits_page
    figures = sorted(path.name for path in (digits_run.folder / "report").glob("*.png"))
    images = page.attributes("img")
    assert len(images) == len(figures) > 2 and all(image["alt"] for image in images)
    captions = " ".join(page.texts("figcaption"))
    assert all(f"report/{name}" in captions for name in figures)


def test_curves_are_drawn_without_a_script_and_their_values_are_in_the_page(digits_page, digits_run):
    _, page = digits_page
    embedded = [
        json.loads("".join(text)) for tag, given, text in page.elements if given.get("type") == "application/json"
    ]
    loss = next(chart for chart in embedded if chart["title"] == "loss by step")
    rows = [json.loads(line) for line in (digits_run.folder / "metrics.jsonl").read_text().splitlines()]
    for line in loss["lines"]:
        mine = [row for row in rows if row["split"] == line["name"]]
        assert line["x"] == [row["step"] for row in mine]
        assert line["y"] == pytest.approx([row["loss"] for row in mine], rel=1e-5)
    assert loss["mark"] == digits_run.summary["best_step"]
    drawn = [given for given in page.attributes("svg") if given.get("aria-label") == "loss by step"]
    assert len(drawn) == 1 and "path" in [tag for tag, _, _ in page.elements]


def test_config_environment_and_commands_are_there(digits_page, digits_run):
    _, page = digits_page
    blocks = page.texts("pre")
    assert (digits_run.folder / "config.yaml").read_text() in blocks
    environment = json.loads((digits_run.folder / "environment.json").read_text())
    assert ["jax", environment["versions"]["jax"]] in page.rows()
    assert any(
        block.startswith("dltrain train model.widths=") or "'model.widths=[16]'" in block for block in blocks
    )
    assert any(digits_run.summary["hash"] in block for block in blocks)
    everything = " ".join(page.texts("main"))
    assert json.loads((digits_run.folder / "data.json").read_text())["fingerprint"] in everything


def test_hostile_names_are_text_everywhere(tmp_path):
    folder = write_run(
        tmp_path / "run",
        classes=(HOSTILE, "b"),
        config={"name": HOSTILE, "tags": [HOSTILE]},
        stop_reason=HOSTILE,
        baselines={"test": {HOSTILE: {"accuracy": 0.1, HOSTILE: 0.2}}},
    )
    started = {"overrides": [f"name={HOSTILE}"], "choices": {"data": HOSTILE, "model": HOSTILE, HOSTILE: "x"}}
    folder.write_config(folder.config.read_text(), started)
    row = {"step": 1, "split": "train", HOSTILE: 1.0, f"loss/{HOSTILE}": 2.0}
    folder.files.replace_text("metrics.jsonl", f"{json.dumps(row)}\n")
    (folder.files / "report").replace("<b>.png", PNG)
    (folder.files / "report").replace_text("<b>.txt", HOSTILE)
    (folder.files / "evaluation" / "<b>").replace_json("metrics.json", {"metrics": {HOSTILE: 1.0}, "kind": HOSTILE})
    folder.summary.unlink()
    unfinished = report_page(read_record(folder))
    folder = write_run(tmp_path / "run", classes=(HOSTILE, "b"), baselines={"test": {HOSTILE: {HOSTILE: 0.2}}})
    folder.write_config(folder.config.read_text(), started)
    for text in (unfinished, report_page(read_record(folder))):
        page = Page(text)
        kinds = [given.get("type") for given in page.attributes("script")]
        assert kinds.count(None) == 1  # the script of the page itself
        assert not page.texts("b") or page.attributes("b")[0] == {}
        assert HOSTILE in page.texts("title")[0] or HOSTILE in " ".join(page.texts("main"))
        assert "alert('x')</script>" not in text and "</title></script>" not in text


def test_an_unfinished_run_gets_a_report_that_says_so(tmp_path):
    page = Page(report_page(read_record(write_run(tmp_path / "run", None))))
    assert any("has not finished" in text for text in page.texts("div"))
    assert "There are no final results yet." in page.texts("p")
    assert [given["aria-label"] for given in page.attributes("svg") if "aria-label" in given][:2] == [
        "loss by step",
        "accuracy by step",
    ]


def test_a_run_without_anything_but_a_config_gets_a_report(tmp_path):
    folder = write_run(tmp_path / "run", None)
    for path in (folder.overrides, folder.data, folder.model, folder.environment, folder.metrics):
        path.unlink()
    text = " ".join(Page(report_page(read_record(folder))).texts("main"))
    assert "environment.json is missing" in text and "No metric has been recorded" in text


def test_results_of_evaluate_are_shown_with_their_intervals(tmp_path):
    folder = write_run(tmp_path / "run", 0.9)
    found = {
        **{"split": "test", "step": 2, "kind": "class", "intervals": {"method": "bootstrap", "note": "too narrow"}},
        "metrics": {"accuracy": {"value": 0.9, "low": 0.81, "high": 0.96}},
        "parts": [{"name": "a", "examples": 3, "f1": {"value": 0.7, "low": 0.6, "high": 0.8}}],
    }
    (folder.files / "evaluation/test").replace_json("metrics.json", found)
    for name in ("samples.png", "roc.png"):  # the first of which is in report/, too
        (folder.files / "evaluation/test").replace(name, PNG)
        (folder.files / "report").replace("samples.png", PNG)
    page = Page(report_page(read_record(folder)))
    assert [figure.partition("(")[2] for figure in page.texts("figcaption") if "png" in figure] == [
        "report/samples.png)",
        "evaluation/test/roc.png)",
    ]
    assert "Intervals: bootstrap. too narrow" in page.texts("p")
    assert ["accuracy", "0.9000", "0.8100 to 0.9600"] in page.rows()
    assert ["a", "0.7000 [0.6000, 0.8000]"] in page.rows()
    assert "accuracy on test, 95 % interval 0.8100 to 0.9600" in page.texts("span")


def test_large_figures_others_files_and_links_are_left_out(tmp_path):
    folder = write_run(tmp_path / "run")
    report = folder.files / "report"
    report.replace("large.png", PNG + bytes(LARGEST))
    report.replace("none.png", b"GIF")
    report.replace("good.png", PNG)
    (tmp_path / "private.txt").write_text("a secret")
    (tmp_path / "private.png").write_bytes(PNG + b"a secret")
    for suffix in ("txt", "png"):
        os.symlink(tmp_path / f"private.{suffix}", folder.report / f"link.{suffix}")
    page = Page(report_page(read_record(folder)))
    assert [image["alt"] for image in page.attributes("img")] == ["good"]
    said = " ".join(page.texts("p"))
    assert "report/large.png is not shown: it has 4.0 MiB" in said and "report/none.png is not shown" in said
    assert "link" not in " ".join(page.texts("figcaption")) and not page.texts("details")[-1].startswith("link")


def test_the_report_is_written_into_the_run_or_to_a_path(tmp_path):
    folder = write_run(tmp_path / "run")
    page, card = write_report(folder)
    assert (page, card) == (folder.path / "report.html", folder.path / "MODEL_CARD.md")
    elsewhere, _ = write_report(folder, tmp_path / "new" / "shared.html")
    assert elsewhere.read_text() == page.read_text()
    assert {"report.html", "MODEL_CARD.md"} <= set((folder.path / "written.txt").read_text().splitlines())
    with pytest.raises(ConfigError, match=r"must end in \.html"):
        write_report(folder, tmp_path / "run" / "config.yaml")


def test_a_damaged_run_has_no_report(tmp_path):
    folder = write_run(tmp_path / "run")
    folder.summary.write_text(folder.summary.read_text().replace("0.9", "0.99"))
    with pytest.raises(CheckpointError, match=r"summary\.json"):
        write_report(folder)
    assert not (folder.path / "report.html").exists()
