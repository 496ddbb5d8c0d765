"""A run on a small table with every kind of column, and its export."""

import pytest
from exports import LINE, Case, export, table


@pytest.fixture(scope="package")
def case(tmp_path_factory, dltrain, quickly) -> Case:
    folder = tmp_path_factory.mktemp("exported")
    frame = table()
    frame.write_csv(folder / "t.csv", separator=";")
    with quickly():
        result = dltrain(*LINE.split(), cwd=folder, figures=False)
        assert result.code == 0, result.err
        made = export(folder / "run", folder / "model")
    return Case(folder / "run", folder / "model", made, frame)
