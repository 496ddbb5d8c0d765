"""Evaluate a run's model on one of its splits: dltrain evaluate RUN split=test.

Options are split (train, validation, test, all) and checkpoint (best, last, or a step). Any other key changes the
run's own config for this evaluation, such as metrics=[accuracy,auroc].
"""

from dltrain.config.call import Call
from dltrain.data.split import NAMES
from dltrain.devices import runtime
from dltrain.errors import ConfigError
from dltrain.inference.run import Run, amend_saved
from dltrain.report.console import Screen, print_warning, shown
from dltrain.runs.folder import existing


def run(call: Call) -> int:
    """Open the run, evaluate it, and print one line per split."""
    if len(call.words) != 1:
        raise ConfigError("evaluate: name one run folder: dltrain evaluate outputs/DATE/TIME-NAME")
    options, folder = call.options, existing(call.words[0])
    composed = amend_saved(folder, call.amend, call.overrides)
    runtime.start(**composed.config["runtime"])
    opened, screen = Run(folder, composed, checkpoint=options["checkpoint"], warn=print_warning), Screen()
    every = options["split"] == "all"
    splits = opened.splits() if every else [options["split"]]
    for number, split in enumerate(splits):
        result = opened.evaluation(split)
        if not number:  # printed even if the run's config has quiet=true
            screen.say(f"{folder.path}, checkpoint of step {opened.step}")
        metrics = "  ".join(f"{n} {shown(v)}" for n, v in result.scalars.items())
        screen.say(f"{split:<10}  {len(result.examples)} examples  {metrics}")
    for split in NAMES if every else ():
        if split not in splits:
            screen.say(f"{split:<10}  no examples")
    return 0
