"""Comparison of runs: which form a group, what is said about a difference, and what is refused."""

import json

import numpy as np
import pytest
from scipy import stats
from written_runs import CONFIG, write_run

from dltrain.errors import ConfigError
from dltrain.report.comparison import compare
from dltrain.report.groups import more_seeds

WIDE = {"model": {**CONFIG["model"], "widths": [8]}}
LOW, HIGH = [0.70, 0.72, 0.74], [0.90, 0.91, 0.92]


@pytest.fixture
def two_groups(tmp_path):
    """Three seeds of a narrow model and three of a wide one."""
    paths = []
    for name, config, values in (("narrow", {}, LOW), ("wide", WIDE, HIGH)):
        for seed, value in enumerate(values):
            folder = write_run(
                tmp_path / f"{name}{seed}", value, seed=seed, config={**config, "name": f"{name}{seed}"}
            )
            paths.append(folder.path)
    return paths


def test_runs_that_differ_in_seed_name_and_folder_are_one_group(two_groups):
    found = compare(two_groups)
    assert [group.labels for group in found.groups] == [
        tuple(p.name for p in two_groups[i : i + 3]) for i in (0, 3)
    ]
    assert found.keys == found.chosen == {"model.widths": ["[4]", "[8]"]}
    assert (found.split, found.metric, found.higher_is_better) == ("test", "accuracy", True)
    spread = found.groups[0].spread("test", "accuracy")
    assert (spread.mean, spread.deviation) == pytest.approx((np.mean(LOW), np.std(LOW, ddof=1)))


def test_a_difference_that_is_larger_than_the_spread_is_said_with_the_better_group(two_groups):
    (line,) = compare(two_groups).verdicts()
    expected = stats.ttest_ind(HIGH, LOW, equal_var=False)
    low, high = expected.confidence_interval(0.95)
    assert "larger than the spread across seeds" in line and "not larger" not in line
    assert f"B - A: {low:.4f} to {high:.4f}" in line and f"p = {expected.pvalue:.2g}" in line
    assert line.endswith("B is better.")


def test_a_difference_within_the_spread_is_not_one(tmp_path):
    paths = [write_run(tmp_path / f"a{i}", v, seed=i).path for i, v in enumerate([0.8, 0.9])]
    paths += [write_run(tmp_path / f"b{i}", v, seed=i, config=WIDE).path for i, v in enumerate([0.82, 0.91])]
    (line,) = compare(paths).verdicts()
    assert "is not larger than the spread" in line and "better" not in line


def test_with_one_seed_each_it_cannot_tell(two_groups):
    found = compare([two_groups[0], two_groups[3]])
    (line,) = found.verdicts()
    assert "one seed each, cannot tell; run more seeds" in line
    assert more_seeds(found.groups[0]) == "dltrain -m data=tiny model=mlp seed=1,2,3,4"
    (line,) = compare(two_groups[:4]).verdicts()
    assert "one of them has one seed only, cannot tell" in line


def test_equal_seeds_count_once(tmp_path, two_groups):
    again = write_run(tmp_path / "again", 0.71, seed=0).path
    found = compare([two_groups[0], again, two_groups[3]])
    assert found.groups[0].values("test", "accuracy") == [LOW[0]]
    assert any(note.startswith("again: not counted") for note in found.notes)


def test_three_groups_are_adjusted_for_their_pairs(tmp_path, two_groups):
    third = {"model": {**CONFIG["model"], "widths": [16]}}
    paths = [write_run(tmp_path / f"c{i}", v, seed=i, config=third).path for i, v in enumerate([0.5, 0.51])]
    *lines, last = compare([*two_groups, *paths]).verdicts()
    assert len(lines) == 2 and "3 pairs" in last
    p = stats.ttest_ind(HIGH, LOW, equal_var=False).pvalue
    assert f"p = {3 * p:.2g}" in lines[0]


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"fingerprint": "other"}, "another fingerprint"),
        ({"config": {"data": {**CONFIG["data"], "split_seed": 1}}}, ""),
    ],
)
def test_runs_on_other_data_are_warned_about_and_not_compared(tmp_path, two_groups, options, what):
    paths = [write_run(tmp_path / f"other{i}", 0.99, seed=i, **options).path for i in range(2)]
    found = compare([*two_groups[:3], *paths])
    if what:
        (warning,) = found.warnings
        assert what in warning and "B cannot be compared with A" in warning
        assert found.verdicts() == ["No two groups were measured on the same test examples, so none are compared."]
    else:  # the same hashes of the splits, so the same examples
        assert not found.warnings


def test_lower_is_better_where_the_runs_say_so(tmp_path):
    lower = {"monitor": "validation/loss", "higher_is_better": False}
    results = [{"test": {"loss": value}, "validation": {"loss": value}} for value in (0.2, 0.4)]
    paths = [
        write_run(tmp_path / str(i), config={"batch_size": i + 1}, best=best, **lower).path
        for i, best in enumerate(results)
    ]
    found = compare(paths)
    assert found.metric == "loss" and [g.name for g in found.ranked()] == ["A", "B"]


def test_intervals_over_examples_are_used_for_single_runs(two_groups):
    for path, ends in ((two_groups[0], [0.6, 0.8]), (two_groups[3], [0.85, 0.95])):
        place = path / "evaluation" / "test"
        place.mkdir(parents=True)
        metrics = {"accuracy": {"value": 0.7, "low": ends[0], "high": ends[1]}}
        (place / "metrics.json").write_text(json.dumps({"split": "test", "step": 2, "metrics": metrics}))
    found = compare([two_groups[0], two_groups[3]])
    assert found.groups[1].interval("test", "accuracy") == (0.85, 0.95)
    assert "do not overlap" in found.verdicts()[0]


def test_unfinished_runs_and_failed_jobs_are_noted_and_the_others_compared(tmp_path):
    sweep = tmp_path / "sweep"
    for i in (10, 9):
        write_run(sweep / str(i), 0.9, seed=i)
    write_run(sweep / "11", None, seed=11)
    (sweep / "12").mkdir()
    (sweep / "12" / "failure.txt").write_text("no")
    found = compare([sweep])
    assert found.groups[0].labels == ("9", "10", "11")  # by number
    assert "12 failed before training" in found.notes[0] and "11 has not finished" in found.notes[1]
    assert found.groups[0].values("test", "accuracy") == [0.9, 0.9]


def test_fewer_than_two_runs_and_folders_without_one_are_refused(tmp_path, two_groups):
    for paths in ([], two_groups[:1], [two_groups[0], two_groups[0]]):
        with pytest.raises(ConfigError, match="two run folders or more"):
            compare(paths)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="empty: not a run folder"):
        compare([tmp_path / "empty"])
    with pytest.raises(ConfigError, match="folder not found"):
        compare([two_groups[0], tmp_path / "nowhere"])


def test_a_split_without_results_falls_back_to_validation(tmp_path):
    best = {"validation": {"accuracy": 0.8}}
    paths = [write_run(tmp_path / str(i), seed=i, best=best).path for i in range(2)]
    assert compare(paths).split == "validation"


def test_equal_names_are_told_apart_by_the_folders_above(tmp_path):
    paths = [write_run(tmp_path / name / "run", seed=i).path for i, name in enumerate("xy")]
    assert compare(paths).groups[0].labels == ("x/run", "y/run")


def test_runs_that_monitored_different_metrics_are_ranked_by_one_that_all_have(tmp_path):
    results = [{"test": {"loss": value}, "validation": {"loss": value}} for value in (0.4, 0.2)]
    monitors = [("validation/accuracy", True), ("validation/r2", True)]
    paths = [
        write_run(tmp_path / str(i), config={"batch_size": i + 1}, best=best, monitor=m, higher_is_better=h).path
        for i, (best, (m, h)) in enumerate(zip(results, monitors, strict=True))
    ]
    found = compare(paths)
    assert "ranked by loss" in found.notes[0] and [g.name for g in found.ranked()] == ["B", "A"]
