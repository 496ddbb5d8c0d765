"""Show which inputs a model goes by: dltrain explain RUN, or dltrain explain RUN input=FILE.

Images get overlays of integrated gradients and saliency, and the filters of the first layer; tables the importance
of each column with its interval, partial dependence and the attributions of rows; texts the attribution of each
token; series the effect of hiding stretches of the past; models with attention their weights. The examples are
those of a split (split; null: test), or of a file or folder (input: what dltrain predict takes).
Options are examples (how many are explained one by one), target (the class or target to explain), repeats
(permutations of each column), columns (with partial dependence), rows (at most used for both), tolerance and steps
(of integrated gradients), seed, checkpoint and output (a folder; null: explain/ of the run). Any other key changes
the run's own config for this call.
"""

from pathlib import Path

from dltrain.config.call import Call
from dltrain.inference.called import called_run
from dltrain.report.console import Screen, print_warning
from dltrain.report.explained import show_explanation, warnings_of, write_explanation
from dltrain.runs.files import Files

ASKED = ("split", "examples", "target", "repeats", "columns", "rows", "tolerance", "steps", "seed")


def run(call: Call) -> int:
    """Explain, print what matters most, and write everything into a folder."""
    options, opened = call.options, called_run(call, "explain", warn=print_warning)
    folder, screen = opened.folder, Screen()
    asked = {name: options[name] for name in ASKED}
    found = opened.explain(options["input"], **asked)
    about = {"run": str(folder.path), "step": opened.step, "input": options["input"], "options": asked}
    files = Files(Path(options["output"]).expanduser()) if options["output"] else folder.files / "explain"
    caption = f"{found.examples.what}, checkpoint of step {opened.step:,}"
    screen.say(f"{folder.path}, checkpoint of step {opened.step}")
    show_explanation(found, screen)
    written = write_explanation(found, files, about, caption=caption)
    for warning in warnings_of(found):
        print_warning(warning)
    screen.say(f"\nfiles  {files.path}/: {', '.join(written)}")
    return 0
