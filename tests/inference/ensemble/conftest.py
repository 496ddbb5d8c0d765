"""Three small runs on a table with gaps: two folds of a cross-validation, and another seed on the first fold."""

from dataclasses import dataclass
from pathlib import Path

import own_runs
import pytest

import dltrain as package
from dltrain.inference.ensemble.ensemble import Ensemble
from dltrain.inference.run import Run

WORDS = (
    *own_runs.LINES["table"],
    *own_runs.COMMON,
    *("model.widths=[3]", "data.folds=2", "batch_size=32", "metrics=[accuracy,auroc]"),
)
RUNS = {"sweep/0": (0, 0), "sweep/1": (0, 1), "seed": (1, 0)}
"""Folder of a run -> its seed and its fold; the last has the same split as the first."""


@dataclass(frozen=True)
class Made:
    """The runs and two ensembles of them: `seeds` of the first and the last, `folds` of the first two."""

    folder: Path
    runs: dict[str, Run]
    seeds: Ensemble
    folds: Ensemble
    printed: dict[str, str]  # what `dltrain ensemble` printed for each


@pytest.fixture(scope="session")
def made(tmp_path_factory, dltrain, quickly):
    """The runs, trained and put together by commands."""
    folder, printed = tmp_path_factory.mktemp("ensemble"), {}
    own_runs.write_files(folder)
    with quickly():
        for name, (seed, fold) in RUNS.items():
            words = (*WORDS, f"seed={seed}", f"data.fold={fold}", f"output_dir={name}")
            result = dltrain(*words, cwd=folder, figures=False)
            assert result.code == 0, result.err
        for name, words in {"seeds": ("sweep/0", "seed"), "folds": ("sweep", "top=1")}.items():
            result = dltrain("ensemble", *words, f"output={name}", cwd=folder)
            assert result.code == 0, result.err
            printed[name] = result.out + result.err
        runs = {name: package.open_run(folder / name) for name in RUNS}
        seeds, folds = (package.open_ensemble(folder / name) for name in ("seeds", "folds"))
    return Made(folder, runs, seeds, folds, printed)


@pytest.fixture
def new():
    """Rows that no run has seen, with gaps."""
    import numpy as np

    return own_runs.houses(25, np.random.default_rng(5)).drop("kind", "price")
