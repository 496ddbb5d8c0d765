"""Make an ensemble of trained runs: dltrain ensemble SWEEP top=5, or dltrain ensemble RUN RUN ...

Takes the best runs (top) by the metric that they monitored, evaluates each alone and all together on validation and
test, and writes a folder (output) that dltrain predict and dltrain evaluate take in place of a run. The ensemble
predicts the mean of the probabilities or values of its members. calibrate=true fits one temperature for the
probabilities of classes on the validation examples; the predicted classes stay. The folds of one cross-validation
(data.folds) are all taken, and out_of_fold.csv has the prediction of each example by the model that was not trained
on it. overwrite=true replaces an ensemble. Any other key changes the runs' own configs for this call.
"""

from pathlib import Path

from dltrain.config.call import Call
from dltrain.errors import ConfigError
from dltrain.inference.ensemble.make import make_ensemble
from dltrain.inference.run import amend_saved
from dltrain.report.console import Screen, print_warning
from dltrain.report.ensemble_table import print_made
from dltrain.report.groups import expand


def run(call: Call) -> int:
    """Choose, evaluate and write, and print the table."""
    if not call.words:
        raise ConfigError(
            "ensemble: name run folders, or the folder of a sweep: dltrain ensemble multirun/DATE/TIME"
        )
    options, notes = call.options, []
    paths = [path for word in call.words for path in expand(Path(word), notes)]
    sweep = Path(call.words[0]).expanduser()
    made = make_ensemble(
        paths,
        lambda folder: amend_saved(folder, call.amend, call.overrides),
        output=options["output"],
        top=options["top"],
        calibrate=options["calibrate"],
        overwrite=options["overwrite"],
        folds_to=sweep if len(call.words) == 1 and paths != [sweep] else None,
        warn=print_warning,
    )
    for line in (*notes, *made.notes):
        print_warning(f"note: {line}")
    print_made(Screen(), made)
    return 0
