"""Model cards: the sections and numbers of a run, escaped, and never over what somebody wrote."""

import re
from dataclasses import replace

import yaml
from written_runs import HOSTILE, write_run

from dltrain.inference.record import read_record
from dltrain.report.card import card, fenced, is_as_written, plain, write_card


def test_the_header_has_the_results_of_the_best_state(tmp_path):
    text = card(read_record(write_run(tmp_path / "run", 0.9)))
    header = yaml.safe_load(text.split("---\n")[1])
    (entry,) = header["model-index"]
    (result,) = entry["results"]
    assert result["metrics"] == [{"type": "loss", "value": 0.5}, {"type": "accuracy", "value": 0.9}]
    assert header["pipeline_tag"] == "tabular-classification" and header["library_name"] == "dltrain"


def test_the_sections_say_what_is_known(tmp_path):
    text = card(read_record(write_run(tmp_path / "run", 0.9)))
    headings = re.findall(r"^## (.*)$", text, flags=re.M)
    assert headings == [
        *("Model", "How to use", "Limitations", "Data", "Training", "Results", "Environment", "Reproduce"),
    ]
    assert "| test accuracy | 0.9000 |  | always a 0.5000 |" in text
    assert "| a | 30 | 10 |" in text and "jax==0.10.0" in text
    assert "dltrain train data=tiny model=mlp seed=0" in text
    assert "dltrain predict RUN input=NEW output=predictions.csv" in text and "run.predict(inputs)" in text


def test_a_model_that_predicts_nothing_is_said_to_generate(tmp_path):
    record = read_record(write_run(tmp_path / "run", 0.9))
    choices = {**record.choices, "task": "language"}
    text = card(replace(record, started={**record.started, "choices": choices}))
    assert "dltrain generate RUN" in text and "predict RUN" not in text


def test_names_are_escaped_and_end_no_block(tmp_path):
    names = (HOSTILE, "a|b\n# c `d`")
    text = card(read_record(write_run(tmp_path / "run", config={"name": HOSTILE}, classes=names)))
    outside = re.sub(r"^---\n.*?^---\n|^(`{3,}).*?^\1$", "", text, flags=re.S | re.M)
    assert "<script" not in outside.replace("<!-- ", "")
    assert "| a\\|b \\# c \\`d\\` | 10 | 10 |" in text and "\n# c" not in outside
    assert yaml.safe_load(text.split("---\n")[1])["model-index"][0]["name"] == HOSTILE
    assert fenced("a\n```\nb").startswith("````\n") and plain("a\n\n<b>") == "a &lt;b&gt;"


def test_an_edited_card_is_kept_and_an_old_one_is_replaced(tmp_path):
    folder = write_run(tmp_path / "run", None)
    path = write_card(read_record(folder))
    first = path.read_text()
    assert is_as_written(first) and "no final results" in first
    folder = write_run(tmp_path / "run", 0.9)
    assert write_card(read_record(folder)) == path and "0.9000" in path.read_text()
    path.write_text(path.read_text().replace("not stated", "MIT"))
    assert write_card(read_record(folder)) is None and "MIT" in path.read_text()


def test_a_card_of_somebody_elses_is_kept(tmp_path):
    folder = write_run(tmp_path / "run")
    (folder.path / "MODEL_CARD.md").write_text("mine")
    assert write_card(read_record(folder)) is None
