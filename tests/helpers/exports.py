"""A table with every kind of column, and the export of a run as the command does it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

import dltrain as package
from dltrain.composition.compose import amend_words
from dltrain.config.folders import read_yaml
from dltrain.inference.export.make import Exported, Options, export_run

LINE = (
    "data=table data.path=t.csv data.separator=semicolon data.target=level model=mlp model.widths=[4] quiet=true "
)
LINE += "epochs=1 batch_size=16 early_stopping.patience=null data.meanings={about:text} output_dir=run"


def table(count: int = 90) -> pl.DataFrame:
    """Numbers with decimal commas and gaps, categories, truth values, dates and texts."""
    rng = np.random.default_rng(0)
    rooms = rng.integers(1, 6, count)
    city = rng.choice(["Rome", "Paris", "Oslo"], count)
    return pl.DataFrame(
        {
            "rooms": [None if i % 9 == 4 else int(n) for i, n in enumerate(rooms)],
            "size": [f"{20 * n + 0.5 * i}".replace(".", ",") for i, n in enumerate(rooms)],
            "city": [None if i % 17 == 3 else str(name) for i, name in enumerate(city)],
            "new": [str(bool(n % 2)) for n in rng.integers(0, 2, count)],
            "sold": [None if i % 23 == 5 else f"{1 + i % 28}.{1 + i % 12}.2020 0{i % 9}:30" for i in range(count)],
            "about": [f"a {'LARGE' if n > 3 else 'small'} flat, it’s nice: {i}" for i, n in enumerate(rooms)],
            "level": ["low" if n < 2 else "mid" if n < 4 else "high" for n in rooms],
        }
    )


@dataclass(frozen=True)
class Case:
    """A run, the folder of its export, and its table."""

    run: Path
    export: Path
    made: Exported
    frame: pl.DataFrame


def export(run: Path, output: Path, **options) -> Exported:
    """Export a run as the command does."""
    composed, given = amend_words(read_yaml(run / "config.yaml")), options.pop("examples", None)
    return export_run(package.open_run(run), composed, output, examples=given, options=Options(**options))
