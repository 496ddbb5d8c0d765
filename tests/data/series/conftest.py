"""Small files of series."""

import pytest


@pytest.fixture
def written(tmp_path):
    """Write lines to a file; return its path."""

    def write(*lines, name="series.csv"):
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return str(tmp_path / name)

    return write


@pytest.fixture
def hourly(written):
    """Write hourly rows: `a` counts them, `b` is a hundred more."""

    def write(rows, start="2024-01-01", name="series.csv"):
        import numpy as np

        times = np.datetime64(start, "s") + np.arange(rows) * np.timedelta64(1, "h")
        lines = [f"{str(t).replace('T', ' ')},{i},{100 + i}" for i, t in enumerate(times)]
        return written("date,a,b", *lines, name=name)

    return write
