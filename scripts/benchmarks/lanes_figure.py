"""The steps per second of several lanes as a figure, from the rows of `scripts/bench --only sweep`."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LANES = re.compile(r"(\d+) lanes")


def gains(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[int, float]]:
    """Return, for each net, the steps per second of each number of lanes, divided by those of a run alone."""
    found: dict[str, dict[int, float]] = {}
    alone = {row["case"]: row["median"] for row in rows if row["program"] == "alone"}
    for row in rows:
        if (lanes := LANES.fullmatch(row["program"])) and row["case"] in alone:
            found.setdefault(row["case"], {})[int(lanes[1])] = row["median"] / alone[row["case"]]
    return found


def draw_lanes(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the gain over the number of lanes, one line for each net."""
    from matplotlib.figure import Figure

    from dltrain.plots.png import save_png
    from dltrain.plots.style import default_style
    from dltrain.sweep.measure import LEAST_GAIN

    with default_style():
        figure = Figure(figsize=(7.2, 3.8), layout="constrained")
        axes = figure.subplots()
        for net, found in gains(rows).items():
            axes.plot(list(found), list(found.values()), "o-", label=net)
        axes.axhline(LEAST_GAIN, color="black", ls="--", lw=0.8, label=f"lanes are used above {LEAST_GAIN}")
        axes.set_xscale("log", base=2)
        ticks = sorted({lanes for found in gains(rows).values() for lanes in found})
        axes.set_xticks(ticks, [str(lanes) for lanes in ticks])
        axes.set_ylim(bottom=0)
        axes.set_xlabel("lanes")
        axes.set_ylabel("steps per second of all lanes,\nrelative to a run alone")
        axes.legend(fontsize=8)
        save_png(figure, path)
