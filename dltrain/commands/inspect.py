"""Look for mistakes in data before training, or in labels after it: dltrain inspect data=table data.path=FILE.

Printed are the columns with what they mean, and what is suspicious: columns that give the target away, test rows
in train, dates after the split, mixed types, rare classes, duplicates, constants, identifiers, missing values,
outliers, files that cannot be read. Figures, findings.csv and files for TensorBoard are written to a folder
(output; null: inspect/NAME). Nothing is trained. `dltrain inspect RUN` lists the rows that the model of a run is
most confidently wrong about (count of them), which may have a wrong label, and writes them to the run's
report/label_noise.csv.
"""

import shlex
from pathlib import Path

from dltrain.build.look import look_at
from dltrain.composition.own_data import compose_data, name_of
from dltrain.config.call import Call
from dltrain.devices import runtime
from dltrain.errors import ConfigError
from dltrain.inference.run import Run, amend_saved
from dltrain.report.console import Screen, print_warning
from dltrain.report.inspection import findings, show_description, show_findings, write_report
from dltrain.report.label_noise import candidates, show_candidates, write_candidates
from dltrain.runs.files import Files
from dltrain.runs.folder import existing

SKIP = {"on_bad": "skip", "most_bad": 1.0}  # what cannot be read is a finding


def run(call: Call) -> int:
    """Inspect a run if one is named, else data."""
    if len(call.words) > 1:
        raise ConfigError(
            "inspect: name one run folder (dltrain inspect RUN), or data (dltrain inspect data=table)"
        )
    return _inspect_run(call) if call.words else _inspect_data(call)


def _inspect_data(call: Call) -> int:
    """Look for mistakes in data, and write the report."""
    composed, words, guessed = compose_data(call, SKIP)
    runtime.start(**composed.config["runtime"])
    look, screen = look_at(composed.config, composed.trust), Screen()
    show_description(screen, look)
    if guessed:
        screen.say(guessed, result=True)
    found = findings(look)
    show_findings(screen, found)
    name = name_of({key: value for key, _, value in (word.partition("=") for word in words)})
    folder = Path(call.options["output"] or Path("inspect", name)).expanduser()
    written = write_report(look, found, Files(folder), name)
    screen.say(f"report  {folder}/: {', '.join(written)}", result=True)
    screen.say(f"        tensorboard --logdir {shlex.quote(str(folder))}", result=True, whole=True)
    return 0


def _inspect_run(call: Call) -> int:
    """List examples that the model is confidently wrong about."""
    folder, options = existing(call.words[0]), call.options
    composed = amend_saved(folder, call.amend, call.overrides)
    runtime.start(**composed.config["runtime"])
    run = Run(folder, composed, checkpoint=options["checkpoint"], warn=print_warning)
    found = candidates(run, options["count"], composed.trust)
    screen = Screen()
    show_candidates(screen, found)
    path = write_candidates(found, folder.files / "report")
    screen.say(f"written to {path}", result=True, whole=True)
    return 0
