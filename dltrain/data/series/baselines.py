"""Baselines of a forecast: a model that is not better than these has learned nothing."""

import numpy as np


def last_value(values: np.ndarray, starts: np.ndarray, horizon: int) -> np.ndarray:
    """Repeat the last row before each window's horizon, [N, T] -> [B, H, T]."""
    return np.repeat(values[starts - 1][:, None], horizon, 1)


def last_season(values: np.ndarray, starts: np.ndarray, horizon: int, season: int) -> np.ndarray:
    """Repeat the last `season` rows before each window's horizon, [N, T] -> [B, H, T]."""
    return values[starts[:, None] - season + np.arange(horizon)[None, :] % season]


def season_with_growth(values: np.ndarray, starts: np.ndarray, horizon: int, season: int) -> np.ndarray:
    """Repeat the last season, times its sum divided by that of the season before, once for each season ahead.

    Values that are 0 or less have no growth: the season of that column is repeated.
    """
    back = np.arange(season)[None, :]
    last, before = (values[starts[:, None] - n * season + back].astype(np.float64) for n in (1, 2))
    grows = (np.minimum(last, before) > 0).all(1)
    growth = np.divide(last.sum(1), before.sum(1), out=np.ones_like(last[:, 0]), where=grows)
    ahead = np.arange(horizon) // season + 1
    found = last_season(values, starts, horizon, season) * growth[:, None, :] ** ahead[None, :, None]
    return found.astype(values.dtype)


def forecasts(
    values: np.ndarray, starts: np.ndarray, begins: np.ndarray, *, horizon: int, season: int | None
) -> dict[str, np.ndarray]:
    """Return the forecasts of each rule that has enough rows before every window, [B, H, T] by name.

    Args:
        values: rows of the predicted columns, [N, T].
        starts: the first row to predict, int [B].
        begins: the first row of the series that it is in, int [B].
        horizon: rows to predict.
        season: rows of a season (12 months, 24 hours); None: no rule uses one.
    """
    found = {"last value": last_value(values, starts, horizon)}
    history = int((starts - begins).min()) if len(starts) else 0
    if season and history >= season:
        found["last season"] = last_season(values, starts, horizon, season)
    if season and history >= 2 * season:
        found["last season with growth"] = season_with_growth(values, starts, horizon, season)
    return found
