"""Evaluate a run's model: dltrain evaluate RUN split=test, or on other data: dltrain evaluate RUN data.path=FILE.

Prints every metric with a bootstrap interval, also per class or target, and writes them as JSON and CSV, with
figures, into evaluation/SPLIT of the run (output=FOLDER; figures=false draws none). Options are split (train,
validation, test, all), checkpoint (best, last, or a step) and tta (flip: also the mean over each image and its
mirror image). All examples of other data are evaluated, encoded as in training. Any other key changes the run's
own config for this evaluation, such as metrics=[accuracy,auroc]. RUN may be the folder of an ensemble.
"""

from collections.abc import Mapping
from typing import Any

from dltrain.config.call import Call
from dltrain.data.split import NAMES
from dltrain.errors import ConfigError, DiskError
from dltrain.inference.called import called_model
from dltrain.inference.ensemble.ensemble import Ensemble
from dltrain.inference.run import OTHER, Run
from dltrain.inference.scores import Scores
from dltrain.report.console import Screen, print_warning, shown
from dltrain.report.evaluation import folder_of, write_scores
from dltrain.report.evaluation_table import print_scores
from dltrain.runs.files import Files


def run(call: Call) -> int:
    """Open the run, evaluate it, print one line per split, of a single one tables, and write everything."""
    options, opened = call.options, called_model(call, "evaluate", warn=print_warning)
    folder, screen = opened.folder, Screen()
    every = options["split"] == "all"
    splits = opened.splits() if every or opened.other_data else [options["split"]]
    if opened.other_data and (typed := [word for word in call.overrides if word.startswith("split=")]):
        raise ConfigError(
            f"{typed[0]}: {opened.other_data} is not divided: all of it is evaluated; leave split out"
        )
    folders = []
    for number, split in enumerate(splits):
        files = folder_of(opened, split, options["output"], several=every)
        scores = opened.scores(split, tta=options["tta"])
        if not number:  # printed even if the run's config has quiet=true
            screen.say(f"{folder.path}, {opened.about}")
        name = opened.other_data if split == OTHER else split
        metrics = "  ".join(f"{n} {shown(v)}" for n, v in scores.evaluation.scalars.items())
        screen.say(f"{name:<10}  {scores.examples} examples  {metrics}")
        if not every:
            print_scores(screen, scores)
        folders += _write(opened, split, scores, files, options)
    for split in NAMES if every else ():
        if split not in splits and not opened.other_data:
            screen.say(f"{split:<10}  no examples{' that all runs share' * isinstance(opened, Ensemble)}")
    if folders:
        screen.say(f"\nintervals, tables and figures are in {', '.join(folders)}")
    return 0


def _write(
    opened: Run | Ensemble, split: str, scores: Scores, files: Files, options: Mapping[str, Any]
) -> list[str]:
    """Write the scores and return the folder; that one of somebody else cannot be written is only a warning."""
    try:
        return [str(write_scores(opened, split, scores, files, figures=options["figures"]).folder)]
    except DiskError as error:
        if options["output"] is not None:
            raise
        print_warning(f"{error}; output=FOLDER writes the results elsewhere")
        return []
