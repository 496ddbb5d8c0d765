"""What `inspect` finds in time series: planted constants, stuck sensors, outliers and seasons, and nothing else."""

import numpy as np
import pytest

from dltrain.data.quality.finding import What
from dltrain.data.quality.series import series_findings
from dltrain.data.sources.series import load_series

ROWS = 600


def found(tmp_path, season=None, **columns):
    names, values = list(columns), np.stack(list(columns.values()), 1)
    lines = [",".join(names), *(",".join(f"{v:.6f}" for v in row) for row in values)]
    (tmp_path / "s.csv").write_text("\n".join(lines) + "\n")
    windows = load_series(str(tmp_path / "s.csv"), look_back=24, horizon=6, season=season)
    return [(f.what, f.where, f.text) for f in series_findings(windows.rows, windows.season)]


def walk(seed=0):
    return np.cumsum(np.random.default_rng(seed).normal(size=ROWS))


def test_nothing_is_found_in_a_random_walk(tmp_path):
    assert found(tmp_path, x=walk(), y=walk(1)) == []


@pytest.mark.parametrize("season", [7, 24])
def test_a_season_is_found_in_spite_of_a_trend_and_noise(tmp_path, season):
    waves = 10 * np.sin(2 * np.pi * np.arange(ROWS) / season) + 0.3 * walk()
    ((what, _, text),) = found(tmp_path, x=waves + 0.1 * np.arange(ROWS))
    assert what is What.SEASON and f"every {season} rows" in text
    assert found(tmp_path, x=waves, season=season) == []  # it is known already


def test_constants_stuck_sensors_and_outliers_are_named_with_their_rows(tmp_path):
    stuck, spike = walk(), np.random.default_rng(2).normal(size=ROWS)
    stuck[100:140], spike[321] = 5.5, 500
    kinds = found(tmp_path, constant=np.full(ROWS, 3.0), stuck=stuck, spike=spike)
    assert [(what, where) for what, where, _ in kinds] == [
        (What.CONSTANT, "constant"),
        (What.STUCK, "stuck"),
        (What.OUTLIERS, "spike"),
    ]
    assert kinds[0][2] == "only 3"
    assert kinds[1][2] == "5.5 is repeated in 40 rows, from row 101"
    assert "500 (row 322)" in kinds[2][2]


def test_the_command_shows_columns_and_draws_them(dltrain, tmp_path):
    waves = np.sin(2 * np.pi * np.arange(200) / 12)
    (tmp_path / "s.csv").write_text("x\n" + "".join(f"{v:.6f}\n" for v in waves))
    words = ("data=series", "data.path=s.csv", "data.look_back=24", "data.horizon=6")
    result = dltrain("inspect", *words, cwd=tmp_path)
    assert result.code == 0, result.err
    assert "x       input and target  from -1 to 1, mean" in result.out and "data.season=12 gives" in result.out
    assert (tmp_path / "inspect" / "s" / "series.png").stat().st_size > 5000
