"""Facts about a run in words: every limitation has a case, and commands train the run again."""

import math
import shlex

import pytest
from written_runs import write_run

from dltrain.inference.record import read_record
from dltrain.report.facts import commands, interval_of, limitations, of_parts, overall, wilson


def said(tmp_path, *args, **options) -> str:
    return "\n".join(limitations(read_record(write_run(tmp_path / "run", *args, **options))))


def test_a_small_test_set_imbalance_and_one_seed_are_limitations(tmp_path):
    found = said(tmp_path, 0.9)
    assert "only 20 examples" in found and "one run with one seed" in found
    assert "10 training examples of b, 30 of a" in found
    low, high = wilson(0.9, 20)
    assert f"interval of {low:.4f} to {high:.4f}" in found
    assert "baseline" not in found and "not finished" not in found


def test_a_baseline_that_is_better_is_a_limitation(tmp_path):
    assert "always a is at least as good on test: accuracy 0.5000, model 0.4000" in said(tmp_path, 0.4)


def test_skipped_steps_and_missing_results_are_limitations(tmp_path):
    assert "2 training steps were not finite and skipped: 3, 5" in said(tmp_path, 0.9, skipped=[3, 5])
    assert "not finished" in "\n".join(limitations(read_record(write_run(tmp_path / "other", None))))


def test_without_a_test_split_results_are_optimistic(tmp_path):
    assert "optimistic" in said(tmp_path, 0.9, best={"validation": {"accuracy": 0.8}}, baselines={})


@pytest.mark.parametrize(("share", "count"), [(0.9, 20), (0.5, 359), (1.0, 7), (0.0, 3)])
def test_the_ends_of_wilsons_interval_are_where_the_score_test_is_at_its_limit(share, count):
    for end in wilson(share, count):
        assert (share - end) ** 2 == pytest.approx(1.959964**2 * end * (1 - end) / count, abs=1e-12)


def test_the_commands_name_the_seed_but_no_folder(tmp_path):
    folder = write_run(tmp_path / "run")
    folder.write_config(
        folder.config.read_text(),
        {
            "overrides": ["data.path=my file.csv", "output_dir=x"],
            "resumed": [{"step": 3, "overrides": ["epochs=9"]}],
        },
    )
    first, second = commands(read_record(folder))
    assert shlex.split(first) == ["dltrain", "train", "data.path=my file.csv", "seed=0"]
    assert second == "dltrain resume RUN epochs=9"


def test_evaluations_are_read_with_their_intervals_and_odd_values_left_out(tmp_path):
    found = {
        **{"split": "test", "step": 2, "kind": "class"},
        "metrics": {"accuracy": {"value": 0.9, "low": 0.8, "high": 0.95}, "loss": 0.5, "odd": "x"},
        "further_metrics": {"none": {"value": None}, "bad": {"value": 1, "low": None, "high": 2}},
        "parts": [{"name": "a", "examples": 3, "f1": {"value": 0.7, "low": 0.6, "high": 0.8}}, "odd"],
    }
    assert [(m.name, m.value, m.interval) for m in overall(found)] == [
        ("accuracy", 0.9, (0.8, 0.95)),
        ("loss", 0.5, None),
        ("bad", 1.0, None),
    ]
    assert {name: [m.text for m in row] for name, row in of_parts(found).items()} == {
        "a": ["0.7000 [0.6000, 0.8000]"]
    }
    assert overall({}) == [] and of_parts({"parts": 3}) == {}
    folder = write_run(tmp_path / "run")
    (folder.files / "evaluation/test").replace_json("metrics.json", found)
    record = read_record(folder)
    assert interval_of(record, "test", "accuracy") == (0.8, 0.95) and interval_of(record, "test", "loss") is None
    assert interval_of(record, "validation", "accuracy") is None and "Wilson" not in "\n".join(limitations(record))
    (folder.files / "evaluation/test").replace_json("metrics.json", {**found, "step": 99})
    assert interval_of(read_record(folder), "test", "accuracy") is None  # of another state
    (folder.files / "evaluation/test").replace_json("metrics.json", {**found, "split": None})
    assert interval_of(read_record(folder), "test", "accuracy") is None  # of other data


def test_wilsons_interval_narrows_with_the_root_of_the_count():
    widths = [high - low for low, high in (wilson(0.5, 10_000), wilson(0.5, 40_000))]
    assert math.isclose(widths[0] / widths[1], 2, rel_tol=1e-3)
