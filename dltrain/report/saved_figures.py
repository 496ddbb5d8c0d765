"""Figures of several runs, saved in `report` of their folder."""

from collections.abc import Mapping
from pathlib import Path

from dltrain.plots.artist import draw_pngs
from dltrain.plots.plot import Plot
from dltrain.runs.files import Files


def save_figures(folder: Path, figures: Mapping[str, Plot]) -> list[Path]:
    """Draw and save figures; return their paths."""
    files = Files(folder) / "report"
    for name, png in draw_pngs(figures).items():
        files.replace(f"{name}.png", png)
    return [folder / "report" / f"{name}.png" for name in figures]
