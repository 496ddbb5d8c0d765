"""Windows of series never see the future, are split by time, and are never all held at once."""

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from dltrain.data.check import check_examples
from dltrain.data.preprocess import Scale, fit_blocks
from dltrain.data.scan import blocks, size_of
from dltrain.data.sources.series import load_series
from dltrain.data.split import make_splits
from dltrain.errors import ConfigError, DataError
from dltrain.tasks import Forecasting
from dltrain.types import Kind, Spec

DATA = Path(os.environ.get("DLTRAIN_DATA") or Path(__file__).parents[4] / "shared" / "data")


def splits_of(source, **options):
    options = {"validation": 0.1, "test": 0.2, "seed": 0, **options}
    found = make_splits(None, len(source), published=source.published, **options)
    return {name: found[name] for name in ("train", "validation", "test")}


def rows_of(source, examples):
    """The rows of the file, from 0, that windows are given and predict: the column `a` counts them."""
    read = source.read(examples)
    inputs = read["inputs"]["past"] if isinstance(read["inputs"], dict) else read["inputs"]
    return inputs[:, :, 0].astype(int), read["targets"][:, :, 0].astype(int)


@pytest.mark.parametrize("seed", range(12))
def test_a_window_is_consecutive_rows_that_end_before_what_it_predicts_and_no_split_sees_a_later_one(seed, hourly):
    rng = np.random.default_rng(seed)
    rows, look_back, horizon = int(rng.integers(60, 120)), int(rng.integers(1, 9)), int(rng.integers(1, 6))
    fractions = {"validation": float(rng.uniform(0.15, 0.3)), "test": float(rng.uniform(0.15, 0.3))}
    source = load_series(hourly(rows), time="date", look_back=look_back, horizon=horizon, **fractions)
    check_examples(source.read(np.arange(len(source))), source.spec)
    border = {"test": rows - round(rows * fractions["test"])}
    border["validation"] = border["test"] - round(border["test"] * fractions["validation"])
    ends = {"train": border["validation"], "validation": border["test"], "test": rows}
    begins = {"train": 0, **border}
    splits = splits_of(source)
    np.testing.assert_array_equal(np.sort(np.concatenate(list(splits.values()))), np.arange(len(source)))
    for name, examples in splits.items():
        seen, predicted = rows_of(source, examples)
        together = np.concatenate([seen, predicted], 1)
        np.testing.assert_array_equal(np.diff(together, axis=1), 1)
        assert predicted.min() == max(begins[name], look_back) and predicted.max() == ends[name] - 1
        assert len(examples) == ends[name] - max(begins[name], look_back) - horizon + 1
        assert seen.min() >= begins[name] - look_back and (name != "train" or seen.max() < ends[name])


def test_borders_are_rows_or_dates_and_every_window_of_the_published_protocol_is_scored(hourly):
    path, cut = hourly(100), {"look_back": 10, "horizon": 4, "time": "date"}
    source = load_series(path, **cut, borders=[60, 80, 95])
    assert [len(s) for s in splits_of(source).values()] == [47, 17, 12]
    dated = load_series(path, **cut, borders=["2024-01-03T12:00", "2024-01-04 08:00", "2024-01-04T23:00"])
    assert dated.fingerprint == source.fingerprint
    for name, examples in splits_of(dated).items():
        np.testing.assert_array_equal(examples, splits_of(source)[name])


def test_etth1_has_2785_test_windows_and_repeating_the_last_value_scores_as_published():
    if not (DATA / "ett").exists():
        pytest.skip(f"{DATA}/ett is not there; set DLTRAIN_DATA")
    borders, root = [8640, 11520, 14400], str(DATA / "ett")
    options = {"time": "date", "horizon": 96, "borders": borders, "season": 24, "root": root}
    for look_back in (336, 720):
        source = load_series("ETTh1.csv", look_back=look_back, **options)
        assert [len(s) for s in splits_of(source).values()] == [8640 - look_back - 95, 2785, 2785]
    test, spec = splits_of(source)["test"], Spec(source.spec.inputs, source.spec.targets, Forecasting())
    train = splits_of(source)["train"]
    fitted = fit_blocks(lambda: blocks(source, train), spec=spec, scale=Scale.STANDARD).target_scaling
    rows = source.read_targets()[:8640].astype(np.float64)
    np.testing.assert_allclose(fitted.shift, rows.mean(0), rtol=1e-6)
    np.testing.assert_allclose(fitted.scale, rows.std(0), rtol=1e-6)
    truth = source.read(test)["targets"]
    errors = {n: np.square((p - truth) / rows.std(0)).mean() for n, p in source.baselines(test).items()}
    assert errors["last value"] == pytest.approx(1.2944, abs=5e-5)
    assert errors["last season"] == pytest.approx(0.5122, abs=5e-5)


def test_the_scaling_counts_each_train_row_once_and_does_not_depend_on_later_rows(hourly, written):
    def scaled(path):
        source = load_series(path, time="date", look_back=6, horizon=3, target="a", validation=0.2, test=0.2)
        spec = Spec(source.spec.inputs, source.spec.targets, Forecasting())
        train = splits_of(source)["train"]
        return fit_blocks(lambda: blocks(source, train), spec=spec, scale=Scale.STANDARD)

    rows, path = np.arange(64.0), hourly(100)
    found = scaled(path)
    np.testing.assert_allclose(found.scaling.shift, [rows.mean(), 100 + rows.mean()], rtol=1e-6)
    np.testing.assert_allclose(found.target_scaling.scale, [rows.std()], rtol=1e-6)
    lines = Path(path).read_text().splitlines()
    later = [line if i < 64 else f"{line.split(',')[0]},-1e6,1e6" for i, line in enumerate(lines[1:])]
    assert scaled(written(lines[0], *later, name="later.csv")).to_json() == found.to_json()


def test_no_window_has_rows_of_two_series_and_all_series_are_split_at_the_same_time(written):
    lines = [f"{day:02}.01.2024,{name},{1000 * k + day}" for day in range(1, 31) for k, name in enumerate("xyz")]
    lines = [line for line in lines if not (",z," in line and int(line[:2]) < 20)]  # z begins later
    path = written("day,shop,sold", *lines)
    source = load_series(path, time="day", id="shop", look_back=3, horizon=2, validation=0.2, test=0.2)
    assert any("3 series" in note for note in source.notes)
    splits = splits_of(source)
    for name, examples in splits.items():
        seen, predicted = rows_of(source, examples)
        together = np.concatenate([seen, predicted], 1)
        assert (np.diff(together, axis=1) == 1).all()
        days = predicted % 1000
        low, high = {"train": (1, 19), "validation": (20, 24), "test": (25, 30)}[name]
        assert low <= days.min() and days.max() == high
    assert set(rows_of(source, splits["train"])[0][:, 0] // 1000) == {0, 1}
    assert set(rows_of(source, splits["test"])[0][:, 0] // 1000) == {0, 1, 2}


def test_what_is_known_in_advance_reaches_to_the_end_of_the_horizon(written):
    lines = [f"2024-01-{1 + i // 24:02} {i % 24:02}:00:00,{i},{i % 5}" for i in range(96)]
    source = load_series(
        written("t,a,offer", *lines), time="t", known="offer", calendar=True, look_back=4, horizon=3
    )
    assert list(source.spec.inputs) == ["past", "known"] and source.spec.inputs["past"].names == ("a",)
    known = source.spec.inputs["known"]
    assert (known.kind, known.shape) == (Kind.SEQUENCE, (7, 4))
    assert known.names == ("offer", "hour", "weekday", "month")
    read = source.read(np.array([5, 0]))
    rows = np.array([5, 0])[:, None] + np.arange(7)[None, :]
    np.testing.assert_array_equal(read["inputs"]["known"][:, :, 0], rows % 5)
    np.testing.assert_allclose(read["inputs"]["known"][:, :, 1], rows % 24 / 23 - 0.5, atol=1e-6)
    assert np.abs(read["inputs"]["known"][:, :, 1:]).max() <= 0.5
    np.testing.assert_array_equal(
        source.times(np.array([5]))[0, 0], np.datetime64("2024-01-01T05", "us").astype(int)
    )


def test_predicted_columns_may_be_others_than_the_inputs(hourly):
    source = load_series(hourly(60), time="date", columns=["b"], target=["a"], look_back=4, horizon=2)
    read = source.read(np.array([3]))
    assert source.spec.input.names == ("b",) and source.spec.target.names == ("a",)
    np.testing.assert_array_equal(read["inputs"][0, :, 0], [103, 104, 105, 106])
    np.testing.assert_array_equal(read["targets"][0, :, 0], [7, 8])


def test_a_stride_leaves_out_training_windows_only(hourly):
    every, some = (load_series(hourly(90), look_back=5, horizon=2, columns="a", stride=n) for n in (1, 4))
    starts = rows_of(every, splits_of(every)["train"])[0][:, 0]
    np.testing.assert_array_equal(rows_of(some, splits_of(some)["train"])[0][:, 0], starts[::4])
    assert len(splits_of(some)["test"]) == len(splits_of(every)["test"])


def test_memory_is_that_of_the_rows_however_long_the_windows_are(hourly):
    source = load_series(hourly(4000), time="date", look_back=1000, horizon=100)
    spec = Spec(source.spec.inputs, source.spec.targets, Forecasting())
    train = splits_of(source)["train"]
    assert size_of(source) > 15e6
    tracemalloc.start()
    fit_blocks(lambda: blocks(source, train), spec=spec, scale=Scale.STANDARD)
    source.read(train[:8])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1e6


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"borders": [60, 80]}, ConfigError, "expected three, the ends of train, validation and test"),
        ({"borders": [60, 50, 80]}, ConfigError, "each border must be at or after the one before"),
        ({"borders": [60, 80, 101]}, ConfigError, "the data has 100 steps"),
        ({"borders": [60, 80, "soon"]}, ConfigError, "'soon' is not a date, expected such as 2018-03-01"),
        ({"borders": [60, 80, "2024-01-05"], "time": None}, ConfigError, "the rows have none (data.time)"),
        (
            {"look_back": 90},
            DataError,
            "train has no window of data.look_back=90 and data.horizon=4 rows (100 steps",
        ),
        ({"horizon": 25}, DataError, "validation has no window"),
        ({"calendar": True, "time": None}, ConfigError, "needs dates; name their column with data.time"),
        ({"target": "c"}, DataError, "has no column c (data.target)"),
    ],
)
def test_borders_and_windows_that_do_not_fit_are_refused(options, error, message, hourly):
    given = {"time": "date", "look_back": 10, "horizon": 4, **options}
    with pytest.raises(error) as raised:
        load_series(hourly(100), **given)
    assert message in str(raised.value)
