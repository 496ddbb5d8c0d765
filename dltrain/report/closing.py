"""What a run prints at its end: its results, and the commands that come next."""

import shlex
from collections.abc import Mapping
from typing import Any

from dltrain.devices import memory
from dltrain.report.console import Screen, shown
from dltrain.runs.folder import RunFolder

MUCH_WAITING = 0.1  # share of the time spent waiting for data above which advice is given
ADVICE = (
    "read with more threads (data.threads=..., up to the number of cores)",
    "keep the data on the device, if it fits (data.feed=resident)",
    "copy the files to a local disk, or make the source's `read` cheaper",
)
FEW = 8  # skipped steps that are listed


def print_results(screen: Screen, folder: RunFolder, summary: Mapping[str, Any]) -> None:
    """Print metrics, speed and memory of a run, and what it left where."""
    screen.say()
    for split in ("validation", "test"):
        _print_metrics(screen, split, summary)
    _print_baselines(screen, summary["baselines"])
    speed = f"{summary['examples_per_second']:,.0f} examples/s"
    screen.say(f"{summary['stop_reason']}: {summary['steps']} steps in {summary['seconds']:.1f} s, {speed}")
    peak = ", ".join(f"{memory.shown(size)} on the {where}" for where, size in summary["peak_memory"].items())
    screen.say(f"peak memory {peak}")
    if (waiting := summary["waiting"]) is not None:
        screen.say(f"{waiting:.1%} of the time was spent waiting for data")
        for advice in ADVICE if waiting > MUCH_WAITING else ():
            screen.say(f"            {advice}")
    if skipped := summary["skipped"]:
        few = ", ".join(map(str, skipped[:FEW])) + ", ..." * (len(skipped) > FEW)
        screen.say(f"{len(skipped)} steps were skipped because loss or gradient was NaN or infinite: {few}")
    _print_paths(screen, folder, summary)


def _print_metrics(screen: Screen, split: str, summary: Mapping[str, Any]) -> None:
    """Print a line for the final state, one for the best if it is another, and one without EMA if there is one."""
    style = "bold" if split == "test" else None
    for title, found in (("final", summary), ("best", summary["best"]), ("raw", summary["raw"])):
        if split in found and (title != "best" or summary["best_step"] != summary["steps"]):
            step = summary["best_step"] if title == "best" else summary["steps"]
            metrics = "  ".join(f"{n} {shown(v)}" for n, v in found[split].items() if "/" not in n)
            screen.say(f"{split:<10} {title:<5} (step {step})  {metrics}", style=style, result=True)


def _print_baselines(screen: Screen, found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    """Print the metrics of the baselines, below those of the model on the same examples."""
    for split, scores in found.items():
        for name, metrics in scores.items():
            values = "  ".join(f"{n} {shown(v)}" for n, v in metrics.items())
            screen.say(f"{split:<10} baseline: {name}  {values}")


def _print_paths(screen: Screen, folder: RunFolder, summary: Mapping[str, Any]) -> None:
    """Print where the results are, and the commands that come next."""
    screen.say(f"run folder  {folder.path}", result=True, whole=True)
    figures = sorted(path.name for path in folder.report.glob("*.png"))
    screen.say(f"figures     {folder.report}/: {', '.join(figures)}")
    for text in ("sample", "neighbours"):
        if (folder.report / f"{text}.txt").exists():
            screen.say(f"{text:<12}{folder.report}/{text}.txt", whole=True)
    longer = f"epochs={2 * max(1, round(summary['epochs']))}"
    screen.say(f"next        {folder.command('evaluate')}", whole=True)
    screen.say(f"            {folder.command('resume', longer)}", whole=True)
    several = next((p for p in folder.path.parents if p.name in ("outputs", "multirun")), folder.path)
    screen.say(f"            tensorboard --logdir {shlex.quote(str(several))}", whole=True)
