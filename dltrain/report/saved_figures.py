"""Figures of several runs, saved in `report` of their folder."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dltrain.plots.style import default_style
from dltrain.runs.files import Files


def save_figures(folder: Path, figures: Iterable[tuple[str, Any]]) -> list[Path]:
    """Draw and save figures, given with their names one by one; return their paths."""
    from dltrain.plots.png import png_bytes

    files, paths = Files(folder) / "report", []
    with default_style():  # also for those that are drawn on the way
        for name, figure in figures:
            files.replace(f"{name}.png", png_bytes(figure))
            paths.append(folder / "report" / f"{name}.png")
    return paths
