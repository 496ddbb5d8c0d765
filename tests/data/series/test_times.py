"""Times are read in the usual formats, steps may be months, and the calendar is evenly from -0.5 to 0.5."""

import numpy as np
import polars as pl
import pytest

from dltrain.data.series.times import FORMATS, calendar_features, irregular, parse_times

MICRO = "datetime64[us]"


@pytest.mark.parametrize("how", [h for h in FORMATS if "%m/%d" not in h and "%d/%m" not in h])
def test_a_time_is_read_in_each_format(how):
    import datetime

    dates = [datetime.datetime(2024, month, 28, 13, 45, 10) for month in (1, 5, 11)]
    texts = [date.strftime(how.replace("%.f", ".500000")) for date in dates]
    found = parse_times(pl.Series("t", texts), time_format=None, where="t", line=np.arange(3)).astype(MICRO)
    kept = {"%d": "D", "%m": "M", "%H": "h", "%M": "m", "%S": "s"}
    unit = next((kept[part] for part in ("%S", "%M", "%H", "%d", "%m") if part in how), "Y")
    expected = np.array(dates, MICRO).astype(f"datetime64[{unit}]").astype(MICRO)
    np.testing.assert_array_equal(found, expected + np.timedelta64(500_000 * ("%.f" in how), "us"))


def test_whole_numbers_are_steps_and_dates_of_polars_are_dates():
    steps = parse_times(pl.Series("t", [3, 4, 9]), time_format=None, where="t", line=np.arange(3))
    assert steps.tolist() == [3, 4, 9] and irregular(steps, dated=False).tolist() == [2]
    dates = pl.Series("t", ["2024-02-29"]).str.to_date()
    found = parse_times(dates, time_format=None, where="t", line=np.arange(1))
    assert found.astype(MICRO)[0] == np.datetime64("2024-02-29")


@pytest.mark.parametrize("step", ["M", "Y"])
def test_months_and_years_are_regular_although_their_lengths_differ(step):
    dates = np.arange(np.datetime64("2001", step), np.datetime64("2013", step)).astype(MICRO).astype(np.int64)
    assert not len(irregular(dates, dated=True))
    assert irregular(np.delete(dates, 5), dated=True).tolist() == [5]


def test_features_of_the_calendar_are_even_and_match_the_dates():
    dates = np.arange(np.datetime64("2023-01-01T00", "h"), np.datetime64("2024-12-31T00", "h"))
    names, found = calendar_features(dates.astype(MICRO).astype(np.int64))
    assert names == ("hour", "weekday", "month") and found.dtype == np.float32
    plain = dates.astype(object)
    expected = [[d.hour / 23, d.weekday() / 6, (d.month - 1) / 11] for d in plain]
    np.testing.assert_allclose(found, np.array(expected) - 0.5, atol=1e-6)
    months = np.arange(np.datetime64("2001-01"), np.datetime64("2003-01")).astype(MICRO).astype(np.int64)
    assert calendar_features(months)[0] == ("month",)
    assert calendar_features(np.arange(0, 40, 1) * 24 * 3600 * 10**6)[0] == ("weekday", "month")
