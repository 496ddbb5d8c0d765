"""Which figures a sweep gets."""

from written_sweeps import outcome_of, write_sweep

from dltrain.report.sweep import summarise
from dltrain.report.sweeps.figures import contour_keys, draw_figures

GRID = [
    ([f"optim.learning_rate={rate}", f"batch_size={size}", f"model={model}"], score)
    for rate, size, model, score in zip(
        [1e-4, 1e-3, 1e-2] * 3, [8, 8, 8, 16, 16, 16, 32, 32, 32], "abcabcabc", range(9), strict=True
    )
]


def test_a_sweep_has_its_figures_and_none_of_an_earlier_one(tmp_path):
    paths = write_sweep(
        tmp_path, GRID[:8], objectives=["validation/accuracy", "parameters"], parameters=[*range(9, 1, -1)]
    )
    drawn = draw_figures(outcome_of(tmp_path, paths))
    assert [path.stem for path in drawn] == ["parallel_coordinates", "slices", "contour", "pareto_front"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)
    few = outcome_of(tmp_path, write_sweep(tmp_path, GRID[:3]))
    assert [path.stem for path in draw_figures(few)] == ["parallel_coordinates", "slices"]
    assert sorted(path.stem for path in (tmp_path / "report").iterdir()) == ["parallel_coordinates", "slices"]


def test_of_an_interrupted_sweep_only_the_table_is_written(tmp_path, capsys):
    paths = write_sweep(tmp_path, [*GRID, (["optim.learning_rate=1", "model=a"], None)])
    summarise(tmp_path, paths, interrupted=[paths[-1]])
    assert "10 runs, 1 interrupted" in capsys.readouterr().out
    assert (tmp_path / "sweep.csv").is_file()
    assert not [name for name in ("report", "sweep.html", "experiment") if (tmp_path / name).exists()]


def test_a_fault_in_a_figure_does_not_end_the_sweep(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("dltrain.report.sweep.draw_figures", lambda found: 1 / 0)
    summarise(tmp_path, write_sweep(tmp_path, GRID))
    found = capsys.readouterr()
    assert "ZeroDivisionError" in found.err and "next    tensorboard" in found.out
    assert (tmp_path / "experiment" / "best.yaml").is_file()


def test_a_contour_has_the_most_important_numeric_keys(tmp_path):
    found = outcome_of(tmp_path, write_sweep(tmp_path, GRID))
    assert set(found.keys) == {"optim.learning_rate", "batch_size", "model"}
    assert set(contour_keys(found)) == {"optim.learning_rate", "batch_size"}
    assert contour_keys(outcome_of(tmp_path, write_sweep(tmp_path, GRID[:5]))) is None
